"""A whole pool in a `with` block: every call of the public face, and what entering and leaving the block does."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from workerhost import (
    BaseWorker,
    Batch,
    Client,
    ConfigError,
    Fail,
    InvalidTask,
    NoHost,
    Release,
    Result,
    Task,
    TaskCancelled,
    TaskFailed,
    TaskState,
    TaskUnknown,
    TooLarge,
    WorkerHost,
    WorkerHostError,
    worker,
)
from workerhost.actors.host import HostActor
from workerhost.actors.levels import Hopeless, Subtree

SECONDS = 10.0
"""Longer than anything here takes; a wait of that length has failed."""


@worker("text.length")
def length(text: str) -> int:
    return len(text)


@worker("echo")
def echo(value: Any) -> Any:
    return value


class Gate(BaseWorker):
    """Waits until the test opens it; says which tasks it began, in order."""

    type = "gate"
    begun: list[Any]
    entered: threading.Semaphore
    opened: threading.Event

    def execute(self, task: Task) -> Any:
        self.begun.append(task.params)
        self.entered.release()
        while not self.opened.wait(0.005):
            if self.cancelled:
                return None
        return task.params


@pytest.fixture
def gate() -> Any:
    """A class of its own for each test."""

    class Own(Gate):
        begun: list[Any] = []  # noqa: RUF012  # one instance per slot, one list for all
        entered = threading.Semaphore(0)
        opened = threading.Event()

    return Own


def run(folder: Path, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """A Python program in a folder."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, input=text, capture_output=True, text=True, timeout=2 * SECONDS, check=False,
    )  # fmt: skip


# Sending and results.


def test_every_way_to_send_and_to_take_results() -> None:
    with WorkerHost(workers=[length, echo]) as pool:
        client = pool.client
        assert client.send("text.length", {"text": "hello"}).result(SECONDS) == 5
        assert client.send_soon("text.length", {"text": "soon"}).result(SECONDS) == 4
        batch = client.send_many("text.length", ({"text": "x" * n} for n in range(2500)))
        assert batch.results(SECONDS) == list(range(2500))
        assert batch.counts == {TaskState.COMPLETED: 2500}
        assert list(client.map("echo", range(300), buffersize=50)) == list(range(300))
        handles = client.send_many("echo", [1, 2, 3])
        assert sorted(handle.result() for handle in client.as_completed(handles, timeout=SECONDS)) == [1, 2, 3]
        assert client.status()["tasks"]["completed"] == 2805
    assert length("stays callable") == 14


def test_values_come_back_as_they_were_sent_or_are_refused_with_path_and_cure() -> None:
    noon = datetime(2026, 5, 4, 12, 30, 0, 250_000, timezone(timedelta(hours=2)))
    value = {"list": [1, 2.5, None, True], "bytes": b"\0\1", "at": noon, "deep": [{"tuple": (1, ("a",))}]}
    with WorkerHost(workers=[echo]) as pool:
        back = pool.client.send("echo", [value]).result(SECONDS)
        assert back == [{**value, "deep": [{"tuple": [1, ["a"]]}]}]
        assert back[0]["at"].tzinfo is UTC
        assert pool.client.send("echo", (1, 2)).result(SECONDS) == [1, 2]
        for params, path, cure in (
            ({"x": [1.0, float("nan")]}, 'params["x"][1]', "use None"),
            ({"clips": [Path("a.mp4")]}, 'params["clips"][0]', "use str()"),
            ({"at": datetime(2026, 1, 1)}, 'params["at"]', "astimezone"),  # noqa: DTZ001  # that is the mistake
            ({1: 2}, "params", "use str()"),
        ):
            with pytest.raises(InvalidTask) as caught:
                pool.client.send("echo", params)
            assert caught.value.path == path
            assert cure in str(caught.value)
        with pytest.raises(TooLarge, match="store the data"):
            pool.client.send("echo", b"x" * (1 << 20))
        with pytest.raises(NoHost, match="nobody"):
            pool.client.send("nobody", require_host=True)
        assert sum(pool.client.status()["tasks"].values()) == 2


