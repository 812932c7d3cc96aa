"""What a step changed, statement by statement, in the order of the tables at the end of this file.

A lane is forgotten before another of its type, tenant and requirements is made; what is given back or queued again may
be granted; a flow may end and be forgotten. Nearly all of a step is empty, and a single task is two steps: only what is
there costs a call.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from ..core.effects import Persist
from . import flows, identities, names, schedules, statements
from .binding import for_attempts, for_finishes, for_running, for_submissions, for_tasks, granted_at_once
from .blobs import pack, unpack
from .bulk import Claim, Writes, each, exactly, insert, missed, single, stretches

_EVERY: Final = 2**63 - 1  # no submission has a higher number


def apply(database: sqlite3.Connection, persist: Persist) -> None:
    """Write all that a step changed.

    Raises:
        StoreDisagrees: A row's fence or state was not what the core believed.
    """
    waiting, running, claims = granted_at_once(persist.tasks, persist.claims)
    _write(database, persist, _FIRST)
    if waiting:
        insert(database, *for_tasks(waiting))
    if running:
        insert(database, *for_running(running))
    _write(database, persist, _THEN)
    if claims:
        _claim(database, claims)
    _write(database, persist, _LAST)


def _write(database: sqlite3.Connection, persist: Persist, writes: Writes) -> None:
    for name, write in writes:
        if changed := getattr(persist, name):
            write(database, changed)


def _claim(database: sqlite3.Connection, claims: list[Claim]) -> None:
    alike, others = stretches(claims)
    granted = 0
    if alike:
        granted += database.executemany(statements.CLAIM_STRETCH, alike).rowcount
    if others:
        granted += database.executemany(statements.CLAIM, others).rowcount
    if granted != len(claims):
        raise missed("claims", len(claims), granted)


def _finish(database: sqlite3.Connection, finishes: list[tuple[Any, ...]]) -> None:
    statement, rows = for_finishes(finishes)
    exactly("finishes", statement)(database, rows)


def _retry(database: sqlite3.Connection, retries: list[tuple[int, int]]) -> None:
    database.executemany(statements.KEEP_LAST_ATTEMPT, [(id,) for _, id in retries])
    exactly("retries", statements.RETRY)(database, retries)


def _set_options(database: sqlite3.Connection, options: list[tuple[dict[str, Any] | None, int, int]]) -> None:
    exactly("options", statements.SET_OPTIONS)(database, [(pack(given), *task) for given, *task in options])


def _keep_attempts(database: sqlite3.Connection, attempts: list[tuple[Any, ...]]) -> None:
    database.executemany(*for_attempts(attempts))


def _keep_submissions(database: sqlite3.Connection, submissions: list[tuple[Any, ...]]) -> None:
    database.executemany(statements.INSERT_SUBMISSION, for_submissions(submissions))


def _count(database: sqlite3.Connection, tallies: list[tuple[int, int, int]]) -> None:
    insert(database, statements.PUT_TALLY, tallies)


def _pause(database: sqlite3.Connection, pauses: list[tuple[str, bool, float | None, str]]) -> None:
    for type, paused, until, reason in pauses:
        database.execute(*(statements.PAUSE, (type, until, reason)) if paused else (statements.RESUME, (type,)))


def _put_meta(database: sqlite3.Connection, meta: dict[str, int]) -> None:
    database.executemany(statements.PUT_META, list(meta.items()))


def _prune(database: sqlite3.Connection, prunes: list[tuple[int, int]]) -> None:
    ids = [(id,) for id, _ in prunes]
    for (id,) in ids:
        for (packed,) in database.execute(statements.TAGS_OF, (id,)).fetchall():
            options: dict[str, Any] = unpack(packed) or {}
            database.executemany(statements.UNTAG, [(tag, id) for tag in options.get("tags", ())])
    database.executemany(statements.PRUNE_ATTEMPTS, ids)
    exactly("prunes", statements.PRUNE)(database, prunes)


def _forget_what_goes_along(database: sqlite3.Connection, prunes: list[tuple[int, int]]) -> None:
    ids = [(id,) for id, _ in prunes]
    for statement, any_at_all in (*names.FORGET, *flows.FORGET):
        if database.execute(any_at_all).fetchone():
            database.executemany(statement, ids)


def _forget_sessions(database: sqlite3.Connection, sessions: list[int]) -> None:
    database.executemany(statements.FORGET_SUBMISSIONS, [(session, _EVERY) for session in sessions])
    database.executemany(statements.FORGET_SESSION, [(session,) for session in sessions])


_FIRST: Final[Writes] = (
    ("shifts", single(statements.SHIFT)),
    ("forgotten_lanes", single(statements.FORGET_LANE, statements.FORGET_TALLIES)),
    ("lanes", each(statements.INSERT_LANE)),
    ("sessions", each(statements.PUT_SESSION)),
    ("hosts", each(statements.PUT_HOST)),
    ("code", each(statements.PUT_CODE)),
)
_THEN: Final[Writes] = (
    ("tags", each(statements.INSERT_TAG)),
    *names.WRITES,
    ("checkpoints", exactly("checkpoints", statements.PUT_CHECKPOINT)),
    ("adoptions", exactly("adoptions", statements.ADOPT)),
    ("edits", exactly("edits", statements.EDIT)),
    ("returns", exactly("returns", statements.RETURN)),
    ("finishes", _finish),
    ("setbacks", exactly("setbacks", statements.COUNT_SETBACKS)),
    ("cleared", single(statements.CLEAR_CHECKPOINT)),
    ("retries", _retry),
    ("options", _set_options),
)
_LAST: Final[Writes] = (
    ("attempts", _keep_attempts),
    ("submissions", _keep_submissions),
    ("forgotten", each(statements.FORGET_SUBMISSIONS)),
    ("tallies", _count),
    ("pauses", _pause),
    ("forgotten_rates", single(statements.FORGET_RATE)),
    ("rates", each(statements.PUT_RATE)),
    ("quotas", each(statements.PUT_QUOTA)),
    *identities.WRITES,
    ("meta", _put_meta),
    ("prunes", _prune),
    ("forgotten_sessions", _forget_sessions),
    ("forgotten_hosts", single(statements.FORGET_HOST, statements.FORGET_CODE)),
    *flows.WRITES,
    ("prunes", _forget_what_goes_along),  # a flow may end and be forgotten in one step
    *schedules.WRITES,
)
