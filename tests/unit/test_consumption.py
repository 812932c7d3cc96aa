"""What attempts may use and how long they may be silent: when figures are asked for, and what follows from them."""

from __future__ import annotations

from typing import Any

import pytest

from workerhost.actors.core.effects import Note
from workerhost.actors.core.host.environments import Environments
from workerhost.actors.core.host.host_effects import (
    CancelSlot,
    Confine,
    Feed,
    HostEffect,
    Kill,
    Measure,
    SlotTask,
    Terminate,
)
from workerhost.actors.core.host.outbox import Outbox
from workerhost.actors.core.host.slot_table import SlotTable
from workerhost.actors.slot_news import SlotNews
from workerhost.transport.messages import Outcome
from workerhost.workers.source import Environment

INF = float("inf")
MIB = 1024 * 1024
LIMITS = {"memory": 100.0 * MIB, "processes": 4.0, "cpu": 2.0, "output": 1.0 * MIB}


def task(id: int, **extra: Any) -> SlotTask:
    return (id, 10 + id, "text", 1, 0, 5, 1000.0, None, None, (), b"p", extra or None)


class Table:
    """One slot, and what follows from each thing that happens to it."""

    def __init__(self, isolation: str = "process") -> None:
        self.outbox, self.effects = Outbox(), list[HostEffect]()
        self.table = SlotTable(Environments(Environment(isolation=isolation)), self.outbox, self.effects)
        self.now = 0.0
        self.table.shape({"": 1})
        self.table.ready(1)
        self.effects.clear()

    def place(self, *tasks: SlotTask) -> list[HostEffect]:
        self.table.place("", tasks, self.now)
        return self.at(self.now)

    def slot(self, **news: Any) -> list[HostEffect]:
        self.table.news(SlotNews(1, **news), self.now)
        return self.at(self.now)

    def uses(self, id: int = 1, **figures: Any) -> list[HostEffect]:
        usage = {"id": id, "fence": 10 + id, "memory": 0, "processes": 0, "cpu": 0.0, "output": 0}
        return self.slot(usage={**usage, **figures})

    def at(self, now: float) -> list[HostEffect]:
        self.now = now
        self.table.tick(now)
        self.table.feed()
        self.table.check_invariants()
        effects = self.effects.copy()
        self.effects.clear()
        return effects

    def dies(self) -> None:
        self.slot(exited={"started": [], "signal": 9, "exit_code": None, "cause": "stopped", "message": "killed"})


def exceeded(limit: str, reason: str) -> Note:
    return Note("warning", "limit_exceeded", {"slot": 1, "task": 1, "limit": limit, "reason": reason})


def test_figures_are_asked_for_at_the_start_and_ten_times_a_second() -> None:
    table = Table()
    limited = task(1, limits=LIMITS)
    assert table.place(limited) == [Measure(1, 1, 11, 100.0 * MIB), Confine(1, 100.0 * MIB, 4.0), Feed(1, [limited])]
    assert table.table.due() == pytest.approx(0.1)
    assert table.at(0.05) == []
    assert table.at(0.1) == [Measure(1, 1, 11, 100.0 * MIB)]
    table.slot(results=[[1, 11, Outcome.COMPLETED, b"r", 0.1, 1, None]])
    assert table.at(0.3) == []
    assert table.table.due() == float("inf")


def test_a_slot_is_confined_to_the_widest_limits_of_what_it_has_in_hand() -> None:
    table = Table()
    small, large, free = task(1, limits={"memory": 10.0}), task(2, limits={"memory": 20.0, "processes": 3.0}), task(3)
    asked = [effect for effect in table.place(small) if not isinstance(effect, Measure)]
    assert asked == [Confine(1, 10.0, INF), Feed(1, [small])]
    assert table.place(large) == [Confine(1, 20.0, INF), Feed(1, [large])], "either of the two may run"
    asked = table.slot(results=[[1, 11, Outcome.COMPLETED, b"r", 0.1, 1, None]])
    assert asked == [Confine(1, 20.0, 3.0), Measure(1, 2, 12, 20.0)], "what waited is not held to another's limits"
    assert table.place(free) == [Confine(1, INF, INF), Feed(1, [free])], "nor to any, if it has none"


def test_limits_stay_on_an_empty_slot_until_a_task_comes_for_which_they_are_others() -> None:
    table = Table()
    table.place(task(1, limits=LIMITS))
    assert table.slot(results=[[1, 11, Outcome.COMPLETED, b"r", 0.1, 1, None]]) == []
    again = task(2, limits=LIMITS)
    assert table.place(again) == [Measure(1, 2, 12, 100.0 * MIB), Feed(1, [again])], "the same: nothing to be done"
    assert table.slot(results=[[2, 12, Outcome.COMPLETED, b"r", 0.1, 1, None]]) == []
    free = task(3)
    assert table.place(free) == [Confine(1, INF, INF), Feed(1, [free])]
    assert table.slot(results=[[3, 13, Outcome.COMPLETED, b"r", 0.1, 1, None]]) == []
    assert table.place(task(4)) == [Feed(1, [task(4)])]


