"""One step of a turn: what has been decided so far, collected so that a batch costs little more than a task."""

from __future__ import annotations

from typing import Any

from ...transport.messages import Message
from .effects import Answer, Backup, Effect, Need, Note, Params, Persist, Reread, Send


class Peer:
    """One connection that said HELLO: the numbering of its messages and when it was last heard.

    Attributes:
        address: The routing id of its connection.
        role: `host`, `client`, `observer` or `admin`.
        identity: The public key that its connection proved, or "".
        serve: The subtrees that its identity might claim when it said HELLO; empty: all.
        seen: Number of the last message received.
        sent: Number of the last message sent.
        heard: When it was last heard, by `now`.
        session: The host or client that speaks; None until the store has said whether a client is an old one.
    """

    __slots__ = ("address", "heard", "identity", "role", "seen", "sent", "serve", "session")

    def __init__(self, address: bytes, role: str, session: Any, now: float, identity: str = "") -> None:
        self.address, self.role, self.session, self.heard, self.identity = address, role, session, now, identity
        self.serve: tuple[str, ...] = ()
        self.seen = self.sent = 0

    @property
    def owner(self) -> str | None:
        """Whose tasks it may know of: its own identity's if it is a client's, None for all."""
        return self.identity if self.identity and self.role == "client" else None


class Step:
    """Collects the effects of one call into the core; `effects` puts them in the order in which they must be done."""

    __slots__ = (
        "again",
        "changes",
        "ends",
        "later",
        "needs",
        "now",
        "persist",
        "resumed",
        "speech",
        "spliced",
        "unloaded",
        "wall",
    )

    def __init__(self, now: float, wall: float) -> None:
        self.now, self.wall = now, wall
        self.persist = Persist()
        self.needs: list[Need] = []
        self.unloaded: list[int] = []
        self.resumed: list[int] = []
        self.spliced: dict[int, bytes] = {}
        self.speech: list[Send | Answer | Backup | Reread | Note] = []
        self.later: list[tuple[Peer, Message]] = []  # what nobody waits for: said when all else is
        self.again: dict[int, int] = {}  # client session -> tasks of it that run once more by hand
        self.ends: dict[int, list[Any]] = {}  # client session -> items of EVENTS.finished
        self.changes: dict[int, list[Any]] = {}  # client session -> items of EVENTS.states

    def say(self, peer: Peer, message: Message) -> None:
        """Send a numbered message of a session."""
        peer.sent += 1
        self.speech.append(Send(peer.address, peer.sent, message))

    def answer(
        self, peer: Peer, request: int, what: str, arguments: dict[str, Any], live: dict[int, dict[str, Any]]
    ) -> None:
        """Send a REPLY that needs the store."""
        peer.sent += 1
        self.speech.append(Answer(peer.address, peer.sent, request, what, arguments, live, peer.owner))

    def say_first(self, address: bytes, message: Message) -> None:
        """Send a message outside any session's numbering (WELCOME, REFUSED)."""
        self.speech.append(Send(address, 0, message))

    def note(self, level: str, event: str, **fields: Any) -> None:
        """One line for the log."""
        self.speech.append(Note(level, event, fields))

    def effects(self) -> list[Effect]:
        """What was decided: writes, then needs that read what was written, then speech for after the commit."""
        effects: list[Effect] = []
        if self.persist != _NOTHING:
            effects.append(self.persist)
        effects += self.needs
        if self.unloaded or self.resumed:
            effects.append(Params(tuple(self.unloaded), tuple(self.resumed), self.spliced))
        effects += self.speech
        return effects


_NOTHING = Persist()
