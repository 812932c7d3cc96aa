"""What only the SQLite store has: a file, its lock, its damage, and the disk under it."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workerhost.actors.core.effects import EndedAfter, Fetch, Persist, Refill
from workerhost.actors.core.rows import COLUMNS, QUEUED, RUNNING
from workerhost.actors.stores import names, search, statements
from workerhost.actors.stores.contract import StoreBroken, StoreDisagrees, StoreLocked
from workerhost.actors.stores.file_system import network_file_system
from workerhost.actors.stores.line import Line
from workerhost.actors.stores.lock import check_free
from workerhost.actors.stores.schema import SCHEMA_VERSION
from workerhost.actors.stores.sqlite import SqliteStore

LANE = (1, "video.thumbnail", "", "")


class OpenedUp(SqliteStore):
    """A store that lets a test look at its connection."""

    def value(self, statement: str) -> Any:
        return self._database.execute(statement).fetchone()[0]

    def steps(self, need: EndedAfter) -> int:
        """About how many steps SQLite's machine takes to answer."""
        taken: list[None] = []
        self._database.set_progress_handler(lambda: taken.append(None), 10)
        self.read(need)
        self._database.set_progress_handler(None, 0)
        return 10 * len(taken)


def task(id: int, params: bytes = b"\x80") -> tuple[Any, ...]:
    """A new queued task."""
    values: dict[str, Any] = dict.fromkeys(COLUMNS, 0) | {
        "id": id, "lane": 1, "priority": 5, "place": id, "state": QUEUED, "session": 1, "sent_at": 1.5, "due": None,
        "relative": False, "started_at": None, "options": None, "params": params,
    }  # fmt: skip
    return tuple(values.values())


def write(store: SqliteStore, **lists: Any) -> None:
    store.begin()
    store.apply(Persist(**lists))
    store.commit()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


@pytest.fixture
def store(path: Path) -> Iterator[OpenedUp]:
    store = OpenedUp(path)
    store.open()
    write(store, lanes=[LANE])
    yield store
    store.close()


def said(path: Path) -> str:
    """Why a store at `path` is refused; always one line that names the file."""
    with pytest.raises(StoreBroken) as raised:
        SqliteStore(path).open()
    text = str(raised.value)
    assert "\n" not in text
    assert str(path) in text
    return text


# --- the lock

