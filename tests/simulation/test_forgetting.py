"""Ended tasks are forgotten while everything goes wrong: nothing that has not ended is, and nothing is miscounted."""

from __future__ import annotations

from typing import Any

import pytest

from workerhost.actors.core.effects import Where
from workerhost.actors.core.rows import FINAL
from workerhost.actors.simulation.misfortune import FAULTS
from workerhost.actors.simulation.scenario import Scenario
from workerhost.actors.simulation.world import World
from workerhost.transport.messages import STATES


def played(seed: int, steps: int, **given: Any) -> World:
    """A world that forgets; how to see it again stands in what a failure shows."""
    scenario = Scenario.drawn(
        seed, steps, hosts=3, clients=2, window=12, durability="full", ageing=0.0, quick=False,
        ingredients=frozenset({"forgetting"}), **given,
    )  # fmt: skip
    print(scenario.command())
    return scenario.world()


@pytest.mark.parametrize("seed", range(6))
def test_what_has_ended_is_forgotten_and_nothing_else(seed: int) -> None:
    """The checks of every commit, and of the pool at rest, hold as they do without."""
    # The wall clock stays: after a jump of hours nothing is forgotten for a day, or not before its time comes again.
    with played(seed, 5000, faults={**FAULTS, "wall_jump": 0.0}) as world:
        world.run(5000)
        assert world.oracle.history.pruned, "a history in which nothing is forgotten shows nothing"
        world.rest()
        world.run_for(700)  # a flow that its client never handed in whole is given up after 600 s

        assert not world.oracle.tasks, "everything has ended, so everything is forgotten"
        pool = world.supervisor.pool
        assert pool is not None
        assert [pool.queue.lanes.total(state) for state in range(len(STATES))] == [0] * len(STATES)
        assert all(not any(lane.stored[state] for state in FINAL) for lane in pool.queue.lanes.by_number.values())
        assert world.supervisor.disk.tasks(Where(), 10) == ([], None)


def test_a_connected_client_hears_of_every_end_however_short_it_is_kept() -> None:
    with played(1, 3000, faults={}) as world:
        world.run(3000).rest()
        blocks = [block for client in world.clients for block in client.blocks]

        assert world.oracle.history.pruned
        assert len(blocks) > 20
        assert not any(block.left for block in blocks)


def test_what_was_forgotten_before_a_restore_is_lost_as_well_as_what_was_not() -> None:
    with World(1, keep=1.0, faults={}, work=0.0) as world:
        client, supervisor = world.clients[0], world.supervisor
        client.send("a", 1, 1, None)
        world.run_for(1.0)
        backup = supervisor.disk.backup()
        client.send("a", 1, 2, None)
        world.run_for(60.0)
        forgotten = set(world.oracle.history.pruned)
        supervisor.kill()
        supervisor.disk.restore(backup)
        world.executions.another_history()
        supervisor.start()
        assert len(forgotten - backup[1].tasks.keys()) == 2
        assert forgotten - backup[1].tasks.keys() <= world.oracle.lost
        world.rest()
