"""`workers.slots`: when results leave, what is handed back, what a cancel meets. With real threads, no process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Empty, Queue
from time import monotonic
from typing import Any

import pytest

from workerhost.workers import ends, values
from workerhost.workers.base import BaseWorker
from workerhost.workers.loop_slots import LoopSlots
from workerhost.workers.registry import offer_of, worker
from workerhost.workers.slots import OVERTAKEN_SECONDS, WORD, Slots
from workerhost.workers.task import Task

SECONDS = 5.0


class Gate:
    """Holds tasks of type `gate` until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Semaphore(0), threading.Event()


class Bench:
    """Slots with their threads, a thread that relieves them, and what they emit."""

    def __init__(self, count: int, relieved: bool = True) -> None:
        gate = self.gate = Gate()

        @worker("quick")
        def quick(x: Any = None) -> Any:
            return x

        @worker("gate")
        def wait() -> str:
            gate.reached.release()
            assert gate.opened.wait(SECONDS)
            return "through"

        class Reporter(BaseWorker):
            type = "report"

            def execute(self, task: Task) -> None:
                for n in range(task.params):
                    self.report_progress(n / task.params)
                gate.reached.release()
                assert gate.opened.wait(SECONDS)
                if self.cancelled:
                    raise RuntimeError("was cancelled")

        self.said: Queue[tuple[list[Any], list[Any], list[Any]]] = Queue()
        self.word = bytearray(WORD.size * count)
        self.nudged = threading.Event()
        self.ended = False
        self.slots = Slots(
            offer_of([quick, wait, Reporter]),
            3,
            self.take,
            self.nudged.set,
            count=count,
            word=self.word,
        )
        self.threads = [threading.Thread(target=self.slots.work, args=(n,)) for n in range(count)]
        if relieved:
            self.threads.append(threading.Thread(target=self.relieve))
        for thread in self.threads:
            thread.start()

    def take(self, progress: list[Any], results: list[Any], returned: list[Any], _checkpoints: list[Any]) -> None:
        self.said.put((progress, results, returned))

    def relieve(self) -> None:
        while not self.ended:
            wait = self.slots.relieve()
            self.nudged.wait(wait)
            self.nudged.clear()

    def feed(self, *items: tuple[int, str, Any], priority: int = 5) -> None:
        self.slots.feed(
            [
                (id, 7, type, 1, 0, priority, 0.0, None, None, (), values.pack(params), None)
                for id, type, params in items
            ]
        )
        self.nudged.set()

    def until(self, enough: Callable[[Bench], bool]) -> None:
        """Take in what is emitted until there is enough of it."""
        deadline = monotonic() + SECONDS
        while not enough(self):
            try:
                progress, results, returned = self.said.get(timeout=max(0.0, deadline - monotonic()))
            except Empty:
                pytest.fail(f"only {self.progress}, {self.results}, {self.returned}")
            self.progress += progress
            self.results += results
            self.returned += returned
            self.emitted += 1

    progress: list[Any]
    results: list[Any]
    returned: list[Any]
    emitted: int

    def close(self) -> None:
        self.ended = True
        self.gate.opened.set()
        self.slots.stop()
        self.nudged.set()
        for thread in self.threads:
            thread.join(SECONDS)
            assert not thread.is_alive()


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(count: int = 1, **more: Any) -> Bench:
        one = Bench(count, **more)
        one.progress, one.results, one.returned, one.emitted = [], [], [], 0
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def order(bench: Bench, count: int) -> list[int]:
    """Let what waits behind a gate run; in which order it did."""
    bench.gate.opened.set()
    bench.until(lambda b: len(b.results) == count)
    return [result[0] for result in bench.results]


def test_what_was_fed_ahead_is_overtaken_by_higher_priority_alone(bench: Callable[..., Bench]) -> None:
    here = bench(relieved=False)
    here.feed((1, "gate", None))
    assert here.gate.reached.acquire(timeout=SECONDS)
    here.feed((2, "quick", None), (3, "quick", None))
    here.feed((4, "quick", None), priority=9)
    here.feed((5, "quick", None))
    here.feed((6, "quick", None), priority=1)
    here.feed((7, "quick", None), (8, "quick", None), priority=9)
    assert order(here, 8) == [1, 4, 7, 8, 2, 3, 5, 6]


