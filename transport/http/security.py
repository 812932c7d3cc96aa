"""Who may use the pages: requests that another site's page makes are refused, and what changes something needs a token.

Stands around the whole application, so that every answer, an error's too, bears the headers that tell a browser what
it may do. A page of a stranger that is open in the same browser can send requests to this address: it is known by the
Host it used (a name that was made to point here) and by its Origin.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import Problem

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_LOCAL_NAMES: Final = frozenset({"localhost"})


class Guarded:
    """An application behind the check of Host and Origin.

    Args:
        app: What answers.
        local: It is reached from this machine only, so that no other name than the machine's own is right.
    """

    def __init__(self, app: ASGIApp, *, local: bool) -> None:
        self._app, self._local = app, local
        self._names = _LOCAL_NAMES if local else _LOCAL_NAMES | _own_names()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self._check(scope)
        except Problem as problem:
            return await problem.answer()(scope, receive, with_headers)
        return await self._app(scope, receive, with_headers)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            raise Problem(421, f"this server is not {', '.join(hosts) or 'without a name'}; use {self._hint()}")
        schemes = {scope["scheme"]} if self._local else {"http", "https"}  # what encrypts stands in front of us
        for origin in headers.getlist("origin"):
            if origin not in {f"{scheme}://{hosts[0]}" for scheme in schemes}:
                raise Problem(403, f"requests from pages of {origin} are refused")
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            raise Problem(403, "requests from pages of other sites are refused")

    def _is_ours(self, host: str) -> bool:
        name = _without_port(host.lower())
        return name in self._names or _is_address(name, loopback=self._local)

    def _hint(self) -> str:
        return "its address in numbers, such as http://127.0.0.1" if self._local else "its address or its name"


def authorised(headers: Headers, token: str) -> None:
    """Check that a request bears the token.

    Raises:
        Problem: It does not.
    """
    kind, _, given = headers.get("authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode(), token.encode())
    if kind.lower() != "bearer" or not right:
        raise Problem(
            401,
            "this needs `Authorization: Bearer TOKEN`; `workerhost up` prints the dashboard's address with the token "
            "behind #, and the file http.token in ~/.workerhost (or $WORKERHOST_HOME) holds it",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isascii() and port.isdigit() else host


def _is_address(name: str, *, loopback: bool) -> bool:
    """Whether it is written in numbers: no name service can have made it point here. With `loopback`, of this machine
    alone.
    """
    try:
        found = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return found.is_loopback or not loopback


def _own_names() -> frozenset[str]:
    names: Iterable[str] = (socket.gethostname(), socket.getfqdn())
    return frozenset(name.lower() for name in names if name)
