"""Commands about what the pool sends by itself: `schedules`, `schedule add|next|pause|resume|run|remove`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from . import arguments, documents, options
from .exits import UsageError, say
from .options import Address, Json, Pairs
from .tables import table

schedule = typer.Typer(help="What the pool sends by itself.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]


class CatchUp(StrEnum):
    """What is sent for instants that were missed."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


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


@schedule.command("add")
def add(
    context: typer.Context,
    name: Name,
    type: Annotated[str, typer.Argument(metavar="TYPE", help="What it sends.")],
    pairs: Pairs = None,
    params: Annotated[str | None, typer.Option("--params", metavar="JSON", help="All params as JSON.")] = None,
    cron: Annotated[
        str | None, typer.Option("--cron", metavar="FIELDS", help="When: '0 3 * * *', as in crontab.")
    ] = None,
    every: Annotated[str | None, typer.Option("--every", metavar="TIME", help="Or how often: 30s, 5m, 2h.")] = None,
    zone: Annotated[str, typer.Option("--zone", metavar="ZONE", help="Whose clock --cron means.")] = "UTC",
    catch_up: Annotated[CatchUp, typer.Option("--catch-up", help="What is sent for missed instants.")] = CatchUp.LAST,
    priority: Annotated[int, typer.Option("--priority", metavar="N", help="Larger runs first.")] = 5,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="How long one attempt may run.")
    ] = None,
    max_attempts: Annotated[
        int | None, typer.Option("--max-attempts", metavar="N", help="Failures until a task is final.")
    ] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag; may be repeated.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Whose its tasks are.")] = None,
    requires: Annotated[
        str | None, typer.Option("--requires", metavar="NAME=N,..", help="What their host must offer.")
    ] = None,
    as_json: Json = False,
    address: Address = None,
) -> None:
    """Have the pool send a task again and again; a client's schedule of this name is replaced."""
    values = arguments.params(pairs or (), params)
    with options.pool(context, address) as client:
        made = client.schedule(
            name,
            type,
            values,
            cron=cron,
            every=arguments.duration(every, "--every"),
            zone=zone,
            catch_up=catch_up.value,
            priority=priority,
            timeout=arguments.duration(timeout, "--timeout"),
            max_attempts=max_attempts,
            tags=tuple(tags or ()),
            tenant=tenant,
            requires=arguments.resources(requires, "--requires"),
        )
    if as_json:
        documents.show(documents.schedule(made))
    else:
        say(f"schedule {name} sends {type} next at {_instant(made['coming'][0]) if made['coming'] else _next(made)}")


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
        print(_instant(instant))
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


def _instant(at: float) -> str:
    """By this machine's clock."""
    return datetime.fromtimestamp(at).astimezone().isoformat(" ", "seconds")


def _next(one: dict[str, Any]) -> str:
    if one.get("error"):
        return "unreadable"
    if one["paused"]:
        return "paused"
    if one["next"] is None:
        return "never"
    return f"{datetime.fromtimestamp(one['next']).astimezone():%m-%d %H:%M %z}"
