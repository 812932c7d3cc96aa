"""`monitor`: a program that watches a pool, keeps its figures over time, serves them over HTTP and tells of alerts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .exits import OK, leave, say
from .options import Config, ConfiguredAddress, Parent

if TYPE_CHECKING:
    import socket

    from ..actors.monitor import Monitor
    from ..config.schema import Settings
    from ..transport.client import Client
    from ..transport.http.server import Server

_PATIENCE_SECONDS = 10.0
"""How long a request over HTTP waits for the pool."""


def monitor(
    context: typer.Context,
    http: Annotated[
        str | None, typer.Option("--http", metavar="ADDRESS:PORT", help="Where to serve; default monitoring.http.")
    ] = None,
    config: Config = None,
    parent: Parent = None,
    address: ConfiguredAddress = None,
) -> None:
    """Watch a pool: serve the dashboard, /metrics and /health, keep what happened in the last hour, tell of alerts."""
    from .light import import_structlog

    settings = options.settings_of(config, quiet=parent is not None)
    import_structlog()
    from ..actors.monitor import Monitor, MonitorSettings
    from ..transport.addresses import within
    from ..transport.client import Client
    from . import logs
    from .parent import end_with
    from .signals import Events

    logs.set_up_as(settings.logging, process="monitor")
    events = Events()
    if parent is not None:
        end_with(parent)
    pool = options.chosen(context, address) or within(options.pool_address(settings))
    listening = _listening(settings, http)
    running = Monitor.start(MonitorSettings(pool, destinations=settings.monitoring.destinations))
    client = Client.observer(pool, timeout=_PATIENCE_SECONDS)
    server = None if listening is None else _served(client, running, listening)
    if server is None and parent is None:
        say(f"watching {client.address}, without HTTP; Ctrl-C ends it")
    events.get()
    events.next_ends()
    running.stop()
    if server is not None:
        server.stop()
    leave(OK)


def _listening(settings: Settings, wanted: str | None) -> socket.socket | None:
    """Where to serve; None: nowhere. A port that nobody has asked for gives way to another one.

    Raises:
        OSError: The wanted one is taken.
    """
    from ..transport.http.server import bound

    where = wanted or settings.monitoring.http
    if where is None:
        return None
    try:
        return bound(where)
    except OSError as error:
        if wanted is not None or "http" in settings.monitoring.model_fields_set:
            cure = "name another with --http or in monitoring.http"
            message = f"the dashboard cannot be served at {where} ({error.strerror}); {cure}"
            raise OSError(message) from None
        say(f"{where} is taken by another program, so the dashboard gets another port")
        return bound(f"{where.rpartition(':')[0]}:0")


def _served(client: Client, running: Monitor, listening: socket.socket) -> Server:
    """Serve, and say where. The token is told to a person at a terminal alone, not to a log."""
    from .. import __version__
    from ..transport.http.app import application
    from ..transport.http.server import Server, is_local
    from ..transport.http.token import token_in
    from ..transport.keys import Home

    home = Home.of(os.environ).folder
    token = token_in(home)
    name, port = listening.getsockname()[:2]
    local = is_local(f"[{name}]:{port}" if ":" in name else f"{name}:{port}")
    hands, free = _hands(client.address), local and is_anybodys(client.address)
    app = application(client, hands, running, token=token, local=local, open=free, version=__version__)
    server = Server(app, listening).start()
    say(f"the dashboard is at {server.url}/" + (f"#{token}" if sys.stderr.isatty() else ""))
    return server


def is_anybodys(address: str) -> bool:
    """Whether every user of this machine may ask the pool itself: at a port, and without an identity."""
    from ..transport.keys import Home

    return address.startswith("tcp://") and Home.of(os.environ).pool_at(address) is None


def _hands(address: str) -> Callable[[], Client]:
    """Gives the client that changes something when a person with the token wants that; nobody has it before."""
    lock = Lock()
    made: list[Client] = []

    def hands() -> Client:
        from ..transport.client import Client

        with lock:
            if not made:
                made.append(Client(address, timeout=_PATIENCE_SECONDS))
            return made[0]

    return hands
