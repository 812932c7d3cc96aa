"""How a database keeps identities, invitations and the audit: writes what a step has changed, reads the audit."""

from __future__ import annotations

import sqlite3
from typing import Any

from ..core.effects import Persist
from . import statements
from .blobs import pack, unpack
from .views import audited


def write(database: sqlite3.Connection, persist: Persist) -> None:
    """The latest word about each identity and invitation counts; what is spent or forgotten goes."""
    if persist.identities:
        database.executemany(statements.PUT_IDENTITY, persist.identities)
    if persist.forgotten_identities:
        database.executemany(statements.FORGET_IDENTITY, [(public,) for public in persist.forgotten_identities])
    if persist.invitations:
        database.executemany(statements.PUT_INVITATION, persist.invitations)
        database.execute(statements.DROP_SPENT_INVITATIONS)
    if persist.shares:
        database.executemany(statements.PUT_SHARE, [share for share in persist.shares if share[2]])
        database.executemany(statements.DROP_SHARE, [(share[0],) for share in persist.shares if not share[2]])
    if persist.audit:
        database.executemany(statements.INSERT_AUDIT, [(*row, pack(more)) for *row, more in persist.audit])
    if persist.audit_from:
        database.execute(statements.FORGET_AUDIT, (persist.audit_from,))


def audit(database: sqlite3.Connection, limit: int, before: int) -> list[dict[str, Any]]:
    """See `Store.audit`."""
    rows = database.execute(statements.AUDIT, (before, limit)).fetchall()
    return [audited((*row, unpack(more) or {})) for *row, more in rows]
