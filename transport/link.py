"""Opens links by address: `tcp://HOST:PORT`, `ipc://PATH`, or `memory://NAME` within one process.

Knows which module carries which kind of address, and nothing else.
"""

from __future__ import annotations

from ..workers.errors import ConfigError
from . import memory_link
from .contract import Closed, Credentials, Denied, Guard, Opened, PeerLink, Received, ServerLink
from .mailbox import Mailbox

__all__ = [
    "Closed",
    "Credentials",
    "Denied",
    "Guard",
    "Opened",
    "PeerLink",
    "Received",
    "ServerLink",
    "connect",
    "listen",
]


def listen(address: str, mailbox: Mailbox, guard: Guard | None = None, *, insecure: bool = False) -> ServerLink:
    """Opens the supervisor's end. Call it in the thread of the actor that owns `mailbox`.

    Args:
        address: Where to listen.
        mailbox: Where news go.
        guard: Who may connect, encrypted; None: anybody who can reach the address, which then stays on this machine.
        insecure: It need not stay on this machine.

    Raises:
        ConfigError: The address is malformed, in use, not usable here, or reaches beyond this machine.
    """
    kind, rest = _split(address)
    if kind == "memory":
        return memory_link.listen(rest, mailbox)
    from . import zmq_link  # an embedded pool does without ZeroMQ's sockets

    return zmq_link.listen(address, mailbox, guard, insecure=insecure)


def connect(address: str, mailbox: Mailbox, credentials: Credentials | None = None) -> PeerLink:
    """Opens a client's or host's end, with a new random routing id. Nobody need be there yet.

    Call it in the thread of the actor that owns `mailbox`.

    Raises:
        ConfigError: The address is malformed.
    """
    kind, rest = _split(address)
    if kind == "memory":
        return memory_link.connect(rest, mailbox)
    from . import zmq_link

    return zmq_link.connect(address, mailbox, credentials)


def _split(address: str) -> tuple[str, str]:
    kind, _, rest = address.partition("://")
    if kind not in ("tcp", "ipc", "memory") or not rest:
        raise ConfigError(f"{address!r} is no address; write tcp://HOST:PORT, ipc://PATH or memory://NAME")
    return kind, rest
