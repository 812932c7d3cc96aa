"""A peer may send anything: the supervisor answers or drops it, and goes on."""

from __future__ import annotations

import math
from typing import Any

import msgpack  # pyright: ignore[reportMissingTypeStubs]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workerhost.actors.core.effects import Send
from workerhost.actors.turn import perform
from workerhost.transport.codec import Malformed, decode, encode
from workerhost.transport.messages import (
    MESSAGES,
    Cancel,
    GiveBack,
    Hello,
    Refused,
    Results,
    Returned,
    Submit,
    Tasks,
)


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def pack(value: list[Any]) -> bytes:
    return msgpack.packb(value)  # pyright: ignore


VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.sampled_from([1, 2, 1 << 40, (1 << 40) + 1, 2**63 - 1, 2**64 - 1, math.nan, math.inf, -0.0, 1e300])
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.sampled_from(
        [
            "host",
            "client",
            "a",
            "ids",
            "id",
            "type",
            "show",
            "tasks",
            "delay",
            "slots",
            "types",
            "retry",
            "where",
            "states",
            "delete",
            "cancel",
            "edit",
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8) | inner.filter(_hashable), inner, max_size=4)
    ),
    max_leaves=12,
)


OFFERED = (
    "slots", "types", "serve", "not", "running", "finished", "pid", "failed", "any", "greeting",
    "fingerprints", "costs", "reload",
)  # fmt: skip


@st.composite
def fields_of(draw: Any, kind: int) -> list[Any]:
    """Fields of a message: often of the right form, now and then anything."""
    result = st.tuples(
        st.sampled_from([1, 2, 3]),
        st.sampled_from([(1 << 40) + 1, (1 << 40) + 2]),
        VALUES,
        VALUES,
        VALUES,
        VALUES,
        VALUES,
    )
    options = st.none() | st.dictionaries(
        st.sampled_from(["delay", "at", "expires", "timeout", "max_attempts", "tags", "x"]), VALUES, max_size=3
    )
    group = st.tuples(
        st.sampled_from(["a", "a.b"]) | VALUES,
        st.integers(-3, 9) | VALUES,
        options | VALUES,
        st.lists(st.binary(max_size=3), max_size=3) | VALUES,
    )
    reload_facts = st.fixed_dictionaries(
        {"number": st.integers(-1, 3) | VALUES, "changed": VALUES, "failed": st.just({"a": "why"}) | VALUES}
    )
    shaped: dict[int, Any] = {
        Results.KIND: st.tuples(st.lists(result | VALUES, max_size=3)),
        GiveBack.KIND: st.tuples(st.lists(result.map(lambda item: item[:6]) | VALUES, max_size=3)),
        Submit.KIND: st.tuples(st.integers(1, 9), st.integers(0, 9), st.lists(group | VALUES, max_size=2)),
        Hello.KIND: st.tuples(
            st.sampled_from(["host", "client", "observer", "x"]),
            st.just([1, 1]),
            st.binary(min_size=16, max_size=16) | st.just(b"h" * 16),
            st.text(max_size=5),
            st.dictionaries(
                st.sampled_from(OFFERED),
                VALUES | reload_facts | st.dictionaries(st.sampled_from(["a", "a.b", "x y"]), VALUES, max_size=2),
            ),
        ),
    }
    if kind in shaped and draw(st.booleans()):
        return list(draw(shaped[kind]))
    return draw(st.lists(VALUES, max_size=6))


@st.composite
def conversations(draw: Any) -> list[tuple[bytes, bytes]]:
    """Frames of three peers."""
    frames: list[tuple[bytes, bytes]] = []
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(sorted(MESSAGES)))
        try:
            body = pack([kind, 0, *draw(fields_of(kind))])
        except (OverflowError, ValueError, TypeError):
            continue
        frames.append((draw(st.sampled_from([b"h", b"c", b"s"])), body))
    return frames


@pytest.mark.parametrize("restart", [False, True])
@given(frames=conversations())
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_nothing_that_a_peer_sends_ends_the_supervisor(frames: list[tuple[bytes, bytes]], restart: bool) -> None:
    from unit.conftest import PoolAtHand  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    pool: Any = PoolAtHand()
    pool.client()
    pool.host()
    pool.send(count=3)
    for peer, body in frames:
        try:
            _, message = decode(body)
        except Malformed:
            continue
        number = 0 if isinstance(message, Hello) else getattr(pool.pool.sessions.peers.get(peer), "seen", 0) + 1
        pool.now += 0.1
        effects = pool.pool.handle([(peer, number, message)], pool.now, pool.wall)
        for effect in perform(pool.pool, pool.store, effects, pool.now, pool.wall):
            if isinstance(effect, Send):
                encode(effect.message, effect.number)
        if peer not in pool.pool.sessions.peers:
            pool.client() if peer == b"c" else pool.host(peer) if peer == b"h" else None
    if restart:
        pool.start()
    pool.numbers.clear()
    pool.submission = 100
    pool.client(b"z")
    said = pool.send("a", priority=999_999, peer=b"z")
    assert said[b"z"][0].count == 1, "nobody else is hurt"
    granted = pool.host(b"y", "a", slots=1, name="y")
    assert any(isinstance(m, Tasks) for m in granted[b"y"])


def test_a_client_that_does_not_wait_for_welcome_is_told_to(pool: Any) -> None:
    pool.numbers[b"p"] = 0
    said = pool.say(b"p", Hello("client", [1, 1], b"p" * 16, "p"), Submit(1, 1, [["a", 5, None, [b"x"]]]))
    assert [type(m).__name__ for m in said[b"p"]] == ["Refused", "Welcome"]
    assert pool.pool.queue.unfinished_count == 0


def test_two_greetings_in_one_turn_are_two_sessions(pool: Any) -> None:
    said = pool.say(b"p", Hello("client", [1, 1], b"1" * 16, "p"), Hello("client", [1, 1], b"2" * 16, "p"))
    assert len(said[b"p"]) == 1
    assert {client.token for client in pool.pool.clients.by_number.values()} >= {b"2" * 16}


def test_too_many_at_a_time_are_refused(pool: Any) -> None:
    (rejected,) = pool.say(b"c", Submit(1, 1, [["a", 5, None, [b"x"] * 10_001]]))[b"c"]
    assert rejected.code == "invalid"
    (refused,) = pool.say(b"c", Cancel(1, list(range(1, 10_002))))[b"c"]
    assert isinstance(refused, Refused)


def test_a_nan_delays_nobody(pool: Any) -> None:
    for options in (
        {"delay": math.nan},
        {"delay": math.inf},
        {"at": 2**64 - 1},
        {"expires": math.nan},
        {"timeout": -1},
    ):
        (rejected,) = pool.send(**options)[b"c"]
        assert rejected.code == "invalid"


def test_a_host_gets_no_more_than_it_offered(pool: Any) -> None:
    from workerhost.transport.messages import Claim

    pool.host(slots=2)
    pool.say(b"h", Claim({"": 10**9}))
    pool.send(count=50)
    assert len(pool.pool.queue.leases) == 2


def test_a_worker_that_releases_for_ever_fails_in_the_end(pool: Any) -> None:
    pool.host()
    said = pool.send()
    for _ in range(200):
        tasks = [t for m in said.get(b"h", []) if isinstance(m, Tasks) for _, group in m.groups for t in group]
        if not tasks:
            break
        said = pool.say(b"h", GiveBack([[tasks[0][0], tasks[0][1], int(Returned.RELEASED), 0.0, "not yet", True]]))
    task = pool.store.show(1)
    assert (task["state"], task["detail"]["cause"]) == ("failed", "release_limit")
