"""Links with identities: who is known comes in and is told apart from others; who is not cannot say a word."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import zmq

from workerhost.transport import keys, link
from workerhost.transport.contract import Closed, Credentials, Denied, Opened, Received
from workerhost.transport.mailbox import Mailbox

SECONDS = 10.0


class Guard:
    """Admits those that a test names."""

    def __init__(self) -> None:
        self.pair = keys.new_pair()
        self.known: set[str] = set()
        self.away = False
        self.asked: list[str] = []
        self.ignored: set[str] = set()

    def ignores(self, public: str) -> bool:
        return public in self.ignored

    def admits(self, public: str, ip: str) -> bool | None:
        assert ip in ("127.0.0.1", "")
        self.asked.append(public)
        return None if self.away else public in self.known


class End:
    """One side: a mailbox, its link, and what has arrived."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.items: list[Any] = []
        self.link: Any = None

    def look(self, seconds: float) -> None:
        self.mailbox.wake_at(link_now() + seconds)
        self.items += self.mailbox.get().message.items

    def until(self, kind: type, count: int = 1) -> list[Any]:
        end = link_now() + SECONDS
        while len(found := [item for item in self.items if isinstance(item, kind)]) < count:
            assert link_now() < end, self.items
            self.look(0.05)
        return found


def link_now() -> float:
    from workerhost.transport import clock

    return clock.now()


@pytest.fixture
def guard() -> Guard:
    return Guard()


@pytest.fixture
def server(guard: Guard) -> Generator[End]:
    end = End()
    end.link = link.listen("tcp://127.0.0.1:0", end.mailbox, guard)
    yield end
    end.link.close()


def peer(server: End, credentials: Credentials | None) -> End:
    end = End()
    end.link = link.connect(server.link.address, end.mailbox, credentials)
    return end


def test_who_is_known_comes_in_and_is_named_before_its_first_word(guard: Guard, server: End) -> None:
    pair = keys.new_pair()
    guard.known.add(pair.public)
    client = peer(server, Credentials(guard.pair.public, pair))
    assert client.link.send(b"hello")

    [received] = server.until(Received)
    [opened] = server.until(Opened)
    assert server.items.index(opened) < server.items.index(received)
    assert (opened.peer, opened.identity, received.body) == (received.peer, pair.public, b"hello")
    assert server.link.send(received.peer, b"welcome")
    assert client.until(Received)[0].body == b"welcome"
    client.link.close()
    assert server.until(Closed)[0].peer == received.peer


@pytest.mark.parametrize("who", ["unknown key", "no key", "wrong server"])
def test_who_is_not_known_cannot_say_a_word(guard: Guard, server: End, who: str) -> None:
    friend, stranger = keys.new_pair(), keys.new_pair()
    guard.known.add(friend.public)
    credentials = {
        "unknown key": Credentials(guard.pair.public, stranger),
        "no key": None,
        "wrong server": Credentials(keys.new_pair().public, friend),
    }[who]
    outsider = peer(server, credentials)
    outsider.link.send(b"let me in")
    insider = peer(server, Credentials(guard.pair.public, friend))
    insider.link.send(b"hello")
    server.until(Received)
    outsider.link.send(b"please")
    insider.link.send(b"again")
    assert [item.body for item in server.until(Received, 2)] == [b"hello", b"again"]
    assert [item.identity for item in server.until(Opened)] == [friend.public]
    end = link_now() + SECONDS
    while who == "unknown key" and stranger.public not in guard.asked:  # its handshake may come after the other's
        assert link_now() < end
        server.look(0.05)
    outsider.link.close()
    insider.link.close()


@pytest.mark.parametrize("shows", [True, False])
def test_who_is_not_let_in_is_told_so_at_once(guard: Guard, server: End, shows: bool) -> None:
    pair = keys.new_pair()
    outsider = peer(server, Credentials(guard.pair.public, pair) if shows else None)
    outsider.link.send(b"hello")
    end = link_now() + SECONDS
    while not any(isinstance(item, Denied) for item in outsider.items):
        assert link_now() < end, outsider.items
        server.look(0.05)
        outsider.look(0.05)
    assert {item.identity for item in outsider.items if isinstance(item, Denied)} == {shows}
    outsider.link.close()


