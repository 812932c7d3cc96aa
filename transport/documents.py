"""What the pool's replies look like in JSON, to `--json` and over HTTP: times as ISO 8601 UTC, durations as seconds.

The replies hold instants as seconds since the epoch and results as packed bytes; here they become what a script reads.
Fields are only ever added.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, cast

from ..workers.json_value import json_value
from ..workers.redaction import redacted

_UTC = timezone.utc  # noqa: UP017 -- `try` shows values in Python 3.9 too

INSTANTS = frozenset(
    {
        "sent_at",
        "due",
        "started_at",
        "ended_at",
        "since",
        "at",
        "joined_at",
        "expires",
        "until",
        "oldest",
        "unique_until",
    }
)
"""Fields that hold seconds since the epoch."""
_OF_RESOURCES = frozenset({"requires", "resources", "in_use"})
"""Fields whose names are people's own: one that is called `at` or `due` is no instant."""


def moment(instant: float) -> str:
    """Seconds since the epoch -> `2026-01-31T12:00:00.250Z`."""
    return datetime.fromtimestamp(instant, _UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant(text: str) -> float:
    """The seconds since the epoch that `moment` made a text of."""
    return datetime.fromisoformat(text).timestamp()


def task(reply: dict[str, Any]) -> dict[str, Any]:
    """The answer to `show` as a document: progress and error by name, params and result as JSON can hold them."""
    document: dict[str, Any] = plain_data({k: v for k, v in reply.items() if k not in _UNPACKED})
    document["params"] = json_value(redacted(reply.get("params")))
    document["result"] = json_value(reply.get("result"))
    document["progress"] = _progress(reply)
    document["error"] = plain_data(reply.get("detail")) if reply["state"] in ENDED_BADLY else None
    return document


def listed(reply: dict[str, Any]) -> dict[str, Any]:
    """One of the tasks that `ls` shows, as a document."""
    return {**plain_data(reply), "progress": _progress(reply)}


def schedule(reply: dict[str, Any]) -> dict[str, Any]:
    """One of the schedules that `schedules` shows, as a document: here `next`, `coming` and `last` are instants."""
    instants = {name: None if reply[name] is None else moment(reply[name]) for name in ("next", "last")}
    return {**plain_data(reply), **instants, "coming": list(map(moment, reply["coming"]))}


def _progress(reply: dict[str, Any]) -> dict[str, Any] | None:
    progress = reply.get("progress")
    return plain_data(dict(zip(("fraction", "note", "at"), progress, strict=False))) if progress else None


_UNPACKED = ("params", "result", "detail", "progress")
ENDED_BADLY = ("failed", "quarantined", "cancelled")
GONE = ("lost", "left")
"""States of hosts that are no more, of which `status` and `hosts` tell for a day."""


def plain_data(value: Any) -> Any:
    """The pool's reply in what JSON can hold: instants as text, and all that `json_value` does."""
    if isinstance(value, dict):
        return {str(key): _field(key, item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(item) for item in cast("list[Any]", value)]
    return json_value(value)


def _field(key: Any, item: Any) -> Any:
    if key in _OF_RESOURCES:
        return json_value(item)
    return moment(item) if key in INSTANTS and isinstance(item, (int, float)) else plain_data(item)
