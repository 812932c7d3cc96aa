"""The simulation notices a supervisor that breaks a rule: each mutant changes one function, and is caught."""

from __future__ import annotations

import sqlite3
import sys
from math import inf
from pathlib import Path
from typing import Any, Final

import pytest
from simulation.mutants import (  # pyright: ignore[reportMissingImports]
    SEEDS,
    Mutant,
    Sign,
    check_that_it_is_caught,
    first_complaint,
)

from workerhost.actors import turn
from workerhost.actors.core import dispatch, pool, queue, where
from workerhost.actors.core.access import arrivals
from workerhost.actors.core.access.arrivals import Arrivals
from workerhost.actors.core.clients.requests import Requests
from workerhost.actors.core.effects import Refill
from workerhost.actors.core.flows.flows import Flows
from workerhost.actors.core.hosts.hosts import Hosts
from workerhost.actors.core.order.stock import Stock
from workerhost.actors.core.order.tenants import Tenant, Tenants
from workerhost.actors.core.order.window import Window
from workerhost.actors.core.policies.nodes import Node
from workerhost.actors.core.policies.quotas import Meter
from workerhost.actors.core.policies.rates import SlidingRate
from workerhost.actors.core.pool import Pool
from workerhost.actors.core.queue import Queue
from workerhost.actors.core.rows import COMPLETED, FINAL, Row
from workerhost.actors.core.tasks import intake
from workerhost.actors.core.tasks.checkpoints import Checkpoints
from workerhost.actors.core.tasks.endings import Endings, Late
from workerhost.actors.simulation import disk


