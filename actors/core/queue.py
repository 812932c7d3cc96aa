"""The queue: where each task is, who holds it, what happens next.

Every change of a task goes through here: counted, put where it belongs in memory, and written into the step for the
store. Reports are believed only with the fence of the live lease; what bears another is looked up in the store before
it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Any, Final

from .hosts.hosts import HostSession, Lease, SlotPool
from .life import MOVES, moved
from .opening import EPOCH_SHIFT
from .order.company import Company
from .order.declines import Declined, Declines
from .order.lane import Lane
from .order.lanes import Lanes
from .order.schedule import Schedule
from .rows import COMPLETED, NOBODY, PARAMS_IN_MEMORY, QUARANTINED, QUEUED, RUNNING, SCHEDULED, WAITING, Row
from .settings import PoolSettings
from .step import Step
from .tasks.submissions import lane_key

ANNOUNCE_SECONDS: Final = 0.25
"""A client learns that its task runs when it has run this long: short tasks are not worth a message."""
EXPIRED: Final = {"cause": "expired", "message": "it was not started in time"}
_EXPIRING_MAX: Final = 1000  # entries whose tasks may have ended, beside as many as live


class Queue:
    """All tasks that are not final, as far as memory knows them.

    Attributes:
        rows: Rows in a window or on a schedule, by id.
        leases: Granted tasks, by id.
        checkpoints: Unfinished tasks with a checkpoint in the store.
        declines: Queued tasks that stand aside, because a host declined them.
        company: Who waits for a few tasks.
    """

    def __init__(self, settings: PoolSettings, epoch: int, last_id: int, last_finish: int) -> None:
        self.lanes = Lanes(settings.policies, settings.rows_max, settings.ageing)
        self.fifo = settings.fifo
        self.rows: dict[int, Row] = {}
        self.leases: dict[int, Lease] = {}
        self.stopping = 0  # how many of them
        self.checkpoints: set[int] = set()
        self.declines = Declines()
        self.company = Company()
        self.schedules = {True: Schedule(relative=True), False: Schedule(relative=False)}
        self.last_id, self.last_finish = last_id, last_finish
        self.unfinished_count = 0
        self._expiring: list[tuple[float, int]] = []
        self.fence = epoch << EPOCH_SHIFT

    def submit(self, step: Step, session: int, groups: Sequence[Any]) -> int:
        """Store new tasks, already checked; the id of the first."""
        first = self.last_id + 1
        for type, priority, options, batch in groups:
            bodies: list[bytes] = batch
            start = self.last_id + 1
            self.last_id += len(bodies)
            if bodies:
                self.store(step, session, type, priority, options, enumerate(bodies, start))
        step.persist.meta["last_id"] = self.last_id
        return first

    def store(
        self,
        step: Step,
        session: int,
        type: str,
        priority: int,
        given: dict[str, Any] | None,
        numbered: Iterable[tuple[int, bytes]],
        keys: Sequence[str] = (),
    ) -> None:
        """Store new tasks of a type that have their ids: (id, params), in order; `keys`, if any, are theirs."""
        name, options = (type, "", ""), given
        if given:
            name, options = lane_key(type, given)
        lane = self.lanes.of(name, step)
        if self.fifo:
            priority = 0
        due, relative = due_of(options, step.wall)
        state = QUEUED if due is None else SCHEDULED
        if options and "edges" in options:
            state, due, relative = WAITING, None, False
        number, wall = lane.number, step.wall
        new: list[tuple[Any, ...]] = [
            (id, number, priority, id, state, session, 0, 0, 0, 0, 0, 0, wall, due, relative, 0, None, options, params)
            for id, params in numbered
        ]
        if keys:
            common = options or {}
            new = [(*task[:-2], {**common, "key": key}, task[-1]) for task, key in zip(new, keys, strict=True)]
        self.unfinished_count += len(new)
        step.persist.tasks += new
        if options and options.get("tags"):
            step.persist.tags += [(tag, task[0]) for task in new for tag in dict.fromkeys(options["tags"])]
        lane.counts[state] += len(new)
        lane.account.sent(len(new))
        self.lanes.touched.add(lane)
        if session:
            self.company.sent(session, len(new), step.now)
        if state == WAITING:
            return
        horizon, level = lane.window.horizon, lane.window.level(priority, step.wall)
        if state == QUEUED and horizon is not None and (-level, new[0][0]) > horizon and lane.beyond() > len(new):
            return  # all of them stand behind what memory holds
        self._hold_in_memory(lane, [_row(task) for task in new])

    def current(self, row: Row) -> Row:
        """A task that was read from the store, as memory knows it by now, if it does."""
        lease = self.leases.get(row.id)
        return self.rows.get(row.id, row) if lease is None else lease.row

    def replace(self, id: int, params: bytes) -> None:
        """A task that has not started gets other params; whoever asks tells the store."""
        row = self.rows.get(id)
        if row is not None:
            row.params = params if len(params) <= PARAMS_IN_MEMORY else None

    def _hold_in_memory(self, lane: Lane, rows: list[Row]) -> None:
        """Rows that were counted go to their window or schedule, as far as memory keeps them."""
        if not rows:
            return
        if rows[0].state == QUEUED:
            kept = self.lanes.add(lane, rows)
        else:
            kept = [row for row in rows if self.schedules[row.relative].add(row)]
        self.remember(kept)

    def remember(self, rows: Iterable[Row]) -> None:
        """Rows are in a window or on a schedule from now on."""
        for row in rows:
            self.rows[row.id] = row
            if row.options and "expires" in row.options:
                heappush(self._expiring, (row.options["expires"], row.id))

    def expire(self, step: Step) -> None:
        """End tasks that were not started in time, as far as memory holds them; the others when they are reached."""
        if len(self._expiring) > 2 * len(self.rows) + _EXPIRING_MAX:
            self._expiring = sorted({entry for entry in self._expiring if entry[1] in self.rows})  # is a heap
        while self._expiring and self._expiring[0][0] < step.wall:
            row = self.rows.get(heappop(self._expiring)[1])
            if row is not None and is_too_late(row, step.wall):
                self.finish(step, row, "expire", EXPIRED)

    def due(self, step: Step, anchor: float) -> None:
        """Queue what has fallen due: a task that never ran at the place of its due time, a retried one at its own."""
        for relative, clock in ((True, step.now + anchor), (False, step.wall)):
            for row in self.schedules[relative].due(clock):
                moved(row, "due")
                row.due = None
                if row.fence == 0:
                    self.last_id += 1
                    row.place = self.last_id
                    step.persist.meta["last_id"] = self.last_id
                self.back(step, row, SCHEDULED)

    def back(self, step: Step, row: Row, was: int, declined: Declined | None = None) -> None:
        """A row is queued or scheduled (again): write it, count it, put it where it belongs. `declined`: aside."""
        lane = self.lanes.by_number[row.lane]
        row.queued_at = step.wall
        counters = (row.attempt, row.failures, row.crashes, row.losses, row.releases)
        written = (row.state, row.place, row.due, row.relative, *counters, row.owner)
        step.persist.returns.append((*written, row.id, row.fence))
        lane.counts[was] -= 1
        lane.counts[row.state] += 1
        self.lanes.touched.add(lane)
        self.rows.pop(row.id, None)
        if declined is None:
            self._hold_in_memory(lane, [row])
        else:
            self.declines.put(lane, row, declined)
            self.remember([row])
        if row.session and not is_too_late(row, step.wall):  # else it ends in this step, and only that is told
            step.changes.setdefault(row.session, []).append([row.id, row.state])

    def edit(self, step: Step, row: Row, lane: Lane, priority: int) -> None:
        """A queued or scheduled row stands in another lane, or at another priority, from now on."""
        before = self.lanes.by_number[row.lane]
        declined = self.declines.of(row.id) if lane.type == before.type else None  # else others may take it
        if row.state == QUEUED:
            row = self.take_out(row)
        row.lane, row.priority = lane.number, priority
        step.persist.edits.append((row.lane, row.priority, row.id, row.fence))
        if lane is not before:
            step.persist.uncached.append(row.id)
        before.counts[row.state] -= 1
        lane.counts[row.state] += 1
        self.lanes.touched |= {before, lane}
        if declined is not None:
            self.declines.put(lane, row, declined)
            self.remember([row])
        elif row.state == QUEUED:
            self._hold_in_memory(lane, [row])

    def announce(self, step: Step) -> None:
        """Tell clients which of their tasks run for long enough to be worth a word."""
        for lease in self.leases.values():
            if not lease.announced and not lease.stopping and step.now - lease.granted >= ANNOUNCE_SECONDS / 2:
                lease.announced = True
                step.changes.setdefault(lease.row.session, []).append([lease.row.id, RUNNING])

    def grant(self, step: Step, pool: SlotPool, rows: Iterable[Row], declined: Declined | None = None) -> None:
        """Tasks are given to a host: to each a new fence, a new attempt. `declined`: see `Lease`."""
        known, leases, held, claims = self.rows, self.leases, pool.host.leases, step.persist.claims
        fence, owner, now, wall, lanes = self.fence, pool.host.owner, step.now, step.wall, self.lanes.by_number
        for row in rows:
            moved(row, "claim")
            fence += 1
            row.fence, row.owner, row.started_at = fence, owner, wall
            row.attempt = attempt = row.attempt + 1
            id = row.id
            known.pop(id, None)
            leases[id] = held[id] = Lease(row, lanes[row.lane], pool, now, None, False, False, declined)
            claims.append((fence, attempt, owner, wall, id))
        self.fence = fence

    def finish(
        self,
        step: Step,
        row: Row,
        event: str,
        detail: dict[str, Any] | None,
        *,
        started_at: float | None = None,
        slot: int = 0,
        body: bytes = b"",
        host: HostSession | None = None,
    ) -> None:
        """A task ends for this run-through. Its lease, if any, is the caller's to let go."""
        was = row.state
        moved(row, event)
        self.unfinished_count -= 1
        lane = self.lanes.by_number[row.lane]
        if self.rows.pop(row.id, None) is not None:
            self.forget(lane, row, was)
        self.last_finish = finish = self.last_finish + 1
        step.persist.finishes.append(
            (row.state, finish, step.wall, started_at, slot, body, detail, row.failures, row.crashes, row.id, row.fence)
        )
        if row.losses or row.releases:  # the last of them was not stored
            step.persist.setbacks.append((row.losses, row.releases, row.id, row.fence))
        step.persist.meta["last_finish"] = finish
        lane.counts[was] -= 1
        lane.counts[row.state] += 1
        lane.account.ended(row.state)
        self.lanes.touched.add(lane)
        if row.state == QUARANTINED:
            reason = (detail or {}).get("reason")
            step.note("warning", "task_quarantined", task=row.id, type=lane.type, attempt=row.attempt, reason=reason)
        told = None
        if row.state != COMPLETED:
            told = {**(detail or {}), "attempts": row.attempt, "host": host.name if host else ""}
        step.ends.setdefault(row.session, []).append([row.id, finish, row.state, body, told])

    def forget(self, lane: Lane, row: Row, was: int) -> None:
        """A row in memory ended or was adopted where it stood."""
        if was == QUEUED and row.id in self.declines:
            self.declines.take(row)
        elif was == QUEUED:
            lane.window.forget()
            self.lanes.taken(lane, 1)
        else:
            self.schedules[row.relative].forget()

    def take_out(self, row: Row) -> Row:
        """Take a queued row out of its window, wherever it stands there; a copy that is free to move."""
        if self.rows.pop(row.id, None) is None:
            return row
        self.forget(self.lanes.by_number[row.lane], row, QUEUED)
        free = Row(*(getattr(row, name) for name in Row.__slots__))
        row.state = RUNNING  # what is left of it in the window is skipped
        return free

    def declined_by(self, id: int) -> frozenset[int]:
        """The sessions that have declined a task, whether it stands aside or was granted to another."""
        lease = self.leases.get(id)
        declined = self.declines.of(id) if lease is None else lease.declined
        return frozenset() if declined is None else declined.by

    def let_go(self, lease: Lease) -> None:
        """A lease is over: its slot is free as far as anybody here knows."""
        del self.leases[lease.row.id], lease.pool.host.leases[lease.row.id]
        self.stopping -= lease.stopping
        lease.pool.held -= 1
        self.lanes.tree.let_go(lease.lane, lease.pool.host.owner, lease.row.id)

    def lease_again(self, row: Row, pool: Any, now: float) -> None:
        """A lease known from elsewhere than a grant: adopted, or read at a start."""
        lane = self.lanes.by_number[row.lane]
        self.leases[row.id] = pool.host.leases[row.id] = Lease(row, lane, pool, now)
        pool.held += 1
        self.lanes.tree.hold(lane, pool.host.owner, 1)

    def may_run_again(self, row: Row) -> bool:
        """Whether a task has ended badly, and is not still stopping."""
        return (row.state, "again") in MOVES and row.id not in self.leases

    def again(self, step: Step, row: Row, *, waits: bool = False) -> bool:
        """By hand: run a task that ended badly once more, all counts at zero; not while it is still stopping. One that
        would only expire again may begin at any time from now on. `waits`: for others first.
        """
        if not self.may_run_again(row):
            return False
        lane = self.lanes.by_number[row.lane]
        lane.counts[row.state] -= 1
        self.unfinished_count += 1
        lane.account.sent(1)
        moved(row, "wait" if waits else "again")
        lane.counts[row.state] += 1
        self.lanes.touched.add(lane)
        row.failures = row.crashes = row.losses = row.releases = 0
        row.due, row.started_at, row.queued_at = None, None, step.wall
        self.fence += 1
        row.fence, row.owner = self.fence, NOBODY  # what its last host may still report is of the run-through before
        step.persist.retries.append((row.fence, row.id))
        if row.options and is_too_late(row, step.wall):
            row.options = {name: value for name, value in row.options.items() if name != "expires"} or None
            step.persist.options.append((row.options, row.id, row.fence))
        if waits:
            step.persist.waits.append(row.id)
        else:
            self._hold_in_memory(lane, [row])
        step.changes.setdefault(row.session, []).append([row.id, row.state])
        step.again[row.session] = step.again.get(row.session, 0) + 1
        return True

    def keep_bounds(self, step: Step) -> None:
        """Hold the budgets of memory and ask for what is missing; called once at the end of every step."""
        for _, rows in self.lanes.over_budget():
            for row in rows:
                del self.rows[row.id]
        step.needs += self.lanes.refills()
        for schedule in self.schedules.values():
            for row in schedule.over_budget():
                del self.rows[row.id]
            if need := schedule.refill():
                step.needs.append(need)


def is_too_late(row: Row, wall: float) -> bool:
    """Whether a task was to begin by an instant that has passed, and has not. One that has begun is never too late."""
    return row.attempt == 0 and row.options is not None and row.options.get("expires", wall) < wall


def due_of(options: dict[str, Any] | None, wall: float) -> tuple[float | None, bool]:
    """When a new task falls due, and whether that was given as a delay."""
    if options:
        if options.get("delay"):
            return wall + options["delay"], True
        if options.get("at") is not None and options["at"] > wall:
            return options["at"], False
    return None, False


def _row(task: tuple[Any, ...]) -> Row:
    row = Row(*task)
    if len(task[-1]) > PARAMS_IN_MEMORY:
        row.params = None
    return row
