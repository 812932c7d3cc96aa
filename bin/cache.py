"""Commands about results that answer for further tasks: `cache clear`."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .exits import say
from .options import Address

cache = typer.Typer(no_args_is_help=True, help="Results that answer for further tasks.")


@cache.command("clear")
def clear(
    context: typer.Context,
    type: Annotated[str | None, typer.Argument(metavar="[TYPE]", help="Only this type and what lies below it.")] = None,
    address: Address = None,
) -> None:
    """Let results of tasks sent so far answer for no further ones."""
    with options.pool(context, address) as client:
        client.clear_cache(type)
    say(f"results {'of ' + type + ' ' if type else ''}answer for no further tasks")
