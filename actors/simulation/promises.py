"""What rates and quotas promise, counted from the commits alone: never more grants than any window or period allows.

Times are those of the supervisor's own clock, which never jumps. A store that was put back in time has forgotten what
was granted since, so counting begins anew then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, NamedTuple

from ...config.limits import Quota
from ...config.policy import PolicyTree, tenant_node
from ...config.schedules import plan
from ..core.effects import Persist

PERIOD_SECONDS: Final = 20.0
_GRAIN: Final = 1 / 256
"""Part of its window by which a rate may count grants for longer."""
_LATE_SECONDS: Final = 0.005
"""How much later than it might a task may begin that waits for time alone."""
_KEPT: Final = 1.1


@dataclass(frozen=True, slots=True)
class BriefQuota(Quota):
    """A quota with a period so short that a history has many."""

    def period(self, wall: float) -> tuple[float, float]:
        """See `Quota.period`."""
        start = wall // PERIOD_SECONDS * PERIOD_SECONDS
        return start, start + PERIOD_SECONDS


@dataclass(slots=True)
class _Period:
    """The present period of a node: when it began at the earliest, and its latest grant."""

    start: float
    began: float
    latest: float
    units: int = 0


@dataclass(slots=True)
class _Window:
    grants: deque[tuple[float, int]] = field(default_factory=deque)


class Promises:
    """Grants below each node with a rate or a quota.

    Args:
        policies: What nodes set.
        costs: Units that a task of a type costs, where it is not one.
    """

    def __init__(self, policies: PolicyTree, costs: Mapping[str, int]) -> None:
        self._costs = costs
        self._windows: dict[str, _Window] = {}
        self._periods: dict[str, _Period] = {}
        self._units: dict[str, int] = {}  # of each quota, as they were stored at last
        self._since: float | None = -inf  # from when on all grants are known; None: from the next on
        self.tuned(policies)

    def tuned(self, policies: PolicyTree) -> None:
        """Nodes set something else from now on."""
        tenants = map(tenant_node, policies.tenants)
        self._limits = {path: policies.limits(path) for path in (*policies.nodes, *tenants)}

    def forget(self) -> None:
        """The store was put back: what was granted since is known to nobody."""
        self._windows, self._periods, self._units, self._since = {}, {}, {}, None

    def surely_allow(self, path: str, granted: int, units: int, now: float) -> bool:
        """Whether a node's rate and quota leave room for one task more, with a margin.

        Args:
            path: The node.
            granted: Tasks of it that the present step has granted.
            units: What these and the one cost.
            now: The time, by the supervisor's own clock.
        """
        limits = self._limits.get(path)
        if limits is None:
            return True
        if (rate := limits.rate) is not None:
            first = now - rate.seconds * (1 + _GRAIN) - _LATE_SECONDS
            known = self._windows.get(path, _Window()).grants
            if self._since is None or self._since > first:
                return False
            if granted + sum(count for at, count in known if at >= first) >= rate.count:
                return False
        return limits.quota is None or units + self._units.get(path, limits.quota.limit) <= limits.quota.limit

    def committed(
        self, persist: Persist, lane_of: Callable[[int], tuple[str, tuple[str, ...]]], now: float
    ) -> str | None:
        """Grants are on disk; which promise they broke, if any. `lane_of`: a task's type, and what may bound it."""
        self._since = now if self._since is None else self._since
        self._units.update((path, used) for path, _, used in persist.quotas)
        granted: dict[str, int] = {}
        units: dict[str, int] = {}
        for *_, id in persist.claims:
            type, nodes = lane_of(id)
            for path in nodes:
                granted[path] = granted.get(path, 0) + 1
                units[path] = units.get(path, 0) + self._costs.get(type, 1)
        broken = [self._rate(path, count, now) for path, count in granted.items()]
        starts = {path: start for path, start, _ in persist.quotas}
        broken += [self._quota(path, count, starts, now) for path, count in units.items()]
        return next((text for text in broken if text is not None), None)

    def _rate(self, path: str, count: int, now: float) -> str | None:
        rate = self._limits[path].rate if path in self._limits else None
        if rate is None:
            return None
        window = self._windows.setdefault(path, _Window())
        grants = window.grants
        while grants and grants[0][0] + rate.seconds * _KEPT <= now:
            grants.popleft()
        grants.append((now, count))
        began = sum(count for at, count in grants if at + rate.seconds > now)
        if began > rate.count:
            return f"{began} tasks of {path} began within {rate.seconds:g} s, {rate.count} may"
        return None

    def _quota(self, path: str, units: int, starts: Mapping[str, float], now: float) -> str | None:
        quota = self._limits[path].quota if path in self._limits else None
        if quota is None:
            return None
        if path not in starts:
            return f"units of {path} were used and not stored"
        start, known = starts[path], self._periods.get(path)
        if known is None or start != known.start:
            if known is not None and start < known.start and now - known.began < PERIOD_SECONDS:
                return f"the quota of {path} was given twice within {now - known.began:.3f} s"
            known = self._periods[path] = _Period(start, known.latest if known else -inf, now)
        known.units += units
        known.latest = now
        if known.units > quota.limit:
            return f"{path} used {known.units} units of its quota of {quota.limit}"
        return None


class Seen(NamedTuple):
    """A schedule as the commits tell it: up to which instant it has been seen to, whether it is paused, its plan."""

    last: float
    paused: bool
    written: dict[str, Any]


def instants_missed(persist: Persist, known: dict[str, Seen], lanes: Mapping[int, str], wall: float) -> str | None:
    """What a step sent for schedules is one task for each instant that was due, up to that which it has seen to: a
    queue without room for all takes the first of them.

    Args:
        persist: What the step wrote.
        known: All schedules; is brought up to date.
        lanes: Type by lane.
        wall: What the wall clock shows.
    """
    owed: dict[str, int] = {}
    for name, _, written, last, paused, *_ in persist.schedules:
        before = known.get(name, Seen(last, False, written))
        if last < before.last:
            return f"schedule {name} was seen to up to {last}, and up to {before.last} before"
        if last > before.last and not before.paused:
            wanted = plan(written)
            owed[wanted.type] = owed.get(wanted.type, 0) + sum(due <= last for due in wanted.due(before.last, wall))
        known[name] = Seen(last, bool(paused), written)
    sent: dict[str, int] = {}
    for row in persist.tasks:
        if row[5] == 0:
            sent[lanes[row[1]]] = sent.get(lanes[row[1]], 0) + 1
    return None if owed == sent else f"schedules owed {owed} tasks and sent {sent}"


def overdue(known: Mapping[str, Seen], wall: float) -> str | None:
    """Which schedule has not been seen to up to an instant of the wall clock, if one has not."""
    for name, seen in known.items():
        if not seen.paused and (instants := plan(seen.written).due(seen.last, wall)):
            return f"schedule {name} has not sent for {instants[0]}, it was seen to up to {seen.last}"
    return None
