"""A TCP relay that can hold back what passes in one direction or both, as a partition does: nothing is cut, nothing
arrives, and what was on its way comes late.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Direction:
    """One way of every connection: an event that lets bytes pass, and a count of those that did."""

    def __init__(self) -> None:
        self.passes = threading.Event()
        self.passes.set()
        self.bytes = 0


class Relay:
    """Listens on a port of its own and passes on to a target.

    Attributes:
        address: Where it listens, as an address of a pool.
        up: Towards the target.
        down: Back from it.
        connections: How many were made.
    """

    def __init__(self, target: str) -> None:
        place, _, port = target.removeprefix("tcp://").rpartition(":")
        self._target = (place, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.up, self.down = Direction(), Direction()
        self.connections = 0
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, *directions: Direction) -> None:
        """Let nothing pass from now on."""
        for direction in directions or (self.up, self.down):
            direction.passes.clear()

    def heal(self) -> None:
        """Let everything pass, also what was held back."""
        self.up.passes.set()
        self.down.passes.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        self.up.passes.wait()  # a new connection does not get through either
        self.down.passes.wait()
        self._sockets.append(near)
        try:
            far = socket.create_connection(self._target, timeout=5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self._sockets.append(far)
        self.connections += 1
        for source, sink, direction in ((near, far, self.up), (far, near, self.down)):
            threading.Thread(target=self._pump, args=(source, sink, direction), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                direction.passes.wait()
                sink.sendall(data)
                direction.bytes += len(data)
        direction.passes.wait()  # nor does the news of an end get through
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Break every connection that there is; new ones get through."""
        sockets, self._sockets = self._sockets, []
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it and all that passes through it."""
        self.heal()
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
