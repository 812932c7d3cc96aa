"""Workers that live in other virtualenvs and other Pythons: real ones, in one pool, and what is said of broken ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting import until

from workerhost import Client, TaskFailed, WorkerHost
from workerhost.actors.configured import supervisor_settings
from workerhost.actors.host import Host, HostSettings
from workerhost.actors.supervisor import Supervisor
from workerhost.config.loading import load
from workerhost.workers.errors import WorkerHostError

SECONDS = 15.0
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

        def start(nodes: dict[str, Any], slots: int = 1, code: tuple[str, ...] = ("work.py",), **more: Any) -> Client:
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
                    **more,
                )
            )
            stack.callback(host.join, SECONDS)
            stack.callback(host.stop)
            assert host.wait_joined(SECONDS)
            return stack.enter_context(Client(supervisor.address, timeout=SECONDS))

        yield start


def reloaded(client: Client, order: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the host tells of a reload, once it has obeyed."""

    def told() -> list[Mapping[str, Any]]:
        return [host["reload"] for host in client.hosts() if host["reload"].get("order") == order["order"]]

    return until(told, "the host tells of the reload", show=client.hosts)[0]


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


def test_why_says_what_keeps_slots_from_starting_until_they_can(start: Callable[..., Client], folder: Path):
    (folder / "lame.py").write_text("import os, sys\nprint('no libcuda', file=sys.stderr, flush=True)\nos._exit(4)\n")
    client = start({}, code=("lame.py",))
    handle = client.send("here")
    (reason,) = until(lambda: client.why(handle.id)["reasons"], "there is a reason")
    assert reason["code"] == "start_failed"
    assert "its process ended with exit code 4, and said: no libcuda" in reason["text"]

    (folder / "lame.py").write_text(WORK)
    assert handle.result(SECONDS) == sys.prefix
    assert until(lambda: not client.hosts()[0]["start_failed"], "slots start")


TRIED = """
import sys
import shapes
from workerhost import BaseWorker, Fail

class Tried(BaseWorker):
    def execute(self, task):
        self.report_progress(0.5, "half")
        if task.params["how"] == "stop": breakpoint()
        if task.params["how"] == "raise": raise ValueError("nope")
        if task.params["how"] == "fail": raise Fail("as asked")
        return [shapes.VERSION, list(sys.version_info[:2]), task.type]
"""


@pytest.mark.parametrize("version", ["3.9", "3.12"])
def test_try_runs_where_the_type_lives(folder: Path, version: str):
    virtualenv(folder / "env", python_of(version), shapes="VERSION = 2")
    (folder / "tried.py").write_text(TRIED)
    (folder / "workerhost.yaml").write_text("workers: {odd: {python: ./env}, odd.one: {class: 'tried:Tried'}}")

    def tried(how: str, code: str = "tried.py", typed: str = "", *more: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "workerhost", "try", code, f"how={how}", *more],
            input=typed, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    value = f'[2, [{version.replace(".", ", ")}], "TYPE"]\n'
    code, out, err = tried("")
    assert (code, out) == (0, value.replace("TYPE", "odd.one")), err
    assert err.splitlines()[0].endswith(f"runs in {folder / 'env' / 'bin' / 'python'}, as workerhost.yaml says")
    assert tried("", "tried.py:Tried", "", "--type", "odd.two")[:2] == (0, value.replace("TYPE", "odd.two"))
    code, out, err = tried("raise")
    assert (code, out) == (1, "")
    assert err.endswith("ValueError: nope\n")
    assert 'tried.py", line 10, in execute' in err
    assert "runner.py" not in err
    code, out, err = tried("fail")
    assert (code, err.splitlines()[-1]) == (1, "workerhost.workers.errors.Fail: as asked")
    code, out, _ = tried("stop", typed="p shapes.VERSION * 21\nc\n")
    assert code == 0
    assert "42" in out
    (folder / "workerhost.yaml").write_text("workers: {odd: {python: ./gone}, odd.one: {class: 'tried:Tried'}}")
    code, out, err = tried("")
    assert (code, out) == (78, "")
    assert "gone: No such file or directory; name an interpreter or a virtualenv's folder" in err


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
    (host,) = until(lambda: [h for h in client.hosts() if {"here", "whole"} <= set(h["types"])], "it serves both")
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
    until(lambda: client.hosts()[0]["levels"].get("gone", [""])[0] == "failed", "its level fails", show=client.hosts)
    assert "No such file" in client.hosts()[0]["levels"]["gone"][1]


