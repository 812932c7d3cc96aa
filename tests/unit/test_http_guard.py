"""Whose requests are let through, by the Host and the Origin that they bear."""

from __future__ import annotations

import asyncio

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message

from workerhost.transport.http.security import Guarded


def status(host: str, origin: str = "", *, local: bool) -> int:
    """Of the answer to a request that bears them."""
    headers = [(b"host", host.encode()), *[(b"origin", origin.encode())] * bool(origin)]
    scope = {"type": "http", "method": "POST", "scheme": "http", "path": "/", "headers": headers}
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(Guarded(PlainTextResponse("here"), local=local)(scope, receive, send))
    return sent[0]["status"]


def test_the_own_page_is_let_through_whether_something_in_front_encrypts_or_not() -> None:
    for scheme in ("http", "https"):
        assert status("192.0.2.7:7471", f"{scheme}://192.0.2.7:7471", local=False) == 200
    assert status("192.0.2.7", "https://192.0.2.7", local=False) == 200


@pytest.mark.parametrize(
    "origin", ["https://192.0.2.8", "https://192.0.2.7:8443", "https://evil.example", "ftp://192.0.2.7", "null"]
)
def test_a_page_of_another_host_or_port_is_not(origin: str) -> None:
    assert status("192.0.2.7", origin, local=False) == 403


def test_what_only_this_machine_reaches_has_nothing_in_front_that_encrypts() -> None:
    assert status("127.0.0.1:7471", "http://127.0.0.1:7471", local=True) == 200
    assert status("127.0.0.1:7471", "https://127.0.0.1:7471", local=True) == 403


@pytest.mark.parametrize("host", ["127.0.0.2:7471", "127.0.0.1", "127.255.255.254", "[::1]:7471", "localhost:7471"])
def test_every_address_of_this_machine_alone_is_its_own(host: str) -> None:
    assert status(host, local=True) == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.2.evil.example", "127.1", "128.0.0.1", "192.0.2.7", "[::2]", "evil.example", "0x7f000002"]
)
def test_but_no_other_address_and_no_name_that_could_be_made_to_point_to_one(host: str) -> None:
    assert status(host, local=True) == 421
