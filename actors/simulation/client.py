"""The simulated client: the real client protocol, told by a script what to send and cancel."""

from __future__ import annotations

from random import Random
from typing import Any

from ...transport.block import Block
from ...transport.codec import decode, encode
from ...transport.commands import Request
from ...transport.conversation import Connect, Conversation, Disconnect, Effect, Say
from ...transport.messages import Admin, Cancel
from ...transport.parcel import Parcel
from ...transport.terms import Terms
from .network import Network, Wire
from .timeline import Clock, Timeline


class SimulatedClient:
    """A client process that keeps every handle.

    Attributes:
        blocks: What it has sent, acknowledged or not.
        requests: What it has asked.
    """

    def __init__(self, name: str, timeline: Timeline, network: Network, clock: Clock, random: Random) -> None:
        self.name = name
        self._timeline, self._network, self.clock = timeline, network, clock
        self.blocks: list[Block] = []
        self.requests: list[Request] = []
        self._wire: Wire | None = None
        self._wake = 0
        self._talk = Conversation(random.randbytes(16), name, clock.now())
        self._do(self._talk.start(clock.now()))

    def send(self, type: str, priority: int, count: int, options: dict[str, Any] | None) -> None:
        """Hand in some tasks."""
        parcel = Parcel(Terms(type, priority, options), [b"\x01"] * count, 10 * count)
        self.blocks.append(parcel.block)
        self._do(self._talk.take([parcel], self.clock.now()))

    def cancel(self, ids: list[int]) -> None:
        """End tasks."""
        self._ask(Request(Cancel(0, ids)))

    def retry(self, ids: list[int]) -> None:
        """Run ended tasks once more."""
        self._ask(Request(Admin(0, "retry", {"ids": ids})))

    def _ask(self, request: Request) -> None:
        self.requests.append(request)
        self._do(self._talk.take([request], self.clock.now()))

    def accepted(self) -> list[int]:
        """The ids of all tasks that were acknowledged."""
        return [id for block in self.blocks if block.first for id in range(block.first, block.first + block.count)]

    def unanswered(self) -> bool:
        """Whether anything that it sent or asked waits for an answer."""
        return any(not block.answered for block in self.blocks) or any(r.reply is None for r in self.requests)

    def _receive(self, wire: Wire, body: bytes) -> None:
        if wire is self._wire:
            number, message = decode(body)
            self._do(self._talk.on_message(number, message, self.clock.now()))

    def _timer(self, wake: int) -> None:
        if wake == self._wake:
            self._do(self._talk.tick(self.clock.now()))

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Connect):
                self._connect()
            elif isinstance(effect, Disconnect):
                if self._wire is not None:
                    self._network.close(self._wire)
                    self._wire = None
            elif isinstance(effect, Say) and self._wire is not None:
                self._network.up(self._wire, encode(effect.message, effect.number))
        self._wake += 1
        if self._talk.wake_at is not None:
            self._timeline.after(self.clock.until(self._talk.wake_at), self._timer, self._wake)

    def _connect(self) -> None:
        if self._wire is not None:
            self._network.close(self._wire)

        def receive(body: bytes) -> None:
            self._receive(wire, body)

        wire = self._wire = self._network.connect(self.name, receive)
