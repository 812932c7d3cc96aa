"""The ceiling: what this machine could do if a durable task pool had no features at all.

Three processes, as in the pool: a supervisor with one ROUTER socket, a heap and a database that is synced to disk once
a batch; a host that answers each task with its own parameters; and whoever measures. It makes the same commits as the
pool (sent, granted, result stored) before it speaks. It checks nothing, recovers from nothing, and is good for nothing
but comparing.

`python ceiling.py` prints its figures as one JSON line.
"""

import heapq
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, cast

import msgpack  # pyright: ignore[reportMissingTypeStubs]  # it ships none
import zmq

from workerhost.bin.parent import end_with

SEND, SENT, CLAIM, GRANT, ENDED, TOLD = range(6)
TASKS_PER_MESSAGE = 200
IN_FLIGHT = 1000
BATCH_MESSAGES = 256
TASK_TYPE = "bench.nothing"
PARAMS: dict[str, Any] = {"path": "/srv/library/film.mp4", "frame": 1}

TABLE = """
CREATE TABLE task (
    id INTEGER PRIMARY KEY, type TEXT, priority INT, sent REAL, params BLOB, state INT, fence INT, result BLOB
);
CREATE INDEX queued ON task (type, priority DESC, id) WHERE state = 0;
"""


pack = cast("Callable[[Any], bytes]", msgpack.packb)  # pyright: ignore[reportUnknownMemberType]
unpack = cast("Callable[[bytes], Any]", msgpack.unpackb)  # pyright: ignore[reportUnknownMemberType]


class Ledger:
    """One table, one transaction a batch, each on disk before the next line runs."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        for setting in (
            "locking_mode = EXCLUSIVE",
            "journal_mode = WAL",
            "synchronous = FULL",
            "wal_autocheckpoint = 10000",
        ):
            self._database.execute(f"PRAGMA {setting}")
        self._database.executescript(TABLE)

    def commit(self, sent: list[Any], granted: list[Any], ended: list[Any]) -> None:
        execute_many = self._database.executemany
        self._database.execute("BEGIN IMMEDIATE")
        execute_many("INSERT INTO task VALUES (?, ?, ?, ?, ?, 0, 0, NULL)", sent)
        execute_many("UPDATE task SET state = 1, fence = ? WHERE id = ?", granted)
        execute_many("UPDATE task SET state = 2, result = ? WHERE id = ?", ended)
        self._database.execute("COMMIT")


class Supervisor:
    """Takes a batch of messages, commits what they mean, then answers."""

    def __init__(self, socket: "zmq.Socket[bytes]", ledger: Ledger) -> None:
        self._socket, self._ledger = socket, ledger
        self._queue: list[tuple[int, int]] = []
        self._tasks: dict[int, tuple[bytes, str, bytes]] = {}
        self._free: dict[bytes, int] = {}
        self._last_id = 0
        self._last_fence = 0

    def serve(self) -> None:
        while True:
            self._turn(self._batch())

    def _batch(self) -> list[list[bytes]]:
        batch = [self._socket.recv_multipart()]
        try:
            while len(batch) < BATCH_MESSAGES:
                batch.append(self._socket.recv_multipart(zmq.NOBLOCK))
        except zmq.Again:
            pass
        return batch

    def _turn(self, batch: list[list[bytes]]) -> None:
        sent: list[Any] = []
        ended: list[Any] = []
        answers: list[tuple[bytes, list[Any]]] = []
        for peer, body in batch:
            kind, content = unpack(body)
            if kind == SEND:
                answers.append((peer, [SENT, self._take(peer, content, sent)]))
            elif kind == CLAIM:
                self._free[peer] = content
            else:
                self._free[peer] += len(content)
                answers += self._end(content, ended)
        granted: list[Any] = []
        for host in self._free:
            tasks = self._grant(host, granted)
            if tasks:
                answers.append((host, [GRANT, tasks]))
        if sent or granted or ended:
            self._ledger.commit(sent, granted, ended)
        for peer, answer in answers:
            self._socket.send_multipart((peer, pack(answer)))

    def _take(self, client: bytes, tasks: list[Any], sent: list[Any]) -> int:
        first, now = self._last_id + 1, time.time()
        for number, (task_type, priority, params) in enumerate(tasks, first):
            sent.append((number, task_type, priority, now, params))
            self._tasks[number] = (client, task_type, params)
            heapq.heappush(self._queue, (-priority, number))
        self._last_id += len(tasks)
        return first

    def _grant(self, host: bytes, granted: list[Any]) -> list[Any]:
        tasks: list[Any] = []
        for _ in range(min(self._free[host], len(self._queue))):
            _, number = heapq.heappop(self._queue)
            self._last_fence += 1
            granted.append((self._last_fence, number))
            tasks.append((number, self._last_fence, *self._tasks[number][1:]))
        self._free[host] -= len(tasks)
        return tasks

    def _end(self, results: list[Any], ended: list[Any]) -> list[tuple[bytes, list[Any]]]:
        by_client: dict[bytes, list[Any]] = {}
        for number, result in results:
            client, _, _ = self._tasks.pop(number)
            ended.append((result, number))
            by_client.setdefault(client, []).append((number, result))
        return [(client, [TOLD, told]) for client, told in by_client.items()]


CONTEXT: "zmq.Context[zmq.Socket[bytes]]" = zmq.Context()


def connected(address: str) -> "zmq.Socket[bytes]":
    socket = CONTEXT.socket(zmq.DEALER)
    socket.set_hwm(0)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(address)
    return socket


def run_supervisor(database: str) -> None:
    socket = CONTEXT.socket(zmq.ROUTER)
    socket.set_hwm(0)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    print(f"tcp://127.0.0.1:{port}", flush=True)
    Supervisor(socket, Ledger(database)).serve()


def run_host(address: str) -> None:
    socket = connected(address)
    socket.send(pack([CLAIM, IN_FLIGHT]))
    while True:
        _, tasks = unpack(socket.recv())
        ended = [(number, pack(_answer(unpack(params)))) for number, _, _, params in tasks]
        socket.send(pack([ENDED, ended]))


def _answer(params: dict[str, Any]) -> dict[str, Any]:
    """What the pool's task answers too: its parameters, but for the part that only makes them large."""
    return {name: value for name, value in params.items() if name != "body"}


