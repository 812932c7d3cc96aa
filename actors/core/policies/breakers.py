"""A breaker: a node of which too much fails stops taking tasks, and lets one at a time try whether it works again."""

from __future__ import annotations

from collections import deque
from typing import Final

from ....config.limits import Breaker

COOL_OFF_MAX: Final = 600.0
"""Seconds: how long the wait for the next probe may grow, if it did not begin longer."""
_PARTS: Final = 10  # of the window, in which ends are counted together


class Guard:
    """The breaker of one node, and what it goes by.

    Attributes:
        breaker: Its settings.
        open_until: When the first probe may go, by `now`; None: it is closed.
        probe: The task that tries whether the node works again.
        why: What opened it, for people.
    """

    __slots__ = ("_all", "_bad", "_parts", "_returned", "_trips", "breaker", "open_until", "probe", "why")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.open_until: float | None = None
        self.probe: int | None = None
        self.why = ""
        self._returned: int | None = None  # the probe whose lease has just ended, not yet judged
        self._trips = 0  # since it was closed
        self._parts: deque[list[float]] = deque()  # [when it began, ends, failures]
        self._all = self._bad = 0

    def room(self, now: float) -> int | None:
        """How many grants it allows; None: any number."""
        if self.open_until is None:
            return None
        return 0 if now < self.open_until or self.probe is not None else 1

    def state(self, now: float) -> str:
        """`closed`, `open`, or `probing` when a task may try or does."""
        if self.open_until is None:
            return "closed"
        return "open" if now < self.open_until else "probing"

    def counted(self, now: float, ends: int, failures: int) -> None:
        """Attempts ended while it was closed."""
        self._slide(now)
        length = self.breaker.window / _PARTS
        if self._parts and now < self._parts[-1][0] + length:
            self._parts[-1][1] += ends
            self._parts[-1][2] += failures
        else:
            self._parts.append([now, ends, failures])
        self._all += ends
        self._bad += failures

    def _slide(self, now: float) -> None:
        while self._parts and self._parts[0][0] + self.breaker.window <= now:
            _, ends, failures = self._parts.popleft()
            self._all -= int(ends)
            self._bad -= int(failures)

    def too_many(self, now: float) -> bool:
        """Whether so much failed within the window that it must open."""
        self._slide(now)
        return self._all >= self.breaker.at_least and self._bad >= self.breaker.failures * self._all

    def share(self) -> str:
        """What failed within the window, for people."""
        return f"{self._bad} of the latest {self._all} failed"

    def active(self, now: float) -> bool:
        """Whether anything of the node ran of late."""
        self._slide(now)
        return self.open_until is not None or self._all > 0

    def open(self, now: float, why: str) -> float:
        """Stop taking tasks; returns for how many seconds."""
        wait = min(self.breaker.cool_off * 2**self._trips, max(COOL_OFF_MAX, self.breaker.cool_off))
        self._trips = min(self._trips + 1, 30)
        self.open_until, self.why = now + wait, why
        self.probe = self._returned = None
        self._forget()
        return wait

    def close(self) -> None:
        """It works again."""
        self.open_until, self.why, self._trips = None, "", 0
        self.probe = self._returned = None
        self._forget()

    def _forget(self) -> None:
        self._parts.clear()
        self._all = self._bad = 0

    def let_go(self, id: int) -> bool:
        """A lease ended; whether it was the probe's, so that another may try."""
        if self.probe != id:
            return False
        self.probe, self._returned = None, id
        return True

    def tried(self, id: int) -> bool:
        """Whether a task that failed was the probe."""
        return id in (self.probe, self._returned)
