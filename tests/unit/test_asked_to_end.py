"""What a worker returns when it was told to end: half of something, which is nobody's result.

A real slot with its threads below a host's table, for every way in which a slot runs tasks.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Any

import pytest
from unit.test_slot_table import Table, task  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.host.host_effects import CancelSlot, Feed, HostEffect
from workerhost.actors.core.host.stopping import Why
from workerhost.transport.messages import Outcome, Returned
from workerhost.workers import values
from workerhost.workers.base import BaseWorker
from workerhost.workers.loop_slots import LoopSlots
from workerhost.workers.registry import offer_of
from workerhost.workers.slots import Slots
from workerhost.workers.task import Result, Task

SECONDS = 5.0


class Gate:
    """Where a worker waits until it was asked to end."""

    def __init__(self) -> None:
        self.reached, self.asked = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.reached.set()
        assert self.asked.wait(SECONDS)


def looks(gate: Gate) -> type[BaseWorker]:
    class Looks(BaseWorker):
        type = "text"

        def execute(self, task: Task) -> Any:
            gate.wait()
            return {} if self.cancelled else "whole"

    return Looks


def says_no(gate: Gate) -> type[BaseWorker]:
    class SaysNo(BaseWorker):
        type = "text"

        def execute(self, task: Task) -> Any:
            gate.wait()
            return Result(success=not self.cancelled, error="not done")

    return SaysNo


def catches(gate: Gate) -> type[BaseWorker]:
    class Catches(BaseWorker):
        type = "text"

        async def execute(self, task: Task) -> Any:
            gate.reached.set()
            try:
                await asyncio.sleep(SECONDS)  # sleeps: until it is cancelled
            except asyncio.CancelledError:
                return {}
            return "whole"

    return Catches


def never_looks(gate: Gate) -> type[BaseWorker]:
    class NeverLooks(BaseWorker):
        type = "text"

        def execute(self, task: Task) -> Any:
            gate.wait()
            return "whole"

    return NeverLooks


def never_waits(gate: Gate) -> type[BaseWorker]:
    """The event loop has no chance to tell it anything."""

    class NeverWaits(BaseWorker):
        type = "text"

        async def execute(self, task: Task) -> Any:
            gate.wait()
            return "whole"

    return NeverWaits


class Place:
    """One task in a slot of some kind, below a table."""

    def __init__(self, kind: Any, count: int, worker: Callable[[Gate], type[BaseWorker]]) -> None:
        self.gate, self.said = Gate(), Queue[list[Any]]()
        self.table = Table(count, "process" if count == 1 else "thread")
        self.slots: Slots = kind(offer_of([worker(self.gate)]), 1, self.emit, lambda: None, count=count)
        alone = kind is LoopSlots or count == 1
        self.threads = [threading.Thread(target=self.slots.work, args=(n,)) for n in range(1 if alone else count)]
        for thread in self.threads:
            thread.start()

    def emit(self, _progress: Any, results: list[Any], _returned: Any, _checkpoints: Any) -> None:
        if results:
            self.said.put(results)

    def run(self, why: Why) -> tuple[list[Any], list[Any]]:
        """Stop the task when it has begun; what became of it, as (results, given back)."""
        self.do(self.table.place(task(1)))
        assert self.gate.reached.wait(SECONDS)
        self.do(self.table.stop(1, why=why))
        self.gate.asked.set()
        self.table.slot(1, results=self.said.get(timeout=SECONDS))
        return self.table.ended(), self.table.back()

    def do(self, effects: list[HostEffect]) -> None:
        for effect in effects:
            if isinstance(effect, Feed):
                self.slots.feed(effect.tasks)
            elif isinstance(effect, CancelSlot):
                self.slots.cancel(effect.id, effect.fence)

    def close(self) -> None:
        self.gate.asked.set()
        self.slots.stop()
        for thread in self.threads:
            thread.join(SECONDS)
            assert not thread.is_alive()


@pytest.fixture
def place() -> Iterator[Callable[..., Place]]:
    """Makes places and ends their threads."""
    made: list[Place] = []

    def make(*arguments: Any) -> Place:
        made.append(Place(*arguments))
        return made[-1]

    yield make
    for one in made:
        one.close()


ASYNC = [(Slots, 1), (Slots, 2), (LoopSlots, 2)]


@pytest.mark.parametrize(("why", "code"), [(Why.DRAIN, Returned.DRAIN), (Why.CUT_OFF, Returned.NEIGHBOUR)])
@pytest.mark.parametrize(
    ("worker", "kind", "count"),
    [
        *[(looks, Slots, count) for count in (1, 2)],
        *[(catches, *kind) for kind in ASYNC],
    ],
)
def test_what_its_host_stopped_half_way_goes_back(
    place: Callable[..., Place], worker: Any, kind: Any, count: int, why: Why, code: Returned
) -> None:
    ended, back = place(kind, count, worker).run(why)

    assert ended == []
    assert [(item[0], item[2], item[5]) for item in back] == [(1, code, True)]


@pytest.mark.parametrize("why", [Why.DRAIN, Why.CUT_OFF])
@pytest.mark.parametrize(
    ("worker", "kind", "count"),
    [*[(never_looks, Slots, count) for count in (1, 2)], *[(never_waits, *kind) for kind in ASYNC]],
)
def test_what_was_never_told_is_whole(
    place: Callable[..., Place], worker: Any, kind: Any, count: int, why: Why
) -> None:
    ended, back = place(kind, count, worker).run(why)

    assert [(item[0], item[2], values.unpack(item[3])) for item in ended] == [(1, Outcome.COMPLETED, "whole")]
    assert back == []


@pytest.mark.parametrize("worker", [looks, says_no])
def test_a_signal_that_its_host_knows_nothing_of_makes_no_end_of_it_either(
    place: Callable[..., Place], worker: Any
) -> None:
    """SIGTERM from elsewhere, to a process with several slots."""
    here = place(Slots, 2, worker)
    here.do(here.table.place(task(1)))
    assert here.gate.reached.wait(SECONDS)
    here.slots.cancel_all()
    here.gate.asked.set()

    [[_, _, outcome, body, *_]] = here.said.get(timeout=SECONDS)

    assert (outcome, body) == (Outcome.CANCELLED, b"")


def test_a_task_that_nobody_stopped_may_look_as_often_as_it_likes(place: Callable[..., Place]) -> None:
    here = place(Slots, 1, looks)
    here.do(here.table.place(task(1)))
    here.gate.asked.set()

    [[_, _, outcome, body, *_]] = here.said.get(timeout=SECONDS)

    assert (outcome, values.unpack(body)) == (Outcome.COMPLETED, "whole")
