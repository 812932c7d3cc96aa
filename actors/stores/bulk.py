"""Many rows with one statement: what a step writes most of, new tasks, grants and counts. Pure but for the inserting.

A statement that runs opens the table and each of its indexes anew, which takes SQLite as long as writing a row does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

Values = tuple[Any, ...]
Claim = tuple[int, int, int, float, int]
"""(fence, attempt, owner, started_at, id)."""

_ROWS: Final = 40  # of one statement: with 24 columns still less than 999 values, the most that any SQLite takes
_STRETCH_MIN: Final = 4


@cache
def _repeated(statement: str) -> str:
    """An insert of one row as one of `_ROWS`."""
    head, row = statement.rsplit("values", 1)
    return f"{head}values {', '.join([row] * _ROWS)}"


def insert(database: sqlite3.Connection, statement: str, rows: Sequence[Values]) -> None:
    """Run an insert, `... values (...)`, for every row."""
    whole = len(rows) - len(rows) % _ROWS
    if whole:
        together = [tuple(chain.from_iterable(rows[start : start + _ROWS])) for start in range(0, whole, _ROWS)]
        database.executemany(_repeated(statement), together)
    if whole < len(rows):
        database.executemany(statement, rows[whole:])


def stretches(claims: Sequence[Claim]) -> tuple[list[Values], list[Claim]]:
    """Grants of tasks that stand one behind the other, under fences that do, to one host at one time; and the others.

    Returns:
        (what to add to an id for its fence, attempt, owner, started_at, first id, last id) of each stretch.
    """
    alike: list[Values] = []
    others: list[Claim] = []
    count, start = len(claims), 0
    while start < count:
        fence, attempt, owner, started_at, id = claims[start]
        end = start + 1
        while end < count and claims[end] == (fence + end - start, attempt, owner, started_at, id + end - start):
            end += 1
        if end - start >= _STRETCH_MIN:
            alike.append((fence - id, attempt, owner, started_at, id, id + end - start - 1))
        else:
            others += claims[start:end]
        start = end
    return alike, others
