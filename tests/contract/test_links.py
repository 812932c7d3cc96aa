"""What every kind of link keeps to, run on ZeroMQ (tcp and ipc) and on the in-memory twin; then what ZeroMQ adds."""

from __future__ import annotations

import gc
import itertools
import os
import socket
import stat
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import zmq

from workerhost.transport.clock import now
from workerhost.transport.link import Closed, PeerLink, Received, ServerLink, connect, listen
from workerhost.transport.mailbox import BATCH_ITEMS_MAX, Batch, Mailbox
from workerhost.transport.messages import FRAME_BYTES_MAX
from workerhost.workers.errors import ConfigError

SECONDS = 10.0  # after which a wait in these tests has failed
_names = itertools.count()


class End:
    """One side: a mailbox and the links that deliver into it."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.links: list[ServerLink | PeerLink] = []
        self._batch: list[Any] = []

    def listen(self, address: str) -> ServerLink:
        link = listen(address, self.mailbox)
        self.links.append(link)
        return link

    def connect(self, address: str) -> PeerLink:
        link = connect(address, self.mailbox)
        self.links.append(link)
        return link

    def items(self, seconds: float = SECONDS) -> list[Any]:
        """The next batch; empty after `seconds`."""
        self.mailbox.wake_at(now() + seconds)
        batch = self.mailbox.get().message
        assert isinstance(batch, Batch)
        return batch.items

    def take(self, count: int = 1) -> list[Any]:
        """The next `count` items; fewer after `SECONDS`."""
        while len(self._batch) < count:
            items = self.items()
            if not items:
                break
            self._batch.extend(items)
        taken, self._batch = self._batch[:count], self._batch[count:]
        return taken

    def one(self) -> Any:
        (item,) = self.take()
        return item

    def nothing(self) -> bool:
        """Whether nothing comes for a moment."""
        return not self._batch and not self.items(0.05)


@pytest.fixture
def ends() -> Generator[Callable[[], End]]:
    made: list[End] = []

    def make() -> End:
        made.append(End())
        return made[-1]

    yield make
    for end in made:
        for link in end.links:
            link.close()


@pytest.fixture(params=["tcp", "ipc", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "tcp":
        return "tcp://127.0.0.1:0"
    if request.param == "ipc":
        return f"ipc://{tmp_path}/s"
    return f"memory://pool-{next(_names)}"


def test_a_message_goes_up_with_its_senders_id_and_an_answer_comes_down(ends: Callable[[], End], address: str) -> None:
    above, below = ends(), ends()
    server = above.listen(address)
    peer = below.connect(server.address)

    assert peer.send(b"up")
    arrived = above.one()
    assert arrived == Received(server, arrived.peer, b"up")
    assert (len(arrived.peer), arrived.peer[0]) == (17, 1)

    assert server.send(arrived.peer, b"down")
    assert below.one() == Received(peer, b"", b"down")


def test_peers_are_told_apart(ends: Callable[[], End], address: str) -> None:
    above, left, right = ends(), ends(), ends()
    server = above.listen(address)
    one, two = left.connect(server.address), right.connect(server.address)
    one.send(b"one")
    two.send(b"two")

    peers = {item.body: item.peer for item in above.take(2)}

    assert peers[b"one"] != peers[b"two"]
    assert server.send(peers[b"two"], b"for two")
    assert right.one().body == b"for two"
    assert left.nothing()


def test_messages_keep_their_order_and_come_in_bounded_batches(ends: Callable[[], End], address: str) -> None:
    above, below = ends(), ends()
    server = above.listen(address)
    peer = below.connect(server.address)
    bodies = [b"%d" % number for number in range(900)]
    assert all(peer.send(body) for body in bodies)

    got: list[bytes] = []
    while len(got) < len(bodies):
        items = above.items()
        assert 0 < len(items) <= BATCH_ITEMS_MAX
        got.extend(item.body for item in items)

    assert got == bodies


@pytest.mark.parametrize("size", [0, 1, 70_000, FRAME_BYTES_MAX])
def test_a_body_arrives_as_it_was_both_ways(ends: Callable[[], End], address: str, size: int) -> None:
    above, below = ends(), ends()
    server = above.listen(address)
    peer = below.connect(server.address)
    body = os.urandom(size)

    assert peer.send(body)
    arrived = above.one()
    assert arrived.body == body
    assert server.send(arrived.peer, body)
    assert below.one().body == body


def test_large_messages_do_not_come_all_at_once(ends: Callable[[], End], address: str) -> None:
    above, below = ends(), ends()
    peer = below.connect(above.listen(address).address)
    assert all(peer.send(bytes(2_000_000)) for _ in range(8))

    counts: list[int] = []
    while sum(counts) < 8:
        counts.append(len(above.items()))
        assert 0 < counts[-1] <= 3


def test_a_peer_that_never_spoke_cannot_be_sent_to(ends: Callable[[], End], address: str) -> None:
    server = ends().listen(address)

    assert not server.send(b"\x01" + bytes(16), b"body")
    assert not server.send(b"", b"body")


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_receiver_that_does_not_read_is_refused_more_and_loses_nothing(
    ends: Callable[[], End], address: str, direction: str
) -> None:
    above, below = ends(), ends()
    server = above.listen(address)
    peer = below.connect(server.address)
    peer.send(b"hello")
    hello = above.one()

    sent = 0
    while sent < 50_000:
        body = b"%d" % sent + bytes(8_000)
        if not (peer.send(body) if direction == "up" else server.send(hello.peer, body)):
            break
        sent += 1

    assert 500 < sent < 50_000
    receiver = above if direction == "up" else below
    got = [int(item.body.rstrip(b"\0")) for item in receiver.take(sent)]
    assert got == list(range(sent))


def test_a_peer_that_leaves_is_told_and_gone(ends: Callable[[], End], address: str) -> None:
    above, below = ends(), ends()
    server = above.listen(address)
    peer = below.connect(server.address)
    peer.send(b"hello")
    hello = above.one()
    peer.send(b"last words")
    assert above.one().body == b"last words"

    peer.close()

    assert above.one() == Closed(server, hello.peer)
    assert not server.send(hello.peer, b"are you there?")


def test_what_was_sent_before_a_flushing_close_arrives(ends: Callable[[], End], address: str) -> None:
    above, below = ends(), ends()
    server = above.listen(address)
    for number in range(5):
        peer = below.connect(server.address)
        peer.send(b"goodbye %d" % number)
        peer.close(flush=SECONDS)

    bodies: list[bytes] = []
    while len(bodies) < 5:
        item = above.one()
        if isinstance(item, Received):
            bodies.append(item.body)

    assert sorted(bodies) == [b"goodbye %d" % number for number in range(5)]


def test_a_peer_that_comes_back_on_a_new_link_is_another_peer(ends: Callable[[], End], address: str) -> None:
    above, below = ends(), ends()
    server = above.listen(address)
    first = below.connect(server.address)
    first.send(b"first")
    before = above.one().peer
    first.close()
    assert isinstance(above.one(), Closed)

    below.connect(server.address).send(b"second")

    assert above.one().peer != before


def test_a_peer_finds_a_server_that_comes_later_or_again(ends: Callable[[], End], address: str) -> None:
    above, below = ends(), ends()
    first = above.listen(address)
    where = first.address
    first.close()
    peer = below.connect(where)

    for turn in range(2):
        server = above.listen(where)
        item = None
        deadline = now() + SECONDS
        while item is None and now() < deadline:
            peer.send(b"%d" % turn)
            item = next((item for item in above.items(0.05) if isinstance(item, Received)), None)
        assert item is not None
        assert item.link is server
        assert server.send(item.peer, b"answer %d" % turn)
        answer = below.one()
        while isinstance(answer, Closed):  # of the server before this one
            answer = below.one()
        assert answer.body == b"answer %d" % turn
        server.close()
        while not above.nothing():
            pass


def test_a_closed_link_sends_and_delivers_no_more(ends: Callable[[], End], address: str) -> None:
    above, below = ends(), ends()
    server = above.listen(address)
    peer = below.connect(server.address)
    peer.send(b"hello")
    hello = above.one()
    assert server.send(hello.peer, b"never read")

    peer.close()
    peer.close()
    assert not peer.send(b"more")
    assert below.nothing()

    server.close()
    server.close()
    assert not server.send(hello.peer, b"more")
    assert not any(isinstance(item, Received) for item in above.items(0.05))


def test_an_address_in_use_is_refused_in_one_line(ends: Callable[[], End], address: str) -> None:
    above, below = ends(), ends()
    server = above.listen(address)

    with pytest.raises(ConfigError) as caught:
        ends().listen(server.address)

    assert server.address in str(caught.value)
    assert "in use" in str(caught.value)
    assert "\n" not in str(caught.value)
    below.connect(server.address).send(b"still here")
    assert above.one().body == b"still here"


def test_an_address_can_be_used_again_after_closing(ends: Callable[[], End], address: str) -> None:
    above = ends()
    server = above.listen(address)
    where = server.address
    server.close()

    assert above.listen(where).address == where


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "127.0.0.1:7470",
        "http://127.0.0.1:7470",
        "udp://127.0.0.1:7470",
        "inproc://a",
        "memory://",
        "ipc://",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:port",
        "tcp://127.0.0.1:99999",
        "tcp://:7470",
    ],
)
def test_a_malformed_address_is_refused_on_both_ends(wrong: str) -> None:
    for open_link in (listen, connect):
        with pytest.raises(ConfigError, match="write "):
            open_link(wrong, Mailbox()).close()


@pytest.mark.parametrize(
    "beyond",
    ["tcp://0.0.0.0:0", "tcp://*:0", "tcp://192.0.2.1:7470", "tcp://[::]:0", "tcp://eth0:0", "tcp://example.com:0"],
)
def test_nothing_listens_beyond_loopback(beyond: str) -> None:
    with pytest.raises(ConfigError, match="up --network"):
        listen(beyond, Mailbox()).close()


def test_localhost_is_loopback(ends: Callable[[], End]) -> None:
    assert ends().listen("tcp://localhost:0").address.startswith("tcp://127.0.0.1:")


# ---- ZeroMQ alone ----


@pytest.fixture
def stranger() -> Generator[zmq.Socket[bytes]]:
    """A bare DEALER, which need not keep to anything."""
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    yield dealer
    dealer.close()
    context.term()


@pytest.mark.parametrize("extra", [1, 2, 7])
def test_a_message_of_several_frames_is_empty_and_forges_no_sender(
    ends: Callable[[], End], stranger: zmq.Socket[bytes], extra: int
) -> None:
    above, below = ends(), ends()
    server = above.listen("tcp://127.0.0.1:0")
    peer = below.connect(server.address)
    peer.send(b"honest")
    honest = above.one().peer
    stranger.setsockopt(zmq.ROUTING_ID, b"stranger")
    stranger.connect(server.address)

    stranger.send_multipart([honest, b"forged"] + [b"more"] * (extra - 1))
    stranger.send(b"plain")

    assert above.take(2) == [Received(server, b"stranger", b""), Received(server, b"stranger", b"plain")]


def test_a_frame_above_the_limit_ends_its_connection_and_no_other(
    ends: Callable[[], End], stranger: zmq.Socket[bytes]
) -> None:
    above, below = ends(), ends()
    server = above.listen("tcp://127.0.0.1:0")
    peer = below.connect(server.address)
    stranger.setsockopt(zmq.ROUTING_ID, b"stranger")
    stranger.connect(server.address)
    stranger.send(b"hello")
    assert above.one().body == b"hello"

    stranger.send(bytes(FRAME_BYTES_MAX + 1))

    assert above.one() == Closed(server, b"stranger")
    peer.send(b"fine")
    assert above.one().body == b"fine"


def test_a_descriptor_that_is_used_again_is_not_mistaken(ends: Callable[[], End]) -> None:
    above, below = ends(), ends()
    server = above.listen("tcp://127.0.0.1:0")
    alive: set[bytes] = set()
    closed: list[bytes] = []
    for _ in range(5):  # nobody reads between an end and the next beginning, so descriptors come again
        for _ in range(4):
            passing = below.connect(server.address)
            passing.send(b"passing")
            passing.close(flush=SECONDS)
        staying = below.connect(server.address)
        staying.send(b"staying")
        while True:
            item = above.one()
            if isinstance(item, Closed):
                closed.append(item.peer)
            elif item.body == b"staying":
                alive.add(item.peer)
                break
    while not above.nothing():
        closed.extend(item.peer for item in above.items(0.05) if isinstance(item, Closed))

    assert len(alive) == 5
    assert len(closed) >= 10  # all 20, but for those whose descriptor nobody used again
    assert not alive & set(closed)
    assert len(closed) == len(set(closed))
    for link in below.links:
        link.close()
    assert {item.peer for item in above.take(5)} == alive


def test_a_storm_of_connections_that_say_nothing_blocks_nobody(ends: Callable[[], End]) -> None:
    above, below = ends(), ends()
    server = above.listen("tcp://127.0.0.1:0")
    host, port = server.address.removeprefix("tcp://").split(":")
    for _ in range(3_500):  # more than queues and the backlog hold by default, while the actor is busy elsewhere
        with socket.create_connection((host, int(port)), SECONDS) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    below.connect(server.address).send(b"still served")

    assert above.one().body == b"still served"
    server.close()


def test_a_killed_process_is_noticed_at_once(ends: Callable[[], End]) -> None:
    above = ends()
    server = above.listen("tcp://127.0.0.1:0")
    script = "import sys, zmq; s = zmq.Context().socket(zmq.DEALER); s.connect(sys.argv[1]); s.send(b'hi'); s.recv()"
    with subprocess.Popen([sys.executable, "-c", script, server.address]) as process:
        hello = above.one()
        process.kill()
        killed = now()

    assert above.one() == Closed(server, hello.peer)
    assert now() - killed < 2


def test_a_link_that_nobody_closed_hangs_nobody(ends: Callable[[], End]) -> None:
    above = ends()
    server = above.listen("tcp://127.0.0.1:0")
    forgotten = End()
    connect(server.address, forgotten.mailbox).send(b"hello")
    assert above.one().body == b"hello"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del forgotten
        gc.collect()

    assert isinstance(above.one(), Closed)


def test_an_ipc_socket_is_for_its_user_only_and_replaces_what_a_crash_left(
    ends: Callable[[], End], tmp_path: Path
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    assert path.exists()

    server = ends().listen(f"ipc://{path}")

    assert server.address == f"ipc://{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_ipc_path_that_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "absent" / "s", tmp_path / ("x" * 120)):
        with pytest.raises(ConfigError, match=path.name):
            listen(f"ipc://{path}", Mailbox()).close()
