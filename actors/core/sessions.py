"""Connections that said HELLO, by their address: what the peers of all roles have in common."""

from __future__ import annotations

from typing import Any, Final, cast

from ...transport.messages import PROTOCOL_VERSION, Welcome
from .step import Peer

ID_MAX: Final = 2**63 - 1
"""The largest number that a store keeps."""
IDS_MAX: Final = 10_000
"""Tasks that one request may name."""
SESSION_BYTES: Final = 16
"""Of what a peer names its session by: with more it could fill the memory and the disk."""


class Sessions:
    """The peers of a supervisor and what it tells them about time.

    Attributes:
        peers: By routing id.
        identities: The keys that connections proved, by routing id.
        ips: The IP addresses they come from, where these are known.
        heartbeat: Seconds between a peer's heartbeats.
        lost_after: Seconds of silence after which a peer is gone.
        durable: The queue outlives the supervisor.
    """

    def __init__(self, epoch: int, heartbeat: float, lost_after: float, *, durable: bool = True) -> None:
        self.durable = durable
        self.epoch, self.heartbeat, self.lost_after = epoch, heartbeat, lost_after
        self.peers: dict[bytes, Peer] = {}
        self.identities: dict[bytes, str] = {}
        self.ips: dict[bytes, str] = {}

    def peer(self, address: bytes, role: str, session: Any, now: float) -> Peer:
        """Somebody said a HELLO that counts."""
        peer = self.peers[address] = Peer(address, role, session, now, self.identities.get(address, ""))
        return peer

    def welcome(self, name: str, settings: dict[str, Any]) -> Welcome:
        """The answer to a good HELLO."""
        return Welcome(PROTOCOL_VERSION, name, self.epoch, self.heartbeat, self.lost_after, settings)


def check_session(session: bytes) -> None:
    """Whether a HELLO names its session as all do.

    Raises:
        ValueError: It does not.
    """
    if len(session) != SESSION_BYTES:
        reason = f"session has {len(session)} bytes; say {SESSION_BYTES} random ones, made when the process starts"
        raise ValueError(reason)


def ids_given(given: Any) -> tuple[int, ...]:
    """Numbers of tasks, each once.

    Raises:
        ValueError: They are too many, or no numbers.
    """
    ids = cast("list[int]", given if isinstance(given, list) else [None])
    if len(ids) > IDS_MAX or not all(type(id) is int for id in ids):
        raise ValueError(f"a list of at most {IDS_MAX} numbers of tasks is needed")
    return tuple(dict.fromkeys(id for id in ids if 0 < id <= ID_MAX))
