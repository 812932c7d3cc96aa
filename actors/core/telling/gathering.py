"""What a monitor makes of snapshots: windows of the pool, of each node and each host, and the last hour in points.

Pure: snapshots go in, what is shown comes out. Its clock is the snapshots' own: it runs evenly, over restarts of the
supervisor, and no jump of the wall clock is seen in it. Memory is bounded: nodes and hosts that nobody tells of any
more are forgotten after an hour.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, NamedTuple

from ..hosts.hosts import SHOWN_ALIVE
from .windows import NOTHING, WINDOWS, Growth, Series, Totals, difference, quantile, totals

POINT_SECONDS: Final = 5.0
POINTS_MAX: Final = 720
"""An hour of them."""
SERIES_MAX: Final = 4000
"""Nodes and hosts that are kept at most, each."""
_GAP_SECONDS: Final = 10.0
"""Between two looks, beyond which nobody knows what was queued and running meanwhile."""
_UNSURE_SECONDS: Final = 600.0
"""After a supervisor's start, until it has seen enough to know that an alert is over."""
_FORGET_SECONDS: Final = 3700.0
_FORM: Final = 1


class Point(NamedTuple):
    """The pool in a few seconds of the past; rates are per second."""

    at: float
    completed: float
    failed: float
    queued: int
    running: int
    duration_p95: float | None


