"""Keys and cached results in the SQLite store: the tasks that answer for others, by name or by params.

Owns the SQL of the tables `key` and `cached`, and of what is read for `Consult`. Decides nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from ..core.effects import Consult
from . import statements
from .binding import chunks, marks, rows_of
from .bulk import Writes, each, single
from .views import clearings, name_view

_PUT_KEY: Final = "insert or replace into key values (?, ?, ?, ?, ?, ?)"
_REPLACE: Final = "update task set params = ? where id = ? and state < 3 and attempt = 0"
_REPLACE_DIGEST: Final = "update key set digest = ? where id = ?"
_FORGET_CACHED: Final = "delete from cached where id = ?"
_PUT_CACHED: Final = "insert or replace into cached values (?, ?, ?, ?)"
_BOUND: Final = """delete from cached where type = ?1 and id <=
    (select id from cached where type = ?1 order by id desc limit 1 offset ?2)"""
_KEYS_OF: Final = """select key, until, digest, key.id, state, attempt from key join task on task.id = key.id
    where key.owner = ? and key.type = ? and key.key in"""
_CACHED_OF: Final = """select cached.digest, coalesce(ended_at, 0.0), x'', cached.id, state, attempt
    from cached join task on task.id = cached.id where cached.owner = ? and cached.type = ? and cached.digest in"""
_BEARER_OF: Final = """select key.owner, key.type, key.key, until, digest, key.id
    from task join lane on lane.lane = task.lane join key on key.type = lane.type and key.key = ?
        and (key.id = task.id
            or key.owner in ('', (select identity from session where session.session = task.session)))
    where task.id = ? order by key.id = task.id desc, key.owner desc limit 1"""
"""A client's names are its identity's, everybody else's nobody's; who sent a task may be either by now."""

_UNTIL: Final = "select until from key where id = ?"
_ANSWERS: Final = """select lane.type from cached join task using (id) join lane using (lane) where cached.id = ?"""
_CLEARED: Final = "select value from meta where key = ?"
_OWNER_AND_TYPE: Final = itemgetter(0, 1)


def _replace(database: sqlite3.Connection, replacements: Sequence[tuple[bytes, bytes, int]]) -> None:
    for params, digest, id in replacements:
        database.execute(_REPLACE, (params, id))
        database.execute(_REPLACE_DIGEST, (digest, id))


WRITES: Final[Writes] = (
    ("keys", each(_PUT_KEY)),
    ("replacements", _replace),
    ("cached", each(_PUT_CACHED)),
    ("bounds", each(_BOUND)),
    ("uncached", single(_FORGET_CACHED)),
)
FORGET: Final = (
    ("delete from key where id = ?", "select 1 from key limit 1"),
    (_FORGET_CACHED, "select 1 from cached limit 1"),
)
"""What goes with a task, and whether there is any of it."""


def read(database: sqlite3.Connection, need: Consult) -> list[Any]:
    """Rows for the need."""
    execute = database.execute
    found = _named(database, _KEYS_OF, need.keys) + _named(database, _CACHED_OF, need.cached)
    for id, key in need.bearers:
        for *name, until, digest, bearer in execute(_BEARER_OF, (key, id)).fetchall():
            found += [((id, *name), until, digest, row) for row in rows_of(execute(statements.ROW_OF, (bearer,)))]
    for id in need.ids:
        wanted = (statements.ROW_OF, (id,)) if need.owner is None else (statements.OWN_ROW_OF, (id, need.owner))
        found += [(id, 0.0, b"", row) for row in rows_of(execute(*wanted))]
    return found


def _named(database: sqlite3.Connection, statement: str, asked: Sequence[tuple[str, str, Any]]) -> list[Any]:
    """What stands under these (owner, type, key or digest), many with one look."""
    found: list[Any] = []
    for (owner, type), group in groupby(asked, _OWNER_AND_TYPE):
        names = [name for _, _, name in group]
        rows: dict[Any, Any] = {}
        for some in chunks(names):
            rows |= {row[0]: row[1:] for row in database.execute(f"{statement} {marks(some)}", (owner, type, *some))}
        found += [((owner, type, name), *rows[name][:2], rows[name][2:]) for name in names if name in rows]
    return found


class NameReads:
    """What people may know of names: the part of `SqliteStore` that only reads them."""

    _explained: AbstractContextManager[None]

    @property
    def _database(self) -> sqlite3.Connection:
        raise NotImplementedError

    def named(self, id: int) -> dict[str, Any]:
        """What a task's name is worth. See `Store.named`."""
        with self._explained:
            execute = self._database.execute
            until = execute(_UNTIL, (id,)).fetchone()
            type = execute(_ANSWERS, (id,)).fetchone()
            marks = [] if type is None else clearings(type[0])
            cleared = [value for mark in marks for (value,) in execute(_CLEARED, (mark,))]
        return name_view(id, None if until is None else until[0], cleared if type else None)
