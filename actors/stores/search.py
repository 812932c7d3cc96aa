"""Which tasks are meant, in the SQLite store: a bounded look at rows, the newest first. Decides nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from ..core.effects import EndsOf, MeantNeed, Where
from ..core.rows import CANCELLED, FAILED, QUARANTINED, RUNNING
from . import statements
from .binding import rows_of
from .blobs import unpack
from .views import error_text

LISTED_ROWS_MAX: Final = 5000
"""Rows that one page of a list looks at: a few milliseconds, whatever the filters."""
MEANT_ROWS_MAX: Final = 50_000
"""Rows that one order by filter looks at."""
MEANT_ERRORS_MAX: Final = 10_000
"""The same when the error of each is read: a fifth of a second."""
_FIRST: Final = 2**63 - 1
_COLUMNS: Final = "select id, state, lane, session, sent_at from task"
_ALL: Final = f"{_COLUMNS} where id < ? order by id desc limit ?"
_ONE: Final = f"{_COLUMNS} where id = ?"
_TAGGED: Final = """select tag.id, state, lane, session, sent_at from tag cross join task using (id)
    where tag = ? and tag.id < ? order by tag.id desc limit ?"""
_KEYED: Final = """select key.id, state, lane, session, sent_at from key cross join task using (id)
    where key = ? and key.id < ? order by key.id desc limit ?"""
_HAS_KEY: Final = "select 1 from key where key = ? and id = ?"
_HAS_TAG: Final = "select 1 from tag where tag = ? and id = ?"
_LANES: Final = "select lane from lane where (?1 is null or type = ?1) and (?2 is null or tenant = ?2)"
_DETAIL: Final = "select detail from task where id = ?"
_NEEDED_BY: Final = """select later.id from edge join task as later on later.id = edge.task
    where after = ? and later.state <> 4 order by later.id limit ?"""
_AFTER: Final = "select count(*) from edge where after = ?"
_INDEXES: Final = {
    RUNNING: "running where state = 3",
    **{state: f"ended where state >= 5 and state = {state}" for state in (FAILED, CANCELLED, QUARANTINED)},
}
"""By state: partial ones, which serve literals only."""

Candidates = Iterator[tuple[int, int, int, int, float]]
Members = Callable[[int, int, int], Candidates]
"""The first columns of a flow's tasks: those of (flow, below this id, at most so many)."""


def _in_states(states: Iterable[int]) -> str:
    """Each state's tasks are in order, and they are merged."""
    parts = (f"{_COLUMNS} indexed by {_INDEXES[state]} and id < ?1" for state in states)
    return " union all ".join(parts) + " order by id desc limit ?2"


SCANS: Final = {
    "SCAN_ALL": _ALL,
    "SCAN_TAG": _TAGGED,
    "SCAN_RUNNING": _in_states([RUNNING]),
    "SCAN_ENDED_BADLY": _in_states([FAILED, CANCELLED, QUARANTINED]),
}
"""Whatever looks at many tasks."""


def read(database: sqlite3.Connection, members: Members, need: MeantNeed) -> list[Any]:
    """Rows for a need."""
    execute = database.execute
    if isinstance(need, EndsOf):
        return _ends(execute, need)
    ids, following = search(database, members, need.where, need.before, need.count, meant_rows(need.where))
    rows = [row for id in ids for row in rows_of(execute(statements.ROW_OF, (id,)))]
    return [(rows, following)]


def meant_rows(where: Where) -> int:
    """How many rows one order by filter looks at."""
    return MEANT_ROWS_MAX if where.error is None else MEANT_ERRORS_MAX


def _ends(execute: Callable[..., sqlite3.Cursor], need: EndsOf) -> list[Any]:
    found: list[Any] = []
    edges = 0
    for id in sorted(need.ids, reverse=True):
        for row in execute(statements.END_COLUMNS_OF, (id,)):
            later = None
            if edges < need.edges:
                later = tuple(task for (task,) in execute(_NEEDED_BY, (id, need.needed_by)))
                edges += execute(_AFTER, (id,)).fetchone()[0]
            found.append((*row, later))
    return found


def search(
    database: sqlite3.Connection, members: Members, where: Where, before: int | None, limit: int, looked_at: int
) -> tuple[list[int], int | None]:
    """The ids of tasks that are meant, at most `limit`, and the id to go on before; None at the end."""
    execute = database.execute
    lanes = None
    if where.type is not None or where.tenant is not None:
        lanes = {lane for (lane,) in execute(_LANES, (where.type, where.tenant))}
    found: list[int] = []
    scanned, last = 0, None
    rows = _candidates(database, members, where, _FIRST if before is None else before, looked_at)
    for scanned, (id, state, lane, session, sent_at) in enumerate(rows, 1):  # noqa: B007 - read after the loop
        if (
            (not where.states or state in where.states)
            and (lanes is None or lane in lanes)
            and (where.sent_before is None or sent_at < where.sent_before)
            and _has_the_rest(execute, where, id, session)
        ):
            if len(found) == limit:
                return found, found[-1]
            found.append(id)
        last = id
    return found, last if scanned == looked_at else None


def _candidates(
    database: sqlite3.Connection, members: Members, where: Where, before: int, looked_at: int
) -> Candidates:
    execute = database.execute
    if where.ids is not None:
        ids = sorted((id for id in where.ids if id < before), reverse=True)
        return islice((row for id in ids for row in execute(_ONE, (id,))), looked_at)  # of those that are there
    if where.key is not None:
        return execute(_KEYED, (where.key, before, looked_at))
    if where.flow is not None:
        return members(where.flow, before, looked_at)
    if where.tag is not None:
        return execute(_TAGGED, (where.tag, before, looked_at))
    if where.states and _INDEXES.keys() >= set(where.states):
        return execute(_in_states(where.states), (before, looked_at))
    return execute(_ALL, (before, looked_at))


def _has_the_rest(execute: Callable[..., sqlite3.Cursor], where: Where, id: int, session: int) -> bool:
    """Whether what is not in the first columns of a task is as it is meant."""
    otherwise_found = where.flow is not None or where.ids is not None or where.key is not None
    if where.tag is not None and otherwise_found and execute(_HAS_TAG, (where.tag, id)).fetchone() is None:
        return False
    if where.key is not None and where.ids is not None and execute(_HAS_KEY, (where.key, id)).fetchone() is None:
        return False
    if where.flow is not None and (where.ids is not None or where.key is not None):
        [options] = execute(statements.OPTIONS_OF, (id,)).fetchone()
        known: dict[str, Any] = unpack(options) or {}
        if known.get("flow") != where.flow:
            return False
    if where.owner is not None and execute(statements.IDENTITY_OF, (session,)).fetchone() != (where.owner,):
        return False
    if where.error is None:
        return True
    [detail] = execute(_DETAIL, (id,)).fetchone()
    return where.error.casefold() in (error_text(unpack(detail)) or "").casefold()
