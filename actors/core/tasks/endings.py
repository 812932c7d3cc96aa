"""How attempts end: by report, by being handed back, by the loss of their host, by a person.

Reports are believed only with the fence of the live lease; what bears another is looked up in the store before it is
refused. What follows for the task is decided here and carried out by the queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ....transport.messages import Outcome, Returned
from ..flows.splices import too_large
from ..hosts.hosts import Hosts, HostSession, Lease
from ..life import moved
from ..order.declines import POSTPONED_SECONDS
from ..order.lane import Lane
from ..queue import Queue
from ..reports import Result, result, returned
from ..rows import CANCELLED, COMPLETED, FINAL, NOBODY, QUEUED, RUNNING, SCHEDULED, Row
from ..step import Peer, Step
from .backoff import delay
from .setbacks import SLEEP_SECONDS, SLEEP_SECONDS_MIN, is_set_back, is_tried_again, kind_of, node_of, wait_of

LOSSES_ALONE: Final = 3
"""A task whose hosts were lost so often runs with no neighbour; once more and it is quarantined."""
RELEASE_LIMIT: Final = 100
"""Releases by its worker, or set-backs by its service, after which a task fails: it would go round for ever."""
_NOBODYS_FAULT: Final = ("quota", "auth")
"""Kinds of failures that have answers of their own: they open no breaker."""
_REASON_MAX: Final = 500
_STOPPED: Final = "cancelled"
"""Outcome of a cancelled task's attempt, beside the end that stands in the task: it only adds what it wrote last."""
_BY_A_CLIENT: Final = {"reason": "cancelled by a client"}
_CAUSES: Final = {Outcome.FAILED: "exception", Outcome.TIMEOUT: "timeout", Outcome.CRASHED: "crash"}
_CAUSES_FINAL: Final = {**_CAUSES, Outcome.TOO_LARGE: "result_too_large"}


@dataclass(slots=True, eq=False)
class Late:
    """Reports that match no live lease, waiting for what the store knows of their tasks."""

    host: HostSession
    number: int
    peer: Peer
    items: list[Result] = field(default_factory=list)
    stale: list[Any] = field(default_factory=list)


