"""Copies a database that is in use into a file, a few pages at a time.

SQLite copies in one call that gives way after every few pages. That call runs in a thread of its own, which moves only
while the store's thread waits for it in `work`: the two never use the connection at the same time. What is written
meanwhile through the same connection, SQLite writes into the copy too, so a backup never starts anew.
"""

from __future__ import annotations

import contextlib
import glob
import secrets
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ...transport import clock
from ...workers.errors import plain
from .contract import BackupEnded
from .file_system import sync

PAGES: Final = 16
"""Pages copied between two looks at the clock: a fifth of a millisecond."""
_CACHE_KIB: Final = 256
"""Of the copy: what of it is not written yet when the last page is copied is written in that one step."""
_TOKEN_BYTES: Final = 4
_LEFT: Final = "the supervisor left before the copy was whole"


class _GivenUp(Exception):
    """The store is being closed."""


class Backup:
    """One copy in the making.

    Args:
        source: The store's connection. It must allow use in several threads.
        path: The new file; it appears when the copy is whole and on the disk.
        told: Called when it is, or has failed, in the copy's thread.

    Attributes:
        copied: From 0 to 1.
        copying: Whether there are pages left to copy.
    """

    def __init__(self, source: sqlite3.Connection, path: Path, told: Callable[[BackupEnded], None]) -> None:
        self.copied = 0.0
        self.copying = True
        self._source, self._path, self._told = source, path, told
        # A name of its own: a copy that was given up may take long to notice, and must never meet the next one.
        self._part = path.with_name(f".{path.name}.{secrets.token_hex(_TOKEN_BYTES)}.part")
        self._given_up = False
        self._go, self._stand = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name="backup", daemon=True)
        self._thread.start()

    def work(self, seconds: float) -> None:
        """Copy for that long, some pages at least."""
        end = clock.now() + seconds
        while self.copying:
            self._go.release()
            self._stand.acquire()
            if clock.now() >= end:
                break

    def give_up(self) -> None:
        """Let go of the source, which is about to be closed. The copy does not appear any more, unless it just has."""
        self._given_up = True
        if self.copying:
            self._go.release()
            self._thread.join()

    def _run(self) -> None:
        self._go.acquire()
        fault: str | None = _LEFT
        size = 0
        try:
            size = self._make()
            fault = None
        except (sqlite3.Error, OSError, _GivenUp) as error:
            fault = plain(str(error))
        except Exception as error:  # foreseen or not: the store's thread waits until it hears of this one's end
            fault = plain(f"{type(error).__name__}: {error}")
        finally:
            self._let_go()
            if fault is not None:
                with contextlib.suppress(OSError, ValueError):  # a name that no file can have is a ValueError
                    self._part.unlink(missing_ok=True)
            self._told(BackupEnded(str(self._path), fault, size))

    def _make(self) -> int:
        """The whole copy, under its name; how many bytes it has."""
        if self._given_up:
            raise _GivenUp(_LEFT)
        self._copy()
        if self._given_up:
            raise _GivenUp(_LEFT)
        size = self._part.stat().st_size
        if self._path.exists():
            raise FileExistsError(f"{self._path} is there already")
        self._part.rename(self._path)
        sync(self._path.parent)
        return size

    def _copy(self) -> None:
        parts = f".{glob.escape(self._path.name)}.{'?' * 2 * _TOKEN_BYTES}.part*"
        for left in self._path.parent.glob(parts):  # by a process that was killed, with its journal; or given up
            with contextlib.suppress(OSError):
                left.unlink()
        self._part.touch(0o600)
        target = sqlite3.connect(self._part, isolation_level=None)
        try:
            target.execute("pragma synchronous = off")  # the whole file is synced below
            target.execute(f"pragma cache_size = -{_CACHE_KIB}")
            self._source.backup(target, pages=PAGES, progress=self._pause)
            self._let_go()
            target.execute("pragma journal_mode = delete")  # one file, that can be read from a folder nobody may write
            (found,) = target.execute("pragma quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(f"the copy is damaged, as the database itself must be ({found})")
        finally:
            target.close()
        sync(self._part)

    def _pause(self, _status: int, remaining: int, total: int) -> None:
        """A few pages are copied: give way to the store's thread until it waits again."""
        self.copied = 1 - remaining / total if total else 1.0
        self._stand.release()
        self._go.acquire()
        if self._given_up:
            raise _GivenUp(_LEFT)

    def _let_go(self) -> None:
        """The source is not used any more: whoever waits goes on, and the rest happens beside it."""
        if self.copying:
            self.copying = False
            self._stand.release()
