"""`new worker`: what it writes works at once, and nothing that is there is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workerhost.bin.main import run
from workerhost.config.loading import load

SECONDS = 60


def begun(folder: Path, type: str = "video.youtube.shorts") -> int:
    return run(["new", "worker", type, "--folder", str(folder)])


def test_what_it_writes_passes_its_test_and_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new place"
    assert begun(folder) == 0
    said = capsys.readouterr()
    names = ["video_youtube_shorts_worker.py", "test_video_youtube_shorts_worker.py", "workerhost.yaml"]
    assert said.out.splitlines() == [str(folder / name) for name in names]
    assert "workerhost send video.youtube.shorts url=https://example.org/1 --wait" in said.err

    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", names[1]],
        cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout
    tried = subprocess.run(
        [sys.executable, "-m", "workerhost", "try", names[0], "url=x"],
        cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert (tried.returncode, tried.stdout) == (0, '{"url": "x"}\n'), tried.stderr
    source = load(folder / "workerhost.yaml").sources()["video.youtube.shorts"]
    assert source.code == "video_youtube_shorts_worker:YoutubeShortsWorker"


@pytest.mark.parametrize(
    ("type", "form"),
    [
        ("video", "class"),
        ("video.vimeo", "class"),
        ("video.vimeo.film", "function"),
        ("video.vimeo.film", "python"),
        ("video.vimeo.film", "node"),
        ("video.vimeo.film", "bash"),
    ],
)
def test_every_form_passes_its_own_test(type: str, form: str, tmp_path: Path) -> None:
    if (needed := {"node": "node", "bash": "jq"}.get(form)) and shutil.which(needed) is None:
        pytest.skip(f"{needed} is not installed")
    assert run(["new", "worker", type, "--folder", str(tmp_path), "--as", form]) == 0
    (test,) = tmp_path.glob("test_*.py")
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test.name],
        cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout
    if form in ("python", "node", "bash"):
        command = load(tmp_path / "workerhost.yaml").sources()[type].command
        check = [sys.executable, "-m", "workerhost", "check", "worker", "--type", type, "--params", '{"url": "x"}']
        checked = subprocess.run(
            [*check, *command],
            cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_function_passes_its_own_test_whatever_the_type_is_called(tmp_path: Path) -> None:
    types = ("import", "_", "pool", "pytest", "pytest.plugins", "setup.module", "test.echo")
    for type in types:
        assert run(["new", "worker", type, "--folder", str(tmp_path), "--as", "function"]) == 0
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout
    assert f"{2 * len(types)} passed" in tested.stdout


def test_a_form_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new", "worker", "a", "--folder", str(tmp_path), "--as", "cobol"]) == 2
    assert "'cobol' is no form of a worker" in capsys.readouterr().err


def test_a_project_passes_its_tests_and_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new", "project", str(tmp_path / "mine")]) == 0
    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert names == ["tasks.py", "test_tasks.py", "workerhost.yaml", "README.md"]
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path / "mine", capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout
    assert sorted(load(tmp_path / "mine" / "workerhost.yaml").sources()) == ["page.title", "page.words"]
    readme = (tmp_path / "mine" / "README.md").read_text()
    assert readme.index("On the first:") < readme.index("workerhost send")  # a machine that was invited as host cannot
    assert "workerhost invite --role client" in readme
    assert run(["new", "project", str(tmp_path / "mine")]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("type", ["json", "3d", "class.def", "a-b.c_d.1x", "video.youtube"])
def test_any_type_gives_code_that_can_be_loaded(type: str, tmp_path: Path) -> None:
    assert begun(tmp_path, type) == 0
    (file,) = (path for path in tmp_path.glob("*_worker.py") if not path.name.startswith("test_"))
    compile(file.read_text(), file, "exec")
    assert file.stem.isidentifier()
    assert file.stem not in sys.stdlib_module_names
    assert load(tmp_path / "workerhost.yaml").sources()[type].code.startswith(f"{file.stem}:")


@pytest.mark.parametrize("name", ["video_youtube_shorts_worker.py", "test_video_youtube_shorts_worker.py"])
def test_nothing_is_overwritten(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_text("mine")
    assert begun(tmp_path) == 2
    assert f"{tmp_path / name} is there already, and nothing was written" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# mine\nqueue: {type: fifo} # yes\n", "# mine\nqueue: {type: fifo} # yes\n\nworkers:\n  ENTRY\n"),
        ("queue: {type: fifo}", "queue: {type: fifo}\n\nworkers:\n  ENTRY\n"),
        ("workers: # all\n    # first\n    audio: {timeout: 5}\nqueue: {}\n",
         "workers: # all\n    ENTRY\n    # first\n    audio: {timeout: 5}\nqueue: {}\n"),
        ("\ufeffqueue: {}\n", "queue: {}\n\nworkers:\n  ENTRY\n"),
    ],
)  # fmt: skip
def test_a_configuration_keeps_what_it_says(before: str, after: str, tmp_path: Path) -> None:
    config = tmp_path / "workerhost.yaml"
    config.write_text(before, encoding="utf-8")
    config.chmod(0o640)
    assert begun(tmp_path) == 0
    entry = 'video.youtube.shorts: { class: "video_youtube_shorts_worker:YoutubeShortsWorker", timeout: 5m }'
    assert config.read_text(encoding="utf-8") == after.replace("ENTRY", entry)
    assert config.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("before", "code", "words"),
    [
        (
            "workers: {audio: {}}\n",
            78,
            "cannot add to `workers:` as it is written; add by hand: video",
        ),
        ("workers:\n  video.youtube.shorts: {}\n", 2, "configures video.youtube.shorts already"),
        ("workers:\n  video:\n    platforms: {youtube: {endpoints: {shorts: {}}}}\n", 2, "already"),
        ("worker: {type: video.youtube.shorts}\n", 2, "already"),
        ("quue: {}\n", 78, "did you mean queue?; mend that first"),
        (
            "workers:\nqueue: {}\n",
            78,
            "`key: value` lines below it; mend that first",
        ),
        ("workers: [\n", 78, "mend that first"),
        ("{queue: {}}\n", 78, "add by hand"),
    ],
)
def test_a_configuration_that_cannot_be_added_to_is_left_alone(
    before: str, code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "workerhost.yaml"
    config.write_text(before)
    assert begun(tmp_path) == code
    assert words in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("workerhost.yaml", before)]


def test_no_type_and_no_place_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new", "worker", "a b"]) == 2
    assert "'a b' is not a type" in capsys.readouterr().err
    file = tmp_path / "file"
    file.write_text("")
    assert begun(file) == 74
    assert "Traceback" not in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208
