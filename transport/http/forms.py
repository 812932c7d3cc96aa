"""What requests may hold: the parts of a path, what stands behind `?`, and bodies; each as a model that checks it.

What a model says is what the OpenAPI document says. What its words cannot say is said in `SENDING_RULES` and checked by
`agree`.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from ...config.policy import TENANT_PATTERN, TYPE_PATTERN
from ...config.resources import COUNT_MAX, NAMES_MAX
from ...config.schedules import NAME_PATTERN
from ..messages import STATES
from ..orders import ID_MAX
from ..terms import AFTER_MAX, KEY_CHARACTERS_MAX, PRIORITY_MAX, TAG_CHARACTERS_MAX, TAGS_MAX
from .problems import Problem

STATE_PATTERN: Final = f"^({'|'.join(STATES)})$"
ERROR_CHARACTERS_MAX: Final = 1000
_SECONDS_MAX: Final = 10 * 365 * 86400.0
_ATTEMPTS_MAX: Final = 1_000_000
_HOUR: Final = 3600
_PAGE_MAX: Final = 1000
_ABSENT: Any = None
"""Of what may be left out, but not be null."""


def _pattern(pattern: re.Pattern[str]) -> str:
    """As JSON Schema writes it."""
    return "^" + pattern.pattern.removesuffix(r"\Z") + "$"


def _instant(value: Any) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d[Tt ]", value):
        raise ValueError("must be a date and time with its offset, such as 2026-01-31T12:00:00Z")
    found = datetime.fromisoformat(value.upper())
    if found.utcoffset() is None:
        raise ValueError("must name its offset from UTC, such as 2026-01-31T12:00:00Z")
    return found


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 5.0 is 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_DATE_TIME: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "string", "format": "date-time", "pattern": "^(19[7-9]|[2-4]..)."},
        {"type": "null"},
    ]
}
Instant = Annotated[datetime | None, BeforeValidator(_instant), WithJsonSchema(_DATE_TIME)]
TypePath = Annotated[str, Field(pattern=_pattern(TYPE_PATTERN), description="The dotted path, such as `text.length`.")]
Tag = Annotated[str, Field(min_length=1, max_length=TAG_CHARACTERS_MAX, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
Tenant = Annotated[str, Field(pattern=_pattern(TENANT_PATTERN))]
TaskNumber = Annotated[int, Field(ge=1, le=ID_MAX), BeforeValidator(_whole)]
Resource = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,32}$")]
Label = Annotated[str, Field(pattern="^[A-Za-z0-9_.-]{1,64}$")]
Count = Annotated[int, Field(ge=0, le=COUNT_MAX), BeforeValidator(_whole)]
Attempts = Annotated[int, Field(ge=1, le=_ATTEMPTS_MAX), BeforeValidator(_whole)]
Priority = Annotated[
    int, Field(ge=-PRIORITY_MAX, le=PRIORITY_MAX, description="Larger runs first."), BeforeValidator(_whole)
]
Seconds = Annotated[float, Field(ge=0.001, le=_SECONDS_MAX)]


class TaskPart(BaseModel):
    """Of a path: which task."""

    id: int = Field(ge=1, le=ID_MAX, description="The task's number.")


class TypePart(BaseModel):
    """Of a path: which node of the tree."""

    type: TypePath


class HostPart(BaseModel):
    """Of a path: which host."""

    name: str = Field(min_length=1, max_length=255, description="The host's name.")


class FlowPart(BaseModel):
    """Of a path: which flow."""

    id: int = Field(ge=1, le=ID_MAX, description="The flow's number: that of its first task.")


class SchedulePart(BaseModel):
    """Of a path: which schedule."""

    name: str = Field(pattern=_pattern(NAME_PATTERN), description="The schedule's name.")


class TasksQuery(BaseModel):
    """Which tasks to list."""

    model_config = ConfigDict(extra="forbid")
    state: str | None = Field(None, pattern=STATE_PATTERN)
    type: TypePath | None = None
    tag: Tag | None = None
    tenant: Tenant | None = Field(None, description="Whose they are.")
    flow: int | None = Field(None, ge=1, le=ID_MAX, description="The number of the flow that they belong to.")
    error: str | None = Field(
        None,
        min_length=1,
        max_length=ERROR_CHARACTERS_MAX,
        description="A part of its last error's text, however it is capitalised.",
    )
    older_than: Seconds | None = Field(None, description="Sent so many seconds ago, or longer.")
    key: str | None = Field(
        None, min_length=1, max_length=KEY_CHARACTERS_MAX, description="Of each type the latest with this key."
    )
    limit: int = Field(100, ge=1, le=_PAGE_MAX, description="At most so many.")
    before: int | None = Field(None, ge=1, le=ID_MAX, description="Go on below this number: `next` of the page before.")


class FlowsQuery(BaseModel):
    """Which flows to list."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(100, ge=1, le=_PAGE_MAX, description="At most so many.")
    before: int | None = Field(None, ge=1, le=ID_MAX, description="Go on below this number: `next` of the page before.")


