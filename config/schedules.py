"""What is sent again and again: which task, and at which instants. Plain data; reads no clock, it is given the time.

The instants of a schedule follow from what it says alone, not from when it was made: those of `cron` are the minutes
that its five fields name by a zone's clock, those of `every` the multiples of its period since 1970 in UTC.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from .durations import seconds

CATCH_UP: Final = ("none", "last", "all")
CAUGHT_UP_MAX: Final = 100
"""Instants that `all` makes up for: the latest."""
LATE_SECONDS: Final = 60.0
"""An instant that is later than this was missed."""
NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
EVERY_SECONDS_MIN: Final = 1.0
OPTIONS: Final = ("timeout", "max_attempts", "tags", "tenant", "requires")
"""Options of SUBMIT that tasks of a schedule may have."""
_FIELDS: Final = 5
_WINDOW_SECONDS: Final = 6000.0
_GROWTH: Final = 4


@dataclass(frozen=True, slots=True)
class Timing:
    """When: `cron` in a zone, or `every` so many seconds.

    Attributes:
        cron: Five fields: minute, hour, day of month, month, day of week; or None.
        every: Seconds, or None.
        zone: Whose clock the fields mean.
    """

    cron: str | None = None
    every: float | None = None
    zone: str = "UTC"

    def after(self, wall: float) -> float:
        """The first instant after another; `inf`: there is none. Seconds since the epoch."""
        if self.every is not None:
            number = math.floor(wall / self.every) + 1
            return next(instant for n in (number, number + 1) if (instant := n * self.every) > wall)
        return next(self._minutes(wall), math.inf)

    def coming(self, wall: float, count: int) -> list[float]:
        """The first instants after another, at most so many."""
        found: list[float] = []
        while len(found) < count and (wall := self.after(wall)) < math.inf:
            found.append(wall)
        return found

    def due(self, after: float, wall: float, most: int) -> list[float]:
        """The latest instants after one and up to another, in order, at most so many."""
        if self.every is not None:
            last = math.floor(wall / self.every)
            first = max(math.floor(after / self.every), last - most + 1)
            return [instant for n in range(first, last + 1) if after < (instant := n * self.every) <= wall][-most:]
        window = _WINDOW_SECONDS
        while True:
            start = max(after, wall - window)
            found = deque[float](maxlen=most)
            for instant in self._minutes(start):
                if instant > wall:
                    break
                found.append(instant)
            if len(found) == most or start <= after:
                return list(found)
            window *= _GROWTH

    def _minutes(self, wall: float) -> Iterator[float]:
        """What `cron` names after an instant.

        As in Debian's cron: a fixed time that daylight saving leaves out comes when the clock goes on, one that it
        repeats comes once; where the minute or the hour begins with `*` each instant counts.
        """
        last = wall
        for local in CronSim(self.cron or "", datetime.fromtimestamp(math.floor(wall), ZoneInfo(self.zone))):
            instant = local.timestamp()
            if instant > last:
                last = instant
                yield instant


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule: what it sends, and when.

    Attributes:
        type: Of its tasks.
        params: Of each, packed.
        timing: When.
        catch_up: What becomes of instants that were missed (nobody was there, or there was no room): `none` of them
            counts, the `last`, or `all` up to `CAUGHT_UP_MAX`.
        priority: Of its tasks.
        options: As SUBMIT has them, of `OPTIONS`; or None.
    """

    type: str
    params: bytes
    timing: Timing
    catch_up: str = "last"
    priority: int = 5
    options: Mapping[str, Any] | None = None

    def due(self, after: float, wall: float) -> list[float]:
        """The instants after one and up to another for which a task is sent."""
        found = self.timing.due(after, wall, CAUGHT_UP_MAX if self.catch_up == "all" else 1)
        return [instant for instant in found if self.catch_up != "none" or wall - instant <= LATE_SECONDS]

    def written(self) -> dict[str, Any]:
        """As it is stored, and sent."""
        return {
            "type": self.type,
            "params": self.params,
            "cron": self.timing.cron,
            "every": self.timing.every,
            "zone": self.timing.zone,
            "catch_up": self.catch_up,
            "priority": self.priority,
            "options": None if self.options is None else dict(self.options),
        }


def timing(cron: Any, every: Any, zone: Any) -> Timing:
    """When, from what a person wrote.

    Raises:
        ValueError: Something is wrong; the message begins with its name.
    """
    if cron is not None and every is not None:
        message = "cron: or `every` says when; both were given, leave one of the two out"
        raise ValueError(message)
    if cron is None and every is None:
        message = 'cron: or `every` must say when; write one of the two: cron: "0 3 * * *", or every: 5m'
        raise ValueError(message)
    if every is not None:
        if zone != "UTC":
            message = "zone: goes with `cron`; `every` counts seconds, whatever the clock on the wall says"
            raise ValueError(message)
        try:
            period = seconds(every)
        except ValueError as error:
            message = f"every: {error}"
            raise ValueError(message) from None
        if period < EVERY_SECONDS_MIN:
            message = "every: is too often; write 1s or more"
            raise ValueError(message)
        return Timing(every=period)
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, TypeError, AttributeError, OSError):  # also where the system knows no zones at all
        message = (
            f"zone: {zone!r:.100} is no time zone that is known here; write Europe/Berlin or UTC "
            "(a system without time zones needs `pip install tzdata`)"
        )
        raise ValueError(message) from None
    return Timing(cron=_cron(cron), zone=zone)


def _cron(text: Any) -> str:
    if not isinstance(text, str) or len(text) > 200 or len(text.split()) != _FIELDS:
        message = 'cron: must have five fields: minute, hour, day of month, month, day of week; write "0 3 * * *"'
        raise ValueError(message)
    try:
        once = next(CronSim(text, datetime(2000, 1, 1)), None)  # noqa: DTZ001 - no zone: whether it ever comes at all
    except (CronSimError, ValueError, AssertionError, TypeError) as error:
        message = f'cron: {text!r} is not understood ({error}); write such as "0 3 * * *" or "*/5 8-18 * * MON-FRI"'
        raise ValueError(message) from None
    if once is None:
        message = f"cron: {text!r} never comes; look at its day and month"
        raise ValueError(message)
    return " ".join(text.split())


def plan(given: Any) -> Plan:
    """A schedule from what was sent or stored, except that type, priority and options are as a SUBMIT's: unchecked.

    Raises:
        ValueError: Something is wrong; the message begins with its name.
    """
    known = ("type", "params", "cron", "every", "zone", "catch_up", "priority", "options")
    if not isinstance(given, dict) or not set(cast("dict[Any, Any]", given)) <= set(known):
        message = f"schedule: a mapping of {', '.join(known)} is needed"
        raise ValueError(message)
    values = cast("dict[str, Any]", given)
    catch_up = values.get("catch_up", "last")
    if catch_up not in CATCH_UP:
        message = f"catch_up: is one of {', '.join(CATCH_UP)}"
        raise ValueError(message)
    options = values.get("options")
    if options is not None and (not isinstance(options, dict) or not set(cast("Any", options)) <= set(OPTIONS)):
        message = f"options: tasks of a schedule may have {', '.join(OPTIONS)}"
        raise ValueError(message)
    when = timing(values.get("cron"), values.get("every"), values.get("zone", "UTC"))
    params, priority = values.get("params", b""), values.get("priority", 5)
    return Plan(cast("str", values.get("type")), params, when, catch_up, priority, cast("Any", options) or None)
