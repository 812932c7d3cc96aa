"""Who watches single tasks is told of them, and forgotten with its connection at the cost of its own tasks alone."""

from __future__ import annotations

from typing import Any

from unit.pool_words import HOST, completed, ended, granted  # pyright: ignore[reportMissingImports]

from workerhost.transport.messages import Results, Watch

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
