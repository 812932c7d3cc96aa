"""Schedules on a client's side: what a caller wrote, checked, as ADMIN `schedule` carries it; and what comes next of
one that the pool has told of.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

from ..workers import values
from ..workers.errors import InvalidTask
from .terms import terms

PARAMS_BYTES_MAX: Final = 16 * 1024
COMING: Final = 5
"""Instants of a schedule that are told ahead."""


def scheduled(
    type: str, params: Any, cron: str | None, every: Any, zone: str, catch_up: str, **sending: Any
) -> dict[str, Any]:
    """The plan of a schedule.

    Raises:
        InvalidTask, TooLarge: Something in it is wrong; `path` says what.
    """
    from ..config.schedules import plan  # needs cronsim, which sending a task does not

    agreed = terms(type, **sending)
    packed = values.pack(params, limit=PARAMS_BYTES_MAX)
    order: dict[str, Any] = {
        "type": agreed.type,
        "params": packed,
        "cron": cron,
        "every": every.total_seconds() if isinstance(every, timedelta) else every,
        "zone": zone,
        "catch_up": catch_up,
        "priority": agreed.priority,
        "options": agreed.options,
    }
    try:
        return plan(order).written()
    except ValueError as error:
        raise InvalidTask(str(error), str(error).partition(":")[0]) from None


def told(page: dict[str, Any]) -> dict[str, Any]:
    """An answer to QUERY `schedules`, each with its next instants as `coming`."""
    return {**page, "schedules": list(map(with_coming, page["schedules"]))}


def with_coming(schedule: dict[str, Any]) -> dict[str, Any]:
    """A schedule as the pool tells of it, with its next instants as `coming`: the first is its `next`."""
    when = schedule["cron"], schedule["every"], schedule["zone"]
    return {**schedule, "coming": [] if schedule["next"] is None else list(_coming(*when, schedule["next"]))}


@lru_cache(maxsize=10_000)
def _coming(cron: str | None, every: float | None, zone: str, first: float) -> tuple[float, ...]:
    """Remembered, for a dashboard asks again and again and a calendar takes its time."""
    from ..config.schedules import Timing

    try:
        return first, *Timing(cron, every, zone).coming(first, COMING - 1)
    except (LookupError, ValueError, OSError):  # a zone that only the supervisor knows
        return (first,)
