"""Many rows with one statement. For what a step writes most of, new tasks, grants and counts, with few runs of one.

A statement that runs opens the table and each of its indexes anew, which takes SQLite as long as writing a row does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

from .contract import StoreDisagrees

Values = tuple[Any, ...]
Claim = tuple[int, int, int, float, int]
"""(fence, attempt, owner, started_at, id)."""

Write = Callable[[sqlite3.Connection, Any], object]
"""Writes what a field of `Persist` holds."""
Writes = tuple[tuple[str, Write], ...]
"""By field, in order."""

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


def each(statement: str) -> Write:
    """Run a statement for every row."""

    def write(database: sqlite3.Connection, rows: Sequence[Values]) -> None:
        database.executemany(statement, rows)

    return write


def single(*statements: str) -> Write:
    """Run statements for every value."""

    def write(database: sqlite3.Connection, values: Sequence[Any]) -> None:
        rows = [(value,) for value in values]
        for statement in statements:
            database.executemany(statement, rows)

    return write


def exactly(what: str, statement: str) -> Write:
    """Change one row of the table for every row that is given."""

    def write(database: sqlite3.Connection, rows: Sequence[Values]) -> None:
        changed = database.executemany(statement, rows).rowcount
        if changed != len(rows):
            raise missed(what, len(rows), changed)

    return write


def missed(what: str, wanted: int, changed: int) -> StoreDisagrees:
    """The error where fewer rows were changed than the core believed to be there."""
    return StoreDisagrees(f"{wanted - changed} of {wanted} {what} met another fence or state")


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
