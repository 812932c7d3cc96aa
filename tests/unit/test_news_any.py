"""Whatever comes from whomever and whenever: what one says is heard in its order, all of it, and never too late."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from workerhost.actors.core.access import arrivals as news
from workerhost.actors.core.access.arrivals import Arrivals
from workerhost.actors.core.access.identities import Garbled, Proved
from workerhost.transport.codec import Malformed, decode, encode
from workerhost.transport.messages import Heartbeat, Message, Submit

PEERS = [b"host", b"one", b"two", b"three", b"stranger"]
ROLES = {b"host": "host", b"one": "client", b"two": "client", b"three": "observer"}
TURNS_MAX = 400
"""In which everything of so few messages is heard, however unlucky their order."""


def _said(number: int, count: int) -> bytes:
    message: Message = Heartbeat(0) if count == 0 else Submit(1, 1, [["a", 5, None, [b"x"] * count]])
    return encode(message, number)


_messages = st.tuples(st.sampled_from(PEERS), st.sampled_from([0, 0, 0, 1, 60, 600, 3000]))
_others = st.tuples(st.sampled_from(PEERS), st.sampled_from(["opened", "closed", "nonsense"]))
_batches = st.lists(st.one_of(_messages, _others), max_size=30)
_turns = st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.001, 0.02, 0.2, 20.0]))
"""How often news are taken, and how long that takes."""


def _read(frame: bytes) -> tuple[int, Message | Garbled]:
    try:
        return decode(frame)
    except Malformed:
        return 0, Garbled()


def _item(what: Any, number: int) -> Any:
    if what == "opened":
        return Proved("K", "")
    if what == "closed":
        return None
    return b"\xc1" if what == "nonsense" else _said(number, what)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_batches, _turns), max_size=8))
def test_all_is_heard_in_order(story: list[tuple[list[Any], tuple[int, float]]]) -> None:
    arrivals = Arrivals(lambda peer: ROLES.get(peer, ""), lambda _peer: False, _read)
    waiting: dict[bytes, list[Any]] = {peer: [] for peer in PEERS}
    now = held_until = 0.0
    number = 0

    def turn(took: float) -> None:
        nonlocal now, held_until
        for peer, heard, message in arrivals.take(now):
            expected = waiting[peer].pop(0)
            if type(expected) is int:
                assert (heard, message) == (expected, message)
            else:
                assert heard == 0
        now += took
        arrivals.ended(now)
        held_until = max(held_until, now + took * (1 / news.BULK_SHARE - 1))
        assert {peer for peer, left in waiting.items() if left} == set(arrivals.waiting())
        due = arrivals.next_time()
        assert (due is None) == (not any(waiting.values()))
        if due is not None:
            assert due <= held_until + 1e-9, "nobody is held for longer than the share says"

    for batch, (turns, took) in story:
        said: list[Any] = []
        for peer, what in batch:
            number += 1
            said.append((peer, _item(what, number)))
            waiting[peer].append(number if type(what) is int else what)
        arrivals.add(said)
        for _ in range(turns):
            turn(took)
    for _ in range(TURNS_MAX):
        if (due := arrivals.next_time()) is None:
            break
        now = max(now, due)
        turn(0.01)
    assert not any(waiting.values()), "something is never heard"
