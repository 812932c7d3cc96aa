"""Connections over ZeroMQ that break: each end is told, and a stranger that is gone at once breaks nothing."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import zmq

from workerhost.transport.clock import now
from workerhost.transport.link import Closed, Received, connect, listen
from workerhost.transport.mailbox import Mailbox

sys.path.append(str(Path(__file__).parents[1] / "integration" / "faults"))  # tests are no package
zmtp: Any = import_module("zmtp")
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


def test_all_that_is_said_by_hand_after_a_handshake_arrives() -> None:
    """What `bin/fuzz wire` and the fault suite's strangers say is worth something only if it does."""
    above = Mailbox()
    server = listen("tcp://127.0.0.1:0", above)
    bodies = [b"", b"marked", bytes(255), bytes(256), bytes(70_000)]
    with zmtp.knock(server.address) as stranger:
        zmtp.introduce(stranger)
        stranger.sendall(b"".join(zmtp.frame(body) for body in bodies))
        stranger.sendall(zmtp.frame(b"of two", zmtp.MORE) + zmtp.frame(b"frames"))
        heard = items(above, len(bodies) + 1)
        assert [item.body for item in heard] == [*bodies, b""]  # a message of several frames counts as empty
        server.send(heard[0].peer, b"answer")
        assert zmtp.hear(stranger) == (0, b"answer")
    server.close()


def test_a_frame_larger_than_any_may_be_ends_its_connection_and_no_other() -> None:
    above = Mailbox()
    server = listen("tcp://127.0.0.1:0", above)
    with zmtp.knock(server.address) as stranger, zmtp.knock(server.address) as other:
        zmtp.introduce(other)
        zmtp.introduce(stranger)
        stranger.sendall(zmtp.frame(b"before"))
        (before,) = items(above, 1)
        stranger.sendall(zmtp.TOO_LARGE)
        with pytest.raises(ConnectionResetError):
            zmtp.hear(stranger)
        assert items(above, 1) == [Closed(server, before.peer)]
        other.sendall(zmtp.frame(b"still here"))
        (after,) = items(above, 1)
        assert (before.body, after.body) == (b"before", b"still here")
    server.close()


GREETING = b"\xff" + bytes(8) + b"\x7f"


STRANGERS = {
    "no greeting": b"\x01\x00" + b"\x06\x00hello",
    "HTTP": b"GET / HTTP/1.1\r\nHost: pool\r\n\r\n",
    "ZMTP 1": GREETING + b"\x00\x05\x00\x00",
    "ZMTP 2": GREETING + b"\x01\x05\x00\x00",
}


@pytest.mark.parametrize("words", STRANGERS.values(), ids=STRANGERS)
def test_who_speaks_no_zmtp_3_is_turned_away_at_once(words: bytes) -> None:
    """To libzmq each is a peer of an old kind, and one that speaks while the socket is closed aborts the process."""
    above = Mailbox()
    server = listen("tcp://127.0.0.1:0", above)
    place, _, port = server.address.removeprefix("tcp://").rpartition(":")
    with socket.create_connection((place, int(port)), timeout=SECONDS) as stranger:
        stranger.sendall(words)
        with suppress(ConnectionResetError):
            while stranger.recv(4096):
                pass
    server.close()
