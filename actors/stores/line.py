"""The order in which the queued tasks of a lane stand in the SQLite store: its index, and what is read along it.

By priority and place, or with ageing by level and place (`core/order/ageing.py`). The formula stands in the index
itself, so another setting makes another index, once, when the database is opened.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from ..core.effects import Refill
from . import schema
from .binding import rows_of
from .statements import READY

_NAME = "ready"


class Line:
    """See the module.

    Attributes:
        level: What tasks are sorted by before their place.
        first, same, lower: Statements for the rows from the beginning, and from some task on those of its level and
            those of lower ones.

    Args:
        ageing: Seconds after which a waiting task counts one priority more; 0: never.
    """

    def __init__(self, ageing: float = 0.0) -> None:
        self._ages = bool(ageing)
        self.level = level = f"(priority - cast(sent_at / {float(ageing)!r} as integer))" if ageing else "priority"
        self.first = f"{READY} order by {level} desc, place limit ?"
        self.same = f"{READY} and {level} = ? and place > ? order by place limit ?"
        self.lower = f"{READY} and {level} < ? order by {level} desc, place limit ?"

    def keep(self, database: sqlite3.Connection) -> None:
        """Sort the database by this line, if it is sorted by another."""
        (there,) = database.execute("select sql from sqlite_master where name = ?", (_NAME,)).fetchone()
        if self.level in there and (self._ages or "cast(" not in there):
            return
        plain = schema.index(_NAME)
        database.execute("begin immediate")
        database.execute(f"drop index {_NAME}")
        database.execute(plain.replace("priority desc", f"{self.level} desc"))
        database.execute("commit")

    def refill(self, database: sqlite3.Connection, need: Refill) -> list[tuple[Any, ...]]:
        """The rows of a need, in order."""
        execute = database.execute
        if need.after is None:
            return rows_of(execute(self.first, (need.lane, need.count)))
        level, place = need.after
        rows = rows_of(execute(self.same, (need.lane, level, place, need.count)))
        if len(rows) < need.count:
            rows += rows_of(execute(self.lower, (need.lane, level, need.count - len(rows))))
        return rows
