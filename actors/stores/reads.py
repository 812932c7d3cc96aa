"""What the SQLite store reads for the core: each need, with the SQL of `statements`. Decides nothing."""

from __future__ import annotations

import sqlite3
from typing import Any

from ..core.effects import (
    Agenda,
    Consult,
    EndedAfter,
    Ends,
    Fetch,
    MeantNeed,
    Need,
    Refill,
    Replay,
    Resume,
    SeenAfter,
    Senders,
)
from ..core.flows.edges import EdgeNeed
from . import flows, names, search, statements
from .binding import chunks, ends_of, marks, rows_of, submissions_of
from .line import Line
from .views import End


def read(database: sqlite3.Connection, need: Need, line: Line, members: search.Members) -> list[Any]:
    """Rows for a need; `line` says how queued tasks stand, `members` which are a flow's. See each need."""
    execute = database.execute
    if isinstance(need, EdgeNeed):
        return flows.read(database, need)
    if isinstance(need, Refill):
        return line.refill(database, need)
    if isinstance(need, Agenda):
        due, id = need.after or (float("-inf"), 0)
        return rows_of(execute(statements.AGENDA, (need.relative, due, id, need.count)))
    if isinstance(need, Fetch):
        if need.owner is not None:
            wanted = statements.OWN_ROW_OF
            return [row for id in need.ids for row in rows_of(execute(wanted, (id, need.owner)))]
        return [row for id in need.ids for row in rows_of(execute(statements.ROW_OF, (id,)))]
    if isinstance(need, Consult):
        return names.read(database, need)
    if isinstance(need, Resume):
        known = execute(statements.SESSION_OF, (need.token,)).fetchall()
        return [
            (session, below, submissions_of(execute(statements.SUBMISSIONS_OF, (session,))), identity)
            for session, below, identity in known
        ]
    if isinstance(need, Replay):
        return ends_of(execute(statements.ENDS_AFTER, (need.session, need.after, need.count)), need.size)
    if isinstance(need, EndedAfter):
        return execute(statements.ENDED_AFTER, (need.session, need.finish, need.count)).fetchall()
    if isinstance(need, SeenAfter):
        return execute(statements.SEEN_AFTER[need.kind], (need.number, need.count)).fetchall()
    if isinstance(need, MeantNeed):
        return search.read(database, members, need)
    if isinstance(need, Senders):
        return [(n, identity) for n in need.sessions for (identity,) in execute(statements.IDENTITY_OF, (n,))]
    return _ends(database, need)


def _ends(database: sqlite3.Connection, need: Ends) -> list[Any]:
    execute = database.execute
    ends: list[End] = []
    size = need.size
    for some in chunks(need.ids):
        if size > 0:
            ends += ends_of(execute(f"{statements.ENDS_OF} {marks(some)} order by id", some), size)
            size = need.size - sum(len(end[3]) for end in ends)
    return sorted(ends, key=lambda end: end[1])
