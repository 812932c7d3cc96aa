"""A client whose pool is another by now: what it knew, asked and was told."""

from __future__ import annotations

from typing import Any

import pytest
from unit.test_client_conversation import (  # pyright: ignore[reportMissingImports]
    COMPLETED,
    QUEUED,
    Talk,
    parcel,
    welcome,
)

from workerhost.transport.client_effects import Say
from workerhost.transport.commands import Lookup
from workerhost.transport.conversation import CREDIT
from workerhost.transport.messages import Accepted, Bye, Events, Watch


@pytest.fixture
def joined() -> Talk:
    talk = Talk()
    talk.start()
    talk.hear(welcome())
    return talk


def test_a_queue_in_memory_knows_nothing_of_the_tasks_of_another(joined: Talk) -> None:
    sent = parcel(b"1", b"2")
    joined.hear(Bye(), welcome(epoch=7, durable=False))
    joined.ask(sent)
    joined.hear(Accepted(1, 1, 2), Events([[1, 50, COMPLETED, b"r", None]]), Bye())
    joined.wait(0.1)
    assert joined.hear(welcome(epoch=7, durable=False)) == [Say(1, Watch(50, CREDIT))], "only the connection broke"
    joined.hear(Bye())
    joined.wait(0.1)
    assert joined.hear(welcome(epoch=9, durable=False)) == [Say(1, Watch(0, CREDIT))]
    assert sent.block.ends == [b"r", (-1, b"", None)]


@pytest.mark.parametrize("now", [{"epoch": 9, "durable": False}, {"epoch": 1}])
def test_what_was_asked_for_is_asked_of_the_queue_that_is_there(joined: Talk, now: dict[str, Any]) -> None:
    joined.hear(Bye(), welcome(epoch=7, durable=False))
    joined.hear(Bye())
    joined.ask(lookup := Lookup(5))
    joined.wait(0.1)
    assert joined.hear(welcome(**now)) == [Say(1, Watch(0, CREDIT, [5]))]
    joined.hear(Events([], [], [[5, QUEUED]]))
    assert lookup.found
    assert lookup.block is not None
    assert lookup.block.ends == [None]


def test_an_end_that_is_known_stays_known_where_the_pool_has_forgotten_the_task(joined: Talk) -> None:
    joined.ask(older := Lookup(77))
    joined.hear(Events([[77, 1, COMPLETED, b"r", None]]))
    joined.ask(newer := Lookup(77))
    joined.hear(Events([], [], [[77, -1]]))
    assert older.block is not None
    assert (older.block.ends, newer.found) == ([b"r"], True)
