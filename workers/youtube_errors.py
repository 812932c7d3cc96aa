"""What an error of the YouTube Data API means for a task and for everybody else who uses the same key. Pure.

403 quotaExceeded, dailyLimitExceeded        quota, until midnight in California, when YouTube counts anew
403 rateLimitExceeded, 429                   transient, after the Retry-After that came with it
400 keyInvalid, 401, 403 accessNotConfigured auth: the key is wrong, revoked or not allowed here
408, 5xx                                     transient
everything else (404, 403 forbidden ...)     permanent: this task asks for what it cannot have
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, time, timedelta, timezone, tzinfo
from typing import Any, Final, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .errors import Fail
from .service import retry_after, text_of

QUOTA: Final = frozenset({"quotaExceeded", "dailyLimitExceeded"})
RATE: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"})
KEY: Final = frozenset({
    "keyInvalid", "keyExpired", "API_KEY_INVALID", "accessNotConfigured", "SERVICE_DISABLED", "ipRefererBlocked",
    "API_KEY_SERVICE_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED", "CONSUMER_INVALID",
    "CONSUMER_SUSPENDED", "authError", "required",
})  # fmt: skip
"""Reasons that speak of the key, as Google's APIs name them in `errors` (camel case) and in `details`."""


def fail_of(status: int, headers: Mapping[str, Any], content: bytes, wall: float) -> Fail:
    """The failure that an answer of the service means.

    Args:
        status: The HTTP status, not 2xx.
        headers: Of the answer.
        content: Its body; JSON as the service documents it, or anything.
        wall: Seconds since the epoch.
    """
    message, reasons = _error_in(content)
    said = f"YouTube: {text_of(message)} (HTTP {status}{''.join(f', {reason}' for reason in sorted(reasons))})"
    if reasons & QUOTA:
        return Fail(said, kind="quota", after=seconds_until_reset(wall))
    if status in (408, 429) or status >= 500 or reasons & RATE:
        return Fail(said, kind="transient", after=retry_after(headers))
    if status == 401 or reasons & KEY:
        return Fail(f"{said}; see to $YOUTUBE_API_KEY, then resume", kind="auth")
    return Fail(said, kind="permanent")


def seconds_until_reset(wall: float) -> float:
    """How long until the service counts its quota anew: at midnight, Pacific Time."""
    try:
        zone: tzinfo = ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:  # a machine without the time zone database
        zone = timezone(timedelta(hours=-8))
    tomorrow = datetime.fromtimestamp(wall, zone).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), zone).timestamp() - wall


def _error_in(content: bytes) -> tuple[Any, frozenset[str]]:
    """The message and all reasons in the body of an error, whatever it is."""
    try:
        error: Any = json.loads(content)["error"]
        message: Any = error["message"]
        details = [*error.get("errors", ()), *error.get("details", ())]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", frozenset()
    found = [cast("dict[str, Any]", one).get("reason") for one in details if isinstance(one, dict)]
    return message, frozenset(reason for reason in found if isinstance(reason, str) and reason.isidentifier())
