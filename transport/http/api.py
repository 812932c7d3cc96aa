"""The API: one table of what can be asked and ordered over HTTP. The documents are those of the command line's --json.

Functions here translate between a request that was checked and a client's call, and decide nothing.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from ...config.policy import TYPE_PATTERN
from ...workers.errors import TaskUnknown, WorkerHostError
from .. import documents
from ..messages import STATES
from ..orders import ID_MAX
from ..terms import PRIORITY_MAX, TAG_CHARACTERS_MAX, TAGS_MAX
from .operations import Call, Nothing, Operation
from .problems import Problem

_SECONDS_MAX: Final = 10 * 365 * 86400.0
_ATTEMPTS_MAX: Final = 1_000_000
_HOUR: Final = 3600
_TYPE: Final = TYPE_PATTERN.pattern.removesuffix(r"\Z")


def _instant(value: Any) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d[Tt ]", value):
        raise ValueError("must be a date and time with its offset, such as 2026-01-31T12:00:00Z")
    found = datetime.fromisoformat(value.upper())
    if found.utcoffset() is None:
        raise ValueError("must name its offset from UTC, such as 2026-01-31T12:00:00Z")
    return found


_DATE_TIME: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "string", "format": "date-time", "pattern": "^(19[7-9]|[2-4]..)."},
        {"type": "null"},
    ]
}
Instant = Annotated[datetime | None, BeforeValidator(_instant), WithJsonSchema(_DATE_TIME)]
TypePath = Annotated[str, Field(pattern=f"^{_TYPE}$", description="The dotted path, such as `text.length`.")]
Tag = Annotated[str, Field(min_length=1, max_length=TAG_CHARACTERS_MAX)]


class TaskPart(BaseModel):
    """Of a path: which task."""

    id: int = Field(ge=1, le=ID_MAX, description="The task's number.")


class TypePart(BaseModel):
    """Of a path: which node of the tree."""

    type: TypePath


class HostPart(BaseModel):
    """Of a path: which host."""

    name: str = Field(min_length=1, max_length=255, description="The host's name.")


class TasksQuery(BaseModel):
    """Which tasks to list."""

    model_config = ConfigDict(extra="forbid")
    state: str | None = Field(None, json_schema_extra={"enum": [state.value for state in STATES]})
    type: TypePath | None = None
    tag: Tag | None = None
    limit: int = Field(100, ge=1, le=1000, description="At most so many.")
    before: int | None = Field(None, ge=1, le=ID_MAX, description="Go on below this number: `next` of the page before.")


class HistoryQuery(BaseModel):
    """How far back."""

    model_config = ConfigDict(extra="forbid")
    seconds: int = Field(_HOUR, ge=10, le=_HOUR, description="How far back.")


class DrainBody(BaseModel):
    """How a host is to leave."""

    model_config = ConfigDict(extra="forbid", strict=True)
    undo: bool = Field(False, description="Let it stay after all.")


class SendBody(BaseModel):
    """A task to send."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: TypePath
    params: Any = Field(None, json_schema_extra={"title": "Value"})
    priority: int = Field(5, ge=-PRIORITY_MAX, le=PRIORITY_MAX, description="Larger runs first.")
    delay: float | None = Field(None, ge=0, le=_SECONDS_MAX, description="Seconds before it may run; not with `at`.")
    at: Instant = Field(None, description="When it may run.")
    expires: Instant = Field(None, description="Not begun by then, it fails.")
    timeout: float | None = Field(None, ge=0.001, le=_SECONDS_MAX, description="Seconds that one attempt may run.")
    max_attempts: int | None = Field(None, ge=1, le=_ATTEMPTS_MAX, description="Failures until it is final.")
    tags: list[Tag] = Field([], max_length=TAGS_MAX, description="Names to find it by.")
    require_host: bool = Field(False, description="Refuse it if no joined host serves its type.")


def _send(call: Call) -> Any:
    body: SendBody = call.body
    given = {name: getattr(body, name) for name in body.model_fields_set - {"type", "params"}}
    handle = call.pool.send(body.type, body.params, **given)
    return {"id": handle.id, "type": body.type, "state": str(handle.state)}


