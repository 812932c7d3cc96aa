"""Commands about tasks: `send`, `wait`, `ls`, `show`, `why`. What changes them is in `edits`."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import arguments, documents, options, task_views, waiting
from .exits import OK, UsageError, say
from .options import Address, Json, JsonLines, Pairs

if TYPE_CHECKING:
    from ..transport.client import Client

LISTED = 50
PAGE = 1000


class OnFailure(StrEnum):
    """What a task does if one that it comes after does not complete."""

    CANCEL = "cancel"
    RUN = "run"
    WAIT = "wait"


class OnConflict(StrEnum):
    """What becomes of a task whose key another one has."""

    RETURN = "return"
    REPLACE = "replace"
    REFUSE = "refuse"


_EXISTING = {
    "same": "its params are the same",
    "other": "its params are OTHERS, and stay as they are",
    "replaced": "it has the new params now",
}
Key = Annotated[
    str | None, typer.Option("--key", metavar="TEXT", help="Its name: not sent if a task of the type has it.")
]
UniqueFor = Annotated[
    str | None,
    typer.Option("--unique-for", metavar="TIME", help="It keeps the key when it has completed: 1h, or `kept`."),
]
Conflict = Annotated[OnConflict, typer.Option("--on-conflict", help="What if another task has the key.")]
Cache = Annotated[
    str | None,
    typer.Option(
        "--cache", metavar="TIME", help="A task with the same params, so old at most, answers for it: 1h; `off`: none."
    ),
]
Ids = Annotated[list[int] | None, typer.Argument(metavar="ID", help="Numbers of tasks.")]
State = Annotated[
    str | None,
    typer.Option("--state", metavar="STATE", help="waiting, scheduled, queued, running, completed, failed, ..."),
]
OfType = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only tasks of this type.")]
Tag = Annotated[str | None, typer.Option("--tag", metavar="TAG", help="Only tasks with this tag.")]
OfTenant = Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Only tasks of this tenant.")]
OfFlow = Annotated[int | None, typer.Option("--flow", metavar="ID", min=1, help="Only tasks of this flow.")]
WithError = Annotated[
    str | None, typer.Option("--error", metavar="TEXT", help="Only tasks whose last error has this text in it.")
]
WithKey = Annotated[
    str | None, typer.Option("--key", metavar="TEXT", help="Only the latest of each type with this key.")
]
Older = Annotated[
    str | None, typer.Option("--older-than", metavar="TIME", help="Only tasks that were sent so long ago: 30m, 7d.")
]
From = Annotated[
    str | None, typer.Option("--from", metavar="FILE", help="A task for each line, its params as JSON; -: of stdin.")
]
Each = Annotated[
    str | None, typer.Option("--each", metavar="KEY", help="A task for each line, which is KEY's value; of stdin.")
]
Anew = Annotated[bool, typer.Option("--anew", help="Send all of a file that was sent in part before.")]
Priority = Annotated[int, typer.Option("--priority", metavar="N", help="Larger runs first.")]


def send(
    context: typer.Context,
    type: Annotated[str, typer.Argument(metavar="TYPE", help="Such as text.length; see `workerhost types`.")],
    pairs: Pairs = None,
    params: Annotated[str | None, typer.Option("--params", metavar="JSON", help="All params as JSON.")] = None,
    from_file: From = None,
    each: Each = None,
    anew: Anew = False,
    priority: Priority = 5,
    delay: Annotated[str | None, typer.Option("--delay", metavar="TIME", help="Not before: 30s, 5m, 2h.")] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="How long one attempt may run.")
    ] = None,
    max_attempts: Annotated[
        int | None, typer.Option("--max-attempts", metavar="N", help="Failures until it is final.")
    ] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag; may be repeated.")] = None,
    require_host: Annotated[
        bool, typer.Option("--require-host", help="Refuse it if no host serves the type now.")
    ] = False,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="Whose it is; tenants take turns.")
    ] = None,
    after: Annotated[
        list[int] | None, typer.Option("--after", metavar="ID", help="Run after this task; may be repeated.")
    ] = None,
    on_failure: Annotated[
        OnFailure, typer.Option("--on-failure", help="What if one of these does not complete.")
    ] = OnFailure.CANCEL,
    requires: Annotated[
        str | None,
        typer.Option("--requires", metavar="NAME=N,..", help="What its host must offer: gpu=1,memory=8G,zone=eu."),
    ] = None,
    key: Key = None,
    unique_for: UniqueFor = None,
    on_conflict: Conflict = OnConflict.RETURN,
    cache: Cache = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end and print the value.")] = False,
    as_json: Json = False,
    address: Address = None,
) -> None:
    """Send a task and print its id; with --wait print its value as JSON. --from, --each: many, and their tag."""
    values = arguments.params(pairs or (), params)
    sending: dict[str, Any] = {
        "priority": priority,
        "delay": arguments.duration(delay, "--delay"),
        "timeout": arguments.duration(timeout, "--timeout"),
        "max_attempts": max_attempts,
        "tags": tuple(tags or ()),
        "require_host": require_host,
        "tenant": tenant,
        "after": after or (),
        "on_failure": on_failure.value,
        "requires": arguments.resources(requires, "--requires"),
        "key": key,
        "unique_for": "kept" if unique_for == "kept" else arguments.duration(unique_for, "--unique-for"),
        "on_conflict": on_conflict.value,
        "cache": False if cache == "off" else arguments.duration(cache, "--cache"),
    }
    if from_file is None and each is None:
        with options.pool(context, address) as client:
            code = _one(client, type, values, sending, wait=wait, as_json=as_json)
    else:
        from . import batches

        many = batches.lines_of(from_file, each, values)
        with batches.client(options.chosen(context, address), options.PATIENCE_SECONDS) as client:
            sent = batches.send(client, type, many, sending, anew=anew)
            code = _said(client, sent.tag, batches.document(sent), wait=wait, as_json=as_json)
    raise typer.Exit(code)


def _said(client: Client, tag: str, document: dict[str, Any], *, wait: bool, as_json: bool) -> int:
    documents.show(document) if as_json else print(tag, flush=True)
    return waiting.for_tag(client, tag, waiting.deadline(None)) if wait else OK


def _one(client: Client, type: str, params: Any, sending: dict[str, Any], *, wait: bool, as_json: bool) -> int:
    handle = client.send(type, params, **sending)
    if handle.existing is not None:
        say(f"task {handle.id} answers for it; {_EXISTING[handle.existing]}")
    if wait:
        return waiting.for_value(client, handle, as_json=as_json)
    if as_json:
        documents.show({"id": handle.id, "type": type, "state": str(handle.state)})
    else:
        print(handle.id, flush=True)
    return OK


def wait(
    context: typer.Context,
    ids: Ids = None,
    tag: Annotated[str | None, typer.Option("--tag", metavar="TAG", help="All tasks with this tag.")] = None,
    idle: Annotated[bool, typer.Option("--idle", help="Until no task of the pool is unfinished.")] = False,
    timeout: Annotated[str | None, typer.Option("--timeout", metavar="TIME", help="At most so long: 30s, 5m.")] = None,
    as_json: JsonLines = False,
    address: Address = None,
) -> None:
    """Wait until tasks have ended: 0 if all completed, 1 if one did not, 75 if some still run, 69 if the pool is away.

    With --idle it is never 1, however they ended.
    """
    if bool(ids) + (tag is not None) + idle != 1:
        message = "name what to wait for: ids, or --tag TAG, or --idle"
        raise UsageError(message)
    if as_json and not ids:
        message = "--json tells of tasks that are named by id; those of a tag: workerhost ls --tag TAG --json"
        raise UsageError(message)
    until = waiting.deadline(arguments.duration(timeout, "--timeout"))
    with options.pool(context, address) as client:
        if ids:
            code = waiting.for_tasks(client, ids, until, as_json=as_json)
        elif tag is not None:
            code = waiting.for_tag(client, tag, until)
        else:
            code = waiting.for_idle(client, until)
    raise typer.Exit(code)


def ls(
    context: typer.Context,
    state: State = None,
    type: OfType = None,
    tag: Tag = None,
    tenant: OfTenant = None,
    flow: OfFlow = None,
    error: WithError = None,
    older_than: Older = None,
    key: WithKey = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=PAGE, help="At most so many.")] = LISTED,
    as_json: Json = False,
    address: Address = None,
) -> None:
    """List tasks, newest first."""
    with options.pool(context, address) as client:
        found = client.tasks(
            state=state_of(state), type=type, tag=tag, tenant=tenant, flow=flow, error=error, key=key,
            older_than=arguments.duration(older_than, "--older-than"), limit=limit,
        )  # fmt: skip
    if as_json:
        documents.show({"tasks": [documents.listed(task) for task in found]})
        return
    print("\n".join(task_views.tasks(found, time.time()) or ["no such task"]), flush=True)
    if len(found) == limit:
        narrower = "--state, --type, --tag, --tenant, --flow, --error, --older-than"
        say(f"there may be more: --limit {min(limit * 10, PAGE)}, or narrow it with {narrower}")


def show(
    context: typer.Context,
    id: Annotated[int, typer.Argument(metavar="ID", help="The task's number.")],
    as_json: Json = False,
    address: Address = None,
) -> None:
    """One task in full: params, result or error, and every attempt."""
    with options.pool(context, address) as client:
        document = documents.task(client.show(id))
    if as_json:
        documents.show(document)
    else:
        print("\n".join(task_views.task(document)), flush=True)


def why(
    context: typer.Context,
    id: Annotated[int, typer.Argument(metavar="ID", help="The task's number.")],
    as_json: Json = False,
    address: Address = None,
) -> None:
    """Why a task does not run now, or what became of it."""
    with options.pool(context, address) as client:
        document = documents.plain_data(client.why(id))
    if as_json:
        documents.show(document)
    else:
        print("\n".join(task_views.why(document)), flush=True)
        for code in dict.fromkeys(reason["code"] for reason in document["reasons"]):
            say(f"what to do about it: docs/troubleshooting.md#{code} in the repository")


def state_of(text: str | None) -> Any:
    """The state that an option names.

    Raises:
        UsageError: There is no such state.
    """
    from ..transport.messages import TaskState

    if text is None:
        return None
    try:
        return TaskState(text)
    except ValueError:
        message = f"--state {text!r} is no state; use {', '.join(TaskState)}"
        raise UsageError(message) from None
