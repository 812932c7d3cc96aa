"""Commands about results that answer for further tasks: `cache clear`."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .exits import FAILED, UsageError, say
from .options import Address

cache = typer.Typer(no_args_is_help=True, help="Results that answer for further tasks.")


_UNFINISHED = ("waiting", "scheduled", "queued", "running")


@cache.command("clear")
def clear(
    context: typer.Context,
    type: Annotated[str | None, typer.Argument(metavar="TYPE", help="Only this type and what lies below it.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="TEXT", help="Only the key of a task of TYPE that has completed.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Results of all types.")] = False,
    address: Address = None,
) -> None:
    """Let results of tasks sent so far answer for no further ones."""
    if (type is None) != everything:
        message = "name a TYPE, or say --all" if type is None else "--all and a TYPE exclude each other"
        raise UsageError(message)
    if key is not None and type is None:
        message = "--key is that of a task of a TYPE: name it, too"
        raise UsageError(message)
    with options.pool(context, address) as client:
        state = client.clear_cache(type, key=key)
    if key is None:
        say(f"results {'of ' + type + ' ' if type else ''}answer for no further tasks")
    elif state in _UNFINISHED:
        say(f"key {key} stays that of its task of {type}, which is {state}")
        raise typer.Exit(FAILED)
    else:
        say(f"key {key} of {type} is free")