def test_every_way_a_task_ends(capfd: pytest.CaptureFixture[str]) -> None:
    class Ends(BaseWorker):
        type = "ends"

        def execute(self, task: Task) -> Any:
            ends: dict[str, Any] = {
                "result": lambda: Result(success=True, data={"n": 1}),
                "unsuccessful": lambda: Result(success=False, error="the site said no", retry=False),
                "large": lambda: b"x" * (5 << 20),
                "unpackable": lambda: {"x": {1, 2}},
            }
            if task.params in ends:
                return ends[task.params]()
            if task.params == "release" and task.attempt < 3:
                raise Release("not now", after=0.01)
            if task.params == "release":
                return task.attempt, task.failures
            if task.params == "again" and task.attempt == 1:
                raise Fail("the first time", retry=True, after=0.01)
            if task.params == "again":
                return task.attempt, task.failures
            if task.params == "fail":
                raise Fail("no such clip")
            raise KeyError(task.params)

    def failure(params: str, **sending: Any) -> TaskFailed:
        with pytest.raises(TaskFailed) as caught:
            pool.client.send("ends", params, **sending).result(SECONDS)
        return caught.value

    with WorkerHost(workers=[Ends, length]) as pool:
        assert pool.client.send("ends", "result").result(SECONDS) == {"n": 1}
        assert pool.client.send("ends", "release").result(SECONDS) == [3, 0]
        assert pool.client.send("ends", "again").result(SECONDS) == [2, 1]
        error = failure("unsuccessful")
        assert (error.cause, error.message, error.attempts) == ("failed", "the site said no", 1)
        error = failure("fail")
        assert (error.cause, error.error_type, error.message) == ("failed", "Fail", "no such clip")
        error = failure("boom", max_attempts=1)
        assert (error.cause, error.error_type, error.host) == ("exception", "KeyError", "embedded")
        assert "raise KeyError(task.params)" in error.traceback
        assert failure("large").cause == "result_too_large"
        assert 'result["x"]' in failure("unpackable").message
        with pytest.raises(TaskFailed, match="unexpected keyword argument 'txt'") as caught:
            pool.client.send("text.length", {"txt": "a typing error"}).result(SECONDS)
        assert (caught.value.error_type, caught.value.attempts) == ("TypeError", 1)
    assert capfd.readouterr().out == ""


def test_an_end_that_is_said_in_another_form_harms_no_other_task() -> None:
    """An exception, bytes, a number: what nobody can take ended the slot's thread, or had its host turned away."""

    class OwnFail(Fail):
        def __init__(self, code: int) -> None:
            self.code = code

    @worker("odd")
    def odd(what: str) -> Any:
        if what == "raised":
            raise OwnFail(3)
        said: Any = {"error": (ValueError("x"), True), "bytes": (b"bytes", True), "retry": ("no", 0)}[what]
        return Result(False, error=said[0], retry=said[1])

    with WorkerHost(workers=[odd, length], slots=1) as pool:
        for what, message in (("error", "x"), ("bytes", "bytes"), ("retry", "no"), ("raised", "3 (AttributeError: ")):
            with pytest.raises(TaskFailed) as caught:
                pool.client.send("odd", {"what": what}, max_attempts=1).result(SECONDS)
            assert caught.value.message.startswith(message)
            assert pool.client.send("text.length", {"text": what}).result(SECONDS) == len(what)


# Order, slots, progress, cancel.


def test_slots_bound_what_runs_and_priority_orders_what_waits(gate: Any) -> None:
    with WorkerHost(workers=[gate], slots=2) as pool:
        assert pool.client.hosts()[0]["slots"] == 2
        running = pool.client.send_many("gate", ["a", "b"])
        assert all(gate.entered.acquire(timeout=SECONDS) for _ in range(2))
        waiting = {priority: pool.client.send("gate", priority, priority=priority) for priority in (3, 5, 9)}
        assert len(gate.begun) == 2
        running[0].cancel()  # one slot is free: the rest runs one after the other
        for priority in (9, 5, 3):
            assert gate.entered.acquire(timeout=SECONDS)
            waiting[priority].cancel()
        assert gate.begun[2:] == [9, 5, 3]
        gate.opened.set()
        assert running[1].result(SECONDS) == "b"


def test_progress_is_pushed_to_the_sender_and_to_other_clients() -> None:
    told, go_on = threading.Event(), threading.Event()

    class Steps(BaseWorker):
        type = "steps"

        def execute(self, task: Task) -> str:
            self.report_progress(0.5, "half-way")
            told.set()
            assert go_on.wait(SECONDS)
            return "done"

    with WorkerHost(workers=[Steps]) as pool, Client(pool.address) as other:
        handle = pool.client.send("steps", tags=["film"])
        assert told.wait(SECONDS)
        until(lambda: handle.progress.fraction == 0.5, "its progress is heard")
        assert handle.progress.note == "half-way"
        assert handle.progress.at is not None
        assert handle.state is TaskState.RUNNING
        seen = other.task(handle.id)
        assert (seen.state, seen.progress.note) == (TaskState.RUNNING, "half-way")
        assert [task["id"] for task in other.tasks(tag="film", state="running", type="steps")] == [handle.id]
        go_on.set()
        assert seen.result(SECONDS) == handle.result(SECONDS) == "done"
        assert other.tasks(state="running") == []
        with pytest.raises(TaskUnknown):
            other.task(10**6)


