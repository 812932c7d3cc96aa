"""A rate as a promise: never more than N grants in any window of its length, wherever the window begins.

The grants of the latest window are remembered, so that a burst at the end of one window is not doubled by the next.
At most `_GRAINS` entries hold them, whatever N is: a rate beyond that counts the grants of 1/256 of its window as if
all had been made at the latest moment of it, which errs on the side of the promise by at most 0.4 % of the window.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final, NamedTuple

from ....config.limits import Rate

_GRAINS: Final = 256
RING: Final = 1024
"""Rows of one node in the store: entry n is written over entry n - RING, so that none has to be deleted on the way."""


class RateRow(NamedTuple):
    """One entry as the store keeps it, under (type, number modulo `RING`).

    Attributes:
        first, last: When its grants were made, by `now`: good in one run of the machine.
        wall: When the last was made, by the wall clock: for another run of the machine.
        boot: Which run of the machine that was; 0 if unknown.
    """

    number: int
    first: float
    last: float
    wall: float
    grants: int
    boot: int


class SlidingRate:
    """The grants of one node within the window that ends now."""

    __slots__ = ("_boot", "_entries", "_held", "rate")

    def __init__(self, rate: Rate, boot: int) -> None:
        self.rate, self._boot = rate, boot
        self._entries: deque[RateRow] = deque()
        self._held = 0

    def restore(self, rows: list[RateRow], now: float, wall: float) -> None:
        """Go on from the store; within one run of the machine exactly, else by the wall clock."""
        known: list[RateRow] = []
        for row in rows:
            same = row.boot == self._boot != 0
            at = now - max(0.0, now - row.last if same else wall - row.wall)
            known.append(row._replace(first=row.first if same else at, last=at))
        self._entries = deque(sorted(known, key=lambda row: row.last))
        self._held = sum(row.grants for row in self._entries)
        self._slide(now)

    def _slide(self, now: float) -> None:
        entries, length = self._entries, self.rate.seconds
        while entries and entries[0].last + length <= now:
            self._held -= entries.popleft().grants

    def room(self, now: float) -> int:
        """How many grants the rate allows now."""
        self._slide(now)
        return max(0, self.rate.count - self._held)

    def until(self, now: float) -> float:
        """When it allows one more, by `now`."""
        self._slide(now)
        surplus = self._held - self.rate.count
        for row in self._entries:
            if surplus < 0:
                break
            surplus -= row.grants
            if surplus < 0:
                return row.last + self.rate.seconds
        return now if self._held < self.rate.count else inf

    def forgets_at(self, now: float) -> float:
        """When the last of its grants leaves the window, by `now`, which it is if there is none."""
        self._slide(now)
        return self._entries[-1].last + self.rate.seconds if self._entries else now

    def took(self, count: int, now: float, wall: float) -> None:
        """Grants were made."""
        entries = self._entries
        grain = self.rate.seconds / _GRAINS if self.rate.count > _GRAINS else 0.0
        self._held += count
        if entries and now <= entries[-1].first + grain:
            latest = entries[-1]
            entries[-1] = RateRow(latest.number, latest.first, now, wall, latest.grants + count, self._boot)
        else:
            number = entries[-1].number + 1 if entries else 0
            entries.append(RateRow(number, now, now, wall, count, self._boot))

    def latest(self) -> RateRow:
        """The entry that `took` changed."""
        return self._entries[-1]

    def used(self, now: float) -> int:
        """Grants in the window that ends now."""
        self._slide(now)
        return self._held
