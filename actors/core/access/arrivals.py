"""What has arrived and was not heard yet, and what of it the next turn hears: nobody waits behind another's flood.

Owns the frames between the socket and the pool, peer by peer, each peer's in their order. Short messages of clients are
heard first, in a turn of their own, so that who sends one task or asks one thing waits for the turn that goes on and
for no other. What is long is heard in between, peers taking turns; of the time in which somebody with short messages is
there, what clients send in bulk takes a share and no more. It decides nothing about what is said, and a frame is read
by whoever carries it, when its turn has come.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable
from math import inf
from typing import Any, Final

from ....transport.messages import Admin, Cancel, Message, Query, Results, Submit, Watch, is_hello
from .identities import Garbled, Proved, TurnedAway

Said = tuple[bytes, bytes | Proved | None]
"""(peer, a frame of its own), or who it proved to be, or None: its connection has closed."""
News = tuple[bytes, int, Message | Proved | Garbled | TurnedAway | None]
"""(peer, number, message), as the core hears it."""

SHORT_BYTES: Final = 512
"""Of a message that does not keep others waiting."""
SHORT_TURN_BYTES: Final = 2048
"""Of all that one peer says in a turn of short ones."""
TURN_TASKS: Final = 2000
"""Tasks and ends in one turn, about: the message that brings so many together is its last. An order by filters weighs
as many, however few bytes it has: it looks at tens of thousands.
"""
LIST_TASKS: Final = 200
"""What a question about more than one task weighs."""
SHARED_TASKS: Final = 500
"""The same between two turns of short messages: somebody waits."""
TURN_BYTES: Final = 4 * 1024 * 1024
SHARED_BYTES: Final = 8 * 1024
"""Beyond its first message, in such a turn."""
BULK_SHARE: Final = 0.2
"""Of the supervisor's time, for long messages of clients while another client is there with short ones."""
THERE_SECONDS: Final = 0.05
"""A client is there for so long after a short message. Who asks once a second slows nobody down."""
BULK_SECONDS: Final = 10.0
"""Who sent something long so lately is no other's neighbour: its short messages are part of its bulk."""
_ABOUT_ONE: Final = ("show", "why")
"""Questions about one task."""
_BULK_MAX: Final = 1000
WAITING_MAX: Final = 5000
WAITING_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of one client that does not wait for answers. Above, all it has said is dropped, and what follows is a gap: its
session ends. It is no mistake of its identity, because clients of an older version do so when they send large tasks.
"""
CROWDED_BYTES: Final = 64 * 1024 * 1024
"""Of all peers. Above, nobody is preferred any more, whoever it is from."""
CROWDED_TURN_BYTES: Final = 8 * 1024 * 1024
"""What a turn hears then: more than a batch can bring."""


class _Line:
    """What one peer has said."""

    __slots__ = ("bytes", "items")

    def __init__(self) -> None:
        self.items: deque[bytes | Proved | None] = deque()
        self.bytes = 0

    def take(self) -> bytes | Proved | None:
        item = self.items.popleft()
        self.bytes -= _size(item)
        return item


class Arrivals:
    """All that waits to be heard.

    Args:
        role: The role in which a peer has said HELLO; "": not yet.
        ignored: Whether a peer is not heard at present, whatever it says.
        read: A frame's number and message.
    """

    def __init__(
        self,
        role: Callable[[bytes], str],
        ignored: Callable[[bytes], bool],
        read: Callable[[bytes], tuple[int, Message | Garbled]],
    ) -> None:
        self._role, self._ignored, self._read = role, ignored, read
        self._lines: OrderedDict[bytes, _Line] = OrderedDict()  # in the order of their turns
        self._bytes = 0  # of all lines
        self._owed = False  # a turn of short messages has just kept long ones waiting
        self._bulk: dict[bytes, float] = {}  # clients that sent something long, and when
        self._there_until = self._held_until = 0.0
        self._began: float | None = None  # a turn with something long of a client goes on

    def next_time(self) -> float | None:
        """When something can be heard that waits; 0: now, None: nothing waits."""
        if not self._lines:
            return None
        if self._is_crowded():
            return 0.0
        return self._held_until if all(self._is_held(peer, line) for peer, line in self._lines.items()) else 0.0

    def waiting(self) -> Collection[bytes]:
        """Who has said something that was not heard yet."""
        return self._lines.keys()

    def clear(self) -> None:
        """Nobody hears what waits."""
        self._lines.clear()
        self._bytes = 0

    def add(self, said: Iterable[Said]) -> int:
        """What a batch has brought; how many bytes it had."""
        bytes_all = 0
        for peer, item in said:
            size = _size(item)
            bytes_all += size
            if isinstance(item, bytes) and self._ignored(peer):
                continue
            line = self._lines.get(peer)
            if line is None:
                line = self._lines[peer] = _Line()
            line.items.append(item)
            line.bytes += size
            self._bytes += size
            if (len(line.items) > WAITING_MAX or line.bytes > WAITING_BYTES_MAX) and self._role(peer) != "host":
                line.items = deque(one for one in line.items if not isinstance(one, bytes))
                self._bytes -= line.bytes
                line.bytes = 0
                if not line.items:
                    del self._lines[peer]
        return bytes_all

    def take(self, now: float) -> list[News]:
        """What the next turn hears."""
        if now >= min(self._there_until, self._held_until):
            self._held_until = 0.0
        if self._is_crowded():
            self._held_until = 0.0
            return self._long(now, shared=False)
        if len(self._lines) > 1 and not self._owed and (news := self._short(now)):
            self._owed = bool(self._lines)
            return news
        shared, self._owed = self._owed or now < self._there_until, False
        return self._long(now, shared)

    def ended(self, now: float) -> None:
        """The turn is over; what it took of the time is not to be had again too soon."""
        if self._began is not None and self._began < self._there_until:
            took = now - self._began
            self._there_until += took  # meanwhile nobody could be heard
            self._held_until = now + took * (1 / BULK_SHARE - 1)
        self._began = None

    def _short(self, now: float) -> list[News]:
        """Short messages, if a client has some; of each peer the first of them."""
        prompt = [
            peer for peer, line in self._lines.items() if self._is_short(peer, line) and self._role(peer) != "host"
        ]
        if not prompt:
            return []
        if any(self._bulk.get(peer, -BULK_SECONDS) + BULK_SECONDS <= now for peer in prompt):
            self._there_until = now + THERE_SECONDS
        news: list[News] = []
        tasks = size = 0
        for peer, line in list(self._lines.items()):
            room = SHORT_TURN_BYTES
            while self._is_short(peer, line) and room > 0 and tasks < TURN_TASKS:
                room -= _size(line.items[0])
                size += _size(line.items[0])
                news.append(self._heard(peer, line.take()))
                tasks += _tasks(news[-1][2])
            if not line.items:
                del self._lines[peer]
            if tasks >= TURN_TASKS or size >= TURN_BYTES:
                if line.items:
                    self._lines.move_to_end(peer)
                break
        return news

    def _long(self, now: float, shared: bool) -> list[News]:
        """Messages of any length, one of each peer in turns."""
        news: list[News] = []
        tasks = size = 0
        most, room = (SHARED_TASKS, SHARED_BYTES) if shared else (TURN_TASKS, TURN_BYTES)
        if self._is_crowded():
            most, room = inf, CROWDED_TURN_BYTES
        passed = 0  # lines in a row of which nothing may be heard now
        first: bytes | None = None  # that was passed over because others had come before it
        while passed < len(self._lines) and tasks < most and size < room:
            peer, line = next(iter(self._lines.items()))
            del self._lines[peer]
            weight = _size(line.items[0])
            bulk = self._is_bulk(peer, line)
            held = bulk and self._held_until > 0.0
            if held or (shared and news and (bulk or size + weight > room)):
                self._lines[peer] = line
                passed += 1
                if not held and first is None:
                    first = peer
                continue
            passed = 0
            size += weight
            news.append(self._heard(peer, line.take()))
            tasks += _tasks(news[-1][2])
            if line.items:
                self._lines[peer] = line
            if bulk:
                self._note_bulk(peer, now)
                if shared:  # alone: it may bring thousands
                    break
        if first is not None:
            self._lines.move_to_end(first, last=False)
        return news

    def _is_held(self, peer: bytes, line: _Line) -> bool:
        return self._held_until > 0.0 and self._is_bulk(peer, line)

    def _is_short(self, peer: bytes, line: _Line) -> bool:
        """Whether the next that a peer says keeps nobody waiting. Its first HELLO counts as that, however long: a host
        that is not heard in time is given up.
        """
        if not line.items:
            return False
        item = line.items[0]
        return not isinstance(item, bytes) or len(item) <= SHORT_BYTES or (is_hello(item) and not self._role(peer))

    def _is_bulk(self, peer: bytes, line: _Line) -> bool:
        return not self._is_short(peer, line) and self._role(peer) != "host"

    def _is_crowded(self) -> bool:
        return self._bytes > CROWDED_BYTES

    def _note_bulk(self, peer: bytes, now: float) -> None:
        self._began = now
        if len(self._bulk) >= _BULK_MAX:
            self._bulk = {one: at for one, at in self._bulk.items() if at > now - BULK_SECONDS}
        if len(self._bulk) < _BULK_MAX or peer in self._bulk:
            self._bulk[peer] = now

    def _heard(self, peer: bytes, item: bytes | Proved | None) -> News:
        """A frame to a message."""
        if not isinstance(item, bytes):
            return peer, 0, item
        self._bytes -= len(item)
        number, message = self._read(item)
        return peer, number, message


def _size(item: bytes | Proved | None) -> int:
    return len(item) if isinstance(item, bytes) else 0


def _tasks(message: Any) -> int:
    """What a message weighs: how many tasks it brings, ends or has looked at."""
    if isinstance(message, Submit):
        return sum(len(group[3]) for group in message.groups if _is_group(group))
    if isinstance(message, Results):
        return len(message.items)
    if isinstance(message, (Cancel, Watch)):
        return max(1, _length(message.ids))
    if isinstance(message, Admin):
        return TURN_TASKS if "where" in message.arguments else max(1, _length(message.arguments.get("ids")))
    return LIST_TASKS if isinstance(message, Query) and message.what not in _ABOUT_ONE else 1


def _length(ids: Any) -> int:
    return len(ids) if isinstance(ids, list) else 0  # pyright: ignore[reportUnknownArgumentType]


def _is_group(group: Any) -> bool:
    return isinstance(group, list) and len(group) == 4 and isinstance(group[3], list)  # pyright: ignore[reportUnknownArgumentType]
