"""How an attempt ends: what a worker returned or raised, as what is reported of it. No state.

Python 3.9, the standard library and msgpack suffice here.
"""

from __future__ import annotations

import traceback
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from . import values
from .errors import KINDS, Fail, InvalidTask, Release, TooLarge
from .failures import kind_of
from .task import Result

# The codes of `messages.Outcome` and `messages.Returned` (that file needs a newer Python; a test compares them).
COMPLETED, FAILED, TIMEOUT, CRASHED, CANCELLED, TOO_LARGE = range(6)
UNSTARTED, DRAIN, DECLINED, RELEASED, NEIGHBOUR, UNSERVED = range(6)

MESSAGE_CHARACTERS_MAX: Final = 4096
TRACEBACK_CHARACTERS_MAX: Final = 16384
NODE_CHARACTERS_MAX: Final = 200
AFTER_SECONDS_MAX: Final = 10 * 366 * 86400.0
"""The longest duration that a host may report: ten years."""
EMPTY: Final = values.pack(None)
_LEFT_OUT: Final = "[...]\n"


@dataclass
class AttemptEnd:
    """How one attempt ended: by an outcome, or given back.

    Attributes:
        outcome: Code of `messages.Outcome`, or None when it is given back.
        body: The packed result of a completed one.
        detail: As in RESULTS, or None.
        returned: Code of `messages.Returned` when it is given back.
        after: Seconds before it may run again, when it is given back.
        note: Why it is given back.
        started: Whether `execute` had begun.
    """

    outcome: int | None
    body: bytes = b""
    detail: dict[str, Any] | None = None
    returned: int | None = None
    after: float = 0.0
    note: str = ""
    started: bool = True


def end_with(value: Any) -> AttemptEnd:
    """The end of an attempt that returned. A worker of this package may say itself how its attempt ended."""
    if value is None:
        return AttemptEnd(COMPLETED, EMPTY)
    try:
        if isinstance(value, AttemptEnd):
            return value
        if isinstance(value, Result):
            if not value.success:
                return failure("", value.error or "success=False", cause="failed", retry=value.retry)
            value = value.data
        return AttemptEnd(COMPLETED, values.pack(value, what="result", limit=values.RESULT_BYTES_MAX))
    except TooLarge as error:
        end = failure("TooLarge", str(error), cause="result_too_large", retry=False)
        end.outcome = TOO_LARGE
        return end
    except InvalidTask as error:
        return failure("InvalidResult", str(error), cause="exception", retry=False)
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # it has tricks of its own, as a subclass of dict
        return failure(type(error).__name__, f"result: {text_of(error)}", cause="exception", retry=False)


def end_told(value: Any) -> AttemptEnd:
    """The end of an attempt that returned after its worker was told to end: this may be half of what was to be done."""
    end = end_with(value)
    return end if end.outcome is None else AttemptEnd(CANCELLED, detail=end.detail)


def end_of(error: BaseException, *, started: bool, cancelled: bool, files: Collection[str]) -> AttemptEnd:
    """The end of an attempt that raised; `files` are those whose code called the worker."""
    try:
        if isinstance(error, Release):
            after = _seconds(error.after) or 0.0
            return AttemptEnd(None, returned=RELEASED, after=after, note=_cut(error.reason), started=started)
        end = _said(error) if isinstance(error, Fail) else _raised(error, files)
    except Exception as problem:  # a subclass of these without `super().__init__()`, for example
        text = f"{text_of(error)} ({type(problem).__name__}: {text_of(problem)})"
        trace = traceback_of(error, files)
        end = failure(type(error).__name__, text, cause="exception", retry=None, trace=trace)
    if cancelled:
        end.outcome = CANCELLED
    return end


def _raised(error: BaseException, files: Collection[str]) -> AttemptEnd:
    """The end of an attempt whose worker raised something else than our own."""
    own = isinstance(error, TypeError) and _is_own_call(error.__traceback__, files)
    kind = "permanent" if own else kind_of(error)
    retry = False if kind == "permanent" else None
    trace = traceback_of(error, files)
    return failure(type(error).__name__, text_of(error), cause="exception", retry=retry, kind=kind, trace=trace)


def _said(error: Fail) -> AttemptEnd:
    """The end of an attempt whose worker said itself what went wrong."""
    retry, kind = error.retry, error.kind if error.kind in KINDS else None
    if retry is None and kind is None:
        retry, kind = False, "permanent"
    end = failure("Fail", error.reason, cause="failed", retry=retry, kind=kind)
    if end.detail is not None:
        if (after := _seconds(error.after)) is not None:
            end.detail["after"] = after
        if isinstance(error.node, str):
            end.detail["node"] = _clean(error.node[:NODE_CHARACTERS_MAX])
    return end


def failure(
    error_type: str, message: str, *, cause: str, retry: bool | None, kind: str | None = None, trace: str = ""
) -> AttemptEnd:
    """The end of an attempt that failed. What is no text or no bool, as a worker's own words may be, becomes one; texts
    are cut to what travels.

    Args:
        error_type: The class of the error, or "".
        message: Its text.
        cause: As in `TaskFailed.cause`.
        retry: Whether it may be tried again; None: what the kind and the type's policy say.
        kind: One of `errors.KINDS`; None: nobody can tell.
        trace: Its traceback, or "".
    """
    detail: dict[str, Any] = {"error_type": _cut(error_type), "message": _cut(message), "traceback": _last(trace)}
    detail["cause"] = cause
    if retry is not None:
        detail["retry"] = bool(retry)
    if kind is not None:
        detail["kind"] = kind
    return AttemptEnd(FAILED, detail=detail)


def _seconds(value: Any) -> float | None:
    """What a worker gave as `after`; nonsense, as an instant instead of a duration, is None."""
    with suppress(TypeError, ValueError, OverflowError):
        seconds = max(0.0, float(value))
        return seconds if seconds <= AFTER_SECONDS_MAX else None
    return None


def _is_own_call(trace: TracebackType | None, files: Collection[str]) -> bool:
    """Whether it was raised at the call in one of those files, before a line of the worker's had run."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename in files


def traceback_of(error: BaseException, files: Collection[str]) -> str:
    """The traceback as text, from the first frame outside `files` on; its end when it is long."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename in files:
        trace = trace.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, trace))
    except Exception as problem:  # an exception whose own __str__ or source file is broken
        text = f"{type(error).__name__} (no traceback: {type(problem).__name__})\n"
    return _last(text)


def text_of(value: object) -> str:
    """The text of an exception, or of anything, even if it cannot show itself."""
    try:
        return str(value)
    except (Exception, SystemExit, KeyboardInterrupt):
        return "(its text cannot be shown)"


def _cut(value: Any) -> str:
    """The beginning of what should be text, as text that can travel."""
    if isinstance(value, bytes):
        value = value[:MESSAGE_CHARACTERS_MAX].decode("utf-8", "replace")
    text = value if isinstance(value, str) else text_of(value)
    return _clean(text[:MESSAGE_CHARACTERS_MAX])


def _last(trace: str) -> str:
    """The end of a traceback, which says the most, as text that can travel."""
    text, most = _clean(trace), TRACEBACK_CHARACTERS_MAX
    return text if len(text) <= most else _LEFT_OUT + text[len(_LEFT_OUT) - most :]


def _clean(text: str) -> str:
    """Text that can be encoded, whatever it came from."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