class ThroughStore:
    """A store but for what a mutant does otherwise."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def no_fence_check(patch: pytest.MonkeyPatch) -> None:
    believed = Endings.results

    def results(self: Endings, step: Any, late: Late, items: Any) -> None:
        for item in items:
            lease = self.queue.leases.get(item[0])
            if lease is None:
                believed(self, step, late, [item])
            else:
                believed(
                    self, step, Late(lease.pool.host, late.number, late.peer), [[item[0], lease.row.fence, *item[2:]]]
                )

    patch.setattr(Endings, "results", results)


def checkpoint_without_fence_check(patch: pytest.MonkeyPatch) -> None:
    believed = Checkpoints.heard

    def heard(self: Checkpoints, step: Any, host: Any, items: Any) -> None:
        for id, _fence, body in items:
            lease = self.queue.leases.get(id)
            if lease is not None:
                believed(self, step, lease.pool.host, [[id, lease.row.fence, body]])

    patch.setattr(Checkpoints, "heard", heard)


def acknowledge_before_commit(patch: pytest.MonkeyPatch) -> None:
    class Lazy(ThroughStore):
        def begin(self) -> None:
            if self.store._connection.in_transaction:
                self.store.commit()
            self.store.begin()

        def commit(self) -> None:
            """With the next turn, which saves an fsync."""

    perform = turn.perform

    def lazily(pool: Pool, store: Any, *more: Any) -> Any:
        lazy: Any = Lazy(store)
        return perform(pool, lazy, *more)

    patch.setattr(turn, "perform", lazily)


def lease_on_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    handle, overdue = Pool.handle, Hosts.overdue
    drift: dict[Hosts, tuple[float, float]] = {}  # wall less monotonic time, at first and now

    def watching(self: Pool, batch: Any, now: float, wall: float, **more: Any) -> Any:
        drift[self.hosts] = (drift.get(self.hosts, (wall - now,))[0], wall - now)
        return handle(self, batch, now, wall, **more)

    def by_wall(self: Hosts, now: float) -> Any:
        first, present = drift[self]
        return overdue(self, now + present - first)

    patch.setattr(Pool, "handle", watching)
    patch.setattr(Hosts, "overdue", by_wall)


def no_grace_after_restart(patch: pytest.MonkeyPatch) -> None:
    start = Pool.start

    def at_once(self: Pool, now: float, wall: float) -> Any:
        for host in self.hosts.by_owner.values():
            host.heard = now - self.settings.lost_after
        return start(self, now, wall)

    patch.setattr(Pool, "start", at_once)


def retry_count_not_stored(patch: pytest.MonkeyPatch) -> None:
    back = Queue.back

    def forgetful(self: Queue, step: Any, row: Row, was: int) -> None:
        back(self, step, row, was)
        state, place, due, relative, attempt, _failures, *more = step.persist.returns[-1]
        step.persist.returns[-1] = (state, place, due, relative, attempt, 0, *more)

    patch.setattr(Queue, "back", forgetful)


def epoch_and_fences_kept_after_restore(patch: pytest.MonkeyPatch) -> None:
    prepare = disk.prepare_restored

    def kept(path: Path, *more: Any) -> int:
        database = sqlite3.connect(path, isolation_level=None)
        (epoch,) = database.execute("select value from meta where key = 'epoch'").fetchone()
        fences = database.execute("select fence, id from task where state < 4").fetchall()
        database.close()
        unfinished = prepare(path, *more)
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("update meta set value = ? where key = 'epoch'", (epoch,))
        database.executemany("update task set fence = ? where id = ?", fences)
        database.close()
        return unfinished

    patch.setattr(disk, "prepare_restored", kept)


def duplicate_submit_inserts(patch: pytest.MonkeyPatch) -> None:
    submit = Requests.submit

    def forgetful(self: Requests, step: Any, peer: Any, message: Any, *more: Any) -> None:
        below = peer.session.below
        self.clients.forget_below(peer.session, sys.maxsize)
        peer.session.below = below
        submit(self, step, peer, message, *more)
        step.persist.submissions.clear()

    patch.setattr(Requests, "submit", forgetful)


def refill_read_outside_the_turn(patch: pytest.MonkeyPatch) -> None:
    perform = turn.perform
    read: dict[Pool, list[tuple[Refill, list[Any]]]] = {}

    class Unasking:
        """A pool whose needs of rows wait until the turn is over."""

        def __init__(self, pool: Pool) -> None:
            self.pool, self.postponed = pool, list[Refill]()

        def stripped(self, effects: list[Any]) -> list[Any]:
            self.postponed += [effect for effect in effects if isinstance(effect, Refill)]
            return [effect for effect in effects if not isinstance(effect, Refill)]

        def feed(self, *news: Any) -> list[Any]:
            return self.stripped(self.pool.feed(*news))

    def outside(pool: Pool, store: Any, effects: list[Any], now: float, wall: float) -> Any:
        for need, rows in read.pop(pool, ()):
            effects = [*effects, *pool.feed(need, rows, now, wall)]
        unasking: Any = Unasking(pool)
        speech = perform(unasking, store, unasking.stripped(effects), now, wall)
        read[pool] = [(need, store.read(need)) for need in unasking.postponed]
        return speech

    patch.setattr(turn, "perform", outside)


def rate_forgotten_over_a_restart(patch: pytest.MonkeyPatch) -> None:
    def forget(self: SlidingRate, rows: Any, now: float, wall: float) -> None:
        """Nothing was granted before this process."""

    patch.setattr(SlidingRate, "restore", forget)


def rate_counted_from_the_full_minute(patch: pytest.MonkeyPatch) -> None:
    def in_this_minute(self: SlidingRate, now: float) -> None:
        entries: Any = self._entries  # pyright: ignore[reportPrivateUsage]  # a mutant changes what is inside
        while entries and entries[0].last // 6 != now // 6:
            self._held -= entries.popleft().grants  # pyright: ignore[reportPrivateUsage]

    patch.setattr(SlidingRate, "_slide", in_this_minute)


def quota_forgotten_over_a_restart(patch: pytest.MonkeyPatch) -> None:
    def forget(self: Meter, start: float, used: int, now: float) -> None:
        """Nothing was used before this process."""

    patch.setattr(Meter, "restore", forget)


def quota_by_whatever_the_wall_clock_says(patch: pytest.MonkeyPatch) -> None:
    def believing(self: Meter, now: float, wall: float) -> None:
        if not self.start <= wall < self.end:
            self.start, self.end = self.quota.period(wall)
            self.used = 0

    patch.setattr(Meter, "_turn", believing)


def no_limit_by_host(patch: pytest.MonkeyPatch) -> None:
    def unlimited(self: Node, owner: int) -> None:
        """Any number."""

    patch.setattr(Node, "room_on", unlimited)


def whoever_was_served_stays_first(patch: pytest.MonkeyPatch) -> None:
    def forget(self: Tenants, tenant: Tenant) -> None:
        """Nobody's turn ends."""

    patch.setattr(Tenants, "served", forget)


