"""A limit bounds what runs in fact: what was cancelled and still stops takes its place until its slot has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from simulation.mutants import first_complaint  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.hosts.hosts import Lease
from workerhost.actors.core.rows import Row
from workerhost.actors.core.step import Step
from workerhost.actors.core.still_stopping import StillStopping
from workerhost.actors.core.tasks.endings import Endings
from workerhost.actors.simulation.host import Behaviour
from workerhost.actors.simulation.oracle import Violation
from workerhost.actors.simulation.world import World
from workerhost.config.policy import PolicyTree

DEAF = Behaviour(seconds=400.0, fail=0.0, crash=0.0, release=0.0, deaf=1.0)
LIMIT = 2


def story(*, restarts: bool) -> None:
    """Two of three hosts hold what may run of a node and stand still when it is cancelled, and the third takes what
    comes next as soon as it may.

    Raises:
        Violation: Too many run at a time.
    """
    nodes = {"b": {"max_concurrent": LIMIT}}
    policies = PolicyTree(nodes, {"timeout": None, "cut_off": 3600.0})
    with World(3, hosts=3, clients=1, faults={}, work=0.0, behaviour=DEAF, policies=policies) as pool:
        client = pool.clients[0]
        client.send("b.one", 1, 6, None)
        pool.run_for(2)
        running = pool.executions.live()
        assert len(running) == LIMIT
        held = {execution.host for live in running.values() for execution in live}
        for host in pool.hosts:
            if host.name in held:
                host.pause()
        client.cancel(list(running))
        pool.run_for(0.2)
        if restarts:
            pool.supervisor.kill()
            pool.supervisor.start()
        pool.run_for(2)
        for host in pool.hosts:
            host.resume()
        pool.run_for(60)
        begun = len(pool.oracle.executed)
        assert begun == 2 * LIMIT, "who waited has begun when the others had ended"


@pytest.mark.parametrize("restarts", [False, True])
def test_who_is_cancelled_makes_room_when_its_slot_has_ended(restarts: bool) -> None:
    story(restarts=restarts)


def after_a_restart_nothing_stops(patch: pytest.MonkeyPatch) -> None:
    def sure(self: StillStopping) -> None:
        self._queue.lanes.tree.sure()  # pyright: ignore[reportPrivateUsage]

    patch.setattr(StillStopping, "begin", sure)


def who_is_cancelled_makes_room_at_once(patch: pytest.MonkeyPatch) -> None:
    cancel = Endings.cancel

    def at_once(self: Endings, step: Step, row: Row) -> Lease | None:
        lease = cancel(self, step, row)
        if lease is not None:
            self.queue.let_go(lease)
        return lease

    patch.setattr(Endings, "cancel", at_once)


@pytest.mark.parametrize("mutant", [after_a_restart_nothing_stops, who_is_cancelled_makes_room_at_once])
def test_a_mutant_is_caught(mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    with pytest.raises(Violation, match="tasks of b run in slots, 2 may"):
        story(restarts=mutant is after_a_restart_nothing_stops)


def test_worlds_that_are_drawn_bring_it_about_too(monkeypatch: pytest.MonkeyPatch) -> None:
    weather: Any = {"faults": {}, "ingredients": frozenset({"stubborn", "regrets"}), "seconds": 2.0, "clients": 3}
    assert first_complaint(range(8), **weather) is None
    who_is_cancelled_makes_room_at_once(monkeypatch)
    found = first_complaint(range(20), **weather)
    assert found is not None
    assert "run in slots" in str(found[1])
