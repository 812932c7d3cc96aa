"""Who has spoken and was not heard yet is no silent peer, however long others are heard first."""

from __future__ import annotations

from typing import Any

from workerhost.actors.core.access.arrivals import Arrivals
from workerhost.transport.codec import decode, encode
from workerhost.transport.messages import Heartbeat, Message, Query, Submit

BULK = [b"%d" % n for n in range(5)]
CHATTY = b"c"


def test_who_waits_behind_others_keeps_its_session(pool: Any) -> None:
    """Five send in bulk, 0.4 s of work each time, and one asks all the time: each of them is heard every 10 s."""
    arrivals = Arrivals(lambda peer: pool.pool.sessions.peers[peer].role, lambda _peer: False, decode)
    for peer in BULK:
        pool.client(peer)

    def arrives(peer: bytes, message: Message) -> None:
        pool.numbers[peer] += 1
        arrivals.add([(peer, encode(message, pool.numbers[peer]))])

    for number in range(1, 9):
        for peer in BULK:
            arrives(peer, Submit(number, 1, [["a", 5, None, [b"%600d" % number]]]))
    heard: list[bytes] = []
    end = pool.now + 30.0
    while pool.now < end:
        arrives(CHATTY, Query(1, "status"))
        news = arrivals.take(pool.now)
        bulk = [peer for peer, _, message in news if isinstance(message, Submit)]
        heard += bulk
        began = pool.now
        pool._turn(pool.pool.handle(news, pool.now, pool.wall, waiting=arrivals.waiting()))
        pool.now += 0.4 if bulk else 0.02
        arrivals.ended(pool.now)
        assert pool.now - began < pool.settings.heartbeat  # no stall
    assert pool.pool.sessions.peers.keys() >= {CHATTY, *BULK}
    assert len(heard) > len(BULK)


def test_who_says_nothing_is_given_up_while_others_wait(pool: Any) -> None:
    pool.host(b"h")
    pool.host(b"dead")
    for _ in range(12):
        pool.now += 0.5
        pool._turn(pool.pool.handle([], pool.now, pool.wall, waiting=[b"h", b"c", b"stranger"]))
    [told] = pool.say(b"c", Query(1, "hosts"))[b"c"]
    assert {host["name"]: host["state"] for host in told.value["hosts"]} == {"h": "joined", "dead": "lost"}
    assert pool.say(b"h", Heartbeat(0))[b"h"]
