"""Disks that are full or fail, and a real supervisor on them: nothing is made up but the size of the disk."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq
from waiting import until

from workerhost import Client, DiskFull, Handle, PoolUnreachable, worker
from workerhost.actors.core.effects import Persist
from workerhost.actors.host import Host, HostSettings
from workerhost.actors.stores.sqlite import SqliteStore
from workerhost.transport.codec import decode, encode
from workerhost.transport.messages import Accepted, Claim, Hello, Submit, Tasks, Welcome

SECONDS = 20.0
MIB = 1024 * 1024


@worker("disk.length")
def length(text: str) -> int:
    return len(text)


class Server:
    """A supervisor as a process of its own, on a database of the test's choice."""

    def __init__(self, folder: Path, database: Path, stack: ExitStack) -> None:
        self.folder, self.database, self.stack = folder, database, stack
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.starts = 0

    def start(self, *before: str) -> subprocess.Popen[bytes]:
        """Start it, and wait until it serves."""
        self.starts += 1
        self.log = self.folder / f"supervisor-{self.starts}.log"
        command = [*before, sys.executable, "-m", "workerhost", "supervisor", "--bind", self.address]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, "--database", str(self.database)], cwd=self.folder, stderr=log)
        self.stack.callback(self.process.wait, SECONDS)
        self.stack.callback(self.process.kill)
        until(
            lambda: "the supervisor listens" in self.said() or self.process.poll() is not None,
            "it serves",
            show=self.said,
        )
        assert self.process.poll() is None, self.said()
        return self.process

    def said(self) -> str:
        return self.log.read_text()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def client(self) -> Client:
        return self.stack.enter_context(Client(self.address, timeout=SECONDS))

    def host(self) -> Host:
        host = Host.start(HostSettings(address=self.address, slots={"": 2}, isolation="inline", workers=(length,)))
        self.stack.callback(host.join, SECONDS)
        self.stack.callback(host.stop)
        return host

    def dealer(self) -> Dealer:
        dealer = Dealer(self.address)
        self.stack.callback(dealer.close)
        return dealer


class Dealer:
    """A peer that speaks the protocol by hand."""

    def __init__(self, address: str) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.ROUTING_ID, b"\x01" + os.urandom(16))
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(address)
        self.number = 0

    def say(self, message: Any) -> None:
        self.socket.send(encode(message, self.number))
        self.number += 1

    def hear(self, kind: type[Any]) -> tuple[Any, bytes]:
        """The next message of a kind, and its frame."""
        while self.socket.poll(int(SECONDS * 1000)):
            frame = self.socket.recv()
            _, message = decode(frame)
            if isinstance(message, kind):
                return message, frame
        raise AssertionError(f"no {kind.__name__}")

    def close(self) -> None:
        self.socket.close()
        self.context.term()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def server(tmp_path: Path, stack: ExitStack) -> Server:
    return Server(tmp_path, tmp_path / "tasks.db", stack)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB, half of it taken by somebody else."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, timeout=10, check=False)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    (disk / "others").write_bytes(bytes(4 * MIB))
    yield disk
    subprocess.run(["umount", "-l", str(disk)], timeout=10, check=True)


@pytest.fixture
def cramped(tmp_path: Path, small: Path, stack: ExitStack) -> Server:
    return Server(tmp_path, small / "tasks.db", stack)


def free(disk: Path) -> int:
    return shutil.disk_usage(disk).free


def accepted_again(client: Client) -> Any:
    """The first task that is taken again."""

    def attempt() -> Any:
        try:
            return client.send("disk.length", {"text": "again"})
        except DiskFull:
            return None

    return until(attempt, "a task is accepted")


def test_below_the_reserve_nothing_new_is_taken_and_what_was_accepted_completes(cramped: Server, small: Path) -> None:
    process = cramped.start()
    client = cramped.client()
    handles: list[Any] = []
    refused: DiskFull | None = None
    while refused is None:
        assert free(small) > MIB // 2
        try:
            handles += client.send_many("disk.length", [{"text": "x" * 5000}] * 10)
        except DiskFull as error:
            refused = error

    assert "less than 1 MiB free" in str(refused)
    assert refused.retry_after == 5.0
    assert handles
    status = client.status()
    assert status["queue"]["disk_low"]
    assert status["notes"][0] == str(refused)
    assert status["supervisor"]["epoch"] == 1  # no commit met a full disk: it was refused in time

    cramped.host()
    assert {handle.result(SECONDS) for handle in handles} == {5000}
    with pytest.raises(DiskFull):
        client.send("disk.length", {"text": "not yet"})

    (small / "others").unlink()
    handles.append(accepted_again(client))
    assert handles[-1].result(SECONDS) == 5
    status = client.status()
    assert not status["queue"]["disk_low"]
    assert status["tasks"]["completed"] == len(handles)
    assert process.poll() is None


