"""What a host was told before its connection broke, or its supervisor ended, holds when it comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from unit.pool_words import CLIENT, HOST, granted  # pyright: ignore[reportMissingImports]

from workerhost.transport.messages import Admin, Cancel, Claim, Drain, Hello, Query

Make = Callable[..., Any]
STOPS: dict[str, Any] = {"cut_off": None}
"""Of a node whose tasks never run twice at a time: `cut_off: stop`."""


@pytest.fixture
def guarded(pool_with: Make) -> Any:
    """A pool of such tasks, one of which runs on host x."""
    pool = pool_with({"v": STOPS})
    pool.host(b"x", "v", name="gpu", named=True)
    assert granted(pool.send("v"), b"x")
    return pool


def _granted_after(pool: Any, peer: bytes) -> float:
    """How many seconds pass until a host is granted a task."""
    began = pool.now
    while not granted(pool.wait(0.5), peer):
        assert pool.now - began < 100
    return pool.now - began


def test_a_copy_that_still_stops_keeps_its_place_when_its_host_says_hello_again(pool_with: Make) -> None:
    pool = pool_with({"v": {"max_concurrent": 1}})
    pool.host(HOST, "v", slots=2)
    ((id, fence, _),) = granted(pool.send("v", 2))
    pool.say(CLIENT, Cancel(1, [id]))
    pool.start()
    pool.client()

    def hello(greeting: int, *running: list[int]) -> list[int]:
        """Host h comes back; what host i is granted."""
        offer = {"types": ["v"], "slots": {"": 2}, "running": list(running), "greeting": greeting}
        said = pool.say(HOST, Hello("host", [1, 1], HOST * 16, "h", offer))
        return [id for id, *_ in granted(said, b"i")]

    hello(1, [id, fence])
    assert granted(pool.host(b"i", "v"), b"i") == []
    assert hello(2, [id, fence]) == []
    assert hello(3) == [2], "it runs it no more"


def test_a_new_process_of_its_name_does_not_run_what_the_old_one_may_still_run(guarded: Any) -> None:
    guarded.close(b"x")
    guarded.wait(0.3)
    said = guarded.host(b"y", "v", name="gpu", named=True)

    assert [host["name"] for host in _hosts(guarded)] == ["gpu-2", "gpu"]
    assert granted(said, b"y") == []
    assert _granted_after(guarded, b"y") + 0.3 >= guarded.settings.lost_after
    assert guarded.store.show(1)["losses"] == 1


def test_a_host_that_is_silent_is_granted_nothing_when_its_name_comes_back(pool_with: Make) -> None:
    """Its connection is open, and what it may run twice is taken from it."""
    pool = pool_with({"v": STOPS})
    pool.host(b"x", "v", "a", slots=2, name="gpu", named=True)
    assert granted(pool.send("v"), b"x")
    assert granted(pool.send("a"), b"x")
    pool.silent.add(b"x")
    pool.wait(2.5)
    offer = {"types": ["v", "a"], "slots": {"": 2}, "named": True}

    assert granted(pool.say(b"y", Hello("host", [1, 1], b"y" * 16, "gpu", offer)), b"x") == []
    assert [(host["name"], host["state"]) for host in _hosts(pool)] == [("gpu-2", "suspect"), ("gpu", "joined")]
    assert len(granted(pool.say(b"y", Claim({"": 2})), b"y")) == 1
    assert pool.store.show(2)["losses"] == 1


def test_what_may_run_twice_a_new_process_of_its_name_runs_at_once(pool: Any) -> None:
    pool.host(b"x", name="gpu", named=True)
    pool.send()
    pool.close(b"x")
    said = pool.host(b"y", name="gpu", named=True)

    assert len(granted(said, b"y")) == 1
    assert [(host["name"], host["state"]) for host in _hosts(pool)] == [("gpu", "lost"), ("gpu", "joined")]


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_shorter_lost_after_counts_for_who_has_heard_of_it(guarded: Any, restarts: int) -> None:
    guarded.settings = replace(guarded.settings, lost_after=2.0)
    for _ in range(restarts):
        guarded.start()
    guarded.client()
    guarded.host(b"z", "v")
    assert _granted_after(guarded, b"z") >= 5.0, "it was told 5 s, and goes by them"

    guarded.start()
    guarded.wait(1.0)
    guarded.start()
    guarded.client()
    guarded.host(b"y", "v")
    assert 2.0 <= _granted_after(guarded, b"y") < 5.0


def test_a_shorter_lost_after_does_not_count_before_welcome_has_come(guarded: Any) -> None:
    guarded.settings = replace(guarded.settings, lost_after=2.0)
    guarded.start()
    guarded.client()
    ((id, fence),) = [(lease.row.id, lease.row.fence) for lease in guarded.pool.queue.leases.values()]
    offer = {"types": ["v"], "slots": {"": 1}, "running": [[id, fence]], "greeting": 2}
    guarded.say(b"x", Hello("host", [1, 1], b"x" * 16, "gpu", offer))
    guarded.close(b"x")
    guarded.host(b"z", "v")
    assert _granted_after(guarded, b"z") >= 5.0, "WELCOME may be lost"


def test_an_order_to_drain_outlives_the_supervisor(pool: Any) -> None:
    pool.host()
    for undo, orders in ((False, [Drain()]), (True, [Drain(undo=True)])):
        pool.say(CLIENT, Admin(1, "drain", {"host": "h", "undo": undo}))
        pool.start()
        pool.client()
        hello = Hello("host", [1, 1], HOST * 16, "h", {"types": ["a"], "slots": {"": 1}})
        assert [message for message in pool.say(HOST, hello)[HOST] if isinstance(message, Drain)] == orders
        assert [host["state"] for host in _hosts(pool)] == ["joined" if undo else "draining"]


def _hosts(pool: Any) -> list[dict[str, Any]]:
    (reply,) = pool.say(CLIENT, Query(1, "hosts"))[CLIENT]
    return reply.value["hosts"]
