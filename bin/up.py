"""`up`: a supervisor and hosts on this machine as children of one process that keeps them and ends them in order."""

from __future__ import annotations

import math
import os
import shutil
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..actors.core.restarts import PROCESS_DEATHS_MAX, ChildSpec, Restart
from ..transport import clock
from ..workers.errors import WorkerHostError
from . import examples
from .exits import CONFIGURATION, INPUT_OUTPUT, INTERNAL, NOT_PERMITTED, OK, USAGE, say
from .keeper import Child, Exited
from .signals import Events, Hangup, Signalled

GRACE_SECONDS: Final = 15.0
"""What a host may take beyond its drain timeout (kill, release, say goodbye) before it is killed itself."""

SUPERVISOR: Final = ChildSpec(Restart.PERMANENT, shutdown_seconds=10.0, deaths_max=PROCESS_DEATHS_MAX)
"""It has to commit before it leaves. One that leaves unasked is started again."""

MONITOR: Final = ChildSpec(Restart.PERMANENT, shutdown_seconds=5.0, deaths_max=PROCESS_DEATHS_MAX)

NOW_SECONDS: Final = 3.0
"""What everything may take after the second signal."""

GLANCE_SECONDS: Final = 0.05
"""Between two looks whether the pool is there."""

SLOW_SECONDS: Final = 20.0
"""After that a start is said to be slow."""

_USERS_MISTAKES: Final = (USAGE, INPUT_OUTPUT, NOT_PERMITTED, CONFIGURATION)


@dataclass(frozen=True)
class Plan:
    """What `up` keeps alive.

    Attributes:
        address: Where the supervisor is met on this machine.
        listen: Where it listens, and how it is told so.
        config: The configuration file, or None.
        hosts: How many hosts.
        name: The name of the hosts (with a number behind it if there are several), or None.
        options: What else the hosts are started with: CODE, --slots.
        codes: CODE alone.
        drain_timeout: Seconds that a host may take to finish its tasks.
        local: Whether a bare `send` finds this pool.
        monitor: Whether a monitor watches it.
    """

    address: str
    listen: tuple[str, ...]
    config: Path | None
    hosts: int
    name: str | None
    options: tuple[str, ...]
    codes: tuple[str, ...]
    drain_timeout: float
    local: bool
    monitor: bool = False


class _Answers:
    """Our supervisor answers, not another pool at the same address: hosts may join."""


@dataclass(frozen=True)
class _Ready:
    """All hosts have joined."""

    hosts: list[dict[str, Any]]


def free_address(address: str) -> str:
    """The address itself, or with a free port where it asks for any (`:0`, `:*`): all children must know the same."""
    place, _, port = address.removeprefix("tcp://").rpartition(":")
    if not address.startswith("tcp://") or port not in ("0", "*"):
        return address
    with socket.socket(socket.AF_INET6 if ":" in place else socket.AF_INET) as probe:
        probe.bind((place.strip("[]"), 0))
        return f"tcp://{place}:{probe.getsockname()[1]}"