class Endings:
    """Everything that ends an attempt."""

    def __init__(self, queue: Queue, hosts: Hosts) -> None:
        self.queue, self.hosts = queue, hosts

    def results(self, step: Step, late: Late, items: Iterable[Any]) -> None:
        """Ended attempts. Those of no live lease are added to `late`.

        Raises:
            ValueError, TypeError: An item is malformed; those before it count.
        """
        leases, wall, finishes, ends = self.queue.leases, step.wall, step.persist.finishes, step.ends
        host = late.host
        durations: dict[Lane, list[float]] = {}
        try:
            for item in items:
                checked = result(item)
                id, fence, outcome, body, duration, slot, detail = checked
                lease = leases.get(id)
                if lease is None or lease.row.fence != fence or lease.pool.host is not host:
                    late.items.append(checked)
                    continue
                started_at = wall - duration
                row, lane = lease.row, lease.lane
                if outcome or lease.stopping:
                    self._ended_badly(step, lease, outcome, started_at, slot, detail)
                    continue
                moved(row, "complete")
                self.queue.last_finish = finish = self.queue.last_finish + 1
                finishes.append(
                    (COMPLETED, finish, wall, started_at, slot, body, detail, row.failures, row.crashes, id, fence)
                )
                if (told := ends.get(row.session)) is None:
                    told = ends[row.session] = []
                told.append([id, finish, COMPLETED, body, None])
                del leases[id], host.leases[id]
                lease.pool.held -= 1
                if (alike := durations.get(lane)) is None:
                    durations[lane] = [duration]
                else:
                    alike.append(duration)
        finally:  # a malformed item ends the message, not the counts of those before it
            if durations:
                self._completed(step, host, durations)

    def _completed(self, step: Step, host: HostSession, durations: dict[Lane, list[float]]) -> None:
        """Count the tasks that completed in one batch of results: by lane how long each of them ran."""
        queue, owner, total = self.queue, host.owner, 0
        lanes, tree = queue.lanes, queue.lanes.tree
        for lane, alike in durations.items():
            count = len(alike)
            total += count
            lane.counts[RUNNING] -= count
            lane.counts[COMPLETED] += count
            lane.pace.measured(alike)
            lane.account.completed(alike)
            tree.hold(lane, owner, -count)
            if lane.guarded:
                tree.completed(step, lane, count, queue.leases)
        lanes.touched.update(durations)
        queue.unfinished_count -= total
        host.figures.completed += total
        host.figures.ran(total, sum(map(sum, durations.values())))
        step.persist.meta["last_finish"] = queue.last_finish

    def _failed(self, lane: Lane, host: HostSession, cause: str, duration: float) -> None:
        """Count an attempt that failed."""
        lane.account.failed(cause, duration)
        host.figures.ran(1, duration)
        host.figures.failed_by(cause)

    def _released(self, lane: Lane, host: HostSession) -> None:
        """Count an attempt that had begun and counts against nobody."""
        lane.account.released()
        host.figures.released += 1

    def _ended_badly(
        self, step: Step, lease: Lease, outcome: Outcome, started_at: float, slot: int, detail: dict[str, Any] | None
    ) -> None:
        """An attempt ended in another way than by completing, or its lease was stopping."""
        row = lease.row
        self.queue.let_go(lease)
        self._disown(row)
        if lease.stopping:  # its end is recorded since it was cancelled; what it wrote last is known only now
            if detail and detail.get("output"):
                said = {**_BY_A_CLIENT, "output": detail["output"]}
                self._attempt_ended(step, row, lease.pool.host, slot, started_at, _STOPPED, said)
            return
        if outcome == Outcome.CANCELLED:
            moved(row, "release")
            self._released(lease.lane, lease.pool.host)
            self._attempt_ended(step, row, lease.pool.host, slot, started_at, "stopped", detail)
            self.queue.back(step, row, RUNNING)
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
        was, lane = row.state, self.queue.lanes.by_number[row.lane]
        policy = lane.policy
        if lane.guarded and detail.get("kind") not in _NOBODYS_FAULT:
            self.queue.lanes.tree.failed(step, lane, row.id)
        limit = (row.options or {}).get("max_attempts") or policy.retry.max_attempts
        cause = detail.get("cause") or _CAUSES_FINAL[outcome]
        if outcome == Outcome.CRASHED:
            row.crashes += 1
            self._failed(lane, host, cause, step.wall - started_at)
            if row.crashes >= policy.crash_limit:
                detail = {**detail, "cause": cause, "reason": f"killed its worker {row.crashes} times"}
                self.queue.finish(step, row, "quarantine", detail, started_at=started_at, slot=slot, host=host)
                return
            moved(row, "crash")
        else:
            kind = kind_of(outcome, detail)
            if is_set_back(kind, detail):
                self._stop_its_like(step, row, kind, detail)
                self._released(lane, host)
                if too_often := _release(row, str(detail.get("message") or kind)):
                    detail = {**detail, **too_often}
                    self.queue.finish(step, row, "fail", detail, started_at=started_at, slot=slot, host=host)
                    return
                moved(row, "release")
                self._attempt_ended(step, row, host, slot, started_at, "released", {**detail, "cause": cause})
                self.queue.back(step, row, was)
                return
            row.failures += 1
            self._failed(lane, host, cause, step.wall - started_at)
            if not is_tried_again(policy.retry, kind, detail) or row.failures >= limit:
                detail = {**detail, "cause": cause}
                self.queue.finish(step, row, "fail", detail, started_at=started_at, slot=slot, host=host)
                return
            moved(row, "retry")
            if (wait := wait_of(detail)) is None:
                wait = delay(policy.retry, row.failures, row.id * 1000003 + row.attempt)
            row.due, row.relative = step.wall + wait, True
        lane.account.retried()
        self._attempt_ended(step, row, host, slot, started_at, cause, detail)
        self.queue.back(step, row, was)

    def _stop_its_like(self, step: Step, row: Row, kind: str, detail: dict[str, Any]) -> None:
        """A service takes no more, or does not know us: other tasks of its node need not even try."""
        tree = self.queue.lanes.tree
        node = tree.node(node_of(self.queue.lanes.by_number[row.lane].type, detail))
        reason = f"task {row.id}: {detail.get('message') or kind}"[:_REASON_MAX]
        if kind == "auth":
            if node.paused is None or node.paused.until is not None:
                tree.pause(step, node.type, reason)
                step.note("warning", "type_paused", type=node.type, reason=reason)
            return
        wait = wait_of(detail)
        if wait is None:
            meter = node.meter
            wait = SLEEP_SECONDS if meter is None else meter.until(step.now, step.wall) - step.now
        until = step.wall + max(wait, SLEEP_SECONDS_MIN)
        if node.paused is None:
            step.note("warning", "type_sleeps", type=node.type, reason=reason, seconds=round(until - step.wall))
        tree.sleep(step, node.type, until, reason)

    def give_back(self, step: Step, host: HostSession, items: Iterable[Any]) -> None:
        """A host hands tasks back; nothing is counted against them. What it says again, it does not hold any more."""
        for item in items:
            id, fence, reason, after, note, started, detail = returned(item)
            lease = self.queue.leases.get(id)
            if lease is None or lease.row.fence != fence or lease.pool.host is not host:
                self.queue.lanes.tree.copies.stopped(host.owner, [(id, fence)])
                continue
            row, lane = lease.row, lease.lane
            self.queue.let_go(lease)
            if lease.stopping:
                continue
            self._disown(row)
            if started:
                self._released(lane, host)
            if reason == Returned.UNSTARTED:
                lane.pace.blocked()
            elif reason == Returned.UNSERVED:
                host.unserved.add(lane.type)
            elif reason == Returned.DECLINED:
                self._declined(step, lease, note, started=started)
                continue
            elif reason == Returned.RELEASED and (too_often := _release(row, note)):
                self.queue.finish(step, row, "fail", too_often, started_at=row.started_at, host=host)
                continue
            if started:
                self._attempt_ended(
                    step, row, host, 0, row.started_at, outcome="released", detail={**detail, "reason": note}
                )
            else:
                row.attempt -= 1  # it never began; the fence has grown, which is what tells grants apart
            if after > 0:
                moved(row, "postpone")
                row.due, row.relative = step.wall + after, True
                self.queue.back(step, row, RUNNING)
            else:
                moved(row, "release")
                self.queue.back(step, row, RUNNING, lease.declined)  # who has said no before is not asked again

    def _declined(self, step: Step, lease: Lease, note: str, *, started: bool) -> None:
        """No worker of the host takes this task: others are asked first, and when nobody is left it waits."""
        row, host, declines = lease.row, lease.pool.host, self.queue.declines
        row.attempt -= not started
        if declines.full():
            moved(row, "postpone")
            row.due, row.relative = step.wall + POSTPONED_SECONDS, True
            self.queue.back(step, row, RUNNING)
            return
        moved(row, "release")
        self.queue.back(step, row, RUNNING, declines.again(lease.declined, host.owner, host.name, note))

    def rescue(
        self,
        step: Step,
        host: HostSession,
        reason: str,
        *,
        lost: bool,
        keep: frozenset[tuple[int, int]] = frozenset(),
    ) -> int:
        """Take back what a host holds, except the (id, fence) in `keep`; how many. `lost`: it died, counted apart."""
        rescued = 0
        for lease in list(host.leases.values()):
            row = lease.row
            if (row.id, row.fence) in keep:
                continue
            self.queue.let_go(lease)
            if lease.stopping:
                continue
            rescued += 1
            lease.lane.account.rescued()
            host.figures.rescued += 1
            if not lost:
                detail = {"cause": "not_held", "reason": reason}
                self._attempt_ended(step, row, host, 0, row.started_at, "released", detail)
                moved(row, "release")
                self.queue.back(step, row, RUNNING, lease.declined)
                continue
            row.losses += 1
            if row.losses > LOSSES_ALONE:
                text = f"{row.losses} hosts were lost while it ran, the last time with no neighbour: {reason}"
                detail = {"cause": "host_lost", "reason": text}
                self.queue.finish(step, row, "quarantine", detail, started_at=row.started_at, host=host)
                continue
            detail = {"cause": "host_lost", "reason": reason}
            self._attempt_ended(step, row, host, 0, row.started_at, "host lost", detail)
            moved(row, "rescue")
            self.queue.back(step, row, RUNNING, lease.declined)
        return rescued

    def late_results(self, step: Step, late: Late, known: dict[int, Row]) -> None:
        """Reports without a live lease, now that the rows are known: a rescued task nobody claimed keeps its fence.

        Only its last owner is believed, because a fence can be guessed. A fence of 0 is that of a task which was never
        granted: nobody can have a report of it. A grant ends once, as it was told first, however often it is: a host
        says it again until it hears RECORDED.
        """
        for item in late.items:
            id, fence, outcome, body, duration, slot, detail = item
            row = known.get(id)
            if row is None or row.fence != fence or not fence:
                late.stale.append([id, fence])
            elif row.owner == NOBODY:
                continue  # its end was told before
            elif not self.hosts.held(late.host, row.owner) or row.state in (RUNNING, SCHEDULED):
                late.stale.append([id, fence])
            elif row.state == QUEUED:
                if outcome == Outcome.CANCELLED:
                    continue
                row = self.queue.current(row)
                known[id] = row = row if outcome == Outcome.COMPLETED else self.queue.take_out(row)
                self._disown(row)
                started_at = step.wall - duration
                if outcome == Outcome.COMPLETED:
                    self.queue.finish(
                        step, row, "complete", None, started_at=started_at, slot=slot, body=body, host=late.host
                    )
                else:
                    self.judge(step, row, late.host, outcome, started_at, slot, detail or {})
            elif row.state == CANCELLED or (row.state == COMPLETED) != (outcome == Outcome.COMPLETED):
                late.stale.append([id, fence])

    def _disown(self, row: Row) -> None:
        """The end of its grant was told and counts: who tells it again, not sure that it was heard, adds nothing."""
        row.owner = NOBODY

    def adopt(self, step: Step, host: HostSession, row: Row, fence: int) -> bool:
        """Its first host is back and still runs a rescued task that nobody has claimed since: the lease lives on. So it
        does if it was adopted already: a host may say HELLO twice before anybody looks.
        """
        if not host.alive() or self.queue.lanes.tree.copies.has_spoken(host.owner, (row.id, fence)):
            return False  # in the turn in which it came back it left, or was taken for lost, or told that it has ended
        if (lease := self.queue.leases.get(row.id)) is not None:
            return lease.row.fence == fence and lease.pool.host is host
        row = self.queue.current(row)
        pool = host.pool_of(self.queue.lanes.by_number[row.lane].type)
        if row.state != QUEUED or row.fence != fence or not fence or not self.hosts.held(host, row.owner):
            return False
        lane = self.queue.lanes.by_number[row.lane]
        if not self.queue.lanes.tree.takes_back(lane, host.owner):
            return False  # others run in its place by now: a limit is a promise, so this copy is stopped
        row = self.queue.take_out(row)
        moved(row, "adopt")
        row.owner = host.owner
        lane.counts[QUEUED] -= 1
        lane.counts[RUNNING] += 1
        self.queue.lanes.touched.add(lane)
        self.queue.lease_again(row, pool, step.now)
        step.persist.adoptions.append((host.owner, row.id, fence))
        return True

    def outgrown(self, step: Step, sizes: Mapping[int, int]) -> None:
        """Tasks granted in this turn, and told to nobody yet, that no message holds: results that they take up are
        others than when they were let go, and larger. `sizes`: what they take now, by id.
        """
        for id, size in sizes.items():
            lease = self.queue.leases[id]
            self.queue.let_go(lease)
            if not lease.stopping:
                self.queue.finish(step, lease.row, "fail", too_large(size), started_at=lease.row.started_at)

    def cancel(self, step: Step, row: Row) -> Lease | None:
        """End a task that is not final; the lease that its host must now stop, if it runs."""
        lease = self.queue.leases.get(row.id)
        row = self.queue.current(row)
        if row.state in FINAL:
            return None
        self.queue.finish(
            step,
            row,
            "cancel",
            dict(_BY_A_CLIENT),
            started_at=row.started_at if lease else None,
            host=lease.pool.host if lease else None,
        )
        if lease:
            lease.stopping = True
            self.queue.stopping += 1
        return lease

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


def _release(row: Row, note: str) -> dict[str, Any] | None:
    """Count a release; why the task fails, if that was one too many."""
    row.releases += 1
    if row.releases < RELEASE_LIMIT:
        return None
    return {"cause": "release_limit", "message": f"released {row.releases} times, the last time: {note}"}
