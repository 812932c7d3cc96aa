"""The order in which queued tasks stand in the store that survives nothing; `line` is the same for the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

from ..core.effects import Refill
from ..core.order.ageing import level_of
from .order import Entry, Order, Orders


class MemoryLines:
    """All lanes: by priority, and in each by (place, id); with ageing by (-level, place, id).

    Args:
        ageing: Seconds after which a waiting task counts one priority more; 0: never.
    """

    def __init__(self, ageing: float = 0.0) -> None:
        self._ageing = ageing
        self._lanes: dict[int, Orders] = defaultdict(Orders)

    def standing(self, lane: int, priority: int, sent_at: float, place: int, id: int) -> tuple[Order, Entry]:
        """Where a task stands."""
        if not self._ageing:
            return self._lanes[lane][priority], (place, id)
        return self._lanes[lane][0], (-level_of(priority, sent_at, self._ageing), place, id)

    def refill(self, need: Refill) -> list[int]:
        """The tasks of a need, in order."""
        return list(islice((id for *_, id in self._after(need)), need.count))

    def _after(self, need: Refill) -> Iterator[Entry]:
        orders = self._lanes[need.lane]
        if self._ageing:
            start = None if need.after is None else (-need.after[0], need.after[1], 2**63)
            yield from orders.at(0).after(start, need.count)
            return
        for priority in sorted(orders, reverse=True):
            if need.after is None or priority < need.after[0]:
                yield from orders[priority].after(None, need.count)
            elif priority == need.after[0]:
                yield from orders[priority].after((need.after[1], 2**63), need.count)