def test_a_commit_that_meets_a_full_disk_is_undone_and_the_supervisor_goes_on(cramped: Server, small: Path) -> None:
    process = cramped.start()
    client = cramped.client()
    handles = list(client.send_many("disk.length", [{"text": "x"}] * 100))
    until(lambda: list(small.glob("*-ballast")), "the ballast is there")
    with (small / "more of others").open("wb") as file:
        file.write(bytes(free(small) - 3 * MIB // 2))

    with pytest.raises(DiskFull):  # above the reserve, but far more than there is room for
        client.send_many("disk.length", [{"text": "y" * 900_000}] * 4)

    assert process.poll() is None
    assert '"disk_full"' in cramped.said()
    assert client.status()["supervisor"]["epoch"] > 1
    cramped.host()
    assert [handle.result(SECONDS) for handle in handles] == [1] * 100
    assert not list(small.glob("*-ballast"))

    (small / "others").unlink()
    (small / "more of others").unlink()
    assert accepted_again(client).result(SECONDS) == 5
    assert list(small.glob("*-ballast"))
    assert client.status()["tasks"]["completed"] == 101
    assert process.poll() is None


class Greedy:
    """Somebody who takes every byte of a disk that is given up, at once."""

    def __init__(self, disk: Path) -> None:
        self.file = (disk / "everything").open("wb", buffering=0)
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self._take)
        self.thread.start()

    def _take(self) -> None:
        chunk = bytes(4096)
        while not self.enough.is_set():
            try:
                self.file.write(chunk)
            except OSError:
                time.sleep(0.0001)  # sleeps: the greedy one, between two bites

    def leave(self) -> None:
        self.enough.set()
        self.thread.join()
        self.file.truncate(0)
        self.file.close()


def test_without_any_room_the_supervisor_stays_and_goes_on_when_there_is_some(cramped: Server, small: Path) -> None:
    process = cramped.start()
    client = cramped.client()
    handles = list(client.send_many("disk.length", [{"text": "kept"}] * 1000))
    greedy = Greedy(small)
    try:
        until(lambda: free(small) == 0, "the disk is full")
        cramped.host()
        until(lambda: '"disk_full"' in cramped.said(), "it notices", show=cramped.said)
        until(lambda: not list(small.glob("*-ballast")), "the ballast is given up")
        until(lambda: process.poll() is not None or not answers(cramped), "it has no words for an answer")
    finally:
        greedy.leave()
    check_that_it_goes_on(process, client, small, handles)


def test_a_full_disk_that_its_words_go_to_as_well_does_not_end_the_supervisor(
    tmp_path: Path, small: Path, stack: ExitStack
) -> None:
    server = Server(tmp_path, small / "tasks.db", stack)
    server.folder = small  # workerhost up > up.log 2>&1, where the database is
    process = server.start()
    server.folder = tmp_path
    client = server.client()
    handles = list(client.send_many("disk.length", [{"text": "kept"}] * 1000))
    until(lambda: list(small.glob("*-ballast")), "the ballast is there")
    greedy = Greedy(small)
    try:
        until(lambda: free(small) == 0, "the disk is full")
        with server.log.open("ab") as log:  # the room that its last page has
            log.write(b"\n" * (-server.log.stat().st_size % os.sysconf("SC_PAGE_SIZE")))
        server.host()  # that is a line, too
        until(lambda: not list(small.glob("*-ballast")), "the ballast is given up")
        until(lambda: process.poll() is not None or not answers(server), "it has no words for an answer")
    finally:
        greedy.leave()
    check_that_it_goes_on(process, client, small, handles)


def check_that_it_goes_on(
    process: subprocess.Popen[bytes], client: Client, small: Path, handles: Sequence[Handle[Any]]
) -> None:
    """The supervisor lives without any room, and takes up everything when others leave it some."""
    assert process.poll() is None
    (small / "others").unlink()
    assert {handle.result(SECONDS) for handle in handles} == {4}
    assert accepted_again(client).result(SECONDS) == 5
    assert client.status()["tasks"]["completed"] == len(handles) + 1
    assert process.poll() is None


def answers(server: Server) -> bool:
    with Client(server.address, timeout=0.5) as client:
        try:
            return bool(client.status())
        except PoolUnreachable:
            return False


def test_after_an_error_of_the_disk_nothing_is_acknowledged_and_the_end_says_how_to_restore(server: Server) -> None:
    process = server.start()
    client = server.client()
    handle = client.send("disk.length", {"text": "kept"})
    limit = (server.database.with_name("tasks.db-wal")).stat().st_size
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))  # its next write fails with EFBIG

    lost = client.send_soon("disk.length", {"text": "x" * 10_000})

    assert process.wait(SECONDS) == 74
    last = server.said().splitlines()[-1]
    assert "disk I/O error" in last
    assert "workerhost restore FILE" in last
    assert "Traceback" not in server.said()

    server.start()  # the disk is as it should be again
    server.host()
    assert handle.result(SECONDS) == 4
    assert lost.result(SECONDS) == 10_000  # the client has sent it once more
    assert client.status()["tasks"]["completed"] == 2


