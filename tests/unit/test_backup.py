"""Copies of a store that is in use, the restore of one, and the check that goes on while it serves."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from workerhost.actors.core.effects import Fetch, Persist, Refill
from workerhost.actors.core.opening import EPOCH_SHIFT
from workerhost.actors.core.rows import QUEUED, RUNNING
from workerhost.actors.stores import sqlite as module
from workerhost.actors.stores.contract import BackupEnded, StoreBroken, StoreDamaged
from workerhost.actors.stores.memory import MemoryStore
from workerhost.actors.stores.restore import EPOCHS_AHEAD, NUMBERS_AHEAD, prepare_restored, restore
from workerhost.actors.stores.schema import APPLICATION_ID, SCHEMA_VERSION
from workerhost.actors.stores.sqlite import SqliteStore

SECONDS = 20.0
FENCE = 1 << 40


def row(id: int, state: int = QUEUED, params: bytes = b"x" * 1000, fence: int = 0) -> tuple[Any, ...]:
    return (id, 1, 5, id, state, 1, fence, 0, 0, 0, 0, 0, 1.0, None, False, 0, None, None, params)


def write(store: SqliteStore, **lists: Any) -> None:
    store.begin()
    store.apply(Persist(**lists))
    store.commit()


def filled(path: Path, count: int = 500) -> SqliteStore:
    """An open store with a lane of queued tasks, the first of them running."""
    store = SqliteStore(path, durability="relaxed")
    store.open()
    host = (1, b"h" * 16, "host", "machine", 1.0, None, "joined", "")
    write(store, lanes=[(1, "a", "", "")], tasks=[row(id) for id in range(1, count + 1)], hosts=[host])
    write(store, claims=[(FENCE + 1, 1, 1, 2.0, 1)], tallies=[(1, 2, count - 1), (1, 3, 1)], meta={"last_id": count})
    return store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = filled(path)
    yield store
    store.close()


def copied(store: SqliteStore, target: Path) -> BackupEnded:
    """Make a copy, all at once."""
    ends: SimpleQueue[BackupEnded] = SimpleQueue()
    store.back_up(target, ends.put)
    while store.work(1.0):
        pass
    return ends.get(timeout=SECONDS)


@pytest.fixture
def backup(store: SqliteStore, tmp_path: Path) -> Path:
    """A copy of the store as a test finds it."""
    file = tmp_path / "copy.db"
    assert copied(store, file).fault is None
    return file


def ids(path: Path) -> list[int]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        return [id for (id,) in connection.execute("select id from task order by id")]
    finally:
        connection.close()


# --- backup


def test_a_copy_in_steps_holds_what_was_written_before_and_meanwhile(store: SqliteStore, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    ends: SimpleQueue[BackupEnded] = SimpleQueue()
    store.back_up(target, ends.put)
    steps, id, progress = 0, 500, [0.0]
    while store.work(0.0001):
        steps, id = steps + 1, id + 1
        write(store, tasks=[row(id)])
        assert not target.exists()
        progress.append(store.copied() or 0.0)
    end = ends.get(timeout=SECONDS)

    assert steps > 2
    assert progress == sorted(progress)
    assert end == BackupEnded(str(target), None, target.stat().st_size)
    assert ids(target)[:500] == list(range(1, 501))
    assert target.stat().st_mode & 0o077 == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.db", "tasks.db", "tasks.db-wal"]
    assert store.copied() is None
    write(store, tasks=[row(9999)])


def test_a_copy_that_is_not_whole_when_the_store_is_closed_leaves_nothing(store: SqliteStore, tmp_path: Path) -> None:
    ends: SimpleQueue[BackupEnded] = SimpleQueue()
    store.back_up(tmp_path / "copy.db", ends.put)
    assert store.copied() == 0.0
    assert store.work(0.0)  # a third of a millisecond, the least there is
    assert 0 < (store.copied() or 0) < 0.5
    store.close()
    assert (ends.get(timeout=SECONDS).fault or "").startswith("the supervisor left")
    assert [p.name for p in tmp_path.iterdir()] == ["tasks.db"]


def test_a_copy_that_has_not_begun_can_be_given_up(store: SqliteStore, tmp_path: Path) -> None:
    ends: SimpleQueue[BackupEnded] = SimpleQueue()
    store.back_up(tmp_path / "copy.db", ends.put)
    store.close()
    assert ends.get(timeout=SECONDS).fault is not None


def test_a_copy_takes_nothing_elses_place(store: SqliteStore, tmp_path: Path) -> None:
    for taken in (tmp_path / "tasks.db", tmp_path / "tasks.db-wal"):
        with pytest.raises(StoreBroken, match="is there already"):
            store.back_up(taken, print)
    with pytest.raises(StoreBroken, match="its folder is not there"):
        store.back_up(tmp_path / "nowhere" / "copy.db", print)
    with pytest.raises(StoreBroken, match="in memory"):
        MemoryStore().back_up(tmp_path / "copy.db", print)


def test_what_a_killed_copy_left_behind_is_replaced(store: SqliteStore, tmp_path: Path) -> None:
    for left in (".copy.db.0123abcd.part", ".copy.db.0123abcd.part-journal"):
        (tmp_path / left).write_text("half")
    assert copied(store, tmp_path / "copy.db").fault is None
    assert [path.name for path in tmp_path.iterdir() if ".part" in path.name] == []
    assert len(ids(tmp_path / "copy.db")) == 500


def test_an_unforeseen_error_ends_the_copy_and_not_the_store(store: SqliteStore, tmp_path: Path) -> None:
    """As of a name that the file system's encoding cannot hold."""
    ends: SimpleQueue[BackupEnded] = SimpleQueue()
    store.back_up(tmp_path / "copy\ud800.db", ends.put)
    working = threading.Thread(target=store.work, args=(1.0,), daemon=True)
    working.start()
    fault = ends.get(timeout=SECONDS).fault or ""
    working.join(SECONDS)
    assert not working.is_alive()
    assert fault.startswith("UnicodeEncodeError: ")
    assert store.copied() is None
    assert copied(store, tmp_path / "copy.db").fault is None


