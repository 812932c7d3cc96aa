"""Guarantees about time and disks, each in a history made for it."""

from __future__ import annotations

import pytest

from workerhost.actors.core.rows import COMPLETED
from workerhost.actors.simulation import disk
from workerhost.actors.simulation.host import Behaviour
from workerhost.actors.simulation.world import World
from workerhost.config.policy import PolicyTree

GOOD = Behaviour(seconds=0.2, fail=0.0, crash=0.0, release=0.0)
LONG = Behaviour(seconds=400.0, fail=0.0, crash=0.0, release=0.0)
MODEST = Behaviour(seconds=60.0, fail=0.0, crash=0.0, release=0.0)
MINUTES = 600.0


def world(behaviour: Behaviour = GOOD, **more: object) -> World:
    nodes = {"c": {"cut_off": None}}
    policies = PolicyTree(nodes, {"timeout": None, "cut_off": 3600.0})
    return World(5, faults={}, work=0.0, behaviour=behaviour, policies=policies, **more)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("leaves", ["kill", "stop", "power_cut"])
def test_a_supervisor_away_for_ten_minutes_ends_no_attempt(leaves: str):
    with world(LONG) as pool:
        pool.clients[0].send("a", 1, 4, None)
        pool.run_for(5)
        running = {id: [e.fence for e in live] for id, live in pool.executions.live().items()}
        assert len(running) == 4
        getattr(pool.supervisor, leaves)()
        pool.run_for(MINUTES)
        ended = running.keys() - pool.executions.live().keys()
        pool.supervisor.start()
        pool.run_for(10).check()
        assert pool.oracle.history.grants.keys() == {(id, fence) for id, (fence,) in running.items()}, "none ran twice"
        assert all(pool.oracle.tasks[id].state == COMPLETED for id in ended)
        pool.rest()
        assert all(known.attempt == 1 and known.losses == 0 for known in pool.oracle.tasks.values())


@pytest.mark.parametrize("closed", [False, True], ids=["silent", "closed"])
def test_with_cut_off_stop_a_copy_begins_only_after_the_first_has_ended(closed: bool):
    """Whether the host falls silent or its connection closes as well: an overlap would be a `Violation`."""
    with world(LONG, hosts=2) as pool:
        pool.clients[0].send("c", 1, 1, None)
        pool.run_for(3)
        ((id, (first,)),) = pool.executions.live().items()
        if closed:
            pool.network.close(next(w for w in pool.network.wires.values() if w.node == first.host))
            pool.run_for(0.1)
        pool.network.weather.cut |= {("up", first.host), ("down", first.host)}
        pool.run_for(10)
        ((again, (second,)),) = pool.executions.live().items()
        assert (again, second.host) != (id, first.host)
        assert again == id
        pool.network.weather.calm()


@pytest.mark.parametrize("durability", ["full", "relaxed"])
def test_what_a_power_cut_takes(durability: str, monkeypatch: pytest.MonkeyPatch):
    """With `full` nothing that was acknowledged; with `relaxed` what was not synced by chance, and the pool goes on."""
    monkeypatch.setattr(disk, "_SYNC_CHANCE", 0.0)
    with world(durability=durability) as pool:
        for _ in range(40):
            pool.clients[0].send("a", 1, 3, None)
            pool.run_for(0.1)
        acknowledged = pool.clients[0].accepted()
        assert len(acknowledged) == 120
        pool.misfortune.power_cut()
        pool.supervisor.start()
        kept = [id for id in acknowledged if pool.supervisor.disk.show(id) is not None]
        assert kept == (acknowledged if durability == "full" else [])
        pool.rest()
        assert not any(block.left for block in pool.clients[0].blocks)


def test_after_a_power_cut_that_took_commits_a_client_elsewhere_hears_of_its_old_tasks_and_of_new_ones(
    monkeypatch: pytest.MonkeyPatch,
):
    """What it was told of, and lost since, gives its numbers to nothing else: neither ids nor those of ends."""
    monkeypatch.setattr(disk, "_SYNC_CHANCE", 0.0)
    with world(durability="relaxed") as pool:
        client = pool.clients[0]
        for _ in range(5):
            client.send("a", 1, 3, None)
            pool.run_for(2)
        client.send("c", 1, 3, None)
        pool.run_for(0.05)
        lost = client.accepted()
        assert [block.left for block in client.blocks] == [0] * 5 + [3]
        pool.misfortune.power_cut()
        pool.supervisor.start()
        pool.run_for(10)
        assert [end[0] for end in client.blocks[-1].ends if isinstance(end, tuple)] == [-1] * 3, "they are gone"
        client.send("a", 1, 3, None)
        pool.run_for(10)
        assert client.blocks[-1].completed == 3
        assert min(client.accepted()[len(lost) :]) > max(lost)
        pool.rest()


def test_a_supervisor_that_is_killed_costs_no_numbers_however_relaxed_its_disk_is():
    with world(durability="relaxed") as pool:
        client = pool.clients[0]
        for _ in range(2):
            client.send("a", 1, 3, None)
            pool.run_for(2)
            pool.supervisor.kill()
            pool.supervisor.start()
            pool.run_for(2)
        assert client.accepted() == [1, 2, 3, 4, 5, 6]
        pool.rest()


def test_a_restore_revokes_what_was_granted_since_and_gives_no_number_twice():
    with world(MODEST) as pool:
        client, supervisor = pool.clients[0], pool.supervisor
        client.send("a", 1, 2, None)
        pool.run_for(2)
        backup = supervisor.disk.backup()
        client.send("a", 1, 2, None)
        pool.run_for(2)
        lost = set(client.accepted()) - backup[1].tasks.keys()
        zombies = dict(pool.oracle.history.grants)
        assert len(lost) == 2
        assert len(zombies) == 4
        supervisor.kill()
        supervisor.disk.restore(backup)
        pool.executions.another_history()
        supervisor.start()
        pool.run_for(10)
        running = {(id, execution.fence) for id, live in pool.executions.live().items() for execution in live}
        assert running.isdisjoint(zombies), "hosts were told to stop what they held"
        assert {end[0] for block in client.blocks for end in block.ends if isinstance(end, tuple)} == {-1}, "lost"
        client.send("a", 1, 2, None)
        pool.run_for(2)
        assert min(client.accepted()[-2:]) > max(lost)
        pool.rest()
