"""Whether a question or an order can be said, asked before it is anybody else's: what its caller put into it may be no
text, no number that travels, or too much. The other side would hang up at it, again and again.
"""

from __future__ import annotations

from typing import Any, Final, cast

from ..workers.errors import InvalidTask, plain
from . import codec
from .messages import Admin, Cancel, Query

_DEPTH_MAX: Final = 8
"""How deep the value that is to blame is looked for."""


def check(message: Query | Admin | Cancel) -> None:
    """A message can be said, and the other side takes it.

    Raises:
        InvalidTask: It cannot; `path` names the value that is to blame.
    """
    fault = _fault(message)
    if fault is None:
        return
    arguments: Any = {"ids": message.ids} if isinstance(message, Cancel) else message.arguments
    path, value = _to_blame(arguments)
    named = f"{path}={plain(repr(value), 100)}: " if path else ""
    raise InvalidTask(f"{named}it cannot be said: {plain(fault)}", path)


def _to_blame(value: Any) -> tuple[str, Any]:
    """The innermost value that cannot be said, with its name; no name if none of its parts is to blame."""
    path = ""
    for _ in range(_DEPTH_MAX):
        for name, part in _parts(value):
            if _fault(Query(0, "", {"value": part})) is not None:
                path, value = (name if isinstance(name, str) else f"{path}[{name}]"), part
                break
        else:
            break
    return path, value


def _parts(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(cast("dict[Any, Any]", value).items())
    return list(enumerate(cast("list[Any]", value))) if isinstance(value, list | tuple) else []


def _fault(message: Query | Admin | Cancel) -> str | None:
    """Why a message cannot be said; None: it can."""
    try:
        codec.decode(codec.encode(message, 0))
    except (ValueError, TypeError, OverflowError) as error:
        return str(error)
    return None
