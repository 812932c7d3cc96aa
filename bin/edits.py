"""Commands that change tasks, one or many: `cancel`, `retry`, `priority`, `move`."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .exits import UsageError
from .options import Address, Json
from .selection import DryRun, Older, Wanted, Yes, agreed, chosen, in_steps, tell
from .tasks import Ids, OfType, State, Tag

_UNFINISHED = ("running", "queued", "scheduled", "waiting")
_WAITING = ("queued", "scheduled")
_ENDED_BADLY = ("failed", "quarantined", "cancelled")


def cancel(
    context: typer.Context,
    ids: Ids = None,
    state: State = None,
    type: OfType = None,
    tag: Tag = None,
    older_than: Older = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
    address: Address = None,
) -> None:
    """End tasks that have not ended: by number, or all that the filters name."""
    wanted = Wanted(ids, state, type, tag, older_than)
    with options.pool(context, address) as client:
        meant = chosen(client, wanted, _UNFINISHED)
        if dry_run:
            done = list(meant)
        else:
            agreed(meant, "cancel", wanted, yes=yes)
            done = in_steps(meant, client.cancel, "cancelling")
    tell(meant, done, "cancelled", "has ended already, or there is none", by_id=bool(ids), as_json=as_json)


def retry(
    context: typer.Context,
    ids: Ids = None,
    state: State = None,
    type: OfType = None,
    tag: Tag = None,
    older_than: Older = None,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="N/TIME", help="So many at a time: 10/s, 100/min.")
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
    address: Address = None,
) -> None:
    """Queue failed, cancelled or quarantined tasks again: by number, or all that the filters name."""
    wanted, pace = Wanted(ids, state, type, tag, older_than), _rate(rate)
    with options.pool(context, address) as client:
        meant = chosen(client, wanted, _ENDED_BADLY)
        if dry_run:
            done = list(meant)
        else:
            agreed(meant, "retry", wanted, yes=yes)
            done = in_steps(meant, client.retry, "retrying", pace)
    tell(
        meant,
        done,
        "retried",
        "has not failed, a newer task has its key, or there is none",
        by_id=bool(ids),
        as_json=as_json,
    )


def priority(
    context: typer.Context,
    number: Annotated[int, typer.Argument(metavar="PRIORITY", help="Larger runs first; before it `--` if negative.")],
    ids: Ids = None,
    state: State = None,
    type: OfType = None,
    tag: Tag = None,
    older_than: Older = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
    address: Address = None,
) -> None:
    """Give tasks that wait another priority: by number, or all that the filters name. What runs goes on."""
    wanted = Wanted(ids, state, type, tag, older_than)
    with options.pool(context, address) as client:
        meant = chosen(client, wanted, _WAITING)
        if dry_run:
            done = list(meant)
        else:
            agreed(meant, f"give the priority {number} to", wanted, yes=yes)
            done = in_steps(meant, lambda some: client.edit(some, priority=number), "changing")
    tell(meant, done, "changed", "runs or has ended, or there is none", by_id=bool(ids), as_json=as_json)


def move(
    context: typer.Context,
    to: Annotated[str, typer.Argument(metavar="TYPE", help="The type whose worker shall run them.")],
    ids: Ids = None,
    state: State = None,
    type: OfType = None,
    tag: Tag = None,
    older_than: Older = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
    address: Address = None,
) -> None:
    """Have tasks that never ran be run as another type: params, priority and order stay, the worker is another.

    Tasks that ran before, belong to a flow, come after others, or have a key stay where they are.
    """
    wanted = Wanted(ids, state, type, tag, older_than)
    with options.pool(context, address) as client:
        meant = chosen(client, wanted, _WAITING)
        if dry_run:
            done = list(meant)
        else:
            agreed(meant, f"move to {to}", wanted, yes=yes)
            done = in_steps(meant, lambda some: client.edit(some, type=to), "moving")
    tell(meant, done, "moved", "ran before, is bound to its type, or there is none", by_id=bool(ids), as_json=as_json)


def _rate(text: str | None) -> float | None:
    """Tasks a second."""
    from ..config.limits import rate

    if text is None:
        return None
    try:
        found = rate(text)
    except ValueError as error:
        message = f"--rate {text!r}: {error}"
        raise UsageError(message) from None
    return found.count / found.seconds
