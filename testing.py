"""Pools for tests: a whole pool in memory, on a clock that the test moves.

    from workerhost import testing

    def test_a_report_is_tried_again_an_hour_later():
        with testing.Pool({"workers": {"report": {"retry": {"base": "1h"}}}}, workers=[report]) as pool:
            handle = pool.send("report", {"day": "monday"})
            pool.advance(hours=2)
            assert handle.state == "completed"

The supervisor's decisions, its store, the protocol and the client are the real ones; network, clock, hosts' slots and
the disk's promises are simulated, and everything happens in the test's own thread.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

from .actors.configured import pool_settings
from .actors.core.effects import Persist
from .actors.core.settings import PoolSettings
from .actors.simulation.code_host import CodeHost, Unwatched
from .actors.simulation.disk import SimulatedDisk
from .actors.simulation.inner_client import InnerClient, InnerConnection, InnerNode
from .actors.simulation.misfortune import FAULTS, Misfortune, weather_of
from .actors.simulation.network import Network
from .actors.simulation.supervisor import SimulatedSupervisor
from .actors.simulation.timeline import Clock, Timeline
from .actors.simulation.vigil import Executions
from .config.loading import load
from .config.schema import Settings
from .transport.handle import Batch, Handle
from .workers.errors import ConfigError, WorkerHostError
from .workers.registry import Worker, load_all, offer_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .transport.terms import Sending

HEARTBEAT: Final = 30.0
HEARTBEAT_IN_FAULTS: Final = 5.0
"""Seconds between heartbeats unless the configuration says otherwise. The fewer there are, the less an hour costs, but
where messages are lost it is they that tell.
"""

PLAYED: Final = tuple(name for name in FAULTS if name != "crash_client")
"""Names of faults: those of `simulate`, but for the one that would take the test's own client away."""

_RESTART_SECONDS: Final = 1.0
_IDLE_HOURS: Final = 24.0


