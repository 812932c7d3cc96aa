"""Tasks that a host declined: they stand aside until a host is free that has not been asked.

A worker that looks at the task itself may say no to one and yes to the next, so a decline is remembered of the task and
the session, not of the type. A task that was declined keeps its place among those that the next host may run; when
nobody is left to ask it waits, and `Declined.reason` says why. A HELLO (new code, a new host) is asked again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..rows import Row
from .lane import Lane, Turn
from .window import Window

ASKED_MAX: Final = 16
"""Declines after which a task waits for a HELLO, however many hosts are left to ask."""
WAITING_MAX: Final = 10_000
"""Tasks that stand aside; one more goes back for `POSTPONED_SECONDS`, to be asked about again."""
POSTPONED_SECONDS: Final = 600.0

_Group = tuple[Lane, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Declined:
    """What is known of a task's declines.

    Attributes:
        by: Owner numbers of the sessions that are not asked again.
        count: How often it was declined.
        host: The name of the last that declined it.
        note: What that said.
    """

    by: frozenset[int] = frozenset()
    count: int = 0
    host: str = ""
    note: str = ""

    def reason(self) -> str:
        """Why the task waits, for people."""
        times = "once" if self.count == 1 else f"{self.count} times"
        return f"declined {times}, the last time by {self.host}: {self.note or 'no reason given'}"


_NEVER: Final = Declined()


class Declines:
    """All tasks that stand aside, those that the same hosts have declined together."""

    def __init__(self) -> None:
        self._tasks: dict[int, tuple[Lane, Declined]] = {}
        self._groups: dict[_Group, Window] = {}
        self._owners: set[int] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, id: object) -> bool:
        return id in self._tasks

    def full(self) -> bool:
        """Whether no more may stand aside."""
        return len(self._tasks) >= WAITING_MAX

    def again(self, known: Declined | None, owner: int, host: str, note: str) -> Declined:
        """A task was declined by one more."""
        known = known or _NEVER
        count = known.count + 1
        by = known.by | {owner} if count < ASKED_MAX else frozenset({*self._owners, owner})
        return Declined(by, count, host, note)

    def put(self, lane: Lane, row: Row, declined: Declined) -> None:
        """A queued row stands aside from now on."""
        self._tasks[row.id] = lane, declined
        self._groups.setdefault((lane, declined.by), lane.window.another()).add(row)
        lane.aside += 1

    def take(self, row: Row) -> Declined | None:
        """A row goes elsewhere, or has ended where it stood; what was known of it, or None if it was not here."""
        lane, declined = self._tasks.pop(row.id, (None, None))
        if lane is not None and declined is not None:
            group = lane, declined.by
            lane.aside -= 1
            self._groups[group].forget()
            if not self._groups[group].size:
                del self._groups[group]
        return declined

    def best(self, pool: Any) -> tuple[Lane, Row] | None:
        """The first task that a slot pool's host takes and has not declined."""
        owner, found = pool.host.owner, None
        for (lane, by), window in self._groups.items():
            if owner in by or pool.choice is None or not pool.choice.may_take(lane):
                continue
            head = window.head()
            if head is not None and (found is None or _turn(lane, head) < _turn(*found)):
                found = lane, head
        return found

    def hello(self, owner: int) -> None:
        """A session begins, or begins anew: it may be asked about everything."""
        self._owners.add(owner)
        self._forget(owner)

    def gone(self, owner: int) -> None:
        """A session is over."""
        self._owners.discard(owner)
        self._forget(owner)

    def _forget(self, owner: int) -> None:
        for lane, by in [group for group in self._groups if owner in group[1]]:
            fewer = by - {owner}
            window = self._groups.pop((lane, by))
            into = self._groups.setdefault((lane, fewer), lane.window.another())
            for row in window.rows():
                known = self._tasks[row.id][1]
                self._tasks[row.id] = lane, Declined(fewer, known.count, known.host, known.note)
                into.add(row)

    def of(self, id: int) -> Declined | None:
        """What is known of a task that stands aside."""
        return self._tasks.get(id, (None, None))[1]

    def waiting(self) -> Iterator[tuple[Lane, frozenset[int], int, Declined]]:
        """(lane, who is not asked again, how many tasks, what is known of the first), for reports."""
        for (lane, by), window in self._groups.items():
            if (head := window.head()) is not None:
                yield lane, by, window.size, self._tasks[head.id][1]


def _turn(lane: Lane, row: Row) -> Turn:
    return lane.turn(lane.window.key(row))
