"""A breaker by itself: what it counts, when it opens, how long it waits."""

from __future__ import annotations

from workerhost.actors.core.policies.breakers import COOL_OFF_MAX, Guard
from workerhost.config.limits import Breaker

BREAKER = Breaker(failures=0.5, window=60.0, at_least=4, cool_off=30.0)


def test_it_opens_when_the_share_of_failures_in_the_window_is_reached_and_not_before_enough_has_ended() -> None:
    guard = Guard(BREAKER)
    guard.counted(0.0, 3, 3)
    assert not guard.too_many(0.0)
    guard.counted(1.0, 4, 0)
    assert not guard.too_many(1.0), "3 of 7"
    guard.counted(2.0, 1, 1)
    assert guard.too_many(2.0), "4 of 8"
    assert guard.share() == "4 of the latest 8 failed"


def test_what_is_older_than_the_window_does_not_count() -> None:
    guard = Guard(BREAKER)
    guard.counted(0.0, 10, 10)
    assert guard.too_many(59.0)
    assert not guard.too_many(60.0)
    assert not guard.active(60.0)


def test_its_memory_is_bounded() -> None:
    guard = Guard(BREAKER)
    for step in range(10_000):
        guard.counted(step * 0.1, 1, 0)
    assert len(guard._parts) <= 11  # pyright: ignore[reportPrivateUsage]  # what is bounded is inside


def test_it_lets_one_task_at_a_time_try_and_waits_longer_each_time_that_fails() -> None:
    guard = Guard(BREAKER)
    now, waits = 0.0, list[float]()
    for _ in range(8):
        waits.append(guard.open(now, "many failed"))
        assert guard.room(now + waits[-1] - 0.1) == 0
        now += waits[-1]
        assert guard.room(now) == 1
        guard.probe = 7
        assert guard.room(now) == 0
        assert guard.let_go(7)
        assert guard.tried(7)
        assert not guard.tried(8)
    assert waits == [30.0, 60.0, 120.0, 240.0, 480.0, COOL_OFF_MAX, COOL_OFF_MAX, COOL_OFF_MAX]
    guard.close()
    assert (guard.room(now), guard.state(now)) == (None, "closed")
    assert guard.open(now, "again") == 30.0, "success forgets how often it had failed"
