"""Slots with real child processes, as their host sees them: started, fed, cancelled, killed, dying by themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slot_host import SECONDS, Death, Host, task

from workerhost.actors import slot_figures, slot_process
from workerhost.actors.slot import InlineSlot, ProcessSlot, SlotSpec, ThreadSlots
from workerhost.transport.clock import now
from workerhost.transport.messages import Outcome, Returned
from workerhost.workers import values
from workerhost.workers.registry import worker
from workerhost.workers.source import Environment

TASKS = """
import ctypes, os, signal, subprocess, sys, time
from pathlib import Path
from workerhost import BaseWorker, Fail, worker

print("loaded")

@worker("echo")
def echo(value=None): return value

@worker("nap")
def nap(): time.sleep(0.11)

@worker("where")
def where():
    own = [path for path in sys.path if "lib" not in path]
    return [os.getpid(), os.getpgid(0), os.getcwd(), own, sys.modules["workerhost"].__file__]

@worker("say")
def say(text):
    print(text)
    os.write(1, b"from below\\n")
    subprocess.run(["echo", "from a program"])
    print("to stderr", end="", file=sys.stderr)

@worker("spam")
def spam(mebibytes):
    for _ in range(mebibytes * 16): os.write(1, b"\\xff" * 65536)
    return "done"

@worker("die")
def die(how):
    if how == "segv": ctypes.string_at(0)
    if how == "exit": os._exit(3)
    if how == "kill": os.kill(os.getpid(), signal.SIGKILL)

@worker("garbage")
def garbage(data):
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            if os.readlink(f"/proc/self/fd/{number}").startswith("socket:"): os.write(number, data)
        except OSError: pass
    time.sleep(60)

@worker("stuck")
def stuck():
    libc = ctypes.PyDLL(None)  # keeps the GIL: no signal handler, no thread runs in Python meanwhile
    print("stuck")
    while True: libc.sleep(60)

@worker("offspring")
def offspring():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(child.pid)
    time.sleep(60)

class Fork(BaseWorker):
    type = "fork"
    def execute(self, task):
        child = os.fork()
        if child == 0:
            self.report_progress(1.0, "from the copy")
            return "from the copy"
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

class Long(BaseWorker):
    type = "long"
    def execute(self, task):
        folder = Path(task.params)
        (self.workdir / "large").write_text("x")
        (folder / "workdir").write_text(str(self.workdir))
        try:
            self.report_progress(0.5, "half")
            while not self.cancelled: time.sleep(0.01)
            raise Fail("asked to stop")
        finally:
            (folder / "unwound").touch()
    def cleanup(self):
        Path(self.task.params, "cleaned").touch()

class Obedient(BaseWorker):
    type = "obedient"
    def execute(self, task):
        self.report_progress(0.5, "half")
        while not self.cancelled: time.sleep(0.01)
        return {}
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    one = Host(tmp_path, TASKS)
    yield one
    one.close()


def test_a_slot_says_what_it_can_run_and_runs_it(host: Host) -> None:
    slot = host.ready()
    assert host.offer is not None
    assert "echo" in host.offer["types"]
    assert host.offer["failed"] == {}
    slot.feed([task("echo", {"value": [1, 2]})])
    [[id, fence, outcome, body, duration, number, detail]] = host.results()
    assert (id, fence, outcome, number, detail) == (1, 7, Outcome.COMPLETED, 0, None)
    assert values.unpack(body) == [1, 2]
    assert 0 < duration < 1


def test_tasks_fed_before_it_is_ready_are_run(host: Host) -> None:
    slot = host.start()
    slot.feed([task("echo", id=n) for n in range(1, 11)])
    news = host.until(lambda news: len(news.results) + len(news.returned) == 10)
    assert news.ready is not None


def test_a_child_is_alone_in_its_group_and_sees_the_users_folders_and_this_package(host: Host) -> None:
    import workerhost

    slot = host.ready()
    slot.feed([task("where")])
    pid, group, current, path, package = values.unpack(host.results()[0][3])
    assert pid == group == slot.pid != os.getpgid(0)
    assert current == str(Path.cwd())
    assert str(host.code.parent) in path
    assert "" not in path
    assert package == workerhost.__file__


