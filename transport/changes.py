"""Orders that change tasks, many at a time: those that are named, those that filters name, or both.

Owns what is said to the pool, message by message, and how its answers are put together. Sends nothing itself: whoever
does (`Client`, `AsyncClient`) sends what a generator here yields and hands it the reply.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from datetime import timedelta
from typing import Any, Final, TypedDict

from .messages import STATES, Admin, TaskState

IDS_MAX: Final = 10_000
"""Tasks of one order, changed at once: all of them or none."""
_DONE: Final = {
    "cancel": "cancelled",
    "retry": "retried",
    "edit": "edited",
    "delete": "deleted",
}
"""Under which word the answer lists what was done."""

Changing = Generator[Admin, dict[str, Any], list[int]]


class Where(TypedDict, total=False):
    """Which tasks are meant: those that are all of this.

    Attributes:
        state: In this state, or one of these.
        type: Of this type itself.
        tag: With this tag.
        tenant: Of this tenant.
        flow: Of the flow of this number.
        error: Whose last error has this text in it, however it is capitalised.
        older_than: Sent so long ago: seconds, or a timedelta.
        key: Of each type the latest that was sent with this key.
    """

    state: TaskState | str | Sequence[TaskState | str] | None
    type: str | None
    tag: str | None
    tenant: str | None
    flow: int | None
    error: str | None
    older_than: float | timedelta | None
    key: str | None


def changing(verb: str, ids: Sequence[int] | None, where: Where, *, dry_run: bool = False, **change: Any) -> Changing:
    """Say an order, `IDS_MAX` tasks at a time; the numbers of all tasks that it met.

    Args:
        verb: Of ADMIN.
        ids: Those that are meant, at the most; None: whatever the filters name.
        where: The filters.
        dry_run: Only ask which they are.
        change: What else the order says.

    Raises:
        ValueError: Nothing is meant, or there is no such state.
    """
    filters = filters_of(where)
    if ids is None and not filters:
        raise ValueError("name tasks, or give a filter: " + ", ".join(Where.__annotations__))
    done: list[int] = []
    parts = [None] if ids is None else [list(ids[start : start + IDS_MAX]) for start in range(0, len(ids), IDS_MAX)]
    for part in parts:
        before: int | None = None
        while True:
            wanted = filters if part is None else {**filters, "ids": part}
            reply = yield Admin(0, verb, {"where": wanted, "before": before, "dry_run": dry_run, **change})
            done += reply[_DONE[verb]]
            before = reply.get("next")
            if before is None:
                break
    return done


def unblocking(ids: Sequence[int]) -> Changing:
    """The same of `unblock`, which takes numbers alone."""
    done: list[int] = []
    for start in range(0, len(ids), IDS_MAX):
        reply = yield Admin(0, "unblock", {"ids": list(ids[start : start + IDS_MAX])})
        done += reply["unblocked"]
    return done


def filters_of(where: Where) -> dict[str, Any]:
    """As the pool takes them.

    Raises:
        ValueError: There is no such state.
    """
    given: dict[str, Any] = {name: value for name, value in where.items() if value is not None}
    state: Any = given.pop("state", None)
    if state is not None:
        given["states"] = [STATES.index(TaskState(one)) for one in ((state,) if isinstance(state, str) else state)]
    if "older_than" in given:
        age: Any = given.pop("older_than")
        given["sent_before"] = time.time() - (age.total_seconds() if isinstance(age, timedelta) else age)
    return given


def listing(where: Where, limit: int, before: int | None) -> dict[str, Any]:
    """A page of a list, as QUERY `tasks` takes it.

    Raises:
        ValueError: There is no such state.
    """
    return {**filters_of(where), "limit": limit} | ({} if before is None else {"before": before})


def carry_out(steps: Changing, ask: Callable[[Admin], dict[str, Any]]) -> list[int]:
    """Ask what a generator says, until it has all."""
    try:
        message = next(steps)
        while True:
            message = steps.send(ask(message))
    except StopIteration as ended:
        return ended.value


async def carry_out_awaiting(steps: Changing, ask: Callable[[Admin], Awaitable[dict[str, Any]]]) -> list[int]:
    """The same, awaited."""
    try:
        message = next(steps)
        while True:
            message = steps.send(await ask(message))
    except StopIteration as ended:
        return ended.value
