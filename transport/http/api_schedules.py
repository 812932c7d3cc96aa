"""Of the API: schedules, which are what the pool sends by itself."""

from __future__ import annotations

from typing import Any, Final

from .. import documents
from .forms import SchedulePart, SchedulesQuery
from .operations import Call, Nothing, Operation
from .shapes import INTEGER, SCHEDULE, TEXT, list_of, object_of


def _schedules(call: Call) -> Any:
    reply = call.pool.schedules_page(after=call.query.after or "", limit=call.query.limit)
    return {"schedules": [documents.schedule(one) for one in reply["schedules"]], "next": reply.get("next")}


def _pause(call: Call) -> Any:
    call.pool.pause_schedule(call.path.name)
    return {"schedule": call.path.name, "paused": True}


def _resume(call: Call) -> Any:
    call.pool.resume_schedule(call.path.name)
    return {"schedule": call.path.name, "paused": False}


def _run(call: Call) -> Any:
    return {"schedule": call.path.name, "task": call.pool.run_schedule(call.path.name)}


_PAUSED: Final = object_of("schedule", "paused", schedule=TEXT, paused={"type": "boolean"})

OPERATIONS: Final = (
    Operation(
        "GET", "/schedules", "schedules", "What the pool sends by itself, by name, and when next",
        _schedules, query=SchedulesQuery,
        answer=object_of("schedules", "next", schedules=list_of(SCHEDULE), next={"type": ["string", "null"]}),
    ),
    Operation(
        "POST", "/schedules/{name}/pause", "schedule_pause", "Send nothing for a schedule, and nothing later for now",
        _pause, parts=SchedulePart, body=Nothing, answer=_PAUSED,
    ),
    Operation(
        "POST", "/schedules/{name}/resume", "schedule_resume", "Let a paused schedule go on",
        _resume, parts=SchedulePart, body=Nothing, answer=_PAUSED,
    ),
    Operation(
        "POST", "/schedules/{name}/run", "schedule_run", "Send a task of a schedule now, beside its instants",
        _run, parts=SchedulePart, body=Nothing, problems=(409, 422),
        answer=object_of("schedule", "task", schedule=TEXT, task=INTEGER),
    ),
)  # fmt: skip
