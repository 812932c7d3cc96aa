"""What a caller wrote about a schedule, checked, as ADMIN `schedule` carries it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from ..workers import values
from ..workers.errors import InvalidTask
from .terms import terms

PARAMS_BYTES_MAX: Final = 16 * 1024


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