def test_what_comes_together_runs_by_priority(bench: Callable[..., Bench]) -> None:
    here = bench(relieved=False)
    here.feed((1, "gate", None))
    assert here.gate.reached.acquire(timeout=SECONDS)
    items = [(id, 7, "quick", 1, 0, priority, 0.0, None, None, (), values.pack(None), None)
             for id, priority in ((2, 1), (3, 5), (4, 1), (5, 9))]  # fmt: skip
    here.slots.feed(items)
    assert order(here, 5) == [1, 5, 3, 2, 4]


def test_nothing_is_overtaken_for_long(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    here = bench(relieved=False)
    here.feed((1, "gate", None))
    assert here.gate.reached.acquire(timeout=SECONDS)
    here.feed((2, "quick", None))
    here.feed((3, "quick", None), priority=9)
    monkeypatch.setattr("workerhost.workers.slots.OVERTAKEN_SECONDS", 0.0)
    here.feed((4, "quick", None), priority=9)
    assert order(here, 4) == [1, 3, 2, 4]


def test_nor_for_longer_because_its_like_come_behind_it(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("workerhost.workers.slots.monotonic", lambda: now[0])
    here = bench(relieved=False)
    here.feed((1, "gate", None))
    assert here.gate.reached.acquire(timeout=SECONDS)
    for low, high in ((2, 3), (4, 5), (6, 7)):
        here.feed((low, "quick", None))
        here.feed((high, "quick", None), priority=9)
        now[0] += 0.6 * OVERTAKEN_SECONDS
    assert order(here, 7) == [1, 3, 5, 2, 4, 6, 7]


def test_tasks_run_in_order_and_results_leave_in_few_batches(bench: Callable[..., Bench]) -> None:
    here = bench()
    here.feed(*[(n, "quick", {"x": n}) for n in range(1, 501)])
    here.until(lambda b: len(b.results) + len(b.returned) == 500)
    assert [result[0] for result in here.results] == sorted(result[0] for result in here.results)
    assert here.emitted < 100
    first = here.results[0]
    assert [*first[:4], *first[5:]] == [1, 7, ends.COMPLETED, values.pack(1), 3, None]
    assert 0 < first[4] < SECONDS


def test_what_waits_behind_a_slow_task_is_handed_back_and_what_was_done_is_reported(
    bench: Callable[..., Bench],
) -> None:
    here = bench()
    here.feed((1, "quick", None), (2, "gate", None), (3, "quick", None), (4, "quick", None))
    here.until(lambda b: len(b.results) == 1 and len(b.returned) == 2)
    assert here.returned == [[3, 7, ends.UNSTARTED, 0.0, "", False], [4, 7, ends.UNSTARTED, 0.0, "", False]]
    assert WORD.unpack_from(here.word) == (2, 7)
    here.gate.opened.set()
    here.until(lambda b: len(b.results) == 2)
    assert [result[0] for result in here.results] == [1, 2]


def test_a_result_in_front_of_a_slow_task_does_not_wait_for_it(bench: Callable[..., Bench]) -> None:
    here = bench()
    here.feed((1, "quick", None), (2, "gate", None))
    here.until(lambda b: len(b.results) == 1)
    assert here.results[0][0] == 1


def test_several_slots_share_the_queue(bench: Callable[..., Bench]) -> None:
    here = bench(2, relieved=False)
    here.feed((1, "gate", None))
    assert here.gate.reached.acquire(timeout=SECONDS)
    here.feed(*[(n, "quick", None) for n in range(2, 50)])
    here.until(lambda b: len(b.results) == 48)
    here.feed((50, "gate", None))
    assert here.gate.reached.acquire(timeout=SECONDS)
    assert sorted(WORD.unpack_from(here.word, n * WORD.size)[0] for n in range(2)) == [1, 50]


def test_what_waits_is_handed_back_when_all_slots_are_blocked(bench: Callable[..., Bench]) -> None:
    here = bench(2)
    here.feed((1, "gate", None), (2, "gate", None), (3, "quick", None))
    here.until(lambda b: len(b.returned) == 1)
    assert here.returned[0][0] == 3
    assert here.results == []


def test_the_word_is_empty_when_nothing_runs(bench: Callable[..., Bench]) -> None:
    here = bench()
    here.feed((1, "quick", None))
    here.until(lambda b: len(b.results) == 1)
    here.slots.cancel(1, 7)  # takes the lock after the slot has put it down
    assert WORD.unpack_from(here.word) == (0, 0)


def test_progress_travels_at_most_ten_times_a_second_and_the_latest_always(bench: Callable[..., Bench]) -> None:
    here = bench()
    here.feed((1, "report", 1000))
    here.until(lambda b: bool(b.progress) and b.progress[-1][2] == 0.999)
    assert here.progress[0] == [1, 7, 0.0, ""]
    assert len(here.progress) == here.emitted <= 20


def test_progress_of_a_task_that_ends_leaves_with_its_result(bench: Callable[..., Bench]) -> None:
    here = bench(relieved=False)
    here.gate.opened.set()
    here.feed((1, "report", 10))
    here.until(lambda b: len(b.results) == 1)
    assert [entry[2] for entry in here.progress] == [0.0, 0.9]


def test_a_waiting_task_is_cancelled_without_having_begun(bench: Callable[..., Bench]) -> None:
    here = bench(relieved=False)
    here.feed((1, "gate", None), (2, "quick", None), (3, "quick", None))
    assert here.gate.reached.acquire(timeout=SECONDS)
    here.slots.cancel(2, 6)  # another fence: not this one
    here.slots.cancel(2, 7)
    here.until(lambda b: len(b.results) == 1)
    assert here.results == [[2, 7, ends.CANCELLED, b"", 0.0, 3, None]]
    here.gate.opened.set()
    here.until(lambda b: len(b.results) == 3)
    assert [result[0] for result in here.results] == [2, 1, 3]


def test_a_running_task_learns_that_it_is_cancelled(bench: Callable[..., Bench]) -> None:
    here = bench()
    here.feed((1, "report", 1))
    assert here.gate.reached.acquire(timeout=SECONDS)
    here.slots.cancel(1, 7)
    here.gate.opened.set()
    here.until(lambda b: len(b.results) == 1)
    assert here.results[0][2] == ends.CANCELLED


def test_stop_ends_after_the_present_task_and_reports_it(bench: Callable[..., Bench]) -> None:
    here = bench(relieved=False)
    here.feed((1, "gate", None), (2, "quick", None))
    assert here.gate.reached.acquire(timeout=SECONDS)
    here.slots.stop()
    here.gate.opened.set()
    here.threads[0].join(SECONDS)
    assert not here.threads[0].is_alive()
    here.until(lambda b: len(b.results) == 1)
    assert here.said.empty()


def test_a_task_of_a_type_that_nobody_is_for_is_given_back(bench: Callable[..., Bench]) -> None:
    here = bench()
    here.feed((1, "unknown.type", None))
    here.until(lambda b: len(b.returned) == 1)
    assert here.returned == [[1, 7, ends.UNSERVED, 0.0, "no worker here is for unknown.type", False]]


def test_the_offer_names_what_is_asked_below_its_type_and_leaves_out_what_is_not_healthy() -> None:
    class Chain(BaseWorker):
        type = "chain"

        def can_handle(self, task: Task) -> bool:
            return True

        def execute(self, task: Task) -> None: ...

    class Sick(Chain):
        type = "sick"

        def health_check(self) -> bool:
            return False

    offer = Slots(offer_of([Chain, Sick]), 0, lambda *_: None, lambda: None).offer()  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    assert offer["types"] == ["chain", "chain.*"]
    assert list(offer["failed"]) == ["sick"]


@pytest.mark.parametrize("kind", [Slots, LoopSlots])
def test_after_each_task_it_is_told_what_the_task_had(kind: Any) -> None:
    """With all of it: its limits are in its last field."""

    @worker("nothing")
    async def nothing() -> None: ...

    told: Queue[Any] = Queue()

    def emit(*_: Any) -> None:
        """Nobody listens."""

    def after(task: Any, _seconds: float) -> None:
        told.put(task)

    slots = kind(offer_of([nothing]), 3, emit, emit, word=bytearray(WORD.size), after=after)
    thread = threading.Thread(target=slots.work)
    thread.start()
    task = (1, 7, "nothing", 1, 0, 5, 0.0, None, None, (), values.pack(None), {"limits": {"memory": 5.0}})
    slots.feed([task])
    try:
        assert told.get(timeout=SECONDS) == task
    finally:
        slots.stop()
        thread.join(SECONDS)
