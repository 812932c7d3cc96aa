"""What all hosts with the same offer may take from: the heads of their lanes in one heap.

So the best of a thousand types is found without looking at all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Any, Final

from .lane import Lane
from .nodes import Node
from .window import Key

_STALE_MAX: Final = 16  # entries of a heap that may be stale beside as many as are good


class Choice:
    """The lanes that hosts with one offer may take from, best head first.

    An entry of the heap may be stale (its lane's head has moved on); it is put right when it comes to the top, which
    is enough because a head that becomes better is always pushed anew.

    Attributes:
        key: What it stands under: the offer, the slot pool's name, and the host where limits by host exist.
        pools: The slot pools of hosts that choose here.
        parked: Lanes that a limit by host keeps from the one host that chooses here, or what a task costs on the hosts
            that choose here, and the node that says so.
    """

    __slots__ = ("_asked", "_entries", "_heap", "_serves", "key", "parked", "pools")

    def __init__(self, key: object, serves: Callable[[str], bool], lanes: Iterable[Lane]) -> None:
        self.key = key
        self._serves = serves
        self._asked: dict[str, bool] = {}  # what it said of each type, of which the pool has so many at most
        self.pools: list[Any] = []
        self.parked: dict[int, tuple[Node, Lane]] = {}
        self._heap: list[tuple[Key, int, Lane]] = []
        self._entries: dict[int, Key] = {}
        for lane in lanes:
            self.offer(lane)

    def serves(self, type: str) -> bool:
        """Whether tasks of a type may be taken from here. An offer never changes: another is another choice."""
        known = self._asked.get(type)
        if known is None:
            known = self._asked[type] = self._serves(type)
        return known

    def offer(self, lane: Lane) -> None:
        """A lane has a new or better head, or is no longer blocked."""
        if (key := lane.front()) is None or not self.serves(lane.type) or lane.number in self.parked:
            return
        known = self._entries.get(lane.number)
        if known is None or key < known:
            self._entries[lane.number] = key
            heappush(self._heap, (key, lane.number, lane))
            if len(self._heap) > 2 * len(self._entries) + _STALE_MAX:
                self._heap = [entry for entry in self._heap if self._entries.get(entry[1]) == entry[0]]
                heapify(self._heap)

    def may_take(self, lane: Lane) -> bool:
        """Whether a lane is served here and nothing is known that blocks it."""
        return not lane.parked and lane.number not in self.parked and self.serves(lane.type)

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
            front = None if lane.parked or number in self.parked else lane.front()
            if front == key:
                return lane
            if front is None:
                heappop(heap)
                del entries[number]
            else:
                entries[number] = front
                heapreplace(heap, (front, number, lane))
        return None

    def park(self, lane: Lane, node: Node) -> None:
        """A lane has no room on this host, says a node."""
        self.parked[lane.number] = (node, lane)

    def unpark(self, node: Node) -> None:
        """The node may have room on this host again."""
        for number in [number for number, (said_no, _) in self.parked.items() if said_no is node]:
            self.offer(self.parked.pop(number)[1])

    def second(self) -> Key | None:
        """A bound on how far the best lane stays best: the next entry's key (perhaps stale, then merely cautious)."""
        heap = self._heap
        if len(heap) < 2:
            return None
        return heap[1][0] if len(heap) == 2 or heap[1][0] < heap[2][0] else heap[2][0]


class Choices:
    """Every choice in use, and which of them a slot pool takes from.

    Attributes:
        by_host: Whether there are limits by host: then hosts with the same offer choose apart.
        by_key: The choices.
    """

    def __init__(self, lanes: Callable[[], Iterable[Lane]]) -> None:
        self.by_host = False
        self.by_key: dict[object, Choice] = {}
        self._lanes = lanes

    def join(self, pool: Any) -> None:
        """A slot pool takes from the lanes that its host's offer serves with it."""
        self.leave(pool)
        offer, name = pool.host.offer, pool.name
        key = (offer, name, pool.host.owner if self.by_host else 0)
        choice = self.by_key.get(key)
        if choice is None:

            def serves(type: str) -> bool:
                return offer.slot_pool(type) == name and offer.serves(type)

            choice = self.by_key[key] = Choice(key, serves, self._lanes())
        choice.pools.append(pool)
        pool.choice = choice

    def leave(self, pool: Any) -> None:
        """A slot pool takes nothing more."""
        choice: Choice | None = pool.choice
        if choice is not None:
            choice.pools.remove(pool)
            pool.choice = None
            if not choice.pools:
                del self.by_key[choice.key]

    def divide(self, by_host: bool) -> None:
        """Hosts with the same offer choose apart from now on, or together."""
        if by_host != self.by_host:
            self.by_host = by_host
            for pool in [pool for choice in self.by_key.values() for pool in choice.pools]:
                self.join(pool)

    def offer(self, lane: Lane) -> None:
        """A lane has a new or better head, or is no longer blocked."""
        for choice in self.by_key.values():
            choice.offer(lane)

    def unpark(self, node: Node, owner: int | None = None) -> None:
        """A node may have room on a host again, or on all."""
        for choice in self.by_key.values():
            if choice.parked and (owner is None or choice.pools[0].host.owner == owner):
                choice.unpark(node)

    def unpark_all(self) -> None:
        """Limits have changed."""
        for choice in self.by_key.values():
            for node, _ in list(choice.parked.values()):
                choice.unpark(node)
