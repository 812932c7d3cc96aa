"""Of the API: orders over many tasks, those that filters name. What a filter means is the pool's to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from ..changes import IDS_MAX, Where
from ..terms import KEY_CHARACTERS_MAX
from .forms import ERROR_CHARACTERS_MAX, STATE_PATTERN, Priority, Seconds, Tag, TaskNumber, Tenant, TypePath
from .operations import Call, Operation
from .problems import Problem
from .shapes import IDS, object_of

_ABSENT: Any = None
"""Of what may be left out, but not be null."""
_FILTERS: Final = ("ids", *Where.__annotations__)


class SelectionBody(BaseModel):
    """Which tasks are meant: those that are all of this; something must be said."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"anyOf": [{"required": [name]} for name in _FILTERS]}
    )
    ids: list[TaskNumber] = Field(_ABSENT, min_length=1, max_length=IDS_MAX, description="Only of these.")
    state: str = Field(_ABSENT, pattern=STATE_PATTERN, description="In this state.")
    type: TypePath = Field(_ABSENT, description="Of this type itself.")
    tag: Tag = Field(_ABSENT, description="With this tag.")
    tenant: Tenant = Field(_ABSENT, description="Of this tenant.")
    flow: TaskNumber = Field(_ABSENT, description="Of the flow of this number.")
    error: str = Field(
        _ABSENT,
        min_length=1,
        max_length=ERROR_CHARACTERS_MAX,
        description="With this in their last error's text, however it is capitalised.",
    )
    older_than: Seconds = Field(_ABSENT, description="Sent so many seconds ago, or longer.")
    key: str = Field(
        _ABSENT, min_length=1, max_length=KEY_CHARACTERS_MAX, description="Of each type the latest with this key."
    )
    dry_run: bool = Field(False, description="Change nothing, only say which tasks it would be.")


class PriorityBody(SelectionBody):
    """Which tasks, and their priority from now on."""

    priority: Priority


class MoveBody(SelectionBody):
    """Which tasks, and the type whose worker shall run them."""

    to: TypePath


def _over_tasks(word: str, done: str, *first: str) -> Callable[[Call], Any]:
    """Carries out an order of a client: `word`, which takes what `first` names before the tasks."""

    def run(call: Call) -> Any:
        body: SelectionBody = call.body
        where = {name: getattr(body, name) for name in _FILTERS if name in body.model_fields_set}
        if not where:
            raise Problem(422, f"body: names no task; give one of {', '.join(_FILTERS)}", path="ids")
        tasks = where.pop("ids", None)
        order = getattr(call.pool, word)
        return {done: order(*(getattr(body, name) for name in first), tasks, dry_run=body.dry_run, **where)}

    return run


def _operation(word: str, done: str, summary: str, body: type[SelectionBody], *first: str) -> Operation:
    summary += ": all that are meant, or with `dry_run` only their numbers"
    return Operation(
        "POST", f"/tasks/{word}", f"{word}_tasks", summary,
        _over_tasks(word, done, *first), body=body, problems=(409,), answer=object_of(done, **{done: IDS}),
    )  # fmt: skip


OPERATIONS: Final = (
    _operation("cancel", "cancelled", "End tasks that have not ended", SelectionBody),
    _operation("retry", "retried", "Queue tasks again that failed, were cancelled or are quarantined", SelectionBody),
    _operation("delete", "deleted", "Forget ended tasks before their time", SelectionBody),
    _operation("priority", "edited", "Give tasks that wait another priority", PriorityBody, "priority"),
    _operation("move", "edited", "Have tasks that never ran be run as another type", MoveBody, "to"),
)
