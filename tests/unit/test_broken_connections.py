"""Connections over ZeroMQ that break: each end is told, and a stranger that is gone at once breaks nothing."""

from __future__ import annotations

from typing import Any

import zmq

from workerhost.transport.clock import now
from workerhost.transport.link import Closed, Received, connect, listen
from workerhost.transport.mailbox import Mailbox

SECONDS = 5.0


def items(mailbox: Mailbox, count: int) -> list[Any]:
    """The next items of a mailbox, or what has come of them within the time."""
    found: list[Any] = []
    end = now() + SECONDS
    while len(found) < count and now() < end:
        mailbox.wake_at(end)
        found += mailbox.get().message.items
    return found


def test_a_peer_is_told_when_its_server_is_gone() -> None:
    above, below = Mailbox(), Mailbox()
    server = listen("tcp://127.0.0.1:0", above)
    peer = connect(server.address, below)
    peer.send(b"hello")
    (hello,) = items(above, 1)
    server.send(hello.peer, b"welcome")
    assert items(below, 1) == [Received(peer, b"", b"welcome")]

    server.close()

    assert items(below, 1) == [Closed(peer, b"")]
    peer.close()


def test_strangers_that_speak_and_are_gone_before_they_are_heard_break_nothing() -> None:
    above = Mailbox()
    server = listen("tcp://127.0.0.1:0", above)
    count = 20
    for number in range(count):
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stranger = context.socket(zmq.DEALER)
        stranger.connect(server.address)
        stranger.send(b"%d" % number)
        stranger.close(linger=int(SECONDS * 1000))
        context.term()  # returns when it has been sent; nothing has been read by then

    heard: list[Any] = []
    end = now() + SECONDS
    while len(heard) < count and now() < end:
        heard += [item for item in items(above, 1) if isinstance(item, Received)]
    assert sorted(int(item.body) for item in heard) == list(range(count))
    server.close()
