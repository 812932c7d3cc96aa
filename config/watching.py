"""What is watched of a pool: the metrics, what of them is an alert, and what is a goal. Plain data, no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from .durations import seconds

POOL: Final = ""
"""The node above all types."""
_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?)\s*%\Z")
_BAND: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?)\s*%?\s*-\s*([0-9]{1,3}(?:\.[0-9]+)?)\s*%\Z")
_NUMBER_MAX: Final = 1_000_000_000_000


class Metric(NamedTuple):
    """Something that can be watched.

    Attributes:
        unit: `count`, `seconds`, `share` or `rate` (per second).
        words: What it is.
        everywhere: Whether nodes have it, too, not only the pool.
    """

    unit: str
    words: str
    everywhere: bool = True


METRICS: Final = {
    "queue_depth": Metric("count", "tasks queued"),
    "running": Metric("count", "tasks running"),
    "oldest_wait": Metric("seconds", "longest wait of a queued task"),
    "task_duration": Metric("seconds", "average time of an attempt"),
    "task_duration_p95": Metric("seconds", "95th percentile of the time of attempts", everywhere=False),
    "wait_time": Metric("seconds", "average wait for the first attempt"),
    "wait_time_p95": Metric("seconds", "95th percentile of the wait for the first attempt", everywhere=False),
    "success_rate": Metric("share", "share of ended tasks that completed"),
    "error_rate": Metric("share", "share of attempts that failed"),
    "throughput": Metric("rate", "tasks that end a second"),
    "rescues": Metric("count", "attempts taken back from lost hosts"),
    "utilisation": Metric("share", "share of slots in use", everywhere=False),
}
"""By name. What is no count of this moment is of the last five minutes."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When an alert is raised.

    Attributes:
        node: Whose metric; `POOL` for the pool's.
        metric: One of `METRICS`.
        above: Raised above the threshold, else below it.
        threshold: In the metric's unit.
        patience: Seconds for which that must have been so.
    """

    node: str
    metric: str
    above: bool
    threshold: float
    patience: float = 0.0

    @property
    def name(self) -> str:
        """As a configuration says it."""
        return f"{self.metric}_{'above' if self.above else 'below'}"

    def clear(self) -> float:
        """Where it is over: a fifth below the threshold, or a quarter above; a share at most half-way to 100 %."""
        if self.above:
            return 0.8 * self.threshold
        least = 1.25 * self.threshold
        return min(least, (1 + self.threshold) / 2) if METRICS[self.metric].unit == "share" else least


@dataclass(frozen=True, slots=True)
class Goal:
    """What a pool should hold.

    Attributes:
        metric: One of `METRICS`.
        least, most: Bounds in the metric's unit; None: none.
    """

    metric: str
    least: float | None = None
    most: float | None = None

    def met(self, value: float | None) -> bool | None:
        """Whether a value holds it; None: it is not known."""
        if value is None:
            return None
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


@dataclass(frozen=True, slots=True)
class Watching:
    """All that is watched."""

    rules: tuple[Rule, ...] = ()
    goals: tuple[Goal, ...] = ()


UNWATCHED: Final = Watching()


def written(metric: str, value: float) -> str:
    """A value of a metric, for people."""
    unit = METRICS[metric].unit
    if unit == "share":
        return f"{100 * value:.3g} %"
    if unit == "seconds":
        return f"{value:.3g} s"
    return f"{value:.3g}/s" if unit == "rate" else f"{value:.0f}"


def threshold(metric: str, value: Any) -> float:
    """A threshold as it is written.

    Raises:
        ValueError: It is none of this metric; the text says what would be one.
    """
    unit = METRICS[metric].unit
    if unit == "seconds":
        return seconds(value)
    if unit == "share":
        return share(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _NUMBER_MAX:
        message = "is not a number; write 100"
        raise ValueError(message)
    return float(value)


def share(value: Any) -> float:
    """A share: `95%` or 0.95.

    Raises:
        ValueError: It is none.
    """
    found = _SHARE.match(value) if isinstance(value, str) else None
    number: Any = float(found[1]) / 100 if found else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
        message = "is not a share; write 95%"
        raise ValueError(message)
    return float(number)


def band(value: Any) -> list[float]:
    """Two shares: `70-90%` or [70%, 90%].

    Raises:
        ValueError: They are none.
    """
    found = _BAND.match(value) if isinstance(value, str) else None
    items: list[Any] = [float(found[1]) / 100, float(found[2]) / 100] if found else []
    if isinstance(value, list | tuple):
        items = list(cast("list[Any]", value))
    if len(items) != 2 or not (both := [share(item) for item in items])[0] <= both[1]:
        message = "is not a range; write 70-90%"
        raise ValueError(message)
    return both
