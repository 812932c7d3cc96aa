"""What `--json` prints: one document per command."""

from __future__ import annotations

import json
import sys
from typing import Any

from ..transport.documents import ENDED_BADLY, INSTANTS, instant, listed, moment, plain_data, schedule, task

__all__ = [
    "ENDED_BADLY",
    "INSTANTS",
    "instant",
    "line",
    "listed",
    "moment",
    "plain_data",
    "schedule",
    "show",
    "task",
]


def line(value: Any) -> str:
    """One line of JSON, in ASCII where stdout cannot show more."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(value, ensure_ascii=not unicode, allow_nan=False)


def show(value: Any) -> None:
    """Print one document on stdout."""
    print(line(value), flush=True)
