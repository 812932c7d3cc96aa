"""Commands that change tasks, one or many: `cancel`, `retry`, `delete`, `priority`, `move`."""

from __future__ import annotations

from typing import Annotated

import typer

from .exits import UsageError
from .selection import Change, over_tasks

Rate = Annotated[str | None, typer.Option("--rate", metavar="N/TIME", help="So many at a time: 10/s, 100/min.")]


@over_tasks
def cancel() -> Change:
    """End tasks that have not ended: by number, or all that the filters name."""
    return Change("cancel", "cancel", "cancelled", "has ended already, or there is none")


@over_tasks
def retry(rate: Rate = None) -> Change:
    """Queue failed, cancelled or quarantined tasks again: by number, or all that the filters name."""
    why_not = "has not failed, a newer task has its key, or there is none"
    return Change("retry", "retry", "retried", why_not, rate=_rate(rate))


@over_tasks
def delete() -> Change:
    """Forget ended tasks, with their results and attempts: by number, or all that the filters name.

    What has not ended stays, and so does what one comes after that has not completed: cancel, or delete, that first.
    """
    return Change(
        "delete",
        "delete",
        "deleted",
        "has not ended, another task needs it, its sender is still to be told, or there is none",
    )


@over_tasks
def priority(
    number: Annotated[
        int, typer.Argument(metavar="PRIORITY", help="Larger runs first; a negative one last, after `--`.")
    ],
) -> Change:
    """Give tasks that wait another priority: by number, or all that the filters name. What runs goes on."""
    verb = f"give the priority {number} to"
    return Change("priority", verb, "changed", "runs or has ended, or there is none", (number,))


@over_tasks
def move(
    to: Annotated[str, typer.Argument(metavar="TYPE", help="The type whose worker shall run them.")],
) -> Change:
    """Have tasks that never ran be run as another type: params, priority and order stay, the worker is another.

    Tasks that ran before, belong to a flow, come after others, or have a key stay where they are.
    """
    why_not = "ran before, is bound to its type, or there is none"
    return Change("move", f"move to {to}", "moved", why_not, (to,))


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
