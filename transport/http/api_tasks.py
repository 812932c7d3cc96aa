"""Of the API: tasks, one and many."""

from __future__ import annotations

from typing import Any, Final

from ...workers.errors import InvalidTask
from .. import documents
from .forms import SendBody, TaskPart, TasksQuery, agree
from .operations import Call, Nothing, Operation
from .problems import Problem
from .shapes import IDS, INTEGER, LINE, SHOWN, STATE, TASK, TEXT, list_of, object_of


def _send(call: Call) -> Any:
    body: SendBody = call.body
    agree(body)
    given = {name: getattr(body, name) for name in body.model_fields_set - {"type", "params"}}
    try:
        handle = call.pool.send(body.type, body.params, **given)
    except InvalidTask as error:
        if error.path != "after":
            raise
        raise Problem(409, str(error), error="InvalidTask", path="after") from None  # what it names is not there
    return {"id": handle.id, "type": body.type, "state": str(handle.state), "existing": handle.existing}


def _tasks(call: Call) -> Any:
    query: TasksQuery = call.query
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


def _unblock(call: Call) -> Any:
    if not call.pool.unblock([call.path.id]):
        raise Problem(409, f"task {call.path.id} is {_state(call)}; only one that waits for others can be unblocked")
    return {"unblocked": [call.path.id], "unchanged": []}


def _delete(call: Call) -> Any:
    if not call.pool.delete([call.path.id]):
        reason = "only one that has ended, whose flow has ended and which no other waits for, can be deleted"
        raise Problem(409, f"task {call.path.id} is {_state(call)}; {reason}")
    return {"deleted": [call.path.id], "unchanged": []}


def _state(call: Call) -> str:
    """The task's state, or TaskUnknown."""
    return str(call.pool.show(call.path.id)["state"])


OPERATIONS: Final = (
    Operation(
        "GET", "/tasks", "tasks", "Tasks, newest first; a page may hold fewer than `limit`, and yet have a next",
        _tasks, query=TasksQuery,
        answer=object_of("tasks", "next", tasks=list_of(TASK), next={"type": ["integer", "null"]}),
    ),
    Operation(
        "POST", "/tasks", "send", "Send a task; answered when it is on disk",
        _send, body=SendBody, status=201, problems=(409,), location="/api/tasks/{id}",
        answer=object_of(
            "id", "type", "state", "existing", id=INTEGER, type=TEXT, state=STATE,
            existing={
                "description": "Whether it is a task that was there before, because of its key: with the same params, "
                "with other ones, or with those of this request in the place of its own.",
                "enum": [None, "same", "other", "replaced"],
            },
        ),
    ),
    Operation(
        "GET", "/tasks/{id}", "show", "Everything that is known of a task, its attempts included",
        lambda call: documents.task(call.pool.show(call.path.id)),
        parts=TaskPart, answer=SHOWN,
    ),
    Operation(
        "GET", "/tasks/{id}/why", "why", "Why a task does not run now, or what became of it",
        lambda call: documents.plain_data(call.pool.why(call.path.id)),
        parts=TaskPart,
        answer=object_of(
            "id", "type", "state", "reasons", "story",
            id=INTEGER, type=TEXT, state=STATE, reasons=list_of(object_of("code", "text", code=TEXT, text=TEXT)),
            story=list_of(object_of("at", "text", text=TEXT)),
        ),
    ),
    Operation(
        "GET", "/tasks/{id}/output", "output", "What a task wrote last, attempt by attempt",
        _output, parts=TaskPart,
        answer=object_of("id", "lines", id=INTEGER, lines=list_of(LINE)),
    ),
    Operation(
        "POST", "/tasks/{id}/cancel", "cancel", "End a task that has not ended, running or not",
        _cancel, parts=TaskPart, body=Nothing, problems=(409,), answer=object_of("cancelled", cancelled=IDS),
    ),
    Operation(
        "POST", "/tasks/{id}/retry", "retry", "Queue a task again that failed, was cancelled or is quarantined",
        _retry, parts=TaskPart, body=Nothing, problems=(409,), answer=object_of("retried", retried=IDS),
    ),
    Operation(
        "POST", "/tasks/{id}/unblock", "unblock", "Let a task run that waits for others, whatever becomes of those",
        _unblock, parts=TaskPart, body=Nothing, problems=(409,), answer=object_of("unblocked", unblocked=IDS),
    ),
    Operation(
        "POST", "/tasks/{id}/delete", "delete", "Forget an ended task, with its result and attempts, before its time",
        _delete, parts=TaskPart, body=Nothing, problems=(409,), answer=object_of("deleted", deleted=IDS),
    ),
)  # fmt: skip
