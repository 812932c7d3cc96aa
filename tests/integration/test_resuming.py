"""Tasks that save where they are go on from there, whatever ended the attempt before, and leave no file behind."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from workerhost import BaseWorker, Client, Release, Task, WorkerHost
from workerhost.actors.core.settings import PoolSettings
from workerhost.actors.host import Host, HostSettings
from workerhost.actors.supervisor import Supervisor, SupervisorSettings
from workerhost.workers.values import unpack

SECONDS = 20.0

TASKS = """
import os
from pathlib import Path
from time import sleep
from workerhost import BaseWorker

class Counter(BaseWorker):
    type = "count"

    def execute(self, task):
        note = Path(task.params["note"])
        Path(self.workdir, "scratch").write_text("half a film")
        done = task.checkpoint or 0
        for number in range(done, task.params["to"]):
            with note.open("a") as file: file.write(f"{task.attempt} {number}\\n")
            self.checkpoint(number + 1)
            if number == task.params["stop_at"] and task.attempt == 1:
                how = task.params["how"]
                if how == "die": os._exit(3)
                while True: sleep(60)  # sleeps: the task is a slow one, and its host is killed
        return [task.attempt, done, number + 1]
"""

HOST = """
import sys, workerhost.actors.host as host
settings = dict(address=sys.argv[1], name=sys.argv[2], isolation=sys.argv[4], slots={"": 1}, code=(sys.argv[3],))
host.Host.start(host.HostSettings(**settings)).join()
"""


class House:
    """A supervisor, its hosts in processes of their own, and the folder for everybody's temporary files."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.stack, self.temporary, self.note = stack, folder / "temporary", folder / "note"
        self.temporary.mkdir()
        self.code = folder / "tasks.py"
        self.code.write_text(TASKS)
        settings = SupervisorSettings(
            address="tcp://127.0.0.1:0", database=folder / "tasks.db", pool=PoolSettings(heartbeat=0.2, lost_after=1.0)
        )
        self.supervisor = Supervisor.start(settings)
        stack.callback(self.supervisor.stop)
        self.client = stack.enter_context(Client(self.supervisor.address, timeout=SECONDS))

    def host(self, name: str, isolation: str = "process") -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOST, self.supervisor.address, name, str(self.code), isolation],
            env={**os.environ, "TMPDIR": str(self.temporary)},
        )
        self.stack.callback(process.wait, SECONDS)
        self.stack.callback(process.kill)
        return process

    def numbers(self) -> list[tuple[int, int]]:
        """(attempt, number) of all that was counted."""
        lines = self.note.read_text().splitlines() if self.note.exists() else []
        return [(int(attempt), int(number)) for attempt, number in map(str.split, lines)]

    def left(self) -> list[str]:
        return [path.name for path in self.temporary.iterdir()]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path, stack)


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_a_task_whose_host_is_killed_goes_on_elsewhere_and_leaves_no_file(house: House, isolation: str) -> None:
    first = house.host("first", isolation)
    handle = house.client.send("count", {"to": 10, "stop_at": 6, "note": str(house.note), "how": "hang"})
    until(lambda: (1, 6) in house.numbers(), "it has come half-way")
    until(lambda: stored(house) == [7], "its checkpoint is on the disk")
    assert house.left(), "it has a folder of its own"
    first.send_signal(signal.SIGKILL)
    first.wait(SECONDS)

    house.host("second", isolation)

    assert handle.result(SECONDS) == [2, 7, 10]
    assert house.numbers() == [*((1, number) for number in range(7)), *((2, number) for number in range(7, 10))]
    until(lambda: not [name for name in house.left() if str(first.pid) in name], "the first one's files are gone")
    attempts = house.client.show(handle.id)["attempts"]
    assert [(item["outcome"], item["host"]) for item in attempts] == [("host lost", "first"), ("completed", "second")]


def test_a_task_that_kills_its_process_goes_on_from_its_last_checkpoint(house: House) -> None:
    """The process dies in the very moment after it saved: nothing of that is lost."""
    host = house.host("only")
    handle = house.client.send("count", {"to": 10, "stop_at": 6, "note": str(house.note), "how": "die"})

    attempt, done, counted = handle.result(SECONDS)

    assert (attempt, counted) == (2, 10)
    assert 1 <= done <= 7, "the last tenth of a second may be lost with a process"
    until(lambda: len(house.left()) <= 1, "the dead slot's files are gone")
    assert host.poll() is None


def stored(house: House) -> list[Any]:
    """The checkpoints in the database, unpacked; read beside the supervisor, which holds it alone, from a copy."""
    copy = house.temporary.parent / "copy.db"
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{house.temporary.parent}/tasks.db{suffix}", f"{copy}{suffix}")
    with closing(sqlite3.connect(copy)) as database:
        return [unpack(body) for (body,) in database.execute("select body from checkpoint")]


class Stepper(BaseWorker):
    """Does one step an attempt, and releases its task."""

    type = "step"

    def execute(self, task: Task) -> list[int]:
        """One step."""
        done: list[int] = [*(task.checkpoint or []), task.attempt]
        if len(done) < task.params:
            self.checkpoint(done)
            raise Release("one step is enough")
        return done


def test_a_released_task_goes_on_in_an_embedded_pool() -> None:
    with WorkerHost(workers=[Stepper]) as pool:
        assert pool.client.send("step", 4).result(SECONDS) == [1, 2, 3, 4]


def test_a_supervisor_that_starts_again_gives_what_was_saved(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"address": f"ipc://{tmp_path}/pool", "database": tmp_path / "tasks.db"}
    supervisor = Supervisor.start(SupervisorSettings(**settings))
    released = threading.Event()

    class Once(BaseWorker):
        type = "once"

        def execute(self, task: Task) -> Any:
            if task.checkpoint is None:
                self.checkpoint({"at": 7})
                released.set()
                raise Release("later", after=1.0)
            return task.checkpoint

    def host() -> Host:
        return Host.start(HostSettings(address=settings["address"], isolation="inline", slots={"": 1}, workers=[Once]))

    first = host()
    with Client(settings["address"], timeout=SECONDS) as client:
        handle = client.send("once")
        assert released.wait(SECONDS)
        until(lambda: client.show(handle.id)["state"] == "scheduled", "it waits")
        first.stop()
        assert first.join(SECONDS)
        supervisor.stop()
        supervisor = Supervisor.start(SupervisorSettings(**settings))
        second = host()
        try:
            assert handle.result(SECONDS) == {"at": 7}
        finally:
            second.stop()
            second.join(SECONDS)
            supervisor.stop()
