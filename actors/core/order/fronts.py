"""Lines of things, the one whose front is first found without looking at all of them.

An entry may be stale (the front of its thing has moved back); it is put right when it comes to the top, which is enough
because a front that becomes better is always offered anew.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Any, Final, Generic, TypeVar

_STALE_MAX: Final = 16  # entries that may be stale beside as many as are good

Thing = TypeVar("Thing")
Front = tuple[int, ...]


class Fronts(Generic[Thing]):
    """Numbered things by their fronts.

    Args:
        front: Where a thing stands now; None: not here.
    """

    __slots__ = ("_entries", "_front", "_heap")

    def __init__(self, front: Callable[[Thing], Front | None]) -> None:
        self._front = front
        self._heap: list[tuple[Any, int, Thing]] = []
        self._entries: dict[int, Front] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def offer(self, number: int, thing: Thing, key: Front) -> None:
        """A thing has a new or better front."""
        known = self._entries.get(number)
        if known is None or key < known:
            self._entries[number] = key
            heappush(self._heap, (key, number, thing))
            if len(self._heap) > 2 * len(self._entries) + _STALE_MAX:
                self._heap = [entry for entry in self._heap if self._entries.get(entry[1]) == entry[0]]
                heapify(self._heap)

    def best(self) -> Thing | None:
        """The thing whose front is first."""
        heap, entries, front_of = self._heap, self._entries, self._front
        while heap:
            key, number, thing = heap[0]
            if entries.get(number) != key:
                heappop(heap)
                continue
            front = front_of(thing)
            if front == key:
                return thing
            self._moved(number, thing, front)
        return None

    def walk(self, take: Callable[[Thing, Front, Any | None], Front | None]) -> None:
        """Visit one best thing after the other, until one is left where it stood.

        Args:
            take: Told of a thing, where it is said to stand, and a bound on how far it stays best (see `second`); where
                it stands then, or None: not here any more.
        """
        heap, entries = self._heap, self._entries
        while heap:
            key, number, thing = heap[0]
            if entries.get(number) != key:
                heappop(heap)
                continue
            front = take(thing, key, self.second())
            if front == key:
                return
            self._moved(number, thing, front)

    def _moved(self, number: int, thing: Thing, front: Front | None) -> None:
        """The first of the heap stands elsewhere, or is not here any more."""
        if front is None:
            heappop(self._heap)
            del self._entries[number]
        else:
            self._entries[number] = front
            heapreplace(self._heap, (front, number, thing))

    def second(self) -> Any | None:
        """A bound on how far the best stays best: the next entry's key (perhaps stale, then merely cautious)."""
        heap = self._heap
        if len(heap) < 2:
            return None
        return heap[1][0] if len(heap) == 2 or heap[1][0] < heap[2][0] else heap[2][0]
