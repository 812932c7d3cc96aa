"""One world: a supervisor, hosts, clients and a network, a script of work and of misfortune, and the checks.

Everything that happens is drawn from one seeded source, so a seed is a history.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any, Final, Self

from ...config.policy import PolicyTree
from ...transport.messages import STATES
from ..core.invariants import check_at_rest, check_invariants
from ..core.rows import COMPLETED
from ..core.settings import PoolSettings
from ..stores.sqlite import SqliteStore
from .client import SimulatedClient
from .host import Behaviour, SimulatedHost
from .network import Network, Weather
from .oracle import Oracle, Violation
from .supervisor import SimulatedSupervisor
from .timeline import Clock, Timeline

FAULTS: Final = {
    "drop": 0.01,
    "duplicate": 0.01,
    "reorder": 0.005,
    "partition": 0.05,
    "half_partition": 0.05,
    "pause_host": 0.05,
    "crash_host": 0.05,
    "drain_host": 0.02,
    "crash_supervisor": 0.03,
    "stall_supervisor": 0.02,
    "commit_failure": 0.02,
    "wall_jump": 0.02,
    "clock_skew": 0.02,
}
"""Each fault's usual rate: per message for the first three, `clock_skew` its largest deviation, else per second."""

_CHECK_STEPS: Final = 100
_REST_SECONDS: Final = 900.0
_TYPES: Final = ["a", "b.one", "b.two", "c"]
_NODES: Final[dict[str, dict[str, Any]]] = {
    "b": {"max_concurrent": 2},
    "c": {"cut_off": None, "timeout": 2.0},
}


