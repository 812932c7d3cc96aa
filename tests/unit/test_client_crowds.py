"""A client's protocol when everything comes by the ten thousand: it loses count of nothing, and stays quick."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pytest

from workerhost.transport.client_effects import Effect, Say
from workerhost.transport.commands import Listener, Lookup, Request
from workerhost.transport.conversation import CREDIT, Conversation
from workerhost.transport.messages import (
    TAILS_MAX,
    Accepted,
    Cancel,
    Events,
    Message,
    Query,
    Reply,
    Tail,
    Watch,
    Welcome,
)
from workerhost.transport.parcel import Parcel
from workerhost.transport.requests import ASKED_MAX, WAITING_MAX, Requests
from workerhost.transport.terms import Terms
from workerhost.workers.errors import PoolBusy

COMPLETED = 4
MANY = CREDIT


class Talk:
    """A conversation that has joined, and the numbers that a supervisor gives its messages."""

    def __init__(self) -> None:
        self.core = Conversation(b"\x80" * 16, "test", 100.0)
        self.core.start(100.0)
        self.core.on_message(0, Welcome(1, "pool", 1, 1.0, 5.0), 100.0)
        self.number = 0

    def ask(self, commands: Iterable[Any]) -> list[Message]:
        return said(self.core.take(commands, 100.0))

    def hear(self, message: Message) -> list[Message]:
        self.number += 1
        return said(self.core.on_message(self.number, message, 100.0))

    def come_back(self) -> list[Message]:
        """The connection breaks, and the supervisor is there again."""
        self.core.on_closed(100.0)
        self.core.tick(101.0)
        self.number = 0
        return said(self.core.on_message(0, Welcome(1, "pool", 1, 1.0, 5.0), 101.0))


@pytest.fixture
def talk() -> Talk:
    return Talk()


def said(effects: list[Effect]) -> list[Message]:
    return [effect.message for effect in effects if isinstance(effect, Say)]


def parcel(count: int) -> Parcel:
    return Parcel(Terms("a"), [b"x"] * count, count)


def test_ends_of_own_tasks_that_others_stand_for_give_credit_again(talk: Talk) -> None:
    first, second = parcel(MANY), parcel(MANY)
    talk.ask([first, second])
    talk.hear(Accepted(1, 1, MANY))
    talk.hear(Accepted(2, MANY + 1, MANY, [[place, 1 + place, 0] for place in range(MANY)]))
    half = MANY // 2
    for start in (1, half + 1):
        rows = [[id, id, COMPLETED, b"r", None] for id in range(start, start + half)]
        assert talk.hear(Events(rows)) == [Watch(start + half - 1, CREDIT)]
    assert (first.block.left, second.block.left) == (0, 0)


def requests(said: list[Message]) -> list[int]:
    return [message.request for message in said if isinstance(message, Cancel | Query)]


def test_of_thousands_of_requests_so_many_are_under_way(talk: Talk) -> None:
    """The link takes a thousand at once, the supervisor a few: beyond, all would be said again and again."""
    asked = [Request(Cancel(0, [id])) for id in range(1, 5001)]
    assert requests(talk.ask(asked)) == list(range(1, ASKED_MAX + 1))
    for number in range(1, 101):
        assert requests(talk.hear(Reply(number, True, {"cancelled": []}))) == [ASKED_MAX + number]
    assert requests(talk.come_back()) == list(range(101, ASKED_MAX + 101))
    for number in range(101, 5001):
        said = requests(talk.hear(Reply(number, True, {"cancelled": []})))
        assert said == [ASKED_MAX + number][: ASKED_MAX + number <= 5000]
    assert all(request.reply == (True, {"cancelled": []}) for request in asked)
    assert requests(talk.come_back()) == []


def test_requests_that_nobody_waits_for_keep_no_other_from_being_said(talk: Talk) -> None:
    asked = [Request(Query(0, "status")) for _ in range(2 * ASKED_MAX)]
    talk.ask(asked)
    for request in (*asked[:100], *asked[ASKED_MAX : ASKED_MAX + 10]):
        request.withdrawn = True
    assert requests(talk.ask([Request(Query(0, "hosts"))])) == list(range(ASKED_MAX + 11, ASKED_MAX + 111))
    for request in asked:
        request.withdrawn = True
    assert requests(talk.come_back()) == [2 * ASKED_MAX + 1]


def test_requests_cost_the_same_however_many_are_open(talk: Talk) -> None:
    began = time.thread_time()
    said = requests(talk.ask(Request(Cancel(0, [id])) for id in range(1, 20_001)))
    for number in range(1, 20_001):
        said += requests(talk.hear(Reply(number, True, {"cancelled": []})))
    assert time.thread_time() - began < 5.0  # it was 20 s where each was weighed against all
    assert said == list(range(1, 20_001))


def test_requests_that_nobody_waits_for_are_forgotten() -> None:
    asked = Requests()
    for _ in range(10 * WAITING_MAX):
        request = Request(Query(0, "status"))
        asked.put(request)
        request.withdrawn = True
        assert len(asked) <= 2 * WAITING_MAX


def test_new_tasks_are_looked_for_quickly_among_many_that_are_watched(talk: Talk) -> None:
    older, watched = parcel(1), 100_000
    others = parcel(watched)
    talk.ask([older, others])
    talk.hear(Accepted(1, 1, 1))
    talk.hear(Accepted(2, 10, watched, [[place, 1_000_000 + place, 0] for place in range(watched)]))
    singles = [parcel(1) for _ in range(1000)]
    talk.ask(singles)
    began = time.thread_time()
    talk.hear(Accepted(3, 500_000, 1000))
    assert time.thread_time() - began < 1.0  # it was 4 s where each was compared with all
    assert [single.block.first for single in singles] == list(range(500_000, 501_000))


@pytest.mark.parametrize("count", [1, 2, 10])
def test_who_asked_for_numbers_that_become_our_own_is_answered(talk: Talk, count: int) -> None:
    lookups = [Lookup(5), Lookup(6)]
    talk.ask(lookups)
    own = parcel(count)
    talk.ask([own])
    talk.hear(Accepted(1, 5, count))
    found = [(lookup.block, lookup.offset) for lookup in lookups if lookup.found]
    assert found == [(own.block, 0), (own.block, 1)][:count]


def test_who_listens_to_more_tasks_than_a_pool_passes_on_is_told_and_hurts_nobody_else(talk: Talk) -> None:
    listeners = [Listener(id) for id in range(1, TAILS_MAX + 2)]
    *_, last = talk.ask(listeners)
    assert isinstance(last, Tail)
    assert last.ids == list(range(1, TAILS_MAX + 1)), "one more would end the session of the whole client"
    with pytest.raises(PoolBusy, match="listens to 100 tasks already"):
        listeners[-1].has_news()
    assert not listeners[0].has_news()

    listeners[0].over = True
    again = Listener(TAILS_MAX + 1)
    assert talk.ask([listeners[0], again])[-1] == Tail(list(range(2, TAILS_MAX + 2)))
    assert not again.has_news()
