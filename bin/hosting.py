"""`host`: what the command line and the configuration say becomes one host, which runs until it is told to end."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..actors import open_files
from ..actors.host import Host, HostSettings
from ..config.kinds import host_name
from ..workers.code_place import search_paths
from ..workers.errors import ConfigError, PoolRefused
from . import logs
from .arguments import CODE
from .exits import INTERNAL, OK, UsageError, report, say
from .options import again, pool_address
from .parent import end_with
from .signals import Events, Signalled

if TYPE_CHECKING:
    from ..config.schema import Settings

KINDS: Final = ("process", "thread")


@dataclass(frozen=True)
class Wishes:
    """What the command line says; None: nothing."""

    address: str | None
    codes: tuple[str, ...]
    name: str | None
    slots: dict[str, int] | None
    serve: list[str] | None
    refuse: list[str] | None
    isolation: str | None
    parent: int | None
    reload: bool = False
    profile: Path | None = None
    offer: dict[str, int | str] | None = None
    accept: list[str] | None = None


class _Left:
    """The host has left."""


def run(wishes: Wishes, settings: Settings) -> int:
    """Run a host until it has left. Returns the exit code.

    Raises:
        UsageError, ConfigError: The host cannot be as it is wanted.
    """
    wanted = combined(wishes, settings)
    if CODE in wanted.code and not Path(CODE).exists():
        message = f"{CODE} stands for your workers: put their file or module in its place, such as tasks.py"
        raise UsageError(message)
    logs.set_up_as(settings.logging, process="host")
    open_files.allow_all()
    events = Events()
    if wishes.parent is not None:
        end_with(wishes.parent)
    elif not wanted.code and not wanted.sources and not wanted.accept:
        say("no CODE, and no class or command in the configuration: this host runs nothing; workerhost host tasks.py")

    def reread() -> HostSettings | list[str]:
        found = again(settings.source)
        try:
            return found if isinstance(found, list) else combined(wishes, found)
        except (ConfigError, UsageError) as error:
            return [str(error)]

    host = Host.start(replace(wanted, reread=reread) if settings.source is not None else wanted)
    threading.Thread(target=lambda: host.join() and events.put(_Left()), name="left", daemon=True).start()
    signals = 0
    while isinstance(events.get(), Signalled):
        signals += 1
        if signals == 1:
            host.drain()
        else:
            events.next_ends()
            host.stop()
    if host.error is None:
        return OK
    return report(host.error) if isinstance(host.error, (PoolRefused, ConfigError)) else INTERNAL


def combined(wishes: Wishes, settings: Settings) -> HostSettings:
    """The command line first, then the configuration.

    Raises:
        UsageError, ConfigError: One of them says what cannot be.
    """
    file = settings.host
    isolation = wishes.isolation or settings.isolation()
    if isolation not in KINDS:
        message = f"isolation {isolation!r} is not for a host of its own; use {' or '.join(KINDS)}"
        raise UsageError(f"--{message}") if wishes.isolation else ConfigError(f"host.{message}")
    if wishes.name is not None:
        try:
            host_name(wishes.name)
        except ValueError as error:
            message = f"--name {wishes.name!r} {error}"
            raise UsageError(message) from None
    said = {"slots": wishes.slots, "serve": wishes.serve, "not": wishes.refuse}
    return HostSettings(
        address=wishes.address or address_of(settings),
        name=wishes.name or file.name,
        slots=wishes.slots or file.slots or None,
        serve=tuple(file.serve if wishes.serve is None else wishes.serve),
        not_=tuple(file.not_ if wishes.refuse is None else wishes.refuse),
        fixed=frozenset(name for name, value in said.items() if value is not None),
        resources=file.offer if wishes.offer is None else wishes.offer,
        isolation=isolation,
        code=wishes.codes,
        sources=settings.sources(),
        environments=settings.environments(isolation),
        placed=settings.placed(),
        accept=tuple(file.accept if wishes.accept is None else wishes.accept),
        paths=search_paths(wishes.codes, os.environ, os.curdir),
        drain_timeout=file.drain_timeout,
        reload=wishes.reload,
        profile=wishes.profile,
    )


def address_of(settings: Settings) -> str:
    """Where a host finds its supervisor if its command line does not say so."""
    return settings.host.join or pool_address(settings)