def test_the_next_process_of_a_slot_is_confined_anew() -> None:
    table = Table()
    table.place(task(1, limits=LIMITS))
    table.dies()
    table.table.ready(1)
    table.effects.clear()
    assert Confine(1, 100.0 * MIB, 4.0) in table.place(task(2, limits=LIMITS))


def test_what_is_not_a_limit_of_memory_or_processes_confines_nothing() -> None:
    table = Table()
    timed = task(1, limits={"cpu": 2.0}, checkpoint=b"c")
    assert table.place(timed) == [Measure(1, 1, 11, INF), Feed(1, [timed])]


def test_an_attempt_that_was_refused_processes_ends_so_even_if_it_completes() -> None:
    table = Table()
    table.place(task(1, limits=LIMITS))
    assert table.uses(refused=7) == [], "what earlier attempts were refused"
    usage = {"id": 1, "fence": 11, "memory": 0, "processes": 0, "cpu": 0.0, "output": 0, "refused": 8}
    table.slot(usage=usage, results=[[1, 11, Outcome.COMPLETED, b"r", 0.1, 1, None]])
    [item] = table.outbox.results
    message = "was refused more processes and threads; its limit is 4 processes"
    assert (item[2], item[6]) == (Outcome.FAILED, {"cause": "processes", "message": message})


@pytest.mark.parametrize("isolation", ["thread", "inline"])
def test_limits_hold_where_a_task_has_a_process_of_its_own(isolation: str) -> None:
    table = Table(isolation)
    limited = task(1, limits=LIMITS)
    assert table.place(limited) == [Feed(1, [limited])]
    assert table.at(100.0) == []


@pytest.mark.parametrize(
    ("figures", "cause", "outcome", "reason"),
    [
        ({"memory": 300 * MIB}, "oom", Outcome.CRASHED, "used 300 MiB of memory; its limit is 100 MiB"),
        ({"processes": 5}, "processes", Outcome.FAILED, "had 5 processes; its limit is 4"),
    ],
)
def test_what_takes_more_and_more_is_killed_at_once(
    figures: dict[str, Any], cause: str, outcome: Outcome, reason: str
) -> None:
    table = Table()
    table.place(task(1, limits=LIMITS), task(2))
    assert table.uses(memory=50 * MIB, processes=4) == []
    table.now = 0.5
    assert table.uses(**figures) == [
        exceeded(cause, reason),
        CancelSlot(1, 1, 11),
        Kill(1),
        Note("info", "slot_killed", {"slot": 1, "task": 1, "why": cause}),
    ]
    table.dies()
    detail = {"cause": cause, "message": reason, "signal": 9}
    assert table.outbox.results == [[1, 11, outcome, b"", 0.5, 1, detail]]
    assert [item[0] for item in table.outbox.returned] == [2], "its neighbour is given back"


def test_processor_time_and_output_count_from_the_start_of_the_attempt() -> None:
    table = Table()
    table.place(task(1, limits=LIMITS))
    assert table.uses(cpu=60.0, output=9 * MIB) == [], "what earlier attempts used"
    assert table.uses(cpu=62.0, output=10 * MIB) == []
    asked = table.uses(cpu=62.5)
    assert asked == [exceeded("cpu", "used 2.5 s of processor time; its limit is 2 s"), CancelSlot(1, 1, 11)]
    assert table.uses(cpu=63.0) == [], "it was asked already"
    assert table.at(2.0) == [Terminate(1)]


def test_too_much_output_ends_the_attempt_even_if_it_completes() -> None:
    table = Table()
    table.place(task(1, limits=LIMITS))
    table.uses()
    usage = {"id": 1, "fence": 11, "memory": 0, "processes": 0, "cpu": 0.0, "output": 3 * MIB}
    table.slot(usage=usage, results=[[1, 11, Outcome.COMPLETED, b"r", 0.1, 1, None]])
    [item] = table.outbox.results
    assert (item[2], item[6]) == (
        Outcome.FAILED,
        {"cause": "output", "message": "wrote 3 MiB; its limit is 1 MiB"},
    )


def test_figures_of_an_attempt_that_is_over_are_not_held_against_the_next() -> None:
    table = Table()
    table.place(task(1, limits=LIMITS), task(2, limits=LIMITS))
    table.slot(results=[[1, 11, Outcome.COMPLETED, b"r", 0.1, 1, None]])
    assert table.uses(1, memory=500 * MIB) == []


def test_an_attempt_that_reports_no_progress_is_stopped_like_one_that_runs_too_long() -> None:
    table = Table("thread")
    table.place(task(1, no_progress_timeout=10.0))
    assert table.table.due() == 10.0
    table.now = 8.0
    table.slot(progress=[[1, 11, 0.5, "half"]])
    assert table.at(10.0) == []
    assert table.table.due() == 18.0
    assert table.at(18.0) == [CancelSlot(1, 1, 11)]
    table.slot(results=[[1, 11, Outcome.CANCELLED, b"", 18.0, 1, None]])
    detail = {"cause": "no_progress", "message": "reported no progress for 10 s"}
    assert table.outbox.results == [[1, 11, Outcome.TIMEOUT, b"", 18.0, 1, detail]]
