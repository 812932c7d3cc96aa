"""A stranger that speaks ZMTP 3 by hand, byte by byte (ZeroMQ RFC 23): after its handshake, whatever it says arrives.

libzmq ends a connection that says a frame before it has heard the other side's READY, or whose sizes are wrong by one:
so sizes are computed here, and nowhere else.
"""

from __future__ import annotations

import socket
from typing import Final

SECONDS: Final = 5.0
"""For each answer."""
MORE, LONG, COMMAND = 1, 2, 4


def frame(body: bytes, flags: int = 0) -> bytes:
    """A frame as it travels: `MORE` if others of its message follow, `COMMAND` if it is none of a message."""
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | LONG]) + len(body).to_bytes(8, "big") + body


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value


GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY: Final = frame(b"\x05READY" + _property(b"Socket-Type", b"DEALER") + _property(b"Identity", b""), COMMAND)
TOO_LARGE: Final = bytes([LONG]) + b"\xff" * 8
"""The head of a frame of 2**64 - 1 bytes."""


def knock(address: str) -> socket.socket:
    """A connection on which nothing has been said.

    Args:
        address: `tcp://HOST:PORT`.
    """
    place, _, port = address.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((place, int(port)), SECONDS)


def introduce(connection: socket.socket) -> None:
    """Say who one is, and hear who the other side is: what is said from now on are frames.

    Raises:
        OSError: It says nothing in time, or is gone.
    """
    connection.sendall(GREETING + READY)
    _exactly(connection, len(GREETING))
    flags, body = hear(connection)
    if not (flags & COMMAND and body.startswith(b"\x05READY")):
        raise ConnectionRefusedError(f"the handshake was answered by {body[:60]!r}")


def hear(connection: socket.socket) -> tuple[int, bytes]:
    """The flags and the body of the next frame.

    Raises:
        OSError: None comes in time, or the other side is gone.
    """
    (flags,) = _exactly(connection, 1)
    size = int.from_bytes(_exactly(connection, 8 if flags & LONG else 1), "big")
    return flags, _exactly(connection, size)


def take_leave(connection: socket.socket) -> None:
    """Say nothing more, and wait until the other side has read all and hangs up.

    Raises:
        TimeoutError: It does not.
    """
    try:
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass
    except TimeoutError:
        raise
    except OSError:  # it has hung up already, in the middle of what was said
        return


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise ConnectionResetError("the other side has hung up")
        found += part
    return found