def test_cancel_and_retry(gate: Any) -> None:
    with WorkerHost(workers=[gate], slots=1) as pool:
        runs, waits = pool.client.send("gate", 1), pool.client.send("gate", 2)
        assert gate.entered.acquire(timeout=SECONDS)
        assert waits.cancel()
        assert runs.cancel()
        assert not runs.cancel()
        for handle in (runs, waits):
            with pytest.raises(TaskCancelled):
                handle.result(SECONDS)
        until(lambda: pool.client.hosts()[0]["running"] == 0, "the one that ran has stopped")
        gate.opened.set()
        assert sorted(pool.client.retry([runs, waits])) == [runs.id, waits.id]
        assert (runs.result(SECONDS), waits.result(SECONDS)) == (1, 2)
        assert pool.client.retry(runs) == []


# Entering and leaving.


def test_leaving_does_not_mind_what_was_forgotten_meanwhile() -> None:
    done: list[int] = []

    @worker("slow")
    def slow(n: int) -> None:
        time.sleep(0.15)  # sleeps: the task is a slow one, so that the first are forgotten before the last has ended
        done.append(n)

    with WorkerHost({"queue": {"keep": {"completed": "100ms"}}}, workers=[slow], slots=1) as pool:
        for n in range(14):
            pool.client.send("slow", n)
    assert done == list(range(14))


def test_leaving_waits_for_everything_in_memory() -> None:
    done: list[int] = []

    @worker("later")
    def later(n: int) -> None:
        done.append(n)

    with WorkerHost(workers=[later], slots=1) as pool:
        assert not pool.client.status()["supervisor"]["durable"]
        pool.client.send("later", {"n": 99}, delay=0.3)
        pool.client.send_many("later", ({"n": n} for n in range(300)))
    assert done == [*range(300), 99]
    with pytest.raises(WorkerHostError, match="not running"):
        pool.address  # noqa: B018  # reading it is what is tested


@pytest.mark.parametrize("count", [1, 10, 3000])
def test_leaving_at_once_loses_nothing_of_send_soon(count: int) -> None:
    with WorkerHost(workers=[echo]) as pool:
        handles = [pool.client.send_soon("echo", n) for n in range(count)]
    assert [handle.result() for handle in handles] == list(range(count))


def test_leaving_says_why_it_waits_for_what_nobody_runs(caplog: pytest.LogCaptureFixture) -> None:
    pool = WorkerHost(workers=[echo])
    addresses: list[str] = []

    def program() -> None:
        with pool:
            addresses.append(pool.address)
            pool.client.send("ehco", 1)

    leaving = threading.Thread(target=program, daemon=True)
    leaving.start()
    until(lambda: "leaving_waits" in caplog.text, "leaving waits for the task")
    assert "no host serves ehco" in caplog.text
    with Client(addresses[0]) as other:
        assert other.cancel(1) == [1]
        leaving.join(SECONDS)
    assert not leaving.is_alive()


def test_with_a_database_the_rest_waits_there_for_the_next_pool(tmp_path: Path, gate: Any) -> None:
    file = tmp_path / "tasks.db"
    opener = threading.Timer(0.2, gate.opened.set)
    with WorkerHost(workers=[gate], database=file, slots=1) as pool:
        batch = pool.client.send_many("gate", range(50))
        ids = [handle.id for handle in batch]
        assert gate.entered.acquire(timeout=SECONDS)
        opener.start()  # while the block is being left
    opener.join()
    assert gate.begun == [0]
    with WorkerHost(workers=[gate], database=file, slots=1) as pool:
        assert [pool.client.task(id).result(SECONDS) for id in ids] == list(range(50))
        assert [attempt["outcome"] for attempt in pool.client.show(ids[0])["attempts"]] == ["completed"]
    assert gate.begun == list(range(50))


def test_leaving_by_an_exception_cancels(gate: Any) -> None:
    class Trouble(Exception):
        pass

    batches: list[Batch] = []

    def block() -> None:
        with WorkerHost(workers=[gate], slots=1) as pool:
            batches.append(pool.client.send_many("gate", range(500)))
            assert gate.entered.acquire(timeout=SECONDS)
            raise Trouble

    with pytest.raises(Trouble):
        block()
    assert gate.begun == [0]
    assert batches[0].counts == {TaskState.CANCELLED: 500}


def test_join_waits_as_long_as_it_is_told(gate: Any) -> None:
    with WorkerHost(workers=[gate], slots=1) as pool:
        assert pool.join(0)
        assert pool.join()
        pool.client.send_many("gate", range(20))
        assert not pool.join(0.05)
        gate.opened.set()
        assert pool.join(SECONDS)
        assert pool.client.status()["tasks"]["completed"] == 20


