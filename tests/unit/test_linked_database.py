"""A database reached through a link: whatever has to be beside it is beside the file itself, not beside the link."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue

import pytest

from workerhost.actors.configured import supervisor_settings
from workerhost.actors.disk import Disk
from workerhost.actors.stores import file_system
from workerhost.actors.stores.contract import BackupEnded, StoreBroken
from workerhost.actors.stores.restore import restore
from workerhost.actors.stores.schema import SCHEMA_VERSION
from workerhost.actors.stores.sqlite import SqliteStore
from workerhost.config.loading import load

SECONDS = 20.0


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """A link to a database that is not there yet, in a folder of its own and under another name."""
    (tmp_path / "large").mkdir()
    (tmp_path / "home").mkdir()
    link = tmp_path / "home" / "tasks.db"
    link.symlink_to(tmp_path / "large" / "queue.db")
    return link


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_and_all_beside_it_are_made_where_the_link_leads_and_are_its_owners_alone(
    link: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    store = SqliteStore(link)
    store.open()
    disk = Disk(link)
    assert disk.look(100.0)
    assert names(large) == ["queue.db", "queue.db-ballast", "queue.db-wal"]
    assert [path.stat().st_mode & 0o077 for path in large.iterdir()] == [0, 0, 0]
    store.close()
    disk.give_way(100.0)
    with closing(sqlite3.connect(link)) as database:
        database.execute(f"pragma user_version = {SCHEMA_VERSION - 1}")

    store.open()
    store.close()
    assert names(large) == ["queue.db", f"queue.db.schema-{SCHEMA_VERSION - 1}"]
    assert names(link.parent) == ["tasks.db"]


def test_a_link_onto_a_network_file_system_is_refused(link: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's file system in memory stands for one: it is another device wherever there is one."""
    memory = Path("/dev/shm")
    found = subprocess.run(["stat", "-f", "-c", "%T", memory], capture_output=True, text=True, check=False, timeout=10)
    if found.stdout.strip() != "tmpfs" or memory.stat().st_dev == link.parent.stat().st_dev:
        pytest.skip("there is no other file system here")
    monkeypatch.setattr(file_system, "NETWORK", frozenset({"tmpfs"}))
    link.unlink()
    link.symlink_to(memory / "workerhost-is-never-made.db")
    with pytest.raises(StoreBroken, match=r"never-made\.db: lies on a network file system"):
        SqliteStore(link).open()


def test_a_restore_replaces_the_file_and_leaves_the_link(link: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    store = SqliteStore(link)
    store.open()
    ends: SimpleQueue[BackupEnded] = SimpleQueue()
    store.back_up(tmp_path / "copy.db", ends.put)
    while store.work(1.0):
        pass
    assert ends.get(timeout=SECONDS).fault is None
    backup = tmp_path / "latest"
    backup.symlink_to("copy.db")
    store.close()

    assert restore(backup, link).kept == large / "queue.db.before-restore"
    assert link.is_symlink()
    assert names(large) == ["queue.db", "queue.db.before-restore"]
    assert names(link.parent) == ["tasks.db"]
    store.open()
    store.close()


def test_a_link_to_a_database_in_use_is_no_backup(link: Path, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "used.db")
    store.open()
    (tmp_path / "latest").symlink_to("used.db")
    with pytest.raises(StoreBroken, match="a database in use, not a backup"):
        restore(tmp_path / "latest", link)
    store.close()


def test_a_supervisor_is_started_with_the_file_itself(link: Path, tmp_path: Path) -> None:
    """So that it looks at its disk, and a backup with a relative name goes there."""
    assert supervisor_settings(load({}, {}), "memory://linked", link).database == tmp_path / "large" / "queue.db"


def test_links_in_a_circle_are_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "one.db").symlink_to("two.db")
    (tmp_path / "two.db").symlink_to("one.db")
    with pytest.raises(StoreBroken, match="unable to open database file"):
        SqliteStore(tmp_path / "one.db").open()
