"""How many tasks are shipped follows how long they take: by the hundred, one by one, and anew when that changes."""

from __future__ import annotations

from typing import Any

from unit.pool_words import (  # pyright: ignore[reportMissingImports]
    HOST,
    completed,
    granted,
)

from workerhost.transport.messages import GiveBack, Message, Results, Returned, Tasks

OTHER = b"i"
QUICK, SECOND, MINUTE = 1e-5, 1.0, 60.0
Leases = list[tuple[int, int, int]]


def _run(
    pool: Any, leases: list[tuple[int, int, int]], seconds: float, host: bytes = HOST
) -> dict[bytes, list[Message]]:
    """A host reports that these took so long; what follows."""
    return pool.say(host, Results([completed(id, fence, seconds) for id, fence, _ in leases]))


def _learn(pool: Any, seconds: float, type: str = "a", count: int = 1000) -> Leases:
    """Many tasks wait; the host runs some until it is known how long they take; what it has in hand then."""
    hand = granted(pool.send(type=type, count=count))
    for _ in range(30):
        hand = hand[1:] + granted(_run(pool, hand[:1], seconds))
    return hand


def test_microsecond_tasks_are_shipped_by_the_hundred(pool: Any) -> None:
    pool.host(HOST, slots=4)
    hand = _learn(pool, QUICK, count=5000)

    said = _run(pool, hand[:300], QUICK)

    assert len(hand) > 500
    assert len(granted(said)) == 300
    assert sum(isinstance(message, Tasks) for message in said[HOST]) == 1


def test_minute_tasks_are_shipped_one_by_one(pool: Any) -> None:
    pool.host(HOST, slots=4)
    hand = _learn(pool, MINUTE)

    assert len(hand) == 4
    assert len(granted(_run(pool, hand[:1], MINUTE))) == 1
    assert len(granted(_run(pool, hand[1:3], MINUTE))) == 2


def test_each_type_has_a_pace_of_its_own(pool: Any) -> None:
    pool.host(HOST, "a", "b", slots=2)
    for lease in _learn(pool, QUICK):
        _run(pool, [lease], QUICK)
    pool.host(OTHER, "b", slots=2)

    hand = _learn(pool, MINUTE, "b")

    assert len([lease for lease in pool.pool.queue.leases.values() if lease.lane.type == "b"]) <= 4
    assert len(hand) <= 2


def test_tasks_behind_a_slow_one_run_in_the_slots_that_are_idle(pool: Any) -> None:
    """Tasks of a quick type turn slow: those that were shipped ahead come back and go to whoever is free."""
    pool.host(HOST, slots=1)
    first, *behind = _learn(pool, QUICK)
    assert len(behind) > 100

    back = [[id, fence, int(Returned.UNSTARTED), 0.0, "", False] for id, fence, _ in behind]
    said = pool.say(HOST, GiveBack(back))
    assert granted(said) == [], "its slot is taken, and nothing is shipped ahead any more"
    other = granted(pool.host(OTHER, slots=3), OTHER)

    assert [id for id, _, _ in other] == [id for id, _, _ in behind[:3]], "each slot has one, the first in order"
    assert len(granted(_run(pool, other[:1], SECOND, OTHER), OTHER)) == 1
    assert [id for id, _, _ in granted(_run(pool, [first], SECOND))] == [behind[4][0]]


def test_a_type_that_becomes_quick_again_is_shipped_ahead_again(pool: Any) -> None:
    pool.host(HOST, slots=1)
    hand = _learn(pool, MINUTE)
    assert len(hand) == 1

    for _ in range(900):
        hand = hand[1:] + granted(_run(pool, hand[:1], QUICK))
        if len(hand) > 1:
            break

    assert len(hand) > 1
