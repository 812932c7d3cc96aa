"""The queue: where each task is, who holds it, what happens next.

Every change of a task goes through here: counted, put where it belongs in memory, and written into the step for the
store. Reports are believed only with the fence of the live lease; what bears another is looked up in the store before
it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ...config.policy import PolicyTree
from ...transport.messages import STATES, Outcome, Returned
from .backoff import delay
from .hosts import HostSession, Lease
from .lanes import Lane, Lanes
from .life import moved
from .pace import SLOW_SECONDS
from .rows import CANCELLED, COMPLETED, FINAL, QUEUED, RUNNING, SCHEDULED, Row
from .schedule import Schedule
from .step import Step

PARAMS_IN_MEMORY: Final = 4096
"""Larger params stay in the store until the task is granted."""
LOSSES_ALONE: Final = 3
"""A task whose hosts were lost so often runs with no neighbour; once more and it is quarantined."""
_EPOCH_SHIFT: Final = 40
_DECLINE_WAIT_MAX: Final = 60.0
_CAUSES: Final = {Outcome.FAILED: "exception", Outcome.TIMEOUT: "timeout", Outcome.CRASHED: "crash"}
_CAUSES_FINAL: Final = {**_CAUSES, Outcome.TOO_LARGE: "result_too_large"}


@dataclass(slots=True)
class _Tally:
    """Durations of one lane within one batch of results."""

    count: int = 0
    seconds: float = 0.0
    slow: int = 0


@dataclass(slots=True)
class Late:
    """Reports that match no live lease, waiting for what the store knows of their tasks."""

    host: HostSession
    number: int
    items: list[Any] = field(default_factory=list[Any])
    stale: list[Any] = field(default_factory=list[Any])


class Queue:
    """All tasks that are not final, as far as memory knows them.

    Attributes:
        rows: Rows in a window or on a schedule, by id.
        leases: Granted tasks, by id.
    """

    def __init__(self, policies: PolicyTree, epoch: int, last_id: int, last_finish: int, rows_max: int) -> None:
        self.lanes = Lanes(policies, rows_max)
        self.rows: dict[int, Row] = {}
        self.leases: dict[int, Lease] = {}
        self.schedules = {True: Schedule(relative=True), False: Schedule(relative=False)}
        self.last_id, self.last_finish = last_id, last_finish
        self.fence = epoch << _EPOCH_SHIFT

    # In.

    def submit(self, step: Step, session: int, groups: Sequence[Any]) -> int:
        """Store new tasks, already checked; the id of the first."""
        first = self.last_id + 1
        for type, priority, options, batch in groups:
            lane = self.lanes.of(type, step)
            due, relative = _due(options, step.wall)
            state = QUEUED if due is None else SCHEDULED
            start = self.last_id + 1
            new = [
                (
                    id,
                    lane.number,
                    priority,
                    id,
                    state,
                    session,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    step.wall,
                    due,
                    relative,
                    0,
                    None,
                    options,
                    params,
                )
                for id, params in enumerate(batch, start)
            ]
            self.last_id += len(new)
            step.persist.tasks += new
            if options and options.get("tags"):
                step.persist.tags += [(tag, task[0]) for task in new for tag in dict.fromkeys(options["tags"])]
            lane.counts[state] += len(new)
            self.lanes.touched.add(lane)
            horizon = lane.window.horizon
            if state == QUEUED and horizon is not None and (-priority, start) > horizon and lane.beyond() > len(new):
                continue  # all of them stand behind what memory holds
            self._hold_in_memory(lane, [_row(task) for task in new])
        step.persist.meta["last_id"] = self.last_id
        return first

    def _hold_in_memory(self, lane: Lane, rows: list[Row]) -> None:
        """Rows that were counted go to their window or schedule, as far as memory keeps them."""
        if not rows:
            return
        if rows[0].state == QUEUED:
            kept = self.lanes.add(lane, rows)
        else:
            kept = [row for row in rows if self.schedules[row.relative].add(row)]
        for row in kept:
            self.rows[row.id] = row

    def due(self, step: Step, anchor: float) -> None:
        """Queue what has fallen due: a task that never ran at the place of its due time, a retried one at its own."""
        for relative, clock in ((True, step.now + anchor), (False, step.wall)):
            for row in self.schedules[relative].due(clock):
                moved(row, "due")
                row.due = None
                if row.attempt == 0:
                    self.last_id += 1
                    row.place = self.last_id
                    step.persist.meta["last_id"] = self.last_id
                self._back(step, row, SCHEDULED)

    def _back(self, step: Step, row: Row, was: int) -> None:
        """A row is queued or scheduled (again): write it, count it, put it where it belongs."""
        lane = self.lanes.by_number[row.lane]
        counters = (row.attempt, row.failures, row.crashes, row.losses, row.releases)
        step.persist.returns.append((row.state, row.place, row.due, row.relative, *counters, row.id, row.fence))
        lane.counts[was] -= 1
        lane.counts[row.state] += 1
        self.lanes.touched.add(lane)
        self.rows.pop(row.id, None)
        self._hold_in_memory(lane, [row])
        if row.session:
            step.changes.setdefault(row.session, []).append([row.id, row.state])

    # Out.

    def grant(self, step: Step, lease: Lease) -> None:
        """A task is given to a host: a new fence, a new attempt."""
        row = lease.row
        moved(row, "claim")
        self.fence += 1
        row.fence = self.fence
        row.attempt += 1
        row.owner = lease.pool.host.owner
        row.started_at = step.wall
        self.rows.pop(row.id, None)
        self.leases[row.id] = lease
        step.persist.claims.append((row.fence, row.attempt, row.owner, step.wall, row.id))

    def results(self, step: Step, late: Late, items: Iterable[Any]) -> None:
        """Ended attempts. Those of no live lease are added to `late`."""
        leases, wall, finishes, ends = self.leases, step.wall, step.persist.finishes, step.ends
        host = late.host
        tallies: dict[Lane, _Tally] = {}
        try:
            for item in items:
                id, fence, outcome, body, duration, slot, detail = item
                lease = leases.get(id)
                if lease is None or lease.row.fence != fence or lease.pool.host is not host:
                    late.items.append(item)
                    continue
                started_at = wall - duration
                if type(body) is not bytes or type(slot) is not int:
                    raise TypeError("a result is bytes and its slot a number")
                row, lane = lease.row, lease.lane
                if outcome or lease.stopping:
                    self._ended_badly(step, lease, Outcome(outcome), started_at, slot, detail)
                    continue
                moved(row, "complete")
                self.last_finish = finish = self.last_finish + 1
                finishes.append(
                    (COMPLETED, finish, wall, started_at, slot, body, None, row.failures, row.crashes, id, fence)
                )
                if (told := ends.get(row.session)) is None:
                    told = ends[row.session] = []
                told.append([id, finish, COMPLETED, body, None])
                del leases[id]
                lease.pool.held -= 1
                if (tally := tallies.get(lane)) is None:
                    tally = tallies[lane] = _Tally()
                tally.count += 1
                tally.seconds += duration
                tally.slow += duration > SLOW_SECONDS
        finally:  # a malformed item ends the message, not the counts of those before it
            for lane, tally in tallies.items():
                lane.counts[RUNNING] -= tally.count
                lane.counts[COMPLETED] += tally.count
                lane.pace.measured(tally.count, tally.seconds, tally.slow)
                self.lanes.touched.add(lane)
                self.lanes.hold(lane, -tally.count)
        if tallies:
            step.persist.meta["last_finish"] = self.last_finish

    def _ended_badly(
        self, step: Step, lease: Lease, outcome: Outcome, started_at: float, slot: int, detail: dict[str, Any] | None
    ) -> None:
        """An attempt ended in another way than by completing, or its lease was stopping."""
        row = lease.row
        self._let_go(lease)
        if lease.stopping:
            return  # its end is recorded since it was cancelled
        if outcome == Outcome.CANCELLED:
            moved(row, "release")
            self._attempt_ended(step, row, lease.pool.host, slot, started_at, "stopped", detail)
            self._back(step, row, RUNNING)
            return
        self.judge(step, row, lease.pool.host, outcome, started_at, slot, detail or {})

    def judge(
        self,
        step: Step,
        row: Row,
        host: HostSession,
        outcome: Outcome,
        started_at: float,
        slot: int,
        detail: dict[str, Any],
    ) -> None:
        """Decide what follows from a failure, a timeout, a crash or a result that is too large."""
        was = row.state
        policy = self.lanes.by_number[row.lane].policy
        limit = (row.options or {}).get("max_attempts") or policy.retry.max_attempts
        cause = detail.get("cause") or _CAUSES_FINAL[outcome]
        if outcome == Outcome.CRASHED:
            row.crashes += 1
            if row.crashes >= policy.crash_limit:
                detail = {**detail, "cause": cause, "reason": f"killed its worker {row.crashes} times"}
                self.finish(step, row, "quarantine", detail, started_at=started_at, slot=slot, host=host)
                return
            moved(row, "crash")
        else:
            row.failures += 1
            if not detail.get("retry", outcome == Outcome.TIMEOUT) or row.failures >= limit:
                self.finish(step, row, "fail", {**detail, "cause": cause}, started_at=started_at, slot=slot, host=host)
                return
            moved(row, "retry")
            wait = detail.get("after")
            if not isinstance(wait, int | float):
                wait = delay(policy.retry, row.failures, row.id * 1000003 + row.attempt)
            row.due, row.relative = step.wall + wait, True
        self._attempt_ended(step, row, host, slot, started_at, cause, detail)
        self._back(step, row, was)

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
        lane = self.lanes.by_number[row.lane]
        if self.rows.pop(row.id, None) is not None:
            self._forget(lane, row, was)
        self.last_finish = finish = self.last_finish + 1
        step.persist.finishes.append(
            (row.state, finish, step.wall, started_at, slot, body, detail, row.failures, row.crashes, row.id, row.fence)
        )
        step.persist.meta["last_finish"] = finish
        lane.counts[was] -= 1
        lane.counts[row.state] += 1
        self.lanes.touched.add(lane)
        told = None
        if row.state != COMPLETED:
            told = {**(detail or {}), "attempts": row.attempt, "host": host.name if host else ""}
        step.ends.setdefault(row.session, []).append([row.id, finish, row.state, body, told])

    def _forget(self, lane: Lane, row: Row, was: int) -> None:
        """A row in memory ended or was adopted where it stood."""
        if was == QUEUED:
            lane.window.forget()
            self.lanes.taken(lane, 1)
        else:
            self.schedules[row.relative].forget()

    def _take_out(self, row: Row) -> Row:
        """Take a queued row out of its window, wherever it stands there; a copy that is free to move."""
        if self.rows.pop(row.id, None) is None:
            return row
        self._forget(self.lanes.by_number[row.lane], row, QUEUED)
        free = Row(*(getattr(row, name) for name in Row.__slots__))
        row.state = RUNNING  # what is left of it in the window is skipped
        return free

    def _let_go(self, lease: Lease) -> None:
        del self.leases[lease.row.id]
        lease.pool.held -= 1
        self.lanes.hold(lease.lane, -1)

    def _attempt_ended(
        self,
        step: Step,
        row: Row,
        host: HostSession,
        slot: int,
        started_at: float | None,
        outcome: str,
        detail: dict[str, Any] | None,
    ) -> None:
        step.persist.attempts.append(
            (row.id, row.attempt, row.fence, host.owner, slot, started_at, step.wall, outcome, detail)
        )

    def give_back(self, step: Step, host: HostSession, items: Iterable[Any]) -> None:
        """A host hands tasks back; nothing is counted against them."""
        for id, fence, code, after, note, started in items:
            lease = self.leases.get(id)
            if lease is None or lease.row.fence != fence or lease.pool.host is not host:
                continue
            reason, after = Returned(code), float(after)
            row, lane = lease.row, lease.lane
            self._let_go(lease)
            if lease.stopping:
                continue
            if reason == Returned.UNSTARTED:
                lane.pace.blocked()
            elif reason == Returned.DECLINED:
                host.declines[lane.type] = host.declines.get(lane.type, 0) + 1
                row.releases += 1
                after = min(_DECLINE_WAIT_MAX, 0.1 * 2 ** min(row.releases, 16))
            elif reason == Returned.RELEASED:
                row.releases += 1
            if started:
                self._attempt_ended(
                    step, row, host, slot=0, started_at=row.started_at, outcome="released", detail={"reason": str(note)}
                )
            else:
                row.attempt -= 1  # it never began; the fence has grown, which is what tells grants apart
            if after > 0:
                moved(row, "postpone")
                row.due, row.relative = step.wall + after, True
            else:
                moved(row, "release")
            self._back(step, row, RUNNING)

    def rescue(
        self, step: Step, host: HostSession, *, lost: bool, keep: frozenset[tuple[int, int]] = frozenset()
    ) -> int:
        """Take back what a host holds, except the (id, fence) in `keep`; how many. `lost`: it died, counted apart."""
        rescued = 0
        for lease in [lease for lease in self.leases.values() if lease.pool.host is host]:
            row = lease.row
            if (row.id, row.fence) in keep:
                continue
            self._let_go(lease)
            if lease.stopping:
                continue
            rescued += 1
            if not lost:
                moved(row, "release")
                self._back(step, row, RUNNING)
                continue
            row.losses += 1
            if row.losses > LOSSES_ALONE:
                reason = f"{row.losses} hosts were lost while it ran, the last time with no neighbour"
                self.finish(
                    step, row, "quarantine", {"cause": "crash", "reason": reason}, started_at=row.started_at, host=host
                )
                continue
            self._attempt_ended(step, row, host, 0, row.started_at, "host lost", None)
            moved(row, "rescue")
            self._back(step, row, RUNNING)
        return rescued

    # What the store had to be asked for.

    def late_results(self, step: Step, late: Late, known: dict[int, Row]) -> None:
        """Reports without a live lease, now that the rows are known: a rescued task nobody claimed keeps its fence."""
        for item in late.items:
            id, fence, outcome, body, duration, slot, detail = item
            row = known.get(id)
            if row is None or row.fence != fence or row.state in (RUNNING, SCHEDULED):
                late.stale.append([id, fence])
            elif row.state == QUEUED:
                row = self.rows.get(id, row)
                started_at = step.wall - duration
                if outcome == Outcome.COMPLETED:
                    self.finish(
                        step, row, "complete", None, started_at=started_at, slot=slot, body=body, host=late.host
                    )
                elif outcome != Outcome.CANCELLED:
                    row = self._take_out(row)
                    self.judge(step, row, late.host, Outcome(outcome), started_at, slot, detail or {})
            elif row.state == CANCELLED:
                late.stale.append([id, fence])
            # else: recorded before, and the acknowledgement was lost

    def adopt(self, step: Step, host: HostSession, row: Row, fence: int) -> bool:
        """Its first host is back and still runs a rescued task that nobody has claimed since: the lease lives on."""
        row = self.rows.get(row.id, row)
        pool = host.pool_of(self.lanes.by_number[row.lane].type)
        if row.state != QUEUED or row.fence != fence:
            return False
        lane = self.lanes.by_number[row.lane]
        row = self._take_out(row)
        moved(row, "adopt")
        row.owner = host.owner
        lane.counts[QUEUED] -= 1
        lane.counts[RUNNING] += 1
        self.lanes.touched.add(lane)
        self.lease_again(row, pool, step.now)
        step.persist.adoptions.append((host.owner, row.id, fence))
        return True

    def lease_again(self, row: Row, pool: Any, now: float) -> None:
        """A lease known from elsewhere than a grant: adopted, or read at a start."""
        lane = self.lanes.by_number[row.lane]
        self.leases[row.id] = Lease(row, lane, pool, now)
        pool.held += 1
        self.lanes.hold(lane, 1)

    def cancel(self, step: Step, row: Row) -> Lease | None:
        """End a task that is not final; the lease that its host must now stop, if it runs."""
        lease = self.leases.get(row.id)
        row = lease.row if lease else self.rows.get(row.id, row)
        if row.state in FINAL:
            return None
        self.finish(
            step,
            row,
            "cancel",
            {"reason": "cancelled by a client"},
            started_at=row.started_at if lease else None,
            host=lease.pool.host if lease else None,
        )
        if lease:
            lease.stopping = True
        return lease

    def again(self, step: Step, row: Row) -> bool:
        """By hand: run a final task once more, with all its counts at zero."""
        if row.state not in FINAL or row.id in self.leases:  # one that is still being stopped holds its lease
            return False
        lane = self.lanes.by_number[row.lane]
        lane.counts[row.state] -= 1
        moved(row, "again")
        lane.counts[QUEUED] += 1
        self.lanes.touched.add(lane)
        row.failures = row.crashes = row.losses = row.releases = 0
        row.due = row.started_at = None
        self.fence += 1
        row.fence = self.fence  # whatever its last host may still report is of the run-through before
        step.persist.retries.append((row.fence, row.id))
        self._hold_in_memory(lane, [row])
        step.changes.setdefault(row.session, []).append([row.id, QUEUED])
        return True

    # Upkeep.

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

    def unfinished(self) -> int:
        """Tasks that are not final."""
        return sum(self.lanes.total(state) for state in range(len(STATES)) if state not in FINAL)


def _due(options: dict[str, Any] | None, wall: float) -> tuple[float | None, bool]:
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