class World:
    """A pool and everything around it.

    Args:
        seed: What all chance is drawn from.
        hosts: How many hosts.
        clients: How many clients.
        faults: Rates by name (see `FAULTS`); what is not named does not happen.
        window: How many rows memory may hold (small, so that the store is really used).
    """

    def __init__(
        self, seed: int, *, hosts: int = 3, clients: int = 2, faults: dict[str, float] | None = None, window: int = 12
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.faults = FAULTS if faults is None else faults
        self.timeline = Timeline()
        self.oracle = Oracle()
        self.steps = 0
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="workerhost-simulation-"))
        rates = self.faults.get
        weather = Weather(rates("drop", 0.0), rates("duplicate", 0.0), rates("reorder", 0.0))
        self.network = Network(self.timeline, self.random, weather)
        policies = PolicyTree(_NODES, {"retry": {"max_attempts": 4, "base": 0.2, "jitter": 0.1}, "timeout": 30.0})
        self.supervisor = SimulatedSupervisor(
            self.timeline,
            self.network,
            self._clock(),
            self.random,
            PoolSettings(policies=policies, max_size=500, rows_max=window),
            SqliteStore(Path(folder, "tasks.db"), durability="relaxed"),
            self._committed,
        )
        self.hosts = [self._host(number) for number in range(hosts)]
        self._start_supervisor()
        for host in self.hosts:
            host.start()
        self.clients = [
            SimulatedClient(f"client-{n}", self.timeline, self.network, self._clock(), self.random)
            for n in range(clients)
        ]
        self._restless = True
        for client in self.clients:
            self._sometimes(0.5, self._work, client)
        for name, rate in self.faults.items():
            misfortune: Callable[[], None] | None = getattr(self, f"_{name}", None)
            if misfortune is not None and rate > 0:
                self._sometimes(1 / rate, misfortune)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.crash()
        self._stack.close()

    def _clock(self) -> Clock:
        skew = self.faults.get("clock_skew", 0.0)
        return Clock(self.timeline, 1 + self.random.uniform(-skew, skew))

    def _host(self, number: int) -> SimulatedHost:
        options = {
            "types": _TYPES,
            "slots": {"": 2} if number % 2 == 0 else {"": 1, "c": 1},
            "named": True,
            "drain_timeout": 2.0,
        }
        return SimulatedHost(
            f"host-{number}",
            self.timeline,
            self.network,
            self._clock(),
            self.random,
            Behaviour(),
            self.oracle.began,
            options,
        )

    def _start_supervisor(self) -> None:
        self.supervisor.start()

    def _committed(self, turn: list[Any]) -> None:
        self.oracle.committed(turn, self.supervisor.pool)

    # What happens.

    def _sometimes(self, mean: float, event: Callable[..., None], *arguments: Any) -> None:
        """Let something happen again and again, at random times, as long as the world is restless."""

        def happen() -> None:
            if self._restless:
                event(*arguments)
                self.timeline.after(self.random.expovariate(1 / mean), happen)

        self.timeline.after(self.random.expovariate(1 / mean), happen)

    def _work(self, client: SimulatedClient) -> None:
        chance = self.random.random()
        accepted = client.accepted()
        if chance < 0.1 and accepted:
            client.cancel(self.random.sample(accepted, min(3, len(accepted))))
        elif chance < 0.15 and accepted:
            client.retry(self.random.sample(accepted, min(3, len(accepted))))
        else:
            options = {"delay": self.random.uniform(0.1, 5)} if self.random.random() < 0.1 else None
            client.send(self.random.choice(_TYPES), self.random.randint(1, 3), self.random.randint(1, 6), options)

    def _any_host(self) -> SimulatedHost:
        return self.random.choice(self.hosts)

    def _partition(self) -> None:
        self._cut(("up", "down"))

    def _half_partition(self) -> None:
        self._cut((self.random.choice(("up", "down")),))

    def _cut(self, directions: tuple[str, ...]) -> None:
        node = self.random.choice([*self.hosts, *self.clients]).name
        cuts = {(direction, node) for direction in directions}
        self.network.weather.cut |= cuts
        self.timeline.after(self.random.uniform(0.5, 15), self.network.weather.cut.difference_update, cuts)

    def _pause_host(self) -> None:
        host = self._any_host()
        host.pause()
        self.timeline.after(self.random.uniform(0.5, 12), host.resume)

    def _crash_host(self) -> None:
        host = self._any_host()
        host.crash()
        self.timeline.after(self.random.uniform(0.1, 10), host.start)

    def _drain_host(self) -> None:
        host = self._any_host()
        host.drain()
        self.timeline.after(self.random.uniform(4, 10), self._start_again, host)

    def _start_again(self, host: SimulatedHost) -> None:
        if host.left:
            host.start()

    def _crash_supervisor(self) -> None:
        self.supervisor.crash()
        self.timeline.after(self.random.uniform(0.1, 12), self._start_supervisor)

    def _stall_supervisor(self) -> None:
        self.supervisor.stall(self.random.uniform(0.5, 8))

    def _commit_failure(self) -> None:
        self.supervisor.store.fail_commits = 1

    def _wall_jump(self) -> None:
        self.supervisor.jump(self.random.choice((-3600.0, 3600.0, -86400.0, 1.5)))

    # Running and resting.

    def run(self, steps: int) -> Self:
        """Let so many things happen.

        Raises:
            Violation: A guarantee was broken.
        """
        for _ in range(steps):
            self._step()
        return self

    def _step(self) -> None:
        self.timeline.step()
        self.steps += 1
        if self.steps % _CHECK_STEPS == 0:
            self._check()

    def _check(self) -> None:
        if self.supervisor.pool is not None:
            check_invariants(self.supervisor.pool)
        for host in self.hosts:
            if host.core is not None:
                host.core.check_invariants()

    def rest(self) -> Self:
        """End all misfortune; everything must end within bounded time, and nothing may be left over.

        Raises:
            Violation: Something was lost, doubled, left over, or never ended.
        """
        self._restless = False
        weather = self.network.weather
        weather.drop = weather.duplicate = weather.reorder = 0.0
        weather.cut.clear()
        self.supervisor.store.fail_commits = 0
        self._start_supervisor()
        for host in self.hosts:
            host.resume()
            host.start()
        deadline = self.timeline.now + _REST_SECONDS
        while not self._quiet():
            if self.timeline.now > deadline:
                raise Violation(f"after {_REST_SECONDS} s in peace: {self._restlessness()}")
            self._step()
        for _ in range(200):
            self._step()
        self._check_rest()
        return self

    def _quiet(self) -> bool:
        return not self.oracle.unfinished() and not any(client.unanswered() for client in self.clients) and self._told()

    def _told(self) -> bool:
        return all(block.left == 0 for client in self.clients for block in client.blocks)

    def _restlessness(self) -> str:
        waiting = [block.unfinished()[:5] for c in self.clients for block in c.blocks if block.left]
        unanswered = [client.name for client in self.clients if client.unanswered()]
        return f"unfinished {self.oracle.unfinished()[:10]}, unanswered {unanswered}, untold {waiting[:5]}"

    def _check_rest(self) -> None:
        pool = self.supervisor.pool
        assert pool is not None
        check_at_rest(pool)
        accepted = sorted(id for client in self.clients for id in client.accepted())
        if accepted != sorted(self.oracle.tasks):
            difference = set(accepted) ^ set(self.oracle.tasks)
            raise Violation(f"acknowledged and stored differ: {sorted(difference)[:10]}")
        for id, known in self.oracle.tasks.items():
            shown = self.supervisor.store.show(id)
            if shown is None or shown["state"] != STATES[known.state]:
                raise Violation(
                    f"task {id} is {shown and shown['state']} in the store, {STATES[known.state]} by the commits"
                )
        for client in self.clients:
            for block in client.blocks:
                for id, end in enumerate(block.ends, block.first):
                    state = COMPLETED if isinstance(end, bytes) else (end or (-9,))[0]
                    if not block.refused and state != self.oracle.tasks[id].state:
                        raise Violation(f"{client.name} was told that task {id} ended as {state}")
        for host in self.hosts:
            if host.core is not None and (left := list(host.core.slots.in_hand())):
                raise Violation(f"{host.name} still holds {left[:3]}")
