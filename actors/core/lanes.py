"""Lanes: tasks that anything can block together stand in one line, and a host takes from the best line it may.

A `Lane` is one line (type, tenant, requirements) with its window and its counts. A `Choice` is what all hosts with
the same offer may run: the heads of those lanes in one heap, so that the best of a thousand types is found without
looking at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Any, Final

from ...config.policy import Policy, PolicyTree, parents
from ...transport.messages import STATES
from .effects import Refill
from .pace import Pace
from .rows import QUEUED, Row
from .step import Step
from .window import Key, Window, key_of

ROWS_MAX: Final = 50_000
_REFILL_ROWS: Final = 4_000
_STALE_MAX: Final = 16  # entries of a heap that may be stale beside as many as are good


class Node:
    """One node of the tree as the core counts it.

    Attributes:
        type: Its path.
        limit: `max_concurrent` of exactly this node, or None.
        held: Live leases in its subtree, stopping ones included.
        paused: Whether a person paused it.
        parked: Lanes below that could not be granted because of this node.
    """

    __slots__ = ("held", "limit", "parked", "paused", "type")

    def __init__(self, type: str, limit: int | None) -> None:
        self.type, self.limit = type, limit
        self.held = 0
        self.paused = False
        self.parked: list[Lane] = []

    def room(self) -> int | None:
        """How many more leases it allows now; None: any number."""
        if self.paused:
            return 0
        return None if self.limit is None else max(0, self.limit - self.held)


class Lane:
    """Tasks of one type, tenant and set of requirements.

    Attributes:
        number: Its number in the store.
        counts: Tasks by state code.
        stored: The counts as the store has them.
        bounds: The nodes above that have a limit or a pause, nearest last.
        policy: The effective settings of its type.
    """

    __slots__ = ("bounds", "counts", "filling", "number", "pace", "parked", "policy", "stored", "type", "window")

    def __init__(self, number: int, type: str) -> None:
        self.number, self.type = number, type
        self.window = Window()
        self.counts = [0] * len(STATES)
        self.stored = [0] * len(STATES)
        self.pace = Pace()
        self.policy = Policy()
        self.bounds: list[Node] = []
        self.parked = False
        self.filling = False

    def __repr__(self) -> str:
        return f"<Lane {self.number} {self.type} queued={self.counts[QUEUED]} in memory={self.window.size}>"

    def beyond(self) -> int:
        """Queued tasks that are only in the store."""
        return self.counts[QUEUED] - self.window.size

    def front(self) -> Key | None:
        """Where its first task stands, or, while that is only in the store, what it stands behind; None: no task."""
        head = self.window.head()
        if head is not None:
            return key_of(head)
        return self.window.horizon if self.beyond() > 0 else None

    def margin(self, slots: int) -> int:
        """See `Pace.margin`; none under a limit."""
        return 0 if self.bounds else self.pace.margin(slots)


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


class Lanes:
    """All lanes, the nodes above them and the one budget of rows that their windows share."""

    def __init__(self, policies: PolicyTree, rows_max: int) -> None:
        self.policies = policies
        self.rows_max = rows_max
        self.by_number: dict[int, Lane] = {}
        self.by_type: dict[str, Lane] = {}
        self.nodes: dict[str, Node] = {}
        self.choices: dict[object, Choice] = {}
        self.touched: set[Lane] = set()
        self.in_memory = 0
        self.new: list[str] = []  # types first seen since somebody looked
        self.totals = [0] * len(STATES)  # by state, as of the last `tallies`
        self._last = 0

    def restore(self, number: int, type: str) -> Lane:
        """Take a lane over from the store."""
        lane = Lane(number, type)
        lane.policy = self.policies.effective(type)
        nodes = [self._node(path) for path in parents(type)]
        lane.bounds = [node for node in nodes if node.limit is not None or node.paused]
        self.by_number[number] = self.by_type[type] = lane
        self._last = max(self._last, number)
        return lane

    def of(self, type: str, step: Step) -> Lane:
        """The lane of a type, made when it is first used."""
        lane = self.by_type.get(type)
        if lane is None:
            lane = self.restore(self._last + 1, type)
            step.persist.lanes.append((lane.number, type, "", ""))
            self.new.append(type)
        return lane

    def _node(self, path: str) -> Node:
        node = self.nodes.get(path)
        if node is None:
            node = self.nodes[path] = Node(path, self.policies.max_concurrent(path))
        return node

    def pause(self, type: str, paused: bool) -> None:
        """Pause or resume a node: its subtree is granted nothing more, what runs goes on."""
        node = self._node(type)
        node.paused = paused
        for lane in self.by_number.values():
            chain = [self._node(path) for path in parents(lane.type)]
            if node in chain:
                lane.bounds = [n for n in chain if n.limit is not None or n.paused]
        if not paused:
            self.unpark(node)

    # The windows.

    def add(self, lane: Lane, rows: list[Row]) -> list[Row]:
        """Rows became queued and are counted already; those of them that memory keeps."""
        window = lane.window
        if window.horizon is not None and lane.beyond() == len(rows):
            window.horizon = None  # nothing but these is behind it
        head = window.head()
        kept = [row for row in rows if window.add(row)]
        self.in_memory += len(kept)
        self.touched.add(lane)
        if kept and (head is None or window.head() is not head):
            for choice in self.choices.values():
                choice.offer(lane)
        return kept

    def taken(self, lane: Lane, count: int) -> None:
        """`count` rows left a window."""
        self.in_memory -= count
        self.touched.add(lane)

    def over_budget(self) -> list[tuple[Lane, list[Row]]]:
        """Trim the largest windows until the budget holds again; the rows dropped, by lane.

        Trims to nine tenths, so that a full memory is not trimmed for every task that comes.
        """
        if self.in_memory <= self.rows_max:
            return []
        dropped: list[tuple[Lane, list[Row]]] = []
        surplus = self.in_memory - self.rows_max * 9 // 10
        lanes = sorted(self.by_number.values(), key=lambda lane: lane.window.size, reverse=True)
        share = max(1, self.rows_max * 9 // 10 // max(1, sum(1 for lane in lanes if lane.window.size)))
        for lane in lanes:
            if surplus <= 0 or lane.window.size <= 1:
                break
            rows = lane.window.trim(max(share, lane.window.size - surplus))
            surplus -= len(rows)
            self.in_memory -= len(rows)
            if rows:
                dropped.append((lane, rows))
        return dropped

    def share(self) -> int:
        """How many rows of a lane are worth reading at a time."""
        return max(1, min(_REFILL_ROWS, self.rows_max // max(1, len(self.by_number))))

    def refills(self) -> list[Refill]:
        """What must be read so that the prefix of every lane in use stays long enough."""
        needs: list[Refill] = []
        share = self.share()
        for lane in self.touched:
            window = lane.window
            if window.horizon is None or lane.filling or window.size > share // 4:
                continue
            if lane.beyond() <= 0:
                window.horizon = None
                continue
            count = max(1, min(share - window.size, self.rows_max - self.in_memory))
            negative, place = window.horizon
            lane.filling = True
            needs.append(Refill(lane.number, (-negative, place), count))
        return needs

    def refilled(self, need: Refill, rows: list[Row]) -> list[Row]:
        """The next rows of a lane came from the store; those that went into memory."""
        lane = self.by_number[need.lane]
        lane.filling = False
        self.touched.add(lane)
        window = lane.window
        after = None if need.after is None else (-need.after[0], need.after[1])
        if window.horizon != after:
            return []  # the window has changed since; if it still wants rows it asks again
        window.horizon = None
        for row in rows:
            window.add(row)
        self.in_memory += len(rows)
        if len(rows) == need.count and lane.beyond() > 0:
            window.horizon = key_of(rows[-1])
        for choice in self.choices.values():
            choice.offer(lane)
        return rows

    # Limits.

    def room(self, lane: Lane, count: int) -> int:
        """How many of `count` the nodes above allow now; a lane without room is parked at the node that says no."""
        for node in lane.bounds:
            room = node.room()
            if room is not None and room < count:
                count = room
                if count == 0:
                    lane.parked = True
                    node.parked.append(lane)
                    break
        return count

    def hold(self, lane: Lane, count: int) -> None:
        """Leases began (or, with a negative count, ended) in a lane."""
        for node in lane.bounds:
            if node.limit is not None:
                node.held += count
                if count < 0 and node.parked:
                    self.unpark(node)

    def unpark(self, node: Node) -> None:
        """A node that had no room may have some: its lanes are candidates again."""
        parked, node.parked = node.parked, []
        for lane in parked:
            lane.parked = False
            for choice in self.choices.values():
                choice.offer(lane)

    # Counts.

    def tallies(self, step: Step) -> None:
        """Write the counts that changed in this step."""
        for lane in self.touched:
            if lane.counts != lane.stored:
                step.persist.tallies += [
                    (lane.number, state, count)
                    for state, count in enumerate(lane.counts)
                    if count != lane.stored[state]
                ]
                for state, count in enumerate(lane.counts):
                    self.totals[state] += count - lane.stored[state]
                lane.stored = lane.counts.copy()
        self.touched.clear()

    def total(self, state: int) -> int:
        """Tasks in a state, over all lanes, as of the end of the last step."""
        return self.totals[state]
