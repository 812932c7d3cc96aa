"""A pool in this process with its monitor, and its pages on a real port."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from workerhost import WorkerHost, worker
from workerhost.actors.monitor import Monitor, MonitorSettings
from workerhost.transport.client import Client
from workerhost.transport.http.app import application
from workerhost.transport.http.server import Server, bound

TOKEN = "only-for-tests-0123456789"


@worker("film.cut")
def nothing() -> None:
    """For a test that needs a type which is there, and no more."""


class Served:
    """A pool and where its pages are."""

    def __init__(self, pool: WorkerHost, url: str) -> None:
        self.pool, self.client, self.url = pool, pool.client, url


@contextmanager
def served(
    config: Mapping[str, Any] | None = None, *, workers: Sequence[Any] = (), slots: int = 2
) -> Generator[Served]:
    """A pool with its pages. What a test left behind, as one that failed does, is cancelled: nobody waits for it."""
    with WorkerHost(config, workers=workers, slots=slots) as pool, pages(pool.address) as url:
        try:
            yield Served(pool, url)
        finally:
            for state in ("scheduled", "queued", "running"):
                pool.client.cancel(state=state)


@contextmanager
def pages(address: str, *, timeout: float = 5.0, open: bool = True) -> Generator[str]:
    """The pages of a pool, which may be one that is not there; where they are."""
    with TemporaryDirectory() as home, ExitStack() as stack:
        monitor = Monitor.start(MonitorSettings(address, home=Path(home)))
        stack.callback(monitor.stop)
        client = stack.enter_context(Client.observer(address, timeout=timeout))
        hands = stack.enter_context(Client(address, timeout=timeout))
        app = application(client, lambda: hands, monitor, token=TOKEN, local=True, open=open, version="0")
        server = Server(app, bound("127.0.0.1:0")).start()
        stack.callback(server.stop)
        yield server.url
