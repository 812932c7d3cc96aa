"""A task as memory holds it, and the codes of its states.

Only tasks in a window, on the agenda or under a lease are in memory; the store has them all, in these columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ...transport.messages import STATES, TaskState

WAITING, SCHEDULED, QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED, QUARANTINED = range(len(STATES))
FINAL: Final = frozenset(
    STATES.index(s) for s in (TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED, TaskState.QUARANTINED)
)


@dataclass(slots=True, eq=True)
class Row:
    """One task. The store returns and takes its fields in exactly this order (`COLUMNS`), but for the last.

    `place` is what the order within a priority goes by: the id, or for a scheduled task a number taken when it fell
    due.
    `due` is wall time (None: not scheduled); `relative` tells that it was given as a delay, so a jump of the wall clock
    moves it.
    `options` is what SUBMIT gave (rarely anything). `params` is None where memory does not keep them (large ones).
    `queued_at` is wall time too, of a task that was queued later than it was sent; memory alone knows it.
    `owner` is the number of the host session that holds or last held it (`NOBODY`: it was never granted, or it has been
    told how its last grant ended, and is queued again).
    """

    id: int
    lane: int
    priority: int
    place: int
    state: int
    session: int
    fence: int
    attempt: int
    failures: int
    crashes: int
    losses: int
    releases: int
    sent_at: float
    due: float | None
    relative: bool
    owner: int
    started_at: float | None
    options: dict[str, Any] | None
    params: bytes | None
    queued_at: float | None = field(default=None, compare=False)


NOBODY: Final = 0
"""Owner of a task of whose grants nothing is left to be told."""
PARAMS_IN_MEMORY: Final = 4096
"""Bytes; larger params stay in the store until the task is granted, so that a window of tasks stays small."""
COLUMNS: Final = tuple(Row.__slots__)[:-1]
