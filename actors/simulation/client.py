"""The simulated client: the real client protocol, told by a script what to send and cancel."""

from __future__ import annotations

from random import Random
from typing import Any

from ...transport.block import Block
from ...transport.codec import decode, encode
from ...transport.commands import Request
from ...transport.conversation import Connect, Conversation, Disconnect, Effect, Say
from ...transport.messages import STATES, Admin, Cancel, Query, TaskState
from ...transport.parcel import ITEM_BYTES, Parcel
from ...transport.part import Part
from ...transport.terms import Terms
from .network import Network, Wire
from .timeline import Clock, Timeline


class SimulatedClient:
    """A client process that keeps every handle.

    Attributes:
        blocks: What it has sent since it started, acknowledged or not.
        requests: What it has asked.
        past: The ids that were acknowledged to its processes before this one.
        token: Its session.
        interrupted: Sessions that ended before all was acknowledged.
    """

    def __init__(self, name: str, timeline: Timeline, network: Network, clock: Clock, random: Random) -> None:
        self.name = name
        self._timeline, self._network, self.clock, self._random = timeline, network, clock, random
        self.blocks: list[Block] = []
        self.requests: list[Request] = []
        self.past: list[int] = []
        self.interrupted: set[bytes] = set()
        self.token = b""
        self._flows: list[tuple[Block | None, int, list[list[Any]]]] = []  # (first part, tasks sent, parts to come)
        self._wire: Wire | None = None
        self._wake = 0
        self.talk: Conversation | None = None
        self.start()

    def start(self) -> None:
        """The process comes up, with a session of its own."""
        if self.talk is None:
            self.token = self._random.randbytes(16)
            self.talk = Conversation(self.token, self.name, self.clock.now())
            self._do(self.talk.start(self.clock.now()))

    def crash(self) -> None:
        """The process is gone, and its session with it; its tasks live on."""
        if self.talk is None:
            return
        self._timeline.tell(self.name, "crashes")
        self.past += self.accepted()
        if any(not block.answered for block in self.blocks):
            self.interrupted.add(self.token)
        self.blocks, self.requests, self._flows = [], [], []
        self.talk = None
        self._wake += 1
        self._disconnect()

    def send(
        self,
        type: str,
        priority: int,
        count: int,
        options: dict[str, Any] | None,
        params: list[bytes] | None = None,
        keys: list[str] | None = None,
    ) -> None:
        """Hand in some tasks, each with a key if there are keys."""
        if self.talk is not None:
            params = params or [b"\x01"] * count
            size = sum(map(len, (*params, *(keys or ())))) + 2 * ITEM_BYTES * count
            parcel = Parcel(Terms(type, priority, options), params, size, keys=keys)
            self.blocks.append(parcel.block)
            self._do(self.talk.take([parcel], self.clock.now()))

    def flow(self, parts: list[list[Any]]) -> None:
        """Hand in a flow, part by part: each goes out when the one before is acknowledged."""
        if self.talk is not None:
            self._flows.append((None, 0, list(parts)))
            self._go_on()

    def _go_on(self) -> None:
        """Hand in the next parts of flows."""
        flows, self._flows = self._flows, []
        for first, start, parts in flows:
            waits = first is not None and not all(block.answered for block in self.blocks)
            if self.talk is None or (first is not None and first.refused):
                continue
            if waits:
                self._flows.append((first, start, parts))
                continue
            said: dict[str, Any] = {"start": start} if first is None else {"start": start, "of": first.first}
            groups, *rest = parts
            if rest:
                said["last"] = False
            count = sum(len(group[3]) for group in groups)
            part = Part(groups, said, 10 * count, Block(count, STATES.index(TaskState.WAITING)))
            self.blocks.append(part.block)
            if rest:
                self._flows.append((first or part.block, start + count, rest))
            self._do(self.talk.take([part], self.clock.now()))

    def unblock(self, ids: list[int]) -> None:
        """Let waiting tasks go."""
        self._ask(Request(Admin(0, "unblock", {"ids": ids})))

    def cancel(self, ids: list[int]) -> None:
        """End tasks."""
        self._ask(Request(Cancel(0, ids)))

    def retry(self, ids: list[int]) -> None:
        """Run ended tasks once more."""
        self._ask(Request(Admin(0, "retry", {"ids": ids})))

    def pause(self, type: str, *, paused: bool) -> None:
        """Let tasks of a type wait, or go on."""
        self._ask(Request(Admin(0, "pause" if paused else "resume", {"type": type})))

    def order(self, verb: str, **arguments: Any) -> None:
        """Order something else."""
        self._ask(Request(Admin(0, verb, arguments)))

    def chatter(self, times: int, pause: float) -> None:
        """Ask something so often, with so many seconds in between."""
        if self.talk is not None and times > 0:
            self._ask(Request(Query(0, "show", {"id": 1})))
            self._timeline.after(pause, self.chatter, times - 1, pause)

    def _ask(self, request: Request) -> None:
        if self.talk is not None:
            self.requests.append(request)
            self._do(self.talk.take([request], self.clock.now()))

    def accepted(self) -> list[int]:
        """The ids of all tasks that were acknowledged to this process and stand for no others."""
        blocks = [block for block in self.blocks if block.first]
        return [block.first + offset for block in blocks for offset in range(block.count) if offset not in block.others]

    def unanswered(self) -> bool:
        """Whether anything that it sent or asked waits for an answer."""
        return any(not block.answered for block in self.blocks) or any(r.reply is None for r in self.requests)

    def _receive(self, wire: Wire, body: bytes) -> None:
        if wire is self._wire and self.talk is not None:
            number, message = decode(body)
            self._do(self.talk.on_message(number, message, self.clock.now()))
            if self._flows:
                self._go_on()

    def _timer(self, wake: int) -> None:
        if wake == self._wake and self.talk is not None:
            self._do(self.talk.tick(self.clock.now()))

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Connect):
                self._connect()
            elif isinstance(effect, Disconnect):
                self._disconnect()
            elif isinstance(effect, Say) and self._wire is not None:
                self._network.up(self._wire, encode(effect.message, effect.number))
        self._wake += 1
        if self.talk is not None and self.talk.wake_at is not None:
            self._timeline.after(self.clock.until(self.talk.wake_at), self._timer, self._wake)

    def _disconnect(self) -> None:
        if self._wire is not None:
            self._network.close(self._wire)
            self._wire = None

    def _connect(self) -> None:
        self._disconnect()

        def receive(body: bytes) -> None:
            self._receive(wire, body)

        def closed() -> None:
            if wire is self._wire and self.talk is not None:
                self._do(self.talk.on_closed(self.clock.now()))

        wire = self._wire = self._network.connect(self.name, receive, closed)