def no_more_than_one_task_is_too_much(patch: pytest.MonkeyPatch) -> None:
    def plenty(self: Stock, name: str) -> int:
        return self.counts.get(name, 0)

    patch.setattr(Stock, "free", plenty)


def the_heap_forgets_that_tasks_age(patch: pytest.MonkeyPatch) -> None:
    def young(self: Window, row: Row) -> Any:
        return -row.priority, row.place

    patch.setattr(Window, "key", young)


def whatever_ends_first_lets_go(patch: pytest.MonkeyPatch) -> None:
    resolved = Flows.resolved

    def early(self: Flows, step: Any, need: Any, rows: Any) -> None:
        edges = [(after, task, policy, 1 if open else 0, columns) for after, task, policy, open, columns in rows]
        resolved(self, step, need, edges)

    patch.setattr(Flows, "resolved", early)


def what_waits_is_forgotten_over_a_restart(patch: pytest.MonkeyPatch) -> None:
    walked = Flows.walked

    def blind(self: Flows, step: Any, need: Any, rows: Any) -> None:
        walked(self, step, need, [])

    patch.setattr(Flows, "walked", blind)


def a_failure_lets_go_as_well(patch: pytest.MonkeyPatch) -> None:
    def easy(self: Flows, row: Any, edges: Any, states: Any) -> Any:
        return {after for after, _ in edges}, None

    patch.setattr(Flows, "_judged", easy)


def bulk_is_never_heard_beside_short_words(patch: pytest.MonkeyPatch) -> None:
    ended = Arrivals.ended

    def held(self: Arrivals, now: float) -> None:
        ended(self, now)
        if self._held_until:  # pyright: ignore[reportPrivateUsage]  # a mutant changes what is inside
            self._held_until = inf  # pyright: ignore[reportPrivateUsage]

    patch.setattr(Arrivals, "ended", held)


def what_is_short_overtakes(patch: pytest.MonkeyPatch) -> None:
    def shortest(self: Any) -> Any:
        item = min(self.items, key=lambda item: len(item or b""))
        self.items.remove(item)
        self.bytes -= len(item or b"")
        return item

    patch.setattr(arrivals._Line, "take", shortest)  # pyright: ignore[reportPrivateUsage]


def a_key_is_whoevers_asks_last(patch: pytest.MonkeyPatch) -> None:
    def free(self: Any, wall: float) -> bool:
        return False

    patch.setattr(intake._Named, "holds", free)  # pyright: ignore[reportPrivateUsage]  # a mutant changes what is inside


def a_result_answers_for_ever(patch: pytest.MonkeyPatch) -> None:
    def always(state: int, until: float, wall: float) -> bool:
        return state not in FINAL or state == COMPLETED

    patch.setattr(intake, "holds_key", always)


def whose_tasks_they_are_is_not_asked(patch: pytest.MonkeyPatch) -> None:
    checked = where._checked  # pyright: ignore[reportPrivateUsage]  # a mutant changes what is inside

    def of_anybody(values: dict[str, Any], *more: Any) -> Any:
        return checked({name: value for name, value in values.items() if name != "tenant"}, *more)

    patch.setattr(where, "_checked", of_anybody)


def an_order_ends_with_its_first_tasks(patch: pytest.MonkeyPatch) -> None:
    answered = where.answered

    def silent(step: Any, need: Any, found: Any, following: int | None) -> bool:
        return answered(step, need, found, None)

    patch.setattr(where, "MEANT_MAX", 2)
    patch.setattr(pool, "answered", silent)


def what_has_begun_expires(patch: pytest.MonkeyPatch) -> None:
    def late(row: Row, wall: float) -> bool:
        return row.options is not None and row.options.get("expires", wall) < wall

    patch.setattr(queue, "is_too_late", late)
    patch.setattr(dispatch, "is_too_late", late)


def what_expired_is_run_again_only_to_expire(patch: pytest.MonkeyPatch) -> None:
    again = Queue.again

    def as_it_was(self: Queue, step: Any, row: Row, **more: Any) -> bool:
        options = row.options
        done = again(self, step, row, **more)
        row.options = options
        step.persist.options.clear()
        return done

    patch.setattr(Queue, "again", as_it_was)


