"""Parts of what a supervisor says to a host, checked before they are believed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any, cast

from ....transport.messages import CHECKPOINT_BYTES_MAX
from .guidance import NodePolicy
from .host_effects import Key, SlotTask


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


def tasks_of(
    group: Any, policy_of: Callable[[str], NodePolicy], suspects: Container[int]
) -> tuple[str, list[SlotTask], list[SlotTask]]:
    """(type, tasks, those that must run alone) of one group of TASKS. A host's hot path.

    Args:
        group: The type, and its tasks.
        policy_of: What holds for a type here.
        suspects: Tasks that must run alone, whatever the supervisor says.
    """
    together: list[SlotTask] = []
    alone: list[SlotTask] = []
    try:
        type, tasks = group
        policy = policy_of(type)
        timeout, ours = policy.timeout, policy.extra
        for id, fence, attempt, priority, sent_at, params, extra in tasks:
            if params.__class__ is not bytes or id.__class__ is not int or fence.__class__ is not int:
                raise TypeError("a task has a number, a fence and bytes")
            if extra is None and id not in suspects:
                together.append((id, fence, type, attempt, 0, priority, sent_at, timeout, None, (), params, ours))
                continue
            rare: dict[str, Any] = extra or {}
            failures, tags = rare.get("failures", 0), tuple(rare.get("tags", ()))
            own = rare.get("timeout", timeout)
            spare = {**(ours or {}), "checkpoint": checkpoint(rare)} if "checkpoint" in rare else ours
            key = rare.get("key")
            task = (id, fence, type, attempt, failures, priority, sent_at, own, key, tags, params, spare)
            (alone if rare.get("alone") or id in suspects else together).append(task)
    except (TypeError, ValueError, AttributeError) as error:
        raise BadMessage(str(error)) from error
    return type, together, alone


def types_of(types: Any) -> list[str]:
    """Types, or the beginnings of types."""
    if not isinstance(types, list) or not all(isinstance(type, str) for type in cast("list[Any]", types)):
        raise BadMessage("types are a list of texts")
    return cast("list[str]", types)
