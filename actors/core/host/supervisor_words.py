"""Parts of what a supervisor says to a host, checked before they are believed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ....transport.messages import CHECKPOINT_BYTES_MAX
from .host_effects import Key


class BadMessage(Exception):
    """The supervisor sent something that cannot be understood."""


def pairs(items: list[Any]) -> list[Key]:
    """Grants [id, fence]."""
    try:
        return [(int(id), int(fence)) for id, fence in items]
    except (TypeError, ValueError) as error:
        raise BadMessage(str(error)) from error


def wanted_lines(items: list[Any]) -> dict[Key, bool]:
    """Grants whose output is wanted, and whether what is kept of it is wanted anew."""
    try:
        return {(int(id), int(fence)): bool(anew) for id, fence, anew in items}
    except (TypeError, ValueError) as error:
        raise BadMessage(str(error)) from error


def checkpoint(extra: Mapping[str, Any]) -> bytes:
    """The checkpoint in a task's `extra`.

    Raises:
        TypeError: It is none.
    """
    body: Any = extra["checkpoint"]
    if type(body) is not bytes or len(body) > CHECKPOINT_BYTES_MAX:
        raise TypeError("a checkpoint is bytes, and not many")
    return body


def types_of(types: Any) -> list[str]:
    """Types, or the beginnings of types."""
    if not isinstance(types, list) or not all(isinstance(type, str) for type in cast("list[Any]", types)):
        raise BadMessage("types are a list of texts")
    return cast("list[str]", types)
