"""Commands that start something: `up`, `supervisor`, `host`, `try`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from . import arguments, options
from .exits import UsageError
from .options import Codes, Config, ConfiguredAddress, Pairs, Parent, Profile, Reload, Slots

Network = Annotated[
    bool, typer.Option("--network", help="Let other machines join, with identities that are made if there are none.")
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Let other machines in without identities: whoever comes may do everything.")
]


def up(
    context: typer.Context,
    codes: Codes = None,
    config: Config = None,
    hosts: Annotated[int, typer.Option("--hosts", metavar="N", min=1, max=64, help="How many hosts.")] = 1,
    slots: Slots = None,
    network: Network = False,
    insecure: Insecure = False,
    reload: Reload = False,
    address: ConfiguredAddress = None,
) -> None:
    """Start a supervisor and hosts here, start them again when they crash, end them on Ctrl-C."""
    from ..transport.addresses import beyond, is_local, within
    from ..transport.keys import Home
    from ..transport.reachability import checked
    from .up import Plan, Up, free_address

    _check_one(network=network, insecure=insecure)
    settings = options.settings_of(config)
    arguments.slots(slots)
    bind = free_address(options.listening_address(options.chosen(context, address), settings))
    if network or insecure:
        bind = beyond(bind)
    here = checked(within(bind))
    if not insecure and not is_local(bind):
        Home.of(os.environ).own(bind, make=network)  # before anybody of ours wants to join
    found = tuple(codes or ())
    plan = Plan(
        address=here,
        listen=(bind, *(("--network",) if network else ()), *(("--insecure",) if insecure else ())),
        config=settings.source,
        hosts=hosts,
        name=settings.host.name,
        options=(*(("--slots", slots) if slots else ()), *(("--reload",) if reload else ()), "--", *found),
        codes=(*found, *(source.code for source in settings.sources().values() if source.code)),
        drain_timeout=settings.host.drain_timeout,
        monitor=settings.monitoring.wants_monitor(),
        local=here == (os.environ.get("WORKERHOST_ADDRESS") or _DEFAULT_ADDRESS),
    )
    raise typer.Exit(Up(plan).run())


def supervisor(
    context: typer.Context,
    config: Config = None,
    bind: Annotated[str | None, typer.Option("--bind", metavar="ADDRESS", help="Where to listen.")] = None,
    database: Annotated[
        Path | None, typer.Option("--database", metavar="FILE", readable=False, help="The queue's file.")
    ] = None,
    network: Network = False,
    insecure: Insecure = False,
    profile: Profile = None,
    parent: Parent = None,
    address: ConfiguredAddress = None,
) -> None:
    """Run the supervisor: the one process that owns the queue."""
    from ..actors.stores.lock import check_free
    from .light import import_structlog

    _check_one(network=network, insecure=insecure)
    settings = options.settings_of(config, quiet=parent is not None)
    where = options.listening_address(bind or options.chosen(context, address), settings)
    path = database or settings.database()
    if path is not None:
        check_free(path.absolute())  # before all that takes time: a second supervisor learns at once that it is one
    import_structlog()
    from ..actors.configured import reading, supervisor_settings
    from ..transport.addresses import beyond
    from . import logs
    from .parent import end_with
    from .signals import Events
    from .supervising import run

    logs.set_up_as(settings.logging, process="supervisor")
    events = Events(rereads=True)
    if parent is not None:
        end_with(parent)
    if network or insecure:
        where = beyond(where)
    wanted = supervisor_settings(settings, where, path, network=network, insecure=insecure)
    reread = reading(wanted, lambda: options.again(config or settings.source))
    settled = replace(wanted, profile=profile, reread=reread, on_failure=events.put)
    raise typer.Exit(run(settled, events, tell=parent is None))


def _check_one(*, network: bool, insecure: bool) -> None:
    """Raises UsageError where somebody asks for identities and for none."""
    if network and insecure:
        message = "--network wants identities and --insecure wants none; leave --insecure away"
        raise UsageError(message)


def host(
    context: typer.Context,
    codes: Codes = None,
    join: Annotated[str | None, typer.Option("--join", metavar="ADDRESS", help="The supervisor's address.")] = None,
    config: Config = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Default: made from the machine's.")
    ] = None,
    slots: Slots = None,
    serve: Annotated[
        str | None, typer.Option("--serve", metavar="TYPE,..", help="Only these types and what lies below them.")
    ] = None,
    refuse: Annotated[
        str | None, typer.Option("--not", metavar="TYPE,..", help="None of these, nor what lies below them.")
    ] = None,
    offer: Annotated[
        str | None,
        typer.Option("--offer", metavar="NAME=N,..", help="What tasks may require: gpu=1,memory=8G,zone=eu."),
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option("--accept", metavar="MODULE,..", help="Workers the supervisor may name: my.tasks, my.*."),
    ] = None,
    isolation: Annotated[
        str | None, typer.Option("--isolation", metavar="KIND", help="process (default) or thread.")
    ] = None,
    reload: Reload = False,
    profile: Profile = None,
    parent: Parent = None,
    address: ConfiguredAddress = None,
) -> None:
    """Run a host: it joins a supervisor and runs tasks in its slots."""
    from .light import import_structlog

    import_structlog()
    from . import hosting

    code = hosting.run(
        hosting.Wishes(
            address=join or options.chosen(context, address),
            codes=tuple(codes or ()),
            name=name,
            slots=arguments.slots(slots),
            serve=arguments.types(serve, "--serve"),
            refuse=arguments.types(refuse, "--not"),
            offer=arguments.resources(offer, "--offer"),
            accept=arguments.modules(accept, "--accept"),
            isolation=isolation,
            profile=profile,
            reload=reload,
            parent=parent,
        ),
        options.settings_of(config, quiet=parent is not None),
    )
    raise typer.Exit(code)


def try_(
    code: Annotated[str, typer.Argument(metavar="CODE[:NAME]", help="tasks.py, tasks.py:length, my.module:Class.")],
    pairs: Pairs = None,
    params: Annotated[str | None, typer.Option("--params", metavar="JSON", help="All params as JSON.")] = None,
    type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="The task's type; default its own.")
    ] = None,
    config: Config = None,
) -> None:
    """Run one task here, without a pool, in its node's python: full traceback, breakpoint() works."""
    from . import trial, trial_elsewhere

    given = arguments.params(pairs or (), params)
    where = trial_elsewhere.elsewhere(options.settings_of(config, quiet=True), code, type)
    raise typer.Exit(trial.run(code, given, type) if where is None else trial_elsewhere.run(where, given))


_DEFAULT_ADDRESS = "tcp://127.0.0.1:7470"
