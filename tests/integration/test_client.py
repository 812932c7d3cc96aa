"""The client against a real supervisor, with a host of the test's own that does as the task's type says."""

from __future__ import annotations

import gc
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from supervisors import Supervisors, run

from workerhost import (
    Client,
    Handle,
    InvalidTask,
    NoHost,
    QueueFull,
    TaskCancelled,
    TaskFailed,
    TaskState,
    TaskUnknown,
    TooLarge,
    WorkerHostError,
)
from workerhost.transport import clock, codec, link
from workerhost.transport.mailbox import Mailbox
from workerhost.transport.messages import (
    Claim,
    Heartbeat,
    Hello,
    Message,
    Progress,
    Recorded,
    Refused,
    Results,
    Stop,
    Tasks,
    Welcome,
)

SECONDS = 20.0
"""Longer than anything here takes; a test that waits so long has failed."""


class EchoHost(threading.Thread):
    """Joins a pool and ends tasks by type: `echo` returns its params, `fail` fails, `hold` waits for `release`."""

    def __init__(self, address: str, slots: int = 500) -> None:
        super().__init__(daemon=True)
        self.address, self.slots = address, slots
        self.mailbox = Mailbox()
        self.held: dict[int, list[Any]] = {}
        self.holding = threading.Event()
        self.unrecorded: dict[int, list[Any]] = {}
        self.number = self.seen = 0
        self.joined = False
        self.link: Any = None

    def run(self) -> None:
        self.connect()
        while True:
            for item in self.mailbox.get().message.items or [None]:
                if item == "stop":
                    self.link.close()
                    return
                if item == "release":
                    self.report([self.end(task) for task in self.held.values()])
                    self.held.clear()
                elif isinstance(item, link.Received) and item.link is self.link:
                    self.hear(*codec.decode(item.body))
            if self.joined:
                self.say(Heartbeat(self.seen))
            self.mailbox.wake_at(clock.now() + 0.2)

    def connect(self) -> None:
        if self.link is not None:
            self.link.close()
        self.link = link.connect(self.address, self.mailbox)
        self.joined = False
        finished = [item[:2] for items in self.unrecorded.values() for item in items]
        running = [task[:2] for task in self.held.values()]
        offer = {"slots": {"": self.slots}, "types": ["echo", "fail", "hold"], "running": running, "finished": finished}
        self.link.send(codec.encode(Hello("host", [1, 1], b"e" * 16, "echo-host", offer), 0))
        self.mailbox.wake_at(clock.now() + 0.2)

    def say(self, message: Message) -> int:
        self.number += 1
        self.link.send(codec.encode(message, self.number))
        return self.number

    def report(self, items: list[Any]) -> None:
        if items:
            self.unrecorded[self.say(Results(items))] = items

    def hear(self, number: int, message: Message) -> None:
        self.seen = number
        if isinstance(message, Welcome):
            self.joined, self.number = True, 0
            again, self.unrecorded = self.unrecorded, {}
            self.report([item for items in again.values() for item in items])
            self.say(Claim({"": self.slots}))
        elif isinstance(message, Refused):
            self.connect()
        elif isinstance(message, Recorded):
            self.unrecorded.pop(message.number, None)
        elif isinstance(message, Stop):
            self.report([[id, fence, 4, b"", 0.0, 0, None] for id, fence in message.items if self.held.pop(id, None)])
        elif isinstance(message, Tasks):
            for type, tasks in message.groups:
                if type == "hold":
                    self.held.update({task[0]: task for task in tasks})
                    self.say(Progress([[task[0], task[1], 0.5, "half-way"] for task in tasks]))
                    self.holding.set()
                else:
                    self.report([self.end(task, failed=type == "fail") for task in tasks])

    def end(self, task: list[Any], *, failed: bool = False) -> list[Any]:
        detail = {"error_type": "ValueError", "message": "no", "traceback": "Traceback ...", "retry": False}
        return [task[0], task[1], int(failed), b"" if failed else task[5], 0.001, 0, detail if failed else None]

    def release(self) -> None:
        self.mailbox.post("release")

    def stop(self) -> None:
        self.mailbox.post("stop")
        self.join(SECONDS)
        assert not self.is_alive()


