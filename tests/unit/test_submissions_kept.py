"""What is kept of a session's submissions, so that one that is repeated is answered as before, has a bound."""

from __future__ import annotations

from typing import Any

import pytest

from workerhost.actors.core.clients import requests
from workerhost.transport.messages import Accepted, Message, Rejected, Submit

CLIENT = b"c"


def answer(pool: Any, number: int, below: int, groups: list[Any]) -> Message:
    return pool.say(CLIENT, Submit(number, below, groups))[CLIENT][0]


def test_who_kept_too_many_goes_on_once_it_raises_below(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_SUBMISSIONS_MAX", 100)
    task = [["a", 5, None, [b"x"]]]
    assert all(isinstance(answer(pool, number, 1, task), Accepted) for number in range(1, 101))
    refused = answer(pool, 101, 1, task)
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.path) == ("invalid", "below")
    assert answer(pool, 101, 101, task) == Accepted(101, 101, 1)
    assert answer(pool, 101, 101, task) == Accepted(101, 101, 1)


def test_who_raises_below_beyond_what_it_sends_is_answered(pool: Any) -> None:
    assert answer(pool, 1, 1000, [["a", 5, None, [b"x"]]]) == Accepted(1, 1, 1)
    assert answer(pool, 2, 1000, [["a", 5, None, [b"x"]]]) == Accepted(2, 2, 1)


def test_tasks_that_stand_for_older_ones_are_kept_up_to_a_bound(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They cost the pool memory, and no place in the queue."""
    monkeypatch.setattr(requests, "_OTHERS_MAX", 1000)
    cached = [["a", 5, {"cache": 60}, [b"x"] * 100]]
    assert all(isinstance(answer(pool, number, 1, cached), Accepted) for number in range(1, 11))
    refused = answer(pool, 11, 1, cached)
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.path) == ("invalid", "below")
    assert isinstance(answer(pool, 11, 1, [["a", 5, None, [b"x"]]]), Accepted)
    assert isinstance(answer(pool, 100, 100, cached), Accepted)


def test_how_many_are_kept_is_known_after_a_restart_too(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_OTHERS_MAX", 1000)
    cached = [["a", 5, {"cache": 60}, [b"x"] * 100]]
    assert all(isinstance(answer(pool, number, 1, cached), Accepted) for number in range(1, 11))
    pool.start()
    pool.client()
    assert isinstance(answer(pool, 11, 1, cached), Rejected)
    assert isinstance(answer(pool, 100, 100, cached), Accepted)
    [client] = pool.pool.clients.by_number.values()
    assert client.others == sum(len(kept) for *_, kept in client.submissions.values() if kept)
