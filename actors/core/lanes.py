"""All lanes: tasks that anything can block together stand in one line, and a host takes from the best it may.

Owns the lanes (type, tenant, requirements), the nodes above them, the budget of rows that their windows share, and who
waits for which node. Who gets what is decided in `dispatch`.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final

from ...config.policy import PolicyTree, parents
from ...transport.messages import STATES
from .choices import Choice
from .effects import Refill
from .lane import Lane
from .nodes import Node
from .rows import Row
from .step import Step
from .window import key_of

ROWS_MAX: Final = 50_000
_REFILL_ROWS: Final = 4_000


class Lanes:
    """All lanes, the nodes above them and the one budget of rows that their windows share."""

    def __init__(self, policies: PolicyTree, rows_max: int) -> None:
        self.policies = policies
        self.rows_max = rows_max
        self.by_number: dict[int, Lane] = {}
        self.by_type: dict[str, Lane] = {}
        self.nodes: dict[str, Node] = {}
        self.parked: dict[Node, list[Lane]] = {}  # lanes that could not be granted, by the node that said no
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

    def is_paused(self, type: str) -> bool:
        """Whether a node itself is paused."""
        return self._node(type).paused

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

    def refilled(self, need: Refill, read: list[Row], known: Container[int] = ()) -> list[Row]:
        """The next rows of a lane came from the store; those that went into memory. `known` ones stand aside there."""
        lane = self.by_number[need.lane]
        lane.filling = False
        self.touched.add(lane)
        window = lane.window
        after = None if need.after is None else (-need.after[0], need.after[1])
        if window.horizon != after:
            return []  # the window has changed since; if it still wants rows it asks again
        window.horizon = None
        rows = [row for row in read if row.id not in known]
        for row in rows:
            window.add(row)
        self.in_memory += len(rows)
        if len(read) == need.count and lane.beyond() > 0:
            window.horizon = key_of(read[-1])
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
                    self.parked.setdefault(node, []).append(lane)
                    break
        return count

    def blocks(self, lane: Lane) -> list[dict[str, Any]]:
        """What of the nodes above keeps a lane from being granted now."""
        found: list[dict[str, Any]] = []
        for node in lane.bounds:
            if node.paused:
                text = f"{node.type} is paused; workerhost resume {node.type}"
                found.append({"code": "paused", "text": text, "until": None})
            elif node.room() == 0:
                text = f"{node.type} runs as many as it may: max_concurrent is {node.limit}"
                found.append({"code": "max_concurrent", "text": text, "until": None})
        return found

    def hold(self, lane: Lane, count: int) -> None:
        """Leases began (or, with a negative count, ended) in a lane."""
        for node in lane.bounds:
            if node.limit is not None:
                node.held += count
                if count < 0:
                    self.unpark(node)

    def unpark(self, node: Node) -> None:
        """A node that had no room may have some: its lanes are candidates again."""
        for lane in self.parked.pop(node, ()):
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