# --- restore


def test_a_restored_database_is_out_of_reach_of_everything_that_came_after_the_backup(
    path: Path, store: SqliteStore, tmp_path: Path
) -> None:
    write(store, returns=[(2, 1, None, False, 1, 0, 0, 1, 0, 1, 1, FENCE + 1)], claims=[(FENCE + 2, 1, 1, 2.0, 2)])
    backup = tmp_path / "copy.db"
    assert copied(store, backup).fault is None
    write(store, tasks=[row(501)], claims=[(FENCE + 3, 1, 1, 3.0, 3)], meta={"last_id": 501, "last_finish": 9})
    store.close()

    restored = restore(backup, path)

    assert restored.unfinished == 500
    assert restored.kept == tmp_path / "tasks.db.before-restore"
    assert len(ids(tmp_path / "tasks.db.before-restore")) == 501
    fresh = SqliteStore(path)
    opening = fresh.open()
    try:
        assert opening.epoch > EPOCHS_AHEAD
        assert (opening.meta["last_id"], opening.meta["last_finish"]) == (501, 9)  # no lost number is given again
        assert opening.running == []
        assert opening.tallies == [(1, 2, 500)]
        found = fresh.read(Fetch((1, 2, 3, 501), "test"))
        skipped = opening.epoch - 1 << EPOCH_SHIFT
        assert [(r[0], r[4], r[6]) for r in found] == [(1, QUEUED, skipped), (2, QUEUED, skipped), (3, QUEUED, 0)]
        assert len(fresh.read(Refill(1, None, 1000))) == 500
        shown = fresh.show(2)
        assert shown is not None
        assert [(a["attempt"], a["host"], a["outcome"]) for a in shown["attempts"]] == [(1, "host", "restored")]
    finally:
        fresh.close()