HOLDER = """
import sys
from workerhost.actors.stores.sqlite import SqliteStore
from workerhost.actors.core.effects import Persist
store = SqliteStore(sys.argv[1])
store.open()
store.begin()
rows = eval(sys.argv[2])
store.apply(Persist(lanes=[(1, "video.thumbnail", "", "")], tasks=rows, claims=[(7, 1, 1, 2.5, rows[0][0])]))
store.commit()
store.begin()
store.apply(Persist(claims=[(8, 1, 1, 2.5, rows[1][0])]))
print("committed one, claimed another", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the database open, one turn committed and the next one not."""
    command = [sys.executable, "-c", HOLDER, str(path), repr([task(1), task(2)])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "committed one, claimed another\n"
    yield process
    process.kill()
    process.communicate(timeout=10)


def test_a_second_process_is_told_within_a_second_that_the_database_is_taken(
    path: Path, holder: subprocess.Popen[str]
) -> None:
    started = time.monotonic()
    with pytest.raises(StoreLocked, match="another supervisor has this database open") as raised:
        SqliteStore(path).open()

    assert time.monotonic() - started < 1.0
    assert str(path) in str(raised.value)


def test_who_has_a_database_is_seen_without_opening_it(path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(StoreLocked, match=rf"another supervisor \(process {holder.pid}\) has this database open"):
        check_free(path)
    holder.kill()
    holder.wait(10)
    check_free(path)
    check_free(path.with_name("nobody's.db"))
    check_free(path.parent)


def test_a_second_store_of_the_same_process_is_refused_and_does_not_free_the_lock(path: Path, store: OpenedUp) -> None:
    for _ in range(2):
        with pytest.raises(StoreLocked):
            SqliteStore(path).open()
    command = [
        sys.executable,
        "-c",
        "import sqlite3, sys; sqlite3.connect(sys.argv[1], 0).execute('select * from task')",
    ]
    other = subprocess.run([*command, str(path)], check=False, capture_output=True, text=True, timeout=20)
    assert "database is locked" in other.stderr


def test_there_is_no_shared_memory_file_and_only_the_owner_may_read(path: Path, store: OpenedUp) -> None:
    write(store, tasks=[task(1)])

    assert sorted(p.name for p in path.parent.iterdir()) == ["tasks.db", "tasks.db-wal"]
    assert [p.stat().st_mode & 0o077 for p in path.parent.iterdir()] == [0, 0]


# --- what survives


def test_a_killed_process_leaves_what_it_committed_and_nothing_else(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait(timeout=10)

    store = SqliteStore(path)
    opening = store.open()
    try:
        assert opening.epoch == 2
        assert [(row[0], row[4], row[6]) for row in opening.running] == [(1, RUNNING, 7)]
        assert [row[0] for row in store.read(Refill(1, None, 9))] == [2]
    finally:
        store.close()


def test_a_closed_store_opens_again_with_a_larger_epoch_and_leaves_one_file(path: Path) -> None:
    epochs: list[int] = []
    for _ in range(3):
        store = SqliteStore(path)
        epochs.append(store.open().epoch)
        write(store, meta={"last_id": 5})
        store.close()
        store.close()
    assert epochs == [1, 2, 3]
    assert [p.name for p in path.parent.iterdir()] == ["tasks.db"]


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("relaxed", 1)])
def test_durability_is_what_sqlite_calls_synchronous(path: Path, durability: str, level: int) -> None:
    store = OpenedUp(path, durability=durability)
    store.open()
    try:
        assert store.value("pragma synchronous") == level
        assert store.value("pragma journal_mode") == "wal"
        assert store.value("pragma locking_mode") == "exclusive"
    finally:
        store.close()


# --- databases that cannot be used


def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("create table song(title)")
    database.close()
    before = path.read_bytes()

    assert "another program" in said(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["tasks.db"]


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("dear diary, " * 100)

    assert "no database" in said(path)
    assert path.read_text() == "dear diary, " * 100


def test_a_newer_schema_is_refused_and_left_alone(path: Path, store: OpenedUp) -> None:
    store.close()
    database = sqlite3.connect(path)
    database.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")
    database.close()
    before = path.read_bytes()

    assert f"schema {SCHEMA_VERSION + 1}, this one knows {SCHEMA_VERSION}" in said(path)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.touch()
    store = SqliteStore(path)

    assert store.open().epoch == 1
    store.close()


def test_damage_is_told_with_how_to_go_on(path: Path, store: OpenedUp) -> None:
    write(store, tasks=[task(id, b"x" * 500) for id in range(1, 200)])
    store.close()
    pages = bytearray(path.read_bytes())
    for start in range(4096, len(pages), 4096):
        pages[start : start + 64] = b"\xa5" * 64
    path.write_bytes(pages)

    text = said(path)
    assert "damaged" in text
    assert ".recover" in text


def test_after_an_unclean_stop_damage_is_found_before_the_first_turn(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait(timeout=10)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("pragma journal_mode = delete")
    (root,) = database.execute("select rootpage from sqlite_master where name = 'attempt'").fetchone()
    (size,) = database.execute("pragma page_size").fetchone()
    database.close()
    content = bytearray(path.read_bytes())
    content[(root - 1) * size : (root - 1) * size + 64] = b"\xa5" * 64  # a page that opening has no need to read
    path.write_bytes(content)

    assert "damaged" in said(path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert "its folder must exist" in said(tmp_path / "nowhere" / "tasks.db")


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    assert "must be a file" in said(tmp_path)


def test_an_unwritable_folder_is_told(tmp_path: Path) -> None:
    folder = Path("/proc") if os.geteuid() == 0 else tmp_path / "closed"  # root may write wherever a file can be made
    if os.geteuid() != 0:
        folder.mkdir(mode=0o500)
    assert "cannot be created" in said(folder / "tasks.db")


def test_a_full_disk_undoes_the_turn_and_says_so(path: Path, store: OpenedUp) -> None:
    write(store, tasks=[task(1)])
    store.value(f"pragma max_page_count = {store.value('pragma page_count') + 2}")

    store.begin()
    with pytest.raises(StoreBroken, match="free some space"):
        store.apply(Persist(tasks=[task(id, b"x" * 3000) for id in range(2, 50)]))
    store.rollback()

    assert [row[0] for row in store.read(Fetch((1, 2), "test"))] == [1]


def test_a_write_the_core_was_wrong_about_names_how_many(path: Path, store: OpenedUp) -> None:
    write(store, tasks=[task(1), task(2)])

    store.begin()
    with pytest.raises(StoreDisagrees, match="1 of 2 claims met another fence or state"):
        store.apply(Persist(claims=[(1, 1, 1, 2.0, 2), (2, 1, 1, 2.0, 9)]))
    store.rollback()


# --- network file systems


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_told_by_its_device(tmp_path: Path, kind: str) -> None:
    device = tmp_path.stat().st_dev
    here = f"{os.major(device)}:{os.minor(device)}"
    mounts = tmp_path / "mountinfo"

    mounts.write_text(
        f"21 1 0:99999 / /elsewhere rw - {kind} server:/a rw\n"
        f"22 1 {here} / {tmp_path} rw,relatime shared:5 master:1 - ext4 /dev/vda rw\n"
    )
    assert network_file_system(tmp_path, mounts) is None

    mounts.write_text(f"22 1 {here} / {tmp_path} rw,relatime shared:5 - {kind} server:/b rw,vers=4.2\n")
    assert network_file_system(tmp_path, mounts) == kind
    assert network_file_system(tmp_path, tmp_path / "no such table") is None
    assert network_file_system(tmp_path / "no such folder", mounts) is None


# --- cost


def test_no_need_reads_or_sorts_the_whole_table(path: Path, store: OpenedUp) -> None:
    store.close()
    database = sqlite3.connect(path)
    asked = {
        name: value
        for name, value in vars(statements).items()
        if isinstance(value, str) and value.startswith("select") and " task " in value and not name.startswith("_")
    }
    asked |= {f"READY_{name.upper()}": getattr(Line(), name) for name in ("first", "same", "lower")}
    asked |= search.SCANS
    asked |= {name: value for name, value in vars(names).items() if name in ("_KEYS_OF", "_CACHED_OF")}
    asked = {name: f"{one} (?, ?) order by 1" if one.endswith(" in") else one for name, one in asked.items()}
    plans: dict[str, list[str]] = {}
    for name, statement in asked.items():
        numbered = [int(number) for number in re.findall(r"\?(\d+)", statement)]
        plan = database.execute(
            f"explain query plan {statement}", (1,) * max(numbered, default=statement.count("?"))
        ).fetchall()
        plans[name] = [str(step[-1]) for step in plan]
    database.close()

    assert {"READY_FIRST", "READY_LOWER", "AGENDA", "ENDS_AFTER", "RUNNING_ROWS", "SCAN_ALL"} <= set(plans)
    del (
        plans["HOSTS"],
        plans["ATTEMPTS_OF"],
    )  # they sort what they found, which is little: the latter stops at its limits
    costly = {
        name: plan for name, plan in plans.items() if any("TEMP B-TREE" in step or step == "SCAN task" for step in plan)
    }
    assert costly == {}


@pytest.mark.parametrize("dependents", [100, 1000])
def test_a_pass_reads_no_more_of_a_task_that_many_come_after(store: OpenedUp, dependents: int) -> None:
    ids = range(1, dependents + 2)
    write(store, tasks=[task(id) for id in ids], edges=[(1, id, 0) for id in ids[1:]])
    write(store, claims=[(id, 1, 1, 2.0, id) for id in ids])
    ends = [(4, id, 3.0, 2.0, 0, b"", None, 0, 0, id, id) for id in ids]
    write(store, finishes=ends, met=[(1, id) for id in ids[1:]])

    assert store.steps(EndedAfter(0, 0, 1)) < 2000


def test_a_copy_for_which_no_thread_can_be_started_is_refused_and_harms_nothing(
    store: OpenedUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuse)
        with pytest.raises(StoreBroken, match="can't start new thread"):
            store.back_up(tmp_path / "copy.db", print)
    assert store.copied() is None
    assert not store.work(1.0)
    assert not list(tmp_path.glob("*copy*"))
