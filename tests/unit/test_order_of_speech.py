"""In which order a turn is told: first whom a slot or a person waits for, each peer as it was said."""

from __future__ import annotations

from typing import Any

from unit.pool_words import CLIENT, HOST, completed, granted  # pyright: ignore[reportMissingImports]

from workerhost.transport.messages import Accepted, Claim, Events, Heartbeat, Recorded, Results, Tasks


def test_a_host_has_its_tasks_before_their_sender_has_the_answer(pool: Any) -> None:
    pool.host(HOST, "a", slots=1)
    said = pool.send("a")
    assert list(said) == [HOST, CLIENT]
    assert [type(message) for message in said[CLIENT]] == [Accepted]


def test_who_waits_for_an_end_is_told_before_its_host_hears_that_it_is_stored(pool: Any) -> None:
    pool.host(HOST, "a", slots=1)
    [(id, fence, _)] = granted(pool.send("a"))
    said = pool.say(HOST, Results([completed(id, fence)]))
    assert list(said) == [CLIENT, HOST]
    assert [type(message) for message in said[CLIENT]] == [Events]
    assert said[HOST] == [Recorded(2)]


def test_a_slot_that_has_become_free_does_not_wait_for_what_only_is_recorded(pool: Any) -> None:
    pool.host(HOST, "a", slots=1)
    [(id, fence, _)] = granted(pool.send("a", count=2))
    said = pool.say(HOST, Results([completed(id, fence)]))
    assert list(said) == [HOST, CLIENT]
    assert [type(message) for message in said[HOST]] == [Tasks, Recorded]


def test_what_is_said_last_keeps_its_number_in_the_session(pool: Any) -> None:
    pool.host(HOST, "a", slots=1)
    [(id, fence, _)] = granted(pool.send("a", count=2))
    sent = pool.pool.sessions.peers[HOST].sent
    pool.say(HOST, Results([completed(id, fence)]), Heartbeat(0))
    assert pool.pool.sessions.peers[HOST].sent == sent + 3  # ALIVE, TASKS, RECORDED


def test_a_host_that_was_dropped_in_the_same_turn_hears_no_more_of_its_session(pool: Any) -> None:
    pool.host(HOST, "a", slots=1)
    [(id, fence, _)] = granted(pool.send("a"))
    said = pool.say(HOST, Results([completed(id, fence)]), Claim({"": "many"}))  # pyright: ignore[reportArgumentType]
    assert Recorded(2) not in said[HOST]
    assert pool.state(id) == "completed"
