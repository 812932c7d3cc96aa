"""What a host's counts are used by, and for which tasks they are kept as they become free.

A task whose turn has come on a host that has enough, but not at the moment, is overtaken there by no task of its
priority or a lower one that would take what it waits for: what it needs is kept for it, so that no number of small ones
starves a large one. It begins there at the latest when those have ended that hold it now. Knows nothing of labels,
which nobody uses up, nor of what is granted elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from .lane import Lane
from .window import Key

_WAITING_MAX: Final = 16
"""Lanes for whose first task a host keeps something at a time; more wait without that."""


class _Waiting(NamedTuple):
    """A lane whose turn had come: its first task then, and the slot pool that asked."""

    lane: Lane
    key: Key
    pool: Any

    def still(self, now: float, wall: float) -> bool:
        """Whether that task would begin here if there were enough."""
        lane = self.lane
        if self.pool.choice is None or self.pool.capacity <= 0 or lane.parked or lane.front() != self.key:
            return False
        return all(node.room(1, 1, now, wall) > 0 for node in lane.bounds)


class Stock:
    """The counts of one host session.

    Attributes:
        host: The session; None: known by its leases only, until it says HELLO.
        counts: What it offers.
        used: What leases hold of that, stopping ones included, and copies that are stopping there without one.
    """

    __slots__ = ("_waiting", "counts", "host", "used")

    def __init__(self) -> None:
        self.host: Any = None
        self.counts: dict[str, int] = {}
        self.used: dict[str, int] = {}
        self._waiting: dict[int, _Waiting] = {}

    def offered(self, host: Any, counts: Mapping[str, int]) -> None:
        """Its host says HELLO."""
        self.host, self.counts = host, dict(counts)
        self._waiting.clear()

    def hold(self, needs: Mapping[str, int], count: int) -> None:
        """Leases began, or ended, with a negative count."""
        for name, need in needs.items():
            self.used[name] = self.used.get(name, 0) + need * count

    def recount(self) -> None:
        """Requirements are others: all leases will be held again."""
        self.used.clear()

    def free(self, name: str) -> int:
        """How much of a count nothing uses."""
        return max(0, self.counts.get(name, 0) - self.used.get(name, 0))

    def room(self, lane: Lane, count: int, key: Key, now: float, wall: float) -> int:
        """How many of `count` tasks of a lane, the first of which stands at `key`, it has enough for now."""
        kept = self._kept(lane, key, now, wall)
        for name, need in lane.needs.items():
            count = min(count, max(0, self.free(name) - kept.get(name, 0)) // need)
        return count

    def fits(self, lane: Lane) -> bool:
        """Whether it has enough for a task that runs here already."""
        return all(self.free(name) >= need for name, need in lane.needs.items())

    def _kept(self, lane: Lane, key: Key, now: float, wall: float) -> dict[str, int]:
        """What is kept for tasks that go before one of a lane."""
        kept: dict[str, int] = {}
        passed = False
        for waiting in self._waiting.values():
            if waiting.lane is lane:
                passed = True
            elif (waiting.key[0] < key[0] or (waiting.key[0] == key[0] and not passed)) and waiting.still(now, wall):
                for name, need in waiting.lane.needs.items():
                    kept[name] = kept.get(name, 0) + need
        return kept

    def first_kept(self, lane: Lane) -> str | None:
        """The type for whose task something is kept that a lane needs, for people."""
        found = (waiting.lane for waiting in self._waiting.values() if waiting.lane is not lane)
        return next((one.type for one in found if one.needs.keys() & lane.needs.keys()), None)

    def wait(self, lane: Lane, key: Key, pool: Any) -> None:
        """The turn of a lane's first task has come, and there is not enough for it."""
        known = self._waiting.get(lane.number)
        if known is not None and known.key == key:
            return
        self._waiting.pop(lane.number, None)  # another task's turn: it waits behind those that came before
        if len(self._waiting) < _WAITING_MAX:
            self._waiting[lane.number] = _Waiting(lane, key, pool)

    def waits(self) -> bool:
        """Whether anything is kept for anybody."""
        return bool(self._waiting)

    def tidy(self, now: float, wall: float) -> bool:
        """Keep nothing for those that began elsewhere, ended, or may not run now; whether there were any."""
        gone = [number for number, waiting in self._waiting.items() if not waiting.still(now, wall)]
        for number in gone:
            del self._waiting[number]
        return bool(gone)

    def look_again(self) -> None:
        """Something is free: all that waits for it here is asked again, first come first."""
        if self.host is not None:
            for pool in self.host.pools.values():
                if pool.choice is not None:
                    pool.choice.unpark(self)
