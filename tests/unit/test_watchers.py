"""Who watches single tasks is told of them, and forgotten with its connection at the cost of its own tasks alone."""

from __future__ import annotations

from typing import Any

import pytest
from unit.pool_words import CANCELLED, CLIENT, HOST, completed, ended, granted  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.clients import clients, greetings
from workerhost.actors.core.effects import Ends
from workerhost.actors.core.step import Peer
from workerhost.transport.messages import Cancel, Refused, Results, Watch

ONE, OTHER = b"1", b"2"


def test_what_is_watched_is_known_both_ways(pool: Any) -> None:
    for peer in (ONE, OTHER):
        pool.client(peer)
    pool.send(count=4)
    pool.say(ONE, Watch(0, 100, [1, 2, 3]))
    pool.say(OTHER, Watch(0, 100, [2, 3, 4]))
    clients = pool.pool.clients
    assert {id: len(peers) for id, peers in clients.watchers.items()} == {1: 1, 2: 2, 3: 2, 4: 1}

    said = pool.host(HOST, slots=2)
    said = pool.say(HOST, Results([completed(id, fence) for id, fence, _ in granted(said)]))
    assert ([id for id, _ in ended(said, ONE)], [id for id, _ in ended(said, OTHER)]) == ([1, 2], [2])
    assert {id: len(peers) for id, peers in clients.watchers.items()} == {3: 2, 4: 1}

    pool.close(ONE)
    assert {id: len(peers) for id, peers in clients.watchers.items()} == {3: 1, 4: 1}
    pool.close(OTHER)
    assert clients.watchers == {}
    pool.client(ONE)
    pool.close(ONE)


def test_a_connection_that_ends_costs_nothing_for_what_others_watch(pool: Any) -> None:
    """Nobody looks at them: a table that can only be asked for one task shows it."""

    class Asked(dict[int, Any]):
        def items(self) -> Any:
            raise AssertionError("all that anybody watches was looked at")

        __iter__ = keys = values = items

    pool.send(count=3)
    for peer in (ONE, OTHER):
        pool.client(peer)
        pool.say(peer, Watch(0, 100, [1, 2, 3]))
    clients = pool.pool.clients
    clients.watchers = Asked(clients.watchers)
    pool.close(OTHER)
    assert [len(clients.watchers[id]) for id in (1, 2, 3)] == [1, 1, 1]


def end(pool: Any, count: int) -> None:
    """So many tasks that were cancelled, and two clients that did not send them."""
    pool.send(count=count)
    pool.say(CLIENT, Cancel(1, list(range(1, count + 1))))
    for peer in (ONE, OTHER):
        pool.client(peer)


def turn(pool: Any) -> dict[bytes, list[Any]]:
    """A turn that nothing but what is owed is for."""
    return pool._turn(pool.pool.handle([], pool.now, pool.wall))


def test_who_asks_again_and_again_keeps_nobody_else_waiting(pool: Any) -> None:
    end(pool, 2)
    for _ in range(5):
        pool.say(ONE, *[Watch(0, 100, [1])] * 256)
    pool.say(OTHER, Watch(0, 100, [2]))
    assert ended(turn(pool), OTHER) == [(2, CANCELLED)]


def test_clients_that_ask_are_told_in_turns(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "REPLAY_ROWS", 2)
    end(pool, 20)
    pool.say(ONE, Watch(0, 100, list(range(1, 15))))
    pool.say(OTHER, Watch(0, 100, list(range(11, 15))))
    asked = [need for need in pool.pool.handle([], pool.now, pool.wall) if isinstance(need, Ends)]
    assert asked == [
        Ends(ONE, (9, 10), clients.REPLAY_BYTES),
        Ends(OTHER, (11, 12), clients.REPLAY_BYTES),
        Ends(ONE, (11, 12), clients.REPLAY_BYTES),
        Ends(OTHER, (13, 14), clients.REPLAY_BYTES),
    ]


def test_what_is_asked_little_by_little_is_read_together_and_once(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "REPLAY_ROWS", 4)
    end(pool, 9)
    pool.say(ONE, *[Watch(0, 100, ids) for ids in ([1], [2], [2], [3, 4, 5], [6, 7, 8, 9])])
    asked = [need for need in pool.pool.handle([], pool.now, pool.wall) if isinstance(need, Ends)]
    assert [need.ids for need in asked] == [(1, 2, 3), (4, 5, 6, 7), (8, 9)]


def test_what_was_asked_is_forgotten_with_its_connection(pool: Any) -> None:
    end(pool, 1)
    pool.say(ONE, Watch(0, 100, [1]))
    assert pool.pool.next_time(pool.now) == pool.now
    assert pool.pool.handle([(ONE, 0, None)], pool.now, pool.wall) == [], "nothing is read for nobody"
    assert pool.pool.next_time(pool.now) > pool.now


def test_who_asks_for_more_than_is_kept_is_let_go(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "REPLAY_ROWS", 2)
    for module in (clients, greetings):
        monkeypatch.setattr(module, "ASKED_MAX", 6)
    end(pool, 20)
    pool.say(ONE, Watch(0, 100, [1, 2, 3, 4, 5, 6]))
    said = pool.say(OTHER, Watch(0, 100, [1, 2, 3, 4, 5, 6, 7]))
    assert ended(said, ONE) == [(id, CANCELLED) for id in range(1, 7)]
    reason = "more than 6 ended tasks that were asked about by id are not told yet: ask for fewer at a time"
    assert turn(pool) == {OTHER: [Refused("quota", reason)]}
    pool.client(OTHER)
    pool.say(OTHER, Watch(0, 100, [7]))
    assert ended(turn(pool), OTHER) == [(7, CANCELLED)]


def test_what_one_identity_asks_over_many_connections_counts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "REPLAY_ROWS", 2)
    monkeypatch.setattr(clients, "ASKED_MAX", 6)
    known = clients.Clients()
    one, two, other = (Peer(name, "client", None, 0.0, key) for name, key in ((b"1", "k"), (b"2", "k"), (b"3", "l")))
    for peer in (one, two, other):
        known.ask(peer, [1, 2, 3])
    assert known.greedy() == [one, two]