def test_who_is_ignored_loses_its_connection_once_it_speaks_and_nobody_else_does(guard: Guard, server: End) -> None:
    good, bad = keys.new_pair(), keys.new_pair()
    guard.known |= {good.public, bad.public}
    friend, foe = (peer(server, Credentials(guard.pair.public, pair)) for pair in (good, bad))
    for end, body in ((friend, b"friend"), (foe, b"foe")):
        assert end.link.send(body)
    of = {item.body: item.peer for item in server.until(Received, 2)}
    guard.ignored.add(bad.public)
    guard.known.remove(bad.public)
    server.items.clear()
    for _ in range(500):
        foe.link.send(b"more")
        friend.link.send(b"hello")
    server.until(Closed)
    foe.until(Closed)
    assert friend.link.send(b"still here")
    end = link_now() + SECONDS
    while not any(isinstance(item, Received) and item.body == b"still here" for item in server.items):
        assert link_now() < end
        server.look(0.05)
    assert [item.peer for item in server.items if isinstance(item, Closed)] == [of[b"foe"]]
    assert not [item for item in server.items if isinstance(item, Opened)]
    assert server.link.send(of[b"friend"], b"welcome")
    friend.until(Received)
    friend.link.close()
    foe.link.close()


def test_a_server_that_cannot_say_denies_nobody(guard: Guard, server: End) -> None:
    pair = keys.new_pair()
    guard.away = True
    client = peer(server, Credentials(guard.pair.public, pair))
    client.link.send(b"hello")
    end = link_now() + SECONDS
    while len(guard.asked) < 2:
        assert link_now() < end
        server.look(0.05)
    client.look(0.05)
    assert not any(isinstance(item, Denied) for item in client.items)
    guard.away = False
    guard.known.add(pair.public)
    assert server.until(Received)[0].body == b"hello"
    client.link.close()


def test_a_guarded_address_may_lead_beyond_this_machine_and_no_other(guard: Guard) -> None:
    end = End()
    with pytest.raises(Exception, match="up --network"):
        link.listen("tcp://0.0.0.0:0", end.mailbox)
    guarded = link.listen("tcp://0.0.0.0:0", end.mailbox, guard)
    assert guarded.address.startswith("tcp://0.0.0.0:")
    guarded.close()
    open_to_all = link.listen("tcp://0.0.0.0:0", end.mailbox, insecure=True)
    open_to_all.close()


def test_a_stolen_routing_id_is_worth_nothing(guard: Guard, server: End) -> None:
    victim, thief = keys.new_pair(), keys.new_pair()
    guard.known |= {victim.public, thief.public}
    one = peer(server, Credentials(guard.pair.public, victim))
    one.link.send(b"mine")
    [mine] = server.until(Received)

    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    stolen = context.socket(zmq.DEALER)
    for option, value in (
        (zmq.LINGER, 0),
        (zmq.ROUTING_ID, mine.peer),
        (zmq.CURVE_SERVERKEY, guard.pair.public.encode()),
        (zmq.CURVE_PUBLICKEY, thief.public.encode()),
        (zmq.CURVE_SECRETKEY, thief.secret.encode()),
    ):
        stolen.setsockopt(option, value)
    stolen.connect(server.link.address)
    stolen.send(b"theirs")
    end = link_now() + SECONDS
    while thief.public not in guard.asked:
        assert link_now() < end
        server.look(0.05)
    one.link.send(b"still mine")
    assert [item.body for item in server.until(Received, 2)] == [b"mine", b"still mine"]
    assert server.link.send(mine.peer, b"for the first alone")
    assert one.until(Received)[0].body == b"for the first alone"
    assert not stolen.poll(0)
    stolen.close()
    context.term()
    one.link.close()
