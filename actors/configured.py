"""What a configuration says to a supervisor."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from ..config.schema import Settings
from ..transport.keys import OWN_ROLES, Home, KeyPair, is_local
from .core.identities import Identity
from .core.settings import Keep
from .supervisor import SupervisorSettings


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
        database=database,
        durability=settings.queue.durability,
        fifo=settings.queue.type == "fifo",
        heartbeat=settings.pool.heartbeat,
        lost_after=settings.pool.lost_after,
        max_size=settings.queue.max_size,
        policies=settings.policies(),
        hosts=settings.host_entries(),
        queue_depth_high=settings.queue_depth_high(),
        keep=Keep(**settings.queue.keep.model_dump()),
        document=settings.document(),
        pair=pair,
        trusted=trusted,
        insecure=insecure,
    )
