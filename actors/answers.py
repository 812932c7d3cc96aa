"""Answers to questions that need the store: what it has of tasks, with what only the core knows. Decides nothing."""

from __future__ import annotations

from typing import Any, Final

from ..transport.messages import STATES, Reply
from .core.effects import Answer
from .core.flows.edges import POLICIES
from .core.reports import shown
from .core.sessions import ID_MAX
from .core.telling.story import story
from .stores.contract import Store

_LISTED_MAX: Final = 1000
_AFTER_MAX: Final = 100
"""Tasks before it that `show` names."""


def answer(store: Store, effect: Answer) -> Reply:
    """The REPLY that the core asked for."""
    if effect.what == "show":
        return _show(store, effect)
    if effect.what in ("flow", "flows"):
        return (_flow if effect.what == "flow" else _flows)(store, effect)
    if effect.what == "audit":
        return _audit(store, effect)
    return _why(store, effect) if effect.what == "why" else _tasks(store, effect)


def _show(store: Store, effect: Answer) -> Reply:
    id = effect.arguments.get("id")
    task = store.show(id) if type(id) is int and 0 < id <= ID_MAX else None
    if task is None:
        return Reply(effect.request, False, {"code": "unknown", "reason": f"no task {shown(id)}"})
    return Reply(
        effect.request, True, {"task": {**task, **_after(store, task["id"]), **effect.live.get(task["id"], {})}}
    )


def _after(store: Store, id: int) -> dict[str, Any]:
    """What a task comes after, if that is anything."""
    found = [
        {
            "id": after,
            "state": None if state is None else STATES[state].value,
            "on_failure": tuple(POLICIES)[policy],
            "met": bool(met),
        }
        for after, policy, met, state in store.after(id, _AFTER_MAX)
    ]
    return {"after": found} if found else {}


def _why(store: Store, effect: Answer) -> Reply:
    """What the core said of a task, and what it went through as the store has it."""
    [(id, explanation)] = effect.live.items()
    task = store.show(id)
    if task is None:
        return Reply(effect.request, False, {"code": "unknown", "reason": f"no task {id}"})
    names = ("id", "type", "state", "priority")
    return Reply(effect.request, True, {**{n: task[n] for n in names}, **explanation, "story": story(task)})


def _flow(store: Store, effect: Answer) -> Reply:
    try:
        id, start = _optional(effect.arguments, "id", int), _optional(effect.arguments, "start", int)
    except TypeError as error:
        return Reply(effect.request, False, {"code": "invalid", "reason": str(error)})
    flow = store.flow(id or 0, start=start or 0, owner=effect.owner)
    if flow is None:
        return Reply(effect.request, False, {"code": "unknown", "reason": f"the pool has no flow {shown(id)}"})
    return Reply(effect.request, True, {"flow": flow})


def _flows(store: Store, effect: Answer) -> Reply:
    try:
        before = _optional(effect.arguments, "before", int) or ID_MAX
        limit = max(1, min(_optional(effect.arguments, "limit", int) or 100, _LISTED_MAX))
    except TypeError as error:
        return Reply(effect.request, False, {"code": "invalid", "reason": str(error)})
    flows, following = store.flows(before=before, limit=limit, owner=effect.owner)
    return Reply(effect.request, True, {"flows": flows, "next": following})


def _tasks(store: Store, effect: Answer) -> Reply:
    arguments = effect.arguments
    try:
        tasks, before = store.tasks(
            state=_optional(arguments, "state", int),
            type=_optional(arguments, "type", str),
            tag=_optional(arguments, "tag", str),
            limit=max(1, min(_optional(arguments, "limit", int) or 100, _LISTED_MAX)),
            before=_optional(arguments, "before", int),
            owner=effect.owner,
            tenant=_optional(arguments, "tenant", str),
            flow=_optional(arguments, "flow", int),
        )
    except TypeError as error:
        return Reply(effect.request, False, {"code": "invalid", "reason": str(error)})
    listed = [{**task, **effect.live.get(task["id"], {})} for task in tasks]
    return Reply(effect.request, True, {"tasks": listed, "next": before})


def _audit(store: Store, effect: Answer) -> Reply:
    try:
        limit = max(1, min(_optional(effect.arguments, "limit", int) or 100, _LISTED_MAX))
        before = _optional(effect.arguments, "before", int)
    except TypeError as error:
        return Reply(effect.request, False, {"code": "invalid", "reason": str(error)})
    found = store.audit(limit, ID_MAX if before is None else before)
    following = found[-1]["number"] if len(found) == limit else None
    return Reply(effect.request, True, {"audit": found, "next": following})


def _optional(arguments: dict[str, Any], key: str, kind: type) -> Any:
    value = arguments.get(key)
    if value is not None and (type(value) is not kind or (kind is int and not 0 <= value <= ID_MAX)):
        message = f"{key} must be of type {kind.__name__}"
        raise TypeError(message)
    return value
