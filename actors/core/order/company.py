"""Who else is there: while somebody waits for a few tasks beside another's many, hosts are given less ahead.

A margin of a thousand tasks is what makes microsecond tasks fast, and what the next one's result waits behind, however
high its priority: hosts end them faster than the supervisor hears of it. Who sent them all does not mind. Somebody else
does. So while a session is there of which few tasks are unfinished, a host gets no more ahead than keeps the supervisor
busy. Pure; who is granted what is decided in `dispatch`.
"""

from __future__ import annotations

from collections.abc import Container
from math import inf
from typing import Final

from ..step import Step

FEW: Final = 16
"""Unfinished tasks of who waits for them, and not for a batch."""
THERE_SECONDS: Final = 1.0
"""A session is there for so long after it has sent a task. Who asks less often may find a whole margin before it."""
AHEAD_MIN: Final = 16
AHEAD_MAX: Final = 1000
_MORE: Final = 4
_LESS: Final = 0.8


class Ahead:
    """How many tasks a host needs ahead so that the supervisor never waits for it, and no more.

    Its results tell: while more of them have come than are heard, the supervisor is what all wait for, and what is
    granted then only makes the line longer.

    Attributes:
        tasks: So many beyond its free slots.
    """

    __slots__ = ("tasks",)

    def __init__(self) -> None:
        self.tasks: float = AHEAD_MIN

    def heard(self, *, behind: bool) -> None:
        """Results of it are heard; `behind`: and something else of it has come already, which waits."""
        self.tasks = max(AHEAD_MIN, self.tasks * _LESS) if behind else min(AHEAD_MAX, self.tasks + _MORE)


class Company:
    """What is unfinished of each session, as far as this supervisor has seen it sent, and who waits for a few.

    Attributes:
        unheard: Peers of which something has come that the present turn does not hear.
    """

    def __init__(self) -> None:
        self.unheard: Container[bytes] = ()
        self._unfinished: dict[int, int] = {}
        self._few = 0  # the latest session that waits for a few
        self._until = -inf  # it is there

    def sent(self, session: int, count: int, now: float) -> None:
        """Tasks of a client's session are stored: queued, or to be when their time or their turn comes."""
        unfinished = self._unfinished[session] = self._unfinished.get(session, 0) + count
        if unfinished <= FEW:
            self._few, self._until = session, now + THERE_SECONDS
        elif session == self._few:
            self._until = -inf  # it has only begun with a few

    def settle(self, step: Step) -> None:
        """Some tasks have ended."""
        unfinished = self._unfinished
        for session, ends in step.ends.items():
            left = unfinished.get(session, 0) - len(ends)
            if left > 0:
                unfinished[session] = left
            else:
                unfinished.pop(session, None)

    def is_mixed(self, now: float, unfinished: int) -> bool:
        """Whether somebody waits for a few tasks of so many that most are another's."""
        return now < self._until and unfinished > FEW