def test_damage_met_while_it_serves_ends_the_supervisor_with_74(server: Server) -> None:
    server.start()
    client = server.client()
    handles = client.send_many("disk.length", [{"text": "x" * 20_000}] * 300)
    middle = handles[150].id
    assert server.end() == 0
    process = server.start()
    client.status()
    with server.database.open("r+b") as file:  # another process's write: our own locks are not concerned
        for page in range(300, server.database.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xa5" * 512)

    with pytest.raises(PoolUnreachable):
        Client(server.address, timeout=3.0).show(middle)

    assert process.wait(SECONDS) == 74
    assert "workerhost restore FILE" in server.said().splitlines()[-1]


def test_every_acknowledgement_follows_a_sync_of_the_log(server: Server, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is missing")
    trace = tmp_path / "trace"
    calls = "trace=fdatasync,fsync,sendto,sendmsg,write,recvfrom,recvmsg,read"
    server.start("strace", "-f", "-y", "-xx", "-s", "100000", "-e", calls, "-o", str(trace))
    (traced,) = _children(server.process.pid)
    server.stack.callback(_kill_children, server.process.pid)  # a killed strace would leave it running
    dealer = server.dealer()
    dealer.say(Hello("client", [1, 1], b"s" * 16, "by hand"))
    dealer.hear(Welcome)
    rounds = 5
    asked: list[tuple[bytes, bytes]] = []
    for number in range(1, rounds + 1):
        marker = f"marker-{number}-{os.urandom(8).hex()}".encode()
        dealer.say(Submit(number, number, [["disk.length", 5, None, [marker]]]))
        asked.append((marker, dealer.hear(Accepted)[1]))
    os.kill(traced, signal.SIGKILL)
    server.process.wait(SECONDS)

    lines = trace.read_text().splitlines()
    for marker, answer in asked:
        received = _line(lines, r"(recvfrom|recvmsg|read)", _hex(marker), 0)
        sent = _line(lines, r"(sendto|sendmsg|write)", _hex(answer), received)
        assert _synced(lines[received:sent]), "\n".join(line[:200] for line in lines[received : sent + 1])


def _children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()] if children.exists() else []


def _kill_children(pid: int) -> None:
    for child in _children(pid):
        os.kill(child, signal.SIGKILL)


def _hex(text: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text)


def _line(lines: list[str], call: str, text: str, after: int) -> int:
    for number, line in enumerate(lines[after:], after):
        if text in line and re.search(call, line):
            return number
    raise AssertionError(f"no {call} of it in the trace")


def _synced(lines: list[str]) -> bool:
    """Whether a sync of the log began and ended well in these lines."""
    began: set[str] = set()
    for line in lines:
        thread = line.split()[0]
        if "fdatasync(" in line and _hex(b"tasks.db-wal")[1:] in line.replace("<\\", "<"):
            if line.endswith("= 0"):
                return True
            began.add(thread)
        elif "fdatasync resumed" in line and thread in began and line.endswith("= 0"):
            return True
    return False


@pytest.mark.slow
def test_a_supervisor_killed_with_a_million_queued_tasks_serves_within_two_seconds(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERHOST__QUEUE__MAX_SIZE", "2000000")
    _fill(server.database, 1_000_000)
    server.start()
    server.client().send_many("disk.length", [{"text": "x" * 500}] * 20_000)  # a log for the next start to go through
    server.end(signal.SIGKILL)
    began = time.monotonic()
    command = [sys.executable, "-m", "workerhost", "supervisor", "--bind", server.address]
    with (server.folder / "last.log").open("wb") as log:
        process = subprocess.Popen([*command, "--database", str(server.database)], cwd=server.folder, stderr=log)
    server.stack.callback(process.wait, SECONDS)
    server.stack.callback(process.kill)
    client, host = server.dealer(), server.dealer()
    client.say(Hello("client", [1, 1], b"s" * 16, "by hand"))
    client.hear(Welcome)
    client.say(Submit(1, 1, [["disk.length", 5, None, [b"x"]]]))
    client.hear(Accepted)
    accepted = time.monotonic() - began
    offer = {"types": ["disk.length"], "slots": {"": 1}, "running": [], "finished": []}
    host.say(Hello("host", [1, 1], b"h" * 16, "by hand", offer))
    host.hear(Welcome)
    host.say(Claim({"": 1}))
    host.hear(Tasks)
    granted = time.monotonic() - began
    print(f"accepted after {accepted:.2f} s, granted after {granted:.2f} s")
    assert granted < 2.0


def _fill(database: Path, count: int) -> None:
    store = SqliteStore(database, durability="relaxed")
    store.open()
    for start in range(1, count, 50_000):
        store.begin()
        persist = Persist(meta={"last_id": start + 49_999})
        if start == 1:
            persist.lanes.append((1, "disk.length", "", ""))
        persist.tasks += [
            (id, 1, 5, id, 2, 1, 0, 0, 0, 0, 0, 0, 1.0, None, False, 0, None, None, b"x" * 100)
            for id in range(start, start + 50_000)
        ]
        persist.tallies.append((1, 2, start + 49_999))
        store.apply(persist)
        store.commit()
    store.close()
