"""Looks for damage in a database that serves, in small steps: reads every row and every entry of every index once.

SQLite's own `quick_check` is one call that takes seconds on a large file. This walk finds the same broken pages,
because reading them is what fails, and can stop after each one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from typing import Any, Final

_LEAST: Final = -(2**63)
_LOADED: Final = "|| length(params || '') || length(coalesce(result, '') || '') || length(coalesce(detail, '') || '')"

_WALKS: Final[tuple[tuple[str, tuple[Any, ...]], ...]] = (
    (f"select id, id {_LOADED} from task where id > ? order by id", (_LEAST,)),  # noqa: S608 - constants only
    ("select id from task indexed by running where state = 3 and id > ? order by id", (_LEAST,)),
    (
        """select relative, due, id from task indexed by agenda where state = 1 and (relative, due, id) > (?, ?, ?)
        order by relative, due, id""",
        (_LEAST, _LEAST, _LEAST),
    ),
    (
        """select session, finish from task indexed by finished where finish is not null
        and (session, finish) > (?, ?) order by session, finish""",
        (_LEAST, _LEAST),
    ),
    (
        """select state, id from task indexed by ended where state >= 5 and (state, id) > (?, ?)
        order by state, id""",
        (_LEAST, _LEAST),
    ),
    (
        """select id, attempt, fence, length(coalesce(detail, '') || '') from attempt
        where (id, attempt, fence) > (?, ?, ?) order by id, attempt, fence""",
        (_LEAST, _LEAST, _LEAST),
    ),
    ("select tag, id from tag where (tag, id) > (?, ?) order by tag, id", ("", _LEAST)),
    (
        """select session, submission from submission where (session, submission) > (?, ?)
        order by session, submission""",
        (_LEAST, _LEAST),
    ),
)
"""Statements that read one tree in the order of its key, on from a key; the key's columns come first."""

_LANES: Final = "select lane from lane order by lane"
_NEXT_LEVEL: Final = "select max({0}) from task indexed by ready where state = 2 and lane = ? and {0} < ?"
_PLACES: Final = """select place from task indexed by ready where state = 2 and lane = ? and {0} = ? and place > ?
    order by place"""


def walk(database: sqlite3.Connection, level: str, over: Callable[[], bool]) -> Generator[None]:
    """Read everything. Asks after every row whether the step is over, and then stands still with no statement open.

    `level` is what the tasks of a lane are sorted by before their place, see `line`.

    Raises:
        sqlite3.DatabaseError: There is damage.
    """
    for statement, least in _WALKS:
        yield from _walk(database, over, statement, (), least)
    for (lane,) in database.execute(_LANES).fetchall():
        present: int | None = 2**63 - 1
        while True:
            (present,) = database.execute(_NEXT_LEVEL.format(level), (lane, present)).fetchone()
            if present is None:
                break
            yield from _walk(database, over, _PLACES.format(level), (lane, present), (_LEAST,))


def _walk(
    database: sqlite3.Connection,
    over: Callable[[], bool],
    statement: str,
    fixed: tuple[Any, ...],
    after: tuple[Any, ...],
) -> Generator[None]:
    more = True
    while more:
        more = False
        cursor = database.execute(statement, (*fixed, *after))
        for row in cursor:
            if over():
                after, more = row[: len(after)], True
                cursor.close()  # an open one would hold up checkpoints
                break
        if more:
            yield
