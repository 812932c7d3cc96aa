"""How limits are written and what they mean: `10/s`, `10000/day`, the numbers of a breaker. Plain data, no clock.

A rate counts by a clock that never jumps, a quota by the wall clock of a time zone, where days and hours of daylight
saving are what they are there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from .durations import seconds

RATE_MAX: Final = 1_000_000
CACHED_MAX: Final = 1_000_000
"""Results of a type that answer for further tasks at most, where nothing smaller is set."""
_RATE_UNITS: Final = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0}
_QUOTA_UNITS: Final = ("hour", "day", "month")
_QUOTA_MAX: Final = 1_000_000_000_000
_COUNT: Final = re.compile(r"([0-9]{1,15})\s*/\s*([a-z]+)\Z")
_TIME: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])\Z")
_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?)\s*%\Z")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` grants in any window of `seconds`."""

    count: int
    seconds: float

    def written(self) -> str:
        """As a configuration says it."""
        unit = next((name for name, length in _RATE_UNITS.items() if length == self.seconds), f"{self.seconds:g}s")
        return f"{self.count}/{unit}"


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `limit` units from one reset to the next.

    Attributes:
        limit: Units; a task costs as many as its worker says, one if it says nothing.
        per: `hour`, `day` or `month`.
        resets: (hour, minute) of the reset; of an hour's only the minute counts, a month's is on its first day.
        zone: Whose clock that is.
    """

    limit: int
    per: str = "day"
    resets: tuple[int, int] = (0, 0)
    zone: str = "UTC"

    def written(self) -> str | dict[str, Any]:
        """As a configuration says it."""
        if (self.resets, self.zone) == ((0, 0), "UTC"):
            return f"{self.limit}/{self.per}"
        hour, minute = self.resets
        return {"limit": self.limit, "per": self.per, "resets": f"{hour:02}:{minute:02}", "zone": self.zone}

    def period(self, wall: float) -> tuple[float, float]:
        """The resets around an instant: the last one not after it, and the next. Seconds since the epoch."""
        local = datetime.fromtimestamp(wall, ZoneInfo(self.zone))
        if self.per == "hour":
            ahead = (local.utcoffset() or timedelta()).total_seconds() - 60 * self.resets[1]
            start = math.floor((wall + ahead) / 3600) * 3600 - ahead
            return start, start + 3600
        first = local if self.per == "day" else local.replace(day=1)
        start = self._reset(first, 0)
        if start > wall:
            return self._reset(first, -1), start
        steps = 1
        while (end := self._reset(first, steps)) <= wall:  # only where a whole day was left out of a calendar
            start, steps = end, steps + 1
        return start, end

    def _reset(self, local: datetime, steps: int) -> float:
        """The reset of the day or month that is so many after that of `local`.

        A time that daylight saving leaves out is taken as if it had not begun; of two that look alike, the first.
        """
        hour, minute = self.resets
        if self.per == "day":
            date = local.date() + timedelta(days=steps)
        else:
            months = local.year * 12 + local.month - 1 + steps
            date = local.date().replace(year=months // 12, month=months % 12 + 1, day=1)
        return datetime(date.year, date.month, date.day, hour, minute, tzinfo=local.tzinfo).timestamp()


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a node stops taking tasks because too many of them fail.

    Attributes:
        failures: The share of ends from which on it opens, 0 to 1.
        window: Seconds over which ends are counted.
        at_least: Ends below which their share means nothing.
        cool_off: Seconds until the first probe; longer each time that a probe fails.
    """

    failures: float = 0.5
    window: float = 60.0
    at_least: int = 10
    cool_off: float = 30.0

    def written(self) -> dict[str, Any]:
        """As a configuration says it."""
        return {
            "failures": f"{100 * self.failures:g}%",
            "window": self.window,
            "at_least": self.at_least,
            "cool_off": self.cool_off,
        }


@dataclass(frozen=True, slots=True)
class Cache:
    """Whose results answer for further tasks of their type with the same params.

    Attributes:
        ttl: Seconds since they completed, after which they do not.
        count: How many of each type do at most; the oldest go first.
    """

    ttl: float
    count: int = CACHED_MAX

    def written(self) -> dict[str, Any]:
        """As a configuration says it."""
        return {"ttl": self.ttl, "count": self.count}


