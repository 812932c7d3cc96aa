"""What all hosts with the same offer may take from: the heads of their lanes in one heap.

So the best of a thousand types is found without looking at all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Any, Final

from .lane import Lane
from .window import Key

_STALE_MAX: Final = 16  # entries of a heap that may be stale beside as many as are good


class Choice:
    """The lanes that hosts with one offer may take from, best head first.

    An entry of the heap may be stale (its lane's head has moved on); it is put right when it comes to the top, which
    is enough because a head that becomes better is always pushed anew.
    """

    __slots__ = ("_entries", "_heap", "key", "pools", "serves")

    def __init__(self, key: object, serves: Callable[[str], bool], lanes: Iterable[Lane]) -> None:
        self.key = key
        self.serves = serves
        self.pools: list[Any] = []  # the slot pools of hosts that choose here
        self._heap: list[tuple[Key, int, Lane]] = []
        self._entries: dict[int, Key] = {}
        for lane in lanes:
            self.offer(lane)

    def offer(self, lane: Lane) -> None:
        """A lane has a new or better head, or is no longer blocked."""
        if (key := lane.front()) is None or not self.serves(lane.type):
            return
        known = self._entries.get(lane.number)
        if known is None or key < known:
            self._entries[lane.number] = key
            heappush(self._heap, (key, lane.number, lane))
            if len(self._heap) > 2 * len(self._entries) + _STALE_MAX:
                self._heap = [entry for entry in self._heap if self._entries.get(entry[1]) == entry[0]]
                heapify(self._heap)

    def best(self) -> Lane | None:
        """The lane whose front is first, among those that are not parked.

        Its window may be empty: then its next task must be read before anybody knows who is first.
        """
        heap, entries = self._heap, self._entries
        while heap:
            key, number, lane = heap[0]
            if entries.get(number) != key:
                heappop(heap)
                continue
            front = None if lane.parked else lane.front()
            if front == key:
                return lane
            heappop(heap)
            del entries[number]
            if front is not None:
                self.offer(lane)
        return None

    def second(self) -> Key | None:
        """A bound on how far the best lane stays best: the next entry's key (perhaps stale, then merely cautious)."""
        heap = self._heap
        if len(heap) < 2:
            return None
        return heap[1][0] if len(heap) == 2 or heap[1][0] < heap[2][0] else heap[2][0]