def test_a_python_that_is_too_old_is_named(start: Callable[..., Client]):
    client = start({"whole": {"class": "kinds:Whole", "python": str(python_of("3.8"))}})
    failed = until(lambda: client.hosts()[0]["failed"], "it is told")
    assert "Python 3.9 or newer is needed, and " in failed["whole"]
    assert " is 3.8." in failed["whole"]


def test_an_environment_that_comes_back_is_offered_again(folder: Path, start: Callable[..., Client]):
    client = start({"whole": {"class": "kinds:Whole", "python": "./late"}})
    assert client.hosts()[0]["types"] == ["here"]
    virtualenv(folder / "late")
    until(
        lambda: client.hosts()[0]["types"] == ["here", "whole"] and not client.hosts()[0]["failed"],
        "it is offered again",
        show=client.hosts,
    )
    assert client.send("whole").result(SECONDS)


def test_code_of_the_command_line_is_loaded_where_a_node_needs_it(folder: Path, start: Callable[..., Client]):
    virtualenv(folder / "envs", torch="VERSION = 1")
    (folder / "embed.py").write_text(
        "import torch, sys\nfrom workerhost import worker\n@worker('ml.embed')\ndef embed(): return sys.prefix\n"
    )
    client = start({"ml": {"python": "./envs"}}, code=("work.py", "embed.py"))
    (host,) = until(lambda: [h for h in client.hosts() if "ml.embed" in h["types"]], "it serves ml.embed")
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


ASYNC = """
import asyncio, os
from workerhost import BaseWorker, worker

meeting = None

class Meet(BaseWorker):
    type = "net.meet"
    async def initialize(self): self.began = asyncio.get_running_loop()
    async def execute(self, task):
        global meeting
        meeting = meeting or asyncio.Event()
        print("task", task.params)
        self.report_progress(0.5)
        if task.params == "open": meeting.set()
        await asyncio.wait_for(meeting.wait(), 20)
        return [os.getpid(), self.task.params, self.began is asyncio.get_running_loop()]

@worker("net.long")
async def long(note):
    helper = asyncio.ensure_future(asyncio.sleep(60))
    try:
        await helper
    finally:
        with open(note, "a") as file: file.write("ended\\n")

@worker("net.deaf")
async def deaf():
    while True:
        try: await asyncio.sleep(60)
        except asyncio.CancelledError: pass

@worker("net.plain")
def plain(): return 1
"""


def test_many_coroutines_run_in_one_process(folder: Path, start: Callable[..., Client]):
    (folder / "net.py").write_text(ASYNC)
    client = start({"net": {"concurrency": 20}}, code=("work.py", "net.py"))
    host = client.hosts()[0]
    assert host["types"] == ["here", "net.deaf", "net.long", "net.meet"]
    assert host["slots"] == 1 + 20
    assert list(host["failed"]) == ["net.plain"]
    assert f"needs `async def` ({folder}/net.py:33); make it one" in host["failed"]["net.plain"]
    handles = [client.send("net.meet", n) for n in range(15)]
    until(lambda: all(handle.progress for handle in handles), "all run at once")
    client.send("net.meet", "open").result(SECONDS)
    found = [handle.result(SECONDS) for handle in handles]
    assert [params for _, params, _ in found] == list(range(15))
    assert len({pid for pid, *_ in found}) == 1
    assert all(same for *_, same in found)
    assert client.send("here").result(SECONDS) == sys.prefix


def test_the_end_of_one_coroutine_is_that_of_no_other(folder: Path, start: Callable[..., Client]):
    (folder / "net.py").write_text(ASYNC)
    note = folder / "note"
    client = start({"net": {"concurrency": 20}}, code=("net.py",))
    kept = [client.send("net.meet", n) for n in range(3)]
    until(lambda: all(handle.progress for handle in kept), "all run at once")
    late = client.send("net.long", {"note": str(note)}, timeout=0.3, max_attempts=1)
    gone = client.send("net.long", {"note": str(note)})
    until(lambda: gone.state == "running", "it runs")
    assert gone.cancel()
    with pytest.raises(TaskFailed) as failed:
        late.result(SECONDS)
    assert failed.value.cause == "timeout"
    until(lambda: note.exists() and note.read_text() == "ended\n" * 2, "both have cleaned up")
    before = {child.pid for child in psutil.Process().children()}
    deaf = client.send("net.deaf", timeout=0.3, max_attempts=1)
    until(lambda: {child.pid for child in psutil.Process().children()} - before, "a process is started beside it")
    assert client.send("net.meet", "open").result(SECONDS)[1] == "open", "new ones go to a process of their own"
    assert {handle.state for handle in kept} == {"running"}, "and those beside it are left alone"
    client.cancel([handle.id for handle in kept])
    with pytest.raises(TaskFailed) as failed:
        deaf.result(SECONDS)
    assert failed.value.cause == "timeout"