def rate(value: Any) -> Rate:
    """A rate from its text.

    Raises:
        ValueError: It is none; the message says what would be one.
    """
    if isinstance(value, Rate):
        return value
    found = _COUNT.match(value) if isinstance(value, str) else None
    if found is None or found[2] not in _RATE_UNITS:
        message = "is not a rate; write 10/s, 600/min, 5000/h or 100/day"
        raise ValueError(message)
    if not 1 <= int(found[1]) <= RATE_MAX:
        message = f"is out of range; a rate is from 1 to {RATE_MAX} tasks in its window (`pause` stops a type)"
        raise ValueError(message)
    return Rate(int(found[1]), _RATE_UNITS[found[2]])


def quota(value: Any) -> Quota:
    """A quota from its text, or from a mapping of `limit`, `per`, `resets` and `zone`.

    Raises:
        ValueError: It is none; the message says what would be one.
    """
    if isinstance(value, Quota):
        return value
    found = _COUNT.match(value) if isinstance(value, str) else None
    if found is not None:
        value = {"limit": int(found[1]), "per": found[2]}
    given = _mapping(value, ("limit", "per", "resets", "zone"), "10000/day, or {limit: 10000, per: day, resets: 00:00}")
    limit, per, zone = given.get("limit"), given.get("per", "day"), given.get("zone", "UTC")
    if type(limit) is not int or not 1 <= limit <= _QUOTA_MAX:
        message = "limit: is not a number of units; write limit: 10000"
        raise ValueError(message)
    if per not in _QUOTA_UNITS:
        message = "per: is not a period; write hour, day or month"
        raise ValueError(message)
    time = given.get("resets", "00:00")
    at = _TIME.match(time) if isinstance(time, str) else None
    if at is None:
        message = 'resets: is not a time of day; write resets: "00:00"'
        raise ValueError(message)
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, TypeError, OSError):  # also where the system knows no zones at all
        message = (
            f"zone: {zone!r} is no time zone that is known here; write Europe/Berlin or UTC "
            "(a system without time zones needs `pip install tzdata`)"
        )
        raise ValueError(message) from None
    return Quota(limit, per, (int(at[1]), int(at[2])), zone)


def breaker(value: Any) -> Breaker | None:
    """A breaker from its mapping; None for `off`.

    Raises:
        ValueError: It is none; the message says what would be one.
    """
    if value is None or isinstance(value, Breaker):
        return value
    if value in ("off", False):
        return None
    names = ("failures", "window", "at_least", "cool_off")
    given = _mapping(value, names, "off, or {failures: 50%, window: 1m, at_least: 10, cool_off: 30s}")
    known = Breaker()
    at_least = given.get("at_least", known.at_least)
    if type(at_least) is not int or not 1 <= at_least <= RATE_MAX:
        message = "at_least: is not a number of tasks; write at_least: 10"
        raise ValueError(message)
    share = _share(given["failures"]) if "failures" in given else known.failures
    lengths: dict[str, float] = {}
    for name in ("window", "cool_off"):
        try:
            lengths[name] = seconds(given[name]) if name in given else getattr(known, name)
        except ValueError as error:
            message = f"{name}: {error}"
            raise ValueError(message) from None
    return Breaker(share, lengths["window"], at_least, lengths["cool_off"])


def cache(value: Any) -> Cache | None:
    """A cache from its mapping; None for `off`.

    Raises:
        ValueError: It is none; the message says what would be one.
    """
    if value is None or isinstance(value, Cache):
        return value
    if value in ("off", False):
        return None
    given = _mapping(value, ("ttl", "count"), "off, or {ttl: 1h}, or {ttl: 1h, count: 10000}")
    if "ttl" not in given:
        message = "ttl: is missing; write {ttl: 1h}: how long a result answers"
        raise ValueError(message)
    count = given.get("count", CACHED_MAX)
    if type(count) is not int or not 1 <= count <= CACHED_MAX:
        message = f"count: is not a number of results from 1 to {CACHED_MAX}; write count: 10000"
        raise ValueError(message)
    try:
        return Cache(seconds(given["ttl"]), count)
    except ValueError as error:
        message = f"ttl: {error}"
        raise ValueError(message) from None


def _share(value: Any) -> float:
    found = _SHARE.match(value) if isinstance(value, str) else None
    share: Any = float(found[1]) / 100 if found else value
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        message = "failures: is not a share; write failures: 50%"
        raise ValueError(message)
    return float(share)


def _mapping(value: Any, names: tuple[str, ...], example: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        message = f"is not understood; write {example}"
        raise ValueError(message)
    given = dict(cast("Mapping[str, Any]", value))
    if unknown := [str(key) for key in given if key not in names]:
        message = f"{unknown[0]}: is an unknown key; known are {', '.join(names)}"
        raise ValueError(message)
    return given