def test_what_tasks_write_comes_with_their_number(host: Host) -> None:
    slot = host.start()
    slot.feed([task("say", {"text": "from python"}, id=42)])
    lines = host.until(lambda news: len(news.lines) >= 4 and bool(news.results)).lines
    slot.close()
    host.exited()
    assert lines[0] == (0, "loaded")
    assert [text for id, text in lines if id == 42] == ["from python", "from below", "from a program", "to stderr"]


def test_the_memory_of_an_attempt_is_not_that_of_the_host(host: Host) -> None:
    hoard = b"x" * (300 << 20)
    slot = host.ready()
    slot.feed([task("nap")])
    assert 10 << 20 < host.results()[0][6]["memory"] < 200 << 20 < len(hoard)


def test_endless_output_is_capped_and_harms_nothing(host: Host) -> None:
    slot = host.ready()
    slot.feed([task("spam", {"mebibytes": 64})])
    assert host.results()[0][2] == Outcome.COMPLETED
    assert sum(len(text) for _, text in host.news.lines) < 512 * 1024


@pytest.mark.parametrize(("how", "expected"), [("segv", (11, None)), ("exit", (None, 3)), ("kill", (9, None))])
def test_a_child_that_dies_names_the_task_that_ran(host: Host, how: str, expected: tuple[Any, Any]) -> None:
    slot = host.ready()
    slot.feed([task("echo", id=1)])
    host.results()
    slot.feed([task("die", {"how": how}, id=2), task("echo", id=3)])
    exited = host.exited()
    assert (exited["signal"], exited["exit_code"]) == expected
    assert (exited["cause"], exited["started"]) == ("crash", [[2, 7]])
    assert exited["memory"] > 1_000_000
    assert [result[0] for result in host.news.results] == [1]
    if how == "segv":
        assert any("Segmentation fault" in text for id, text in host.news.lines if id == 2)
    slot.feed([task("echo")])  # too late, and no error