@pytest.fixture(params=["tcp", "memory"])
def address(request: Any, start: Supervisors, tmp_path: Path) -> str:
    """A supervisor over each kind of link."""
    return start("tcp://127.0.0.1:0" if request.param == "tcp" else f"memory://{tmp_path.name}")


@pytest.fixture
def host(address: str) -> Iterator[EchoHost]:
    """A host that has been told to join."""
    echo = EchoHost(address)
    echo.start()
    yield echo
    echo.stop()


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    """A client of that supervisor."""
    with Client(address, timeout=SECONDS) as client:
        yield client


def stored(client: Client) -> int:
    return sum(client.status()["tasks"].values())


# Sending and results.


def test_a_task_is_sent_and_its_value_comes_back(client: Client, host: EchoHost) -> None:
    handle = client.send("echo", {"text": "grüße", "n": [1, 2.5, None, b"\x00"]}, priority=7, tags=["t"])
    assert handle.id == 1
    assert handle.result(timeout=SECONDS) == {"n": [1, 2.5, None, b"\x00"], "text": "grüße"}
    assert handle.state is TaskState.COMPLETED
    assert handle.progress.fraction == 1.0
    assert handle.wait(0)
    assert [task["id"] for task in client.tasks(state="completed", tag="t")] == [1]
    assert client.tasks(state=TaskState.FAILED) == []
    assert client.show(1)["params"] == client.show(1)["result"] == handle.result()


def test_a_batch_is_a_sequence_of_handles_with_results_in_order(client: Client, host: EchoHost) -> None:
    batch = client.send_many("echo", ({"i": i} for i in range(2500)), chunk=400)
    assert batch.results(timeout=SECONDS) == [{"i": i} for i in range(2500)]
    assert batch.counts == {TaskState.COMPLETED: 2500}
    assert batch.progress[:2] == (1.0, "2500 of 2500 ended")
    assert len(batch) == 2500
    assert [batch[i].id for i in (0, 399, 400, -1)] == [1, 400, 401, 2500]
    assert [handle.id for handle in batch[398:402]] == [399, 400, 401, 402]
    assert (batch[7] in batch, batch.index(batch[500])) == (True, 500)
    assert sum(map(len, batch.ids())) == 2500
    with pytest.raises(IndexError):
        batch[2500]


def test_an_empty_batch_is_done(client: Client) -> None:
    batch = client.send_many("echo", [])
    assert (len(batch), batch.results(), batch.wait(0), batch.progress.fraction) == (0, [], True, 1.0)


def test_tasks_sent_soon_have_ids_and_results_later(client: Client, host: EchoHost) -> None:
    handles = [client.send_soon("echo", i) for i in range(3000)]
    assert [handle.result(SECONDS) for handle in handles] == list(range(3000))
    assert sorted(handle.id for handle in handles) == list(range(1, 3001))


def test_values_stream_in_order_from_an_endless_source(client: Client, host: EchoHost) -> None:
    values = client.map("echo", itertools.count(), buffersize=50)
    assert list(itertools.islice(values, 777)) == list(range(777))
    values.close()
    assert stored(client) <= 777 + 50


def test_a_map_that_is_left_early_cancels_what_has_not_ended(client: Client, host: EchoHost) -> None:
    with pytest.raises(TaskFailed):
        list(client.map("fail", range(10), buffersize=2))
    held = client.map("hold", range(8), buffersize=8)
    assert host.holding.wait(SECONDS)
    with pytest.raises(TimeoutError):
        next(client.as_completed([client.task(id) for id in range(3, 11)], timeout=0.05))
    host.release()
    assert next(held) == 0
    held.close()
    assert client.status()["tasks"]["running"] == client.status()["tasks"]["queued"] == 0


def test_a_map_can_give_errors_as_values(client: Client, host: EchoHost) -> None:
    found = list(client.map("fail", range(3), return_exceptions=True))
    assert [type(error) for error in found] == [TaskFailed] * 3
    assert [error.id for error in found] == [1, 2, 3]


def test_handles_come_as_their_tasks_end(client: Client, host: EchoHost) -> None:
    slow, quick = client.send("hold"), client.send_many("echo", range(20))
    ended: list[Handle] = []
    for handle in client.as_completed([slow, *quick, quick[3]], timeout=SECONDS):
        ended.append(handle)
        if len(ended) == 20:
            assert slow not in ended
            assert host.holding.wait(SECONDS)
            host.release()
    assert len(ended) == 21
    assert ended[-1] == slow
    assert set(ended) == {slow, *quick}