class SchedulesQuery(BaseModel):
    """Which schedules to list."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(_PAGE_MAX, ge=1, le=_PAGE_MAX, description="At most so many.")
    after: str | None = Field(
        None, pattern=_pattern(NAME_PATTERN), description="Go on behind this name: `next` of the page before."
    )


class HistoryQuery(BaseModel):
    """How far back."""

    model_config = ConfigDict(extra="forbid")
    seconds: int = Field(_HOUR, ge=10, le=_HOUR, description="How far back.")


class DrainBody(BaseModel):
    """How a host is to leave."""

    model_config = ConfigDict(extra="forbid", strict=True)
    undo: bool = Field(False, description="Let it stay after all.")


SENDING_RULES: Final[dict[str, Any]] = {
    "dependentRequired": {"unique_for": ["key"], "on_conflict": ["key"], "on_failure": ["after"]},
    "allOf": [
        {"not": {"required": ["at", "delay"], "properties": {"at": {"type": "string"}, "delay": {"type": "number"}}}},
        {"not": {"required": ["key", "cache"], "properties": {"cache": {"exclusiveMinimum": 0}}}},
    ],
}
"""What holds between the members of `SendBody`."""


class SendBody(BaseModel):
    """A task to send."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=SENDING_RULES)
    type: TypePath
    params: Any = Field(None, json_schema_extra={"title": "Value"})
    priority: Priority = 5
    delay: float | None = Field(None, ge=0, le=_SECONDS_MAX, description="Seconds before it may run; not with `at`.")
    at: Instant = Field(None, description="When it may run.")
    expires: Instant = Field(None, description="Not begun by then, it fails.")
    timeout: float | None = Field(None, ge=0.001, le=_SECONDS_MAX, description="Seconds that one attempt may run.")
    max_attempts: Attempts | None = Field(None, description="Failures until it is final.")
    tags: list[Tag] = Field([], max_length=TAGS_MAX, description="Names to find it by.")
    require_host: bool = Field(False, description="Refuse it if no joined host serves its type.")
    tenant: Tenant = Field(_ABSENT, description="Whose it is: at equal priority tenants take turns.")
    requires: dict[Resource, Count | Label] = Field(
        _ABSENT,
        max_length=NAMES_MAX,
        description="What its host must offer beside a slot: counts (1, `8G`) and labels.",
    )
    after: list[TaskNumber] = Field(
        _ABSENT, min_length=1, max_length=AFTER_MAX, description="Tasks that must have ended before it runs."
    )
    on_failure: Literal["cancel", "run", "wait"] = Field(
        _ABSENT, description="What if one of those does not complete; usually `cancel`."
    )
    key: str = Field(
        _ABSENT,
        min_length=1,
        max_length=KEY_CHARACTERS_MAX,
        description="Your name for it: an unfinished task of its type that bears it stands for this one.",
    )
    unique_for: Seconds | Literal["kept"] = Field(
        _ABSENT, description="It bears the key so many seconds, or as long as the pool keeps it, completed or not."
    )
    on_conflict: Literal["return", "replace", "refuse"] = Field(
        _ABSENT,
        description="What if a task bears the key: answer with that one (usual), change its params, or refuse.",
    )
    cache: float = Field(
        _ABSENT,
        ge=0,
        le=_SECONDS_MAX,
        description="A task with the same params that completed within so many seconds stands for this one; 0: none "
        "does, whatever the pool's configuration says.",
    )


def agree(body: SendBody) -> None:
    """What was given goes together, as far as a client does not see to that.

    Raises:
        Problem: It does not.
    """
    for name, others in SENDING_RULES["dependentRequired"].items():
        if name in body.model_fields_set and not body.model_fields_set.issuperset(others):
            raise Problem(422, f"body: {name}: goes with {', '.join(others)}", path=name)