class Up:
    """The life of one `up`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._events = Events(rereads=True)
        # A host that leaves as it should was drained; one that fails or is killed is started again.
        self._kept = ChildSpec(Restart.TRANSIENT, math.inf, plan.drain_timeout + GRACE_SECONDS, PROCESS_DEATHS_MAX)
        supervise = self._command("supervisor", "--bind", *plan.listen)
        self._supervisor = Child("supervisor", SUPERVISOR, supervise, self._events.put)
        self._hosts = [
            Child(f"host {number}", self._kept, self._command("host", *self._host(number)), self._events.put)
            for number in range(1, plan.hosts + 1)
        ]
        watch = self._command("monitor", "--address", plan.address)
        self._monitor = Child("monitor", MONITOR, watch, self._events.put)
        self._children = (*self._hosts, self._monitor, self._supervisor)
        self._signals = 0
        self._stop_at: float | None = None
        self._ready = False
        self._code = OK
        self._over = threading.Event()

    def _command(self, verb: str, *arguments: str) -> list[str]:
        """A child: the same interpreter; `-P`, so that a file in the current folder cannot pose as a module of ours."""
        config = ("-c", str(self._plan.config.absolute())) if self._plan.config else ()
        return [sys.executable, "-P", "-m", _PACKAGE, verb, "--parent", str(os.getpid()), *config, *arguments]

    def _host(self, number: int) -> Sequence[str]:
        plan = self._plan
        name = plan.name if plan.hosts == 1 or plan.name is None else f"{plan.name}-{number}"
        return ("--join", plan.address, *(("--name", name) if name else ()), *plan.options)

    def run(self) -> int:
        """Start everything, keep it, end it. Returns the exit code."""
        try:
            self._supervisor.start()
            threading.Thread(target=self._tell_when_ready, name="ready", daemon=True).start()
            while self._supervisor.alive or self._supervisor.due or self._draining() or self._monitor.alive:
                self._handle(self._events.get(self._wait()))
                self._keep()
        finally:
            self._over.set()
            for child in self._children:
                child.end(now=True)
        return self._code

    def _draining(self) -> bool:
        return any(host.alive for host in self._hosts)

    def _wait(self) -> float | None:
        times = [child.due for child in self._children if child.due is not None]
        times += [self._stop_at] if self._stop_at is not None else []
        return min(times) - clock.now() if times else None

    # News.

    def _handle(self, event: Any) -> None:
        if isinstance(event, Hangup):
            self._supervisor.hang_up()  # it reads the file again and tells the hosts
        elif isinstance(event, Signalled):
            self._signalled()
        elif isinstance(event, Exited):
            self._exited(event)
        elif isinstance(event, _Answers):
            for host in self._hosts if self._stop_at is None else ():
                host.start()
            if self._plan.monitor and self._stop_at is None:
                self._monitor.start()
        elif isinstance(event, _Ready):
            self._ready = True
            self._announce(event.hosts)

    def _signalled(self) -> None:
        self._signals += 1
        if self._signals == 1:
            if self._draining():
                say("the hosts finish what they run, then all ends (once more: end now)")
            self._stop(self._kept.shutdown_seconds)
        else:
            self._stop(NOW_SECONDS)
            self._end_the_rest()

    def _stop(self, patience: float) -> None:
        self._stop_at = clock.now() + patience
        for host in self._hosts:
            host.end()
        if not self._draining():
            self._end_the_rest()

    def _end_the_rest(self) -> None:
        """What stays until the hosts have left: people look at how they drain."""
        self._monitor.end()
        self._supervisor.end()

    def _exited(self, exited: Exited) -> None:
        child = exited.child
        child.alive = False
        if child is self._monitor:
            self._monitor_exited(exited)
            return
        if self._stop_at is not None and (child is not self._supervisor or not self._draining() or self._signals > 1):
            if not self._draining() and child is not self._supervisor:
                self._stop_at = clock.now() + SUPERVISOR.shutdown_seconds
                self._end_the_rest()
            elif child is self._supervisor and self._monitor.alive:
                self._stop_at = min(self._stop_at, clock.now() + MONITOR.shutdown_seconds)
            return
        # It has said why, and trying again would change nothing: so it is at a start, and always with a disk that does
        # not hold the queue any more. What a host cannot read or write later is its own trouble: others work on.
        broken = child is self._supervisor and exited.code == INPUT_OUTPUT
        if broken or (not self._ready and exited.code in _USERS_MISTAKES):
            self._code = self._code or exited.code or INTERNAL
            self._signals += 1
            self._stop(NOW_SECONDS)
            return
        wait = child.ended(clock.now(), well=exited.code == OK)
        if wait is None:
            say(f"{child.name} has left")
        elif child.due is None:
            say(f"{child.name} {exited.how}, {child.restarts.deaths} times in a row: starting it again does not help")
            self._code = INTERNAL
            self._signals += 1
            self._stop(self._kept.shutdown_seconds)
        else:
            say(f"{child.name} {exited.how}; it is started again" + (f" in {wait:.1f} s" if wait >= 1 else ""))

    def _monitor_exited(self, exited: Exited) -> None:
        """A pool without a monitor works as well, so what is wrong with it ends nothing."""
        if self._stop_at is not None:
            return
        if exited.code in _USERS_MISTAKES:  # it has said why
            say("the pool goes on without a monitor")
        elif self._monitor.ended(clock.now(), well=False) is None or self._monitor.due is None:
            say(f"monitor {exited.how}, again and again: the pool goes on without it")
        else:
            say(f"monitor {exited.how}; it is started again")

    def _keep(self) -> None:
        """What time has brought: children to start again, and the end of patience."""
        now = clock.now()
        for child in self._children:
            if child.due is not None and now >= child.due:
                child.start()
        if self._stop_at is not None and now >= self._stop_at:
            self._code = self._code or (INTERNAL if self._signals == 1 else OK)
            for child in self._children:
                child.end(now=True)
            self._stop_at = now + NOW_SECONDS

    # Readiness.

    def _tell_when_ready(self) -> None:
        """See `_await_ready`, in a thread of its own: when all ends meanwhile, it has nothing to say any more."""
        try:
            self._await_ready()
        except Exception:
            if not self._over.is_set():
                raise

    def _await_ready(self) -> None:
        """Ask the pool until all is there; tells the main thread."""
        from ..transport.client import Client

        began = clock.now()
        answers = told = False
        with Client(self._plan.address, timeout=SLOW_SECONDS) as client:
            while not self._over.wait(GLANCE_SECONDS):
                try:
                    status: dict[str, Any] = client.status()
                    hosts: list[dict[str, Any]] = client.hosts() if answers else []
                except WorkerHostError:
                    status, hosts = {}, []
                if not answers and status and status["supervisor"]["pid"] == self._supervisor.pid:
                    answers = True
                    self._events.put(_Answers())
                ours = {host.pid for host in self._hosts}
                joined = [host for host in hosts if host["state"] == "joined" and host["pid"] in ours]
                if len(joined) == len(self._hosts):
                    self._events.put(_Ready(joined))
                    return
                if not told and clock.now() - began > SLOW_SECONDS:
                    told = True
                    say(f"this takes long: {len(joined)} of {len(ours)} hosts have joined {self._plan.address}")

    def _announce(self, hosts: list[dict[str, Any]]) -> None:
        served = sorted({type for host in hosts for type in host.get("types", [])})
        slots = sum(host["slots"] for host in hosts)
        say(f"the pool is up at {self._plan.address}: {_count(len(hosts), 'host')}, {_count(slots, 'slot')}")
        for code, why in sorted({item for host in hosts for item in host.get("failed", {}).items()}):
            say(f"cannot run {code}: {why}")
        if not served:
            cure = "mend the code, start again" if self._plan.codes else "start your own code: workerhost up tasks.py"
            say(f"no type is served yet; {cure}")
            return
        say(f"serving {', '.join(served[:10])}{' ...' if len(served) > 10 else ''}")
        where = "" if self._plan.local else f" --address {self._plan.address}"
        with suppress(OSError):  # it is told again at the end: hosts that run tasks are not ended for that
            print(f"{program()} send {examples.best(served, self._plan.codes)} --wait{where}", flush=True)


_PACKAGE = __name__.split(".")[0]


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def program() -> str:
    """What a person types to run this program again."""
    called = Path(sys.argv[0])
    if shutil.which("workerhost"):
        return "workerhost"
    return str(called) if called.name == "workerhost" else f"{sys.executable} -m {_PACKAGE}"
