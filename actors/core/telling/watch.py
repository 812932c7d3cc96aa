"""Whether the pool holds its goals, and what of it is an alert: looked at once a second, raised once, cleared once.

It goes by the counters of `statistics` over the last five minutes and by what stands in the queue now, so it works
without any monitor; a monitor only carries the news further. Reads the queue, changes nothing of it.
"""

from __future__ import annotations

from math import inf
from typing import Any, Final

from ....config.watching import METRICS, POOL, Goal, Rule, Watching, written
from ..hosts.hosts import Hosts
from ..order.lane import Lane
from ..queue import Queue
from ..rows import QUEUED, RUNNING
from ..step import Step
from .windows import NOTHING, Growth, Series, Source, Totals, quantile, totals

LOOK_SECONDS: Final = 1.0
WINDOW: Final = "5m"
_GAP_SECONDS: Final = 10.0
_SOURCE: Final[Source] = (1,)  # this supervisor, which is never another
_GOALS: Final = {
    "task_duration": "average time of an attempt at most {most}",
    "success_rate": "at least {least} of ended tasks completed",
    "queue_depth": "at most {most} tasks queued",
    "utilisation": "{least} to {most} of the slots in use",
    "oldest_wait": "no task queued for longer than {most}",
}


class Watch:
    """What is watched, and what was found.

    Args:
        queue: Looked at.
        hosts: Looked at.
        watching: What to look for.
        high: Queued tasks above which a warning is due at once; None: any number is right.
        now: The time.

    Attributes:
        deep_since: When the queue became deeper than `high`, by the wall clock; None: it is not.
    """

    def __init__(self, queue: Queue, hosts: Hosts, watching: Watching, high: int | None, now: float) -> None:
        self._queue, self._hosts, self._watching = queue, hosts, watching
        self._high = high
        self.deep_since: float | None = None
        self._series: dict[str, Series] = {}
        self._raised: dict[Rule, dict[str, Any]] = {}
        self._suspected: dict[Rule, float] = {}
        self._looked = now
        self.watch_for(watching, high)
        for series in self._series.values():
            series.take(_SOURCE, NOTHING, now)  # all counters begin now; for who is watched later, at the first look

    def watch_for(self, watching: Watching, high: int | None) -> None:
        """Something else is watched from now on; what is raised and still watched stays raised."""
        self._watching, self._high = watching, high
        self.deep_since = self.deep_since if high is not None else None
        nodes = {POOL, *(rule.node for rule in watching.rules)}
        self._series = {node: self._series.get(node) or Series() for node in nodes}
        self._raised = {rule: alert for rule, alert in self._raised.items() if rule in watching.rules}
        self._suspected = {rule: since for rule, since in self._suspected.items() if rule in watching.rules}

    def look_at_depth(self, step: Step) -> None:
        """The seed's one alert: raised above the threshold, cleared at four fifths of it, whenever a count changes."""
        high = self._high
        if high is None:
            return
        depth = self._queue.lanes.total(QUEUED)
        if depth > high and self.deep_since is None:
            self.deep_since = step.wall
            step.note("warning", "queue_depth_high", queued=depth, threshold=high)
        elif self.deep_since is not None and depth <= high * 0.8:
            self.deep_since = None
            step.note("info", "queue_depth_normal", queued=depth, threshold=high)

    def next_time(self) -> float:
        """When the next look is due: a goal is looked at when somebody asks, an alert is to come by itself."""
        return self._looked + LOOK_SECONDS if self._watching.rules else inf

    def wake(self, step: Step) -> None:
        """Look at everything, if it is time."""
        passed = step.now - self._looked
        if passed < LOOK_SECONDS:
            return
        self._looked = step.now
        self._count(step.now, passed if passed <= _GAP_SECONDS else 0.0)
        for rule in self._watching.rules:
            self._judge(step, rule)

    def _count(self, now: float, passed: float) -> None:
        lanes = self._queue.lanes
        lanes.statistics.settle()
        for node, series in self._series.items():
            figures, lived = lanes.statistics.nodes.get(node), NOTHING
            if node == POOL:
                slots = sum(
                    count for host in self._hosts.by_owner.values() if host.alive() for _, count in host.offer.slots
                )
                lived = Totals(busy=min(lanes.total(RUNNING), slots) * passed, able=slots * passed)
            counted = {} if figures is None else figures.shown()
            if (times := lanes.statistics.times.get(node)) is not None:
                counted |= {"durations": times.durations, "waits": times.waits}
            series.take(_SOURCE, totals(counted), now, lived=lived)

    def _judge(self, step: Step, rule: Rule) -> None:
        value = self._value(rule.metric, rule.node, step)
        alert = self._raised.get(rule)
        if alert is None:
            wrong = value is not None and (value > rule.threshold if rule.above else value < rule.threshold)
            since = self._suspected.setdefault(rule, step.now) if wrong else None
            if value is None or since is None:
                self._suspected.pop(rule, None)
            elif step.now - since >= rule.patience:
                del self._suspected[rule]
                self._raise(step, rule, value)
            return
        if value is None or (value <= rule.clear() if rule.above else value >= rule.clear()):
            del self._raised[rule]
            step.note("info", "alert_cleared", alert=rule.name, node=rule.node, value=value, threshold=rule.threshold)
        else:
            alert["value"] = value

    def _raise(self, step: Step, rule: Rule, value: float) -> None:
        whose = f"{rule.node}: " if rule.node != POOL else ""
        side = "above" if rule.above else "below"
        words, limit = METRICS[rule.metric].words, written(rule.metric, rule.threshold)
        self._raised[rule] = {
            "metric": rule.metric,
            "name": rule.name,
            "node": rule.node,
            "threshold": rule.threshold,
            "value": value,
            "since": step.wall,
            "text": f"{whose}{words} {side} {limit} ({written(rule.metric, value)} when it was raised)",
        }
        step.note("warning", "alert_raised", alert=rule.name, node=rule.node, value=value, threshold=rule.threshold)

    # Metrics.

    def _value(self, metric: str, node: str, step: Step) -> float | None:
        """What a metric is now; None: not known, nothing happened that it could go by."""
        if metric == "queue_depth":
            return self._standing(node, QUEUED)
        if metric == "running":
            return self._standing(node, RUNNING)
        if metric == "oldest_wait":
            waits = [since for lane in self._lanes(node) if lane.counts[QUEUED] and (since := lane.window.oldest())]
            return max(0.0, step.wall - min(waits)) if waits else 0.0
        return _of(metric, self._series[node].over(WINDOW, step.now))

    def _lanes(self, node: str) -> list[Lane]:
        lanes = self._queue.lanes
        return list(lanes.by_number.values()) if node == POOL else lanes.tree.below(node)

    def _standing(self, node: str, state: int) -> int:
        if node == POOL:
            return self._queue.lanes.total(state)
        return sum(lane.counts[state] for lane in self._lanes(node))

    # Telling.

    def alerts(self) -> list[dict[str, Any]]:
        """Those that are raised, the oldest first."""
        alerts = [dict(alert) for alert in self._raised.values()]
        if self.deep_since is not None:
            depth, high = self._queue.lanes.total(QUEUED), self._high
            alert = {"metric": "queue_depth", "name": "queue_depth_high", "node": POOL, "threshold": high}
            text = f"{depth} tasks queued, above {high}"
            alerts.append({**alert, "value": depth, "since": self.deep_since, "text": text})
        return sorted(alerts, key=lambda alert: alert["since"])

    def objectives(self, step: Step) -> list[dict[str, Any]]:
        """Each goal, with what it is now."""
        return [_goal(goal, self._value(goal.metric, POOL, step)) for goal in self._watching.goals]

    def empty_in(self, step: Step) -> float | None:
        """Seconds until nothing is queued, if all goes on as in the last five minutes; None: never, or not known."""
        return self._series[POOL].over(WINDOW, step.now).empty_in(self._queue.lanes.total(QUEUED))

    def told(self, step: Step) -> dict[str, Any]:
        """What `status` and `snapshot` say of it."""
        return {"objectives": self.objectives(step), "alerts": self.alerts(), "empty_in": self.empty_in(step)}


def _of(metric: str, growth: Growth) -> float | None:
    if metric == "task_duration":
        return growth.duration()
    if metric == "task_duration_p95":
        return quantile(growth.of.durations, 0.95)
    if metric == "wait_time":
        return growth.wait()
    if metric == "wait_time_p95":
        return quantile(growth.of.waits, 0.95)
    if metric == "success_rate":
        return growth.success()
    if metric == "error_rate":
        return growth.errors()
    if metric == "throughput":
        return growth.per_second()
    return growth.of.rescued if metric == "rescues" else growth.utilisation()


def _goal(goal: Goal, value: float | None) -> dict[str, Any]:
    bounds = {"least": goal.least, "most": goal.most}
    said = {name: written(goal.metric, bound) for name, bound in bounds.items() if bound is not None}
    return {
        "name": goal.metric,
        "text": _GOALS[goal.metric].format(**said),
        "unit": METRICS[goal.metric].unit,
        "target": bounds,
        "value": value,
        "met": goal.met(value),
    }
