"""Tasks that share one event loop (`concurrency: N`): what one of them does to the loop harms none of the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Any

import pytest

from workerhost.transport.messages import Outcome
from workerhost.workers import values
from workerhost.workers.base import BaseWorker
from workerhost.workers.loop_slots import LoopSlots
from workerhost.workers.registry import Worker, offer_of, worker
from workerhost.workers.task import Task

SECONDS = 5.0


class Loop:
    """Slots in an event loop of a thread of their own, and what they report."""

    def __init__(self, *workers: Worker, count: int) -> None:
        self.results: Queue[Any] = Queue()
        self.slots = LoopSlots(offer_of(workers), 1, self._take, lambda: None, count=count)
        self.thread = threading.Thread(target=self.slots.work)
        self.thread.start()

    def _take(self, _progress: list[Any], results: list[Any], *_: list[Any]) -> None:
        for result in results:
            self.results.put(result)

    def feed(self, id: int, type: str) -> None:
        self.slots.feed([(id, 7, type, 1, 0, 5, 0.0, None, None, (), values.pack(None), None)])

    def result(self) -> Any:
        return self.results.get(timeout=SECONDS)

    def close(self) -> None:
        self.slots.stop()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()


@pytest.fixture
def loop() -> Iterator[Callable[..., Loop]]:
    made: list[Loop] = []

    def make(*workers: Worker, count: int = 2) -> Loop:
        made.append(Loop(*workers, count=count))
        return made[-1]

    yield make
    for one in made:
        one.close()


async def fails(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [SystemExit("no such option"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["itself", "in what it started", "cleanup"])
def test_a_task_that_would_end_the_process_ends_alone(
    loop: Callable[..., Loop], error: BaseException, where: str
) -> None:
    opened = asyncio.Event()

    @worker("waits")
    async def waits() -> str:
        await opened.wait()
        return "whole"

    @worker("opens")
    async def opens() -> None:
        opened.set()

    class Exits(BaseWorker):
        type = "exits"

        async def execute(self, task: Task) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            if where == "itself":
                await fails(error)
            if where == "in what it started":
                await asyncio.ensure_future(fails(error))

        async def cleanup(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            if where == "cleanup":
                await fails(error)

    here = loop(waits, opens, Exits)
    here.feed(1, "waits")
    here.feed(2, "exits")
    ended = here.result()
    spared = where == "cleanup" and isinstance(error, SystemExit)
    assert ended[:3] == [2, 7, Outcome.COMPLETED if spared else Outcome.FAILED]
    assert spared or ended[6]["error_type"] == type(error).__name__
    here.feed(3, "opens")
    assert {tuple(here.result()[:3]) for _ in range(2)} == {(1, 7, Outcome.COMPLETED), (3, 7, Outcome.COMPLETED)}


def test_what_initialize_started_lives_on_and_what_a_task_started_does_not(loop: Callable[..., Loop]) -> None:
    class Keeps(BaseWorker):
        type = "keeps"

        async def initialize(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            self.own = asyncio.ensure_future(asyncio.Event().wait())
            self.left = self.own

        async def execute(self, task: Task) -> list[bool]:  # pyright: ignore[reportIncompatibleMethodOverride]
            before, self.left = self.left, asyncio.ensure_future(asyncio.Event().wait())
            return [self.own.done(), before.cancelled()]

    here = loop(Keeps, count=1)
    found: list[Any] = []
    for id in (1, 2, 3):
        here.feed(id, "keeps")
        found.append(values.unpack(here.result()[3]))
    assert found == [[False, False], [False, True], [False, True]]


def test_what_initialize_says_is_the_tasks_for_which_it_runs(loop: Callable[..., Loop]) -> None:
    found: list[int] = []

    class Says(BaseWorker):
        type = "says"

        async def initialize(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            found.append(here.slots.present())

        async def execute(self, task: Task) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            found.append(here.slots.present())

    here = loop(Says, count=1)
    here.feed(5, "says")
    here.result()
    assert found == [5, 5]


def test_a_result_that_ends_the_process_when_it_is_looked_at_is_a_failure_of_its_task_alone(
    loop: Callable[..., Loop],
) -> None:
    class Odd(dict[str, int]):
        def __iter__(self) -> Any:
            raise SystemExit("no")

    @worker("odd")
    async def odd() -> Any:
        return Odd(a=1)

    @worker("even")
    async def even() -> int:
        return 2

    here = loop(odd, even, count=1)
    here.feed(1, "odd")
    ended = here.result()
    assert (ended[2], ended[6]["error_type"]) == (Outcome.FAILED, "SystemExit")
    here.feed(2, "even")
    assert here.result()[2] == Outcome.COMPLETED