def _history(call: Call) -> Any:
    columns = call.monitor.history(call.query.seconds)
    return documents.plain_data({**columns, "at": [documents.moment(at) for at in columns["at"]]})


def _tasks(call: Call) -> Any:
    query: TasksQuery = call.query
    if query.state is not None and query.state not in {str(state) for state in STATES}:
        raise Problem(422, f"query: state: must be one of {', '.join(STATES)}", path="state")
    reply = call.pool.page(**query.model_dump())
    return {"tasks": [documents.listed(task) for task in reply["tasks"]], "next": reply.get("next")}


def _output(call: Call) -> Any:
    lines = [
        {
            "attempt": line.attempt,
            "text": line.text,
            "at": None if line.at is None else documents.moment(line.at.timestamp()),
        }
        for line in call.pool.tail(call.path.id)
    ]
    return {"id": call.path.id, "lines": lines}


def _cancel(call: Call) -> Any:
    if not call.pool.cancel([call.path.id]):
        raise Problem(409, f"task {call.path.id} has ended already: {_state(call)}")
    return {"cancelled": [call.path.id], "unchanged": []}


def _retry(call: Call) -> Any:
    if not call.pool.retry([call.path.id]):
        raise Problem(
            409,
            f"task {call.path.id} is {_state(call)}; only one that failed, was cancelled or is quarantined,"
            " and whose key no newer one has",
        )
    return {"retried": [call.path.id], "unchanged": []}


def _state(call: Call) -> str:
    """The task's state, or TaskUnknown."""
    return str(call.pool.show(call.path.id)["state"])


def _pause(call: Call) -> Any:
    call.pool.pause(call.path.type)
    return {"type": call.path.type, "paused": True}


def _resume(call: Call) -> Any:
    call.pool.resume(call.path.type)
    return {"type": call.path.type, "paused": False}


def _drain(call: Call) -> Any:
    name, undo = call.path.name, call.body.undo
    try:
        call.pool.drain(name, undo=undo)
    except TaskUnknown:
        raise
    except WorkerHostError:
        if name in {host["name"] for host in call.pool.hosts()}:
            raise
        raise Problem(404, f"no host is called {name}") from None
    return {"host": name, "draining": not undo}


def _object(*required: str, **properties: Any) -> dict[str, Any]:
    known = {name: properties.get(name, {}) for name in (*required, *properties)}
    return {"type": "object", "required": list(required), "properties": known}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


_STATE: Final = {"type": "string", "enum": [state.value for state in STATES]}
_INTEGER: Final = {"type": "integer"}
_TEXT: Final = {"type": "string"}
_ANY: Final = {"type": "object"}
_COUNTS: Final = {"type": "object", "additionalProperties": _INTEGER}
_TASK: Final = _object(
    "id", "type", "state", "priority", "attempt", "progress", id=_INTEGER, type=_TEXT, state=_STATE, priority=_INTEGER
)  # fmt: skip
_SHOWN: Final = _object(
    *_TASK["required"], "failures", "crashes", "params", "result", "error", "attempts",
    **{**_TASK["properties"], "attempts": _list({"type": "object"})},
)  # fmt: skip
_HOST: Final = _object("name", "state", "slots", "running", name=_TEXT, state=_TEXT, slots=_INTEGER, running=_INTEGER)
_NODE: Final = _object("type", "queued", "running", "hosts", "paused", type=_TEXT, queued=_INTEGER, running=_INTEGER)
_LINE: Final = _object("attempt", "text", attempt=_INTEGER, text=_TEXT)
_IDS: Final = _list(_INTEGER)
_FIGURES: Final = _list({"type": ["number", "null"]})
_PAUSED: Final = _object("type", "paused", type=_TEXT, paused={"type": "boolean"})

