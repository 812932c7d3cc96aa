"""A pool of real processes on loopback, and the ways to hurt it: what the tests of the fault suite share.

Everything is waited for with `until`: a condition, what it means, and a bound.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting import PATIENCE_SECONDS, until

from workerhost import Client
from workerhost.transport.messages import STATES
from workerhost.workers.values import unpack

TASKS = Path(__file__).with_name("misbehaving.py")
LOG_BYTES_SHOWN = 12_000
FINAL = ("completed", "failed", "cancelled", "quarantined")


def clock() -> float:
    """The clock with which tasks stamp their traces: the same in all processes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


_PORTS = 10_000, 30_000
"""Below those that the kernel deals out to connections and to `bind(0)`: nobody takes one by chance, also while the
process that is bound to it is dead and another is about to follow it.
"""
_SIDE_BY_SIDE = 20
"""So many processes of tests may run side by side, each with ports of its own: one that is free now is not taken by
another test before its supervisor listens there.
"""


def _own_ports() -> Iterator[int]:
    """The ports of this process of tests, each in its turn."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SIDE_BY_SIDE
    first, last = _PORTS
    own = range(first + worker, last, _SIDE_BY_SIDE)
    begin = os.getpid() % len(own)  # of another run beside this one
    return cycle([*own[begin:], *own[:begin]])


_own = _own_ports()


def free_address() -> str:
    """An address on loopback, for this test alone."""
    while True:
        port = next(_own)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return f"tcp://127.0.0.1:{port}"


def gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be buried has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


SITE = os.pathsep.join([str(Path(__file__).with_name("failpoints")), *filter(None, [os.environ.get("PYTHONPATH")])])
"""A path whose `sitecustomize` breaks a process at a point that its environment names."""


def broken_at(point: str, file: Path) -> dict[str, str]:
    """The environment of a process that breaks at a point as soon as a file exists."""
    return {"PYTHONPATH": SITE, "FAILPOINT": f"{point}:{file}"}


class Load:
    """A client in a thread of its own that sends without a pause and notes what was acknowledged."""

    def __init__(self, client: Client, over: threading.Event) -> None:
        self.client, self.over = client, over
        self.acknowledged: list[int] = []
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            while not self.over.is_set():
                batch = self.client.send_many("quick", [None] * 5)
                self.acknowledged += [id for ids in batch.ids() for id in ids]
                batch.wait(60)
        except BaseException as error:
            self.error = error

    def finish(self) -> list[int]:
        """Wait for its end; the ids of what was acknowledged."""
        self.over.set()
        self.thread.join(90)
        assert not self.thread.is_alive()
        assert self.error is None
        return self.acknowledged


class Program:
    """One `python -m workerhost` process and its log."""

    def __init__(
        self, folder: Path, name: str, arguments: Iterable[str], before: Iterable[str] = (), **environment: str
    ) -> None:
        self.name = name
        self.log = folder / f"{name}-{time.monotonic_ns()}.log"
        environ = {key: value for key, value in os.environ.items() if not key.startswith("WORKERHOST")}
        environ["WORKERHOST__MONITORING__HTTP"] = "null"  # no dashboard: these tests are of the pool alone
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-m", "workerhost", *arguments],
                cwd=folder,
                env={**environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def text(self) -> str:
        """All it has logged."""
        return self.log.read_text("utf-8", "replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it has logged under a name."""
        lines = [line for line in self.text().splitlines() if f'"event": "{name}"' in line]
        return [json.loads(line) for line in lines if line.endswith("}")]

    def await_event(self, name: str, count: int = 1, seconds: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
        """Wait until it has logged something, or fail as soon as it has ended without."""

        def look() -> list[dict[str, Any]]:
            ended = self.process.poll()
            found = self.events(name)
            if len(found) >= count:
                return found
            assert ended is None, f"{self.name} ended with {ended} and without {name}: {self.text()[-2000:]}"
            return []

        return until(look, f"{name} of {self.name}", seconds)

    def send(self, number: signal.Signals) -> float:
        """Send a signal; when that was."""
        self.process.send_signal(number)
        return clock()

    def kill(self) -> float:
        """SIGKILL, and wait until it is gone; when the signal was sent."""
        at = self.send(signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)
        return at

    def ended(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its end; its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.name} did not end within {seconds:g} s")

    def children(self) -> list[int]:
        """The processes it has started, and those that they have."""
        return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]


