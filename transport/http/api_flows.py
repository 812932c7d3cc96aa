"""Of the API: flows, which are tasks that were handed in as one."""

from __future__ import annotations

from typing import Any, Final

from .. import documents
from .forms import FlowPart, FlowsQuery
from .operations import Call, Nothing, Operation
from .problems import Problem
from .shapes import ANY, COUNTS, DRAWN, FLOW, INTEGER, list_of, object_of


def _flows(call: Call) -> Any:
    reply = call.pool.flows_page(**call.query.model_dump())
    return {"flows": [documents.plain_data(flow) for flow in reply["flows"]], "next": reply.get("next")}


def _graph(call: Call) -> Any:
    graph = call.pool.flow(call.path.id).graph()
    tasks = None if graph["tasks"] is None else [documents.listed(task) for task in graph["tasks"]]
    return {**documents.plain_data(graph), "tasks": tasks}


def _cancel(call: Call) -> Any:
    id = call.path.id
    if not (count := call.pool.flow(id).cancel()):
        raise Problem(409, f"all tasks of flow {id} have ended already")
    return {"flow": id, "cancelled": count}


def _retry(call: Call) -> Any:
    id = call.path.id
    if not (count := call.pool.flow(id).retry()):
        raise Problem(409, f"no task of flow {id} failed, was cancelled or is quarantined")
    return {"flow": id, "retried": count}


OPERATIONS: Final = (
    Operation(
        "GET", "/flows", "flows", "Flows, newest first, with how many of their tasks have ended",
        _flows, query=FlowsQuery,
        answer=object_of("flows", "next", flows=list_of(FLOW), next={"type": ["integer", "null"]}),
    ),
    Operation(
        "GET", "/flows/{id}", "flow", "How far a flow is: its tasks by state",
        lambda call: documents.plain_data(call.pool.flow(call.path.id).show()),
        parts=FlowPart,
        answer=object_of(
            *FLOW["required"], "ids", "counts", "types",
            **{**FLOW["properties"], "ids": list_of(list_of(INTEGER)), "counts": COUNTS, "types": ANY},
        ),
    ),
    Operation(
        "GET", "/flows/{id}/graph", "flow_graph",
        "What comes after what in a flow of at most 200 tasks; of larger ones the tasks are not told",
        _graph, parts=FlowPart,
        answer=object_of(
            "flow", "tasks", "edges", "others", flow=FLOW,
            tasks={"type": ["array", "null"], "items": DRAWN},
            edges=list_of({"description": "[task, the one it comes after, on_failure, met]", "type": "array"}),
            others=list_of({"description": "[id, state] of one that does not belong to the flow", "type": "array"}),
        ),
    ),
    Operation(
        "POST", "/flows/{id}/cancel", "flow_cancel", "End every task of a flow that has not ended",
        _cancel, parts=FlowPart, body=Nothing, problems=(409,),
        answer=object_of("flow", "cancelled", flow=INTEGER, cancelled=INTEGER),
    ),
    Operation(
        "POST", "/flows/{id}/retry", "flow_retry",
        "Go on from where a flow failed: what failed runs again, what was cancelled waits for it",
        _retry, parts=FlowPart, body=Nothing, problems=(409,),
        answer=object_of("flow", "retried", flow=INTEGER, retried=INTEGER),
    ),
)  # fmt: skip
