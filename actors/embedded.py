"""A whole pool inside a program: a supervisor, one host and a client over memory, in a `with` block."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ..config.loading import load
from ..transport import clock
from ..transport.client import Client
from ..workers.code_place import search_paths
from ..workers.errors import ConfigError, PoolUnreachable, TaskUnknown, WorkerHostError
from ..workers.registry import Worker, locate, offer_of
from . import configured
from .core.restarts import ChildSpec, Restart, Restarts
from .host import Host, HostSettings
from .log import Log
from .stores.contract import StoreBroken
from .supervisor import Supervisor

_JOIN_SECONDS_MAX: Final = 30.0
_LEAVE_SECONDS_MAX: Final = 10.0
_FOREVER: Final = 10 * 365 * 86400.0
_CANCELLED_AT_ONCE: Final = 10_000

_SILENT_SECONDS: Final = 1.0

_HOST: Final = ChildSpec(Restart.TRANSIENT)
"""A host that fails is started again, however often: nobody above this pool could do more. One that was told to go is
not.
"""

_numbers = count(1)

log = Log("embedded")


class WorkerHost:
    """A pool embedded in this process: supervisor, one host, one client. Use it in a `with` block.

    There is no port unless the configuration says `pool: bind`, and without a database the queue is in memory. Slots
    are threads of this process (`inline`) unless the configuration says `host: isolation`. Leaving the block waits
    for everything (in memory) or for what runs (with a database: the rest waits there); leaving it by an exception
    cancels. A supervisor that fails ends the pool, and whoever waits for a task or leaves the block hears why.

    Args:
        config: A file, the same as a dict, or None: nothing but defaults.
        workers: Classes and functions to serve. With process slots they must be importable there; those of the script
            that runs are, those typed at a prompt are not.
        database: The queue's file, instead of the configuration's.
        slots: How many tasks run at a time, instead of the configuration's.

    Attributes:
        client: Sends tasks to this pool, while the block is entered.

    Raises:
        ConfigError: The configuration is wrong, or a worker cannot be loaded.
        PoolUnreachable: The supervisor has failed, as when its disk does: for whoever waits for it, and on leaving.
    """

    client: Client

    def __init__(
        self,
        config: str | Path | Mapping[str, Any] | None = None,
        *,
        workers: Sequence[Worker] = (),
        database: str | Path | None = None,
        slots: int | None = None,
    ) -> None:
        self._settings = load(config if config is not None else {}, os.environ)
        self._workers = tuple(workers)
        offer_of(self._workers)  # so that what is wrong with them is said here, not by slots
        self._database = Path(database) if database is not None else self._settings.database(embedded=True)
        self._slots = slots
        self._supervisor: Supervisor | None = None
        self._host: Host | None = None
        self._leaves = threading.Event()
        self._turn = threading.Lock()  # of whoever starts or ends the host
        self._failure: PoolUnreachable | None = None  # of the supervisor

    @property
    def address(self) -> str:
        """Where others find this pool: `memory://...` within the process, or what `pool: bind` says."""
        return self._running().address

    def join(self, timeout: float | None = None) -> bool:
        """Wait until no task is queued, scheduled or running; False after `timeout` seconds."""
        deadline = clock.now() + (_FOREVER if timeout is None else timeout)
        while (left := deadline - clock.now()) > 0:
            if not (waiting := self._unfinished()):
                return True
            for id in waiting:
                try:
                    handle = self.client.task(id)
                except TaskUnknown:
                    continue  # it has ended and was forgotten since
                if not handle.wait(max(0.0, min(left, deadline - clock.now()))):
                    return False
        return not self._unfinished()

    def _unfinished(self) -> list[int]:
        counts = self.client.status()["tasks"]
        states = [state for state in ("running", "queued", "scheduled") if counts[state]]
        return [task["id"] for state in states for task in self.client.tasks(state=state, limit=100)]

    def __enter__(self) -> Self:
        settings = self._settings
        address = settings.pool.bind if "bind" in settings.pool.model_fields_set else f"memory://{next(_numbers)}"
        self._failure = None
        self._leaves.clear()
        wanted = configured.supervisor_settings(settings, address, self._database)
        self._supervisor = configured.start(replace(wanted, on_failure=self._failed))
        try:
            self.client = Client(self._supervisor.address)
            with self._turn:
                if self._failure is not None:
                    raise self._failure
                self._host = Host.start(self._host_settings())
            if not self._host.wait_joined(_JOIN_SECONDS_MAX):
                raise self._failure or self._host.error or WorkerHostError("the pool's host did not start in time")
            host = next(host for host in self.client.hosts() if host["pid"] == os.getpid())
            if host["failed"]:
                code, reason = next(iter(host["failed"].items()))
                raise ConfigError(f"{code}: {reason}")
            threading.Thread(target=self._keep, args=(self._host,), name="keeps the host", daemon=True).start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        answers = self._failure is None
        try:
            if answers and kind is not None:
                self._cancel_all()  # makes room for what `send_soon` may still hold
                self.client.settle()
                self._cancel_all()
            elif answers and self._database is None:
                self.client.settle()
                self._finish_all()
        except PoolUnreachable:
            if kind is None or self._failure is None:
                raise  # else what ended the block goes first
        finally:
            self._end()
        if self._failure is not None and kind is None:
            raise self._failure

    def _failed(self, error: BaseException) -> None:
        """The supervisor has failed (called in its thread): nobody records or answers anything any more.

        It is not started again: what ended it is its disk, its database, or a fault of ours that what comes again would
        meet again. Whoever entered the block is the one above it, and may enter it once more.
        """
        why = str(error) if isinstance(error, StoreBroken) else f"{type(error).__name__}: {error}"
        rest = "its queue was in memory and is lost"
        if self._database is not None:
            rest = f"what was accepted is in {self._database}, and the next pool with it goes on from there"
        failure = PoolUnreachable(f"the supervisor of this pool has failed ({why}); {rest}")
        with self._turn:
            self._failure = failure
            self._leaves.set()
            host = self._host
        if host is not None:
            host.stop()
        if hasattr(self, "client"):
            self.client.fail(failure)

    def _keep(self, host: Host) -> None:
        """Start the host again whenever it has failed, until the block is left."""
        restarts = Restarts(_HOST)
        while True:
            host.join()
            wait = restarts.ended(clock.now(), well=host.error is None)
            if wait is None or self._leaves.is_set():
                return
            log.error("host_started_again", error=str(host.error), deaths=restarts.deaths, restart_in=wait)
            self._leaves.wait(wait)
            with self._turn:
                if self._leaves.is_set():
                    return
                self._host = host = Host.start(self._host_settings())

    def _finish_all(self) -> None:
        """Wait for everything; say why, if that may be for ever."""
        if not self.join(_SILENT_SECONDS):
            if notes := self.client.status()["notes"]:
                log.warning("leaving_waits", unfinished=self.client.status()["queue"]["unfinished"], notes=notes)
            self.join()

    def _cancel_all(self) -> None:
        """End every task; what waits goes first, so that none of it begins in the place of one that ran."""
        while True:
            counts = self.client.status()["tasks"]
            state = next((state for state in ("scheduled", "queued", "running") if counts[state]), None)
            if state is None:
                return
            self.client.cancel([task["id"] for task in self.client.tasks(state=state, limit=_CANCELLED_AT_ONCE)])

    def _end(self) -> None:
        with self._turn:
            self._leaves.set()
            host = self._host
        if host is not None:
            if self._failure is None:
                host.drain(_FOREVER)
                host.join(_LEAVE_SECONDS_MAX if self._database is None else None)
            host.stop()
            host.join(_LEAVE_SECONDS_MAX)
        try:
            if hasattr(self, "client") and self._failure is None:
                self.client.close()
        finally:
            if self._supervisor is not None:
                self._supervisor.stop()
            self._host = self._supervisor = None

    def _running(self) -> Supervisor:
        if self._supervisor is None:
            raise WorkerHostError("this pool is not running; use it as `with WorkerHost(...) as pool:`")
        return self._supervisor

    def _host_settings(self) -> HostSettings:
        settings = self._settings
        isolation = settings.host.isolation or "inline"
        code = () if isolation == "inline" else tuple(locate(worker) for worker in self._workers)
        slots = {"": self._slots} if self._slots is not None else dict(settings.host.slots) or None
        return HostSettings(
            address=self._running().address,
            name="embedded",
            slots=slots,
            serve=tuple(settings.host.serve),
            not_=tuple(settings.host.not_),
            resources=settings.host.offer,
            fixed=frozenset(("slots", "serve", "not")),
            isolation=isolation,
            code=code,
            workers=self._workers if isolation == "inline" else (),
            sources=settings.sources(),
            environments=settings.environments(isolation),
            paths=search_paths(code, os.environ, os.curdir),
            drain_timeout=settings.host.drain_timeout,
        )
