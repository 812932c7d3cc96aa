"""A task that has not begun by its `expires` fails, once; one that has begun is nobody's to end for that."""

from __future__ import annotations

from typing import Any

from unit.pool_words import CLIENT, FAILED, ended  # pyright: ignore[reportMissingImports]

from workerhost.transport.messages import Admin, Cancel, Reply

SOON = 3.0
LATER = 6.0


def retried(said: dict[bytes, list[Any]]) -> list[int]:
    (reply,) = [message for message in said[CLIENT] if isinstance(message, Reply)]
    return reply.value["retried"]


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
