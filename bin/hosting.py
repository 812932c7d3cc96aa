"""`host`: what the command line and the configuration say becomes one host, which runs until it is told to end."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..workers.errors import ConfigError, PoolRefused
from ..workers.registry import search_paths
from . import logs
from .exits import OK, say
from .parent import end_with
from .signals import Events, Signalled

if TYPE_CHECKING:
    from ..config.schema import Settings


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


def run(wishes: Wishes, settings: Settings) -> None:
    """Run a host until it has left.

    Raises:
        ConfigError: The host cannot be as it is wanted.
        PoolRefused: The supervisor does not take it.
    """
    raise NotImplementedError