def test_a_restore_makes_no_revoked_key_good_and_opens_no_invitation(
    path: Path, store: SqliteStore, tmp_path: Path
) -> None:
    known = [("K" * 40, "host", "", "", 1.0, None, None), ("S" * 40, "host", "", "", 1.0, None, None)]
    write(store, identities=known, invitations=[("I" * 40, "host", "", 1, 9e9, None)])
    backup = tmp_path / "copy.db"
    assert copied(store, backup).fault is None
    write(store, identities=[(*known[0][:6], 5.0)], invitations=[("I" * 40, "host", "", 0, 9e9, None)])
    store.close()

    assert restore(backup, path).revoked == 1
    fresh = SqliteStore(path)
    opening = fresh.open()
    fresh.close()
    assert list(opening.identities) == [(*known[0][:6], 5.0), known[1]]
    assert list(opening.invitations) == []


def test_numbers_go_far_ahead_where_the_lost_ones_cannot_be_known(store: SqliteStore, tmp_path: Path) -> None:
    backup, elsewhere = tmp_path / "copy.db", tmp_path / "elsewhere.db"
    assert copied(store, backup).fault is None

    assert restore(backup, elsewhere).kept is None
    other = SqliteStore(elsewhere)
    opening = other.open()
    other.close()
    assert opening.meta["last_id"] == 500 + NUMBERS_AHEAD
    assert opening.epoch > 1 + EPOCHS_AHEAD


def test_the_same_backup_twice_and_whatever_is_replaced_is_kept(
    path: Path, store: SqliteStore, backup: Path, tmp_path: Path
) -> None:
    store.close()
    epochs: list[int] = []
    for name in ("tasks.db.before-restore", "tasks.db.before-restore-2"):
        assert restore(backup, path).kept == tmp_path / name
        again = SqliteStore(path)
        epochs.append(again.open().epoch)
        again.close()
    assert epochs[0] < epochs[1]


