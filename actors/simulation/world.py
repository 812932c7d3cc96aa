"""One world: a supervisor, hosts, clients and a network, a script of work and of misfortune, and the checks.

Everything that happens is drawn from one seeded source, so a seed is a history.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final, Self

from ...config.limits import Breaker, Rate
from ...config.policy import PolicyTree
from ..core.effects import Persist
from ..core.settings import Keep, PoolSettings
from .client import SimulatedClient
from .disk import SimulatedDisk
from .flows_made_up import made_up_edges, made_up_flow
from .host import Behaviour, SimulatedHost
from .ingredients import (
    BYTE_SECONDS,
    CROWD_SIZE,
    KEPT_SECONDS,
    SCHEDULES,
    SIZE,
    Expiry,
    Naming,
    Orders,
    configurations,
    declines,
    said_twice,
    tighter,
)
from .inspection import inspect, inspect_at_rest, restlessness, unanswered
from .misfortune import FAULTS, Misfortune, weather_of
from .network import Network
from .oracle import Oracle, Violation
from .promises import BriefQuota, overdue
from .supervisor import SimulatedSupervisor
from .timeline import Clock, Timeline
from .vigil import Executions

TYPES: Final = ["a", "b.one", "b.two", "c", "d.one", "d.two"]
COSTS: Final = {"d.two": 3}
NODES: Final[dict[str, dict[str, Any]]] = {
    "a": {"breaker": Breaker(failures=0.3, window=5.0, at_least=3, cool_off=0.5)},
    "b": {"max_concurrent": 2},
    "c": {"cut_off": None, "timeout": 2.0},
    "d": {"rate": Rate(12, 6.0), "quota": BriefQuota(40)},
    "d.one": {"requires": {"memory": 1}},
    "d.two": {"per_host": 1},
}
TENANTS: Final[dict[str, dict[str, Any]]] = {"acme": {}, "globex": {"max_concurrent": 2, "rate": Rate(16, 4.0)}}
RESOURCES: Final[tuple[dict[str, int | str], ...]] = (
    {"gpu": 2, "memory": 4, "zone": "eu"},
    {"gpu": 1, "memory": 4, "zone": "us"},
)
"""Of hosts with an even number, which can run everything, and of the others."""
REQUIRED: Final[tuple[dict[str, int | str], ...]] = (
    {"gpu": 1},
    {"gpu": 2},
    {"memory": 3},
    {"zone": "eu"},
    {"gpu": 1, "memory": 2},
)
_DEFAULTS: Final = {"retry": {"max_attempts": 4, "base": 0.2, "jitter": 0.1}, "timeout": 30.0}
_CHECK_STEPS: Final = 100
_LOOK_STEPS: Final = 10
_REST_SECONDS: Final = 900.0
_LATE_SECONDS: Final = 2.0
"""How late a schedule may be: one that found no room tries again after a second."""
_AFTERGLOW_SECONDS: Final = 6.5
"""After the last end: time for sessions that nobody uses any more to be given up."""


class World:
    """A pool and everything around it.

    Args:
        seed: What all chance is drawn from.
        hosts: How many hosts.
        clients: How many clients.
        faults: Rates by name (see `FAULTS`); what is not named does not happen.
        window: How many rows memory may hold (small, so that the store is really used).
        durability: What the supervisor's disk promises, `full` or `relaxed`.
        work: Mean seconds between two things that a client does by itself; 0: it only does what it is told.
        behaviour: How tasks behave.
        policies: What nodes set.
        keep: Seconds that ended tasks are kept.
        ageing: Seconds after which a waiting task counts one priority more; 0: never.
        ingredients: What else there is, see `ingredients`.
    """

    def __init__(
        self,
        seed: int,
        *,
        hosts: int = 3,
        clients: int = 2,
        faults: Mapping[str, float] | None = None,
        window: int = 12,
        durability: str = "full",
        work: float = 0.5,
        behaviour: Behaviour | None = None,
        policies: PolicyTree | None = None,
        keep: float = 7 * 86400.0,
        ageing: float = 0.0,
        ingredients: Collection[str] = (),
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.sharing = Random(f"sharing {seed}")  # of its own, so that what is drawn for it moves nothing else
        self.following = Random(f"flows {seed}")
        self.ingredients = ingredients
        self.orders = Orders(seed, ingredients)
        self.naming = Naming(seed, ingredients)
        self.size = CROWD_SIZE if "crowd" in ingredients else SIZE
        self.expiry = Expiry(seed, ingredients)
        self.faults = FAULTS if faults is None else faults
        self.timeline = Timeline()
        self.policies = policies or PolicyTree(NODES, _DEFAULTS, TENANTS)
        self.ageing = ageing
        self.oracle = Oracle(self.policies, COSTS, ageing)
        self.executions = Executions(self.timeline, self.oracle, self.policies)
        self.steps = 0
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="workerhost-simulation-")))
        self.network = Network(self.timeline, self.random, weather_of(self.faults))
        keep = min(keep, KEPT_SECONDS) if "forgetting" in ingredients else keep
        self.supervisor = self._make_supervisor(window, durability, Keep(keep, keep))
        self.hosts = [self._make_host(number, behaviour or Behaviour()) for number in range(hosts)]
        self.supervisor.start()
        for host in self.hosts:
            host.start()
        self.clients = [
            SimulatedClient(f"client-{n}", self.timeline, self.network, self._clock(), self.random)
            for n in range(clients)
        ]
        self.misfortune = Misfortune(
            self.timeline, self.random, self.network, self.supervisor, self.hosts, self.clients, self.executions
        )
        self._restless = True
        for client in self.clients:
            if work:
                self._sometimes(work, self._work, client)
        for name, rate in self.faults.items():
            if rate > 0 and (happen := self.misfortune.named(name)) is not None:
                self._sometimes(1 / rate, happen)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.disk.close()
        self._stack.close()

    def _clock(self) -> Clock:
        skew = self.faults.get("clock_skew", 0.0)
        return Clock(self.timeline, 1 + self.random.uniform(-skew, skew))

    def _make_supervisor(self, window: int, durability: str, keep: Keep) -> SimulatedSupervisor:
        def make_disk(committed: Callable[[list[Persist]], None]) -> SimulatedDisk:
            return SimulatedDisk(
                self._folder,
                self.random,
                full=durability == "full",
                ageing=self.ageing,
                committed=committed,
                remember=self.oracle.remember,
                rewind=self.oracle.rewind,
                restored=self.oracle.restored,
            )

        schedules = SCHEDULES if "schedules" in self.ingredients else {}
        settings = PoolSettings(
            policies=self.policies,
            max_size=self.size,
            rows_max=window,
            keep=keep,
            ageing=self.ageing,
            schedules=schedules,
        )
        supervisor = SimulatedSupervisor(
            self.timeline,
            self.network,
            self._clock(),
            self.random,
            settings,
            self.oracle,
            make_disk,
            byte_seconds=BYTE_SECONDS if "bulk" in self.ingredients else 0.0,
            hangs_up="hangups" in self.ingredients,
        )
        supervisor.reread(configurations(self.policies, tighter(NODES, _DEFAULTS, TENANTS), schedules, self.size))
        return supervisor

    def _make_host(self, number: int, behaviour: Behaviour) -> SimulatedHost:
        options = {
            "types": TYPES,
            "costs": COSTS,
            "slots": {"": 2} if number % 2 == 0 else {"": 1, "c": 1},
            "resources": RESOURCES[number % len(RESOURCES)],
            "named": True,
            "drain_timeout": 2.0,
        }
        counts = {name: value for name, value in RESOURCES[number % len(RESOURCES)].items() if isinstance(value, int)}
        self.executions.offers(f"host-{number}", counts)
        return SimulatedHost(
            f"host-{number}",
            self.timeline,
            self.network,
            self._clock(),
            self.random,
            behaviour,
            self.executions,
            options,
            partial(declines, number) if "declines" in self.ingredients else None,
            said_twice if "stutter" in self.ingredients and number % 2 else None,
            Random(f"stubborn {self.seed} {number}") if "stubborn" in self.ingredients else None,
        )

    # What happens.

    def _sometimes(self, mean: float, event: Callable[..., None], *arguments: Any) -> None:
        """Let something happen again and again, at random times, as long as the world is restless."""

        def happen() -> None:
            if self._restless:
                event(*arguments)
                self.timeline.after(self.random.expovariate(1 / mean), happen)

        self.timeline.after(self.random.expovariate(1 / mean), happen)

    def _work(self, client: SimulatedClient) -> None:
        """A client does something."""
        random = self.random
        known = client.accepted() + client.past
        if self.orders.given(client, known, TYPES, list(TENANTS)):
            return
        chance = random.random()
        if chance < 0.1 and known:
            client.cancel(random.sample(known, min(3, len(known))))
        elif chance < 0.15 and known:
            client.retry(random.sample(known, min(3, len(known))))
        elif chance < 0.17:
            type = random.choice(TYPES)
            client.pause(type, paused=True)
            self.timeline.after(random.uniform(0.5, 5), self._resume, type)
        elif self.following.random() < 0.15:
            client.flow(made_up_flow(self.following, TYPES, known))
        else:
            type, priority, count = random.choice(TYPES), random.randint(1, 3), random.randint(1, 6)
            options = self._placed(self._options())
            if known and self.following.random() < 0.1:
                options = {**(options or {}), **made_up_edges(self.following, known)}
            options = self.expiry.given(options, client.clock.wall())
            options, params, keys = self.naming.given(options, count)
            client.send(type, priority, count, options, params, keys)

    def _resume(self, type: str) -> None:
        self.random.choice(self.clients).pause(type, paused=False)

    def _options(self) -> dict[str, Any] | None:
        """What a few tasks ask for."""
        chance, random = self.random.random(), self.random
        if chance < 0.1:
            return {"delay": random.uniform(0.1, 5)}
        if chance < 0.12:
            return {"at": self.clients[0].clock.wall() + random.uniform(-1, 5)}
        if chance < 0.14:
            return {"max_attempts": random.randint(1, 2)}
        if chance < 0.16:
            return {"timeout": 0.2, "tags": ["short"]}
        return None

    def _placed(self, options: dict[str, Any] | None) -> dict[str, Any] | None:
        """Options, for half of the tasks with a tenant, for some with requirements."""
        more: dict[str, Any] = {}
        if tenant := self.sharing.choice(("", "", *TENANTS)):
            more["tenant"] = tenant
        if self.sharing.random() < 0.3:
            more["requires"] = self.sharing.choice(REQUIRED)
        return {**(options or {}), **more} if more else options

    # Running and resting.

    def run(self, steps: int) -> Self:
        """Let so many things happen.

        Raises:
            Violation: A guarantee was broken.
        """
        for _ in range(steps):
            self._step()
        return self

    def run_for(self, seconds: float) -> Self:
        """Let so much time pass.

        Raises:
            Violation: A guarantee was broken.
        """
        until = self.timeline.now + seconds
        while self.timeline.now < until and self._step():
            pass
        return self

    def _step(self) -> bool:
        happened = self.timeline.step()
        self.steps += 1
        if self.steps % _CHECK_STEPS == 0:
            self.check()
        return happened

    def check(self) -> None:
        """Look at everything, now.

        Raises:
            AssertionError: A guarantee was broken.
        """
        inspect(self.supervisor, self.hosts, self.oracle)
        if (unfinished := len(self.oracle.unfinished())) > self.size:
            raise Violation(f"{unfinished} tasks are unfinished, and the queue takes {self.size}")

    def rest(self) -> Self:
        """End all misfortune; everything must end within bounded time, and nothing may be left over.

        Raises:
            AssertionError: Something was lost, doubled, left over, or never ended.
        """
        self._restless = False
        self.misfortune.end()
        self.supervisor.start()
        for host in self.hosts:
            host.resume()
            host.start()
        for client in self.clients:
            client.start()
        self.run_for(1.0)
        self._until(lambda: unanswered(self.clients))
        self._start_drained()
        for type in TYPES:
            self.clients[0].pause(type, paused=False)
        self._until(self._overdue)
        for name in SCHEDULES if "schedules" in self.ingredients else ():
            self.clients[0].order("pause_schedule", name=name)
        self._until(self._waiting)
        while self._people_help():
            self._until(self._waiting)
        self.run_for(_AFTERGLOW_SECONDS)
        self.check()
        inspect_at_rest(self.supervisor, self.hosts, self.clients, self.oracle)
        return self

    def _start_drained(self) -> None:
        """Hosts that somebody has ordered to drain, have left or may not have heard it yet, are started anew."""
        self.run_for(1.0)
        sessions = self.supervisor.pool.hosts.by_owner.values() if self.supervisor.pool is not None else ()
        drained = {session.name for session in sessions if session.drains and session.alive()}
        for host in self.hosts:
            if host.name in drained:
                host.crash()
            host.start()

    def _far(self) -> list[int]:
        """Tasks that wait for an instant of another day, as the wall clock was set."""
        return self.oracle.history.due_times.for_another_day(self.supervisor.clock.wall())

    def _waiting(self) -> str | None:
        """What still waits for something else than a person."""
        return None if self._far() else restlessness(self.clients, self.oracle, set(self.oracle.stuck()))

    def _people_help(self) -> bool:
        """Let go what only a person can, and end what would come in a day; whether there was any."""
        client, far, stuck = self.clients[0], self._far(), self.oracle.stuck()
        if far:
            client.cancel(far)
        elif stuck:
            client.unblock(stuck)
        self._until(lambda: unanswered(self.clients))
        return bool(far or stuck)

    def _overdue(self) -> str | None:
        """Which schedule has not been seen to, while the queue has room."""
        if len(self.oracle.unfinished()) >= self.size:
            return None
        return overdue(self.oracle.history.schedules, self.supervisor.clock.wall() - _LATE_SECONDS)

    def _until(self, waiting: Callable[[], str | None]) -> None:
        """Go on until nothing is waited for."""
        deadline = self.timeline.now + _REST_SECONDS
        while (why := waiting()) is not None:
            if self.timeline.now > deadline:
                raise Violation(f"after {_REST_SECONDS:g} s in peace: {why}")
            self.run(_LOOK_STEPS)
