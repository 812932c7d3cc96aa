"""SQLite's lock on a database file, looked at from outside: who has it, without opening the database.

A supervisor that is started twice learns so at once, before it has imported what it needs to run.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import Final

from .contract import StoreLocked

LOCK_START: Final = 0x40000000
LOCK_LENGTH: Final = 512
"""The bytes of the file that SQLite locks."""

_FLOCK: Final = "hhqqi4x"  # Linux: struct flock


def check_free(database: Path) -> None:
    """See that no other process has a database open. Silent where nobody can tell (no file, no Linux).

    Call it before this process opens the database: closing the file here would drop the locks that it holds.

    Raises:
        StoreLocked: A process has it; the message says which.
    """
    holder = _holder(database) if sys.platform == "linux" else None
    if holder is not None:
        who = f" (process {holder})" if holder > 0 else ""
        message = f"{database}: another supervisor{who} has this database open; stop it, or name another file"
        raise StoreLocked(message)


def _holder(database: Path) -> int | None:
    """The process that holds a lock; 0: one that cannot be seen from here."""
    import fcntl

    try:
        file = os.open(database, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None  # whoever opens it says what is wrong with it
    try:
        wanted = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, LOCK_START, LOCK_LENGTH, 0)
        found: tuple[int, ...] = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, wanted))
    except OSError:
        return None
    finally:
        os.close(file)
    return None if found[0] == fcntl.F_UNLCK else max(found[4], 0)