def test_a_child_that_dies_as_the_kernel_kills_for_memory_died_of_that(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("oom_kill 3\n")
    monkeypatch.setattr(slot_figures, "COUNTERS", str(counters))
    first, second = host.ready(), host.ready()
    first.feed([task("die", {"how": "kill"})])
    assert host.exited()["cause"] == "crash"
    host.forget()
    counters.write_text("oom_kill 4\n")
    second.feed([task("die", {"how": "kill"})])
    exited = host.exited()
    assert exited["cause"] == "oom"
    assert "most likely by the kernel" in exited["message"]


@pytest.mark.parametrize("data", [b"\xff" * 100, b"\x04\x00\x00\x00abcd", b"\x05\x00\x00\x00\x94\x05\xc0\xc0\xc0"])
def test_garbage_on_its_socket_ends_a_child(host: Host, data: bytes) -> None:
    slot = host.ready()
    slot.feed([task("garbage", {"data": data})])
    exited = host.exited()
    assert (exited["cause"], exited["started"]) == ("protocol_error", [[1, 7]])
    assert "did not keep the protocol" in exited["message"]


def test_terminate_lets_the_task_unwind_and_clean_up(host: Host, tmp_path: Path) -> None:
    slot = host.ready()
    slot.feed([task("long", str(tmp_path))])
    host.until(lambda news: bool(news.progress))
    slot.terminate()
    exited = host.exited()
    assert (exited["signal"], exited["cause"], exited["started"]) == (signal.SIGTERM, "stopped", [[1, 7]])
    assert (tmp_path / "unwound").exists()
    assert (tmp_path / "cleaned").exists()
    assert host.news.results == []


def test_a_child_that_holds_on_to_the_interpreter_is_killed_and_its_workdir_removed(host: Host, tmp_path: Path) -> None:
    slot = host.ready()
    slot.feed([task("stuck")])
    host.until(lambda news: bool(news.lines))
    slot.terminate()
    slot.kill()
    exited = host.exited()
    assert (exited["signal"], exited["started"]) == (signal.SIGKILL, [[1, 7]])


def test_the_workdir_of_a_killed_task_is_removed(host: Host, tmp_path: Path) -> None:
    slot = host.ready()
    slot.feed([task("long", str(tmp_path))])
    host.until(lambda news: bool(news.progress))
    workdir = Path((tmp_path / "workdir").read_text())
    assert (workdir / "large").exists()
    slot.kill()
    host.exited()
    slot_process.spawner().settle(SECONDS)
    assert not workdir.parent.exists()


def test_cancel_is_seen_by_the_task_and_progress_travels(host: Host, tmp_path: Path) -> None:
    slot = host.ready()
    slot.feed([task("long", str(tmp_path))])
    host.until(lambda news: bool(news.progress))
    assert host.news.progress == [[1, 7, 0.5, "half"]]
    slot.cancel(1, 7)
    [result] = host.results()
    assert result[2] == Outcome.CANCELLED
    assert result[6]["message"] == "asked to stop"
    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize(("kind", "threads"), [(ProcessSlot, 1), (ThreadSlots, 2)])
def test_what_a_task_returns_when_it_has_seen_the_cancel_is_no_result(host: Host, kind: Any, threads: int) -> None:
    slot = host.ready(kind, replace(host.spec, threads=threads))
    slot.feed([task("obedient")])
    host.until(lambda news: bool(news.progress))
    slot.cancel(1, 7)
    [result] = host.results()
    assert (result[2], result[3]) == (Outcome.CANCELLED, b"")


def test_what_waits_behind_a_slow_task_comes_back(host: Host, tmp_path: Path) -> None:
    slot = host.ready()
    slot.feed([task("long", str(tmp_path), id=1), task("echo", id=2), task("echo", id=3)])
    returned = host.until(lambda news: len(news.returned) == 2).returned
    assert returned == [[id, 7, Returned.UNSTARTED, 0.0, "", False] for id in (2, 3)]


def test_what_a_task_started_dies_with_its_slot(host: Host, tmp_path: Path) -> None:
    slot = host.ready()
    slot.feed([task("offspring")])
    death = Death(int(host.until(lambda news: bool(news.lines)).lines[0][1]))
    slot.kill()
    host.exited()
    assert death.wait()


def test_a_copy_that_a_task_forks_is_no_slot(host: Host) -> None:
    slot = host.ready()
    slot.feed([task("fork", id=1)])
    assert values.unpack(host.results()[0][3]) == 0
    assert host.news.progress == []
    slot.feed([task("echo", id=2)])
    assert [result[0] for result in host.results(2)] == [1, 2]


def test_an_idle_slot_closes_in_order_and_a_busy_one_is_ended(host: Host, tmp_path: Path) -> None:
    idle = host.ready()
    idle.close()
    exited = host.exited()
    assert (exited["exit_code"], exited["cause"], exited["started"]) == (0, "stopped", [])
    host.forget()
    busy = host.ready()
    busy.feed([task("long", str(tmp_path))])
    host.until(lambda news: bool(news.progress))
    busy.close()
    assert host.exited()["signal"] == signal.SIGKILL


def test_params_larger_than_the_sockets_buffer_do_not_block_the_host(host: Host, tmp_path: Path) -> None:
    slot = host.ready()
    slot.feed([task("stuck")])
    host.until(lambda news: bool(news.lines))  # now nobody reads
    started = now()
    for n in range(8):
        slot.feed([task("echo", {"value": b"x" * 1_000_000}, id=n + 2)])
    assert now() - started < 1
    slot.kill()
    host.exited()
    slot = host.ready()
    slot.feed([task("echo", {"value": b"x" * 1_000_000}, id=n) for n in range(1, 9)])
    news = host.until(lambda news: len(news.results) + len(news.returned) == 8)
    assert all(len(result[3]) > 1_000_000 for result in news.results)


@pytest.mark.parametrize(
    ("text", "cause"), [("import os; os._exit(4)", "start_failed"), ("import nothing_like_this", None)]
)
def test_code_that_cannot_be_loaded(host: Host, text: str, cause: str | None) -> None:
    host.code.write_text(text)
    slot = host.start()
    if cause:
        exited = host.exited()
        assert (exited["cause"], exited["exit_code"]) == (cause, 4)
        return
    host.until(lambda news: news.ready is not None)
    assert host.news.ready is not None
    assert host.news.ready["types"] == []
    assert "No module named 'nothing_like_this'" in host.news.ready["failed"][str(host.code)]
    slot.feed([task("echo")])
    assert host.until(lambda news: bool(news.returned)).returned[0][2] == Returned.UNSERVED


NO_THREADS = """
import threading
def refuse(self): raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
"""


def test_a_child_that_can_start_no_thread_never_says_that_it_is_ready(host: Host) -> None:
    host.code.write_text(NO_THREADS)
    slot = host.start()
    slot.feed([task("echo")])
    exited = host.exited()
    assert (exited["cause"], exited["started"], host.news.ready) == ("start_failed", [], None)
    assert "can't start new thread" in exited["message"]


def test_an_interpreter_that_is_not_there(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    host.start()
    exited = host.exited()
    assert exited["cause"] == "start_failed"
    assert "no-python" in exited["message"]


def test_a_file_beside_the_code_cannot_break_the_child(host: Host) -> None:
    for name in ("queue", "threading", "msgpack", "workerhost", "struct"):
        (host.code.parent / f"{name}.py").write_text("raise RuntimeError('the wrong file')")
    host.ready().feed([task("echo")])
    assert host.results()[0][2] == Outcome.COMPLETED


HOST = """
import sys
from workerhost.actors.slot import ProcessSlot, SlotSpec
from workerhost.transport.mailbox import Mailbox

mailbox = Mailbox()
slots = [ProcessSlot(number, SlotSpec(code=(sys.argv[1],)), mailbox) for number in range(2)]
for slot in slots:
    slot.start()
slots[0].feed([(1, 7, "stuck", 1, 0, 5, 0.0, None, None, (), bytes([192]), None)])
seen = set()
while seen != {"idle", "stuck"}:
    for news in mailbox.get().message.items:
        seen |= {"idle"} if news.slot == 1 and news.ready else set()
        seen |= {text for _, text in news.lines} & {"stuck"}
print(*(slot.pid for slot in slots), flush=True)
sys.stdin.read()
"""


def test_children_die_with_their_host(host: Host) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", HOST, str(host.code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    deaths = [Death(int(pid)) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.wait(SECONDS)
    parent.stdout.close()
    parent.stdin.close()
    assert [death.wait() for death in deaths] == [True, True]


def test_threads_share_a_child_and_run_side_by_side(host: Host, tmp_path: Path) -> None:
    spec = SlotSpec(code=host.spec.code, paths=host.spec.paths, environment=Environment(isolation="thread"), threads=3)
    slot = host.ready(ThreadSlots, spec)
    for id in (1, 2):
        (tmp_path / str(id)).mkdir()
        slot.feed([task("long", str(tmp_path / str(id)), id=id)])
        host.until(lambda news: len(news.progress) == id)  # noqa: B023
    slot.feed([task("say", {"text": "third"}, id=3)])
    host.results()
    slot.cancel(1, 7)
    assert [result[0] for result in host.results(2)] == [3, 1]
    assert (3, "third") in host.news.lines
    slot.terminate()
    exited = host.exited()
    assert exited["signal"] == signal.SIGTERM
    assert [result[0] for result in host.results(3)] == [3, 1, 2], "in a thread it can only be asked, so it reports"


def test_threads_that_die_together_name_all_that_ran(host: Host, tmp_path: Path) -> None:
    slot = host.ready(
        ThreadSlots,
        SlotSpec(code=host.spec.code, paths=host.spec.paths, environment=Environment(isolation="thread"), threads=2),
    )
    slot.feed([task("long", str(tmp_path), id=1)])
    host.until(lambda news: bool(news.progress))
    slot.feed([task("die", {"how": "exit"}, id=2)])
    exited = host.exited()
    assert sorted(exited["started"]) == [[1, 7], [2, 7]]


def test_an_inline_slot_runs_workers_as_they_are(host: Host) -> None:
    here: list[int] = []
    release = threading.Event()

    @worker("here")
    def note(x: int) -> int:
        here.append(x)
        return os.getpid()

    @worker("wait")
    def wait() -> None:
        release.wait(SECONDS)

    slot = host.start(InlineSlot, SlotSpec(environment=Environment(isolation="inline")), workers=[note, wait])
    slot.feed([task("here", {"x": 5}), task("wait", id=2), task("here", {"x": 6}, id=3)])
    news = host.until(lambda news: len(news.results) == 1 and len(news.returned) == 1)
    assert news.ready is not None
    assert news.ready["types"] == ["here", "wait"]
    assert values.unpack(news.results[0][3]) == os.getpid() == slot.pid
    assert news.returned[0][:3] == [3, 7, Returned.UNSTARTED]
    assert here == [5]
    release.set()
    host.results(2)
    slot.close()
    assert host.exited()["cause"] == "stopped"
