"""A task that has not begun by its `expires` fails, once; one that has begun is nobody's to end for that."""

from __future__ import annotations

from typing import Any

import pytest
from unit.pool_words import (  # pyright: ignore[reportMissingImports]
    CLIENT,
    COMPLETED,
    FAILED,
    HOST,
    completed,
    ended,
    failed,
    granted,
)

from workerhost.transport.messages import Admin, Cancel, Claim, GiveBack, Reply, Results, Returned

SOON = 3.0
LATER = 6.0


@pytest.fixture
def begun(pool: Any) -> tuple[int, int]:
    """(id, fence) of a task that began before it expired."""
    pool.host()
    ((id, fence, _),) = granted(pool.send(expires=pool.wall + SOON, max_attempts=5))
    return id, fence


def is_run_again(pool: Any, id: int, said: dict[bytes, list[Any]], host: bytes = HOST) -> None:
    assert [(task, attempt) for task, _, attempt in granted(said, host)] == [(id, 2)]
    assert ended(said) == []


def test_one_that_has_failed_is_tried_again(pool: Any, begun: tuple[int, int]) -> None:
    pool.say(HOST, Results([failed(*begun, after=LATER)]))
    assert pool.state(begun[0]) == "scheduled"
    is_run_again(pool, begun[0], pool.wait(LATER + 1))


def test_one_that_its_worker_released_is_tried_again(pool: Any, begun: tuple[int, int]) -> None:
    pool.say(HOST, GiveBack([[*begun, Returned.RELEASED, LATER, "later", True]]))
    is_run_again(pool, begun[0], pool.wait(LATER + 1))


def test_one_whose_host_was_lost_is_run_again(pool: Any, begun: tuple[int, int]) -> None:
    pool.close(HOST)
    assert ended(pool.wait(LATER)) == []
    is_run_again(pool, begun[0], pool.host(b"i"), b"i")


def test_one_that_waits_in_the_store_after_it_began_is_run_again(pool: Any, begun: tuple[int, int]) -> None:
    pool.close(HOST)
    pool.wait(LATER)
    pool.start()
    pool.client()
    is_run_again(pool, begun[0], pool.host(b"i"), b"i")


def test_one_that_expires_as_it_falls_due_is_told_to_have_ended(pool: Any) -> None:
    """Whoever hears that it is queued after that believes that it runs once more, and waits for ever."""
    pool.send(delay=LATER, expires=pool.wall + SOON)
    pool.start()
    pool.client()
    said = pool.wait(LATER + 1)[CLIENT]
    assert [(end[:3], message.states) for message in said for end in message.finished] == [([1, 1, FAILED], [])]
    assert len(said) == 1


def test_one_that_was_handed_back_before_it_began_fails(pool: Any, begun: tuple[int, int]) -> None:
    pool.say(HOST, Claim({"": 0}))
    pool.say(HOST, GiveBack([[*begun, Returned.UNSTARTED, 0.0, "", False]]))
    assert ended(pool.wait(LATER)) == [(begun[0], FAILED)]
    assert pool.store.show(begun[0])["detail"]["cause"] == "expired"


def retried(said: dict[bytes, list[Any]]) -> list[int]:
    (reply,) = [message for message in said[CLIENT] if isinstance(message, Reply)]
    return reply.value["retried"]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("options", [{}, {"tags": ["nightly"]}, {"key": "mine"}], ids=str)
def test_one_that_a_person_has_tried_again_runs(pool: Any, options: dict[str, Any], restart: bool) -> None:
    pool.send(expires=pool.wall + SOON, **options)
    assert ended(pool.wait(LATER)) == [(1, FAILED)]
    assert retried(pool.say(CLIENT, Admin(1, "retry", {"ids": [1]}))) == [1]
    assert ended(pool.wait(LATER)) == []
    if restart:
        pool.start()
        pool.client()
    ((id, fence, attempt),) = granted(pool.host())
    assert (id, attempt) == (1, 1)
    assert ended(pool.say(HOST, Results([completed(id, fence)]))) == [(1, COMPLETED)]
    assert pool.store.show(1)["options"] == (options or None)


def test_a_retry_in_time_lets_it_expire_as_it_was_sent(pool: Any) -> None:
    pool.send(expires=pool.wall + SOON)
    pool.say(CLIENT, Cancel(1, [1]))
    assert retried(pool.say(CLIENT, Admin(2, "retry", {"ids": [1]}))) == [1]
    assert ended(pool.wait(LATER)) == [(1, FAILED)]
    assert pool.store.show(1)["detail"]["cause"] == "expired"


def test_one_that_is_edited_expires_as_it_was_sent(pool: Any) -> None:
    """It stands in memory twice then: what it was is skipped when it is reached."""
    pool.send(expires=pool.wall + SOON)
    said = pool.say(CLIENT, Admin(1, "edit", {"ids": [1], "priority": 9}))
    assert said[CLIENT] == [Reply(1, True, {"edited": [1]})]
    assert ended(pool.wait(LATER)) == [(1, FAILED)]


def test_a_retry_of_one_lets_others_expire_that_were_sent_with_it(pool: Any) -> None:
    pool.send(count=2, expires=pool.wall + SOON)
    pool.say(CLIENT, Cancel(1, [1]))
    pool.now += SOON + 0.1
    assert retried(pool.say(CLIENT, Admin(2, "retry", {"ids": [1]}))) == [1]
    pool.wait(1)
    assert (pool.state(1), pool.state(2)) == ("queued", "failed")


def test_one_that_is_due_later_than_it_expires_ends_in_time_after_a_restart_too(pool: Any) -> None:
    pool.send(delay=3600.0, expires=pool.wall + SOON)
    pool.start()
    pool.client()
    pool.wait(SOON + 1)
    assert pool.state(1) == "failed"