def test_many_threads_share_a_client(client: Client, host: EchoHost) -> None:
    results: dict[int, list[int]] = {}

    def work(base: int) -> None:
        results[base] = [client.send("echo", base + i).result(SECONDS) for i in range(20)]

    threads = [threading.Thread(target=work, args=(base,)) for base in range(0, 800, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert results == {base: list(range(base, base + 20)) for base in range(0, 800, 100)}


def test_nothing_is_kept_for_handles_that_are_gone(client: Client, host: EchoHost) -> None:
    connection = client._connections.current()  # pyright: ignore[reportPrivateUsage]  # what must not leak is inside
    assert client.send_many("echo", range(3000)).wait(SECONDS)
    kept = client.send("echo", 1)
    kept.result(SECONDS)
    gc.collect()
    assert len(connection.conversation.register) == 1


# Ends other than completing.


def test_a_failed_task_says_everything(client: Client, host: EchoHost) -> None:
    handle = client.send("fail")
    with pytest.raises(TaskFailed) as caught:
        handle.result(timeout=SECONDS)
    error = caught.value
    assert (error.id, error.cause, error.error_type, error.message) == (1, "exception", "ValueError", "no")
    assert (error.traceback, error.attempts, error.host) == ("Traceback ...", 1, "echo-host")
    assert handle.state is TaskState.FAILED
    batch = client.send_many("fail", range(2))
    assert [type(error) for error in batch.results(SECONDS, return_exceptions=True)] == [TaskFailed] * 2
    with pytest.raises(TaskFailed):
        batch.results()


def test_a_task_is_cancelled_and_tried_again(client: Client) -> None:
    handle, later = client.send("nobody"), client.send("nobody", delay=3600)
    assert later.state is TaskState.SCHEDULED
    assert handle.cancel()
    assert handle.state is TaskState.CANCELLED
    assert not handle.cancel()
    with pytest.raises(TaskCancelled):
        handle.result()
    assert client.cancel([handle, later.id]) == [2]
    assert client.retry([handle]) == [1]
    assert handle.state is TaskState.QUEUED
    assert client.send_many("nobody", range(10)).cancel() == 10


def test_progress_is_pushed_and_waiting_has_a_bound(client: Client, host: EchoHost) -> None:
    handle = client.send("hold", 5)
    assert host.holding.wait(SECONDS)
    with pytest.raises(TimeoutError, match="task 1"):
        handle.result(timeout=0.3)
    assert not handle.wait(0)
    assert (handle.state, handle.progress.fraction, handle.progress.note) == (TaskState.RUNNING, 0.5, "half-way")
    assert handle.progress.at is not None
    host.release()
    assert handle.result(SECONDS) == 5


def test_a_task_is_followed_from_another_client(client: Client, host: EchoHost, address: str) -> None:
    sent = client.send("hold", "x")
    with Client(address, timeout=SECONDS) as other:
        handle = other.task(sent.id)
        assert host.holding.wait(SECONDS)
        host.release()
        assert handle.result(SECONDS) == "x"
        assert other.task(sent.id).state is TaskState.COMPLETED
        with pytest.raises(TaskUnknown, match="no task 99"):
            other.task(99)
        with pytest.raises(TaskUnknown):
            other.show(2**63)
        assert other.task(client.send("echo", 7).id).result(SECONDS) == 7


# Refusals: nothing is stored.


def test_what_cannot_be_stored_is_refused_and_nothing_is(client: Client) -> None:
    with pytest.raises(InvalidTask) as caught:
        client.send("echo", {"clips": [1, 2, 3, Path("a")]})
    assert caught.value.path == 'params["clips"][3]'
    with pytest.raises(InvalidTask):
        client.send("a.b.c.d")
    with pytest.raises(TooLarge):
        client.send_soon("echo", "x" * 2_000_000)
    with pytest.raises(InvalidTask):
        client.send_many("echo", [*range(1500), object()])
    with pytest.raises(NoHost):
        client.send("echo", require_host=True)
    with pytest.raises(TypeError):
        client.send_soon("echo", colour="red")  # pyright: ignore[reportCallIssue]
    assert stored(client) == 0


def test_a_refused_task_that_was_sent_soon_says_so_when_asked(client: Client) -> None:
    refused, accepted = client.send_soon("echo", require_host=True), client.send_soon("echo")
    assert accepted.id == 1
    for question in (lambda: refused.id, refused.result, lambda: refused.state, refused.cancel):
        with pytest.raises(NoHost):
            question()
    assert "refused" in repr(refused)


def test_a_full_queue_refuses_or_makes_wait(start: Supervisors) -> None:
    address = start(max_size=30)
    echo = EchoHost(address, slots=5)
    with Client(address, timeout=SECONDS) as client:
        with pytest.raises(QueueFull) as caught:
            client.send_many("echo", iter(range(100)), chunk=20)
        assert caught.value.retry_after > 0
        assert caught.value.__notes__ == ["20 tasks of this batch were stored and will run: 1 to 20"]
        with pytest.raises(QueueFull):
            client.send_many("echo", range(31))
        assert stored(client) == 20
        echo.start()
        try:
            assert client.send_many("echo", range(200), full="wait").results(SECONDS) == list(range(200))
            handles = [client.send_soon("echo", i, full="wait") for i in range(60)]
            assert [handle.result(SECONDS) for handle in handles] == list(range(60))
        finally:
            echo.stop()


# Asking and ordering.


def test_a_pool_is_asked_and_ordered(client: Client, host: EchoHost) -> None:
    client.send("echo", 1).result(SECONDS)
    assert client.status()["hosts"][0]["name"] == "echo-host"
    assert [host["name"] for host in client.hosts()] == ["echo-host"]
    assert {"echo", "fail", "hold"} <= {type["type"] for type in client.types()}
    client.pause("echo")
    paused = client.send("echo", 2)
    assert not paused.wait(0.2)
    client.resume("echo")
    assert paused.result(SECONDS) == 2
    client.drain("echo-host")
    client.drain("echo-host", undo=True)
    with pytest.raises(WorkerHostError, match="nowhere"):
        client.drain("nowhere")
    with pytest.raises(InvalidTask):
        client.pause("a b")
    with pytest.raises(ValueError, match="sleeping"):
        client.tasks(state="sleeping")


def test_tasks_are_listed_page_by_page(client: Client) -> None:
    client.send_many("nobody", range(1500))
    assert [task["id"] for task in client.tasks(limit=1200)] == list(range(1500, 300, -1))
    assert len(client.tasks(type="nobody", limit=2000)) == 1500
    assert client.tasks(type="other") == []


# A supervisor that dies.


def test_a_wait_survives_a_restart_of_the_supervisor(start: Supervisors, tmp_path: Path) -> None:
    database = tmp_path / "tasks.db"
    address = start(database=database)
    echo = EchoHost(address)
    echo.start()
    try:
        with Client(address, timeout=SECONDS) as client:
            held = client.send("hold", "held")
            batch = client.send_many("nobody", range(10))
            assert echo.holding.wait(SECONDS)
            start.stop()
            soon = [client.send_soon("echo", i) for i in range(50)]
            start(address, database=database)
            echo.release()
            assert held.result(SECONDS) == "held"
            assert [handle.result(SECONDS) for handle in soon] == list(range(50))
            assert sorted(handle.id for handle in soon) == list(range(12, 62))
            assert batch.cancel() == 10
            assert stored(client) == 61
    finally:
        echo.stop()


# Processes.

FORKING = """
import os, sys, threading
from workerhost import Client
with Client(sys.argv[1], timeout=10) as client:
    handle, batch = client.send("echo", "parent"), client.send_many("echo", range(3))
    assert handle.result(10) == "parent" and batch.results(10) == [0, 1, 2]
    held = client.send("hold", "held")
    child = os.fork()
    if child == 0:
        assert client.send("echo", "child").result(10) == "child"
        assert handle.result(0) == "parent" and batch.results(0) == [0, 1, 2]
        assert held.cancel()
        client.close()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert held.wait(10)
    assert client.send("echo", "again").result(10) == "again"
    print(held.state)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_a_connection_of_its_own(start: Supervisors) -> None:
    address = start()
    echo = EchoHost(address)
    echo.start()
    try:
        done = run(FORKING, address)
        assert (done.returncode, done.stdout, done.stderr) == (0, "cancelled\n", "")
    finally:
        echo.stop()
