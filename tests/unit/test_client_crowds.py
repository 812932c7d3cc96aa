"""A client's protocol when everything comes by the ten thousand: it loses count of nothing, and stays quick."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from workerhost.transport.client_effects import Effect, Say
from workerhost.transport.conversation import CREDIT, Conversation
from workerhost.transport.messages import Accepted, Events, Message, Watch, Welcome
from workerhost.transport.parcel import Parcel
from workerhost.transport.terms import Terms

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