OPERATIONS: Final = (
    Operation(
        "GET", "/token", "token", "Whether the token of this request allows changes",
        lambda _: {"allowed": True}, secret=True, answer=_object("allowed", allowed={"type": "boolean"}),
    ),
    Operation(
        "GET", "/status", "status", "The supervisor, its hosts, and how many tasks are in each state",
        lambda call: documents.plain_data(call.pool.status()),
        answer=_object("supervisor", "hosts", "tasks", supervisor=_ANY, hosts=_list(_HOST), tasks=_COUNTS),
    ),
    Operation(
        "GET", "/hosts", "hosts", "The hosts and what they run",
        lambda call: documents.plain_data({"hosts": call.pool.hosts()}),
        answer=_object("hosts", hosts=_list(_HOST)),
    ),
    Operation(
        "GET", "/types", "types", "The nodes of the tree: tasks, limits, and what keeps tasks from being granted",
        lambda call: documents.plain_data({"types": call.pool.types()}),
        answer=_object("types", types=_list(_NODE)),
    ),
    Operation(
        "GET", "/history", "history", "Throughput, latency and depth over the last hour, in columns of equal length",
        _history,
        query=HistoryQuery,
        answer=_object("step", "at", step={"type": "number"}, queued=_FIGURES, completed=_FIGURES, failed=_FIGURES),
    ),
    Operation(
        "GET", "/tasks", "tasks", "Tasks, newest first; a page may hold fewer than `limit`, and yet have a next",
        _tasks, query=TasksQuery,
        answer=_object("tasks", "next", tasks=_list(_TASK), next={"type": ["integer", "null"]}),
    ),
    Operation(
        "POST", "/tasks", "send", "Send a task; answered when it is on disk",
        _send, body=SendBody, status=201, problems=(409,), location="/api/tasks/{id}",
        answer=_object("id", "type", "state", id=_INTEGER, type=_TEXT, state=_STATE),
    ),
    Operation(
        "GET", "/tasks/{id}", "show", "Everything that is known of a task, its attempts included",
        lambda call: documents.task(call.pool.show(call.path.id)),
        parts=TaskPart, answer=_SHOWN,
    ),
    Operation(
        "GET", "/tasks/{id}/why", "why", "Why a task does not run now, or what became of it",
        lambda call: documents.plain_data(call.pool.why(call.path.id)),
        parts=TaskPart,
        answer=_object(
            "id", "type", "state", "reasons", "story",
            id=_INTEGER, type=_TEXT, state=_STATE, reasons=_list(_object("code", "text", code=_TEXT, text=_TEXT)),
            story=_list(_object("at", "text", text=_TEXT)),
        ),
    ),
    Operation(
        "GET", "/tasks/{id}/output", "output", "What a task wrote last, attempt by attempt",
        _output, parts=TaskPart,
        answer=_object("id", "lines", id=_INTEGER, lines=_list(_LINE)),
    ),
    Operation(
        "POST", "/tasks/{id}/cancel", "cancel", "End a task that has not ended, running or not",
        _cancel, parts=TaskPart, body=Nothing, problems=(409,), answer=_object("cancelled", cancelled=_IDS),
    ),
    Operation(
        "POST", "/tasks/{id}/retry", "retry", "Queue a task again that failed, was cancelled or is quarantined",
        _retry, parts=TaskPart, body=Nothing, problems=(409,), answer=_object("retried", retried=_IDS),
    ),
    Operation(
        "POST", "/types/{type}/pause", "pause", "Start no more tasks of a type and of what lies below it",
        _pause, parts=TypePart, body=Nothing, answer=_PAUSED,
    ),
    Operation(
        "POST", "/types/{type}/resume", "resume", "Let a paused type go on",
        _resume, parts=TypePart, body=Nothing, answer=_PAUSED,
    ),
    Operation(
        "POST", "/hosts/{name:path}/drain", "drain", "Let a host finish what it has and leave",
        _drain, parts=HostPart, body=DrainBody, problems=(409,),
        answer=_object("host", "draining", host=_TEXT, draining={"type": "boolean"}),
    ),
)  # fmt: skip
"""All there is below `/api`, beside the document of it and the stream of events."""
