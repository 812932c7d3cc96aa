"""How a stored flow is shown to people. Pure; the same for every store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...transport.messages import STATES

FLOW_COLUMNS: Final = (
    "flow", "name", "session", "sent_at", "total", "stage", "completed", "failed", "cancelled", "quarantined",
    "ended_at",
)  # fmt: skip
COUNTED_ROWS_MAX: Final = 5000
"""Tasks that one call of `flow` counts: a few milliseconds."""
_STAGES: Final = ("open", "running", "given up")


def flow_view(
    row: tuple[Any, ...],
    parts: Sequence[tuple[int, int, int]] | None = None,
    counts: Mapping[tuple[str, int], int] | None = None,
    start: int = 0,
) -> dict[str, Any]:
    """A flow as `flows` lists it and `flow` shows it.

    Args:
        row: Its columns, in the order of `FLOW_COLUMNS`.
        parts: (start, first, count) of the ids of its tasks.
        counts: How many of the tasks that were counted are of which type and in which state.
        start: The place among its tasks from which to go on counting.
    """
    flow: dict[str, Any] = dict(zip(FLOW_COLUMNS, row, strict=True))
    total, ended_at, stage = flow["total"], flow["ended_at"], _STAGES[int(flow["stage"])]
    if ended_at is not None:
        stage = "completed" if flow["completed"] == total else "failed"
    view: dict[str, Any] = {"id": flow["flow"], "name": flow["name"], "state": stage, "sent_at": flow["sent_at"]}
    view |= {name: flow[name] for name in ("ended_at", "total", "completed", "failed", "cancelled", "quarantined")}
    if parts is not None and counts is not None:
        view["ids"] = [[first, count] for _, first, count in parts]
        by_type: dict[str, Counter[int]] = {}
        for (type, code), count in sorted(counts.items()):
            by_type.setdefault(type, Counter())[code] += count
        view["counts"] = _by_state(sum(by_type.values(), Counter[int]()))
        view["types"] = {type: _by_state(of_type) for type, of_type in by_type.items()}
        view["next"] = start if start < total else None
    return view


def _by_state(counts: Mapping[int, int]) -> dict[str, int]:
    """Counts by the name of the state, those that are not 0."""
    return {state.value: counts[code] for code, state in enumerate(STATES) if code in counts}
