"""Actors that fail within a host or a supervisor: at their start, when they are told something, again and again."""

from __future__ import annotations

import signal

import pytest
from fault_pool import TASKS, FaultPool, broken_at
from waiting import until

pytestmark = pytest.mark.faults


def test_levels_that_die_again_and_again_are_their_hosts_failure(pool: FaultPool) -> None:
    """What runs finishes, the rest is handed back, the host ends with 70, and another one goes on."""
    fail = pool.folder / "fail"
    pool.start_supervisor()
    host = pool.start_host("one", environment=broken_at("level_dies", fail))
    client = pool.client()
    handles = [client.send("gated", {"gate": "go"})]
    pool.await_trace()
    fail.touch()
    handles += [client.send("gated", {"gate": "go"}) for _ in range(2)]  # one runs, of which its level is told
    (hopeless,) = host.await_event("host_hopeless")
    assert "gated died 6 times" in hopeless["error"]
    host.await_event("host_drains")
    assert [client.show(handle.id)["state"] for handle in handles] == ["running", "running", "queued"]
    pool.open("go")
    assert host.ended() == 70
    pool.start_host("two", slots=1)
    assert [handle.result(10)["attempt"] for handle in handles] == [1, 1, 1]
    assert pool.audit([handle.id for handle in handles], executions_max=1) == {"completed": 3}


def test_one_level_that_dies_is_started_again_and_nobody_else_notices(pool: FaultPool) -> None:
    fail = pool.folder / "fail"
    fail.touch()
    pool.start_supervisor()
    host = pool.start_host("one", slots=1, environment=broken_at("level_dies_once", fail))
    host.await_event("level_died")
    assert not fail.exists()
    client = pool.client()
    assert client.send("quick").result(10)["attempt"] == 1
    until(lambda: host.process.poll() is None, "it works on")
    assert pool.supervisor.events("host_lost") == []
    assert pool.audit([1], executions_max=1) == {"completed": 1}


@pytest.mark.parametrize("point", ["host_at_start", "host_in_turn", "host_exit_in_turn"])
def test_a_host_that_fails_ends_with_70_and_its_tasks_run_elsewhere(pool: FaultPool, point: str) -> None:
    fail = pool.folder / "fail"
    pool.start_supervisor()
    client = pool.client()
    handle = client.send("gated", {"gate": "go"})
    if point == "host_at_start":
        fail.touch()
    host = pool.start_host("one", slots=1, wait=False, environment=broken_at(point, fail))
    if point != "host_at_start":
        pool.await_trace()
        fail.touch()
    assert host.ended() == 70
    assert host.events("host_failed")

    pool.start_host("two", slots=1)
    pool.open("go")
    assert handle.result(10)["attempt"] == (1 if point == "host_at_start" else 2)
    assert pool.audit([handle.id]) == {"completed": 1}


def test_a_supervisor_that_fails_at_its_start_ends_with_70(pool: FaultPool) -> None:
    fail = pool.folder / "fail"
    fail.touch()
    arguments = ("supervisor", "-c", pool.configuration_file(), "--bind", pool.address)
    assert pool.program(*arguments, **broken_at("at_start", fail)).ended() == 70


def test_up_starts_a_host_again_that_failed(pool: FaultPool) -> None:
    fail = pool.folder / "fail"
    arguments = ("up", str(TASKS), "--slots", "1", "--address", pool.address)
    up = pool.program(*arguments, **broken_at("host_in_turn", fail))
    until(lambda: "the pool is up" in up.text(), "the pool is up")
    client = pool.client()
    held = client.send("gated", {"gate": "go"})
    pool.await_trace()
    fail.touch()
    until(lambda: "host 1 ended with code 70; it is started again" in up.text(), "it is started again")
    fail.unlink()
    pool.open("go")
    assert held.result(30)["attempt"] == 2
    up.send(signal.SIGTERM)
    assert up.ended() == 0
