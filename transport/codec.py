"""Messages to bytes and back. Everything a stranger may send is met here first.

Owns the limits of one frame and the check of each message's own fields. What stands deeper inside lists (a task, a
result) is checked by the core, batch by batch; params and results are never looked into.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, cast, get_args, get_origin, get_type_hints

import msgpack  # pyright: ignore[reportMissingTypeStubs]  # it has none

from .messages import FRAME_BYTES_MAX, MESSAGES, Message

ARRAY_LENGTH_MAX: Final = 100_000
"""Items of one list. Senders split longer ones."""

MAP_LENGTH_MAX: Final = 10_000
"""Entries of one dict."""

COUNTED_BYTES: Final = 256 * 1024
"""Frames above this have their lists and dicts counted while they are decoded. One byte of input can become 90 bytes of
memory (an empty dict), which is harmless below this size and would be 700 MB in the largest frame.
"""

CONTAINERS_MAX: Final = 200_000
"""Lists and dicts in one counted frame."""

INT_MAX: Final = 2**63 - 1
"""The store keeps 64-bit signed integers."""


_pack = cast("Callable[[list[Any]], bytes]", msgpack.packb)  # pyright: ignore[reportUnknownMemberType]
_unpack = cast("Callable[..., Any]", msgpack.unpackb)  # pyright: ignore[reportUnknownMemberType]


class Malformed(ValueError):
    """Bytes that are no message of this protocol, or a message that does not fit into a frame."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    type: type
    inner: type | None  # the items of a list, the values of a dict; None: anything
    required: bool
    default: Any  # a value, or a function that makes one
    fresh: bool

    def missing(self) -> Any:
        return self.default() if self.fresh else self.default


def encode(message: Message, number: int) -> bytes:
    """The frame of a message.

    Args:
        message: What to say. Its field values are taken as they are.
        number: Its number in the session; 0 for HELLO, WELCOME and REFUSED.

    Raises:
        Malformed: The frame would be larger than `FRAME_BYTES_MAX`, so the other side would hang up. Send less at once.
    """
    names = _NAMES[message.KIND]
    body = _pack([message.KIND, number, *[getattr(message, name) for name in names]])
    if len(body) > FRAME_BYTES_MAX:
        raise Malformed(f"{type(message).__name__} takes {len(body)} bytes; a frame holds {FRAME_BYTES_MAX}")
    return body


def size(value: Any) -> int:
    """How many bytes a value takes in a frame."""
    return len(_pack([value])) - 1


def decode(body: bytes) -> tuple[int, Message]:
    """The number and the message of a frame.

    Fields that are missing at the end take their defaults; unknown ones at the end are ignored.

    Raises:
        Malformed: Anything else. The text is short and safe to log: it repeats nothing of the content.
    """
    parts = _value(body)
    if type(parts) is not list or len(cast("list[Any]", parts)) < 2:
        raise Malformed("a message is a list [kind, number, ...]")
    kind, number, *given = cast("list[Any]", parts)
    if type(kind) is not int or kind not in MESSAGES:
        raise Malformed(f"unknown kind of message: {kind}" if type(kind) is int else "the kind is no integer")
    if type(number) is not int or not 0 <= number <= INT_MAX:
        raise Malformed("the number of a message is an integer from 0")
    values: list[Any] = []
    for position, field in enumerate(_LAYOUTS[kind]):
        if position < len(given):
            values.append(_checked(kind, field, given[position]))
        elif field.required:
            raise Malformed(f"{MESSAGES[kind].__name__}.{field.name} is missing")
        else:
            values.append(field.missing())
    return number, MESSAGES[kind](*values)


def _value(body: bytes) -> Any:
    size = len(body)
    if size > FRAME_BYTES_MAX:
        raise Malformed(f"a frame of {size} bytes; the limit is {FRAME_BYTES_MAX}")
    hooks: dict[str, Any] = {}
    if size > COUNTED_BYTES:
        count = _Counter(CONTAINERS_MAX).count
        hooks = {"list_hook": count, "object_hook": count}
    try:
        return _unpack(
            body,
            raw=False,
            strict_map_key=True,
            max_array_len=min(size, ARRAY_LENGTH_MAX),  # false lengths must not reserve memory
            max_map_len=min(size, MAP_LENGTH_MAX),
            max_ext_len=0,
            ext_hook=_refuse_extension,
            **hooks,
        )
    except Malformed:
        raise
    except Exception as error:  # msgpack raises at least six unrelated classes for bad input
        raise Malformed(f"not a msgpack value within the limits ({type(error).__name__})") from error


class _Counter:
    def __init__(self, limit: int) -> None:
        self._left = limit

    def count(self, container: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise Malformed(f"more than {CONTAINERS_MAX} lists and dicts in one frame")
        return container


def _refuse_extension(code: int, data: bytes) -> Any:  # noqa: ARG001  # msgpack's signature
    raise Malformed("msgpack extension types are not part of the protocol")


def _checked(kind: int, field: _Field, value: Any) -> Any:
    """The value of one field, if it is of the declared type. An integer is welcome where a float is."""
    if field.type is float and type(value) is int:
        value = float(value)
    if type(value) is not field.type:
        raise _wrong(kind, field, f"{field.type.__name__}, not {type(value).__name__}")
    if field.type is int:
        if not -INT_MAX <= value <= INT_MAX:
            raise _wrong(kind, field, "an integer of 64 bits")
    elif field.type is float:
        if not math.isfinite(value):
            raise _wrong(kind, field, "a finite number")
    elif field.type is list:
        _check_items(kind, field, value)
    elif field.type is dict:
        if any(type(key) is not str for key in value):
            raise _wrong(kind, field, "a dict with text keys")
        _check_items(kind, field, value.values())
    return value


def _check_items(kind: int, field: _Field, items: Any) -> None:
    inner = field.inner
    if inner is None or not items:
        return
    if set(map(type, items)) != {inner}:
        raise _wrong(kind, field, f"a {field.type.__name__} of {inner.__name__}")
    if inner is int and not -INT_MAX <= min(items) <= max(items) <= INT_MAX:
        raise _wrong(kind, field, "integers of 64 bits")


def _wrong(kind: int, field: _Field, expected: str) -> Malformed:
    return Malformed(f"{MESSAGES[kind].__name__}.{field.name} must be {expected}")


def _layout(message: type[Message]) -> tuple[_Field, ...]:
    """The fields of a message as its dataclass declares them."""
    hints = get_type_hints(message)
    layout: list[_Field] = []
    for field in fields(message):
        hint = hints[field.name]
        base: type = get_origin(hint) or hint
        last: Any = get_args(hint)[-1] if get_args(hint) else Any
        inner: type | None = None if last is Any else get_origin(last) or last
        fresh = field.default_factory is not MISSING
        default: Any = field.default_factory if fresh else field.default
        layout.append(_Field(field.name, base, inner, default is MISSING, default, fresh))
    return tuple(layout)


_LAYOUTS: Final = {kind: _layout(message) for kind, message in MESSAGES.items()}
_NAMES: Final = {kind: tuple(field.name for field in layout) for kind, layout in _LAYOUTS.items()}
