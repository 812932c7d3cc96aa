"""The simulated world in hypothesis's hands: it looks for a short list of misfortunes that breaks a guarantee."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from workerhost.actors.core.queue import Queue
from workerhost.actors.simulation.oracle import Violation
from workerhost.actors.simulation.world import TYPES, World

HOSTS, CLIENTS = 3, 2
host = st.integers(0, HOSTS - 1)
client = st.integers(0, CLIENTS - 1)
some = st.lists(st.integers(0, 200), min_size=1, max_size=3)
directions = st.sampled_from([("up",), ("down",), ("up", "down")])


class Pool(RuleBasedStateMachine):
    """Every rule is something that a person, a program or bad luck does; between two rules a moment passes."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None

    @initialize(
        seed=st.integers(0, 9), durability=st.sampled_from(["full", "relaxed"]), skew=st.sampled_from([0, 0.02])
    )
    def begin(self, seed: int, durability: str, skew: float) -> None:
        self.world = World(
            seed, hosts=HOSTS, clients=CLIENTS, faults={"clock_skew": skew}, window=8, durability=durability, work=0.0
        )
        self.world.run_for(0.2)

    @property
    def pool(self) -> World:
        assert self.world is not None
        return self.world

    def pass_a_moment(self) -> None:
        self.pool.run_for(0.02)

    # What people and programs do.

    @rule(who=client, type=st.sampled_from(TYPES), priority=st.integers(1, 3), count=st.integers(1, 6))
    def send(self, who: int, type: str, priority: int, count: int) -> None:
        self.pool.clients[who].send(type, priority, count, None)
        self.pass_a_moment()

    @rule(who=client, seconds=st.sampled_from([0.1, 2.0, 6.0]))
    def send_for_later(self, who: int, seconds: float) -> None:
        self.pool.clients[who].send("a", 1, 2, {"delay": seconds})
        self.pass_a_moment()

    def known(self, who: int, indexes: list[int]) -> list[int]:
        ids = self.pool.clients[who].accepted()
        return [ids[index % len(ids)] for index in indexes] if ids else []

    @rule(who=client, which=some)
    def cancel(self, who: int, which: list[int]) -> None:
        self.pool.clients[who].cancel(self.known(who, which))
        self.pass_a_moment()

    @rule(who=client, which=some)
    def retry(self, who: int, which: list[int]) -> None:
        self.pool.clients[who].retry(self.known(who, which))
        self.pass_a_moment()

    @rule(who=host)
    def drain_host(self, who: int) -> None:
        self.pool.hosts[who].drain()
        self.pass_a_moment()

    @rule(type=st.sampled_from(TYPES), paused=st.booleans())
    def pause_type(self, type: str, paused: bool) -> None:
        self.pool.clients[0].pause(type, paused=paused)
        self.pass_a_moment()

    # Bad luck.

    @rule(who=host, way=directions)
    def partition_host(self, who: int, way: tuple[str, ...]) -> None:
        self.pool.network.weather.cut |= {(direction, f"host-{who}") for direction in way}

    @rule(who=client, way=directions)
    def partition_client(self, who: int, way: tuple[str, ...]) -> None:
        self.pool.network.weather.cut |= {(direction, f"client-{who}") for direction in way}

    @rule()
    def heal(self) -> None:
        self.pool.network.weather.cut.clear()

    @rule(drop=st.sampled_from([0.0, 0.1, 0.3]), duplicate=st.sampled_from([0.0, 0.2]))
    def weather(self, drop: float, duplicate: float) -> None:
        self.pool.network.weather.drop, self.pool.network.weather.duplicate = drop, duplicate

    @rule(who=host)
    def crash_host(self, who: int) -> None:
        self.pool.hosts[who].crash()
        self.pass_a_moment()

    @rule(who=host)
    def restart_host(self, who: int) -> None:
        self.pool.hosts[who].start()
        self.pass_a_moment()

    @rule(who=host)
    def crash_slot(self, who: int) -> None:
        self.pool.hosts[who].crash_slot()
        self.pass_a_moment()

    @rule(who=host, paused=st.booleans())
    def pause_host(self, who: int, paused: bool) -> None:
        (self.pool.hosts[who].pause if paused else self.pool.hosts[who].resume)()
        self.pass_a_moment()

    @rule(who=client)
    def crash_client(self, who: int) -> None:
        self.pool.clients[who].crash()
        self.pool.clients[who].start()
        self.pass_a_moment()

    @rule(how=st.sampled_from(["kill", "stop"]))
    def end_supervisor(self, how: str) -> None:
        (self.pool.supervisor.kill if how == "kill" else self.pool.supervisor.stop)()
        self.pass_a_moment()

    @rule(fate=st.sampled_from(["refused", "lost", "written"]))
    def fail_next_commit(self, fate: str) -> None:
        self.pool.supervisor.disk.fate = fate
        self.pass_a_moment()

    @rule()
    def cut_power(self) -> None:
        self.pool.misfortune.power_cut()
        self.pass_a_moment()

    @precondition(lambda self: self.world is not None and not self.world.misfortune.has_backup)
    @rule()
    def back_up_and_restore_later(self) -> None:
        self.pool.misfortune.restore()
        self.pass_a_moment()

    @precondition(lambda self: self.world is not None and self.world.supervisor.pool is None)
    @rule()
    def restart_supervisor(self) -> None:
        self.pool.supervisor.start()
        self.pass_a_moment()

    @rule(seconds=st.sampled_from([-3600.0, 1.5, 86400.0]))
    def set_wall_clock(self, seconds: float) -> None:
        self.pool.supervisor.jump(seconds)
        self.pass_a_moment()

    @rule(seconds=st.sampled_from([0.1, 1.0, 1.6, 5.5]))
    def advance(self, seconds: float) -> None:
        self.pool.run_for(seconds)
        self.pool.check()

    def teardown(self) -> None:
        if self.world is not None:
            with self.world:
                self.world.rest()


QUICK = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)

TestPool = Pool.TestCase
TestPool.settings = QUICK


def test_a_mistake_is_found_and_shrunk_to_what_is_needed(monkeypatch: pytest.MonkeyPatch):
    """A queue that forgets failures needs no more than tasks and time to be found out."""
    back = Queue.back

    def forgetful(self: Queue, step: Any, row: Any, was: int) -> None:
        back(self, step, row, was)
        state, place, due, relative, attempt, _failures, *more = step.persist.returns[-1]
        step.persist.returns[-1] = (state, place, due, relative, attempt, 0, *more)

    monkeypatch.setattr(Queue, "back", forgetful)
    short = settings(
        QUICK,
        max_examples=40,
        stateful_step_count=12,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
    )
    with pytest.raises(Violation) as found:
        run_state_machine_as_test(Pool, settings=short)
    told = [line.strip() for line in found.value.__notes__ if line.strip().startswith("state.")]
    assert len(told) <= 8, told
    assert any("send" in line for line in told)
