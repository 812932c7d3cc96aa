"""Commands about the pool: `status`, `hosts`, `types`, `pause`, `resume`, `drain`."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from . import documents, options, views
from .exits import FAILED, say
from .options import Address, Json

Type = Annotated[str, typer.Argument(metavar="TYPE", help="The type; what lies below it is meant too.")]


def status(context: typer.Context, as_json: Json = False, address: Address = None) -> None:
    """The pool at a glance: the supervisor, its queue, its hosts, and what is odd."""
    with options.pool(context, address) as client:
        reply: dict[str, Any] = client.status()
    if reply["supervisor"].get("secured") == "insecure" and not as_json:
        typer.secho("INSECURE: whoever reaches this pool over the network may do everything", fg="red", bold=True)
    _print(reply, views.status(reply, time.time()), as_json)


def hosts(context: typer.Context, as_json: Json = False, address: Address = None) -> None:
    """The hosts, what they run, and what they cannot run."""
    with options.pool(context, address) as client:
        found: list[dict[str, Any]] = client.hosts()
    lines = views.hosts(found, time.time()) + views.host_details(found)
    _print({"hosts": found}, lines or ["no host has joined: workerhost host --join ADDRESS CODE"], as_json)


def types(
    context: typer.Context,
    type: Annotated[str | None, typer.Argument(metavar="TYPE", help="Only this type and those below it.")] = None,
    as_json: Json = False,
    address: Address = None,
) -> None:
    """The types that are known, how many tasks each has, and who serves it."""
    with options.pool(context, address) as client:
        found: list[dict[str, Any]] = client.types()
    if type is not None:
        found = [item for item in found if item["type"] == type or item["type"].startswith(type + ".")]
        if not found:
            say(f"no host serves {type}, no task has it and no configuration names it")
            raise typer.Exit(FAILED)
    _print({"types": found}, views.types(found) or ["no types yet: no host offers one and no task was sent"], as_json)


def pause(context: typer.Context, type: Type, address: Address = None) -> None:
    """Start no more tasks of a type. What runs goes on; tasks can be sent and wait."""
    with options.pool(context, address) as client:
        client.pause(type)
    say(f"{type} is paused; workerhost resume {type} lets it go on")


def resume(context: typer.Context, type: Type, address: Address = None) -> None:
    """Let a paused type go on."""
    with options.pool(context, address) as client:
        client.resume(type)
    say(f"{type} goes on")


def drain(
    context: typer.Context,
    host: Annotated[str, typer.Argument(metavar="HOST", help="Its name, as in `workerhost hosts`.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let it stay after all.")] = False,
    address: Address = None,
) -> None:
    """Let a host take nothing new, finish what it has, and leave."""
    with options.pool(context, address) as client:
        client.drain(host, undo=undo)
    say(f"{host} stays" if undo else f"{host} finishes what it has and leaves")


def _print(reply: Any, lines: list[str], as_json: bool) -> None:
    if as_json:
        documents.show(documents.plain_data(reply))
    else:
        print("\n".join(lines), flush=True)
