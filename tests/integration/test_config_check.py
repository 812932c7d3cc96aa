"""`config check` says all that is wrong in one run, imports what is named in a process of its own, and warns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GOOD = """\
from workerhost import BaseWorker

print("noise while it is imported")


class Good(BaseWorker):
    def execute(self, task):
        return 1
"""


def check(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workerhost", "config", "check", *options],
        cwd=folder, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


def test_every_class_that_cannot_be_run_is_named_with_its_place_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "broken.py").write_text("x = (\n")
    (tmp_path / "workerhost.yaml").write_text(
        "workers:\n"
        "  a: {class: 'good:Good'}\n"
        "  b: {class: 'nowhere:Class'}\n"
        "  c: {class: 'good:Missing'}\n"
        "  d:\n    platforms:\n      e:\n        class: broken:Class\n"
    )
    asked = check(tmp_path)
    assert (asked.returncode, asked.stdout) == (78, "")
    lines = [line.removeprefix("workerhost: workerhost.yaml:") for line in asked.stderr.splitlines()]
    assert len(lines) == 3
    assert lines[0].startswith("3: workers.b.class cannot be run: nowhere:Class: ModuleNotFoundError")
    assert lines[1] == "4: workers.c.class cannot be run: good:Missing: good has no Missing"
    assert lines[2].startswith("8: workers.d.e.class cannot be run: broken:Class: ")
    assert "broken.py:1" in lines[2]
    assert check(tmp_path, "--no-import").returncode == 0


def test_interpreters_that_are_not_there_are_named_beside_what_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "workerhost.yaml").write_text(
        "workers:\n"
        "  a: {class: 'elsewhere:Class', python: ./empty}\n"
        "  a.b: {class: 'elsewhere:Class', python: ./empty}\n"
        f"  c: {{class: 'elsewhere:Class', python: {sys.executable}}}\n"
        "  d: {class: 'nowhere:Class'}\n"
    )
    asked = check(tmp_path)
    assert asked.returncode == 78
    lines = [line.removeprefix("workerhost: workerhost.yaml:") for line in asked.stderr.splitlines()]
    cure = "is not a program; name an interpreter or a virtualenv's folder"
    assert lines[:2] == [
        f"2: workers.a.python: {tmp_path}/empty/bin/python {cure}",
        f"3: workers.a.b.python: {tmp_path}/empty/bin/python {cure}",
    ]
    assert lines[2].startswith("5: workers.d.class cannot be run: nowhere:Class: ModuleNotFoundError")
    assert len(lines) == 3


def test_the_interpreter_of_all_nodes_is_looked_for_too(tmp_path: Path) -> None:
    text = "defaults: {python: ./missing}\nworkers: {a: {class: 'elsewhere:Class'}}\n"
    (tmp_path / "workerhost.yaml").write_text(text)
    asked = check(tmp_path)
    said = f"{tmp_path}/missing is not a program; name an interpreter or a virtualenv's folder"
    assert (asked.returncode, asked.stderr) == (78, f"workerhost: workerhost.yaml: defaults.python: {said}\n")


def test_a_limit_that_one_above_makes_meaningless_is_a_warning_and_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "workerhost.yaml").write_text(
        "workers:\n  a: {max_concurrent: 2, rate: 60/min}\n  a.b: {max_concurrent: 5, rate: 1/s}\n  a.c: {rate: 2/s}\n"
    )
    asked = check(tmp_path)
    assert asked.returncode == 0
    said = asked.stderr.replace("workerhost: warning: workerhost.yaml:", "").splitlines()
    assert said == [
        "3: workers.a.b.max_concurrent (5) is larger than that of a (2), which counts",
        "4: workers.a.c.rate (2/s) is larger than that of a (60/min), which counts",
        "workerhost: workerhost.yaml is right",
    ]


def test_show_names_every_limit_that_a_type_shares_with_others_and_whose_it_is(tmp_path: Path) -> None:
    (tmp_path / "workerhost.yaml").write_text(
        "defaults: {retry: {on: [transient]}}\n"
        "workers:\n  video: {rate: 10/s, timeout: 1m}\n  video.youtube: {quota: 100/day}\n  audio: {rate: 1/s}\n"
    )
    asked = subprocess.run(
        [sys.executable, "-m", "workerhost", "config", "show", "video.youtube.channel"],
        cwd=tmp_path, capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in asked.stdout.splitlines()}
    assert rows["retry.on"] == "transient defaults"
    assert rows["timeout"] == "60.0 video"
    assert rows["rate"] == "10/s video, with all below it"
    assert rows["quota"] == "100/day video.youtube, with all below it"
