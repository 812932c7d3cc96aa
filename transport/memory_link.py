"""Links within one process: the twin of the ZeroMQ links, for embedded pools and tests. No socket, no thread.

Keeps to the same contract: bounded queues, a refusal instead of a silent drop, a peer that finds a restarted server by
itself. Bodies stay bytes, so both kinds run the same codec.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import Final

from ..workers.errors import ConfigError
from .contract import Closed, Received
from .mailbox import BATCH_BYTES_MAX, BATCH_ITEMS_MAX, Mailbox

HIGH_WATER: Final = 1000
"""Messages that may wait in one direction of one connection, as on a ZeroMQ link."""

_servers: dict[str, MemoryServerLink] = {}
_lock = threading.Lock()  # guards `_servers` and every server's table of peers


def listen(name: str, mailbox: Mailbox) -> MemoryServerLink:
    """Opens a server under a name of this process.

    Raises:
        ConfigError: The name is in use.
    """
    with _lock:
        if name in _servers:
            raise ConfigError(f"memory://{name} is in use in this process; close the other pool or choose another name")
        server = _servers[name] = MemoryServerLink(name, mailbox)
    return server


def connect(name: str, mailbox: Mailbox) -> MemoryPeerLink:
    """Opens a peer of the server of that name. The server need not be there yet."""
    return MemoryPeerLink(name, mailbox)


class _Pipe:
    """One direction of one connection: written in one thread, drained in the receiver's."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._items: deque[Received | Closed] = deque()
        self._rung = False
        self.open = True

    def push(self, item: Received) -> bool:
        if not self.open or len(self._items) >= HIGH_WATER:
            return False
        self._append(item)
        return True

    def finish(self, item: Closed) -> None:
        """The last item; it passes even when the pipe is full."""
        if self.open:
            self._append(item)

    def close(self) -> None:
        """The receiver is gone."""
        self.open = False
        self._items.clear()

    def _append(self, item: Received | Closed) -> None:
        self._items.append(item)
        if not self._rung:
            self._rung = True
            self._mailbox.ring(self._drain)

    def _drain(self) -> list[Received | Closed]:
        self._rung = False  # before taking: what is pushed after this rings again
        items: list[Received | Closed] = []
        room = BATCH_BYTES_MAX
        while self._items and len(items) < BATCH_ITEMS_MAX and room > 0:
            item = self._items.popleft()
            items.append(item)
            room -= len(item.body) if isinstance(item, Received) else 0
        if self._items and not self._rung:
            self._rung = True
            self._mailbox.ring(self._drain)
        return items


class MemoryServerLink:
    """A `ServerLink` within the process."""

    def __init__(self, name: str, mailbox: Mailbox) -> None:
        self._name, self._mailbox = name, mailbox
        self._peers: dict[bytes, MemoryPeerLink] = {}
        self._pipes: dict[bytes, _Pipe] = {}
        self._open = True

    @property
    def address(self) -> str:
        """Where peers connect to."""
        return f"memory://{self._name}"

    def send(self, peer: bytes, body: bytes) -> bool:
        """See `ServerLink.send`."""
        link = self._peers.get(peer)
        return link is not None and link.deliver(body)

    def close(self, flush: float = 0.0) -> None:  # noqa: ARG002  # what was sent is already with its receiver
        """See `ServerLink.close`."""
        with _lock:
            if _servers.get(self._name) is self:
                del _servers[self._name]
            self._open = False
            self._peers.clear()
            pipes = list(self._pipes.values())
            self._pipes.clear()
        for pipe in pipes:
            pipe.close()

    def admit(self, peer: bytes, link: MemoryPeerLink) -> _Pipe | None:
        """Takes up a connection (called by the peer's end). None: this server is closed."""
        with _lock:
            if not self._open:
                return None
            self._peers[peer] = link
            pipe = self._pipes[peer] = _Pipe(self._mailbox)
        return pipe

    def dismiss(self, peer: bytes) -> None:
        """Ends a connection (called by the peer's end)."""
        with _lock:
            self._peers.pop(peer, None)
            pipe = self._pipes.pop(peer, None)
        if pipe is not None:
            pipe.finish(Closed(self, peer))


class MemoryPeerLink:
    """A `PeerLink` within the process. A server that is closed and opened again is found at the next `send`."""

    def __init__(self, name: str, mailbox: Mailbox) -> None:
        self._name = name
        self._peer = b"\x01" + os.urandom(16)
        self._down = _Pipe(mailbox)
        self._server: MemoryServerLink | None = None
        self._up: _Pipe | None = None
        self._open = True

    def send(self, body: bytes) -> bool:
        """See `PeerLink.send`. Nothing is kept for a server that is not there."""
        if not self._open:
            return False
        if self._up is None or not self._up.open:
            self._server = _servers.get(self._name)
            self._up = self._server.admit(self._peer, self) if self._server is not None else None
        if self._up is None or self._server is None:
            return False
        return self._up.push(Received(self._server, self._peer, body))

    def close(self, flush: float = 0.0) -> None:  # noqa: ARG002  # what was sent is already with its receiver
        """See `PeerLink.close`."""
        self._open = False
        self._down.close()
        if self._server is not None:
            self._server.dismiss(self._peer)

    def deliver(self, body: bytes) -> bool:
        """Takes a message from the server (called by its end)."""
        return self._down.push(Received(self, b"", body))
