"""The HTTP server: uvicorn in a thread of its own, at an address that is known to be ours before it starts."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from typing import Final, Self

import uvicorn
from starlette.types import ASGIApp

from ...workers.errors import ConfigError
from .connections import PatientConnection

CONNECTIONS_MAX: Final = 256
START_SECONDS: Final = 10.0
LEAVE_SECONDS: Final = 2
_SEND_BYTES: Final = 256 * 1024
"""Of an answer in the kernel's hands. That some was taken is seen when about half of this was: see `connections`."""


def place(address: str) -> tuple[str, int]:
    """`127.0.0.1:7471` or `[::1]:7471` -> name and port.

    Raises:
        ConfigError: It is none.
    """
    name, colon, port = address.rpartition(":")
    if not colon or not name or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"monitoring.http: {address!r} is not ADDRESS:PORT, such as 127.0.0.1:7471")
    return name.removeprefix("[").removesuffix("]"), int(port)


def is_local(address: str) -> bool:
    """Whether only this machine reaches a server there."""
    name, _ = place(address)
    if name == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return False


def bound(address: str) -> socket.socket:
    """A socket that listens there. Port 0: any that is free.

    Raises:
        ConfigError: The address is malformed.
        OSError: It cannot be had; another program has the port.
    """
    name, port = place(address)
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        listening.bind((name, port))
        listening.listen(CONNECTIONS_MAX)
    except BaseException:
        listening.close()
        raise
    return listening


class Server:
    """Serves an application until it is stopped.

    Args:
        app: What answers.
        listening: Where (see `bound`); the server closes it.

    Attributes:
        url: Where a browser finds it, without a path.
    """

    def __init__(self, app: ASGIApp, listening: socket.socket) -> None:
        name, port = str(listening.getsockname()[0]), int(listening.getsockname()[1])
        if name in ("0.0.0.0", "::"):  # noqa: S104 -- what is bound to all is shown as this machine's
            name = "::1" if ":" in name else "127.0.0.1"
        self.url = f"http://{f'[{name}]' if ':' in name else name}:{port}"
        config = uvicorn.Config(
            app,
            access_log=False,
            http=PatientConnection,
            lifespan="off",
            limit_concurrency=CONNECTIONS_MAX,
            log_config=None,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=LEAVE_SECONDS,
            ws="none",
        )
        self._listening = listening
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def start(self) -> Self:
        """Begin. What connects meanwhile is answered a moment later."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Answer what has been asked, within two seconds, and end."""
        self._server.should_exit = True
        self._thread.join(LEAVE_SECONDS + START_SECONDS)

    def _serve(self) -> None:
        with self._listening:
            self._server.run(sockets=[self._listening])
