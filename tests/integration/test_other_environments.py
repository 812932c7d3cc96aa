"""Workers that live in other virtualenvs and other Pythons: real ones, in one pool, and what is said of broken ones."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from workerhost import Client, TaskFailed, WorkerHost
from workerhost.actors.embedded import supervisor_settings
from workerhost.actors.host import Host, HostSettings
from workerhost.actors.supervisor import Supervisor
from workerhost.config.loading import load

SECONDS = 30.0
PYTHONS = {
    version: next(iter(sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))), None)
    for version in ("3.8", "3.9", "3.10", "3.12", "3.13")
}

WORK = """
import sys
from workerhost import worker

@worker("here")
def here():
    return sys.prefix
"""

KINDS = """
import os, sys
from workerhost import BaseWorker, Fail

class Shapes(BaseWorker):
    def execute(self, task):
        import shapes
        return [shapes.VERSION, sys.prefix, os.getpid()]

class Whole(BaseWorker):
    def initialize(self): self.began = True
    def execute(self, task):
        self.report_progress(0.5, "half")
        self.log.info("from %s", sys.version_info[:2])
        (self.workdir / "file").write_text("x")
        if task.params == "fail": raise Fail("as asked")
        if task.params == "raise": raise ValueError("caf\\u00e9")
        return {"version": list(sys.version_info[:2]), "params": task.params, "sent": task.sent_at, "began": self.began,
                "own msgpack": "msgpack" in sys.modules}
    def cleanup(self): pass
    def health_check(self): return True

class Sick(BaseWorker):
    def execute(self, task): return 1
    def health_check(self): return False

class Absent:
    pass
