"""A queue in memory ends with its supervisor: the next one at its address is another, to clients and to hosts."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from raw_peers import CLAIM, RECORDED, RESULTS, STOP, TASKS, Peer, packed

from workerhost import Client, TaskState, TaskUnknown
from workerhost.actors.supervisor import Supervisor, SupervisorSettings

SECONDS = 20.0
"""Longer than anything here takes; a wait of that length has failed."""


class Pools:
    """One supervisor after the other at one address, each with its queue in memory."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.running = Supervisor.start(SupervisorSettings(address=self.address))

    def another(self) -> None:
        self.running.stop()
        self.running = Supervisor.start(SupervisorSettings(address=self.address))


@pytest.fixture
def pools() -> Iterator[Pools]:
    pools = Pools()
    yield pools
    pools.running.stop()


@pytest.fixture
def client(pools: Pools) -> Iterator[Client]:
    with Client(pools.address, timeout=SECONDS) as client:
        yield client


def test_a_task_is_unknown_to_the_next_queue_and_its_number_is_anothers(pools: Pools, client: Client) -> None:
    old = client.send("a", 1)
    pools.another()
    new = client.send("b", 2)
    assert new.id == old.id == 1
    with pytest.raises(TaskUnknown):
        old.result(SECONDS)
    assert client.cancel([new.id]) == [new.id]
    assert new.wait(SECONDS)
    assert new.state is TaskState.CANCELLED
    with pytest.raises(TaskUnknown):
        old.result(SECONDS)


def test_what_a_host_ran_for_the_queue_before_is_no_result_of_a_task_of_the_next(pools: Pools, client: Client) -> None:
    session = os.urandom(16)
    peer = host(pools.address, session, running=[])
    client.send("a", 1)
    id, fence = granted(peer)
    pools.another()
    peer.socket.close()

    peer = host(pools.address, session, running=[[id, fence]])
    assert peer.hear(STOP)[0] == [[id, fence]]
    handle = client.send("a", 2)
    assert granted(peer)[0] == handle.id == id
    peer.say(RESULTS, [[id, fence, 0, packed("of another task"), 0.001, 0, None]])
    assert peer.hear(RECORDED)[1] == [[id, fence]]
    assert client.show(id)["state"] == "running"
    peer.close()


def host(address: str, session: bytes, running: list[list[int]]) -> Peer:
    """It has joined, and asks for a task."""
    offer = {"slots": {"": 2}, "types": ["a"], "named": True, "greeting": 1, "running": running, "finished": []}
    peer = Peer(address, "host", session, "raw", offer)
    peer.say(CLAIM, {"": 1})
    return peer


def granted(peer: Peer) -> tuple[int, int]:
    """The number and the fence of the one task that a host is given."""
    ((_, ((id, fence, *_),)),) = peer.hear(TASKS)[0]
    return id, fence
