"""How a stored task is shown: to clients as an end, to people as a dict. Pure; the same for every store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ...config.policy import parents
from ...config.resources import resources
from ...transport.messages import STATES
from ..core.rows import COMPLETED, FINAL, RUNNING
from ..core.tasks.intake import CLEARED, KEPT

Detail = dict[str, Any] | None
_ERROR_MAX = 500  # characters of an error in a list; `show` has all of it
FIRST_MAX: Final = 20
LATEST_MAX: Final = 200
"""Attempts that `show` has: the first ones and the latest ones. A task may have a million."""

_WHOLE_MAX: Final = 20  # of the latest attempts: what they wrote and their tracebacks take up to 57 KiB each
_LONG: Final = ("output", "traceback")
End = tuple[int, int, int, bytes, Detail]


def end_row(
    id: int, finish: int, state: int, body: bytes | None, detail: Detail, attempt: int, host: str | None
) -> End:
    """What `Replay` and `Ends` feed back: a completed task without detail stays without, it needs no explanation. What
    it wrote is for those who ask.
    """
    if state == COMPLETED and detail is not None:
        detail = {name: value for name, value in detail.items() if name != "output"} or None
    if detail is not None or state != COMPLETED:
        detail = {**(detail or {}), "attempts": attempt, "host": host or ""}
    return id, finish, state, body or b"", detail


def audited(row: tuple[Any, ...]) -> dict[str, Any]:
    """One row of the audit for people: (number, at, public key, name, event, more as a dict)."""
    number, at, identity, name, event, more = row
    return {**more, "number": number, "at": at, "identity": identity, "name": name, "event": event}


def clearings(type: str) -> list[str]:
    """Names in `meta` of what says from which id on results of a type answer for others."""
    return [CLEARED + node for node in ("", *parents(type))]


def name_view(id: int, until: float | None, cleared: Sequence[int] | None) -> dict[str, Any]:
    """What a task's name is worth, for `show`.

    Args:
        id: The task.
        until: As its key has it, if the key is still its own.
        cleared: Up to which ids results answer for nothing; None: its own does not anyhow.
    """
    view: dict[str, Any] = {}
    if until is not None:
        view["unique_until"] = "kept" if until >= KEPT else until or None
    if cleared is not None and id > max(cleared, default=0):
        view["answers"] = True
    return view


def list_item(task: dict[str, Any]) -> dict[str, Any]:
    """One line of `tasks`.

    Args:
        task: The columns of a task by name, detail decoded, and the names `type` and `host`.
    """
    names = ("id", "type", "tenant", "priority", "attempt", "failures", "crashes", "sent_at", "started_at", "ended_at")
    item = {name: task[name] for name in names}
    return item | {
        "state": str(STATES[int(task["state"])]),
        "host": task["host"] or "",
        "error": None if (text := error_text(task["detail"])) is None else text[:_ERROR_MAX],
        "key": None if task["options"] is None else task["options"].get("key"),
    }


def first_and_latest(keys: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of the keys of a task's attempts (attempt, fence) those that `show` has, in order."""
    ordered = sorted(keys)
    return ordered if len(ordered) <= FIRST_MAX + LATEST_MAX else ordered[:FIRST_MAX] + ordered[-LATEST_MAX:]


def full_view(task: dict[str, Any], attempts: list[tuple[Any, ...]]) -> dict[str, Any]:
    """All of one task, for `show`. However many attempts there were, they alone do not make it too large for a message;
    beside params and a result at their limits they may.

    Args:
        task: As for `list_item`, with all columns, options decoded.
        attempts: Its rows of ended attempts, the first `FIRST_MAX` and the latest `LATEST_MAX`: (attempt, fence, host
            name, fingerprint of the code, slot, started_at, ended_at, outcome, detail).
    """
    names = ("losses", "releases", "due", "options", "params", "result", "detail")
    ended = {row[:2]: row for row in attempts}
    if task["state"] == RUNNING or (task["state"] in FINAL and task["started_at"] is not None):
        # Its last attempt stands in the task itself. One that was taken for lost and reported after all stands in both.
        last = (task["attempt"], task["fence"])
        columns = (task[name] for name in ("host", "code", "slot", "started_at", "ended_at"))
        outcome = str(STATES[int(task["state"])])
        detail: Detail = task["detail"]
        if last in ended and ended[last][-2] == outcome:  # what it wrote last came after its end
            wrote: Detail = ended[last][-1]
            detail = {**(wrote or {}), **(detail or {})}
        ended[last] = (*last, *columns, outcome, detail)
    view = list_item(task) | {name: task[name] for name in names} | {"requires": resources(task["requires"])}
    del view["error"]
    keys = sorted(ended)
    if len(keys) >= FIRST_MAX + LATEST_MAX and (left_out := keys[FIRST_MAX][0] - keys[FIRST_MAX - 1][0] - 1) > 0:
        view["attempts_left_out"] = left_out
    shown = [_attempt(*ended[key]) for key in keys]
    for attempt in shown[:-_WHOLE_MAX]:
        attempt["detail"] = _short(attempt["detail"])
    return view | {"attempts": shown}


def _short(detail: Detail) -> Detail:
    """What a line can say of it."""
    if detail is None:
        return None
    short = {name: text[:_ERROR_MAX] if isinstance(text, str) else text for name, text in detail.items()}
    return {name: value for name, value in short.items() if name not in _LONG and not isinstance(value, list)} or None


def _attempt(
    attempt: int,
    _fence: int,
    host: str | None,
    code: str | None,
    slot: int | None,
    started_at: float | None,
    ended_at: float | None,
    outcome: str,
    detail: Detail,
) -> dict[str, Any]:
    return {
        "attempt": attempt,
        "host": host or "",
        "code": code,
        "slot": slot,
        "started_at": started_at,
        "ended_at": ended_at,
        "outcome": outcome,
        "detail": detail,
    }


def error_text(detail: Detail) -> str | None:
    """One text for why it ended as it did, from what its host or the core noted."""
    if detail is None:
        return None
    text = str(detail.get("message") or detail.get("reason") or detail.get("cause") or "")
    kind = str(detail.get("error_type") or "")
    return ": ".join(part for part in (kind, text) if part) or None