def test_a_pool_that_binds_is_reached_by_others(tmp_path: Path) -> None:
    with WorkerHost({"pool": {"bind": "tcp://127.0.0.1:0"}}, workers=[length]) as pool:
        assert pool.address.startswith("tcp://127.0.0.1:")
        assert not pool.address.endswith(":0")
        with Client(pool.address) as other:
            assert other.send("text.length", {"text": "tcp"}).result(SECONDS) == 3
        sent = run(
            tmp_path, "-m", "workerhost", "--address", pool.address, "send", "text.length", "text=four", "--wait"
        )
        assert (sent.stdout, sent.returncode) == ("4\n", 0), sent.stderr


@pytest.mark.parametrize(
    ("place", "error"),
    [((HostActor, "_news"), RuntimeError("broken")), ((Subtree, "watch"), Hopeless("echo died 6 times"))],
    ids=["its actor fails", "its levels are hopeless"],
)
def test_a_host_that_fails_is_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: tuple[type, str], error: Exception
) -> None:
    owner, name = place
    fails = iter([error])
    works: Any = getattr(owner, name)

    def once(self: Any, *given: Any) -> Any:
        for error in fails:
            raise error
        return works(self, *given)

    with WorkerHost(workers=[echo]) as pool:
        assert pool.client.send("echo", 1).result(SECONDS) == 1
        monkeypatch.setattr(owner, name, once)
        until(
            lambda: pool.client.send("echo", 2).result(SECONDS) == 2 and "host_started_again" in caplog.text,
            "the host that failed is started again",
            show=lambda: caplog.text,
        )
        assert str(error) in caplog.text
        assert pool.client.send("echo", 3).result(SECONDS) == 3


def test_a_host_that_was_told_to_go_is_not_started_again(caplog: pytest.LogCaptureFixture) -> None:
    with WorkerHost(workers=[echo]) as pool:
        pool.client.drain("embedded")
        until(lambda: [host["state"] for host in pool.client.hosts()] == ["left"], "the host has left")
        handle = pool.client.send("echo", 1)
        assert not handle.wait(0.5), "nobody runs it"
        assert "no host serves echo" in pool.client.status()["notes"]
        handle.cancel()
    assert "host_started_again" not in caplog.text


def test_pools_beside_each_other_do_not_meet() -> None:
    with WorkerHost(workers=[length]) as one, WorkerHost(workers=[echo]) as two:
        assert one.address != two.address
        assert one.client.send("text.length", {"text": "ab"}).result(SECONDS) == 2
        assert two.client.send("echo", 7).result(SECONDS) == 7
        assert one.client.status()["tasks"]["completed"] == 1


# Process slots.

SCRIPT = """\
import os, sys
from workerhost import BaseWorker, WorkerHost, worker

@worker("where")
def where():
    return [os.getpid(), __name__]

class Twice(BaseWorker):
    type = "twice"
    def execute(self, task):
        return 2 * task.params

if __name__ == "__main__":
    with WorkerHost({"host": {"isolation": "process"}}, workers=[where, Twice], slots=1) as pool:
        pid, name = pool.client.send("where").result(10)
        assert pid != os.getpid()
        print(name, pool.client.send("twice", 21).result(10))
"""
PROMPT = """\
from workerhost import WorkerHost, worker

@worker("here")
def here():
    return 1

with WorkerHost({"host": {"isolation": "process"}}, workers=[here]) as pool:
    print("not reached")
"""


def test_process_slots_load_the_workers_of_the_script_that_runs(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = run(tmp_path, "script.py")
    assert (done.stdout, done.returncode) == ("__mp_main__ 42\n", 0), done.stderr


def test_a_worker_made_at_a_prompt_is_refused_with_the_cure(tmp_path: Path) -> None:
    done = run(tmp_path, "-", text=PROMPT)
    assert done.stdout == ""
    assert "ConfigError: here is defined at a prompt" in done.stderr
    assert "file" in done.stderr.splitlines()[-1]
    inline = run(
        tmp_path,
        "-",
        text=PROMPT.replace("process", "inline").replace('"not reached"', 'pool.client.send("here").result(10)'),
    )
    assert inline.stdout == "1\n", inline.stderr


def test_a_configuration_that_is_wrong_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_size"):
        WorkerHost({"queue": {"max_sise": 3}})
    with pytest.raises(ConfigError, match="missing"), WorkerHost(database=tmp_path / "missing" / "tasks.db"):
        pass


@pytest.mark.parametrize("isolation", ["inline", "process"])
def test_workers_that_cannot_serve_are_refused_before_anything_starts(isolation: str) -> None:
    def unmarked() -> None: ...

    with pytest.raises(ConfigError, match=r"unmarked.* is no worker"):
        WorkerHost({"host": {"isolation": isolation}}, workers=[length, unmarked])
    with pytest.raises(ConfigError, match="echo has two workers"):
        WorkerHost({"host": {"isolation": isolation}}, workers=[echo, worker("echo")(unmarked)])
