"""What all hosts with the same offer may take from: the heads of their lanes in line.

So the best of a thousand types is found without looking at all of them.

Within a tenant the line goes by (priority, place). Where several tenants have tasks, those of equal priority take
turns: first whoever was served longest ago.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..policies.nodes import Node
from ..rows import Row
from .fronts import Fronts
from .lane import Lane, Turn
from .tenants import Tenant
from .window import Key


class _Line:
    """The lanes of one tenant."""

    __slots__ = ("lanes", "tenant")

    def __init__(self, tenant: Tenant, front: Callable[[Lane], Key | None]) -> None:
        self.tenant = tenant
        self.lanes: Fronts[Lane] = Fronts(front)

    def front(self) -> Turn | None:
        """Where its best lane stands among those of all tenants."""
        lane = self.lanes.best()
        key = None if lane is None else lane.front()
        return None if key is None else (key[0], self.tenant.turn, key[1])


class Choice:
    """The lanes that hosts with one offer may take from, best head first.

    Attributes:
        key: What it stands under: the offer, the slot pool's name, and the host where that matters.
        pools: The slot pools of hosts that choose here.
        parked: Lanes that a limit by host, or what is used up there, keeps from the one host that chooses here, or what
            a task costs on the hosts that choose here, and the node or stock that says so.
    """

    __slots__ = ("_asked", "_lines", "_order", "_serves", "_single", "key", "parked", "pools")

    def __init__(self, key: object, serves: Callable[[Lane], bool], lanes: Iterable[Lane]) -> None:
        self.key = key
        self._serves = serves
        self._asked: dict[int, bool] = {}  # what it said of each lane
        self.pools: list[Any] = []
        self.parked: dict[int, tuple[object, Lane]] = {}
        self._lines: dict[int, _Line] = {}  # by the tenant's number
        self._single: _Line | None = None  # the only one
        self._order: Fronts[_Line] = Fronts(_Line.front)
        for lane in lanes:
            self.offer(lane)

    def serves(self, lane: Lane) -> bool:
        """Whether tasks of a lane may be taken from here. An offer never changes: another is another choice."""
        known = self._asked.get(lane.number)
        if known is None:
            known = self._asked[lane.number] = self._serves(lane)
        return known

    def offer(self, lane: Lane) -> None:
        """A lane has a new or better head, or is no longer blocked."""
        if (key := lane.front()) is None or not self.serves(lane) or lane.number in self.parked:
            return
        line = self._lines.get(lane.tenant.number) or self._begin(lane.tenant)
        line.lanes.offer(lane.number, lane, key)
        if self._single is None and (front := line.front()) is not None:
            self._order.offer(line.tenant.number, line, front)

    def _begin(self, tenant: Tenant) -> _Line:
        """A tenant has tasks here for the first time."""
        line = self._lines[tenant.number] = _Line(tenant, self._front)
        self._single = line if len(self._lines) == 1 else None
        if len(self._lines) == 2:
            for other in self._lines.values():
                if (front := other.front()) is not None:
                    self._order.offer(other.tenant.number, other, front)
        return line

    def _front(self, lane: Lane) -> Key | None:
        return None if lane.parked or lane.number in self.parked else lane.front()

    def may_take(self, lane: Lane) -> bool:
        """Whether a lane is served here and nothing is known that blocks it."""
        return not lane.parked and lane.number not in self.parked and self.serves(lane)

    def best(self) -> Lane | None:
        """The lane whose front is first, among those that are not parked.

        Its window may be empty: then its next task must be read before anybody knows who is first.
        """
        line = self._single or self._order.best()
        return None if line is None else line.lanes.best()

    def stretch(self, most: int) -> tuple[int, Key | None]:
        """How many first tasks of the best lane, `most` at most, may be taken before another lane has to be asked, and
        up to which key.
        """
        line = self._single
        if line is None:
            line = self._order.best()
            if line is None or len(self._order) > 1:
                return min(most, 1), None
        return most, line.lanes.second()

    def run(self, room: Callable[[Lane, int], int]) -> list[Row]:
        """Take the next tasks in order, of one lane after the other, as long as nothing limits them, memory has them
        with their params, and they are all of one tenant.

        Args:
            room: How many more may be taken, the next of this lane, when so many have been.
        """
        rows: list[Row] = []
        parked = self.parked

        def take(lane: Lane, key: Any, until: Any | None) -> Any | None:
            if lane.bounds or lane.needs or lane.parked or lane.number in parked:
                return key
            taken = len(rows)
            window = lane.window
            front = window.run(rows, taken + room(lane, taken), until)
            return window.horizon if front is None else front

        if self._single is not None:
            self._single.lanes.walk(take)
        return rows

    def park(self, lane: Lane, where: object) -> None:
        """A lane has no room on this host, says a node or a stock."""
        self.parked[lane.number] = (where, lane)

    def forget(self, lanes: Iterable[Lane]) -> None:
        """Lanes are there no more."""
        for lane in lanes:
            self._asked.pop(lane.number, None)
            self.parked.pop(lane.number, None)
            line = None if lane.tenant.lanes else self._lines.pop(lane.tenant.number, None)
            if line is not None and line is self._single:
                self._single = None

    def unpark(self, where: object) -> None:
        """There may be room on this host again."""
        for number in [number for number, (said_no, _) in self.parked.items() if said_no is where]:
            self.offer(self.parked.pop(number)[1])


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
        key = (offer, name, pool.host.owner if self.by_host or offer.counts() else 0)
        choice = self.by_key.get(key)
        if choice is None:

            def serves(lane: Lane) -> bool:
                type = lane.type
                return offer.slot_pool(type) == name and offer.serves(type) and offer.meets(lane.needs, lane.labels)

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
        """Hosts with the same offer choose apart from now on, or together; what lanes require may be another."""
        self.by_host = by_host
        pools = [pool for choice in self.by_key.values() for pool in choice.pools]
        for pool in pools:
            self.leave(pool)
        for pool in pools:
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

    def forget(self, lanes: Iterable[Lane]) -> None:
        """Lanes are there no more. They have no front, so they stand nowhere in line."""
        for choice in self.by_key.values():
            choice.forget(lanes)

    def unpark_all(self) -> None:
        """Limits have changed."""
        for choice in self.by_key.values():
            for where, _ in list(choice.parked.values()):
                choice.unpark(where)
