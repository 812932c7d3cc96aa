"""A task as the store in memory keeps it: all its columns in a list, and where each of them stands."""

from __future__ import annotations

from typing import Any, Final

from ..core.rows import COLUMNS

NAMES: Final = (*COLUMNS, "finish", "ended_at", "slot", "result", "detail")
(
    ID, LANE, PRIORITY, PLACE, STATE, SESSION, FENCE, ATTEMPT, FAILURES, CRASHES, LOSSES, RELEASES, SENT_AT, DUE,
    RELATIVE, OWNER, STARTED_AT, OPTIONS, PARAMS, FINISH, ENDED_AT, SLOT, RESULT, DETAIL,
) = range(len(NAMES))  # fmt: skip

Record = list[Any]
"""A task: the values of `NAMES`. Never changed in place, so that a turn can be undone."""
