"""Client sessions: their submissions, so that a repeated one returns the ids of the first, and what each has been told.

Ends are pushed to a client that has caught up and has credit; one that has not is told from the store, in order of
`finish`, so that a client that comes back misses nothing and is never flooded.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from ....transport.messages import Events
from ..effects import Ends, Replay
from ..reports import weight
from ..sessions import ID_MAX
from ..step import Peer, Step
from ..unfit import Unfit

Others = list[list[int]] | None
"""Tasks of a submission that stand for tasks which were there before: [[position, id, how], ...]; mostly None."""
Submission = tuple[int, int, int, Others]
"""What a repeated one is answered from: (first id, count, checksum, others)."""
_Kept = tuple[int, int, int, "array[int] | None"]
"""The same in memory: the others one after another, which takes a sixth of the room."""
_OTHER_NUMBERS: Final = 3
OTHER_BYTES: Final = 24
SUBMISSION_BYTES: Final = 300
"""What one that is kept takes of memory, about, beside its others."""
KEPT_BYTES_MAX: Final = 256 * 1024 * 1024
"""For the kept submissions of all connected sessions of one identity; where nothing is proved, of all."""
SESSION_SECONDS: Final = 7 * 86400.0
"""A session is forgotten so long after its last word."""
FRESH_SECONDS: Final = 86400.0
"""So often the last word of a connected session is written down."""
_FORGOTTEN_SECONDS: Final = SESSION_SECONDS - 2 * FRESH_SECONDS
"""One that was away for less was not forgotten."""
REPLAY_ROWS: Final = 500
REPLAY_BYTES: Final = 4 * 1024 * 1024
CREDIT_MAX: Final = 100_000
ASKED_MAX: Final = 1_000_000
"""Ended tasks that one connection asked about by id and was not told of yet: as many as it may have kept of those that
stand for older ones, because it asks about them all when it comes back.
"""
_KEPT_SECONDS: Final = 1.0
"""After so long who keeps too much may try again."""
_SLICES: Final = 4
_MESSAGE_BYTES: Final = 2 * 1024 * 1024
_EVENT_BYTES: Final = 32


@dataclass(slots=True, eq=False)
class ClientSession:
    """One client process, whatever connection it uses.

    Attributes:
        number: Its number in the store; rows name it.
        submissions: What it has submitted and may repeat, see `answer`.
        others: How many tasks of these submissions stand for older ones.
        told: The `finish` number up to which it has been told everything.
        live: It has been told all ends so far, so new ones are pushed as they happen.
        unconsumed: (finish, count) of EVENTS sent that it has not said to have consumed; `outstanding` ends in all.
        credit: How many ends may be unconsumed.
        identity: The public key of whoever opened it; "" where nothing is proved.
        below: Submissions under this number are acknowledged and forgotten.
        watching: It has said what it knows (WATCH), so it may be told.
        replaying: Rows for it are being read.
    """

    number: int
    token: bytes
    name: str
    peer: Peer | None = None
    submissions: dict[int, _Kept] = field(default_factory=dict)
    below: int = 0
    told: int = 0
    live: bool = False
    replaying: bool = False
    watching: bool = False
    credit: int = 0
    unconsumed: deque[tuple[int, int]] = field(default_factory=deque)
    outstanding: int = 0
    identity: str = ""
    others: int = 0

    def keep(self, number: int, answer: Submission) -> None:
        """A submission is stored: it is answered so when it is repeated."""
        first, count, checksum, others = answer
        flat = None if others is None else array("q", chain.from_iterable(others))
        self.submissions[number] = first, count, checksum, flat
        if others is not None:
            self.others += len(others)

    def answer(self, number: int) -> Submission:
        """What a submission that is kept was answered."""
        first, count, checksum, others = self.submissions[number]
        if others is None:
            return first, count, checksum, None
        places = range(0, len(others), _OTHER_NUMBERS)
        return first, count, checksum, [others[at : at + _OTHER_NUMBERS].tolist() for at in places]

    def forget_below(self, below: int) -> None:
        """Submissions under a number are acknowledged and will not be repeated."""
        self.below = below
        for number in [number for number in self.submissions if number < below]:
            _, _, _, others = self.submissions.pop(number)
            if others is not None:
                self.others -= len(others) // _OTHER_NUMBERS

    def kept_bytes(self) -> int:
        """What its submissions take of memory, about."""
        return SUBMISSION_BYTES * len(self.submissions) + OTHER_BYTES * self.others

    def row(self, wall: float) -> tuple[int, bytes, str, float, int, str]:
        """As the store keeps it: heard now."""
        return (self.number, self.token, self.name, wall, self.below, self.identity)

    def allowance(self) -> int:
        """How many more ends it takes now."""
        return self.credit - self.outstanding


def past_of(offer: dict[str, Any]) -> int:
    """How many submissions a session has numbered that the store, which does not know it, must have forgotten; 0 if it
    may as well never have known it. From the `offer` of its HELLO.
    """
    submitted, away = offer.get("submitted"), offer.get("away")
    if type(submitted) is not int or not isinstance(away, int | float):
        return 0
    return submitted if away > _FORGOTTEN_SECONDS and 0 < submitted < ID_MAX else 0


class Clients:
    """All client sessions that are connected, and who watches which task."""

    def __init__(self) -> None:
        self.by_number: dict[int, ClientSession] = {}
        self.by_token: dict[bytes, ClientSession] = {}
        self.watchers: dict[int, set[Peer]] = {}
        self._watched: dict[Peer, set[int]] = {}  # the same by who watches
        self.last_session = 0
        self.kept_bytes: Counter[str] = Counter()  # of what connected sessions keep, by identity
        self.behind: dict[ClientSession, None] = {}  # those that are told from the store, slice by slice
        self.asked: dict[Peer, deque[array[int]]] = {}  # ended tasks asked about by id, in slices; whose turn is next

    def add(self, client: ClientSession) -> None:
        """A session is known from now on."""
        self.by_number[client.number] = self.by_token[client.token] = client
        self._weigh(client, client.kept_bytes())

    def keep(self, client: ClientSession, number: int, answer: Submission) -> None:
        """A submission of a session is stored."""
        before = client.kept_bytes()
        client.keep(number, answer)
        self._weigh(client, client.kept_bytes() - before)

    def forget_below(self, client: ClientSession, below: int) -> None:
        """Submissions of a session under a number are acknowledged."""
        before = client.kept_bytes()
        client.forget_below(below)
        self._weigh(client, client.kept_bytes() - before)

    def check_kept(self, identity: str, more: int) -> None:
        """Whether so many more bytes may be kept for an identity.

        Raises:
            Unfit: Its sessions keep too much already.
        """
        kept = self.kept_bytes[identity]
        if kept + more > KEPT_BYTES_MAX:
            whose = "this identity" if identity else "all clients"
            reason = (
                f"the sessions of {whose} keep {kept} bytes of submissions, of at most {KEPT_BYTES_MAX}: "
                "raise `below` as answers come, or end sessions that are not needed"
            )
            raise Unfit("quota", reason, "below", retry_after=_KEPT_SECONDS)

    def _weigh(self, client: ClientSession, change: int) -> None:
        """A session keeps more, or less; it counts while it is connected."""
        if change and self.by_number.get(client.number) is client:
            self.kept_bytes[client.identity] += change
            if not self.kept_bytes[client.identity]:
                del self.kept_bytes[client.identity]

    def gone(self, peer: Peer) -> None:
        """A connection ended; the session may come back with another."""
        client: ClientSession | None = peer.session
        if client is None:
            return
        self.asked.pop(peer, None)
        if client.peer is peer:
            client.peer = None
            client.live = client.watching = client.replaying = False
            client.unconsumed.clear()
            client.outstanding = 0
            self._weigh(client, -client.kept_bytes())
            self.by_number.pop(client.number, None)
            self.by_token.pop(client.token, None)
        for id in self._watched.pop(peer, ()):  # not all that anybody watches: somebody may watch a million
            peers = self.watchers[id]
            peers.discard(peer)
            if not peers:
                del self.watchers[id]

    def tell_of(self, peer: Peer, ids: Iterable[int]) -> None:
        """A connection hears of these tasks, whoever sent them, until they end."""
        watched = self._watched.setdefault(peer, set())
        for id in ids:
            watched.add(id)
            self.watchers.setdefault(id, set()).add(peer)

    def waits_for(self, session: int, finish: int) -> bool:
        """Whether a connected client has not been told of this end of its own yet."""
        client = self.by_number.get(session)
        return client is not None and client.watching and finish > client.told

    def watch(self, step: Step, client: ClientSession, after: int, credit: int) -> None:
        """The client has consumed everything up to `after` and takes `credit` more."""
        if not client.watching:
            client.watching, client.told = True, after
        while client.unconsumed and client.unconsumed[0][0] <= after:
            client.outstanding -= client.unconsumed.popleft()[1]
        client.credit = min(credit, CREDIT_MAX)
        self.catch_up(step, client)

    def catch_up(self, step: Step, client: ClientSession) -> None:
        """Read what a client has not been told, if it takes more."""
        if client.live or client.replaying or not client.watching or (room := client.allowance()) <= 0:
            return
        client.replaying = True
        step.needs.append(Replay(client.number, client.told, min(room, REPLAY_ROWS), REPLAY_BYTES))

    def replayed(self, step: Step, need: Replay, rows: list[Any]) -> None:
        """Ends of a session came from the store."""
        client = self.by_number.get(need.session)
        if client is None or client.peer is None or not client.replaying:
            return
        client.replaying = False
        self._push(step, client, [list(row) for row in rows])
        if len(rows) < need.count and sum(len(row[3]) for row in rows) < need.size:
            client.live = True
        else:
            self.behind[client] = None

    def ask(self, peer: Peer, ids: Iterable[int]) -> None:
        """A connection asks how these tasks have ended: it is told slice by slice."""
        slices = self.asked.setdefault(peer, deque())
        rest = array("q", ids)
        if slices and (room := REPLAY_ROWS - len(slices[-1])) > 0:
            slices[-1].extend(rest[:room])
            rest = rest[room:]
        slices.extend(rest[start : start + REPLAY_ROWS] for start in range(0, len(rest), REPLAY_ROWS))

    def greedy(self) -> list[Peer]:
        """Connections that have asked about more than is kept, each or all of one identity."""
        asked: Counter[str | bytes] = Counter()
        for peer, slices in self.asked.items():
            asked[peer.identity or peer.address] += len(slices) * REPLAY_ROWS
        return [peer for peer in self.asked if asked[peer.identity or peer.address] > ASKED_MAX]

    def go_on(self, step: Step) -> None:
        """One slice for each of some clients that are owed more: a turn stays short however much that is. Those that
        ask by id take turns, so that nobody waits behind another's list.
        """
        for client in list(self.behind)[:_SLICES]:
            del self.behind[client]
            self.catch_up(step, client)
        for _ in range(_SLICES):
            if not self.asked:
                break
            peer = next(iter(self.asked))
            slices = self.asked.pop(peer)
            step.needs.append(Ends(peer.address, tuple(dict.fromkeys(slices.popleft())), REPLAY_BYTES))
            if slices:
                self.asked[peer] = slices

    def owes(self) -> bool:
        """Whether `go_on` has something to do."""
        return bool(self.behind or self.asked)

    def tell(self, step: Step) -> None:
        """Push what this step ended or changed."""
        for session, events in step.ends.items():
            client = self.by_number.get(session)
            if client is not None and client.live and client.peer is not None:
                fresh = events if events[0][1] > client.told else [e for e in events if e[1] > client.told]
                if len(fresh) > client.allowance():
                    client.live = False
                    self.catch_up(step, client)
                elif fresh:
                    self._push(step, client, fresh)
            if self.watchers:
                self._tell_watchers(step, events, session)
        for session, changes in step.changes.items():
            client = self.by_number.get(session)
            if client is not None and client.peer is not None and client.watching:
                step.say(client.peer, Events([], [], changes))
            if self.watchers:
                for change in changes:
                    for peer in self.watchers.get(change[0], ()):
                        if peer.session.number != session:
                            step.say(peer, Events([], [], [change]))
        step.ends, step.changes = {}, {}

    def _tell_watchers(self, step: Step, events: list[Any], session: int) -> None:
        for event in events:
            for peer in self.watchers.pop(event[0], ()):
                self._watched[peer].discard(event[0])
                if peer.session.number != session:
                    # finish 0: it is not one of this session's own, whose numbers the client counts
                    step.say(peer, Events([[event[0], 0, *event[2:]]]))

    def _push(self, step: Step, client: ClientSession, events: list[Any]) -> None:
        assert client.peer is not None
        for part in parted(events):
            self._send(step, client, client.peer, part)

    def _send(self, step: Step, client: ClientSession, peer: Peer, events: list[Any]) -> None:
        client.told = events[-1][1]
        client.unconsumed.append((client.told, len(events)))
        client.outstanding += len(events)
        step.say(peer, Events(events))


def parted(events: list[Any]) -> Iterator[list[Any]]:
    """Ends in parts of bounded size, each for one EVENTS."""
    start = size = 0
    for index, event in enumerate(events):
        size += _EVENT_BYTES + len(event[3]) + weight(event[4])
        if size > _MESSAGE_BYTES:
            yield events[start : index + 1]
            start, size = index + 1, 0
    if start < len(events):
        yield events[start:]
