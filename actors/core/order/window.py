"""The part of a lane that is in memory: an exact prefix of its order, (priority, place); see also `ageing`.

What lies behind the `horizon` is only in the store. A row before the horizon belongs in memory, so a prefix stays
exact whatever comes and goes; a row taken out of the middle (cancelled) is left in place and skipped when it is
reached.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from itertools import islice
from math import inf
from typing import Final

from ..rows import QUEUED, Row
from ..statistics import queued_since
from .ageing import level_of

Key = tuple[int, int]
"""(-level, place): smaller is earlier. A level is a priority, or what `ageing` makes of it."""

_LOOKED_AT_MAX: Final = 1000
"""Rows of a level in which the oldest is looked for: who was queued again stands among those that were sent later."""


def key_of(row: Row, ageing: float = 0.0) -> Key:
    """Where a row stands in its lane."""
    return -level_of(row.priority, row.sent_at, ageing), row.place


class Window:
    """Rows of one lane in order.

    Attributes:
        ageing: Seconds after which a waiting task counts one priority more; 0: never.
        size: Live rows in memory.
        horizon: Key of the last row of the prefix, or None when the whole lane is in memory.
    """

    __slots__ = ("_dead", "_levels", "_order", "ageing", "horizon", "size")

    def __init__(self, ageing: float = 0.0) -> None:
        self.ageing = ageing
        self._levels: dict[int, deque[Row]] = {}
        self._order: list[int] = []  # the keys of `_levels`, ascending: -priority, best first
        self._dead = 0  # at most so many rows are left in place that ended there
        self.size = 0
        self.horizon: Key | None = None

    def another(self) -> Window:
        """An empty one with the same order."""
        return Window(self.ageing)

    def level(self, priority: int, sent_at: float) -> int:
        """What a task of this priority, sent then, stands by."""
        return level_of(priority, sent_at, self.ageing)

    def key(self, row: Row) -> Key:
        """Where a row stands."""
        return key_of(row, self.ageing)

    def head(self) -> Row | None:
        """The first live row, or None."""
        order, levels = self._order, self._levels
        while order:
            level = levels[order[0]]
            while level:
                row = level[0]
                if row.state == QUEUED:
                    return row
                level.popleft()
            del levels[order.pop(0)]
        return None

    def oldest(self) -> float | None:
        """Since when one of its rows waits, by the wall clock, of the first of each level; None: no row."""
        found: list[float] = []
        for level in self._levels.values():
            for row in islice(level, _LOOKED_AT_MAX):
                if row.state == QUEUED:
                    found.append(queued_since(row))
                    if row.queued_at is None:  # what stands behind it was sent later
                        break
        return min(found, default=None)

    def take(self, count: int, until: Key | None) -> list[Row]:
        """Remove and return at most `count` first rows, none of them after the key `until`."""
        taken: list[Row] = []
        while len(taken) < count and (row := self.head()) is not None:
            negative = self._order[0]
            level = self._levels[negative]
            if until is None or negative < until[0]:
                last = None
            elif negative == until[0]:
                last = until[1]
            else:
                break
            while level and len(taken) < count:
                row = level[0]
                if last is not None and row.place > last:
                    self.size -= len(taken)
                    return taken
                level.popleft()
                if row.state == QUEUED:
                    taken.append(row)
        self.size -= len(taken)
        return taken

    def run(self, rows: list[Row], most: int, until: Key | None) -> Key | None:
        """Move first rows to the end of `rows`, none after the key `until`, until that has `most` or the next is large.

        Returns:
            Where the next row stands; None: memory has no more.
        """
        order, levels, begun = self._order, self._levels, len(rows)
        following: Key | None = None
        while order and following is None:
            negative = order[0]
            level = levels[negative]
            last: float = inf
            if until is not None and negative >= until[0]:
                last = until[1] if negative == until[0] else -1
            while level:
                row = level[0]
                if row.state == QUEUED:
                    if row.place > last or len(rows) >= most or row.params is None:
                        following = negative, row.place
                        break
                    rows.append(row)
                level.popleft()
            else:
                del levels[order.pop(0)]
        self.size -= len(rows) - begun
        return following

    def add(self, row: Row) -> bool:
        """Put a queued row in its place; False if that is behind the horizon."""
        negative = -self.level(row.priority, row.sent_at) if self.ageing else -row.priority
        if self.horizon is not None and (negative, row.place) > self.horizon:
            return False
        level = self._levels.get(negative)
        if level is None:
            level = self._levels[negative] = deque()
            insort(self._order, negative)
        if not level or level[-1].place < row.place:
            level.append(row)
        elif level[0].place > row.place:
            level.appendleft(row)
        else:
            level.insert(bisect_left(level, row.place, key=lambda r: r.place), row)
        self.size += 1
        return True

    def forget(self) -> None:
        """A row of this window changed its state elsewhere (cancelled, adopted).

        It is skipped when it is reached, or swept out with many others.
        """
        self.size -= 1
        self._dead += 1
        if self._dead > self.size + _DEAD_MAX:
            self._sweep()

    def _sweep(self) -> None:
        self._dead = 0
        for negative in list(self._order):
            level = self._levels[negative] = deque(row for row in self._levels[negative] if row.state == QUEUED)
            if not level:
                del self._levels[negative]
                self._order.remove(negative)

    def trim(self, keep: int) -> list[Row]:
        """Drop rows from the end until `keep` (at least one) are left; the horizon moves to the last one kept."""
        dropped: list[Row] = []
        while self.size > max(keep, _KEPT_MIN):
            level = self._levels[self._order[-1]]
            while level and self.size > max(keep, _KEPT_MIN):
                row = level.pop()
                if row.state == QUEUED:
                    dropped.append(row)
                    self.size -= 1
            if not level:
                del self._levels[self._order.pop()]
        if dropped:
            self.horizon = self._last_key()
        return dropped

    def _last_key(self) -> Key:
        for negative in reversed(self._order):
            for row in reversed(self._levels[negative]):
                if row.state == QUEUED:
                    return negative, row.place
        message = "a trimmed window keeps at least one row"
        raise AssertionError(message)

    def before(self, key: Key) -> int:
        """How many live rows stand before a key, as far as memory holds them."""
        negative, place = key
        count = 0
        for order in self._order:
            if order > negative:
                break
            level = self._levels[order]
            count += sum(row.state == QUEUED and (order < negative or row.place < place) for row in level)
        return count

    def rows(self) -> list[Row]:
        """All live rows in order (for invariants and reports)."""
        return [row for negative in self._order for row in self._levels[negative] if row.state == QUEUED]


_KEPT_MIN: Final = 1
_DEAD_MAX: Final = 16
