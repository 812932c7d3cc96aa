"""A backup of a pool that is at work, and its restore: what was accepted is there, and zombies are told so."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq

from workerhost import Client, WorkerHostError, worker
from workerhost.actors.host import Host, HostSettings
from workerhost.transport.codec import decode, encode
from workerhost.transport.messages import Claim, Hello, Recorded, Results, Stop, Tasks, Welcome

SECONDS = 20.0


@worker("copy.length")
def length(text: str) -> int:
    return len(text)


class Zombie:
    """A host that holds one task through everything, and reports it at the end."""

    def __init__(self, address: str) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.address, self.session = address, os.urandom(16)
        self.socket = self.context.socket(zmq.DEALER)
        self.number = 0

    def join(self, running: list[Any]) -> None:
        self.socket.close(0)
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.ROUTING_ID, b"\x01" + os.urandom(16))
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(self.address)
        self.number = 0
        offer = {"types": ["copy.held", "copy.length"], "slots": {"": 1}, "running": running, "finished": []}
        self.say(Hello("host", [1, 1], self.session, "zombie", offer))
        self.hear(Welcome)

    def say(self, message: Any) -> None:
        self.socket.send(encode(message, self.number))
        self.number += 1

    def hear(self, kind: type[Any]) -> Any:
        while self.socket.poll(int(SECONDS * 1000)):
            _, message = decode(self.socket.recv())
            if isinstance(message, kind):
                return message
        raise AssertionError(f"no {kind.__name__}")

    def close(self) -> None:
        self.socket.close(0)
        self.context.term()


class House:
    """A supervisor process on a database, and commands about it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.database = folder / "tasks.db"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"

    def supervise(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "workerhost", "supervisor", "--bind", self.address]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen([*command, "--database", str(self.database)], cwd=self.folder, stderr=log)
        self.stack.callback(process.wait, SECONDS)
        self.stack.callback(process.kill)
        self.client().status()
        return process

    def client(self) -> Client:
        return self.stack.enter_context(Client(self.address, timeout=SECONDS))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "workerhost", *command],
            cwd=self.folder, env={**os.environ, "WORKERHOST_ADDRESS": self.address},
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip

    def host(self) -> None:
        settings = HostSettings(
            address=self.address,
            slots={"": 2},
            isolation="inline",
            workers=(length, worker("copy.held")(lambda: "run")),
        )
        host = Host.start(settings)
        self.stack.callback(host.join, SECONDS)
        self.stack.callback(host.stop)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path, stack)


class Load:
    """A client that sends without pause until the end of the block."""

    def __init__(self, client: Client) -> None:
        self.client, self.over, self.sent = client, threading.Event(), 0
        self.thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        while not self.over.is_set():
            self.client.send_many("copy.length", [{"text": "meanwhile" * 20}] * 200)
            self.sent += 200

    def __enter__(self) -> Load:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()


def test_what_was_accepted_before_a_backup_survives_a_restore_and_a_zombie_changes_nothing(house: House) -> None:
    process = house.supervise()
    client = house.client()
    zombie = Zombie(house.address)
    house.stack.callback(zombie.close)
    held = client.send("copy.held").id
    zombie.join([])
    zombie.say(Claim({"": 1}))
    fence = zombie.hear(Tasks).groups[0][1][0][1]
    handles = client.send_many("copy.length", [{"text": "x" * 100}] * 2000)
    before = [held, *(handle.id for handle in handles)]
    with Load(house.client()) as load:
        made = house.run("backup", "copy.db", "--json")
        assert made.returncode == 0, made.stderr
    assert load.sent > 0
    lost = client.send("copy.length", {"text": "after the backup"}).id

    refused = house.run("restore", "copy.db", "--database", "tasks.db")
    assert refused.returncode == 78
    assert "a supervisor has this database open" in refused.stderr
    assert client.status()["tasks"]["running"] == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0
    restored = house.run("restore", "copy.db", "--database", "tasks.db")
    assert restored.returncode == 0, restored.stderr
    assert "unfinished tasks" in restored.stderr

    house.supervise()
    client = house.client()
    zombie.join([[held, fence]])
    assert zombie.hear(Stop).items == [[held, fence]]
    zombie.say(Results([[held, fence, 0, b"\xa3old", 0.1, 0, None]]))
    assert zombie.hear(Recorded).stale == [[held, fence]]

    house.host()
    for id in before:
        assert client.task(id).wait(SECONDS)
    assert client.task(held).result(SECONDS) == "run"
    assert next(attempt["outcome"] for attempt in client.show(held)["attempts"]) == "restored"
    assert client.send("copy.length", {"text": "new"}).id > lost


def test_turns_stay_short_while_a_copy_is_made(house: House) -> None:
    house.supervise()
    client = house.client()
    client.send_many("copy.length", [{"text": "x" * 900_000} for _ in range(60)])
    waits: list[float] = []
    done = threading.Event()

    def copy() -> None:
        with Client(house.address, timeout=SECONDS) as other:
            other.backup("copy.db")
        done.set()

    thread = threading.Thread(target=copy)
    thread.start()
    seen: list[float] = []
    while not done.is_set():
        began = time.monotonic()
        backup = client.status()["supervisor"]["backup"]
        waits.append(time.monotonic() - began)
        seen += [backup["copied"]] if backup else []
    thread.join()

    assert seen == sorted(seen)
    assert any(0 < fraction < 1 for fraction in seen)
    assert sorted(waits)[len(waits) // 2] < 0.02
    assert (house.folder / "copy.db").stat().st_size > 50_000_000  # relative: beside the database


def test_a_backup_that_cannot_be_made_says_why(house: House) -> None:
    house.supervise()
    client = house.client()
    with pytest.raises(WorkerHostError, match="its folder is not there"):
        client.backup("no/where.db")
    assert house.run("backup", "tasks.db").returncode == 1
    made = house.run("backup", "copy.db")
    assert made.returncode == 0, made.stderr
    again = house.run("backup", "copy.db")
    assert again.returncode == 1
    assert "is there already" in again.stderr
