"""What to do about SQLite's errors, by their primary code."""

from __future__ import annotations

import sqlite3
from typing import Final

CURES: Final = {
    sqlite3.SQLITE_CANTOPEN: "it must be a file that can be read and written, in a folder that can be written",
    sqlite3.SQLITE_READONLY: "the file and its folder must be writable",
    sqlite3.SQLITE_PERM: "the file and its folder must be writable",
    sqlite3.SQLITE_FULL: "free some space on its disk; nothing that was acknowledged is lost",
    sqlite3.SQLITE_IOERR: "see the system's log for what ails its disk, then start again; if the file has suffered, "
    "`workerhost restore FILE` puts a backup in its place",
}
