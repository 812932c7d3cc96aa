"""How sessions begin and end: who says HELLO, what the store knows of a client, and when a connection is let go.

Owns what is under way between a client's HELLO and the store's word on its session; what a session may do is decided
elsewhere.
"""

from __future__ import annotations

from typing import Any, Final

from ....transport.messages import PROTOCOL_VERSION, Hello, Refused
from ..access.gate import Gate
from ..access.identities import ANYBODY
from ..effects import Resume
from ..hosts.membership import Membership
from ..hosts.offers import offer_of
from ..hosts.tails import Tails
from ..reports import shown
from ..sessions import Sessions, check_session
from ..step import Peer, Step
from ..unfit import Unfit
from .clients import ASKED_MAX, Clients, ClientSession, past_of

_NAME_MAX: Final = 255


class Greetings:
    """Every HELLO, and every end of a connection."""

    def __init__(self, gate: Gate, sessions: Sessions, membership: Membership, clients: Clients, tails: Tails) -> None:
        self._gate, self._sessions, self._membership = gate, sessions, membership
        self._clients, self._tails = clients, tails
        self._greeted: dict[bytes, tuple[bytes, int]] = {}  # tokens and pasts of clients that are being looked up

    def hello(self, step: Step, address: bytes, hello: Hello) -> None:
        """Somebody wants a session: in its own role, with a version that is spoken here.

        Raises:
            ValueError: The HELLO is malformed; so do the other errors of `Pool`.
        """
        low, high = (*hello.versions, 0, 0)[:2]
        if not low <= PROTOCOL_VERSION <= high:
            reason = f"this supervisor speaks protocol {PROTOCOL_VERSION}, the peer {low} to {high}"
            step.say_first(address, Refused("version", reason))
            return
        check_session(hello.session)
        if hello.role == "host" and self._membership.is_old(hello):
            return
        if (heard := self._gate.greets(step, address, hello)) is None:
            return
        hello = heard
        if (old := self._sessions.peers.get(address)) is not None:
            self.drop(old)
        if hello.role == "host":
            try:
                self._membership.hello(step, address, hello, offer_of(hello.offer))
            except ValueError as error:
                step.say_first(address, Refused("forbidden", str(error)))
        elif hello.role in ("client", "observer", "admin"):
            # It has no session until the store has said whether it is an old one.
            self._sessions.peer(address, hello.role, None, step.now)
            self._greeted[address] = hello.session, past_of(hello.offer)
            step.needs.append(Resume(address, hello.session, hello.name[:_NAME_MAX]))
        else:
            step.say_first(address, Refused("forbidden", f"no role {shown(hello.role)}"))
        self._gate.remember(step, address)

    def resumed(self, step: Step, need: Resume, rows: list[Any]) -> None:
        """What the store knows of a client session: it is welcome, and repeated submissions will be recognised."""
        peer = self._sessions.peers.get(need.peer)
        token, past = self._greeted.get(need.peer, (b"", 0))
        if peer is None or peer.session is not None or token != need.token:
            return
        del self._greeted[need.peer]
        whose = rows[0][3] if rows else ANYBODY
        if peer.identity and whose not in (ANYBODY, peer.identity):
            self.drop(peer)
            step.say_first(need.peer, Refused("forbidden", "this session belongs to another identity"))
            return
        old = self._clients.by_token.get(need.token)
        if old is not None and old.peer is not None and old.peer is not peer:
            self.drop(old.peer)
        client = ClientSession(0, need.token, need.name, identity=peer.identity or whose)
        try:
            if rows:
                client.number, client.below, known, _ = rows[0]
                for number, *answer in known:
                    client.keep(number, tuple(answer))
                self._clients.check_kept(client.identity, client.kept_bytes())
            else:
                self._gate.check_new(peer, step.now)
                self._clients.last_session = client.number = self._clients.last_session + 1
                client.below = past + 1 if past else 0
        except Unfit as unfit:
            self.drop(peer)
            step.say_first(need.peer, Refused(unfit.code, unfit.reason))
            return
        step.persist.sessions.append(client.row(step.wall))
        peer.session, client.peer = client, peer
        self._clients.add(client)
        news = {"forgotten": True} if past and not rows else {}
        if not self._sessions.durable:
            news["durable"] = False
        step.say_first(peer.address, self._sessions.welcome(client.name, news))

    def closed(self, address: bytes, now: float) -> None:
        """A connection closed: suspicion for a host, the end for a client's session here (it may come back)."""
        peer = self._sessions.peers.get(address)
        if peer is None:
            return
        if peer.role == "host":
            self._membership.closed(peer, now)
        else:
            self.drop(peer)

    def go_on(self, step: Step) -> None:
        """Clients are told more of what they are owed, but who asked for more than can be kept is let go."""
        for peer in self._clients.greedy():
            self.drop(peer)
            reason = f"more than {ASKED_MAX} ended tasks that were asked about by id are not told yet"
            step.say_first(peer.address, Refused("quota", f"{reason}: ask for fewer at a time"))
        self._clients.go_on(step)

    def drop(self, peer: Peer) -> None:
        """A session's connection is no longer believed; the peer says HELLO again. A host's leases stay."""
        self._sessions.peers.pop(peer.address, None)
        self._greeted.pop(peer.address, None)
        if peer.role == "host":
            self._membership.unheard(peer)
        else:
            self._clients.gone(peer)
            self._tails.gone(peer)
