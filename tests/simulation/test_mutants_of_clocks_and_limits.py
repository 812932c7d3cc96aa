"""More mutants, of what goes by clocks, by limits and by orders of people: each changes one function, and is caught."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from simulation.mutants import (  # pyright: ignore[reportMissingImports]
    SEEDS,
    Mutant,
    Sign,
    check_that_it_is_caught,
    first_complaint,
)

from workerhost.actors.core.hosts.hosts import Hosts, HostSession
from workerhost.actors.core.order import schedule
from workerhost.actors.core.order.lane import Lane
from workerhost.actors.core.order.schedule import Schedule
from workerhost.actors.core.order.tree import Tree
from workerhost.actors.core.policies.breakers import Guard
from workerhost.actors.core.policies.nodes import Node
from workerhost.actors.core.pool import Pool
from workerhost.actors.core.queue import Queue
from workerhost.actors.core.rows import Row
from workerhost.actors.core.tasks import endings
from workerhost.actors.core.tasks.firings import Firings
from workerhost.actors.simulation.timeline import OWN_START, WALL_START


def all_that_is_scheduled_is_due_at_once(patch: pytest.MonkeyPatch) -> None:
    due = Schedule.due

    def at_once(self: Schedule, wall: float) -> list[Row]:
        return due(self, inf)

    patch.setattr(Schedule, "due", at_once)


def nothing_waits_before_its_next_try(patch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> float:
        return 0.0

    patch.setattr(endings, "delay", none)


def delays_do_not_move_with_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    delays_move_with_the_wall_clock_in_memory_alone(patch)

    def unmoved(self: Schedule, seconds: float) -> None:
        """What was told by the clock of before stays so."""

    patch.setattr(Schedule, "shift", unmoved)


def delays_move_with_the_wall_clock_in_memory_alone(patch: pytest.MonkeyPatch) -> None:
    anchored = Pool._anchored  # pyright: ignore[reportPrivateUsage]  # a mutant changes what is inside

    def unwritten(self: Pool, step: Any, jump: float) -> None:
        anchored(self, step, jump)
        step.persist.shifts.clear()

    patch.setattr(Pool, "_anchored", unwritten)


def instants_go_by_a_clock_that_never_jumps(patch: pytest.MonkeyPatch) -> None:
    due = Queue.due

    def never_set(self: Queue, step: Any, anchor: float) -> None:
        step.wall, real = step.now + WALL_START - OWN_START, step.wall
        due(self, step, anchor)
        step.wall = real

    patch.setattr(Queue, "due", never_set)


def what_is_due_later_than_what_memory_holds_is_kept_there(patch: pytest.MonkeyPatch) -> None:
    add = Schedule.add

    def beyond(self: Schedule, row: Row) -> bool:
        horizon, self.horizon = self.horizon, None
        kept = add(self, row)
        self.horizon = horizon
        return kept

    patch.setattr(schedule, "ROWS_MAX", 4)
    patch.setattr(Schedule, "add", beyond)


def what_is_due_is_seen_to_seconds_later(patch: pytest.MonkeyPatch) -> None:
    due, following = Schedule.due, Schedule.next

    def late(self: Schedule, wall: float) -> list[Row]:
        return due(self, wall - 3.0)

    def later(self: Schedule) -> float | None:
        return None if (first := following(self)) is None else first + 3.0

    patch.setattr(Schedule, "due", late)
    patch.setattr(Schedule, "next", later)


def a_stall_of_the_supervisor_is_everybodys_silence(patch: pytest.MonkeyPatch) -> None:
    def heedless(self: Hosts, seconds: float) -> None:
        """What it did not hear nobody said."""

    patch.setattr(Hosts, "stalled", heedless)


def _lost_when(patch: pytest.MonkeyPatch, when: Callable[[Hosts, HostSession], float]) -> None:
    """A host is lost at an instant of its own, and at no other."""

    def overdue(self: Hosts, now: float) -> list[HostSession]:
        return [host for host in self.by_owner.values() if host.alive() and now >= when(self, host)]

    def next_check(self: Hosts) -> float | None:
        return min((when(self, host) for host in self.by_owner.values() if host.alive()), default=None)

    patch.setattr(Hosts, "overdue", overdue)
    patch.setattr(Hosts, "next_check", next_check)


def who_is_silent_lives_as_long_as_its_connection(patch: pytest.MonkeyPatch) -> None:
    _lost_when(patch, lambda hosts, host: inf if host.gone_at is None else host.gone_at + hosts.grace())


def who_is_away_is_given_up_for_silence_alone(patch: pytest.MonkeyPatch) -> None:
    _lost_when(patch, lambda hosts, host: host.heard + hosts.lost_after)


def a_pause_stops_nobody(patch: pytest.MonkeyPatch) -> None:
    def awake(self: Node, wall: float) -> bool:
        return False

    patch.setattr(Node, "asleep", awake)


def schedules_never_come(patch: pytest.MonkeyPatch) -> None:
    def unwound(self: Firings, one: Any) -> None:
        one.next = inf

    patch.setattr(Firings, "_wind", unwound)


def a_reload_lowers_no_limit(patch: pytest.MonkeyPatch) -> None:
    def keep(self: Tree, policies: Any) -> None:
        """What was read is right, and forgotten."""

    patch.setattr(Tree, "retune", keep)


def a_release_is_not_counted(patch: pytest.MonkeyPatch) -> None:
    def free(row: Row, note: str) -> None:
        """It may go round for ever."""

    patch.setattr(endings, "_release", free)


def a_breaker_that_is_open_keeps_nobody(patch: pytest.MonkeyPatch) -> None:
    def room(self: Guard, now: float) -> None:
        """Any number."""

    patch.setattr(Guard, "room", room)


def a_breaker_never_opens(patch: pytest.MonkeyPatch) -> None:
    def bearable(self: Guard, now: float) -> bool:
        return False

    patch.setattr(Guard, "too_many", bearable)


def two_try_whether_a_node_works_again(patch: pytest.MonkeyPatch) -> None:
    def room(self: Guard, now: float) -> int | None:
        return None if self.open_until is None else 0 if now < self.open_until else 2

    patch.setattr(Guard, "room", room)


def hosts_are_given_what_comes_next_ahead(patch: pytest.MonkeyPatch) -> None:
    def plenty(self: Lane, slots: int) -> int:
        return 50

    patch.setattr(Lane, "margin", plenty)


def what_is_fast_is_shipped_under_a_limit_too(patch: pytest.MonkeyPatch) -> None:
    def fast(self: Lane, slots: int) -> int:
        return self.pace.margin(slots)

    patch.setattr(Lane, "margin", fast)


def _stand_last(patch: pytest.MonkeyPatch, who: Callable[[Lane], object]) -> None:
    front = Lane.front

    def last(self: Lane) -> Any:
        key = front(self)
        return (0, key[1]) if key is not None and who(self) else key

    patch.setattr(Lane, "front", last)


def what_has_a_limit_stands_last(patch: pytest.MonkeyPatch) -> None:
    _stand_last(patch, lambda lane: lane.bounds)


def what_uses_something_up_stands_last(patch: pytest.MonkeyPatch) -> None:
    _stand_last(patch, lambda lane: lane.needs)


CLOCK: Any = {"faults": {"wall_jump": 0.5, "crash_supervisor": 0.2}}
OFTEN_SET: Any = {"clients": 3, "faults": {"wall_jump": 1.0}}
STALLS: Any = {"hosts": 4, "clients": 1, "faults": {"stall_supervisor": 0.2, "partition": 0.6}}
SILENCE: Any = {"seconds": 3.0, "faults": {"partition": 0.3, "pause_host": 0.1}}
DEATH: Any = {"seconds": 3.0, "faults": {"crash_host": 0.3}}
CRASHES: Any = {"hosts": 4, "clients": 3, "faults": {"crash_slot": 1.0}}
MANY_CRASHES: Any = {"hosts": 4, "clients": 3, "faults": {"crash_slot": 8.0}}
QUICK: Any = {"hosts": 1, "clients": 3, "quick": True, "faults": {}}

MUTANTS: dict[Mutant, Sign] = {
    all_that_is_scheduled_is_due_at_once: Sign("falls due at"),
    nothing_waits_before_its_next_try: Sign("s after failure [0-9]+, Retry"),
    delays_do_not_move_with_the_wall_clock: Sign("falls due at|its time has come|have not ended", **CLOCK),
    delays_move_with_the_wall_clock_in_memory_alone: Sign(
        "in the store, Due|memory holds .* scheduled|falls due at|its time has come|have not ended", **CLOCK
    ),
    instants_go_by_a_clock_that_never_jumps: Sign("falls due at", **OFTEN_SET),
    what_is_due_later_than_what_memory_holds_is_kept_there: Sign("memory holds .* of what is scheduled"),
    what_is_due_is_seen_to_seconds_later: Sign("is scheduled still, its time has come"),
    a_stall_of_the_supervisor_is_everybodys_silence: Sign("was given up after", **STALLS),
    who_is_silent_lives_as_long_as_its_connection: Sign("has been silent or away for too long", **SILENCE),
    who_is_away_is_given_up_for_silence_alone: Sign("has been silent or away for too long", **DEATH),
    a_pause_stops_nobody: Sign("is paused"),
    schedules_never_come: Sign("has not sent for", ingredients=frozenset({"schedules"}), faults={}),
    a_reload_lowers_no_limit: Sign("tasks of (b run|d began)", ingredients=frozenset({"reloads"})),
    a_release_is_not_counted: Sign("came back with 0 releases"),
    a_breaker_that_is_open_keeps_nobody: Sign("too early, the breaker of a is open", **CRASHES),
    a_breaker_never_opens: Sign("the breaker of a is closed", **MANY_CRASHES),
    hosts_are_given_what_comes_next_ahead: Sign("can run .* and was given"),
    what_is_fast_is_shipped_under_a_limit_too: Sign("can run .* and was given", **QUICK),
    what_has_a_limit_stands_last: Sign("was granted to host-. before task", ageing=0.0),
    what_uses_something_up_stands_last: Sign("was granted to host-. before task", ageing=0.0),
    two_try_whether_a_node_works_again: Sign("tries, the breaker of a is open", **CRASHES),
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch):
    check_that_it_is_caught(mutant, MUTANTS[mutant], monkeypatch)


def test_schedules_that_memory_holds_in_part_are_whole(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(schedule, "ROWS_MAX", 4)
    assert first_complaint(SEEDS[:4], clients=3) is None
