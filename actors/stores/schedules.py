"""Schedules in the SQLite store. Owns the SQL of the table `schedule`. Decides nothing."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from .blobs import pack, unpack
from .bulk import Writes, single

_PUT: Final = "insert or replace into schedule values (?, ?, ?, ?, ?, ?, ?)"
_FORGET: Final = "delete from schedule where name = ?"
_ALL: Final = "select name, source, plan, last, paused, task, ran from schedule order by name"


def _put(database: sqlite3.Connection, changed: list[tuple[Any, ...]]) -> None:
    rows = [(name, source, pack(plan), *rest, pack(ran)) for name, source, plan, *rest, ran in changed]
    database.executemany(_PUT, rows)


WRITES: Final[Writes] = (("forgotten_schedules", single(_FORGET)), ("schedules", _put))
"""What is forgotten goes, unless it was set again in the same step."""


def known(database: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Their rows, for an opening."""
    return [
        (name, source, unpack(plan), last, bool(paused), task, None if ran is None else tuple(unpack(ran)))
        for name, source, plan, last, paused, task, ran in database.execute(_ALL)
    ]
