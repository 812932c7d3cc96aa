"""Commands about flows: `flows`, `flow show|cancel|retry`, and `unblock`."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer

from . import documents, options, selection
from .exits import FAILED, OK, say
from .options import Address, Json
from .tables import ago, figure, span, table

LISTED: Final = 50
PAGE: Final = 1000
flow = typer.Typer(help="Tasks that were handed in as one.", no_args_is_help=True, rich_markup_mode=None)

Number = Annotated[int, typer.Argument(metavar="ID", help="The flow's number: that of its first task.")]


def flows(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=PAGE, help="At most so many.")] = LISTED,
    as_json: Json = False,
    address: Address = None,
) -> None:
    """List flows, newest first, with how many of their tasks have ended."""
    with options.pool(context, address) as client:
        found = client.flows(limit=limit)
    if as_json:
        documents.show({"flows": [documents.plain_data(one) for one in found]})
        return
    now = time.time()
    rows = [[one["id"], one["name"] or "-", one["state"], _ended(one), span(ago(one["sent_at"], now))] for one in found]
    print("\n".join(table(["FLOW", "NAME", "STATE", "ENDED", "AGE"], rows) if rows else ["no flow"]), flush=True)


@flow.command("show")
def show(context: typer.Context, id: Number, as_json: Json = False, address: Address = None) -> None:
    """How far a flow is: its tasks by state."""
    with options.pool(context, address) as client:
        shown = client.flow(id).show()
    if as_json:
        documents.show(documents.plain_data(shown))
        return
    states = ", ".join(f"{figure(count)} {state}" for state, count in shown["counts"].items())
    spans = ", ".join(f"{first} to {first + count - 1}" if count > 1 else f"{first}" for first, count in shown["ids"])
    lines = [f"flow {id} {shown['name']}".rstrip() + f": {shown['state']}, {_ended(shown)} ended"]
    lines += [f"tasks  {states}", f"ids    {spans}"]
    print("\n".join(lines), flush=True)


@flow.command("cancel")
def cancel(context: typer.Context, id: Number, as_json: Json = False, address: Address = None) -> None:
    """End every task of a flow that has not ended."""
    with options.pool(context, address) as client:
        count = client.flow(id).cancel()
    _tell(id, count, "cancelled", as_json=as_json)


@flow.command("retry")
def retry(context: typer.Context, id: Number, as_json: Json = False, address: Address = None) -> None:
    """Go on from where a flow failed: what failed runs again, what was cancelled waits for it."""
    with options.pool(context, address) as client:
        count = client.flow(id).retry()
    _tell(id, count, "retried", as_json=as_json)


def unblock(
    context: typer.Context,
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="Numbers of waiting tasks.")],
    as_json: Json = False,
    address: Address = None,
) -> None:
    """Let tasks run that wait for others, whatever becomes of those."""
    with options.pool(context, address) as client:
        done = client.unblock(ids)
    selection.tell(ids, done, "unblocked", "does not wait, or there is none", by_id=True, as_json=as_json)


def _ended(shown: dict[str, Any]) -> str:
    """`7 of 10`, and how many of them badly."""
    bad = sum(shown[state] for state in ("failed", "cancelled", "quarantined"))
    text = f"{figure(shown['completed'] + bad)} of {figure(shown['total'])}"
    return f"{text}, {figure(bad)} badly" if bad else text


def _tell(id: int, count: int, word: str, *, as_json: bool) -> None:
    if as_json:
        documents.show({"flow": id, word: count})
    else:
        say(f"{count} tasks of flow {id} were {word}")
    raise typer.Exit(OK if count else FAILED)