def _started(started: ExitStack, *arguments: str) -> "subprocess.Popen[str]":
    """One of its processes, which ends with what was started, and with this process whatever becomes of it."""
    command = [sys.executable, "-I", str(Path(__file__).resolve()), str(os.getpid()), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    started.callback(process.communicate)
    started.callback(process.kill)
    return process


class Ceiling:
    """The bare loop, running while the `with` block lasts."""

    def __enter__(self) -> Self:
        with ExitStack() as started:
            folder = started.enter_context(tempfile.TemporaryDirectory(prefix="workerhost-ceiling-"))
            supervisor = _started(started, "supervisor", str(Path(folder, "queue.db")))
            assert supervisor.stdout
            address = supervisor.stdout.readline().strip()
            _started(started, "host", address)
            self._socket = connected(address)
            started.callback(self._socket.close)
            self._round(2 * TASKS_PER_MESSAGE, TASKS_PER_MESSAGE)
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def tasks_per_second(self, count: int, params: dict[str, Any] = PARAMS) -> float:
        """Send `count` tasks, many in a message, and take all their results."""
        return count / self._round(count, TASKS_PER_MESSAGE, params)

    def round_trips(self, count: int) -> list[float]:
        """Seconds from sending one task to its result, `count` times, nothing else going on."""
        return [self._round(1, 1) for _ in range(count)]

    def _round(self, count: int, per_message: int, params: dict[str, Any] = PARAMS) -> float:
        started = time.perf_counter()
        for first in range(0, count, per_message):
            here = min(per_message, count - first)
            tasks = [(TASK_TYPE, 5, pack({**params, "frame": first + i})) for i in range(here)]
            self._socket.send(pack([SEND, tasks]))
        missing = count
        while missing:
            if not self._socket.poll(60_000):
                raise TimeoutError(f"the ceiling has not answered for {missing} tasks")
            kind, content = unpack(self._socket.recv())
            missing -= len(content) if kind == TOLD else 0
        return time.perf_counter() - started


def main() -> None:
    with Ceiling() as ceiling:
        rates = [ceiling.tasks_per_second(20_000) for _ in range(5)]
        trips = sorted(ceiling.round_trips(500))
    figures = {
        "tasks_per_second": round(statistics.median(rates)),
        "round_trip_p50": round(trips[250], 6),
        "round_trip_p99": round(trips[495], 6),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    match sys.argv[1:]:
        case [parent, "supervisor", database]:
            end_with(int(parent))
            run_supervisor(database)
        case [parent, "host", address]:
            end_with(int(parent))
            run_host(address)
        case _:
            main()
