"""Flows and edges in the SQLite store: what comes after what, and the tasks that were handed in as one.

Owns the SQL of the tables `flow`, `flow_part` and `edge`. Decides nothing.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from operator import itemgetter
from typing import Any, Final

from ..core.flows.edges import Awaited, Dependents, EdgeNeed, FlowsOf, Gathered, Unmet
from . import statements
from .binding import rows_of
from .bulk import Writes, each, single
from .flow_views import COUNTED_ROWS_MAX, FLOW_COLUMNS, flow_view

_PUT_FLOW: Final = f"insert or replace into flow values ({', '.join('?' * len(FLOW_COLUMNS))})"  # noqa: S608 - constants only
_PUT_PART: Final = "insert or replace into flow_part values (?, ?, ?, ?)"
_INSERT_EDGE: Final = "insert or ignore into edge values (?, ?, ?, 0)"
_MEET: Final = "update edge set met = 1 where after = ? and task = ?"
_FREE: Final = "update edge set met = 1 where task = ? and met = 0"
_WAIT: Final = "update task set state = 0 where id = ? and state = 2"
_ANY_EDGE: Final = "select 1 from edge limit 1"
_ANY_FLOW: Final = "select 1 from flow limit 1"
_EDGES_TO: Final = """select task, policy from edge where after = ? and task > ? and met = 0 order by task limit ?"""
_OPEN_OF: Final = "select count(*) from (select 1 from edge where task = ? and met = 0 limit ?)"
_UNMET: Final = """select edge.after, policy, task.state from edge left join task on task.id = edge.after
    where edge.task = ? and met = 0 order by edge.after limit ?"""
_AWAITED: Final = """select edge.after, edge.task, met, task.state from edge left join task on task.id = edge.after
    where (edge.after, edge.task) > (?, ?) order by edge.after, edge.task limit ?"""
_FLOW: Final = f"select {', '.join(FLOW_COLUMNS)} from flow where flow = ?"  # noqa: S608 - constants only
_PARTS: Final = "select start, first, count from flow_part where flow = ? order by start"
_UNFINISHED: Final = f"select {', '.join(FLOW_COLUMNS)} from flow where ended_at is null order by flow"  # noqa: S608
_LATEST: Final = f"select {', '.join(FLOW_COLUMNS)} from flow where flow < ? order by flow desc limit ?"  # noqa: S608
_AFTER_OF: Final = """select edge.after, policy, met, task.state from edge left join task on task.id = edge.after
    where edge.task = ? and edge.after > 0 order by edge.after limit ?"""
_MEMBERS: Final = "select id, state, lane, session, sent_at from task where id >= ? and id < ? order by id desc limit ?"
_COUNTS_OF: Final = """select type, state, sum(many) from (
    select lane, state, count(*) as many from task where id >= ? and id < ? group by lane, state
    ) join lane using (lane) group by type, state"""
_FLOW_OF: Final = "select flow, first + count from flow_part where first <= ? order by first desc limit 1"
_SIZE_OF: Final = "select case when ?2 is null then length(params) else length(result) end from task where id = ?1"
_RESULT_OF: Final = "select result from task where id = ?"


WRITES: Final[Writes] = (
    ("flows", each(_PUT_FLOW)),
    ("flow_parts", each(_PUT_PART)),
    ("edges", each(_INSERT_EDGE)),
    ("met", each(_MEET)),
    ("freed", single(_FREE)),
    ("waits", single(_WAIT)),
)
FORGET: Final = (
    ("delete from edge where task = ?", _ANY_EDGE),
    ("delete from flow_part where flow = ?", _ANY_FLOW),
    ("delete from flow where flow = ?", _ANY_FLOW),
)
"""What goes with a task, and whether there is any of it."""


def unfinished(database: sqlite3.Connection) -> list[tuple[tuple[Any, ...], list[tuple[int, int, int]]]]:
    """The flows that have not ended, with their parts."""
    return [(row, database.execute(_PARTS, row[:1]).fetchall()) for row in database.execute(_UNFINISHED).fetchall()]


def read(database: sqlite3.Connection, need: EdgeNeed) -> list[Any]:
    """Rows for a need."""
    if isinstance(need, Dependents):
        return _dependents(database, need)
    if isinstance(need, Unmet):
        return [
            (columns, database.execute(_UNMET, (task, need.count)).fetchall())
            for task in need.tasks
            for columns in rows_of(database.execute(statements.ROW_OF, (task,)))
        ]
    if isinstance(need, Awaited):
        return database.execute(_AWAITED, (*need.cursor, need.count)).fetchall()
    return _gathered(database, need) if isinstance(need, Gathered) else _flows(database, need)


def _gathered(database: sqlite3.Connection, need: Gathered) -> list[Any]:
    found: list[Any] = []
    for task, ids in need.tasks:
        for columns in rows_of(database.execute(statements.ROW_OF, (task,))):
            wanted = [(None, 1), *Counter(ids).items()]
            sizes = [
                times * (size or 0) for id, times in wanted for (size,) in database.execute(_SIZE_OF, (id or task, id))
            ]
            found.append((columns, sum(sizes)))
    return found


def _flows(database: sqlite3.Connection, need: FlowsOf) -> list[Any]:
    found = [row for flow in need.flows for row in database.execute(_FLOW, (flow,))]
    return [(row, database.execute(_PARTS, row[:1]).fetchall()) for row in found]


def _dependents(database: sqlite3.Connection, need: Dependents) -> list[Any]:
    execute = database.execute
    found: list[Any] = []
    seen: set[int] = set()
    for after, _ in need.ends:
        behind = need.cursor[1] if after == need.cursor[0] else 0
        for task, policy in execute(_EDGES_TO, (after, behind, need.count - len(found))).fetchall():
            columns = None
            if task not in seen:
                seen.add(task)
                [columns] = rows_of(execute(statements.ROW_OF, (task,))) or [None]
            (open,) = execute(_OPEN_OF, (task, need.count + 1)).fetchone() if columns is not None else (0,)
            found.append((after, task, policy, open, columns))
        if len(found) >= need.count:
            break
    return found


class FlowReads:
    """What people and TASKS need of flows: the half of `SqliteStore` that only reads them."""

    _explained: AbstractContextManager[None]

    @property
    def _database(self) -> sqlite3.Connection:
        raise NotImplementedError

    def results(self, ids: Sequence[int]) -> dict[int, bytes]:
        """The results of completed tasks. See `Store.results`."""
        with self._explained:
            execute = self._database.execute
            return {id: result for id in ids for (result,) in execute(_RESULT_OF, (id,)) if result is not None}

    def flows(self, *, before: int, limit: int, owner: str | None = None) -> tuple[list[dict[str, Any]], int | None]:
        """Flows, newest first. See `Store.flows`."""
        with self._explained:
            rows = self._database.execute(_LATEST, (before, limit)).fetchall()
            following = rows[-1][0] if len(rows) == limit else None
            return [flow_view(row) for row in rows if self._sent_by(row[2], owner)], following

    def flow(self, flow: int, *, start: int = 0, owner: str | None = None) -> dict[str, Any] | None:
        """One flow, with how many of its tasks of each type are in each state. See `Store.flow`."""
        with self._explained:
            row = self._database.execute(_FLOW, (flow,)).fetchone()
            if row is None or not self._sent_by(row[2], owner):
                return None
            parts = self._database.execute(_PARTS, (flow,)).fetchall()
            counts: dict[tuple[str, int], int] = {}
            left = COUNTED_ROWS_MAX
            for place, first, count in parts:
                skipped = max(0, start - place)
                taken = min(count - skipped, left)
                if taken > 0:
                    span = (first + skipped, first + skipped + taken)
                    for type, state, number in self._database.execute(_COUNTS_OF, span):
                        counts[type, state] = counts.get((type, state), 0) + number
                    left -= taken
            return flow_view(row, parts, counts, start + COUNTED_ROWS_MAX - left)

    def flow_of(self, task: int) -> int | None:
        """The flow that a task belongs to. See `Store.flow_of`."""
        with self._explained:
            found = self._database.execute(_FLOW_OF, (task,)).fetchone()
        return found[0] if found is not None and task < found[1] else None

    def after(self, task: int, limit: int) -> list[tuple[int, int, int, int | None]]:
        """What a task comes after. See `Store.after`."""
        with self._explained:
            return self._database.execute(_AFTER_OF, (task, limit)).fetchall()

    def _members(self, flow: int, before: int, limit: int) -> Iterator[tuple[int, int, int, int, float]]:
        """The first columns of a flow's tasks below `before`, the newest first, at most `limit`."""
        left = limit
        for _, first, count in sorted(self._database.execute(_PARTS, (flow,)), key=itemgetter(1), reverse=True):
            for found in self._database.execute(_MEMBERS, (first, min(first + count, before), left)):
                left -= 1
                yield found
            if not left:
                return

    def _sent_by(self, session: int, owner: str | None) -> bool:
        return owner is None or self._database.execute(statements.IDENTITY_OF, (session,)).fetchone() == (owner,)
