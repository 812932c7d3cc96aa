"""A peer that speaks the protocol by hand, frame by frame, and need not be honest."""

from __future__ import annotations

import os
import time
from typing import Any, TypeVar

import zmq
from fault_pool import FaultPool
from waiting import PATIENCE_SECONDS

from workerhost.transport.codec import decode, encode
from workerhost.transport.messages import PROTOCOL_VERSION, Hello, Message, Refused, Welcome

Kind = TypeVar("Kind")


class RawPeer:
    """One DEALER and the numbers of its session."""

    def __init__(self, pool: FaultPool) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.ROUTING_ID, b"\x01" + os.urandom(16))
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(pool.address)
        self._sent = 0
        self.session = os.urandom(16)
        pool.closers.append(self.close)

    def raw(self, *frames: bytes) -> None:
        """Send frames as they are."""
        self._socket.send_multipart(frames)

    def raw_now(self, *frames: bytes) -> None:
        """Send frames, or raise `zmq.Again` when too much is waiting."""
        self._socket.send_multipart(frames, zmq.NOBLOCK)

    def hello(self, name: str, *, role: str = "host", **offer: Any) -> Message:
        """Say HELLO, as a host if nothing else is said; the answer."""
        facts: dict[str, Any] = {
            "slots": {},
            "types": [],
            "any": False,
            "serve": [],
            "not": [],
            "named": True,
            "running": [],
        }
        versions = [PROTOCOL_VERSION, PROTOCOL_VERSION]
        facts |= {"finished": [], "pid": os.getpid(), "machine": "raw", "isolation": "process", **offer}
        self.raw(encode(Hello(role, versions, self.session, name, facts), 0))
        self._sent = 0
        return self.receive(Welcome, Refused)

    def say(self, message: Message) -> int:
        """Send a message of the session; its number."""
        self._sent += 1
        self.raw(encode(message, self._sent))
        return self._sent

    def receive(self, *kinds: type[Any]) -> Any:
        """The next message of these kinds; others are passed over."""
        end = time.monotonic() + PATIENCE_SECONDS
        while (left := end - time.monotonic()) > 0:
            if self._socket.poll(int(left * 1000) + 1):
                _, message = decode(self._socket.recv())
                if isinstance(message, kinds):
                    return message
        raise AssertionError(f"no {' or '.join(kind.__name__ for kind in kinds)} has come")

    def close(self) -> None:
        """Break off without a word."""
        self._socket.close(0)
        self._context.term()
