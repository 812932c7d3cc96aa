"""All lanes: tasks that anything can block together stand in one line, and a host takes from the best it may.

Owns the lanes (type, tenant, requirements) and the budget of rows that their windows share. What the nodes above them
allow is `tree`'s, who gets what is decided in `dispatch`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container
from itertools import compress
from operator import attrgetter, ne
from typing import Final

from ....config.policy import PolicyTree
from ....transport.messages import STATES
from ..effects import Refill
from ..rows import Row
from ..statistics import Statistics
from ..step import Step
from .choices import Choices
from .lane import Lane
from .tenants import Tenants
from .tree import Tree

ROWS_MAX: Final = 50_000
_REFILL_ROWS: Final = 4_000
_lane: Final = attrgetter("lane")
_STATES: Final = range(len(STATES))

LaneKey = tuple[str, str, str]
"""(type, tenant, requirements)."""


class Lanes:
    """All lanes, the tree above them and the one budget of rows that their windows share."""

    def __init__(self, policies: PolicyTree, rows_max: int, ageing: float = 0.0) -> None:
        self.rows_max, self.ageing = rows_max, ageing
        self.by_number: dict[int, Lane] = {}
        self.by_key: dict[LaneKey, Lane] = {}
        self.by_type: dict[str, list[Lane]] = {}
        self.tenants = Tenants()
        self.choices = Choices(self.by_number.values)
        self.tree = Tree(policies, self.choices)
        self.statistics = Statistics()
        self.touched: set[Lane] = set()
        self.in_memory = 0
        self.new: list[str] = []  # types first seen since somebody looked
        self.totals = [0] * len(STATES)  # by state, as of the last `tallies`
        self.emptied: dict[Lane, float] = {}  # those without any task, and since when; see `empties`
        self.made: Counter[str] = Counter()  # lanes that are there, by their maker
        self.types_made: Counter[str] = Counter()  # types that are known, by who was the first to send one
        self._last, self._maker = 0, ""

    def restore(self, number: int, type: str, tenant: str = "", requirements: str = "") -> Lane:
        """Take a lane over from the store."""
        lane = Lane(number, type, self.tenants.named(tenant), requirements, self.statistics.of(type), self.ageing)
        self.tree.plant(lane)
        self.by_number[number] = self.by_key[type, tenant, requirements] = lane
        alike = self.by_type.setdefault(type, [])
        if alike:
            lane.pace = alike[0].pace  # it is the type's worker that is fast or slow
        alike.append(lane)
        lane.tenant.lanes += 1
        self._last = max(self._last, number)
        return lane

    def begin(self, maker: str = "") -> None:
        """Whose tasks come now, if lanes are to be counted as an identity's making; and nothing is `new` yet."""
        self._maker = maker
        self.new.clear()

    def of(self, key: LaneKey, step: Step) -> Lane:
        """The lane of a type, a tenant and requirements, made when it is first used."""
        lane = self.by_key.get(key)
        if lane is None:
            if key[0] not in self.by_type:
                self.new.append(key[0])
                if self._maker:
                    self.types_made[self._maker] += 1
            lane = self.restore(self._last + 1, *key)
            if self._maker:
                lane.maker = self._maker
                self.made[lane.maker] += 1
            step.persist.lanes.append((lane.number, *key))
        return lane

    def forget(self, lanes: Collection[Lane], step: Step) -> None:
        """Lanes of which there is no task are needed no more; if somebody sends one they are made anew."""
        gone = set(lanes)
        for lane in gone:
            del self.by_number[lane.number], self.by_key[lane.type, lane.tenant.name, lane.requirements]
            if lane.maker:
                self.made[lane.maker] -= 1
            step.persist.forgotten_lanes.append(lane.number)
        for type in {lane.type for lane in gone}:
            self.by_type[type] = [lane for lane in self.by_type[type] if lane not in gone]
        if gone:
            self.touched -= gone
            self.tree.uproot(gone, self.tenants.left(lane.tenant for lane in gone), step.now)
            self.choices.forget(gone)

    def like(self, key: LaneKey) -> Lane:
        """The lane of a type, a tenant and requirements, or one like it that nobody keeps."""
        lane = self.by_key.get(key)
        if lane is None:
            lane = Lane(0, key[0], requirements=key[2])
            lane.require(self.tree.policies.effective(key[0]).requires)
        return lane

    def counts(self, type: str) -> list[int]:
        """Tasks of a type by state, over all its lanes."""
        return [sum(counts) for counts in zip(*(lane.counts for lane in self.by_type.get(type, ())), strict=True)] or [
            0
        ] * len(STATES)

    def retune(self, policies: PolicyTree) -> None:
        """Another tree of settings from now on; see `Tree.retune`."""
        self.tree.retune(policies)

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
            self.choices.offer(lane)
        return kept

    def taken(self, lane: Lane, count: int) -> None:
        """`count` rows left a window."""
        self.in_memory -= count
        self.touched.add(lane)

    def apart(self, rows: list[Row]) -> dict[Lane, list[Row]]:
        """Rows by lane, in their order."""
        by_number = self.by_number
        if len(set(map(_lane, rows))) == 1:
            return {by_number[rows[0].lane]: rows}
        found: dict[int, list[Row]] = {}
        for row in rows:
            if (alike := found.get(row.lane)) is None:
                found[row.lane] = [row]
            else:
                alike.append(row)
        return {by_number[number]: alike for number, alike in found.items()}

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
            window.horizon = window.key(read[-1])
        self.choices.offer(lane)
        return rows

    # Counts.

    def tallies(self, step: Step) -> None:
        """Write the counts that changed in this step."""
        tallies, totals = step.persist.tallies, self.totals
        for lane in self.touched:
            counts, stored = lane.counts, lane.stored
            if counts != stored:
                number = lane.number
                for state in compress(_STATES, map(ne, counts, stored)):
                    count = counts[state]
                    tallies.append((number, state, count))
                    totals[state] += count - stored[state]
                lane.stored = counts.copy()
                if not any(counts):
                    self.emptied.pop(lane, None)
                    self.emptied[lane] = step.now
        self.touched.clear()

    def total(self, state: int) -> int:
        """Tasks in a state, over all lanes, as of the end of the last step."""
        return self.totals[state]
