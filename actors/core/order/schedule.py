"""Tasks that wait for their time: those that fall due first are in memory, the others in the store.

Two orders, because two clocks: what was asked for as an instant (`at`) goes by the wall clock, what was asked for as a
delay (a backoff, `delay`) goes by the monotonic one, so that no jump of the wall clock makes it early or late.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

from ..effects import Agenda
from ..rows import SCHEDULED, Row

ROWS_MAX: Final = 10_000
_DEAD_MAX: Final = 16  # rows that ended where they stood, beside as many as live


class Schedule:
    """The scheduled tasks of one kind of due time, soonest first.

    Attributes:
        relative: Whether due times were given as delays.
        horizon: (due, id) of the last row in memory, or None when all are.
    """

    __slots__ = ("_filling", "_heap", "horizon", "relative", "size")

    def __init__(self, relative: bool) -> None:
        self.relative = relative
        self._heap: list[tuple[float, int, Row]] = []
        self._filling = False
        self.horizon: tuple[float, int] | None = None
        self.size = 0

    def add(self, row: Row) -> bool:
        """A row was scheduled; False if memory need not know it yet."""
        due = row.due or 0.0
        if self.horizon is not None and (due, row.id) > self.horizon:
            return False
        heappush(self._heap, (due, row.id, row))
        self.size += 1
        return True

    def forget(self) -> None:
        """A row of this schedule was cancelled; it is skipped when it is reached, or swept out with many others."""
        self.size -= 1
        if len(self._heap) > 2 * self.size + _DEAD_MAX:
            self._heap = [entry for entry in self._heap if entry[2].state == SCHEDULED]
            heapify(self._heap)

    def due(self, wall: float) -> list[Row]:
        """Remove and return the rows whose time has come by this clock's reading, soonest first."""
        rows: list[Row] = []
        while self._heap and self._heap[0][0] <= wall:
            row = heappop(self._heap)[2]
            if row.state == SCHEDULED:
                rows.append(row)
        self.size -= len(rows)
        return rows

    def next(self) -> float | None:
        """When the next one falls due, or None."""
        while self._heap and self._heap[0][2].state != SCHEDULED:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def over_budget(self) -> list[Row]:
        """Drop the latest rows when there are too many; returns those dropped."""
        if self.size <= ROWS_MAX:
            return []
        live = sorted(entry for entry in self._heap if entry[2].state == SCHEDULED)
        keep, dropped = live[: ROWS_MAX // 2], live[ROWS_MAX // 2 :]
        self._heap = keep  # a sorted list is a heap
        self.size = len(keep)
        self.horizon = keep[-1][:2]
        return [entry[2] for entry in dropped]

    def refill(self) -> Agenda | None:
        """What must be read so that the soonest rows are in memory, or None."""
        if self.horizon is None or self._filling or self.size > ROWS_MAX // 10:
            return None
        self._filling = True
        return Agenda(self.relative, self.horizon, ROWS_MAX // 2)

    def start(self) -> Agenda:
        """The first read after a start."""
        self._filling = True
        return Agenda(self.relative, None, ROWS_MAX // 2)

    def refilled(self, need: Agenda, rows: list[Row]) -> list[Row]:
        """The next rows came from the store; those that memory keeps now."""
        self._filling = False
        if self.horizon != need.after:
            return []  # it was cut short since; if it still wants rows it asks again
        self.horizon = None
        for row in rows:
            self.add(row)
        if len(rows) == need.count:
            self.horizon = (rows[-1].due or 0.0, rows[-1].id)
        return rows

    def shift(self, seconds: float) -> None:
        """The wall clock jumped: what is relative keeps its distance from now."""
        for _, _, row in self._heap:
            row.due = (row.due or 0.0) + seconds
        self._heap = [(due + seconds, id, row) for due, id, row in self._heap]
        if self.horizon is not None:
            self.horizon = (self.horizon[0] + seconds, self.horizon[1])