class Pool:
    """A pool on virtual time. Use it in a `with` block.

    Task code really runs, at the moment its attempt begins, whole and in this process. So it takes no time (`takes`
    says how much the pool is to believe), `self.cancelled` never becomes True while it runs, a timeout or the death of
    its slot finds that it has run already, and it reads the real clock. What it writes is not kept for `tail`.
    Isolation, other interpreters, memory limits and commands are not played: for those use `WorkerHost(...)`.

    Args:
        config: A file, the same as a dict, or None: as for `WorkerHost`.
        workers: Classes and functions to serve, beside those of the configuration.
        hosts: How many hosts.
        slots: How many tasks run at a time on each.
        faults: Rates by name: `{"drop": 0.1}` per message, `{"crash_host": 0.01}` per second; see `PLAYED`.
        seed: What all chance of the pool is drawn from. The same test with the same seed has the same history.

    Attributes:
        client: A `Client` of this pool. Where it would wait, the pool's time moves on.

    Raises:
        ConfigError: The configuration is wrong, or a worker cannot be loaded.
        ValueError: There is no fault of this name.
    """

    client: InnerClient

    def __init__(
        self,
        config: str | Path | Mapping[str, Any] | None = None,
        *,
        workers: Sequence[Worker] = (),
        hosts: int = 1,
        slots: int = 4,
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        for name in faults or {}:
            _check_fault(name)
        self._settings = load(config if config is not None else {}, {})
        self._faults = dict(faults or {})
        self._random = Random(seed)
        self._takes: dict[str, float] = {}
        self._offer = offer_of(workers)
        self._offer.join(load_all((), self._settings.sources()))
        for code, reason in self._offer.failed.items():
            raise ConfigError(f"{code}: {reason}")
        self._hosts_wanted, self._slots = hosts, slots
        self._restless = True
        self._stack = ExitStack()

    # What a test does.

    def send(self, type: Any, params: Any = None, **sending: Unpack[Sending]) -> Handle[Any]:
        """As `Client.send`."""
        return self.client.send(type, params, **sending)

    def send_many(
        self, type: Any, params: Iterable[Any], *, chunk: int = 1000, **sending: Unpack[Sending]
    ) -> Batch[Any]:
        """As `Client.send_many`."""
        return self.client.send_many(type, params, chunk=chunk, **sending)

    def takes(self, type: str, seconds: float) -> None:
        """Have the pool believe that attempts of a type take so long from now on; "": of all types without a word."""
        self._takes[type] = seconds

    @property
    def now(self) -> datetime:
        """The pool's wall clock (aware, UTC). It begins in November 2023."""
        return datetime.fromtimestamp(self._clock.wall(), UTC)

    def advance(self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0) -> None:
        """Let exactly so much time pass, with all that happens in it.

        Messages take a few milliseconds here, too, and `delay` counts from when the pool has the task: one that is due
        at the very end has not run yet. Let a moment more pass, or `run_until_idle`.
        """
        self._timeline.run_for(seconds + 60.0 * minutes + 3600.0 * hours + 86400.0 * days)

    def run_until_idle(self, *, hours: float = _IDLE_HOURS) -> None:
        """Let time pass until every task has ended, those too that wait for their time or for a next try.

        Raises:
            TimeoutError: Some have not ended after so many hours of the pool's time; it says which and why.
        """
        until = self._timeline.now + 3600.0 * hours
        while self._unfinished():
            if not self._timeline.step_until(until):
                raise TimeoutError(f"after {hours:g} h of the pool's time: {self._what_is_left()}")
        self.client.status()  # what is answered now was said after the last end: the client has heard of all

    # What goes wrong.

    def crash_host(self, *, back_after: float = _RESTART_SECONDS) -> None:
        """Kill a host with all it runs, one that runs something if there is one; a new process comes so much later."""
        host = min(self._hosts, key=lambda host: not host.busy())
        host.crash()
        self._timeline.after(back_after, host.start)

    def crash_slot(self) -> None:
        """Kill the process of a slot, of one that runs a task if there is one. The task counts a crash."""
        min(self._hosts, key=lambda host: not host.busy()).crash_slot()

    def crash_supervisor(self, *, back_after: float = _RESTART_SECONDS) -> None:
        """Kill the supervisor; it is started again so much later."""
        self._supervisor.kill()
        self._timeline.after(back_after, self._supervisor.start)

    def happen(self, fault: str) -> None:
        """Let a fault happen now, by its name in `simulate`: `partition`, `stall_supervisor`, `power_cut` ...

        Raises:
            ValueError: There is none of this name, or it is a rate of messages.
        """
        _check_fault(fault)
        event = self._misfortune.named(fault)
        if event is None:
            raise ValueError(f"{fault!r} is a rate, not an event; give it as faults={{{fault!r}: 0.1}}")
        event()

    # Inside.

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:  # its hosts do not join, or somebody has lost patience
            self._stack.close()
            raise
        return self

    def _begin(self) -> None:
        self._timeline = Timeline()
        self._clock = Clock(self._timeline)
        self._network = Network(self._timeline, self._random, weather_of(self._faults))
        policies = self._settings.policies()
        oracle = Unwatched(policies, {})
        executions = Executions(self._timeline, oracle, policies)
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="workerhost-testing-")))
        self._supervisor = SimulatedSupervisor(
            self._timeline,
            self._network,
            self._clock,
            self._random,
            _pool_settings(self._settings, HEARTBEAT_IN_FAULTS if self._faults else HEARTBEAT),
            oracle,
            lambda committed: _disk(folder, self._random, self._settings.queue.ageing or 0.0, committed),
        )
        self._stack.callback(self._close_disk)
        self._supervisor.start()
        self._hosts = [self._host(number, executions) for number in range(self._hosts_wanted)]
        for host in self._hosts:
            self._stack.callback(host.crash)
            host.start()
        node = InnerNode("client", self._timeline, self._network, self._clock, self._random)
        self.client = InnerClient(InnerConnection(node, self._timeline))
        self._stack.callback(self.client.close)
        self._misfortune = Misfortune(
            self._timeline, self._random, self._network, self._supervisor, [*self._hosts], [node], executions
        )
        if self._hosts:
            self._until_joined()
        for name, rate in self._faults.items():
            if rate > 0 and (event := self._misfortune.named(name)) is not None:
                self._sometimes(1 / rate, event)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restless = False
        self._stack.close()

    def _close_disk(self) -> None:
        if self._supervisor.pool is not None:
            self._supervisor.disk.close()

    def _until_joined(self) -> None:
        while not all(host["types"] or host["any"] for host in self.client.hosts()) or not self.client.hosts():
            if not self._timeline.step_until(60.0):
                raise WorkerHostError("the hosts of this pool did not join within a minute of its time")

    def _host(self, number: int, executions: Executions) -> CodeHost:
        options = {
            "slots": dict(self._settings.host.slots) or {"": self._slots},
            "serve": tuple(self._settings.host.serve),
            "refuse": tuple(self._settings.host.not_),
            "resources": dict(self._settings.host.offer),
            "named": True,
            "drain_timeout": self._settings.host.drain_timeout,
        }
        clock = Clock(self._timeline)
        name = f"host-{number + 1}"
        return CodeHost(
            name, self._timeline, self._network, clock, self._random, executions, self._offer, self._takes, options
        )

    def _sometimes(self, mean: float, event: Callable[[], None]) -> None:
        def happen() -> None:
            if self._restless:
                event()
                self._timeline.after(self._random.expovariate(1 / mean), happen)

        self._timeline.after(self._random.expovariate(1 / mean), happen)

    def _unfinished(self) -> int:
        pool = self._supervisor.pool
        return 1 if pool is None else pool.queue.unfinished_count

    def _what_is_left(self) -> str:
        status = self.client.status()
        left = {state: count for state, count in status["tasks"].items() if count}
        for state in ("queued", "scheduled", "running"):
            if left.get(state):
                task = self.client.tasks(state=state, limit=1)[0]
                why = "; ".join(reason["text"] for reason in self.client.why(task["id"])["reasons"])
                return f"{left}; task {task['id']} ({task['type']}) is {state}: {why or 'nothing keeps it'}"
        return str(left)


