"""Keys in the SQLite store: the names that senders gave their tasks, and what was stored under them.

Owns the SQL of the table `key`, and of what is read for `Consult`. Decides nothing.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from ..core.effects import Consult, Persist
from . import statements
from .binding import rows_of

_PUT_KEY: Final = "insert or replace into key values (?, ?, ?, ?, ?, ?)"
_REPLACE: Final = "update task set params = ? where id = ? and state < 3 and attempt = 0"
_REPLACE_DIGEST: Final = "update key set digest = ? where id = ?"
_ANY_KEY: Final = "select 1 from key limit 1"
_FORGET_KEY: Final = "delete from key where id = ?"
_KEY_OF: Final = "select until, digest, id from key where owner = ? and type = ? and key = ?"


def write(database: sqlite3.Connection, persist: Persist) -> None:
    """Apply what a step changed of keys, and forget those of pruned tasks."""
    if persist.keys:
        database.executemany(_PUT_KEY, persist.keys)
    for params, digest, id in persist.replacements:
        database.execute(_REPLACE, (params, id))
        database.execute(_REPLACE_DIGEST, (digest, id))
    if persist.prunes and database.execute(_ANY_KEY).fetchone():
        database.executemany(_FORGET_KEY, [(id,) for id, _ in persist.prunes])


def read(database: sqlite3.Connection, need: Consult) -> list[Any]:
    """Rows for the need."""
    execute = database.execute
    found: list[Any] = []
    for asked in need.keys:
        for until, digest, id in execute(_KEY_OF, asked).fetchall():
            found += [(asked, until, digest, row) for row in rows_of(execute(statements.ROW_OF, (id,)))]
    for id in need.ids:
        wanted = (statements.ROW_OF, (id,)) if need.owner is None else (statements.OWN_ROW_OF, (id, need.owner))
        found += [(id, 0.0, b"", row) for row in rows_of(execute(*wanted))]
    return found
