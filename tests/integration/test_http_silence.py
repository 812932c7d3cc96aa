"""Who connects to the pages and asks nothing, or asks so slowly that it never ends: others are answered as before."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from workerhost.transport.http import connections
from workerhost.transport.http.server import CONNECTIONS_MAX, Server, bound

SECONDS = 20.0
may_end = threading.Event()


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/long":
        import asyncio

        await asyncio.get_running_loop().run_in_executor(None, may_end.wait, SECONDS)
    await PlainTextResponse("here")(scope, receive, send)


@pytest.fixture
def url() -> Generator[str]:
    may_end.clear()
    server = Server(answer, bound("127.0.0.1:0")).start()
    yield server.url
    may_end.set()
    server.stop()


def connected(url: str) -> socket.socket:
    place = urlsplit(url)
    made = socket.create_connection((place.hostname or "", place.port or 0), SECONDS)
    made.settimeout(SECONDS)
    return made


def test_silent_connections_take_nobodys_place(url: str) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS_MAX + 50):
            stack.enter_context(connected(url))
        assert [httpx.get(url, timeout=SECONDS).status_code for _ in range(3)] == [200, 200, 200]


def test_one_that_is_being_answered_gives_way_to_nobody(url: str) -> None:
    with ExitStack() as stack:
        asking = stack.enter_context(connected(url))
        asking.sendall(b"GET /long HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        for _ in range(CONNECTIONS_MAX + 50):
            stack.enter_context(connected(url))
        assert httpx.get(url, timeout=SECONDS).status_code == 200
        may_end.set()
        assert asking.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: he"])
def test_a_request_that_does_not_come_is_waited_for_so_long(
    url: str, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    with connected(url) as silent:
        silent.sendall(begun)
        assert is_ended(silent)


def test_the_second_request_of_a_connection_is_waited_for_no_longer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    with connected(url) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        said = b""
        while not said.endswith(b"here"):
            said += slow.recv(4096)
        slow.sendall(b"GET ")
        assert is_ended(slow)


def test_an_answer_may_take_longer_than_a_request(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    with connected(url) as asking, connected(url) as silent:
        asking.sendall(b"GET /long HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        assert is_ended(silent)
        may_end.set()
        assert asking.recv(4096).startswith(b"HTTP/1.1 200")


def is_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
