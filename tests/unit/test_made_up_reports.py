"""What a host says of tasks that were never granted to anybody, or to another host, is no report."""

from __future__ import annotations

from typing import Any

import pytest
from unit.pool_words import COMPLETED, completed, ended, failed, granted  # pyright: ignore[reportMissingImports]

from workerhost.transport.messages import (
    Admin,
    Bye,
    Claim,
    GiveBack,
    Hello,
    Outcome,
    Recorded,
    Results,
    Returned,
    Stop,
)

NEVER = 0
"""The fence of a task that was never granted."""


def test_a_result_for_a_task_that_was_never_granted_is_stale(pool: Any) -> None:
    pool.send()
    pool.host(b"h", "b")
    said = pool.say(b"h", Results([[1, NEVER, 0, b"a lie", 0.1, 1, None]]))

    assert said[b"h"] == [Recorded(2, [[1, NEVER]])]
    assert pool.state(1) == "queued"


def test_a_host_that_claims_to_run_a_task_that_was_never_granted_is_told_to_stop(pool: Any) -> None:
    pool.send()
    offer = {"types": ["a"], "slots": {"": 1}, "running": [[1, NEVER]], "finished": []}
    said = pool.say(b"h", Hello("host", [1, 1], b"h" * 16, "h", offer))

    assert [message for message in said[b"h"] if isinstance(message, Stop)] == [Stop([[1, NEVER]])]
    assert pool.state(1) == "queued"


@pytest.fixture
def rescued(pool: Any) -> tuple[int, int]:
    """(id, fence) of a task that its host x held when it was lost; nobody has claimed it since."""
    pool.host(b"x")
    ((id, fence, _),) = granted(pool.send(), b"x")
    pool.close(b"x")
    pool.wait(1.5)
    assert pool.state(id) == "queued"
    return id, fence


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.FAILED, Outcome.CRASHED])
@pytest.mark.parametrize("restart", [False, True])
def test_a_result_for_a_task_that_another_host_held_is_stale(
    pool: Any, rescued: tuple[int, int], outcome: Outcome, restart: bool
) -> None:
    id, fence = rescued
    if restart:
        pool.start()
    before = pool.store.show(id)
    pool.host(b"h", "a", slots=0)
    said = pool.say(b"h", Results([[id, fence, outcome, b"a lie", 0.1, 1, {"kind": "permanent"}]]))

    assert said == {b"h": [Recorded(2, [[id, fence]])]}
    assert pool.store.show(id) == before


def test_the_fence_of_an_ended_task_is_confirmed_to_its_own_host_alone(pool: Any) -> None:
    pool.host(b"x")
    ((id, fence, _),) = granted(pool.send(), b"x")
    pool.say(b"x", Results([completed(id, fence)]))
    pool.host(b"h", slots=0)

    assert pool.say(b"x", Results([completed(id, fence)])) == {b"x": [Recorded(3)]}
    assert pool.say(b"h", Results([completed(id, fence)])) == {b"h": [Recorded(2, [[id, fence]])]}


def test_a_host_that_claims_to_run_what_another_held_is_told_to_stop(pool: Any, rescued: tuple[int, int]) -> None:
    offer = {"types": ["a"], "slots": {"": 1}, "running": [list(rescued)], "finished": []}
    said = pool.say(b"h", Hello("host", [1, 1], b"h" * 16, "h", offer))

    assert [message for message in said[b"h"] if isinstance(message, Stop)] == [Stop([list(rescued)])]
    assert pool.state(rescued[0]) == "queued"


@pytest.mark.parametrize("restart", [False, True])
def test_a_lost_host_that_comes_back_is_believed(pool: Any, rescued: tuple[int, int], restart: bool) -> None:
    """It is another session by then, of the same process: in the supervisor's memory, and in its store."""
    if restart:
        pool.start()
        pool.client()
    pool.host(b"z", session=b"x" * 16, name="x", finished=[list(rescued)], slots=0)
    said = pool.say(b"z", Results([completed(*rescued)]))

    assert said[b"z"] == [Recorded(2)]
    assert ended(said) == [(rescued[0], COMPLETED)]


def test_a_task_that_is_run_once_more_is_not_ended_by_whoever_had_it_before(pool: Any) -> None:
    """The next fence is easily guessed."""
    pool.host()
    ((id, fence, _),) = granted(pool.send(max_attempts=1))
    pool.say(b"h", Results([failed(id, fence)]))
    pool.say(b"h", Claim({"": 0}))
    pool.say(b"c", Admin(1, "retry", {"ids": [id]}))
    guesses = [[id, guess] for guess in range(fence + 1, fence + 5)]

    for restart in (False, True):
        if restart:
            pool.start()
            pool.host(b"h", slots=0)
        said = pool.say(b"h", Results([completed(*guess) for guess in guesses]))
        assert all(item in guesses for item in said[b"h"][0].stale)
        assert pool.state(id) == "queued"


def test_what_a_worker_says_at_random_is_not_held_against_its_host(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    spent = {"message": "no more today", "kind": "quota", "node": "Some Service"}
    said = pool.say(b"h", Results([[id, fence, Outcome.FAILED, b"", 0.1, 0, spent]]))

    assert said[b"h"] == [Recorded(2)]
    assert pool.state(id) == "queued"
    assert pool.store.show(id)["releases"] == 1


@pytest.mark.parametrize("how", ["completed", "given back"])
def test_what_a_host_that_comes_back_tells_at_once_of_a_task_counts(
    pool: Any, rescued: tuple[int, int], how: str
) -> None:
    id, fence = rescued
    offer = {"types": ["a"], "slots": {"": 1}, "running": [[id, fence]], "finished": []}
    given_back = GiveBack([[id, fence, Returned.RELEASED, 0.0, "enough", True]])
    told = Results([completed(id, fence)]) if how == "completed" else given_back
    said = pool.say(b"z", Hello("host", [1, 1], b"x" * 16, "x", offer), told)

    assert pool.state(id) == ("completed" if how == "completed" else "queued")
    assert [message.stale for message in said[b"z"] if isinstance(message, Recorded)] == [[]] * (how == "completed")


def test_a_host_keeps_nobody_from_what_it_may_not_run(pool_with: Any) -> None:
    pool = pool_with({"v": {"max_concurrent": 1}})
    pool.send("v")
    pool.host(b"liar", "a", serve=["a"], running=[[1, 77]])

    assert [id for id, *_ in granted(pool.host(b"h", "v"), b"h")] == [1]


@pytest.mark.parametrize("gone", ["left", "closed, and another process has its name"])
def test_no_session_that_has_ended_in_the_same_turn_holds_a_task(
    pool: Any, rescued: tuple[int, int], gone: str
) -> None:
    offer = {"types": ["a"], "slots": {"": 1}, "running": [list(rescued)], "finished": []}
    back = (b"z", 0, Hello("host", [1, 1], b"x" * 16, "x", {**offer, "named": True}))
    if gone == "left":
        pool.hear([back, (b"z", 1, Bye("enough"))])
    else:
        new = Hello("host", [1, 1], b"n" * 16, "x", {**offer, "running": [], "named": True})
        pool.hear([back, (b"z", 0, None), (b"n", 0, new)])

    assert pool.state(rescued[0]) == "queued"
