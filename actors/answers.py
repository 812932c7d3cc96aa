"""Answers to questions that need the store: what it has of tasks, with what only the core knows. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..transport.messages import STATES, Reply
from .core.effects import Answer, Where
from .core.flows.edges import POLICIES
from .core.reports import shown
from .core.sessions import ID_MAX
from .core.telling.story import story
from .core.unfit import Unfit
from .core.where import listed_of
from .stores.contract import Store

_LISTED_MAX: Final = 1000
_AFTER_MAX: Final = 100
"""Tasks before it that `show` names."""
GRAPH_TASKS_MAX: Final = 200
GRAPH_EDGES_MAX: Final = 2000
"""Of a flow that has more, `graph` names none: nobody could look at that, and the answer takes a few milliseconds."""
_IN_GRAPH: Final = ("id", "type", "state", "attempt", "host", "started_at", "ended_at", "error")


def answer(store: Store, effect: Answer) -> Reply:
    """The REPLY that the core asked for."""
    return _ANSWERS[effect.what](store, effect)


def _show(store: Store, effect: Answer) -> Reply:
    id = effect.arguments.get("id")
    task = store.show(id) if type(id) is int and 0 < id <= ID_MAX else None
    if task is None:
        return Reply(effect.request, False, {"code": "unknown", "reason": f"no task {shown(id)}"})
    flow = store.flow_of(task["id"])
    others = {**({} if flow is None else {"flow": flow}), **_after(store, task["id"]), **store.named(task["id"])}
    return Reply(effect.request, True, {"task": {**task, **others, **effect.live.get(task["id"], {})}})


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


def _graph(store: Store, effect: Answer) -> Reply:
    """What comes after what in a flow that is small enough to be looked at as a whole."""
    id: Any = effect.arguments.get("id")
    known = type(id) is int and 0 < id <= ID_MAX
    flow = store.flow(id, start=ID_MAX, owner=effect.owner) if known else None  # nothing is counted from there on
    if flow is None:
        return Reply(effect.request, False, {"code": "unknown", "reason": f"the pool has no flow {shown(id)}"})
    counted = {name: value for name, value in flow.items() if name not in ("ids", "counts", "types", "next")}
    graph: dict[str, Any] = {"flow": counted, "tasks": None, "edges": [], "others": []}
    if flow["total"] <= GRAPH_TASKS_MAX:
        found, _ = store.tasks(Where(owner=effect.owner, flow=flow["id"]), GRAPH_TASKS_MAX)
        edges, others = _edges(store, sorted(task["id"] for task in found))
        if len(edges) <= GRAPH_EDGES_MAX:
            listed = [{n: t[n] for n in _IN_GRAPH if t[n]} | effect.live.get(t["id"], {}) for t in reversed(found)]
            graph |= {"tasks": listed, "edges": edges, "others": [[id, state] for id, state in others.items()]}
    return Reply(effect.request, True, graph)


def _edges(store: Store, ids: list[int]) -> tuple[list[tuple[int, int, str, bool]], dict[int, str | None]]:
    """[(task, the one it comes after, on_failure, met), ...], and the states of those that are not among the tasks."""
    edges: list[tuple[int, int, str, bool]] = []
    others: dict[int, str | None] = {}
    inside = frozenset(ids)
    for id in ids:
        for after, policy, met, state in store.after(id, GRAPH_EDGES_MAX + 1 - len(edges)):
            edges.append((id, after, tuple(POLICIES)[policy], bool(met)))
            if after not in inside:
                others[after] = None if state is None else STATES[state].value
        if len(edges) > GRAPH_EDGES_MAX:
            break
    return edges, others


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
        where = listed_of(arguments, effect.owner)
        limit = max(1, min(_optional(arguments, "limit", int) or 100, _LISTED_MAX))
        before = _optional(arguments, "before", int)
    except Unfit as unfit:
        return Reply(effect.request, False, {"code": "invalid", "reason": unfit.reason, "path": unfit.path})
    except TypeError as error:
        return Reply(effect.request, False, {"code": "invalid", "reason": str(error)})
    tasks, following = store.tasks(where, limit, before)
    listed = [{**task, **effect.live.get(task["id"], {})} for task in tasks]
    return Reply(effect.request, True, {"tasks": listed, "next": following})


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


_ANSWERS: Final[dict[str, Callable[[Store, Answer], Reply]]] = {
    "show": _show,
    "why": _why,
    "flow": _flow,
    "flows": _flows,
    "graph": _graph,
    "tasks": _tasks,
    "audit": _audit,
}
