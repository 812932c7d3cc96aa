"""What a configuration says to a supervisor."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..config.schedule_schema import plans
from ..config.schema import Settings
from ..transport.addresses import is_local
from ..transport.keys import OWN_ROLES, Home, KeyPair
from ..workers.errors import ConfigError
from .core.access.identities import Identity
from .core.settings import Keep, PoolSettings
from .stores.file_system import real
from .supervisor import Supervisor, SupervisorSettings


def supervisor_settings(
    settings: Settings, address: str, database: Path | None, *, network: bool = False, insecure: bool = False
) -> SupervisorSettings:
    """What a configuration says to a supervisor.

    Args:
        settings: The configuration.
        address: Where it listens.
        database: The queue's file, or None.
        network: Other machines may reach it: it has an identity, made if there is none, and so has this machine.
        insecure: Other machines may reach it, and nobody proves anything.

    Raises:
        ConfigError: This machine's identities cannot be used.
    """
    pair: KeyPair | None = None
    trusted: tuple[Identity, ...] = ()
    if not insecure and not is_local(address):
        pair, pool = Home.of(os.environ).own(address, make=network)
        name = socket.gethostname()
        trusted = tuple(Identity(own.public, role, name) for role, own in pool.pairs.items() if role in OWN_ROLES)
    return SupervisorSettings(
        address=address,
        database=None if database is None else real(database),
        durability=settings.queue.durability,
        pool=pool_settings(settings),
        document=settings.document(),
        pair=pair,
        trusted=trusted,
        insecure=insecure,
    )


def pool_settings(settings: Settings) -> PoolSettings:
    """What a configuration says to the core, wherever that runs.

    Raises:
        ConfigError: A schedule cannot be.
    """
    return PoolSettings(
        heartbeat=settings.pool.heartbeat,
        lost_after=settings.pool.lost_after,
        max_size=settings.queue.max_size,
        fifo=settings.queue.type == "fifo",
        ageing=settings.queue.ageing or 0.0,
        policies=settings.policies(),
        hosts=settings.host_entries(),
        queue_depth_high=settings.queue_depth_high(),
        watching=settings.watching(),
        schedules=plans(settings.schedules),
        keep=Keep(**settings.queue.keep.model_dump()),
    )


def start(settings: SupervisorSettings) -> Supervisor:
    """Start a supervisor, and write down who is met at its address, which has its real port only then.

    Raises:
        ConfigError: It cannot listen there, or this machine's identities cannot be used.
        StoreBroken: Its database cannot be used.
    """
    running = Supervisor.start(settings)
    try:
        home = Home.of(os.environ)
        if settings.pair is not None:
            home.own(running.address, make=False)
        else:
            home.plain(running.address)
    except ConfigError:
        running.stop()
        raise
    return running


def reading(
    settings: SupervisorSettings, read: Callable[[], Settings | list[str]]
) -> Callable[[], SupervisorSettings | list[str]]:
    """How a supervisor reads its configuration again. Its address, files and identities stay as they were at the start.

    Args:
        settings: What it is started with.
        read: Reads the file: the configuration, or all that is wrong with it.
    """

    def again() -> SupervisorSettings | list[str]:
        found = read()
        if isinstance(found, list):
            return found
        try:
            return replace(settings, pool=pool_settings(found), document=found.document())
        except ConfigError as error:
            return [str(error)]

    return again
