"""What the pool's answers mean to the user: the value of a task, or the error that says what happened to it."""

from __future__ import annotations

from typing import Any

from ..workers import values
from ..workers.errors import (
    ConfigError,
    DiskFull,
    InvalidTask,
    KeyConflict,
    NoHost,
    PoolBusy,
    PoolRefused,
    QueueFull,
    TaskCancelled,
    TaskFailed,
    TaskQuarantined,
    TaskRefused,
    TaskUnknown,
    TooLarge,
    WorkerHostError,
)
from .block import REFUSED, UNKNOWN, Block, End
from .messages import STATES, TaskState

_REFUSALS: dict[str, type[TaskRefused]] = {"too_large": TooLarge, "no_host": NoHost, "conflict": KeyConflict}
_BUSY: dict[str, type[PoolBusy]] = {"queue_full": QueueFull, "disk_full": DiskFull, "quota": PoolBusy}
_RETRY_AFTER = 1.0


def value_of(id: int, end: End) -> Any:
    """The result of a completed task.

    Raises:
        WorkerHostError: It ended in another way; see `error_of`.
    """
    if not isinstance(end, bytes):
        raise error_of(id, end) or WorkerHostError(f"task {id} has no result")
    return values.unpack(end) if end else None


def error_of(id: int, end: End) -> WorkerHostError | None:
    """The error that tells how a task ended, a new one each time; None if it completed."""
    if isinstance(end, bytes):
        return None
    code, _, detail = end
    said = detail or {}
    if code == UNKNOWN:
        return TaskUnknown(f"the pool has no task {id}: it was never sent there, or it is older than what is kept")
    if code == REFUSED:
        return refusal(**said)
    state = STATES[code]
    if state == TaskState.CANCELLED:
        return TaskCancelled(id, _text(said, "reason"))
    kind = TaskQuarantined if state == TaskState.QUARANTINED else TaskFailed
    attempts = said.get("attempts")
    message, reason = _text(said, "message"), _text(said, "reason")
    if state == TaskState.QUARANTINED and message and reason:
        message = f"{reason}; the last time {message}"
    return kind(
        id,
        cause=_text(said, "cause") or ("exception" if said.get("error_type") else "failed"),
        error_type=_text(said, "error_type"),
        message=message or reason,
        traceback=_text(said, "traceback"),
        attempts=attempts if isinstance(attempts, int) else 0,
        host=_text(said, "host"),
        kind=_text(said, "kind"),
    )


def raise_refusal(block: Block) -> None:
    """Raise what the pool said, if it refused any part of a submission."""
    for part in block.chain():
        if part.refused:
            end = part.ends[0]
            raise (error_of(0, end) if end is not None else None) or WorkerHostError("the pool refused the task")


def refusal(code: str, reason: str, path: str = "", retry_after: float = 0.0) -> WorkerHostError:
    """The error for a submission that the pool did not accept."""
    if code in _BUSY:
        return _BUSY[code](reason, retry_after or _RETRY_AFTER)
    if code == "invalid":
        return InvalidTask(reason, path)
    if code in ("forgotten", "forbidden"):
        return PoolRefused(reason)
    return _REFUSALS.get(code, TaskRefused)(reason)


def denial(value: dict[str, Any], unknown: type[WorkerHostError] = WorkerHostError) -> WorkerHostError:
    """The error for a request that was answered with `code` and `reason`; `unknown` is for what is not there."""
    code, reason = _text(value, "code"), _text(value, "reason")
    if code == "unknown":
        return unknown(reason)
    if code == "forbidden":
        return PoolRefused(reason)
    if code == "configuration":
        return ConfigError(reason)
    if code in _BUSY:
        return refusal(code, reason)
    return WorkerHostError(reason or code or "the pool refused and gave no reason")


def _text(said: dict[str, Any], key: str) -> str:
    value = said.get(key)
    return value if isinstance(value, str) else "" if value is None else str(value)
