"""An invented network: bytes arrive late, twice, in another order, in one direction only, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from .timeline import Timeline


@dataclass(slots=True)
class Weather:
    """How bad the network is; rates are probabilities per message.

    Attributes:
        drop, duplicate, reorder: Of one message.
        old_hello: That a connection's first message comes once more, seconds later.
        delay: Mean seconds on the way.
        cut: Nodes whose messages to the supervisor (`up`) or from it (`down`) do not arrive.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    old_hello: float = 0.0
    delay: float = 0.002
    cut: set[tuple[str, str]] = field(default_factory=set)

    def calm(self) -> None:
        """Nothing is lost any more, everything is quick."""
        self.drop = self.duplicate = self.reorder = self.old_hello = 0.0
        self.delay = 0.002
        self.cut.clear()


class Wire:
    """One connection of a node to the supervisor, as both ends see it.

    Attributes:
        address: The routing id by which the supervisor knows it.
        open: Whether the node still listens on it.
        fresh: Whether nothing was sent on it yet.
    """

    def __init__(self, node: str, address: bytes, receive: Callable[[bytes], None], closed: Callable[[], None]) -> None:
        self.node, self.address = node, address
        self.receive, self.closed = receive, closed
        self.open = self.fresh = True
        self.arrival = {"up": 0.0, "down": 0.0}


class Network:
    """All wires.

    Attributes:
        happened: How many messages met with which misfortune.
        serve: The supervisor's end; None while nobody is there, and what arrives then is gone.
    """

    def __init__(self, timeline: Timeline, random: Random, weather: Weather) -> None:
        self._timeline, self._random = timeline, random
        self.weather = weather
        self.wires: dict[bytes, Wire] = {}
        self.serve: Callable[[bytes, bytes | None], None] | None = None
        self._count = 0
        self.happened: Counter[str] = Counter()

    def connect(self, node: str, receive: Callable[[bytes], None], closed: Callable[[], None]) -> Wire:
        """A new connection of a node, which is told what comes over it, and that it is closed."""
        self._count += 1
        wire = Wire(node, b"\x01%016d" % self._count, receive, closed)
        self.wires[wire.address] = wire
        return wire

    def close(self, wire: Wire) -> None:
        """The node closed it, or died: the supervisor may notice."""
        if wire.open:
            wire.open = False
            self._timeline.after(self._delay(), self._closed, wire)

    def _closed(self, wire: Wire) -> None:
        self.wires.pop(wire.address, None)
        if ("up", wire.node) not in self.weather.cut and self.serve is not None:
            self.serve(wire.address, None)

    def hang_up(self) -> None:
        """The supervisor's process is gone: every node that can be reached hears that its connection is closed."""
        for wire in self.wires.values():
            self._timeline.after(self.weather.delay, self._hung_up, wire)

    def _hung_up(self, wire: Wire) -> None:
        if wire.open and ("down", wire.node) not in self.weather.cut:
            wire.closed()

    def up(self, wire: Wire, body: bytes) -> None:
        """A node sends to the supervisor."""
        for wait in self._fate(wire, "up"):
            self._timeline.after(wait, self._arrive_up, wire, body)
        if wire.fresh:
            wire.fresh = False
            if self.weather.old_hello and self._random.random() < self.weather.old_hello:
                self.happened["old_hello"] += 1
                self._timeline.after(self._random.uniform(0.05, 8), self._arrive_again, wire, body, self.serve)

    def down(self, address: bytes, body: bytes) -> bool:
        """The supervisor sends; False if there is no such connection."""
        wire = self.wires.get(address)
        if wire is None:
            return False
        for wait in self._fate(wire, "down"):
            self._timeline.after(wait, self._arrive_down, wire, body)
        return True

    def name(self, address: bytes) -> str:
        """Who is at the other end, for people."""
        wire = self.wires.get(address)
        return wire.node if wire else "(gone)"

    def _arrive_up(self, wire: Wire, body: bytes) -> None:
        if self.serve is not None and wire.address in self.wires:
            self.serve(wire.address, body)

    def _arrive_again(self, wire: Wire, body: bytes, served: object) -> None:
        """An old first message, by whatever way: the connection may long be closed, its supervisor must still live."""
        if self.serve is not None and self.serve == served and ("up", wire.node) not in self.weather.cut:
            self._timeline.tell(wire.node, "its old HELLO arrives once more")
            self.serve(wire.address, body)

    def _arrive_down(self, wire: Wire, body: bytes) -> None:
        if wire.open:
            wire.receive(body)

    def _fate(self, wire: Wire, direction: str) -> list[float]:
        """After how many seconds a message arrives, once for each time that it does."""
        weather, random = self.weather, self._random
        if (direction, wire.node) in weather.cut:
            return []
        if random.random() < weather.drop:
            self.happened["drop"] += 1
            return []
        copies = 2 if random.random() < weather.duplicate else 1
        self.happened["duplicate"] += copies - 1
        if random.random() < weather.reorder:
            self.happened["reorder"] += 1
            return [self._delay() * 5 for _ in range(copies)]
        # A connection keeps its order: nothing arrives before what was sent earlier.
        arrival = max(wire.arrival[direction], self._timeline.now + self._delay())
        wire.arrival[direction] = arrival
        return [arrival - self._timeline.now] * copies

    def _delay(self) -> float:
        return self._random.expovariate(1 / self.weather.delay)
