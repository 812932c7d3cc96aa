"""How a database keeps identities and invitations: writes what a step has changed of them, and nothing else."""

from __future__ import annotations

import sqlite3

from ..core.effects import Persist
from . import statements


def write(database: sqlite3.Connection, persist: Persist) -> None:
    """The latest word about each identity and invitation counts; what is spent or forgotten goes."""
    if persist.identities:
        database.executemany(statements.PUT_IDENTITY, persist.identities)
    if persist.forgotten_identities:
        database.executemany(statements.FORGET_IDENTITY, [(public,) for public in persist.forgotten_identities])
    if persist.invitations:
        database.executemany(statements.PUT_INVITATION, persist.invitations)
        database.execute(statements.DROP_SPENT_INVITATIONS)
