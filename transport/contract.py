"""What a link is, whatever carries it: two protocols, and the two kinds of item that links put into a mailbox.

A link belongs to one actor. It is made, used and closed in that actor's thread; what arrives comes in the batches of
the actor's mailbox. A batch may still hold items of a link that was closed a moment ago: compare `item.link`.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from .keys import KeyPair


class Guard(Protocol):
    """Who may connect to a server beyond this machine, and how it proves itself to them.

    Attributes:
        pair: The server's own identity.
    """

    pair: KeyPair

    def admits(self, public: str, ip: str) -> bool | None:
        """Whether somebody with this public key, who connects from this IP address, may come in; None: not now. Asked
        in the actor's thread at every handshake.
        """
        ...

    def ignores(self, public: str) -> bool:
        """Whether nothing that somebody who came in says is heard at present. The connections over which they speak
        are closed then. Asked in the actor's thread, often.
        """
        ...


class Credentials(NamedTuple):
    """What a peer shows, and what it expects to be shown.

    Attributes:
        server: The supervisor's public key; nobody else will do.
        pair: Its own identity.
    """

    server: str
    pair: KeyPair


class ServerLink(Protocol):
    """The supervisor's end: one address, any number of peers."""

    @property
    def address(self) -> str:
        """Where peers connect to: the real one, with the port that was chosen when 0 was asked for."""
        ...

    def send(self, peer: bytes, body: bytes) -> bool:
        """Queues one message for a peer that has spoken before.

        Returns:
            False if it was not taken: the peer is gone, or it reads so slowly that its queue is full. True is no
            promise of arrival; the numbers of the session show losses.
        """
        ...

    def close(self, flush: float = 0.0) -> None:
        """Gives the address up; may be called twice.

        Args:
            flush: How long (seconds) to wait until what was sent has left. 0 drops what has not.
        """
        ...


class PeerLink(Protocol):
    """The end of a client or host: one connection, made again by itself when it breaks."""

    def send(self, body: bytes) -> bool:
        """Queues one message for the supervisor.

        Returns:
            False if it was not taken because too much is waiting already or nobody is there. True is no promise of
            arrival.
        """
        ...

    def close(self, flush: float = 0.0) -> None:
        """Ends the connection; may be called twice.

        Args:
            flush: How long (seconds) to wait until what was sent has left. 0 drops what has not.
        """
        ...


class Received(NamedTuple):
    """One message. `peer` is the sender's routing id, b"" on a peer's link. A message that is not exactly one frame
    arrives with an empty body, which no codec accepts.
    """

    link: ServerLink | PeerLink
    peer: bytes
    body: bytes


class Opened(NamedTuple):
    """A peer speaks for the first time, as whoever its connection has proved to be: `identity` is a public key, or ""
    where links prove nothing. Comes before the peer's first message; later messages of the same routing id from another
    identity are dropped. `ip`: the IP address it connects from, "" where that is not known.
    """

    link: ServerLink
    peer: bytes
    identity: str
    ip: str = ""


class Denied(NamedTuple):
    """On a peer's link: the server there does not let us in, and has said so. This link is of no more use.

    Attributes:
        link: Whose.
        identity: Whether it was our identity that was not good enough; else it wants one, and we show none.
    """

    link: PeerLink
    identity: bool


class Closed(NamedTuple):
    """A connection is gone: that of a peer that had spoken, or (on a peer's link, `peer` is b"") the one to the server.

    A suspicion, not a proof: the same peer may be back on a new connection, and messages of it may still follow.
    """

    link: ServerLink | PeerLink
    peer: bytes