def what_is_said_again_counts_again(patch: pytest.MonkeyPatch) -> None:
    def believe(self: Endings, row: Row) -> None:
        """Whatever was told before."""

    patch.setattr(Endings, "_disown", believe)


CUT_OFF: Final = {"partition": 0.3, "pause_host": 0.3}
FILTERS: Any = {"clients": 3, "ingredients": frozenset({"filters"})}
EXPIRY: Any = {"clients": 3, "ingredients": frozenset({"expiry"})}
STUTTER: Any = {"hosts": 4, "clients": 3, "ingredients": frozenset({"stutter"})}
CROWD: Any = {"clients": 3, "ingredients": frozenset({"bulk"}), "faults": {}}


MUTANTS: dict[Mutant, Sign] = {
    no_fence_check: Sign(
        "with the result of another attempt|and never ran so|while a copy runs on", seconds=3.0, faults=CUT_OFF
    ),
    checkpoint_without_fence_check: Sign(
        "has the checkpoint of another attempt",
        clients=2,
        seconds=1.0,
        faults={"partition": 0.5, "pause_host": 0.5},
    ),
    acknowledge_before_commit: Sign("was acknowledged and is not stored"),
    lease_on_the_wall_clock: Sign("was given up after|the supervisor spins"),
    no_grace_after_restart: Sign("was given up after"),
    retry_count_not_stored: Sign("came back with 0 failures"),
    epoch_and_fences_kept_after_restore: Sign("was given fence|has fence|came back with fence|another history"),
    duplicate_submit_inserts: Sign("and not acknowledged"),
    rate_forgotten_over_a_restart: Sign("tasks of d began within", clients=3, faults={"crash_supervisor": 0.3}),
    rate_counted_from_the_full_minute: Sign("tasks of d began within"),
    quota_forgotten_over_a_restart: Sign("d used [0-9]+ units"),
    quota_by_whatever_the_wall_clock_says: Sign(
        "the quota of d was given twice|d used [0-9]+ units", clients=3, seconds=0.05, faults={"wall_jump": 0.5}
    ),
    whoever_was_served_stays_first: Sign("was granted to host-. before task"),
    the_heap_forgets_that_tasks_age: Sign("was granted to host-. before task|is out of order|its order is"),
    no_more_than_one_task_is_too_much: Sign("has tasks for (gpu|memory)"),
    whatever_ends_first_lets_go: Sign("does not wait for [0-9-]+ any more"),
    what_waits_is_forgotten_over_a_restart: Sign("have not ended"),
    a_failure_lets_go_as_well: Sign("which ended badly|before its flow was whole"),
    no_limit_by_host: Sign("run on host|on a host"),
    refill_read_outside_the_turn: Sign(
        "its order is|knows no horizon|behind its horizon|is out of order|was granted|met another fence"
    ),
    bulk_is_never_heard_beside_short_words: Sign("has waited [0-9.]+ s to be heard", **CROWD),
    what_is_short_overtakes: Sign("is heard and was not its next", **CROWD),
    a_key_is_whoevers_asks_last: Sign("stands for None, it should for [0-9]+", ingredients=frozenset({"keys"})),
    whose_tasks_they_are_is_not_asked: Sign("met task [0-9]+, which is another", **FILTERS),
    an_order_ends_with_its_first_tasks: Sign("missed task [0-9]+", **FILTERS),
    what_is_said_again_counts_again: Sign("has two ends of one grant", **STUTTER),
    what_has_begun_expires: Sign("had begun and ended as expired", **EXPIRY),
    what_expired_is_run_again_only_to_expire: Sign("was run again, only to expire", **EXPIRY),
    a_result_answers_for_ever: Sign("stands for [0-9]+, it should for None", ingredients=frozenset({"cache"})),
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch):
    check_that_it_is_caught(mutant, MUTANTS[mutant], monkeypatch)


def test_without_a_mutant_there_is_no_complaint():
    assert first_complaint(SEEDS[:8]) is None


def test_flows_that_end_while_their_tasks_are_retried_lose_nobody_in_the_harshest_weather():
    assert first_complaint([33]) is None
