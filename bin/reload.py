"""`reload`: hosts serve the code that is on their disk now; says what has changed on each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ..transport.documents import GONE
from ..workers.errors import plain
from . import arguments, documents, options
from .exits import BUSY, FAILED, UsageError, say
from .options import Address, Json

if TYPE_CHECKING:
    from ..transport.client import Client

PATIENCE_SECONDS: Final = 60.0
"""For new code to be imported, which is all that is waited for."""

_GLANCE_SECONDS: Final = 0.1


def reload(
    context: typer.Context,
    which: Annotated[
        str | None, typer.Argument(metavar="[HOST|TYPE]", help="One host, or a type; default all.")
    ] = None,
    as_json: Json = False,
    address: Address = None,
) -> None:
    """Serve the code that is on the hosts' disks now. What runs ends with the old code; broken code changes nothing."""
    with options.pool(context, address) as client:
        names = {host["name"] for host in client.hosts() if host["state"] not in GONE}
        if which is None or which in names:
            order = client.reload(host=which)
        elif arguments.is_type(which):
            order = client.reload(type=which)
        else:
            message = f"{which!r} is neither a host that has joined nor a type"
            raise UsageError(message)
        told = _await(client, order)
    if as_json:
        documents.show(documents.plain_data({"hosts": told}))
    else:
        for name in order["hosts"]:
            print("\n".join(_lines(name, told.get(name))), flush=True)
    if any(host["failed"] for host in told.values()):
        raise typer.Exit(FAILED)
    if len(told) < len(order["hosts"]):
        say("not all have answered; workerhost hosts shows them")
        raise typer.Exit(BUSY)


def _await(client: Client, order: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What became of it, by host, of those that have said so in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        hosts: list[dict[str, Any]] = client.hosts()
        told = {
            host["name"]: host["reload"]
            for host in hosts
            if host["name"] in order["hosts"] and host["reload"].get("order", 0) >= order["order"]
        }
        if len(told) == len(order["hosts"]) or time.monotonic() > deadline:
            return told
        time.sleep(_GLANCE_SECONDS)


def _lines(name: str, told: dict[str, Any] | None) -> list[str]:
    if told is None:
        return [f"{name} has not answered yet"]
    lines = [f"{name} keeps the old code of {what}: {plain(why, 500)}" for what, why in told["failed"].items()]
    for type, (before, after) in told["changed"].items():
        how = f"{before or 'nothing'} -> {after or 'nothing'}" if before != after else "as before"
        lines.append(f"{name} serves new code of {type}: {how}")
    return lines or [f"{name} has loaded everything anew; no worker's file has changed"]