class Gathering:
    """All series of one pool.

    Attributes:
        now: The time, in seconds of the wall clock as it would be had it never been set.
        points: The last hour, oldest first.
        news: Alerts that were raised or cleared, not yet told: (`raised` or `cleared`, alert).
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.points: deque[Point] = deque(maxlen=POINTS_MAX)
        self.news: list[tuple[str, dict[str, Any]]] = []
        self._raised: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {}  # with the epoch that said so
        self._pool = Series()
        self._nodes: dict[str, Series] = {}
        self._hosts: dict[str, Series] = {}
        self._epoch = 0
        self._at = self._wall = 0.0
        self._base: tuple[float, Totals] = (0.0, NOTHING)  # where the point that is being gathered began

    def take(self, snapshot: Mapping[str, Any]) -> None:
        """One more snapshot."""
        epoch, born = int(snapshot["epoch"]), self.now if self._epoch else None
        # What comes into a list that has no room for all may have counted for long.
        node_born = None if epoch == self._epoch and snapshot["nodes_left_out"] else born
        passed = self._pass_time(epoch, snapshot["at"], snapshot["wall"])
        if passed > _GAP_SECONDS:
            passed = 0.0
        pool = snapshot["pool"]
        slots = {host["name"]: host["slots"] for host in snapshot["hosts"] if host["state"] in SHOWN_ALIVE}
        lived = Totals(
            busy=min(pool["running"], sum(slots.values())) * passed,
            able=sum(slots.values()) * passed,
            deep=pool["queued"] * passed,
        )
        self._pool.take((epoch,), totals(pool), self.now, lived=lived, born=born)
        for name, node in snapshot["nodes"].items():
            lived = Totals(busy=node["running"] * passed, deep=node["queued"] * passed)
            series = self._nodes.get(name) or self._nodes.setdefault(name, Series())
            series.take((epoch,), totals(node), self.now, lived=lived, born=node_born)
        for host in reversed(snapshot["hosts"]):  # the latest session of a name is the last to be taken
            name = host["name"]
            if host["state"] not in SHOWN_ALIVE and name in slots:
                continue
            able = slots.get(name, 0)
            lived = Totals(busy=min(host["running"], able) * passed, able=able * passed)
            series = self._hosts.get(name) or self._hosts.setdefault(name, Series())
            series.take((epoch, host["owner"]), totals(host), self.now, lived=lived, born=born)
        self._point(pool)
        self._notice(epoch, snapshot)
        self._forget(self._nodes, snapshot["nodes"])
        self._forget(self._hosts, {host["name"] for host in snapshot["hosts"]})

    def _pass_time(self, epoch: int, at: float, wall: float) -> float:
        """How much time has passed since the last snapshot."""
        if not self._epoch:
            passed = 0.0
            self.now = max(self.now, wall)
        elif epoch == self._epoch and at >= self._at:
            passed = at - self._at
        else:  # another supervisor, perhaps after another start of its machine
            passed = max(0.0, wall - self._wall)
        self.now += passed
        self._epoch, self._at, self._wall = epoch, at, wall
        return passed

    def _point(self, pool: Mapping[str, Any]) -> None:
        begun, base = self._base
        span = self.now - begun
        if begun and span < POINT_SECONDS:
            return
        self._base = self.now, self._pool.total
        if begun:
            grown = difference(self._pool.total, base)
            completed, failed = grown.completed / span, (grown.failed + grown.quarantined) / span
            p95 = quantile(grown.durations, 0.95)
            self.points.append(Point(self._wall, completed, failed, pool["queued"], pool["running"], p95))

    def _notice(self, epoch: int, snapshot: Mapping[str, Any]) -> None:
        """See what was raised and cleared. A supervisor that has just started does not know yet what another raised."""
        now = {(alert["node"], alert["name"]): alert for alert in snapshot.get("alerts", ())}
        for key, alert in now.items():
            if key not in self._raised:
                self.news.append(("raised", alert))
            self._raised[key] = epoch, alert
        for key, (since, alert) in list(self._raised.items()):
            if key not in now and (since == epoch or snapshot["uptime"] > _UNSURE_SECONDS):
                del self._raised[key]
                self.news.append(("cleared", alert))

    def _forget(self, known: dict[str, Series], present: Any) -> None:
        if len(known) <= len(present):
            return
        old = [name for name, one in known.items() if name not in present and one.active < self.now - _FORGET_SECONDS]
        for name in old:
            del known[name]
        if len(known) > SERIES_MAX:
            idlest = sorted(known, key=lambda name: (name in present, known[name].active))
            for name in idlest[: len(known) - SERIES_MAX]:
                del known[name]

    # What is shown.

    def growth(self, window: str) -> Growth:
        """What grew in the pool in a window."""
        return self._pool.over(window, self.now)

    def windows(self) -> dict[str, Any]:
        """By window: the figures of `pool`, and of each of `nodes` and `hosts` in which anything happened."""
        return {
            name: {
                "pool": self._pool.over(name, self.now).shown(),
                "nodes": self._figures(self._nodes, name),
                "hosts": self._figures(self._hosts, name),
            }
            for name in WINDOWS
        }

    def _figures(self, known: Mapping[str, Series], window: str) -> dict[str, Any]:
        now = self.now
        return {name: one.over(window, now).shown() for name, one in known.items() if not one.idle(window, now)}

    # What survives.

    def kept(self) -> dict[str, Any]:
        """All of it as plain data, for `restored`."""
        return {
            "form": _FORM,
            "now": self.now,
            "wall": self._wall,
            "at": self._at,
            "epoch": self._epoch,
            "pool": self._pool.kept(),
            "nodes": {name: one.kept() for name, one in self._nodes.items()},
            "hosts": {name: one.kept() for name, one in self._hosts.items()},
            "points": [list(point) for point in self.points],
            "raised": [[epoch, alert] for epoch, alert in self._raised.values()],
        }

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> Gathering:
        """What `kept` was of.

        Raises:
            ValueError, TypeError, KeyError, IndexError: It is nothing of the kind, or of another version.
        """
        if kept["form"] != _FORM:
            message = f"form {kept['form']!r} is not known"
            raise ValueError(message)
        found = cls()
        found.now, found._wall, found._at = (float(kept[name]) for name in ("now", "wall", "at"))
        if not all(map(isfinite, (found.now, found._wall, found._at))):
            message = "these are no instants"
            raise ValueError(message)
        found._epoch = int(kept["epoch"])
        found._pool = Series.restored(kept["pool"])
        found._nodes = {str(name): Series.restored(one) for name, one in kept["nodes"].items()}
        found._hosts = {str(name): Series.restored(one) for name, one in kept["hosts"].items()}
        found.points.extend(Point(*map(_number, point)) for point in kept["points"])
        for epoch, alert in kept["raised"]:
            found._raised[str(alert["node"]), str(alert["name"])] = int(epoch), dict(alert)
        found._base = found.now, found._pool.total
        return found


def _number(value: Any) -> Any:
    if value is not None and not isinstance(value, int | float):
        message = f"{value!r} is no number"
        raise TypeError(message)
    return value
