"""A quota: units from one reset to the next, by the wall clock, given once whatever that clock does."""

from __future__ import annotations

from math import inf

from ....config.limits import Quota


class Meter:
    """What a node has used of its quota.

    A period is known by the reset that began it. A wall clock that is set back leads into no period that was begun
    before: what was used of the later one counts on, until that ends. Only where the clock had been more than a period
    ahead, so that this would last for ever, a new one begins when a period's length has really passed.

    Attributes:
        start: The reset that began the present period, by the wall clock; -inf: none has begun.
        end: The next.
        used: Units of it.
    """

    __slots__ = ("_since", "end", "quota", "start", "used")

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.start = self.end = -inf
        self.used = 0
        self._since = 0.0  # when the period was begun, by `now`

    def restore(self, start: float, used: int, now: float) -> None:
        """Go on from the store, or with another quota."""
        self.start, self.used, self._since = start, used, now
        self.end = self.quota.period(start)[1] if start > -inf else -inf

    def tuned(self, quota: Quota) -> None:
        """The quota is another from now on; what was used stays used."""
        self.quota = quota
        if self.start > -inf:
            self.end = quota.period(self.start)[1]

    def room(self, cost: int, now: float, wall: float) -> int:
        """How many tasks of this cost it allows now."""
        self._turn(now, wall)
        return max(0, self.quota.limit - self.used) // cost

    def used_at(self, now: float, wall: float) -> int:
        """Units used of the period that an instant belongs to."""
        self._turn(now, wall)
        return self.used

    def took(self, units: int) -> None:
        """Units were used."""
        self.used += units

    def until(self, now: float, wall: float) -> float:
        """When the next period begins, by `now`, if the wall clock is not set meanwhile."""
        reset = now + self.end - wall
        return min(reset, self._since + self._length()) if self._far_ahead(wall) else reset

    def _turn(self, now: float, wall: float) -> None:
        if wall >= self.end or (self._far_ahead(wall) and now - self._since >= self._length()):
            self.start, self.end = self.quota.period(wall)
            self.used, self._since = 0, now

    def _length(self) -> float:
        return self.end - self.start

    def _far_ahead(self, wall: float) -> bool:
        return wall < self.start - self._length()
