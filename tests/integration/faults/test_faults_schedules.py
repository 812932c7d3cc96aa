"""A supervisor that dies around the instant of a schedule: each instant fires once, however often that happens."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from fault_pool import FaultPool, broken_at
from waiting import until

pytestmark = pytest.mark.faults

PERIOD = 1.0


def seen_to(pool: FaultPool) -> float:
    (schedule,) = pool.client().schedules()
    return schedule["last"]


@pytest.mark.parametrize("times", [2, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("point", ["before_firing_commit", "after_firing_commit"])
def test_deaths_around_the_commit_of_a_firing_lose_and_double_none(pool: FaultPool, point: str, times: int) -> None:
    fail = pool.folder / "fail"
    pool.impatient()
    pool.start_supervisor(**broken_at(point, fail))
    pool.start_host("one")
    began = pool.client().schedule("often", "quick", every=PERIOD, catch_up="all")["last"]
    for _ in range(times):
        fail.touch()
        assert pool.supervisor.ended() == -signal.SIGKILL, "it died as it fired"
        fail.unlink()
        pool.start_supervisor(**broken_at(point, fail))
    ends_once(pool, began)


def test_kills_at_any_moment_lose_and_double_no_firing(pool: FaultPool) -> None:
    pool.impatient()
    pool.start("one")
    began = pool.client().schedule("often", "quick", every=PERIOD, catch_up="all")["last"]
    for _ in range(3):
        until_later(pool, seen_to(pool))
        pool.supervisor.kill()
        pool.start_supervisor()
    ends_once(pool, began)


def until_later(pool: FaultPool, last: float) -> None:
    until(lambda: seen_to(pool) > last, "the next instant has been seen to")


def ends_once(pool: FaultPool, began: float) -> None:
    """For each instant since there is one task, and each has completed."""
    until_later(pool, seen_to(pool))
    client = pool.client()
    client.pause_schedule("often")
    last = seen_to(pool)
    waiting = ("queued", "running", "scheduled")
    counted: Callable[[], dict[str, Any]] = lambda: client.status()["tasks"]  # noqa: E731
    until(lambda: not sum(counted()[state] for state in waiting), "all has ended", 60)
    assert counted()["completed"] == last // PERIOD - began // PERIOD
