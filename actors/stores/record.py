"""A task as the store in memory keeps it: all its columns in a list, and where each of them stands."""

from __future__ import annotations

from typing import Any, Final

from ..core.rows import COLUMNS

NAMES: Final = (*COLUMNS, "finish", "ended_at", "slot", "result", "detail")
LANE: Final = NAMES.index("lane")
PARAMS: Final = NAMES.index("params")
RESULT: Final = NAMES.index("result")
STATE: Final = NAMES.index("state")

Record = list[Any]
"""A task: the values of `NAMES`. Never changed in place, so that a turn can be undone."""
