"""What is counted of tasks and attempts since the supervisor started: for the whole pool, each node and each host.

Counters only grow, so that who misses a look at them loses nothing: rates are differences of two looks. They are kept
by batch; of single tasks only the times are collected, and told to the nodes above when many are, or when somebody
looks: so a thousand types with a task each cost little more than one. Reads nothing of the queue and decides nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, Final

from ...config.policy import parents
from .rows import CANCELLED, COMPLETED, FAILED, QUARANTINED, Row

BOUNDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
    1800.0, 3600.0, 14400.0, 86400.0,
)  # fmt: skip
"""Upper bounds of the buckets that times are counted in, in seconds; what took longer has a bucket of its own."""
POOL: Final = ""
"""The node above all types."""
_UNTOLD_MAX: Final = 64
"""Times that a type collects before it tells them to the nodes above."""
_CAUSES_MAX: Final = 16
_OTHER: Final = "other"  # cause of failures whose own would be one too many


class Figures:
    """Counters of one node and what lies below it, or of one host.

    Attributes:
        sent: Tasks handed in, or run once more by hand.
        hits: Tasks handed in that were not stored, because by `cache` an older one answers for them.
        completed, failed, cancelled, quarantined: Tasks that ended so, retried ones each time.
        retried: Attempts that failed or crashed and whose tasks are tried again.
        rescued: Attempts taken back from hosts that were lost or no longer had them.
        released: Attempts that were handed back and counted against nobody.
        attempts, seconds: Attempts that ran until they completed or failed, and how long in all.
        grants, waited: Tasks whose first attempt began, and how long they had been queued then in all, in seconds.
        causes: Attempts that failed, by cause.
    """

    __slots__ = (
        "attempts", "cancelled", "causes", "completed", "failed", "grants", "hits", "quarantined", "released",
        "rescued", "retried", "seconds", "sent", "waited",
    )  # fmt: skip

    def __init__(self) -> None:
        self.sent = self.hits = self.completed = self.failed = self.cancelled = self.quarantined = 0
        self.retried = self.rescued = self.released = self.attempts = self.grants = 0
        self.seconds = self.waited = 0.0
        self.causes: dict[str, int] = {}

    def ran(self, count: int, seconds: float) -> None:
        """Attempts completed or failed."""
        self.attempts += count
        self.seconds += seconds

    def failed_by(self, cause: str) -> None:
        """An attempt failed. What a host says of the cause may be anything."""
        causes = self.causes
        if cause not in causes and len(causes) >= _CAUSES_MAX:
            cause = _OTHER
        causes[cause] = causes.get(cause, 0) + 1

    def shown(self) -> dict[str, Any]:
        """All of them as plain data."""
        return {
            "sent": self.sent,
            "hits": self.hits,
            "completed": self.completed,
            "failed": self.failed,
            "cancelled": self.cancelled,
            "quarantined": self.quarantined,
            "retried": self.retried,
            "rescued": self.rescued,
            "released": self.released,
            "attempts": self.attempts,
            "seconds": self.seconds,
            "grants": self.grants,
            "waited": self.waited,
            "causes": self.causes,
        }


class Times:
    """How long attempts ran and tasks waited, counted in buckets (see `BOUNDS`)."""

    __slots__ = ("durations", "waits")

    def __init__(self) -> None:
        self.durations = [0] * (len(BOUNDS) + 1)
        self.waits = [0] * (len(BOUNDS) + 1)


class Account:
    """What happens to tasks of one type, counted at every node above it.

    Args:
        nodes: The figures of the pool and of each node down to the type.
        times: Those of the pool and of the first node.

    Attributes:
        hits: As in `Figures`, of the type alone.
    """

    __slots__ = ("_durations", "_nodes", "_times", "_waits", "hits")

    def __init__(self, nodes: Sequence[Figures], times: Sequence[Times]) -> None:
        self._nodes, self._times = tuple(nodes), tuple(times)
        self.hits = 0
        self._waits: list[float] = []  # not yet told to the nodes
        self._durations: list[float] = []

    def sent(self, count: int) -> None:
        """Tasks were handed in."""
        for node in self._nodes:
            node.sent += count

    def answered(self, count: int) -> None:
        """Older tasks answer for tasks that were handed in."""
        self.hits += count
        for node in self._nodes:
            node.hits += count

    def granted(self, waits: list[float]) -> None:
        """First attempts began, after tasks had waited so long."""
        self._waits += waits
        if len(self._waits) > _UNTOLD_MAX:
            self.settle()

    def completed(self, durations: list[float]) -> None:
        """Tasks completed by attempts that ran so long."""
        self._durations += durations
        if len(self._durations) > _UNTOLD_MAX:
            self.settle()

    def settle(self) -> None:
        """Tell the nodes above what has been collected."""
        if self._waits:
            count, seconds = len(self._waits), sum(self._waits)
            for node in self._nodes:
                node.grants += count
                node.waited += seconds
            for bucket, found in _bucketed(self._waits):
                for times in self._times:
                    times.waits[bucket] += found
            self._waits = []
        if self._durations:
            count, seconds = len(self._durations), sum(self._durations)
            for node in self._nodes:
                node.completed += count
                node.ran(count, seconds)
            for bucket, found in _bucketed(self._durations):
                for times in self._times:
                    times.durations[bucket] += found
            self._durations = []

    def failed(self, cause: str, duration: float) -> None:
        """An attempt failed. Whether its task did is told by `ended`."""
        for node in self._nodes:
            node.ran(1, duration)
            node.failed_by(cause)
        bucket = bisect_left(BOUNDS, duration)
        for times in self._times:
            times.durations[bucket] += 1

    def ended(self, state: int) -> None:
        """A task came to a final state, in another way than `completed` tells."""
        name = _ENDS[state]
        for node in self._nodes:
            setattr(node, name, getattr(node, name) + 1)

    def retried(self) -> None:
        """A task is tried again."""
        for node in self._nodes:
            node.retried += 1

    def rescued(self) -> None:
        """An attempt was taken back from a host."""
        for node in self._nodes:
            node.rescued += 1

    def released(self) -> None:
        """An attempt was handed back."""
        for node in self._nodes:
            node.released += 1


def _bucketed(times: Iterable[float]) -> Iterable[tuple[int, int]]:
    return Counter(map(bisect_left, repeat(BOUNDS), times)).items()


_ENDS: Final = {COMPLETED: "completed", FAILED: "failed", CANCELLED: "cancelled", QUARANTINED: "quarantined"}


class Statistics:
    """All figures of tasks.

    Attributes:
        nodes: By path; `POOL` is everything.
        times: Of the pool and of each first part of a type.
        unfinished_before: Tasks that were unfinished when the supervisor started.
    """

    def __init__(self) -> None:
        self.nodes = {POOL: Figures()}
        self.times = {POOL: Times()}
        self.unfinished_before = 0
        self._accounts: dict[str, Account] = {}

    def settle(self) -> None:
        """Make the figures whole: say this before they are read."""
        for account in self._accounts.values():
            account.settle()

    def hits(self, type: str) -> int:
        """Tasks of a type that older ones answer for."""
        account = self._accounts.get(type)
        return 0 if account is None else account.hits

    def of(self, type: str) -> Account:
        """Where to count what happens to tasks of a type."""
        account = self._accounts.get(type)
        if account is None:
            path = (POOL, *parents(type))
            nodes = [self.nodes.setdefault(name, Figures()) for name in path]
            times = [self.times.setdefault(name, Times()) for name in path[:2]]
            account = self._accounts[type] = Account(nodes, times)
        return account


def queued_since(row: Row) -> float:
    """Since when a queued task waits, by the wall clock: queued again, or sent, or due later."""
    if row.queued_at is not None:
        return row.queued_at
    options = row.options
    if options is None:
        return row.sent_at
    if options.get("delay"):
        return row.sent_at + options["delay"]
    return max(row.sent_at, options.get("at") or row.sent_at)
