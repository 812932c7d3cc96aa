"""Many peers at a supervisor's port at once: short and long messages, nonsense, and connections that end in between."""

from __future__ import annotations

import os
import random
from typing import Any, Final

import psutil
import zmq
from targets import frame

from workerhost import Client
from workerhost.actors.core.settings import PoolSettings
from workerhost.actors.supervisor import Supervisor, SupervisorSettings
from workerhost.transport.codec import decode, encode
from workerhost.transport.messages import PROTOCOL_VERSION, Accepted, Heartbeat, Hello, Submit, Welcome

_PEERS: Final = 8
_SECONDS: Final = 20.0
_MEMORY_MAX: Final = 512 * 1024 * 1024
"""That cases may add, all together: what is kept of them is bounded."""
_QUEUE_MAX: Final = 20_000


class _Peer:
    """A client of whom anything is to be expected."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(address)
        self.number = self.submission = 0

    def say(self, body: bytes) -> None:
        """As far as the socket takes it."""
        try:
            self.socket.send(body, zmq.NOBLOCK)
        except zmq.Again:
            return

    def greet(self) -> None:
        """Begin a session."""
        self.number = self.submission = 0
        self.say(encode(Hello("client", [PROTOCOL_VERSION, PROTOCOL_VERSION], os.urandom(16), "crowd", {}), 0))

    def submit(self, count: int) -> None:
        """Hand in so many tasks."""
        self.number += 1
        self.submission += 1
        groups = [["crowd.nobody", 5, None, [b"\xc0"] * count]]
        self.say(encode(Submit(self.submission, self.submission, groups), self.number))


class Crowd:
    """Many peers at once: what one says in order is answered in order, and nobody else is hurt."""

    lasts = True

    def __init__(self) -> None:
        settings = SupervisorSettings(address="tcp://127.0.0.1:0", pool=PoolSettings(max_size=_QUEUE_MAX))
        self._supervisor = Supervisor.start(settings)
        self._address = self._supervisor.address
        self._client = Client(self._address, timeout=_SECONDS)
        self._client.status()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._peers: list[_Peer] = []
        self._before = psutil.Process().memory_info().rss

    def case(self, chance: random.Random) -> None:
        """Everybody says something, one of them in good order; it and a client are answered."""
        good = _Peer(self._context, self._address)
        try:
            self._converse(chance, good)
        finally:
            good.socket.close()
        assert self._client.status()["supervisor"]["name"]

    def _converse(self, chance: random.Random, good: _Peer) -> None:
        good.greet()
        assert isinstance(self._hear(good), Welcome)
        wanted = 0
        for _ in range(chance.randrange(5, 40)):
            if chance.random() < 0.3:
                good.submit(chance.choice([1, 1, 1, 30, 400]))
                wanted += 1
            else:
                self._misbehave(chance)
        answered: list[int] = []
        for _ in range(wanted):
            said = self._hear(good)
            assert isinstance(said, Accepted) or said.code == "queue_full", said
            answered.append(said.submission)
        assert answered == list(range(1, wanted + 1))

    def _hear(self, good: _Peer) -> Any:
        assert good.socket.poll(int(1000 * _SECONDS)), "nothing is answered"
        return decode(good.socket.recv())[1]

    def _misbehave(self, chance: random.Random) -> None:
        if len(self._peers) < _PEERS or chance.random() < 0.05:
            self._peers.append(_Peer(self._context, self._address))
        peer = chance.choice(self._peers)
        what = chance.random()
        if what < 0.2 or peer.number == 0:
            peer.greet()
        elif what < 0.4:
            peer.submit(chance.choice([1, 5, 500, 2000]))
        elif what < 0.6:
            peer.number += 1
            peer.say(frame(chance, peer.number))
        elif what < 0.7:
            peer.say(chance.randbytes(chance.choice([0, 10, 600, 60_000])))
        elif what < 0.8:
            for _ in range(chance.randrange(300)):
                peer.number += 1
                peer.say(encode(Heartbeat(0), peer.number))
        elif what < 0.9:
            peer.socket.send_multipart([b"a", chance.randbytes(9), b""])
        if what >= 0.9 or len(self._peers) > _PEERS:
            self._peers.remove(peer)
            peer.socket.close()

    def close(self) -> None:
        """Nothing is left of them, and not more memory than there is a bound for."""
        try:
            assert self._supervisor.is_alive()
            grown = psutil.Process().memory_info().rss - self._before
            assert grown < _MEMORY_MAX, f"{grown} bytes of memory more than before"
        finally:
            for peer in self._peers:
                peer.socket.close()
            self._context.term()
            self._client.close()
            self._supervisor.stop()
