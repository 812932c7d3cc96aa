"""A task's own value (params, result) in what JSON can hold. Pure; Python 3.9 and the standard library suffice here."""

from __future__ import annotations

import base64
import math
from datetime import datetime, timezone
from typing import Any, cast

_UTC = timezone.utc  # noqa: UP017 -- datetime.UTC is not in Python 3.9


def json_value(value: Any) -> Any:
    """The same value with nothing in it that JSON has no word for.

    Datetimes become ISO 8601 text in UTC (`2026-01-31T12:00:00Z`), bytes `{"base64": text}`, infinite floats text.
    """
    if isinstance(value, dict):
        return {str(key): json_value(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in cast("list[Any]", value)]
    if isinstance(value, datetime):
        return value.astimezone(_UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