def _check_fault(name: str) -> None:
    if name not in PLAYED:
        raise ValueError(f"there is no fault {name!r}; there are {', '.join(PLAYED)}")


def _pool_settings(settings: Settings, heartbeat: float) -> PoolSettings:
    found = pool_settings(settings)
    if "heartbeat" in settings.pool.model_fields_set:
        return found
    lost_after = found.lost_after if "lost_after" in settings.pool.model_fields_set else 5 * heartbeat
    return replace(found, heartbeat=heartbeat, lost_after=max(lost_after, 2 * heartbeat))


def _disk(folder: Path, random: Random, ageing: float, committed: Callable[[list[Persist]], None]) -> SimulatedDisk:
    def nothing(*_remembered: object) -> None:
        """The pool's tasks are all that comes back."""

    return SimulatedDisk(
        folder,
        random,
        full=True,
        ageing=ageing,
        committed=committed,
        remember=nothing,
        rewind=nothing,
        restored=nothing,
    )


if TYPE_CHECKING:
    workerhost_pool: Callable[[], Generator[Callable[..., Pool]]]


def __getattr__(name: str) -> Any:
    """`workerhost_pool`, a pytest fixture, made when a conftest.py imports it: pytest is not needed otherwise."""
    if name != "workerhost_pool":
        message = f"module 'workerhost.testing' has no attribute {name!r}"
        raise AttributeError(message)
    import pytest

    @pytest.fixture
    def workerhost_pool() -> Generator[Callable[..., Pool]]:
        """Makes pools on virtual time, `workerhost_pool(workers=[...])`, and leaves them after the test."""
        with _pools() as make:
            yield make

    return workerhost_pool


@contextmanager
def _pools() -> Generator[Callable[..., Pool]]:
    with ExitStack() as stack:

        def make(*given: Any, **named: Any) -> Pool:
            return stack.enter_context(Pool(*given, **named))

        yield make
