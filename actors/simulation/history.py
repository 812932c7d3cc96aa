"""What the commits of one history have told: every task, and all that goes with tasks."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import Final

from ...config.policy import parents, tenant_node
from ..core.rows import QUEUED, RUNNING
from .dependents import Dependents
from .due_times import DueTimes
from .names import Names
from .pauses import Pauses
from .promises import Seen

LATER: Final = "later"
"""What a simulated worker says of a task that it releases."""


@dataclass(slots=True)
class Known:
    """One task as the commits so far tell it.

    Attributes:
        outcomes: How it has ended so far, the latest last: (finish, state, result).
    """

    lane: int
    priority: int
    place: int
    state: int
    session: int
    failures_max: int
    sent_at: float
    expires: float | None
    fence: int = 0
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    losses: int = 0
    releases: int = 0
    owner: int = 0
    ends: int = 0
    runs: int = 1
    outcomes: tuple[tuple[int, int, bytes], ...] = ()

    def is_too_late(self, wall: float) -> bool:
        """Whether it was to begin by an instant that has passed, and has not."""
        return self.attempt == 0 and self.expires is not None and self.expires < wall


@dataclass(slots=True)
class History:
    """All that the commits have told.

    Attributes:
        tasks: All tasks ever stored.
        lanes: Type by lane.
        tenants: Tenant by lane.
        needs: What tasks of a lane use up of their host, by lane.
        sessions: Token by client session.
        queued: Queued tasks by lane.
        running: Running tasks by lane.
        grants: Every (id, fence) granted -> (the run-through it belongs to, the world's time).
        checkpoints: The latest of each unfinished task that has one.
        last_finish: The latest number of an end.
        pruned: Tasks that had ended and were forgotten.
        dependents: What comes after what.
        schedules: How far each has been seen to.
        names: Whose a key is, and what answers for new tasks.
        due_times: When scheduled tasks are due.
        pauses: What is stopped.
    """

    tasks: dict[int, Known] = field(default_factory=dict)
    lanes: dict[int, str] = field(default_factory=dict)
    tenants: dict[int, str] = field(default_factory=dict)
    needs: dict[int, dict[str, int]] = field(default_factory=dict)
    sessions: dict[int, bytes] = field(default_factory=dict)
    queued: dict[int, set[int]] = field(default_factory=dict)
    running: dict[int, set[int]] = field(default_factory=dict)
    grants: dict[tuple[int, int], tuple[int, float]] = field(default_factory=dict)
    checkpoints: dict[int, bytes] = field(default_factory=dict)
    last_finish: int = 0
    pruned: set[int] = field(default_factory=set)
    dependents: Dependents = field(default_factory=Dependents)
    schedules: dict[str, Seen] = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    due_times: DueTimes = field(default_factory=DueTimes)
    pauses: Pauses = field(default_factory=Pauses)

    def copied(self) -> History:
        """One that does not change with this."""
        return History(
            {id: copy(known) for id, known in self.tasks.items()},
            dict(self.lanes),
            dict(self.tenants),
            dict(self.needs),
            dict(self.sessions),
            {lane: set(ids) for lane, ids in self.queued.items()},
            {lane: set(ids) for lane, ids in self.running.items()},
            dict(self.grants),
            dict(self.checkpoints),
            self.last_finish,
            set(self.pruned),
            self.dependents.copied(),
            dict(self.schedules),
            self.names.copied(),
            self.due_times.copied(),
            self.pauses.copied(),
        )

    def nodes_of(self, lane: int) -> tuple[str, ...]:
        """What may bound a lane: its type, all above it, and its tenant."""
        return *parents(self.lanes[lane]), tenant_node(self.tenants[lane])

    def move(self, id: int, state: int) -> None:
        """A task changes its state."""
        known = self.tasks[id]
        for code, ids in ((QUEUED, self.queued), (RUNNING, self.running)):
            if known.state == code:
                ids[known.lane].discard(id)
            if state == code:
                ids.setdefault(known.lane, set()).add(id)
        known.state = state
