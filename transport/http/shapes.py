"""What answers look like, as JSON Schema, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from ..messages import STATES


def object_of(*required: str, **properties: Any) -> dict[str, Any]:
    """An object that has all of `required`, and perhaps more of `properties`."""
    known = {name: properties.get(name, {}) for name in (*required, *properties)}
    return {"type": "object", "required": list(required), "properties": known}


def list_of(item: dict[str, Any]) -> dict[str, Any]:
    """An array of such items."""
    return {"type": "array", "items": item}


STATE: Final = {"type": "string", "enum": [state.value for state in STATES]}
INTEGER: Final = {"type": "integer"}
TEXT: Final = {"type": "string"}
ANY: Final = {"type": "object"}
COUNTS: Final = {"type": "object", "additionalProperties": INTEGER}
TASK: Final = object_of(
    "id", "type", "state", "priority", "attempt", "progress", id=INTEGER, type=TEXT, state=STATE, priority=INTEGER
)  # fmt: skip
SHOWN: Final = object_of(
    *TASK["required"], "failures", "crashes", "params", "result", "error", "attempts",
    **{**TASK["properties"], "attempts": list_of({"type": "object"}), "attempts_left_out": INTEGER},
)  # fmt: skip
HOST: Final = object_of("name", "state", "slots", "running", name=TEXT, state=TEXT, slots=INTEGER, running=INTEGER)
NODE: Final = object_of("type", "queued", "running", "hosts", "paused", type=TEXT, queued=INTEGER, running=INTEGER)
LINE: Final = object_of("attempt", "text", attempt=INTEGER, text=TEXT)
IDS: Final = list_of(INTEGER)
FIGURES: Final = list_of({"type": ["number", "null"]})
PAUSED: Final = object_of("type", "paused", type=TEXT, paused={"type": "boolean"})
TENANT: Final = object_of("tenant", "queued", "running", tenant=TEXT, queued=INTEGER, running=INTEGER)
FLOW: Final = object_of(
    "id", "name", "state", "sent_at", "ended_at", "total", "completed", "failed", "cancelled", "quarantined",
    id=INTEGER, name=TEXT, total=INTEGER, completed=INTEGER, failed=INTEGER, cancelled=INTEGER, quarantined=INTEGER,
    state={"type": "string", "enum": ["open", "running", "completed", "failed", "given up"]},
)  # fmt: skip
DRAWN: Final = object_of("id", "type", "state", id=INTEGER, type=TEXT, state=STATE)
SCHEDULE: Final = object_of(
    "name", "source", "type", "cron", "every", "zone", "catch_up", "priority", "paused", "next", "coming", "task",
    name=TEXT, source={"enum": ["config", "client"]}, type=TEXT, priority=INTEGER, paused={"type": "boolean"},
    coming=list_of(TEXT), task={"type": ["integer", "null"]},
)  # fmt: skip
