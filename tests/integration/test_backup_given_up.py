"""A full disk while a copy has all its pages and is not on its own disk yet: the pool that asked for it is forgotten,
and what comes of that copy is no news for the one that goes on.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from workerhost import Client, DiskFull, WorkerHostError
from workerhost.actors.stores.contract import BackupEnded
from workerhost.actors.stores.sqlite import SqliteStore
from workerhost.actors.supervisor import Supervisor, SupervisorSettings

SECONDS = 20.0


class Copying(threading.Event):
    """A copy that waits on its way to the disk until it may go on.

    Attributes:
        thread: The copy's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.current_thread()


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> SimpleQueue[Copying]:
    """Each copy, as soon as it waits for the disk: a slow one."""
    copies: SimpleQueue[Copying] = SimpleQueue()
    sync = os.fsync

    def slow(descriptor: int) -> None:
        if threading.current_thread().name == "backup" and stat.S_ISREG(os.fstat(descriptor).st_mode):
            copies.put(copying := Copying())
            assert copying.wait(SECONDS)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    return copies


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_copy_that_was_given_up_takes_neither_file_nor_place_of_the_next(
    tmp_path: Path, copies: SimpleQueue[Copying]
) -> None:
    store, target = SqliteStore(tmp_path / "tasks.db"), tmp_path / "copy.db"
    ends: tuple[SimpleQueue[BackupEnded], ...] = SimpleQueue(), SimpleQueue()
    store.open()
    store.back_up(target, ends[0].put)
    while store.work(1.0):
        pass
    first = copies.get(timeout=SECONDS)
    assert store.copied() is None
    store.close()
    store.open()

    store.back_up(target, ends[1].put)
    assert store.work(0.0), "the next one has begun to write"
    first.set()
    assert "before the copy was whole" in (ends[0].get(timeout=SECONDS).fault or "")
    assert not target.exists()
    while store.work(1.0):
        pass
    copies.get(timeout=SECONDS).set()
    assert ends[1].get(timeout=SECONDS).fault is None
    store.close()
    assert names(tmp_path) == ["copy.db", "tasks.db"]
    with closing(sqlite3.connect(target)) as found:
        assert found.execute("pragma integrity_check").fetchone() == ("ok",)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """Those to the database, the latest last."""
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def noted(path: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(path, **options)
        if Path(path).name == "tasks.db":
            made.append(connection)
        return connection

    monkeypatch.setattr(sqlite3, "connect", noted)
    return made


def test_after_a_full_disk_nobody_is_told_of_a_copy_that_another_had_asked_for(
    tmp_path: Path, copies: SimpleQueue[Copying], connections: list[sqlite3.Connection]
) -> None:
    database, asked_for = tmp_path / "tasks.db", tmp_path / "second.db"
    running = Supervisor.start(SupervisorSettings(address="memory://copied", database=database))
    told: SimpleQueue[tuple[bool, int] | WorkerHostError] = SimpleQueue()

    def ask(client: Client, path: str) -> None:
        try:
            made = client.backup(path)
            told.put((asked_for.exists(), made["bytes"]))
        except (WorkerHostError, RuntimeError) as error:  # it was closed
            told.put(WorkerHostError(str(error)))

    try:
        with Client(running.address, timeout=SECONDS) as client:
            leaving = Client(running.address, timeout=SECONDS)
            threading.Thread(target=ask, args=(leaving, "first.db"), daemon=True).start()
            first = copies.get(timeout=SECONDS)
            leaving.close()
            assert isinstance(told.get(timeout=SECONDS), WorkerHostError)

            (pages,) = connections[-1].execute("pragma page_count").fetchone()
            connections[-1].execute(f"pragma max_page_count = {pages}")
            with pytest.raises(DiskFull):
                client.send("nobody", "x" * 500_000)
            assert client.status()["supervisor"]["epoch"] == 2

            threading.Thread(target=ask, args=(client, "second.db"), daemon=True).start()
            second = copies.get(timeout=SECONDS)
            first.set()
            first.thread.join(SECONDS)
            assert client.status()["supervisor"]["backup"]["path"] == "second.db", "it is still being made"
            second.set()
            assert told.get(timeout=SECONDS) == (True, asked_for.stat().st_size)
            assert "first.db" not in names(tmp_path)
    finally:
        running.stop()