class FaultPool:
    """A supervisor, hosts and clients, each a process or connection of its own, on one database in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = free_address()
        self.database = folder / "tasks.db"
        self.programs: list[Program] = []
        self.clients: list[Client] = []
        self.closers: list[Callable[[], object]] = []
        self.supervisor: Program
        self.configuration: dict[str, Any] = {"pool": {"heartbeat": 1, "lost_after": 5}}

    # Starting.

    def configure(self, **sections: Any) -> None:
        """Sections of the configuration file that every process of this pool is started with."""
        self.configuration |= sections

    def impatient(self) -> None:
        """A pool that notices silence five times as soon as by default."""
        self.configure(pool={"heartbeat": 0.2, "lost_after": 1})

    def program(
        self, *arguments: str, called: str | None = None, before: Iterable[str] = (), **environment: str
    ) -> Program:
        """Start any command of the command line, with another command before it if that is to start it."""
        program = Program(self.folder, called or arguments[0], arguments, before, **environment)
        self.programs.append(program)
        return program

    def tracer(self, *options: str) -> subprocess.Popen[bytes]:
        """Start strace, which breaks a system call of a running process; returns when it holds that process."""
        log = self.folder / f"strace-{time.monotonic_ns()}.log"
        with log.open("wb") as file:
            tracer = subprocess.Popen(["strace", *options, "-o", "/dev/null"], stderr=file)
        self.closers.append(lambda: tracer.poll() is None and tracer.kill())
        pid = next(option for option in options if option.startswith("--attach=")).removeprefix("--attach=")
        held = lambda: f"TracerPid:\t{tracer.pid}" in Path(f"/proc/{pid}/status").read_text()  # noqa: E731
        until(lambda: tracer.poll() is not None or held(), "strace holds it")
        if tracer.poll() is not None:
            pytest.skip(f"no process may be traced here: {log.read_text().strip()}")
        return tracer

    def start(self, *hosts: str, slots: int = 2) -> None:
        """Start the supervisor, then hosts by name, and wait until all have joined."""
        self.start_supervisor()
        started = [self.start_host(name, slots=slots, wait=False) for name in hosts]
        for host in started:
            host.await_event("host_joined")

    def start_supervisor(self, before: Iterable[str] = (), **environment: str) -> Program:
        """Start the supervisor (again), with another command before it if that is to start it; wait until it serves."""
        arguments = ("supervisor", "-c", self.configuration_file(), "--bind", self.address)
        self.supervisor = self.program(*arguments, before=before, **environment)
        self.supervisor.await_event("supervisor_started")
        return self.supervisor

    def start_host(
        self,
        name: str,
        *options: str,
        slots: int = 2,
        join: str | None = None,
        wait: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> Program:
        """Start a host."""
        where = ("--join", join or self.address, "--name", name, "--slots", str(slots))
        arguments = ("host", "-c", self.configuration_file(), *where, *options, str(TASKS))
        host = self.program(*arguments, called=name, **(environment or {}))
        if wait:
            host.await_event("host_joined")
        return host

    def configuration_file(self) -> str:
        """Write the configuration; the file's name."""
        file = self.folder / "pool.yaml"
        file.write_text(json.dumps(self.configuration))  # JSON is YAML
        return str(file)

    # Looking.

    def host(self, name: str) -> Program:
        """The latest process that was started as this host."""
        return next(program for program in reversed(self.programs) if program.name == name)

    def client(self, timeout: float = 30.0, address: str | None = None) -> Client:
        """A client with a session of its own."""
        client = Client(address or self.address, timeout=timeout)
        self.clients.append(client)
        return client

    def state(self, client: Client, host: str) -> str:
        """What `hosts` says of a host: its latest session."""
        sessions = [item for item in client.hosts() if item["name"] == host]
        return sessions[-1]["state"] if sessions else "unknown"

    def traces(self, what: str = "start", **fields: Any) -> list[dict[str, Any]]:
        """What tasks have noted of themselves, oldest first."""
        file = self.folder / "trace"
        lines = file.read_text().splitlines() if file.exists() else []
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return [item for item in found if item["what"] == what and all(item[k] == v for k, v in fields.items())]

    def await_trace(
        self, what: str = "start", *, count: int = 1, seconds: float = PATIENCE_SECONDS, **fields: Any
    ) -> Any:
        """Wait until tasks have noted so much; the last of it."""
        look: Callable[[], list[dict[str, Any]]] = lambda: (  # noqa: E731
            found if len(found := self.traces(what, **fields)) >= count else []
        )
        return until(look, f"{count} x {what} {fields}", seconds)[count - 1]

    def open(self, gate: str) -> None:
        """Let the tasks end that wait at a gate."""
        (self.folder / gate).touch()

    def logs(self) -> list[tuple[str, str]]:
        """(name, the end of its log) of every process."""
        return [(f"{p.name} ({p.pid}, ended: {p.process.poll()})", p.text()[-LOG_BYTES_SHOWN:]) for p in self.programs]

    # The end.

    def audit(self, acknowledged: Iterable[int], *, executions_max: int | None = None) -> Counter[str]:
        """Stop the supervisor and read the store: each acknowledged task has ended exactly once, as its store says.

        Returns:
            How many tasks are in each state.
        """
        self.supervisor.send(signal.SIGTERM)
        assert self.supervisor.ended() == 0
        with closing(sqlite3.connect(self.database)) as connection:
            rows = connection.execute("select id, state, fence, attempt, result, finish from task").fetchall()
            attempts = connection.execute("select id, outcome from attempt").fetchall()
            assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        stored = {row[0]: row for row in rows}
        acknowledged = list(acknowledged)
        assert len(set(acknowledged)) == len(acknowledged), "an id was given twice"
        assert set(acknowledged) <= set(stored), f"lost: {sorted(set(acknowledged) - set(stored))}"
        completions = Counter(id for id, outcome in attempts if outcome == "completed")
        executions = Counter(item["id"] for item in self.traces("start"))
        finishes = [row[5] for row in rows]
        assert len(set(finishes)) == len(finishes), "each end has a number of its own"
        for id, code, fence, attempt, result, _finish in rows:
            name = str(STATES[int(code)])
            assert name in FINAL, f"task {id} has not ended: {name}"
            assert completions[id] == 0, f"task {id} completed more than once"
            if name != "completed":
                continue
            told: Any = unpack(result) if result else None
            if type(told) is dict and "fence" in told:
                assert (told["fence"], told["attempt"]) == (fence, attempt), f"task {id}: a stale result was stored"
                assert executions[id] >= 1, f"task {id} completed and never ran"
            if executions_max is not None:
                assert executions[id] <= executions_max, f"task {id} ran {executions[id]} times"
        return Counter(str(STATES[int(row[1])]) for row in rows)

    def discard(self) -> None:
        """End everything that is left, whatever happened."""
        for close in reversed(self.closers):
            close()
        family: set[int] = set()
        for program in self.programs:
            if program.process.poll() is None:
                with suppress(psutil.NoSuchProcess):
                    family |= set(program.children())
        for program in self.programs:
            if program.process.poll() is None:
                program.process.kill()
                program.process.wait(10)
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for client in self.clients:
            client.timeout = 0.1
            client.__exit__(RuntimeError, None, None)
