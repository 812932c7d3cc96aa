"""Schedules in the SQLite store. Owns the SQL of the table `schedule`. Decides nothing."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from ..core.effects import Persist
from .blobs import pack, unpack

_PUT: Final = "insert or replace into schedule values (?, ?, ?, ?, ?, ?, ?)"
_FORGET: Final = "delete from schedule where name = ?"
_ALL: Final = "select name, source, plan, last, paused, task, ran from schedule order by name"


def write(database: sqlite3.Connection, persist: Persist) -> None:
    """The latest word about each schedule counts; what is forgotten goes, unless it was set again in the same step."""
    if persist.forgotten_schedules:
        database.executemany(_FORGET, [(name,) for name in persist.forgotten_schedules])
    if persist.schedules:
        database.executemany(
            _PUT,
            [(name, source, pack(plan), *rest, pack(ran)) for name, source, plan, *rest, ran in persist.schedules],
        )


def known(database: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Their rows, for an opening."""
    return [
        (name, source, unpack(plan), last, bool(paused), task, None if ran is None else tuple(unpack(ran)))
        for name, source, plan, last, paused, task, ran in database.execute(_ALL)
    ]
