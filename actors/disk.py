"""The room on the database's disk: how much is free, and a ballast that is given up when there is none.

The ballast is a file that holds nothing. When a commit meets a full disk it is deleted, so that what was accepted can
go on; until it can be made again the disk counts as having no room at all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final

from .stores.file_system import real, reserve_bytes

BALLAST_BYTES_MAX: Final = 16 * 1024 * 1024
_RESERVE_TO_BALLAST: Final = 4
_LOOK_SECONDS: Final = 1.0
_LOOK_SHARE: Final = 16  # of the reserve is written between two looks at most
_HOLD_SECONDS: Final = 5.0  # a turn that met a full disk is not worth another try at once
_ZEROS: Final = bytes(1024 * 1024)


class Disk:
    """The disk of one database.

    Attributes:
        reserve: Bytes that are to stay free.
    """

    def __init__(self, database: Path) -> None:
        database = real(database)
        self._ballast = database.with_name(database.name + "-ballast")
        self.reserve = reserve_bytes(self._ballast.parent)
        self._ballast_bytes = min(BALLAST_BYTES_MAX, self.reserve // _RESERVE_TO_BALLAST)
        self._looked = self._hold_until = float("-inf")
        self._written = 0

    def wrote(self, bytes: int) -> None:
        """So much came in since the last look, about as much as goes to the disk."""
        self._written += bytes

    def look(self, now: float) -> int | None:
        """How many bytes are free; 0 as long as there is no ballast. None: it was looked just now.

        Args:
            now: Seconds on a clock that never jumps.
        """
        if now - self._looked < _LOOK_SECONDS and self._written < self.reserve // _LOOK_SHARE:
            return None
        self._looked, self._written = now, 0
        try:
            free = shutil.disk_usage(self._ballast.parent).free
            if self._has_ballast():
                return free
            if now < self._hold_until or free < self._ballast_bytes + 2 * self.reserve:
                return 0
            self._make()
            return free - self._ballast_bytes
        except OSError:  # no room after all (a quota), or the folder cannot be looked at
            return 0

    def give_way(self, now: float) -> None:
        """A commit met a full disk: give up the ballast, and count as full for a while."""
        self._looked, self._hold_until = float("-inf"), now + _HOLD_SECONDS
        with contextlib.suppress(OSError):
            self._ballast.unlink(missing_ok=True)

    def _has_ballast(self) -> bool:
        try:
            return self._ballast.stat().st_size >= self._ballast_bytes
        except FileNotFoundError:
            return False

    def _make(self) -> None:
        """Take the room for good: a file with holes would hold none."""
        descriptor = os.open(self._ballast, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, self._ballast_bytes)
            else:
                for start in range(0, self._ballast_bytes, len(_ZEROS)):
                    os.write(descriptor, _ZEROS[: self._ballast_bytes - start])
        except OSError:
            self._ballast.unlink()
            raise
        finally:
            os.close(descriptor)
