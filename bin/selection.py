"""Which tasks a command means: those named by number, or all that filters name. Asks before it means many.

Numbers are gathered page by page, and handed on in steps: however many there are, the supervisor serves others between.
"""

from __future__ import annotations

import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from . import arguments, documents, progress
from .exits import FAILED, OK, UsageError, say
from .tables import count
from .tasks import state_of

if TYPE_CHECKING:
    from ..transport.client import Client

STEP: Final = 500
"""Tasks that one order changes at the most: one turn of the supervisor."""
_PAGE: Final = 1000

Older = Annotated[
    str | None, typer.Option("--older-than", metavar="TIME", help="Only tasks that were sent so long ago: 30m, 7d.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which tasks it would be.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, however many tasks it is.")]


@dataclass(frozen=True)
class Wanted:
    """What the command line says about tasks: numbers, or filters."""

    ids: list[int] | None
    state: str | None = None
    type: str | None = None
    tag: str | None = None
    older_than: str | None = None


def chosen(client: Client, wanted: Wanted, states: Sequence[str]) -> Sequence[int]:
    """The numbers of the tasks that are meant. To mean everything, one must say so with a filter.

    Args:
        client: Of the pool.
        wanted: What the command line says.
        states: Those in which a task can be meant.

    Raises:
        UsageError: Nothing is named, or what cannot be meant.
    """
    filters = (wanted.state, wanted.type, wanted.tag, wanted.older_than)
    if wanted.ids:
        if any(one is not None for one in filters):
            message = "name tasks by number or by filter, not both"
            raise UsageError(message)
        return wanted.ids
    if all(one is None for one in filters):
        message = "name tasks: ids, or a filter (--state, --type, --tag, --older-than)"
        raise UsageError(message)
    if wanted.state is not None and state_of(wanted.state) not in states:
        message = f"--state {wanted.state} cannot be meant here; use {', '.join(states)}"
        raise UsageError(message)
    age = arguments.duration(wanted.older_than, "--older-than")
    until = float("inf") if age is None else time.time() - age
    found = array("q")  # eight bytes a task: ten million fit in memory
    for state in (wanted.state,) if wanted.state else states:
        found.extend(task["id"] for task in _search(client, state, wanted) if task["sent_at"] <= until)
    return found


def _search(client: Client, state: str, wanted: Wanted) -> Iterator[dict[str, Any]]:
    before: int | None = None
    while True:
        page = client.page(state=state_of(state), type=wanted.type, tag=wanted.tag, limit=_PAGE, before=before)
        yield from page["tasks"]
        before = page.get("next")
        if before is None:
            return


def agreed(ids: Sequence[int], verb: str, wanted: Wanted, *, yes: bool) -> None:
    """Ask, where filters name more than one task.

    Raises:
        UsageError: Nobody is there to be asked.
        Exit: The answer is no.
    """
    if yes or wanted.ids or len(ids) < 2:
        return
    if not sys.stdin.isatty():
        message = f"this would {verb} {count(len(ids), 'task')}: say --yes, or look first with --dry-run"
        raise UsageError(message)
    if not typer.confirm(f"{verb} {count(len(ids), 'task')}?", err=True):
        say("nothing was changed")
        raise typer.Exit(FAILED)


def in_steps(
    ids: Sequence[int], change: Callable[[list[int]], list[int]], what: str, rate: float | None = None
) -> list[int]:
    """Change tasks a step at a time.

    Args:
        ids: All of them.
        change: Changes some and returns those that it changed.
        what: For the bar.
        rate: Tasks a second at the most; None: as fast as it goes.

    Returns:
        Those that were changed.
    """
    size = STEP if rate is None else max(1, min(STEP, int(rate)))
    changed: list[int] = []
    began = time.monotonic()
    with progress.bar(what, max(len(ids), 1)) if len(ids) > size else _NoBar() as bar:
        for start in range(0, len(ids), size):
            if rate is not None:
                time.sleep(max(0.0, began + start / rate - time.monotonic()))
            changed += change(list(ids[start : start + size]))
            bar.update(min(start + size, len(ids)))
    return changed


class _NoBar:
    """For what is over at once."""

    def __enter__(self) -> _NoBar:
        return self

    def update(self, done: float, note: str = "") -> None:
        """Show nothing."""

    def __exit__(self, *_: object) -> None:
        """Leave nothing."""


def tell(ids: Sequence[int], done: list[int], word: str, why_not: str, *, by_id: bool, as_json: bool) -> None:
    """Print what was done; a task that was named and not met is a failure."""
    met = set(done)
    left = [id for id in ids if id not in met] if by_id else []
    if as_json:
        documents.show({word: done, "unchanged": left})
    else:
        for id in done:
            print(id)
        for id in left:
            say(f"task {id} was not {word}: it {why_not}")
    raise typer.Exit(FAILED if left else OK)
