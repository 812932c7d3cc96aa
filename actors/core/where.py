"""Which tasks somebody means: those of some numbers, those that filters name, or both. For the core and the stores.

Owns what may be said of them, and what is asked of the store. Whoever changes what was found looks at each task again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, Final, cast

from ...transport.messages import STATES, Admin, Reply
from .effects import Fetch, Matching, Where
from .reports import shown
from .sessions import ID_MAX, ids_given
from .step import Peer, Step
from .unfit import Unfit

MEANT_MAX: Final = 10_000
"""Tasks that one order changes, in one transaction: the answer says where a larger one goes on."""
_TEXT_MAX: Final = 1000
_TEXTS: Final = ("type", "tag", "tenant", "error", "key")
_FILTERS: Final = ("ids", "states", *_TEXTS, "flow", "sent_before")
_STATE_CODES: Final = range(len(STATES))
DONE: Final = {"cancel": "cancelled", "again": "retried", "edit": "edited", "delete": "deleted"}
"""By the purpose: under which word the answer lists what was done."""


def mean(step: Step, peer: Peer, message: Admin, purpose: str, allowed: Iterable[int], *more: Any) -> None:
    """Ask the store which tasks an order means: `ids`, or `where` with `before` and `dry_run`.

    The context of what is fed back is (peer, request, what its answer says already, *more).

    Args:
        step: The step.
        peer: Who orders.
        message: What.
        purpose: What is to be done with them, see `DONE`.
        allowed: The states in which a task can be meant.
        more: For the context.
    """
    given = message.arguments
    context = (peer, message.request, dict[str, Any](), *more)
    try:
        if "where" not in given and not given.get("dry_run"):
            step.needs.append(Fetch(_ids(given["ids"]), purpose, context, peer.owner))
            return
        where = where_of(given.get("where", {"ids": given.get("ids")}), allowed, peer.owner)
    except Unfit as unfit:
        step.say(peer, Reply(message.request, False, {"code": "invalid", "reason": unfit.reason, "path": unfit.path}))
        return
    before: Any = given.get("before")
    if type(before) is not int or not 0 < before <= ID_MAX:
        before = None
    step.needs.append(Matching(where, before, MEANT_MAX, purpose, context, bool(given.get("dry_run"))))


def where_of(given: Any, allowed: Iterable[int], owner: str | None) -> Where:
    """What a peer said of the tasks that it means.

    Raises:
        Unfit: That is nothing, or what cannot be meant.
    """
    if not isinstance(given, dict) or not set(cast("dict[Any, Any]", given)) <= set(_FILTERS):
        raise Unfit("invalid", f"where: a mapping of {', '.join(_FILTERS)} is needed", "where")
    values = {name: value for name, value in cast("dict[str, Any]", given).items() if value is not None}
    if not values:
        raise Unfit("invalid", f"where: names no task; give one of {', '.join(_FILTERS)}", "where")
    allowed = sorted(allowed)
    return _checked({"states": allowed, **values}, allowed, owner)


def listed_of(arguments: dict[str, Any], owner: str | None) -> Where:
    """The same of a question for a list, whose filters stand beside other arguments; without any, all are meant.

    Raises:
        Unfit: They cannot be meant.
    """
    values = {name: arguments[name] for name in _FILTERS if arguments.get(name) is not None}
    if arguments.get("state") is not None:
        values.setdefault("states", [arguments["state"]])
    return _checked(values, _STATE_CODES, owner)


def _checked(values: dict[str, Any], allowed: Sequence[int], owner: str | None) -> Where:
    """Filters, each for itself."""
    for name in _TEXTS:
        if name in values and (not isinstance(values[name], str) or not 0 < len(values[name]) <= _TEXT_MAX):
            raise Unfit("invalid", f"where: {name} {shown(values[name])} is no text of at most {_TEXT_MAX}", name)
    states = _states(values["states"], allowed) if "states" in values else ()
    flow: Any = values.get("flow")
    if flow is not None and (type(flow) is not int or not 0 < flow <= ID_MAX):
        raise Unfit("invalid", f"where: flow {shown(flow)} is no number of one", "flow")
    sent_before: Any = values.get("sent_before")
    if sent_before is not None and (type(sent_before) not in (int, float) or not isfinite(sent_before)):
        raise Unfit("invalid", f"where: sent_before {shown(sent_before)} is no instant", "sent_before")
    ids = _ids(values["ids"]) if "ids" in values else None
    texts = {name: values.get(name) for name in _TEXTS}
    return Where(ids, states, flow=flow, sent_before=sent_before, owner=owner, **texts)


def _states(states: Any, allowed: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(states, list) or not all(type(one) is int for one in cast("list[Any]", states)):
        raise Unfit("invalid", "where: states is a list of codes", "states")
    if stray := [one for one in cast("list[int]", states) if one not in allowed]:
        name = STATES[stray[0]] if 0 <= stray[0] < len(STATES) else stray[0]
        words = ", ".join(STATES[one] for one in allowed)
        raise Unfit("invalid", f"a task that is {name} cannot be meant here; of these states: {words}", "states")
    if not states:
        raise Unfit("invalid", "where: states is empty", "states")
    return tuple(dict.fromkeys(cast("list[int]", states)))


def _ids(given: Any) -> tuple[int, ...]:
    try:
        return ids_given(given)
    except ValueError as error:
        raise Unfit("invalid", f"ids: {error}", "ids") from None


def answered(step: Step, need: Matching, found: Iterable[int], following: int | None) -> bool:
    """What the answer says of the search; whether that was all that was asked for."""
    peer, request, reply, *_ = need.context
    if following is not None:
        reply["next"] = following
    if need.dry_run:
        step.say(peer, Reply(request, True, {DONE[need.purpose]: list(found), **reply}))
    return need.dry_run
