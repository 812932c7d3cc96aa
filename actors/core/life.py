"""The life of a task: every legal move, in one table.

The task's state is changed nowhere but in `moved`. A pair that is missing from `MOVES` is a bug or a late message,
and a late message is found out by its fence before it comes here.
"""

from __future__ import annotations

from typing import Final

from ...transport.messages import STATES
from .rows import CANCELLED, COMPLETED, FAILED, QUARANTINED, QUEUED, RUNNING, SCHEDULED, WAITING, Row

MOVES: Final[dict[tuple[int, str], int]] = {
    (WAITING, "ready"): QUEUED,  # everything that it comes after has ended as it should
    (WAITING, "later"): SCHEDULED,  # the same, and it was sent with a delay
    (WAITING, "cancel"): CANCELLED,
    (WAITING, "fail"): FAILED,  # the results of others do not fit into its params
    (SCHEDULED, "due"): QUEUED,
    (SCHEDULED, "cancel"): CANCELLED,
    (SCHEDULED, "expire"): FAILED,
    (QUEUED, "claim"): RUNNING,
    (QUEUED, "adopt"): RUNNING,  # its first host came back before anybody else claimed it
    (QUEUED, "complete"): COMPLETED,  # rescued, not claimed again, and its first host's late result is welcome
    (QUEUED, "retry"): SCHEDULED,  # the same, but the late report is a failure
    (QUEUED, "fail"): FAILED,
    (QUEUED, "crash"): QUEUED,
    (QUEUED, "release"): QUEUED,  # the same, but its service takes no more
    (QUEUED, "quarantine"): QUARANTINED,
    (QUEUED, "expire"): FAILED,
    (QUEUED, "cancel"): CANCELLED,
    (RUNNING, "complete"): COMPLETED,
    (RUNNING, "retry"): SCHEDULED,  # a failure, tried again after its backoff
    (RUNNING, "fail"): FAILED,
    (RUNNING, "crash"): QUEUED,
    (RUNNING, "quarantine"): QUARANTINED,
    (RUNNING, "release"): QUEUED,  # nobody's fault, nothing counted
    (RUNNING, "postpone"): SCHEDULED,  # a release that asked for a delay
    (RUNNING, "rescue"): QUEUED,  # its host is lost
    (RUNNING, "cancel"): CANCELLED,  # at once; the lease goes on stopping
    (FAILED, "again"): QUEUED,  # by hand
    (CANCELLED, "again"): QUEUED,
    (QUARANTINED, "again"): QUEUED,
    (FAILED, "wait"): WAITING,  # by hand too, and what it comes after has not ended as it should
    (CANCELLED, "wait"): WAITING,
    (QUARANTINED, "wait"): WAITING,
}


class IllegalMove(Exception):
    """A task was told to do what its state does not allow: a bug in the core."""


def moved(row: Row, event: str) -> int:
    """Move a task and return its new state.

    Raises:
        IllegalMove: The pair of state and event is not in `MOVES`.
    """
    state = MOVES.get((row.state, event))
    if state is None:
        message = f"task {row.id} is {STATES[row.state]} and cannot {event}"
        raise IllegalMove(message)
    row.state = state
    return state
