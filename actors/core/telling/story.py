"""What became of a task, told from what is stored of it: why it ran twice, why it took so long. Pure."""

from __future__ import annotations

from typing import Any, Final

_WAITED_SECONDS: Final = 1.0
"""A shorter wait for a slot is not worth a sentence."""


def story(task: dict[str, Any]) -> list[dict[str, Any]]:
    """The life of a task as sentences.

    Args:
        task: As `Store.show` gives it.

    Returns:
        [{at: instant, text}], oldest first.
    """
    told = [_event(task["sent_at"], "sent")]
    attempts: list[dict[str, Any]] = task["attempts"]
    if attempts and attempts[0]["started_at"] is not None:
        waited = attempts[0]["started_at"] - task["sent_at"]
        if waited >= _WAITED_SECONDS:
            told[0]["text"] = f"sent, then waited {_span(waited)} for its first start"
    for number, attempt in enumerate(attempts):
        told.append(_started(attempt))
        following = attempts[number + 1] if number + 1 < len(attempts) else None
        left_out = "attempts_left_out" in task and following and following["attempt"] > attempt["attempt"] + 1
        if attempt["ended_at"] is not None:
            told.append(_ended(task, attempt, None if left_out else following))
        if left_out:
            told.append(_event(attempt["ended_at"], f"{task['attempts_left_out']} attempts left out"))
    if task["ended_at"] is not None and not (attempts and attempts[-1]["ended_at"] == task["ended_at"]):
        told.append(_event(task["ended_at"], _end_of(task)))
    return told


def _started(attempt: dict[str, Any]) -> dict[str, Any]:
    where = f" on {attempt['host']}" if attempt["host"] else ""
    return _event(attempt["started_at"], f"attempt {attempt['attempt']} began{where}")


def _ended(task: dict[str, Any], attempt: dict[str, Any], following: dict[str, Any] | None) -> dict[str, Any]:
    began, ended = attempt["started_at"], attempt["ended_at"]
    took = f" after {_span(ended - began)}" if began is not None else ""
    text = f"{_OUTCOMES.get(attempt['outcome'], attempt['outcome'])}{took}{_because(attempt['detail'])}"
    if following is not None and following["started_at"] is not None:
        text += f"; tried again {_span(following['started_at'] - ended)} later"
    elif following is None and attempt["ended_at"] == task["ended_at"] and task["state"] == "quarantined":
        text += "; quarantined: it is not tried again until `retry`"
    return _event(ended, text)


_OUTCOMES: Final = {
    "exception": "it raised",
    "failed": "it failed",
    "crash": "its process died",
    "timeout": "it ran too long and was stopped",
    "host lost": "its host was lost, so it was rescued",
    "no_progress": "it was silent too long and was stopped",
    "oom": "it used too much memory and was killed",
    "processes": "it started too many processes and was killed",
    "cpu": "it used too much processor time and was stopped",
    "output": "it wrote too much and was stopped",
    "result_too_large": "its result was too large",
    "released": "it was given back, nothing counted",
    "stopped": "it was stopped and queued again",
    "protocol_error": "its process did not keep the protocol",
    "start_failed": "its process could not be started",
}


def _because(detail: dict[str, Any] | None) -> str:
    if not detail:
        return ""
    said = str(detail.get("message") or detail.get("reason") or detail.get("cause") or "")
    kind = str(detail.get("error_type") or "")
    text = ": ".join(part for part in (kind, said) if part)
    for name in ("signal", "exit_code"):
        if detail.get(name) is not None and (words := f"{name.replace('_', ' ')} {detail[name]}") not in text:
            text += f" ({words})"
    return f": {text}" if text else ""


def _end_of(task: dict[str, Any]) -> str:
    return f"{task['state']}{_because(task['detail'])}"


def _event(at: float | None, text: str) -> dict[str, Any]:
    return {"at": at, "text": text}


def _span(seconds: float) -> str:
    """A length of time as people say it."""
    for size, unit in ((86400.0, "days"), (3600.0, "hours"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.0):.1f} s" if seconds >= 0.1 else f"{max(seconds, 0.0) * 1000:.0f} ms"
