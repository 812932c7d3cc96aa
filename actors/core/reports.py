"""What hosts report, checked before it changes anything: a host may be of another version, broken, or hostile.

Every check raises `ValueError` or `TypeError`; nothing of the item has been believed by then.
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Final, cast

from ...config.policy import TYPE_PATTERN
from ...transport.messages import CHECKPOINT_BYTES_MAX, RESULT_BYTES_MAX, Outcome, Returned

SECONDS_MAX: Final = 10 * 366 * 86400.0
"""The longest duration that anybody may ask for or report: ten years."""
_NUMBER_MAX: Final = 2**63 - 1
_SLOT_MAX: Final = 2**31
_COMPLETED: Final = Outcome.COMPLETED
_TEXTS: Final = {"message": 8192, "traceback": 32768, "error_type": 256, "cause": 64, "reason": 1024, "host": 256}
_FORMS: Final = {"cause": str, "retry": bool, "kind": str, "node": str}
_OUTPUT_MAX: Final = 17 * 1024  # characters of what an attempt wrote, the last of them
_OUTPUT_LINES_MAX: Final = 1000
_OUTPUT_LINE_MAX: Final = 4200
_LINES_MAX: Final = 200
_LINE_MAX: Final = 1024

Result = tuple[int, int, Outcome, bytes, float, int, dict[str, Any] | None]


def shown(value: Any, limit: int = 200) -> str:
    """A peer's value as it may be put into a message or a log line: escaped and short."""
    if isinstance(value, str | bytes):
        value = value[:limit]
    return repr(value)[:limit]


def seconds(value: Any) -> float:
    """A duration: finite, not negative, at most ten years."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= SECONDS_MAX:
        raise ValueError(f"{shown(value)} is no duration in seconds")
    return float(value)


def key(id: Any, fence: Any) -> tuple[int, int]:
    """The number and fence of a grant."""
    if type(id) is not int or type(fence) is not int or not (0 < id <= _NUMBER_MAX and 0 <= fence <= _NUMBER_MAX):
        raise ValueError("a grant is named by its number and fence")
    return id, fence


def result(item: Any) -> Result:
    """One item of RESULTS."""
    id, fence, outcome, body, duration, slot, detail = item
    if (  # nearly every one, and the hot path: what the checks below would say, in one expression
        detail is None
        and type(outcome) is type(id) is type(fence) is type(slot) is int
        and type(body) is bytes
        and type(duration) is float
        and outcome == _COMPLETED
        and 0 < id <= _NUMBER_MAX
        and 0 <= fence <= _NUMBER_MAX
        and 0 <= slot < _SLOT_MAX
        and 0 <= duration <= SECONDS_MAX
        and len(body) <= RESULT_BYTES_MAX
    ):
        return id, fence, _COMPLETED, body, duration, slot, None
    id, fence = key(id, fence)
    if not isinstance(outcome, int) or type(body) is not bytes or len(body) > RESULT_BYTES_MAX:
        raise ValueError("a result has an outcome and bytes")
    if type(slot) is not int or not 0 <= slot < _SLOT_MAX:
        raise ValueError(f"{shown(slot)} is no slot")
    return id, fence, Outcome(outcome), body, seconds(duration), slot, None if detail is None else _detail(detail)


def returned(item: Any) -> tuple[int, int, Returned, float, str, bool, dict[str, Any]]:
    """One item of GIVEBACK; its detail says at least the cause."""
    id, fence, code, after, note, started, *more = item
    id, fence = key(id, fence)
    if not isinstance(code, int) or type(started) is not bool:
        raise ValueError("a release has a code and says whether the attempt had begun")
    known = Returned(code)
    detail = _detail(more[0]) if more and more[0] is not None else {}
    return id, fence, known, seconds(after), str(note)[:_LINE_MAX], started, {"cause": known.name.lower(), **detail}


def progress(item: Any) -> tuple[int, int, float, str]:
    """One item of PROGRESS."""
    id, fence, fraction, note = item
    id, fence = key(id, fence)
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not isfinite(fraction):
        raise ValueError(f"{shown(fraction)} is no fraction")
    return id, fence, min(1.0, max(0.0, float(fraction))), str(note)[:_LINE_MAX]


def checkpoint(item: Any) -> tuple[int, int, bytes]:
    """One item of CHECKPOINT."""
    id, fence, body = item
    id, fence = key(id, fence)
    if type(body) is not bytes or len(body) > CHECKPOINT_BYTES_MAX:
        raise ValueError(f"a checkpoint is at most {CHECKPOINT_BYTES_MAX} bytes")
    return id, fence, body


def output(item: Any) -> tuple[int, int, int, list[str]]:
    """One item of OUTPUT."""
    id, fence, number, lines = item
    id, fence = key(id, fence)
    if type(number) is not int or not 0 <= number <= _NUMBER_MAX or not isinstance(lines, list):
        raise ValueError("output is lines and the number of the first")
    return id, fence, number, [str(line)[:_OUTPUT_LINE_MAX] for line in cast("list[Any]", lines)[-_OUTPUT_LINES_MAX:]]


def _detail(given: Any) -> dict[str, Any]:
    """What is said of an attempt beside its outcome: known forms only, and no longer than anybody wants to read."""
    if not isinstance(given, dict):
        raise TypeError("the detail of a result is a mapping")
    detail: dict[str, Any] = {}
    for name, value in cast("dict[Any, Any]", given).items():
        if not isinstance(name, str) or len(name) > _TEXTS["cause"]:
            raise ValueError("the detail of a result has short names")
        if name == "after":
            if value is not None:
                detail[name] = seconds(value)
        elif name == "output" and isinstance(value, str):
            detail[name] = value[-_OUTPUT_MAX:]
        elif isinstance(value, str):
            detail[name] = value[: _TEXTS.get(name, _LINE_MAX)]
        elif isinstance(value, list):
            detail[name] = [str(line)[:_LINE_MAX] for line in cast("list[Any]", value)[-_LINES_MAX:]]
        elif (
            value is None
            or isinstance(value, bool)
            or (isinstance(value, int) and abs(value) <= _NUMBER_MAX)
            or (isinstance(value, float) and isfinite(value))
        ):
            detail[name] = value
        else:
            raise ValueError(f"the detail of a result cannot hold {shown(name)}")
    for name, form in _FORMS.items():
        if name in detail and not isinstance(detail[name], form):
            raise TypeError(f"the detail of a result has a wrong {name}")
    if "node" in detail and not TYPE_PATTERN.match(detail["node"]):
        del detail["node"]  # a worker's own words: nobody else's, its host's least of all, are refused for them
    return detail


def weight(detail: dict[str, Any] | None) -> int:
    """About how many bytes a checked detail takes on the wire."""
    return 0 if detail is None else 64 + sum(map(_weight, detail.values()))


def _weight(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_weight, cast("list[Any]", value)))
    return 16 + len(value) if isinstance(value, str) else 16