"""


def python_of(version: str) -> Path:
    python = PYTHONS[version]
    if python is None:
        pytest.skip(f"no Python {version} below ~/.pyenv/versions")
    return python


def virtualenv(folder: Path, python: Path | str = sys.executable, **modules: str) -> Path:
    """A virtualenv with modules of its own, without a network."""
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    for name, text in modules.items():
        (packages / f"{name}.py").write_text(text)
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "kinds.py").write_text(KINDS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Client]]:
    """Starts a pool whose host may have something broken in it, and gives a client of it."""
    with ExitStack() as stack:

        def start(nodes: dict[str, Any], slots: int = 1, code: tuple[str, ...] = ("work.py",)) -> Client:
            settings = load({"workers": nodes}, {})
            supervisor = Supervisor.start(supervisor_settings(settings, "tcp://127.0.0.1:0", None))
            stack.callback(supervisor.stop)
            host = Host.start(
                HostSettings(
                    address=supervisor.address,
                    slots={"": slots},
                    code=code,
                    sources=settings.sources(),
                    environments=settings.environments("process"),
                    paths=(str(folder),),
                )
            )
            stack.callback(host.join, SECONDS)
            stack.callback(host.stop)
            assert host.wait_joined(SECONDS)
            return stack.enter_context(Client(supervisor.address, timeout=SECONDS))

        yield start


def until(condition: Callable[[], Any]) -> Any:
    pause = threading.Event()
    for _ in range(int(SECONDS / 0.05)):
        if found := condition():
            return found
        pause.wait(0.05)
    raise AssertionError(f"not within {SECONDS} s")


def test_two_versions_of_one_library_serve_one_pool(folder: Path):
    for name in ("one", "two"):
        virtualenv(folder / name, shapes=f"VERSION = {name!r}")
    nodes = {name: {"class": "kinds:Shapes", "python": f"./{name}"} for name in ("one", "two")}
    (folder / "workerhost.yaml").write_text(f"host: {{isolation: process, slots: 2}}\nworkers: {nodes}\n")
    with WorkerHost(folder / "workerhost.yaml") as pool:
        handles = [pool.client.send(name) for name in ("one", "two") * 4]
        found = [handle.result(SECONDS) for handle in handles]
    assert [(version, prefix) for version, prefix, _ in found] == [
        (name, str(folder / name)) for name in ("one", "two") * 4
    ]
    assert len({pid for *_, pid in found}) < 8, "a slot is kept as long as it fits"


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.12", "3.13"])
def test_another_python_needs_nothing_of_ours(folder: Path, version: str):
    config = {
        "host": {"isolation": "process", "slots": 1},
        "workers": {"whole": {"class": "kinds:Whole", "python": str(python_of(version)), "retry": {"max_attempts": 1}}},
    }
    params = {"ä": b"\x00", "n": [1, 2.5, None], "at": datetime(2026, 1, 1, tzinfo=UTC)}
    with WorkerHost(config) as pool:
        found = pool.client.send("whole", params).result(SECONDS)
        assert found["version"] == [int(part) for part in version.split(".")]
        assert (found["params"], found["began"], found["own msgpack"]) == (params, True, False)
        assert isinstance(found["sent"], datetime)
        with pytest.raises(TaskFailed, match="as asked"):
            pool.client.send("whole", "fail").result(SECONDS)
        with pytest.raises(TaskFailed) as failed:
            pool.client.send("whole", "raise").result(SECONDS)
    assert failed.value.error_type == "ValueError"
    assert "café" in failed.value.message
    assert "kinds.py" in (failed.value.traceback or "")


def test_a_broken_environment_is_told_by_type_and_the_rest_serves(folder: Path, start: Callable[..., Client]):
    virtualenv(folder / "bare")
    (folder / "wrong.py").write_text("x = 1\nimport nowhere\n")
    (folder / "typo.py").write_text("x = 1\ndef f(:\n")
    nodes = {
        "gone": {"class": "kinds:Whole", "python": "./gone/bin/python"},
        "other": {"class": "kinds:Whole", "python": "/bin/true"},
        "imports": {"class": "wrong:Whole", "python": "./bare"},
        "typo": {"class": "typo:Whole", "python": "./bare"},
        "sick": {"class": "kinds:Sick", "python": "./bare"},
        "absent": {"class": "kinds:Absent", "python": "./bare"},
        "whole": {"class": "kinds:Whole", "python": "./bare"},
    }
    client = start(nodes)
    host = until(lambda: next((h for h in client.hosts() if {"here", "whole"} <= set(h["types"])), None))
    assert host["types"] == ["here", "whole"]
    failed = host["failed"]
    assert set(failed) == set(nodes) - {"whole"}
    assert failed["gone"] == (
        f"{folder}/gone/bin/python: No such file or directory; name an interpreter or a virtualenv's folder"
    )
    assert failed["other"] == "/bin/true: its process ended with exit code 0"
    assert f"No module named 'nowhere' ({folder}/wrong.py:2) (in {folder}/bare)" in failed["imports"]
    assert f"({folder}/typo.py:2)" in failed["typo"]
    assert "health_check said no" in failed["sick"]
    assert "not a worker" in failed["absent"]
    assert client.send("here").result(SECONDS) == sys.prefix
    assert client.send("whole").result(SECONDS)["version"] == list(sys.version_info[:2])
    broken = {item["type"]: item["broken"] for item in client.types()}
    assert broken["whole"] == {}
    assert broken["sick"] == {host["name"]: failed["sick"]}
    levels = until(lambda: (level := client.hosts()[0]["levels"]).get("gone", [""])[0] == "failed" and level)
    assert "No such file" in levels["gone"][1]


def test_a_python_that_is_too_old_is_named(start: Callable[..., Client]):
    client = start({"whole": {"class": "kinds:Whole", "python": str(python_of("3.8"))}})
    failed = until(lambda: client.hosts()[0]["failed"])
    assert "Python 3.9 or newer is needed, and " in failed["whole"]
    assert " is 3.8." in failed["whole"]


def test_an_environment_that_comes_back_is_offered_again(folder: Path, start: Callable[..., Client]):
    client = start({"whole": {"class": "kinds:Whole", "python": "./late"}})
    assert client.hosts()[0]["types"] == ["here"]
    virtualenv(folder / "late")
    until(lambda: client.hosts()[0]["types"] == ["here", "whole"] and not client.hosts()[0]["failed"])
    assert client.send("whole").result(SECONDS)


def test_code_of_the_command_line_is_loaded_where_a_node_needs_it(folder: Path, start: Callable[..., Client]):
    virtualenv(folder / "envs", torch="VERSION = 1")
    (folder / "embed.py").write_text(
        "import torch, sys\nfrom workerhost import worker\n@worker('ml.embed')\ndef embed(): return sys.prefix\n"
    )
    client = start({"ml": {"python": "./envs"}}, code=("work.py", "embed.py"))
    host = until(lambda: next((h for h in client.hosts() if "ml.embed" in h["types"]), None))
    assert host["types"] == ["here", "ml.embed"]
    assert list(host["failed"]) == ["embed.py"], "the host's own Python has no torch, and says so"
    assert client.send("ml.embed").result(SECONDS) == str(folder / "envs")


def test_a_thread_node_runs_beside_the_processes(folder: Path, start: Callable[..., Client]):
    (folder / "meet.py").write_text(
        "import threading, os\nfrom workerhost import worker\n"
        "both = threading.Barrier(2)\n"
        "@worker('io')\ndef io():\n both.wait(20)\n return os.getpid()\n"
    )
    client = start({"io": {"isolation": "thread"}}, slots=2, code=("work.py", "meet.py"))
    first, second = client.send("io"), client.send("io")
    assert first.result(SECONDS) == second.result(SECONDS) != os.getpid()
    assert client.hosts()[0]["slots"] == 4
    assert client.send("here").result(SECONDS) == sys.prefix
