"""What is kept of a session's submissions, so that one that is repeated is answered as before, has a bound."""

from __future__ import annotations

from typing import Any

import pytest

from workerhost.actors.core.clients import clients, requests
from workerhost.actors.core.clients.clients import OTHER_BYTES, SUBMISSION_BYTES
from workerhost.transport.messages import Accepted, Hello, Message, Refused, Rejected, Submit

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
    assert client.others == sum(len(client.answer(number)[3] or ()) for number in client.submissions)
    [known] = client.submissions
    first, count, _, others = client.answer(known)
    assert answer(pool, known, 1, cached) == Accepted(known, first, count, others)


def join(pool: Any, *peers: bytes) -> None:
    for peer in peers:
        pool.client(peer)


def test_what_all_sessions_of_one_identity_keep_has_a_bound(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another session is no way around it, and an end of one, or a higher `below`, makes room."""
    monkeypatch.setattr(clients, "KEPT_BYTES_MAX", 10 * (SUBMISSION_BYTES + 100 * OTHER_BYTES))
    cached = [["a", 5, {"cache": 60}, [b"x"] * 100]]
    join(pool, b"d", b"e")
    for number in range(1, 6):
        for peer in (b"c", b"d"):
            assert isinstance(pool.say(peer, Submit(number, 1, cached))[peer][0], Accepted)
    refused = pool.say(b"e", Submit(1, 1, cached))[b"e"][0]
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.path, refused.retry_after) == ("quota", "below", 1.0)
    assert "raise `below`" in refused.reason
    assert isinstance(pool.say(b"c", Submit(5, 1, cached))[b"c"][0], Accepted), "what is kept is answered"
    pool.close(b"d")
    assert isinstance(pool.say(b"e", Submit(1, 1, cached))[b"e"][0], Accepted)


def test_a_session_that_would_be_too_much_is_refused_until_there_is_room(
    pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What sessions keep is on the disk, whoever is connected; a restart forgives nothing either."""
    monkeypatch.setattr(clients, "KEPT_BYTES_MAX", 10 * SUBMISSION_BYTES)
    task = [["a", 5, None, [b"x"]]]
    for peer in (b"c", b"d"):
        pool.client(peer)
        for number in range(1, 7):
            assert isinstance(pool.say(peer, Submit(number, 1, task))[peer][0], Accepted)
        pool.close(peer)
    pool.start()
    pool.client(b"c")
    [refused] = pool.say(b"d", Hello("client", [1, 1], b"d" * 16, "client"))[b"d"]
    assert isinstance(refused, Refused)
    assert refused.code == "quota"
    assert "sessions" in refused.reason
    pool.close(b"c")
    pool.client(b"d")
    assert pool.say(b"d", Submit(6, 1, task))[b"d"] == [Accepted(6, 12, 1)]


def test_many_clients_that_have_sent_the_same_tasks_once_more_keep_little(
    pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They raise `below` with what they send last, and no more after that."""
    monkeypatch.setattr(requests, "_OTHERS_LONG", 1000)
    cached = [["a", 5, {"cache": 60}, [b"x"] * 100]]
    for number in range(1, 40):
        assert isinstance(answer(pool, number, max(1, number - 2), cached), Accepted)
    [client] = pool.pool.clients.by_number.values()
    assert client.others <= 1000 + 100
