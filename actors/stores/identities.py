"""How a database keeps identities, invitations and the audit: writes what a step has changed, reads the audit."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from . import statements
from .blobs import pack, unpack
from .bulk import Writes, each, single
from .views import audited


def _invite(database: sqlite3.Connection, invitations: list[tuple[Any, ...]]) -> None:
    database.executemany(statements.PUT_INVITATION, invitations)
    database.execute(statements.DROP_SPENT_INVITATIONS)


def _share(database: sqlite3.Connection, shares: list[tuple[int, str, int]]) -> None:
    database.executemany(statements.PUT_SHARE, [share for share in shares if share[2]])
    database.executemany(statements.DROP_SHARE, [(share[0],) for share in shares if not share[2]])


def _audit(database: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    database.executemany(statements.INSERT_AUDIT, [(*row, pack(more)) for *row, more in rows])


def _forget_audit(database: sqlite3.Connection, before: int) -> None:
    database.execute(statements.FORGET_AUDIT, (before,))


WRITES: Final[Writes] = (
    ("identities", each(statements.PUT_IDENTITY)),
    ("forgotten_identities", single(statements.FORGET_IDENTITY)),
    ("invitations", _invite),
    ("shares", _share),
    ("audit", _audit),
    ("audit_from", _forget_audit),
)


def audit(database: sqlite3.Connection, limit: int, before: int) -> list[dict[str, Any]]:
    """See `Store.audit`."""
    rows = database.execute(statements.AUDIT, (before, limit)).fetchall()
    return [audited((*row, unpack(more) or {})) for *row, more in rows]
