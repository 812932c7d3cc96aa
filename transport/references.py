"""Params in which another task stands for its result: packed with a nil in each such place, and where those are.

The pool puts the results there when it grants the task; it never decodes params, so it is told offsets.
"""

from __future__ import annotations

import os
from typing import Any, Final, cast

from ..workers import values
from ..workers.errors import InvalidTask
from .messages import PARAMS_BYTES_MAX

_MARK: Final = os.urandom(16)
"""What no params hold by chance: it keeps the places of results while the rest is packed."""
_NUMBER_BYTES: Final = 4
_HEAD: Final = bytes([0xC4, len(_MARK) + _NUMBER_BYTES]) + _MARK  # msgpack: so many bytes follow


class Reference:
    """A task that may stand in params for its result."""

    __slots__ = ()


def pack(params: Any) -> tuple[bytes, list[tuple[int, Reference]]]:
    """Pack the params of a task.

    Returns:
        The bytes, and (offset of a nil in them, the task whose result belongs there), by offset.

    Raises:
        InvalidTask: Something in them cannot travel.
        TooLarge: They are above the limit.
    """
    try:
        return values.pack(params, limit=PARAMS_BYTES_MAX), []
    except InvalidTask:
        found: list[Reference] = []
        marked = _marked(params, found, 0)
        if not found:
            raise
    return _cut(values.pack(marked, limit=PARAMS_BYTES_MAX), found)


def _marked(value: Any, found: list[Reference], depth: int) -> Any:
    """The same value with a mark in the place of each task.

    Raises:
        InvalidTask: It is too deep. What contains itself twice has more places than anybody could look at.
    """
    if isinstance(value, Reference):
        found.append(value)
        return _MARK + (len(found) - 1).to_bytes(_NUMBER_BYTES)
    if isinstance(value, dict | list | tuple) and depth >= values.DEPTH_MAX:
        raise InvalidTask(f"params: nested deeper than {values.DEPTH_MAX} levels, or inside itself", "params")
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {key: _marked(item, found, depth + 1) for key, item in items}
    if isinstance(value, list | tuple):
        return [_marked(item, found, depth + 1) for item in cast("list[Any]", value)]
    return value


def _cut(body: bytes, found: list[Reference]) -> tuple[bytes, list[tuple[int, Reference]]]:
    parts: list[bytes] = []
    places: list[tuple[int, Reference]] = []
    done = size = 0
    while (at := body.find(_HEAD, done)) >= 0:
        number = at + len(_HEAD)
        parts += (body[done:at], b"\xc0")
        size += at - done
        places.append((size, found[int.from_bytes(body[number : number + _NUMBER_BYTES])]))
        size += 1
        done = number + _NUMBER_BYTES
    parts.append(body[done:])
    return b"".join(parts), places
