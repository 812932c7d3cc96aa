"""What one host says of itself is bounded: what is kept of it, what is written down, what is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from unit.pool_words import CLIENT, HOST  # pyright: ignore[reportMissingImports]

from workerhost.transport.messages import Alive, Heartbeat, Hello, Query, Refused, Reply

MOST = 30_000


def levels(*numbers: range) -> dict[str, list[str]]:
    return {f"t{number}": ["idle", ""] for one in numbers for number in one}


def shown(pool: Any) -> Mapping[str, Any]:
    ((reply,),) = pool.say(CLIENT, Query(1, "hosts")).values()
    assert isinstance(reply, Reply)
    return reply.value["hosts"][0]["levels"]


def refused(said: dict[bytes, list[Any]]) -> list[str]:
    return [message.reason for message in said[HOST] if isinstance(message, Refused)]


def test_as_many_levels_as_a_host_may_have_are_shown(pool: Any) -> None:
    pool.host()
    assert pool.say(HOST, Heartbeat(0, levels(range(MOST // 2))))[HOST] == [Alive(2)]
    assert pool.say(HOST, Heartbeat(0, levels(range(MOST))))[HOST] == [Alive(3)]
    assert len(shown(pool)) == MOST


def test_levels_beyond_that_are_not_kept(pool: Any) -> None:
    pool.host()
    pool.say(HOST, Heartbeat(0, levels(range(MOST))))
    said = pool.say(HOST, Heartbeat(0, levels(range(1), range(MOST, MOST + 1))))
    assert refused(said) == [f"malformed Heartbeat: more than {MOST} levels"]
    assert len(shown(pool)) == MOST


def test_a_session_that_begins_anew_begins_with_no_level(pool: Any) -> None:
    """The host tells all of them again."""
    for number in range(3):
        pool.host()
        assert shown(pool) == {}
        said = pool.say(HOST, Heartbeat(0, levels(range(number * MOST, (number + 1) * MOST))))
        assert said[HOST] == [Alive(2)]
    assert len(shown(pool)) == MOST


@pytest.mark.parametrize("state", [[["idle"] * 9, ""], [b"idle", ""], ["idle", 1]], ids=str)
def test_a_level_is_told_in_texts(pool: Any, state: list[Any]) -> None:
    pool.host()
    said = pool.say(HOST, Heartbeat(0, {"a": state}))
    assert refused(said) == ["malformed Heartbeat: how a level is must be told in texts"]
    assert shown(pool) == {}


@pytest.mark.parametrize(("length", "most"), [(200, True), (201, False), (3_000_000, False)])
def test_the_name_of_a_slot_pool_is_as_long_as_that_of_a_type_at_most(pool: Any, length: int, most: bool) -> None:
    offer = {"types": ["a"], "slots": {"": 1, "x" * length: 1}}
    said = pool.say(HOST, Hello("host", [1, 1], HOST * 16, "h", offer))
    wrong = "offer['slots'] must map at most 100 slot pools (types, or '') to counts, at most 10000 each"
    assert refused(said) == ([] if most else [wrong])
    assert not any(len(str(row)) > 1000 for row in pool.store.audit(100, 2**63 - 1))
