"""The tables of a pool's database as this version wants them: makes new ones, and brings an older database to them.

What a version adds to `schema.sql` (columns at the end of a table, tables, indexes) is added to an older database too,
by comparison, in one transaction, after a copy was made. Raise `SCHEMA_VERSION` with the first addition of a release.
A change that is no addition needs a step of its own here.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

from .contract import StoreBroken
from .file_system import reserve_bytes, sync

APPLICATION_ID: Final = 0x574B4853
"""Stands in the file's header and tells that the database is ours ("WKHS")."""

SCHEMA_VERSION: Final = 3


def create(database: sqlite3.Connection) -> None:
    """Make the tables in an empty database."""
    header = f"pragma application_id = {APPLICATION_ID}; pragma user_version = {SCHEMA_VERSION}"
    database.executescript(f"begin immediate; {_schema()}; {header}; commit;")


def keep_copy(database: sqlite3.Connection, path: Path) -> Path:
    """Copy a database of an older version beside itself, where the older version finds it if it is wanted again.

    Raises:
        StoreBroken: There is no room for it.
    """
    (version,), (pages,), (size,) = (
        database.execute(f"pragma {name}").fetchone() for name in ("user_version", "page_count", "page_size")
    )
    copy = path.with_name(f"{path.name}.schema-{version}")
    part = copy.with_name(f".{copy.name}.part")
    part.unlink(missing_ok=True)  # of a process that was killed
    if shutil.disk_usage(path.parent).free < pages * size + reserve_bytes(path.parent):
        raise StoreBroken(
            f"{path}: is of an older version and is copied before it is changed, but its disk has no room for "
            f"{pages * size >> 20} MiB beside its reserve; free some space, then start again"
        )
    part.touch(0o600)
    database.execute("vacuum into ?", (str(part),))
    sync(part)
    part.replace(copy)
    sync(copy.parent)
    return copy


def migrate(database: sqlite3.Connection) -> None:
    """Bring a database of an older version to this one's tables, wholly or not at all."""
    database.execute("begin immediate")
    for statement in additions(database):
        database.execute(statement)
    database.execute(f"pragma user_version = {SCHEMA_VERSION}")
    database.execute("commit")


def additions(database: sqlite3.Connection) -> Iterator[str]:
    """The statements that add what a database lacks."""
    there: dict[str, str] = dict(database.execute("select name, sql from sqlite_master where sql is not null"))
    with contextlib.closing(sqlite3.connect(":memory:")) as wanted:
        wanted.executescript(_schema())
        parts = wanted.execute("select type, name, sql from sqlite_master where sql is not null").fetchall()
        for _, name, sql in (part for part in parts if part[0] == "table"):
            if name in there:
                yield from _columns(name, database, wanted)
            else:
                yield sql
        for _, name, sql in (part for part in parts if part[0] == "index"):
            if there.get(name) == sql:
                continue
            if name in there:
                yield f"drop index {name}"
            yield sql


def _columns(table: str, database: sqlite3.Connection, wanted: sqlite3.Connection) -> Iterator[str]:
    listed = f"select name, type, \"notnull\", dflt_value from pragma_table_info('{table}')"  # noqa: S608 - ours
    has = {name for name, *_ in database.execute(listed)}
    for name, type, not_null, default in wanted.execute(listed):
        if name not in has:
            bounds = (" not null" if not_null else "") + ("" if default is None else f" default {default}")
            yield f"alter table {table} add column {name} {type}{bounds}"


def index(name: str) -> str:
    """The statement that makes an index."""
    (found,) = (text for text in _schema().split(";") if f"create index {name} " in text)
    return found[found.index("create index") :]


def _schema() -> str:
    return resources.files(__package__ or "").joinpath("schema.sql").read_text("utf-8")
