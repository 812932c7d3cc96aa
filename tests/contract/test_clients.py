"""What every client does, whether its words are called or awaited: each test runs on `Client` and `AsyncClient`."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any, cast

import pytest

from workerhost import (
    AsyncBatch,
    AsyncClient,
    AsyncHandle,
    Batch,
    Client,
    Handle,
    InvalidTask,
    PoolUnreachable,
    TaskCancelled,
    TaskFailed,
    TaskState,
    TaskUnknown,
    WorkerHost,
    WorkerHostError,
    worker,
)

SECONDS = 20.0
"""Longer than anything here takes; a test that waits so long has failed."""

let_go = threading.Event()


@worker("echo")
def echo(value: Any) -> Any:
    return value


@worker("fail")
def fail(value: Any) -> None:
    raise LookupError(value)


@worker("hold")
def hold(held: bool = True) -> str:
    if held:
        let_go.wait(SECONDS)
    return "held" if held else "not held"


class Awaited:
    """An `AsyncClient`, or what it gives, with the words of a `Client`: every call runs in one event loop."""

    def __init__(self, thing: Any, runner: asyncio.Runner) -> None:
        self.thing, self.runner = thing, runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.thing, name)
        if not callable(found) or isinstance(found, str):
            return self.plain(found)

        def call(*given: Any, **named: Any) -> Any:
            return self.plain(found(*map(bare, given), **named))

        return call

    def plain(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            value = self.runner.run(value)
        if isinstance(value, AsyncIterator):
            return self.each(value)
        return Awaited(value, self.runner) if isinstance(value, AsyncHandle | AsyncBatch) else value

    def each(self, values: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self.plain(self.runner.run(anext_of(values)))
                except StopAsyncIteration:
                    return
        finally:
            self.runner.run(values.aclose())

    def __len__(self) -> int:
        return len(self.thing)

    def __getitem__(self, index: int | slice) -> Any:
        found = self.thing[index]
        return list(map(self.plain, found)) if isinstance(index, slice) else self.plain(found)

    def __eq__(self, other: object) -> bool:
        return bare(self) == bare(other)

    def __hash__(self) -> int:
        return hash(self.thing)


async def anext_of(values: Any) -> Any:
    return await anext(values)


def bare(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(bare, cast("list[Any]", value)))
    return value.thing if isinstance(value, Awaited) else value


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerHost]:
    with WorkerHost(workers=[echo, fail, hold], slots=4) as pool:
        yield pool


@pytest.fixture(params=[Client, AsyncClient])
def make(request: Any) -> Iterator[Any]:
    """Makes clients of one kind."""
    if request.param is Client:
        yield Client
        return
    with asyncio.Runner() as runner:

        def made(*given: Any, **named: Any) -> Awaited:
            return Awaited(AsyncClient(*given, **named), runner)

        yield made


@pytest.fixture
def client(make: Any, pool: WorkerHost) -> Iterator[Any]:
    """A client of the pool; nothing is left running."""
    let_go.clear()
    client = make(pool.address, timeout=SECONDS)
    yield client
    let_go.set()
    client.close()
    assert pool.join(SECONDS)


def test_a_task_is_sent_and_its_value_comes_back(client: Any) -> None:
    handle = client.send("echo", {"value": [1, "zwei", None]}, priority=7, tags=["one"])
    assert handle.id > 0
    assert handle.result(timeout=SECONDS) == [1, "zwei", None]
    assert handle.state is TaskState.COMPLETED
    assert handle.progress.fraction == 1.0
    assert handle.wait(0)
    assert client.task(handle.id) == handle
    assert client.show(handle.id)["params"] == {"value": [1, "zwei", None]}
    assert [task["id"] for task in client.tasks(state="completed", tag="one", limit=1)] == [handle.id]


def test_a_task_of_a_typed_function_brings_its_params(client: Any) -> None:
    assert client.send(echo.task("hi")).result(SECONDS) == "hi"
    with pytest.raises(TypeError, match="brings its params"):
        client.send(echo.task("hi"), {"value": 1})


def test_a_failure_says_what_happened(client: Any) -> None:
    with pytest.raises(TaskFailed, match="no such thing") as failed:
        client.send("fail", {"value": "no such thing"}, max_attempts=1).result(SECONDS)
    assert failed.value.error_type == "LookupError"
    assert "raise LookupError" in failed.value.traceback


def test_who_stops_waiting_leaves_the_task_alone(client: Any) -> None:
    handle = client.send("hold")
    with pytest.raises(TimeoutError, match="it goes on"):
        handle.result(timeout=0.01)
    assert handle.wait(0.01) is False
    let_go.set()
    assert handle.result(SECONDS) == "held"


def test_a_task_is_cancelled_once(client: Any) -> None:
    handle = client.send("echo", 1, delay=3600)
    assert handle.state is TaskState.SCHEDULED
    assert handle.cancel() is True
    assert handle.cancel() is False
    with pytest.raises(TaskCancelled):
        handle.result(SECONDS)
    assert client.retry(handle) == [handle.id]
    assert handle.result(SECONDS) == 1
    assert client.cancel([handle.id]) == []


def test_a_task_that_is_sent_soon_has_its_number_later(client: Any) -> None:
    handles = [client.send_soon("echo", number) for number in range(50)]
    assert [handle.result(SECONDS) for handle in handles] == list(range(50))
    assert len({handle.id for handle in handles}) == 50


def test_what_cannot_travel_is_refused_before_anything_leaves(client: Any) -> None:
    before = client.status()["tasks"]
    with pytest.raises(InvalidTask, match="params"):
        client.send("echo", object())
    with pytest.raises(InvalidTask, match="type"):
        client.send("not a type")
    with pytest.raises(InvalidTask, match="params") as refused:
        client.send_many("echo", [1, 2, {3}])
    assert refused.value.__notes__ == ["these were number 2 (counted from 0) of the params given"]
    with pytest.raises(InvalidTask, match="not one task's"):
        client.send_many("echo", {"value": 1})
    assert client.status()["tasks"] == before


def test_a_batch_that_stops_half_way_says_what_was_stored(client: Any) -> None:
    assert client.status()["tasks"]  # the pool is there
    with pytest.raises(InvalidTask) as refused:
        client.send_many("echo", iter([*range(25), object()]), chunk=10)
    notes = refused.value.__notes__
    assert notes[0] == "these were number 25 (counted from 0) of the params given"
    assert notes[1].startswith("20 tasks of this batch were stored and will run: ")


def test_a_batch_is_a_sequence_of_handles(client: Any) -> None:
    batch = client.send_many("echo", ({"value": n} for n in range(2500)), chunk=1000)
    assert len(batch) == 2500
    assert sum(len(ids) for ids in batch.ids()) == 2500
    assert batch.results(SECONDS) == list(range(2500))
    assert batch.counts == {TaskState.COMPLETED: 2500}
    assert batch.progress.note == "2500 of 2500 ended"
    assert batch[-1].result() == 2499
    assert [handle.result() for handle in batch[999:1002]] == [999, 1000, 1001]
    with pytest.raises(IndexError):
        batch[2500]


def test_a_batch_of_which_some_fail(client: Any) -> None:
    batch = client.send_many("fail", [{"value": 1}, {"value": 2}], max_attempts=1)
    with pytest.raises(TaskFailed, match="1"):
        batch.results(SECONDS)
    assert [error.error_type for error in batch.results(return_exceptions=True)] == ["LookupError"] * 2


def test_a_batch_is_cancelled_as_far_as_it_has_not_ended(client: Any) -> None:
    batch = client.send_many("echo", range(100), delay=3600)
    assert batch.cancel() == 100
    assert batch.cancel() == 0
    assert batch.wait(SECONDS)


def test_handles_come_as_their_tasks_end_each_once(client: Any) -> None:
    held = client.send("hold")
    batch = client.send_many("echo", range(30))
    coming = client.as_completed([held, *(batch[n] for n in range(30)), batch[3]], timeout=SECONDS)
    first = [next(coming) for _ in range(30)]
    assert sorted(handle.result() for handle in first) == list(range(30))
    let_go.set()
    assert [handle.result() for handle in coming] == ["held"]
    assert list(client.as_completed([])) == []


def test_as_completed_ends_when_its_time_is_over(client: Any) -> None:
    with pytest.raises(TimeoutError, match="1 of 1 tasks"):
        list(client.as_completed([client.send("hold")], timeout=0.01))


def test_values_of_a_map_come_in_order_also_of_an_endless_source(client: Any) -> None:
    assert list(client.map("echo", range(333), buffersize=20)) == list(range(333))
    values = client.map("echo", count(), buffersize=20)
    assert [next(values) for _ in range(100)] == list(range(100))
    values.close()


def test_a_map_raises_the_first_error_or_gives_all(client: Any) -> None:
    given = list(client.map("fail", [{"value": 1}], return_exceptions=True, max_attempts=1))
    assert [type(error) for error in given] == [TaskFailed]
    with pytest.raises(TaskFailed, match="LookupError"):
        list(client.map("fail", [{"value": 1}], max_attempts=1))
    with pytest.raises(InvalidTask):
        list(client.map("echo", [object()]))


def test_leaving_a_map_cancels_what_has_not_ended(client: Any) -> None:
    values = client.map("hold", [False, *[True] * 20], buffersize=40, tags=["left"])
    assert next(values) == "not held"
    values.close()
    let_go.set()
    ends = [task["state"] for task in client.tasks(tag="left", limit=21) if task["state"] != "running"]
    assert ends.count("completed") == 1
    assert ends.count("cancelled") >= 16


def test_questions_and_orders(client: Any) -> None:
    client.pause("echo")
    handle = client.send("echo", 1)
    assert [reason["code"] for reason in client.why(handle.id)["reasons"]] == ["paused"]
    client.resume("echo")
    assert handle.result(SECONDS) == 1
    assert {type["type"] for type in client.types()} >= {"echo"}
    assert [host["name"] for host in client.hosts()] == ["embedded"]
    assert list(client.tail(handle.id)) == []
    with pytest.raises(TaskUnknown):
        client.show(10**9)
    with pytest.raises(TaskUnknown):
        client.task(0)


def test_tasks_that_filters_name_are_changed_together(client: Any) -> None:
    client.pause("echo")
    try:
        batch = client.send_many("echo", range(4), tags=["meant"], tenant="t")
        ids = [id for part in batch.ids() for id in part]
        newest = ids[::-1]
        assert client.cancel(tag="meant", older_than=3600) == []
        assert client.cancel(tag="meant", state=["queued", "scheduled"], dry_run=True) == newest
        assert client.priority(9, tag="meant", tenant="t") == newest
        assert client.cancel(ids[1:], tag="meant") == newest[:3]
        assert client.retry(ids[1:2]) == ids[1:2]
        assert client.cancel(tag="meant", type="echo") == [ids[1], ids[0]]
        assert [task["state"] for task in client.tasks(tag="meant", older_than=0, state=["cancelled", "failed"])] == [
            "cancelled"
        ] * 4
        with pytest.raises(ValueError, match="name tasks, or give a filter"):
            client.delete()
        with pytest.raises(ValueError, match="asleep"):
            client.cancel(state="asleep")
        with pytest.raises(WorkerHostError, match="a task that is queued cannot be meant here"):
            client.delete(state="queued")
        assert batch.wait(SECONDS)
        deleted: set[int] = set()
        while len(deleted) < 4:  # the sender is told of each end first
            deleted |= set(client.delete(tag="meant", state="cancelled"))
        assert deleted == set(ids)
        with pytest.raises(TaskUnknown):
            client.show(ids[0])
    finally:
        client.resume("echo")


def test_a_task_is_moved_to_another_type(client: Any) -> None:
    client.pause("echo")
    try:
        handle = client.send("echo", 7)
        assert client.move("hold", [handle.id], type="fail") == []
        assert client.move("fail", [handle.id], type="echo") == [handle.id]
        with pytest.raises(TaskFailed, match="LookupError"):
            handle.result(SECONDS)
    finally:
        client.resume("echo")


def test_a_pool_that_is_not_there_is_named_with_the_cure(make: Any) -> None:
    client = make("memory://nobody", timeout=0.1)
    with pytest.raises(PoolUnreachable, match=r"memory://nobody within 0.1 s: no pool of that name is open"):
        client.status()
    client.close()


def test_a_closed_client_says_so(make: Any, pool: WorkerHost) -> None:
    client = make(pool.address)
    handle = client.send("echo", 1)
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="this client is closed"):
        client.send("echo", 1)
    with pytest.raises(RuntimeError, match="this client is closed"):
        handle.cancel()


def words(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_both_have_the_same_words() -> None:
    assert words(AsyncClient) == words(Client) - {"settle", "observer", "fail"}  # of this package's own use
    assert words(AsyncHandle) == words(Handle) | {"stored"}
    assert words(AsyncBatch) == words(Batch)
