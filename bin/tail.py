"""The command `tail`: what a task writes, as it is kept or as it comes."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from ..workers.errors import plain
from . import documents, options
from .exits import say
from .options import Address, JsonLines

LINE_CHARACTERS_MAX = 5000


def tail(
    context: typer.Context,
    id: Annotated[int, typer.Argument(metavar="ID", help="The task's number.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until it has ended; Ctrl-C ends that.")] = False,
    as_json: JsonLines = False,
    address: Address = None,
) -> None:
    """What a task wrote: the last lines of each attempt, and with -f all that follows."""
    with options.pool(context, address) as client, suppress(KeyboardInterrupt):
        attempt = 0
        for line in client.tail(id, follow=follow):
            if as_json:
                at = None if line.at is None else documents.moment(line.at.timestamp())
                documents.show({"attempt": line.attempt, "text": line.text, "at": at})
                continue
            if line.attempt != attempt:
                attempt = line.attempt
                say(f"attempt {attempt}:")
            parts = line.text[:LINE_CHARACTERS_MAX].split("\t")
            print("\t".join(plain(part, LINE_CHARACTERS_MAX) for part in parts), flush=True)
        if not attempt and not as_json:
            say("nothing is known that it wrote")
