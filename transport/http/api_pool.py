"""Of the API: the pool itself, its types and its hosts."""

from __future__ import annotations

from typing import Any, Final

from ...workers.errors import TaskUnknown, WorkerHostError
from .. import documents
from .forms import DrainBody, HistoryQuery, HostPart, TypePart
from .operations import Call, Nothing, Operation
from .problems import Problem
from .shapes import ANY, COUNTS, FIGURES, HOST, NODE, PAUSED, TENANT, TEXT, list_of, object_of


def _history(call: Call) -> Any:
    columns = call.monitor.history(call.query.seconds)
    return documents.plain_data({**columns, "at": [documents.moment(at) for at in columns["at"]]})


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


OPERATIONS: Final = (
    Operation(
        "GET", "/token", "token", "Whether the token of this request allows changes",
        lambda _: {"allowed": True}, secret=True, answer=object_of("allowed", allowed={"type": "boolean"}),
    ),
    Operation(
        "GET", "/status", "status", "The supervisor, its hosts, and how many tasks are in each state",
        lambda call: documents.plain_data(call.pool.status()),
        answer=object_of(
            "supervisor", "hosts", "tasks",
            supervisor=ANY, hosts=list_of(HOST), tasks=COUNTS, tenants=list_of(TENANT),
        ),
    ),
    Operation(
        "GET", "/hosts", "hosts", "The hosts and what they run",
        lambda call: documents.plain_data({"hosts": call.pool.hosts()}),
        answer=object_of("hosts", hosts=list_of(HOST)),
    ),
    Operation(
        "GET", "/types", "types", "The nodes of the tree: tasks, limits, and what keeps tasks from being granted",
        lambda call: documents.plain_data({"types": call.pool.types()}),
        answer=object_of("types", types=list_of(NODE)),
    ),
    Operation(
        "GET", "/history", "history", "Throughput, latency and depth over the last hour, in columns of equal length",
        _history,
        query=HistoryQuery,
        answer=object_of("step", "at", step={"type": "number"}, queued=FIGURES, completed=FIGURES, failed=FIGURES),
    ),
    Operation(
        "POST", "/types/{type}/pause", "pause", "Start no more tasks of a type and of what lies below it",
        _pause, parts=TypePart, body=Nothing, answer=PAUSED,
    ),
    Operation(
        "POST", "/types/{type}/resume", "resume", "Let a paused type go on",
        _resume, parts=TypePart, body=Nothing, answer=PAUSED,
    ),
    Operation(
        "POST", "/hosts/{name:path}/drain", "drain", "Let a host finish what it has and leave",
        _drain, parts=HostPart, body=DrainBody, problems=(409,),
        answer=object_of("host", "draining", host=TEXT, draining={"type": "boolean"}),
    ),
)  # fmt: skip