RELOADED = """
from pathlib import Path
from workerhost import worker

@worker("text.one")
def one(gate=""):
    import time
    while gate and not Path(gate).exists(): time.sleep(0.01)
    return 1
"""


def test_new_code_is_served_and_what_runs_ends_with_the_old(folder: Path, start: Callable[..., Client]):
    (folder / "one.py").write_text(RELOADED)
    gate = folder / "gate"
    client = start({}, slots=2, code=("one.py",))
    running = client.send("text.one", {"gate": str(gate)})
    until(lambda: client.hosts()[0]["tasks"], "the task runs")
    (folder / "one.py").write_text(RELOADED.replace("return 1", "return 20"))
    order = client.reload(type="text")
    told = reloaded(client, order)
    assert list(told["changed"]) == ["text.one"]
    assert told["failed"] == {}
    before, after = told["changed"]["text.one"]
    assert before != after
    late = client.send("text.one")
    assert late.result(SECONDS) == 20
    gate.touch()
    assert running.result(SECONDS) == 1
    assert client.send("text.one").result(SECONDS) == client.send("text.one").result(SECONDS) == 20
    codes = [client.show(handle.id)["attempts"][0]["code"] for handle in (running, late)]
    assert codes == [before, after]


def test_broken_code_changes_nothing_and_is_named_with_file_and_line(folder: Path, start: Callable[..., Client]):
    (folder / "one.py").write_text(RELOADED)
    client = start({}, code=("one.py",))
    (folder / "one.py").write_text(RELOADED + "def f(:\n")
    order = client.reload()
    told = reloaded(client, order)
    assert f"SyntaxError: invalid syntax ({folder}/one.py:{RELOADED.count(chr(10)) + 1})" in told["failed"]["one.py"]
    assert client.hosts()[0]["types"] == ["text.one"]
    assert client.send("text.one").result(SECONDS) == 1
    with pytest.raises(WorkerHostError, match="no joined host is called 'nobody'"):
        client.reload(host="nobody")


DYING = """
import os
import part
from workerhost import worker

@worker("text.one")
def one():
    return [part.VALUE, os.getpid()]

@worker("text.die")
def die():
    os._exit(3)
"""


@pytest.mark.parametrize("new", [None, "VALUE = ", "VALUE = 22"])
def test_a_slot_that_is_started_later_runs_the_code_that_is_served(
    folder: Path, start: Callable[..., Client], new: str | None
):
    (folder / "one.py").write_text(DYING)
    (folder / "part.py").write_text("VALUE = 1")
    client = start({}, code=("one.py",))
    first = client.send("text.one")
    value, pid = first.result(SECONDS)
    (folder / "one.py").write_text(DYING + "def f(:\n")
    (folder / "part.py").unlink() if new is None else (folder / "part.py").write_text(new)
    order = client.reload()
    told = reloaded(client, order)
    assert "one.py" in told["failed"]
    with pytest.raises(TaskFailed):
        client.send("text.die", max_attempts=1).result(SECONDS)
    later = client.send("text.one")
    assert later.result(SECONDS)[0] == value == 1
    assert later.result(SECONDS)[1] != pid
    before, after = (client.show(handle.id)["attempts"][0]["code"] for handle in (first, later))
    assert before == after != ""
    assert client.hosts()[0]["failed"] == {}

    (folder / "part.py").write_text("VALUE = 333")
    (folder / "one.py").write_text(DYING)
    client.reload()
    until(lambda: client.send("text.one").result(SECONDS)[0] == 333, "the new code is served")


def test_a_host_that_watches_serves_new_code_by_itself(folder: Path, start: Callable[..., Client]):
    (folder / "one.py").write_text("import part\n" + RELOADED.replace("return 1", "return part.VALUE"))
    (folder / "part.py").write_text("VALUE = 1")
    client = start({}, code=("one.py",), reload=True)
    assert client.send("text.one").result(SECONDS) == 1
    (folder / "part.py").write_text("VALUE = ")
    until(lambda: client.hosts()[0]["reload"].get("failed"), "the broken code is noticed")
    assert client.send("text.one").result(SECONDS) == 1
    (folder / "part.py").write_text("VALUE = 222")
    until(lambda: client.send("text.one").result(SECONDS) == 222, "the new code is served")
