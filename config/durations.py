"""Durations as people write them: seconds, or `500ms 30s 5m 2h 1d`. Needs the standard library alone."""

from __future__ import annotations

import re
from typing import Any, Final

DURATION_SECONDS_MAX: Final = 3650 * 86400.0
"""Ten years: beyond any wait that is meant, and far from where float seconds lose their milliseconds."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?\Z")


def seconds(value: Any) -> float:
    """Seconds from a number or a text with a unit.

    Raises:
        ValueError: It is neither, not above zero, or beyond ten years.
    """
    found = _DURATION.match(value) if isinstance(value, str) else None
    if found:
        value = float(found[1]) * _UNITS[found[2] or "s"]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        message = "is not a duration; write seconds or 500ms, 30s, 5m, 2h, 1d"
        raise ValueError(message)
    if not 0 < value <= DURATION_SECONDS_MAX:  # which no infinity is, nor what is no number
        message = "is out of range; a duration is above zero and at most 3650d"
        raise ValueError(message)
    return float(value)
