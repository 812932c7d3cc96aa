"""What one host says of itself is bounded: what is kept of it, what is written down, what is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from unit.pool_words import CLIENT, HOST  # pyright: ignore[reportMissingImports]
from unit.test_hosting import joined  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.host.host_effects import Say
from workerhost.actors.core.step import Step
from workerhost.transport.codec import decode, encode
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


def test_of_many_levels_those_are_shown_that_have_failed_and_others_as_far_as_they_travel(pool: Any) -> None:
    pool.host()
    for start in range(0, MOST - 1, 10_000):
        frame = encode(Heartbeat(0, levels(range(start, min(start + 10_000, MOST - 1)))), 1)
        assert isinstance(pool.say(HOST, decode(frame)[1])[HOST][0], Alive)
    pool.say(HOST, Heartbeat(0, {"broken": ["failed", "no such module"]}))
    ((reply,),) = pool.say(CLIENT, Query(1, "hosts")).values()
    _, answer = decode(encode(reply, 1))
    assert isinstance(answer, Reply)
    told: dict[str, list[str]] = answer.value["hosts"][0]["levels"]
    assert (len(told), told["broken"]) == (1000, ["failed", "no such module"])


TYPES = [f"video.youtube.endpoint_of_some_length_{number:04}" for number in range(1000)]


def crowd(pool: Any, hosts: int, types: list[str]) -> None:
    """Hosts that offer these types and say something of each."""
    pool.host(HOST, *types)
    (first,) = pool.pool.hosts.by_owner.values()
    first.levels = {type: ["failed", "no key"] if type == types[-1] else ["idle", ""] for type in types}
    for owner in range(1_000_000, 1_000_000 + hosts - 1):
        pool.pool.hosts.by_owner[owner] = replace(first, owner=owner, name=f"gpu-worker-{owner}.example")


@pytest.mark.parametrize("what", ["status", "hosts"])
@pytest.mark.parametrize("hosts", [400, 3000])
def test_of_many_hosts_with_many_types_each_names_a_part(pool: Any, what: str, hosts: int) -> None:
    crowd(pool, hosts, TYPES)
    step = Step(pool.now, pool.wall)
    reply = Reply(1, True, pool.pool.report.answers[what](step, told=True))
    assert len(encode(reply, 1)) < 8 * 2**20
    for host in reply.value["hosts"]:
        assert 0 < len(host["types"]) == 1000 - host["types_left_out"]
        if what == "hosts":
            assert 0 < len(host["levels"]) == 1000 - host["levels_left_out"]
            assert host["levels"][TYPES[-1]] == ["failed", "no key"]


@pytest.mark.parametrize("what", ["status", "hosts"])
@pytest.mark.parametrize(("hosts", "named"), [(20, 1000), (21, 0)])
def test_of_hosts_that_are_gone_types_are_named_as_long_as_there_is_room(
    pool: Any, what: str, hosts: int, named: int
) -> None:
    crowd(pool, hosts, TYPES)
    for gone in list(pool.pool.hosts.by_owner.values())[:-1]:
        gone.state = "lost"
    *gone, living = pool.pool.report.answers[what](Step(pool.now, pool.wall), told=True)["hosts"]
    assert {len(host["types"]) for host in gone} == {named}
    assert (living["types"], "types_left_out" in living) == (TYPES, False)


def test_a_host_tells_so_many_levels_at_a_time() -> None:
    host = joined()
    host.core.verdicts = {f"t{number}": ("idle", "") for number in range(2500)}
    beats = [effect.message for n in range(1, 5) for effect in host.at(float(n)) if isinstance(effect, Say)]
    assert [len(beat.levels) for beat in beats if isinstance(beat, Heartbeat)][:3] == [1000, 1000, 500]


def test_levels_beyond_that_are_not_kept(pool: Any) -> None:
    pool.host()
    pool.say(HOST, Heartbeat(0, levels(range(MOST))))
    said = pool.say(HOST, Heartbeat(0, levels(range(1), range(MOST, MOST + 1))))
    assert refused(said) == [f"malformed Heartbeat: more than {MOST} levels"]
    assert len(shown(pool)) == 1000


def test_a_session_that_begins_anew_begins_with_no_level(pool: Any) -> None:
    """The host tells all of them again."""
    for number in range(3):
        pool.host()
        assert shown(pool) == {}
        said = pool.say(HOST, Heartbeat(0, levels(range(number * MOST, (number + 1) * MOST))))
        assert said[HOST] == [Alive(2)]
    assert len(shown(pool)) == 1000


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
