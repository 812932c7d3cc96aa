"""A database that an older version has left: copied, brought to this version's tables at once, and refused by none."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from workerhost.actors.core.effects import Persist
from workerhost.actors.core.rows import COLUMNS, QUEUED, RUNNING
from workerhost.actors.stores import schema
from workerhost.actors.stores.contract import StoreBroken
from workerhost.actors.stores.restore import restore
from workerhost.actors.stores.schema import APPLICATION_ID, SCHEMA_VERSION
from workerhost.actors.stores.sqlite import SqliteStore

FIRST = Path(__file__).with_name("schema_1.sql").read_text("utf-8")
"""The tables of version 1, as they were."""

OLD = f"""
begin; {FIRST}
pragma application_id = {APPLICATION_ID}; pragma user_version = 1;
insert into meta values ('epoch', 7), ('last_id', 3), ('last_finish', 1), ('clean', 1);
insert into lane values (1, 'video.thumbnail', '', '');
insert into host values (1, x'aa', 'one', 'there', 1.0, null, 'joined');
insert into task(id, lane, priority, place, state, session, fence, attempt, failures, crashes, losses, releases,
    sent_at, relative, owner, params) values
    (1, 1, 5, 1, 2, 1, 0, 0, 0, 0, 0, 0, 1.5, 0, 0, x'80'),
    (2, 1, 5, 2, 3, 1, 9, 1, 0, 0, 0, 0, 1.5, 0, 1, x'80');
insert into task values
    (3, 1, 5, 3, 4, 1, 8, 1, 0, 0, 0, 0, 1.5, null, 0, 1, 2.0, null, x'80', 1, 3.0, 0, x'07', null);
insert into tally values (1, 2, 1), (1, 3, 1), (1, 4, 1);
commit;
"""


class Shape(NamedTuple):
    """What tables a file has."""

    columns: set[tuple[Any, ...]]
    indexes: dict[str, str]


def shape(path: Path) -> Shape:
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        columns = {(t, *column) for t in tables for column in database.execute(f"pragma table_info({t})").fetchall()}
        indexes = dict(database.execute("select name, sql from sqlite_master where type = 'index' and sql is not null"))
        return Shape(columns, indexes)


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("pragma user_version").fetchone()[0]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(OLD)
    return path


def test_an_old_database_has_the_tables_of_a_new_one_and_all_that_was_in_it(old: Path, tmp_path: Path) -> None:
    before = old.read_bytes()
    store = SqliteStore(old)
    opening = store.open()
    copy = old.with_name("tasks.db.schema-1")

    assert opening.copy == str(copy)
    assert (opening.epoch, opening.meta["last_id"]) == (8, 3)
    assert [dict(zip(COLUMNS, row, strict=True))["id"] for row in opening.running] == [2]
    assert [(shown["state"], shown["type"]) for id in (1, 2, 3) if (shown := store.show(id))] == [
        ("queued", "video.thumbnail"),
        ("running", "video.thumbnail"),
        ("completed", "video.thumbnail"),
    ]
    store.begin()  # and it can be worked with
    store.apply(Persist(claims=[(10, 1, 1, 2.5, 1)], tallies=[(1, QUEUED, 0), (1, RUNNING, 2)]))
    store.commit()
    store.close()

    fresh = SqliteStore(tmp_path / "fresh.db")
    fresh.open()
    fresh.close()
    assert shape(old) == shape(tmp_path / "fresh.db")
    assert (version(old), version(copy)) == (SCHEMA_VERSION, 1)
    with closing(sqlite3.connect(copy)) as kept, closing(sqlite3.connect(":memory:")) as original:
        original.deserialize(before)
        assert list(kept.iterdump()) == list(original.iterdump())
    again = SqliteStore(old)
    assert again.open().copy is None
    again.close()


def test_a_migration_that_breaks_off_leaves_the_old_tables_and_the_next_start_does_it(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: sqlite3.Connection) -> Iterator[str]:
        yield "create table half_way(id integer)"
        raise KeyboardInterrupt

    before = shape(old)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "additions", broken)
        with pytest.raises(KeyboardInterrupt):
            SqliteStore(old).open()
    assert (shape(old), version(old)) == (before, 1)

    store = SqliteStore(old)
    store.open()
    store.close()
    assert version(old) == SCHEMA_VERSION


def test_without_room_for_the_copy_nothing_is_changed(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(old.parent)._replace(free=1000)
    before = shape(old)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", {old.parent: free}.get)
        with pytest.raises(StoreBroken, match=r"tasks\.db: is of an older version.*no room"):
            SqliteStore(old).open()
    assert (shape(old), version(old)) == (before, 1)
    assert [path.name for path in old.parent.iterdir()] == ["tasks.db"]


def test_a_backup_of_an_older_version_can_be_restored(old: Path, tmp_path: Path) -> None:
    before = old.read_bytes()
    assert restore(old, tmp_path / "restored.db").unfinished == 2
    assert old.read_bytes() == before
    store = SqliteStore(tmp_path / "restored.db")
    opening = store.open()
    store.close()
    assert opening.copy is None
    assert opening.running == []
    assert version(tmp_path / "restored.db") == SCHEMA_VERSION


def test_whatever_a_newer_schema_adds_is_added(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns at the end, tables and indexes, and an index that covers something else."""
    more = "    detail     blob,\n    note text,\n    count integer not null default 3\n);"
    newer = FIRST.replace("    detail     blob\n);", more)
    newer = newer.replace("task(id)                         where state = 3", "task(id, owner) where state = 3")
    newer += "create table more(id integer primary key); create index of_more on more(id);"
    assert newer.count("note text") == 1
    monkeypatch.setattr(schema, "_schema", lambda: newer)
    with closing(sqlite3.connect(old, isolation_level=None)) as database:
        schema.migrate(database)
        assert database.execute("select note, count from task where id = 1").fetchone() == (None, 3)
        assert list(schema.additions(database)) == []
