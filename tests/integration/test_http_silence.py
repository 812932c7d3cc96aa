"""Who connects to the pages and asks nothing, asks so slowly that it never ends, or takes no answer: others are
answered as before.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from workerhost.transport.http import connections, server
from workerhost.transport.http.server import CONNECTIONS_MAX, Server, bound

SECONDS = 20.0
BIG = "x" * (16 << 20)
"""More than the system keeps for a reader."""

ASK_FOR_IT = b"GET /big HTTP/1.1\r\nHost: here\r\n\r\n"
is_asked, may_end, answered = threading.Event(), threading.Event(), threading.Semaphore(0)


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/long":
        import asyncio

        is_asked.set()
        await asyncio.get_running_loop().run_in_executor(None, may_end.wait, SECONDS)
    await PlainTextResponse(BIG if scope["path"] == "/big" else "here")(scope, receive, send)
    answered.release()


@contextmanager
def served() -> Generator[str]:
    is_asked.clear()
    may_end.clear()
    while answered.acquire(blocking=False):
        pass
    running = Server(answer, bound("127.0.0.1:0")).start()
    yield running.url
    may_end.set()
    running.stop()


@pytest.fixture
def url() -> Generator[str]:
    with served() as found:
        yield found


def connected(url: str) -> socket.socket:
    place = urlsplit(url)
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
    made.settimeout(SECONDS)
    made.connect((place.hostname or "", place.port or 0))
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
        assert is_asked.wait(SECONDS)
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


def test_one_that_takes_no_answer_gives_way_to_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 8)
    with ExitStack() as stack:
        url = stack.enter_context(served())
        for _ in range(7):
            deaf = stack.enter_context(connected(url))
            deaf.sendall(ASK_FOR_IT * 2)
            assert deaf.recv(1) == b"H"
        assert [httpx.get(url, timeout=SECONDS).status_code for _ in range(10)] == [200] * 10


def test_an_answer_is_held_ready_so_long(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.2)
    with connected(url) as deaf:
        for _ in range(2):  # the second waits behind the first
            deaf.sendall(ASK_FOR_IT)
            assert answered.acquire(timeout=SECONDS)
        assert sum(map(len, iter(lambda: deaf.recv(1 << 20), b""))) < len(BIG)


def test_an_answer_may_be_taken_slowly(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.6)
    with connected(url) as slow:
        slow.sendall(ASK_FOR_IT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        taken, began = 0, time.monotonic()
        while got := slow.recv(1 << 16):
            taken += len(got)
            slowly = min(taken, 3 << 20) / (1 << 20)
            time.sleep(max(0.0, began + slowly - time.monotonic()))  # sleeps: it is a slow one, at first
        assert taken > len(BIG)


def is_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
