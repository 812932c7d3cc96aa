"""The verb `delete` of ADMIN: ended tasks that somebody wants to be forgotten before their time.

What has not ended is left alone: it is cancelled first. So is what housekeeping would keep, however old it is: a task
that a host still has to stop, that one comes after which has not completed (unless that goes, too), of a flow that has
not ended, or whose sender is connected and has not been told of the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ....transport.messages import Admin, Reply
from ..effects import EndsOf, Fetch, Matching
from ..housekeeping import Housekeeping
from ..rows import FINAL, Row
from ..step import Peer, Step
from ..where import MEANT_MAX, mean

_EDGES_MAX: Final = 100_000
"""What comes after what, of all that one order reads, and of one task more."""
_FREED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Params and results that one order frees: the pages of large ones are read to be freed."""


class Removals:
    """Deletes by hand; what may be forgotten is housekeeping's to say."""

    def __init__(self, housekeeping: Housekeeping) -> None:
        self._housekeeping = housekeeping

    def ask(self, step: Step, peer: Peer, message: Admin) -> None:
        """Forget ended tasks, with their attempts and results."""
        mean(step, peer, message, "delete", FINAL)

    def fetched(self, step: Step, need: Fetch | Matching, rows: dict[int, Row]) -> None:
        """The tasks that are meant are known; more must be, of those that have ended."""
        ended = tuple(row.id for row in rows.values() if row.state in FINAL)
        step.needs.append(EndsOf(ended, MEANT_MAX, _EDGES_MAX, need.context))

    def known(self, step: Step, need: EndsOf, rows: Sequence[tuple[Any, ...]]) -> None:
        """What they are, the newest first: what comes after a task goes before it, or keeps it."""
        peer, request, reply = need.context
        deleted: list[int] = []
        freed = 0
        gone: set[int] = set()
        for session, finish, id, lane, state, size, needed_by in rows:
            if freed >= _FREED_BYTES_MAX or needed_by is None:
                reply["next"] = id + 1  # it and those below it are for the next order
                break
            if gone.issuperset(needed_by) and self._housekeeping.lets_go(id, session, finish):
                self._housekeeping.forget(step, id, finish, lane, state)
                deleted.append(id)
                gone.add(id)
                freed += size
        if deleted:
            step.note("info", "tasks_deleted", tasks=len(deleted))
        step.say(peer, Reply(request, True, {"deleted": deleted, **reply}))
