"""Commands about what the pool sends by itself: `schedules`, `schedule next|pause|resume|run|remove`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from . import documents, options
from .exits import UsageError, say
from .options import Address, Json
from .tables import table

schedule = typer.Typer(help="What the pool sends by itself.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]


def schedules(context: typer.Context, as_json: Json = False, address: Address = None) -> None:
    """List schedules, those that are due next first."""
    with options.pool(context, address) as client:
        found = client.schedules()
    if as_json:
        documents.show({"schedules": [documents.schedule(one) for one in found]})
        return
    found.sort(key=lambda one: (one["next"] is None, one["next"] or 0, one["name"]))
    for one in found:
        if one.get("error"):
            say(f"schedule {one['name']} sends nothing: {one['error']}")
    rows = [[one["name"], one["type"], _when(one), _next(one), one["task"] or "-", one["source"]] for one in found]
    print("\n".join(table(["NAME", "TYPE", "WHEN", "NEXT", "TASK", "FROM"], rows) or ["no schedule"]), flush=True)


@schedule.command("next")
def next_instants(context: typer.Context, name: Name, as_json: Json = False, address: Address = None) -> None:
    """When a schedule sends next: the five instants to come, by this machine's clock."""
    with options.pool(context, address) as client:
        found = next((one for one in client.schedules() if one["name"] == name), None)
    if found is None:
        message = f"the pool has no schedule {name!r}; `workerhost schedules` lists those that it has"
        raise UsageError(message)
    if as_json:
        document = documents.schedule(found)
        documents.show({"name": name, "coming": document["coming"]})
        return
    for instant in found["coming"]:
        print(datetime.fromtimestamp(instant).astimezone().isoformat(" ", "seconds"))
    if not found["coming"]:
        say(f"schedule {name} sends nothing: it {'is paused' if found['paused'] else _next(found)}")


@schedule.command("pause")
def pause(context: typer.Context, name: Name, address: Address = None) -> None:
    """Send nothing for a schedule until `resume`, and nothing for that time afterwards."""
    with options.pool(context, address) as client:
        client.pause_schedule(name)
    say(f"schedule {name} is paused")


@schedule.command("resume")
def resume(context: typer.Context, name: Name, address: Address = None) -> None:
    """Undo `pause`."""
    with options.pool(context, address) as client:
        client.resume_schedule(name)
    say(f"schedule {name} goes on")


@schedule.command("run")
def run(context: typer.Context, name: Name, address: Address = None) -> None:
    """Send a task of a schedule now, beside its instants; print its number."""
    with options.pool(context, address) as client:
        print(client.run_schedule(name), flush=True)


@schedule.command("remove")
def remove(context: typer.Context, name: Name, address: Address = None) -> None:
    """Forget a schedule that a client made; tasks that it sent stay."""
    with options.pool(context, address) as client:
        client.unschedule(name)
    say(f"schedule {name} is removed")


def _when(one: dict[str, Any]) -> str:
    if one["every"] is not None:
        return f"every {one['every']:g}s"
    return one["cron"] if one["zone"] == "UTC" else f"{one['cron']} {one['zone']}"


def _next(one: dict[str, Any]) -> str:
    if one.get("error"):
        return "unreadable"
    if one["paused"]:
        return "paused"
    if one["next"] is None:
        return "never"
    return f"{datetime.fromtimestamp(one['next']).astimezone():%m-%d %H:%M}"
