"""The client when nobody is there to run anything: no pool, a silent one, one that goes away, and its own exit."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from supervisors import Supervisors, run

from workerhost import Client, ConfigError, PoolRefused, PoolUnreachable, TaskState
from workerhost.bin.main import run as command
from workerhost.transport import codec, link
from workerhost.transport.commands import Request
from workerhost.transport.mailbox import Mailbox
from workerhost.transport.messages import Query, Refused
from workerhost.transport.parcel import Parcel
from workerhost.transport.terms import Terms

SECONDS = 20.0
"""Longer than anything here takes; a test that waits so long has failed."""


def test_an_absent_pool_is_one_error_within_the_timeout() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
    calls: list[Callable[[Client], Any]] = [
        lambda client: client.send("a"),
        lambda client: client.status(),
        lambda client: client.send_soon("a").id,
        lambda client: client.task(1),
    ]
    for call in calls:
        client = Client(address, timeout=0.6)
        began = time.monotonic()
        with pytest.raises(PoolUnreachable, match=r"refused.*workerhost up") as caught:
            call(client)
        assert 0.5 < time.monotonic() - began < 2.0
        assert address in str(caught.value)


def test_something_silent_is_told_from_nothing() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Client(address, timeout=0.5) as client,
            pytest.raises(PoolUnreachable, match="listens there but did not answer"),
        ):
            client.send("a")


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """Listens and answers everything with the same bytes; no supervisor at all."""
    mailboxes: list[tuple[Mailbox, threading.Thread]] = []

    def listen(answer: bytes) -> str:
        mailbox, addresses = Mailbox(), queue.SimpleQueue[str]()

        def serve() -> None:
            server = link.listen("tcp://127.0.0.1:0", mailbox)
            addresses.put(server.address)
            while True:
                for item in mailbox.get().message.items:
                    if item == "stop":
                        server.close()
                        return
                    if isinstance(item, link.Received):
                        server.send(item.peer, answer)

        mailboxes.append((mailbox, threading.Thread(target=serve, daemon=True)))
        mailboxes[-1][1].start()
        return addresses.get(timeout=SECONDS)

    yield listen
    for mailbox, thread in mailboxes:
        mailbox.post("stop")
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_a_client_that_is_refused_hears_why_at_once(answering: Callable[[bytes], str]) -> None:
    refused = codec.encode(Refused("version", "this supervisor speaks protocol 9, the peer 1 to 1"), 0)
    with Client(answering(refused), timeout=SECONDS) as client:
        began = time.monotonic()
        with pytest.raises(PoolRefused, match="speaks protocol 9"):
            client.send("a")
        assert time.monotonic() - began < SECONDS / 2


def test_garbage_is_no_answer(answering: Callable[[bytes], str]) -> None:
    with Client(answering(b"garbage"), timeout=0.5) as client, pytest.raises(PoolUnreachable, match="did not answer"):
        client.status()


def test_a_wait_ends_when_the_pool_stays_away(start: Supervisors) -> None:
    with Client(start(), timeout=0.5) as client:
        handle = client.send("nobody")
        start.stop()
        with pytest.raises(TimeoutError):
            handle.result(timeout=0.1)
        with pytest.raises(PoolUnreachable, match="refused"):
            handle.result(timeout=SECONDS)


def test_a_closed_client_says_so(start: Supervisors) -> None:
    client = Client(start(), timeout=SECONDS)
    handle = client.send("nobody")
    client.close()
    client.close()
    assert handle.state is TaskState.QUEUED
    for call in (client.status, handle.result, lambda: client.send("a")):
        with pytest.raises(RuntimeError, match="closed"):
            call()


def test_only_tasks_are_outstanding() -> None:
    client = Client("memory://nobody", timeout=0.2)
    connection = client._connections.current()  # pyright: ignore[reportPrivateUsage]
    taken = connection.taken
    connection.taken = list  # as if its actor had no turn
    connection.put(Request(Query(0, "status", {})))
    assert connection.outstanding == 0
    connection.put(Parcel(Terms("a"), [b"\xc0", b"\xc0", b"\xc0"], 3))
    assert connection.outstanding == 3
    connection.taken = taken
    with pytest.raises(PoolUnreachable, match="3 tasks are not acknowledged"):
        client.close()


def test_a_question_that_comes_when_the_client_is_closed_is_no_task_that_is_lost(start: Supervisors) -> None:
    client = Client(start(), timeout=SECONDS)
    client.send_soon("nobody")
    connection = client._connections.current()  # pyright: ignore[reportPrivateUsage]
    ended = connection.ended

    def asked_before_the_end() -> None:
        connection.put(Request(Query(0, "status", {})))
        ended()

    connection.ended = asked_before_the_end
    client.close()


def test_a_wrong_address_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERHOST_ADDRESS", "localhost:7470")
    with pytest.raises(ConfigError, match="tcp://HOST:PORT"):
        Client()
    monkeypatch.setenv("WORKERHOST_ADDRESS", "tcp://localhost:7999")
    assert Client().address == "tcp://localhost:7999"
    assert Client("tcp://a:1").address == "tcp://a:1"


@pytest.mark.parametrize("path", ["tcp://*:7470", "ipc:///tmp/" + 130 * "x"])
def test_an_address_that_leads_nowhere_is_a_configuration_error_too(
    path: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    with Client(path, timeout=SECONDS) as client:
        for call in (client.status, lambda: client.send("a"), lambda: client.send_soon("a").id, client.status):
            with pytest.raises(ConfigError, match=r"cannot be used|too long"):
                call()
    assert command(["status", "--address", path]) == 78
    assert time.monotonic() - began < SECONDS / 2
    assert capsys.readouterr().err.startswith(f"workerhost: {path[:40]}")
    assert not caplog.records


# Leaving.

LEAVING = """
import sys
from workerhost import Client
client = Client(sys.argv[1], timeout=30)
handles = [client.send_soon("nobody", i) for i in range(500)]
if len(sys.argv) > 2:
    raise SystemExit(3)
"""


def test_an_interpreter_that_exits_leaves_its_tasks_and_does_not_hang(start: Supervisors) -> None:
    address = start()
    began = time.monotonic()
    assert run(LEAVING, address).returncode == 0
    assert run(LEAVING, address, "by exit").returncode == 3
    assert time.monotonic() - began < 8
    with Client(address, timeout=SECONDS) as client:
        assert client.status()["tasks"]["queued"] == 1000


def test_an_interpreter_exits_soon_when_the_pool_is_absent() -> None:
    began = time.monotonic()
    done = run(LEAVING, "tcp://127.0.0.1:1")
    assert done.returncode == 0
    assert "not acknowledged" in done.stderr
    assert time.monotonic() - began < 8


WITHOUT_DESCRIPTORS = """
import contextlib, os, resource
from workerhost import Client, PoolUnreachable
def call():
    Client("memory://nobody", timeout=0.05).status()
with contextlib.suppress(PoolUnreachable):
    call()  # whatever it imports is there now
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
taken = []
with contextlib.suppress(OSError):
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
try:
    call()
except OSError as error:
    print(error.strerror)
for one in taken:
    os.close(one)
"""


def test_a_client_that_found_no_descriptor_left_does_not_keep_others_from_their_goodbye() -> None:
    done = run(WITHOUT_DESCRIPTORS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Too many open files\n", "")
