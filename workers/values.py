"""Params and results as bytes: what may travel, in one form only, so that equal values are equal bytes.

Owns the rules of what a value may be. Knows nothing of tasks or sockets; Python 3.9, the standard library and msgpack
suffice, because a slot may run in another environment.
"""

from __future__ import annotations

import sys
import threading
from datetime import datetime, timezone
from typing import Any, Final

from .errors import InvalidTask, TooLarge, plain

msgpack: Any = sys.modules.get("workerhost_msgpack")  # the host's own, put there where another environment has none
if msgpack is None:
    import msgpack as _untyped  # pyright: ignore[reportMissingTypeStubs] -- it ships none

    msgpack = _untyped

PARAMS_BYTES_MAX: Final = 1024 * 1024
RESULT_BYTES_MAX: Final = 4 * 1024 * 1024
CHECKPOINT_BYTES_MAX: Final = 64 * 1024
DEPTH_MAX: Final = 100
"""Levels of lists and dicts inside each other; far below what makes a decoder refuse or a stack run out."""

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_EXACT = frozenset({type(None), bool, int, str, bytes})
_TEXT = frozenset({str})
_CURES = {
    "PurePath": "use str()",
    "set": "use sorted() or list()",
    "frozenset": "use sorted() or list()",
    "bytearray": "use bytes()",
    "memoryview": "use bytes()",
    "Decimal": "use str() or float()",
    "date": "use .isoformat()",
    "time": "use .isoformat()",
    "timedelta": "use .total_seconds()",
    "UUID": "use str()",
    "Enum": "use .value",
    "ndarray": "use .tolist()",
    "generic": "use .item()",
    "Mapping": "use dict()",
    "generator": "use list()",
    "range": "use list()",
}
_LEGAL = "use None, bool, int, float, str, bytes, list, dict or an aware datetime"


class _Packers(threading.local):
    """One packer per thread: making one costs more than packing a few values, and it is not thread-safe."""

    def __init__(self) -> None:
        self.pack = msgpack.Packer(datetime=True).pack


class _Refused(Exception):
    """Something inside a value cannot travel; `path` is filled from the inside out while it rises."""

    def __init__(self, reason: str) -> None:
        self.path: list[str] = []
        super().__init__(reason)


_packers = _Packers()


def pack(value: Any, *, what: str = "params", limit: int = PARAMS_BYTES_MAX) -> bytes:
    """Turn a value into bytes; dict keys are sorted at every level, a tuple becomes a list.

    Args:
        value: None, bool, int (64 bits), float (no NaN), str, bytes, list, tuple, dict with str keys, aware datetime.
        what: How messages call the whole value.
        limit: Most bytes it may take.

    Raises:
        InvalidTask: Something in it cannot travel; `path` says where and the message what to do.
        TooLarge: It takes more than `limit` bytes.
    """
    body = _packed_flat(value)
    if body is None:
        try:
            body = _packers.pack(_plain(value, 0))
        except _Refused as refused:
            path = what + "".join(reversed(refused.path))
            message = f"{path}: {refused}"
            raise InvalidTask(message, path) from None
    if len(body) > limit:
        raise TooLarge(
            f"{what}: {_size(len(body))}, above the {_size(limit)} allowed; store the data, pass where it is"
        )
    return body


def unpack(body: bytes) -> Any:
    """The value that `pack` was given; a datetime comes back as UTC.

    Raises:
        ValueError: The bytes are not a packed value.
    """
    try:
        return msgpack.unpackb(body, timestamp=3, ext_hook=_no_extension)
    except ValueError:
        raise
    except Exception as error:  # msgpack's own errors: ExtraData, StackError, FormatError, OverflowError ...
        raise ValueError(f"not a packed value: {type(error).__name__}: {error}") from None


def _packed_flat(value: Any) -> bytes | None:
    """The common case, a dict of plain values, without a loop over them; None: look closer."""
    flat: Any = value
    if flat.__class__ is not dict or not _TEXT.issuperset(map(type, flat)):
        return None
    if not _EXACT.issuperset(map(type, flat.values())) and not all(
        item.__class__ in _EXACT or (item.__class__ is float and item == item)  # only NaN differs from itself
        for item in flat.values()
    ):
        return None
    keys = sorted(flat)
    try:
        return _packers.pack(flat if keys == list(flat) else {key: flat[key] for key in keys})
    except (OverflowError, UnicodeEncodeError):
        return None


def _plain(value: Any, depth: int) -> Any:
    """The same value in exactly the types that msgpack knows, dicts sorted. Raises _Refused."""
    if value is None or isinstance(value, (bool, bytes)):
        return value
    if isinstance(value, str):
        return _plain_text(value)
    if isinstance(value, int):
        if not _INT_MIN <= value <= _INT_MAX:
            raise _Refused(f"{value:#x}"[:40] + " does not fit 64 bits; use str()")
        return int(value)
    if isinstance(value, float):
        if value != value:  # only NaN differs from itself
            raise _Refused("NaN is not equal to itself and cannot travel; use None")
        return float(value)
    inside = _inside(value)
    if inside is not None:
        if depth >= DEPTH_MAX:
            raise _Refused(f"nested deeper than {DEPTH_MAX} levels, or inside itself")
        return inside(value, depth)
    if type(value) is datetime:
        return _plain_datetime(value)
    kind: Any = value.__class__
    cure = next((_CURES[base.__name__] for base in kind.__mro__ if base.__name__ in _CURES), _LEGAL)
    raise _Refused(f"{kind.__name__}; {cure}")


def _inside(value: Any) -> Any:
    """How to look into a value that has others inside, or None."""
    if isinstance(value, dict):
        return _plain_dict
    if isinstance(value, (list, tuple)) and not isinstance(value, msgpack.ExtType):  # which is a tuple, too
        return _plain_list
    return None


def _plain_text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _Refused(
                "text with half a character (a lone surrogate); use bytes, or encode() with errors='replace'"
            ) from None
    return value if type(value) is str else str.__str__(value)


def _plain_list(value: Any, depth: int) -> list[Any]:
    plain_items: list[Any] = []
    try:
        for item in value:
            plain_items.append(_plain(item, depth + 1))  # noqa: PERF401 -- its length is the index of what is refused
    except _Refused as refused:
        refused.path.append(f"[{len(plain_items)}]")
        raise
    return plain_items


def _plain_dict(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise _Refused(f"the key {plain(key, 80)} is {type(key).__name__}; keys are str: use str()")
        _plain_text(key)
    plain_items: dict[str, Any] = {}
    for key in sorted(value):
        try:
            plain_items[str.__str__(key)] = _plain(value[key], depth + 1)
        except _Refused as refused:
            refused.path.append(f'["{plain(key, 80)}"]')
            raise
    return plain_items


def _plain_datetime(value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise _Refused("datetime without a time zone; use .astimezone() or .replace(tzinfo=timezone.utc)")
    try:
        return value.astimezone(timezone.utc)  # noqa: UP017 -- datetime.UTC is not in Python 3.9
    except OverflowError:
        raise _Refused("datetime outside the years 1 to 9999 in UTC") from None


def _no_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"not a packed value: extension type {code} of {len(data)} bytes")


def _size(count: int) -> str:
    return f"{count / 1024 / 1024:.1f} MiB" if count >= 1024 * 1024 else f"{count / 1024:.1f} KiB"
