"""What a slot's process sends, checked: task code lives there too, and may write anything. Pure."""

from __future__ import annotations

from typing import Any, Final, cast

import msgpack as _untyped  # pyright: ignore[reportMissingTypeStubs] -- it ships none

from ..workers.registry import COST_MAX
from ..workers.values import CHECKPOINT_BYTES_MAX, RESULT_BYTES_MAX
from .core import reports
from .slot_child import HEADER, NEWS, READY, WORN
from .slot_news import SlotNews

msgpack: Any = _untyped

FRAME_BYTES_MAX: Final = 6 * 1024 * 1024
"""A child's largest result beside what it flushes at."""

_REASON_CHARACTERS_MAX: Final = 1024

_NUMBER, _TEXT = {int, float}, {str}
_PROGRESS: Final = ({int}, {int}, _NUMBER, _TEXT)
_CHECKPOINTS: Final = ({int}, {int}, {bytes})
_RESULTS: Final = ({int}, {int}, {int}, {bytes}, _NUMBER, {int}, {dict, type(None)})
_RETURNED: Final = ({int}, {int}, {int}, _NUMBER, _TEXT, {bool})


class ProtocolError(Exception):
    """The child wrote something that is no frame."""


class Frames:
    """Cuts a stream of bytes into frames and adds what they say to a `SlotNews`."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes, news: SlotNews) -> None:
        """Take bytes in.

        Raises:
            ProtocolError: They are no frames.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= HEADER.size:
            length: int = HEADER.unpack_from(buffer, start)[0]
            if length > FRAME_BYTES_MAX:
                raise ProtocolError(f"a frame of {length} bytes")
            end = start + HEADER.size + length
            if len(buffer) < end:
                break
            try:
                frame = msgpack.unpackb(bytes(buffer[start + HEADER.size : end]))
            except Exception as error:  # of many classes, see `values.unpack`
                raise ProtocolError(f"a frame that is not msgpack: {type(error).__name__}: {error}") from None
            _add(frame, news)
            start = end
        del buffer[:start]


def _add(frame: Any, news: SlotNews) -> None:
    if not isinstance(frame, list):
        raise ProtocolError("a frame that is no list")
    match cast("list[Any]", frame):
        case [kind, progress, results, returned, checkpoints] if kind == NEWS:
            told = _checked(progress, _PROGRESS, "progress")
            ended = _checked(results, _RESULTS, "results")
            saved = _checked(checkpoints, _CHECKPOINTS, "checkpoints")
            if saved and max([len(item[2]) for item in saved]) > CHECKPOINT_BYTES_MAX:
                raise ProtocolError("a checkpoint above the limit")
            if ended and max([len(item[3]) for item in ended]) > RESULT_BYTES_MAX:
                raise ProtocolError("a result above the limit")
            back = _checked(returned, _RETURNED, "returned")
            _check_values(told, ended, back)
            news.progress += told
            news.results += ended
            news.returned += back
            news.checkpoints += saved
        case [kind, reason] if kind == WORN:
            news.worn = str(reason)[:_REASON_CHARACTERS_MAX]
        case [kind, offer] if kind == READY:
            news.ready = _checked_offer(offer)
        case _:
            raise ProtocolError("a frame of an unknown kind")


def _check_values(progress: list[Any], results: list[Any], returned: list[Any]) -> None:
    """What a supervisor would not take it would turn the whole host away for. Most results are done at a glance."""
    try:
        for item in progress:
            reports.progress(item)
        for item in results:
            if item[2] or item[6] is not None:
                reports.result(item)
        for item in returned:
            reports.returned(item)
    except (TypeError, ValueError) as error:
        raise ProtocolError(str(error)) from None


def _checked_offer(offer: Any) -> dict[str, Any]:
    try:
        texts = [*offer["types"], *offer["any"]]
        for name in ("failed", "fingerprints"):
            texts += [*offer[name].keys(), *offer[name].values()]
        texts += offer["costs"].keys()
        costs = list(offer["costs"].values())
    except (TypeError, KeyError, AttributeError):
        raise ProtocolError("an offer that is none") from None
    if not all(isinstance(text, str) for text in texts):
        raise ProtocolError("an offer with something else than text in it")
    if not all(type(cost) is int and 1 <= cost <= COST_MAX for cost in costs):
        raise ProtocolError("an offer with a cost that is none")
    files = offer.get("files", [])
    if not isinstance(files, list) or not all(isinstance(file, str) for file in cast("list[Any]", files)):
        raise ProtocolError("an offer with files that are none")
    _check_code(offer.get("kept", {}))
    names = ("types", "any", "failed", "fingerprints", "costs", "files", "kept")
    return {name: offer[name] for name in names if name in offer}


def _check_code(kept: Any) -> None:
    """Modules as `kept_code.loaded` tells them."""
    rows = list(cast("dict[Any, Any]", kept).items()) if isinstance(kept, dict) else [()]
    for row in rows:
        match row:
            case (str(), [str(), int(), int(), bytes()]):
                pass
            case _:
                raise ProtocolError("an offer with code that is none")


def _checked(items: Any, shape: tuple[set[type[Any]], ...], name: str) -> list[Any]:
    """Look at all items of a list by column: that costs a fraction of a look at each."""
    if not isinstance(items, list):
        raise ProtocolError(f"{name} that are no list")
    rows = cast("list[Any]", items)
    if not rows:
        return rows
    try:
        columns: list[Any] = list(zip(*rows, strict=True))
    except (TypeError, ValueError):
        raise ProtocolError(f"{name} of unequal items") from None
    if len(columns) != len(shape) or not all(
        kinds.issuperset(map(type, column)) for kinds, column in zip(shape, columns, strict=True)
    ):
        raise ProtocolError(f"{name} with a field of another type")
    return rows
