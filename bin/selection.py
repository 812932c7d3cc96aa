"""Which tasks a command means: those named by number, or all that filters name. Asks before it means many.

Every command that changes tasks takes the same filters (`over_tasks`). What a filter means is the pool's to
say: it finds the tasks, and changes up to ten thousand of them in one transaction.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import Parameter
from typing import Annotated, Any, Final

import typer

from . import arguments, documents, options, progress
from .exits import FAILED, OK, UsageError, say
from .options import Address, Json
from .tables import count
from .tasks import Ids, OfFlow, OfTenant, OfType, Older, State, Tag, WithError, WithKey, state_of

STEP: Final = 10_000
"""Tasks that one order changes at the most: one transaction."""

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which tasks it would be.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, however many tasks it is.")]

_CHANGE_SECONDS: Final = 60.0
"""How long a command waits for one such order: on a busy machine ten thousand tasks take their time."""
_FILTERS: Final = {
    "state": State,
    "type": OfType,
    "tag": Tag,
    "tenant": OfTenant,
    "flow": OfFlow,
    "error": WithError,
    "older_than": Older,
    "key": WithKey,
}
_REST: Final = {"dry_run": (DryRun, False), "yes": (Yes, False), "as_json": (Json, False), "address": (Address, None)}


@dataclass(frozen=True)
class Change:
    """What a command does with the tasks that it means.

    Attributes:
        word: The client's word for it.
        verb: For the question: `cancel` 12 tasks?
        done: What a task is then.
        why_not: Why one that was named may not be so.
        first: What the client's word takes before the tasks.
        rate: Tasks a second at the most; None: as fast as it goes.
    """

    word: str
    verb: str
    done: str
    why_not: str
    first: tuple[Any, ...] = ()
    rate: float | None = None


def over_tasks(command: Callable[..., Change]) -> Callable[..., None]:
    """A command over tasks: its own parameters, then those that say which tasks it means, and how.

    Args:
        command: Takes its own parameters and says what is to be done.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())

    def run(context: typer.Context, **given: Any) -> None:
        change = command(**{parameter.name: given[parameter.name] for parameter in own})
        where = _where(given)
        ids: list[int] | None = given["ids"]
        if ids and where:
            message = "name tasks by number or by filter, not both"
            raise UsageError(message)
        if not ids and not where:
            message = "name tasks: ids, or a filter (" + ", ".join(_option(name) for name in _FILTERS) + ")"
            raise UsageError(message)
        with options.pool(context, given["address"]) as client:
            client.status()  # an absent pool is noticed soon
        with options.pool(context, given["address"], _CHANGE_SECONDS) as client:
            act = partial(getattr(client, change.word), *change.first)
            meant: Sequence[int] = ids or act(dry_run=True, **where)
            if not meant:
                say("no task is like that")
            if given["dry_run"]:
                done = act(ids, dry_run=True) if ids else list(meant)
            else:
                if not ids:
                    _agreed(meant, change.verb, yes=given["yes"])
                done = _in_steps(meant, lambda some: act(some, **where), change.done, change.rate)
        tell(meant, done, change.done, change.why_not, by_id=bool(ids), as_json=given["as_json"])

    optional = [_optional(name, kind, None) for name, kind in _FILTERS.items()]
    optional += [_optional(name, kind, default) for name, (kind, default) in _REST.items()]
    arguments_own = [one for one in own if one.default is Parameter.empty]
    options_own = [one for one in own if one.default is not Parameter.empty]
    parameters = [
        Parameter("context", Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        *arguments_own,
        _optional("ids", Ids, None),
        *options_own,
        *optional,
    ]
    run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
    return run


def _optional(name: str, kind: Any, default: Any) -> Parameter:
    return Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, annotation=kind, default=default)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _where(given: dict[str, Any]) -> dict[str, Any]:
    """The filters, as the client takes them."""
    where = {name: given[name] for name in _FILTERS if given[name] is not None}
    if "state" in where:
        where["state"] = state_of(where["state"])
    if "older_than" in where:
        where["older_than"] = arguments.duration(where["older_than"], "--older-than")
    return where


def _agreed(ids: Sequence[int], verb: str, *, yes: bool) -> None:
    """Ask, where filters name more than one task.

    Raises:
        UsageError: Nobody is there to be asked.
        Exit: The answer is no.
    """
    if yes or len(ids) < 2:
        return
    tasks = count(len(ids), "task") + (f", {STEP:,} at a time" if len(ids) > STEP else "")
    if not sys.stdin.isatty():
        message = f"this would {verb} {tasks}: say --yes, or look first with --dry-run"
        raise UsageError(message)
    if not typer.confirm(f"{verb} {tasks}?", err=True):
        say("nothing was changed")
        raise typer.Exit(FAILED)


def _in_steps(
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
