"""What must be true of every history: a model of the store, fed with each commit, that knows the guarantees."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.effects import Persist
from ..core.pool import Pool
from ..core.rows import COMPLETED, FINAL, QUEUED, RUNNING, SCHEDULED


class Violation(AssertionError):
    """A guarantee was broken."""


@dataclass(slots=True)
class Known:
    """One task as the commits so far tell it."""

    lane: int
    priority: int
    place: int
    state: int
    fence: int = 0
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    ends: int = 0
    runs: int = 1


class Oracle:
    """Checks every commit as it is made.

    Attributes:
        tasks: All tasks ever stored.
        executed: (id, fence) of every attempt that began on some host.
        retried: Tasks that were run again by hand.
    """

    def __init__(self) -> None:
        self.tasks: dict[int, Known] = {}
        self.executed: set[tuple[int, int]] = set()
        self.last_finish = 0
        self.completions = 0

    def began(self, id: int, fence: int) -> None:
        """A host began an attempt."""
        self.executed.add((id, fence))

    def committed(self, turn: list[Persist], pool: Pool | None) -> None:
        """A turn is on disk.

        Raises:
            Violation: It broke a guarantee.
        """
        for persist in turn:
            self._commit(persist, pool)

    def _commit(self, persist: Persist, pool: Pool | None) -> None:
        tasks = self.tasks
        for row in persist.tasks:
            _must(row[0] not in tasks, f"task {row[0]} was stored twice")
            tasks[row[0]] = Known(lane=row[1], priority=row[2], place=row[3], state=row[4])
        for _, id, fence in persist.adoptions:
            known = tasks[id]
            _must(known.state == QUEUED, f"task {id} was adopted in state {known.state}")
            _must(known.fence == fence, f"task {id} was adopted with fence {fence}, stored is {known.fence}")
            known.state = RUNNING
        for state, place, _due, _relative, attempt, failures, crashes, _losses, _releases, id, fence in persist.returns:
            known = tasks[id]
            _must(known.state not in FINAL, f"task {id} came back from its end")
            _must(known.fence == fence, f"task {id} came back with fence {fence}, stored is {known.fence}")
            _must(failures >= known.failures and crashes >= known.crashes, f"task {id} forgot a failure")
            known.state, known.place, known.attempt = state, place, attempt
            known.failures, known.crashes = failures, crashes
        for state, finish, _at, _started, _slot, body, _detail, _failures, _crashes, id, fence in persist.finishes:
            known = tasks[id]
            _must(known.state not in FINAL, f"task {id} ended twice in one run-through")
            _must(known.fence == fence, f"task {id} ended with fence {fence}, stored is {known.fence}")
            _must(finish > self.last_finish, f"finish {finish} follows {self.last_finish}")
            self.last_finish = finish
            if state == COMPLETED:
                self.completions += 1
                _must((id, fence) in self.executed, f"task {id} completed under fence {fence} and never ran so")
                _must(body == b"%d" % fence, f"task {id} completed with the result of another attempt")
            known.state = state
            known.ends += 1
        for fence, id in persist.retries:
            known = tasks[id]
            _must(fence > known.fence, f"task {id} was run again under its old fence")
            known.fence = fence
            _must(known.state in FINAL, f"task {id} was run again before its end")
            known.state, known.failures, known.crashes = QUEUED, 0, 0
            known.runs += 1
        for fence, attempt, owner, _at, id in persist.claims:
            known = tasks[id]
            _must(known.state == QUEUED, f"task {id} was granted in state {known.state}")
            _must(fence > known.fence, f"task {id} was granted with fence {fence} after {known.fence}")
            _must(attempt == known.attempt + 1, f"task {id} was granted as attempt {attempt} after {known.attempt}")
            known.state, known.fence, known.attempt = RUNNING, fence, attempt
            if pool is not None:
                self._check_order(id, known, owner, pool)

    def _check_order(self, id: int, granted: Known, owner: int, pool: Pool) -> None:
        """Guarantee 4: no task that this host might have run as well stood before the one that it got."""
        host = pool.hosts.by_owner[owner]
        lanes = pool.queue.lanes.by_number
        slots = host.offer.slot_pool(lanes[granted.lane].type)
        key = (-granted.priority, granted.place)
        for other, known in self.tasks.items():
            if known.state != QUEUED or (-known.priority, known.place) >= key:
                continue
            lane = lanes[known.lane]
            if not lane.bounds and host.offer.serves(lane.type) and host.offer.slot_pool(lane.type) == slots:
                raise Violation(f"task {id} was granted to {host.name} before task {other}")

    def unfinished(self) -> list[int]:
        """Tasks that have not ended."""
        return [id for id, known in self.tasks.items() if known.state not in FINAL]

    def waiting(self) -> list[int]:
        """Tasks that wait for a host or for their time."""
        return [id for id, known in self.tasks.items() if known.state in (QUEUED, SCHEDULED)]


def _must(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Violation(otherwise)