def test_a_database_in_use_is_not_replaced(path: Path, store: SqliteStore, backup: Path) -> None:
    command = "import sys, pathlib, workerhost.actors.stores.restore as r; r.restore(*map(pathlib.Path, sys.argv[1:]))"
    other = subprocess.run(
        [sys.executable, "-c", command, str(backup), str(path)],
        check=False, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    assert "StoreLocked" in other.stderr
    assert "a supervisor has this database open; stop it" in other.stderr
    write(store, tasks=[row(501)])  # it still has it


def test_a_damaged_database_is_replaced_and_kept_with_its_log(path: Path, store: SqliteStore, backup: Path) -> None:
    store.close()
    path.write_bytes(b"\xa5" * 10_000)
    path.with_name("tasks.db-wal").write_bytes(b"\x5a" * 100)

    kept = restore(backup, path).kept
    assert kept is not None
    assert kept.read_bytes() == b"\xa5" * 10_000
    assert kept.with_name(kept.name + "-wal").read_bytes() == b"\x5a" * 100
    assert len(ids(path)) == 500


def test_a_restored_database_is_its_owners_alone_from_its_first_byte(
    path: Path, store: SqliteStore, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.close()
    monkeypatch.delattr(Path, "chmod")  # which would be too late: others could read it up to then
    restore(backup, path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_hard_links_what_is_kept_is_its_owners_alone_and_the_database_stays_locked(
    path: Path, store: SqliteStore, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.close()
    command = "import sys, pathlib, workerhost.actors.stores.lock as l; l.check_free(pathlib.Path(sys.argv[1]))"
    said: list[str] = []
    replace = Path.replace

    def refuse(*_given: Any) -> None:
        raise OSError("no such thing here")

    def look(file: Path, target: Path) -> Path:
        asked = [sys.executable, "-c", command, str(target)]
        said.append(subprocess.run(asked, check=False, capture_output=True, text=True, timeout=SECONDS).stderr)
        return replace(file, target)

    with monkeypatch.context() as poor:
        poor.setattr(Path, "hardlink_to", refuse)
        poor.setattr(Path, "replace", look)
        kept = restore(backup, path).kept
    assert kept is not None
    assert kept.stat().st_mode & 0o777 == 0o600
    assert len(ids(kept)) == len(ids(path)) == 500
    assert ["StoreLocked" in one for one in said] == [True]


def test_nothing_of_a_restore_that_was_killed_gets_into_the_next_one(
    path: Path, store: SqliteStore, tmp_path: Path
) -> None:
    """It died while it wrote, and its journal would put pages of its backup back."""
    first, second, fresh = tmp_path / "first.db", tmp_path / "second.db", tmp_path / "tasks.db.restoring"
    assert copied(store, first).fault is None
    write(store, tasks=[row(id, params=b"z" * 1000) for id in range(501, 700)])
    assert copied(store, second).fault is None
    store.close()
    fresh.write_bytes(first.read_bytes())
    dying = """if True:
        import os, sqlite3, sys
        connection = sqlite3.connect(sys.argv[1], isolation_level=None)
        for statement in ("pragma cache_size = 10", "begin immediate", "update task set params = zeroblob(1000)"):
            connection.execute(statement)
        os._exit(9)
    """
    assert subprocess.run([sys.executable, "-c", dying, str(fresh)], check=False, timeout=SECONDS).returncode == 9
    assert fresh.with_name("tasks.db.restoring-journal").stat().st_size > 100_000

    restore(second, path)
    assert ids(path) == list(range(1, 700))
    assert [p.name for p in tmp_path.iterdir() if "restoring" in p.name] == []


def test_what_a_killed_restore_left_behind_is_no_backup_and_stays(
    path: Path, store: SqliteStore, tmp_path: Path
) -> None:
    left = tmp_path / "tasks.db.restoring"
    assert copied(store, left).fault is None
    store.close()
    with pytest.raises(StoreBroken, match="name the backup itself"):
        restore(left, path)
    assert len(ids(left)) == len(ids(path)) == 500


def header(path: Path, application: int, version: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"pragma application_id = {application}")
    connection.execute(f"pragma user_version = {version}")
    connection.close()


@pytest.mark.parametrize(
    ("application", "version", "said"),
    [(APPLICATION_ID, SCHEMA_VERSION + 1, "by a newer WorkerHost"), (7, SCHEMA_VERSION, "is no backup")],
)
def test_what_is_no_backup_of_ours_is_refused_and_nothing_changed(
    path: Path, store: SqliteStore, backup: Path, tmp_path: Path, application: int, version: int, said: str
) -> None:
    store.close()
    header(backup, application, version)
    before = path.read_bytes()

    with pytest.raises(StoreBroken, match=said):
        restore(backup, path)
    with pytest.raises(StoreBroken, match="is no backup"):
        restore(Path(__file__), path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.db", "tasks.db"]


def test_a_damaged_backup_is_refused_and_nothing_changed(
    path: Path, store: SqliteStore, backup: Path, tmp_path: Path
) -> None:
    store.close()
    content = bytearray(backup.read_bytes())
    content[8192 : len(content) // 2] = b"\xa5" * (len(content) // 2 - 8192)
    backup.write_bytes(content)
    before = path.read_bytes()

    with pytest.raises(StoreDamaged, match="use another backup"):
        restore(backup, path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.db", "tasks.db"]


def test_a_database_of_another_program_is_not_replaced(path: Path, store: SqliteStore, tmp_path: Path) -> None:
    backup, other = tmp_path / "copy.db", tmp_path / "songs.db"
    assert copied(store, backup).fault is None
    header(other, 7, 1)
    with pytest.raises(StoreBroken, match="another program"):
        restore(backup, other)


def test_a_copy_of_a_database_in_use_is_no_backup(path: Path, store: SqliteStore, tmp_path: Path) -> None:
    with pytest.raises(StoreBroken, match="a database in use, not a backup"):
        restore(path, tmp_path / "elsewhere.db")


def test_preparing_alone_is_enough_to_go_on_from_a_plain_copy(path: Path, store: SqliteStore) -> None:
    store.close()
    assert prepare_restored(path) == 500
    again = SqliteStore(path)
    opening = again.open()
    again.close()
    assert opening.epoch == 1 + EPOCHS_AHEAD + 1
    assert opening.running == []


def test_no_step_of_a_backup_computes_longer_than_it_may(tmp_path: Path) -> None:
    """By the processor's time of this process, in which nothing else runs: others on the machine do not count."""
    store = filled(tmp_path / "tasks.db", 20_000)
    told = threading.Event()
    store.back_up(tmp_path / "copy.db", lambda _ended: told.set())
    longest, more = 0.0, True
    while more:
        began = time.process_time()
        more = store.work(0.002)
        longest = max(longest, time.process_time() - began)
    assert told.wait(10)
    store.close()
    print(f"longest step {longest * 1e3:.1f} ms")
    assert longest < 0.005


# --- the check in steps


@pytest.fixture
def unclean(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database that was not closed, too large to be checked before it serves."""
    filled(path, 2000).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = delete")
    connection.execute("update meta set value = 0 where key = 'clean'")
    connection.close()
    monkeypatch.setattr(module, "CHECKED_BYTES_MAX", 4096)
    return path


def test_a_large_database_is_checked_in_steps_while_it_serves(unclean: Path) -> None:
    store = SqliteStore(unclean)
    store.open()
    steps, id = 0, 2000
    while store.work(0.0002):
        steps, id = steps + 1, id + 1
        write(store, tasks=[row(id)])
    assert steps > 3
    assert not store.work(1.0)
    store.close()


def test_a_check_that_was_not_finished_begins_again_at_the_next_start(unclean: Path) -> None:
    store = SqliteStore(unclean)
    store.open()
    assert store.work(0.0)
    store.close()

    store = SqliteStore(unclean)
    store.open()
    assert store.work(0.0)
    while store.work(1.0):
        pass
    store.close()

    store = SqliteStore(unclean)
    store.open()
    assert not store.work(0.0)
    store.close()


@pytest.mark.parametrize("tree", ["task", "running", "ready", "attempt", "tag"])
def test_damage_anywhere_is_found_by_the_check_and_remembered(unclean: Path, tree: str) -> None:
    connection = sqlite3.connect(unclean, isolation_level=None)
    (root,) = connection.execute("select rootpage from sqlite_master where name = ?", (tree,)).fetchone()
    connection.close()
    content = bytearray(unclean.read_bytes())
    content[(root - 1) * 4096 : (root - 1) * 4096 + 64] = b"\xa5" * 64
    unclean.write_bytes(content)

    store = SqliteStore(unclean)
    with pytest.raises(StoreDamaged, match="workerhost restore FILE"):  # noqa: PT012 - opening may meet it before the check
        store.open()
        while store.work(1.0):
            pass
    store.close()
    assert unclean.exists()


def test_the_check_reads_every_page_of_large_params(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(path, 3)
    write(store, tasks=[row(id, params=b"y" * 200_000) for id in range(4, 10)])
    store.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = delete")
    connection.execute("update meta set value = 0 where key = 'clean'")
    connection.close()
    monkeypatch.setattr(module, "CHECKED_BYTES_MAX", 4096)
    content = bytearray(path.read_bytes())
    page = content.index(b"y" * 4000) // 4096 + 20  # somewhere in the chain of pages of one of them
    content[page * 4096 : page * 4096 + 4] = b"\xff\xff\xff\x0f"  # the next page's number
    path.write_bytes(content)

    store = SqliteStore(path)
    store.open()
    assert [r[4] for r in store.read(Fetch((1,), "test"))] == [RUNNING]
    with pytest.raises(StoreDamaged):  # noqa: PT012 - a loop
        while store.work(1.0):
            pass
    store.close()
