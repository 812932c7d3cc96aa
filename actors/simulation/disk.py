"""The supervisor's disk: a real SQLite file that may refuse a commit, lose what was not synced, or be put back in time.

What `durability` promises is decided here, not by the real disk below: with `full` every commit that returned is
there after a power cut, with `relaxed` only what was synced by chance.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, Final

from ..core.effects import Persist
from ..core.opening import EPOCH_SHIFT, Opening
from ..stores import statements
from ..stores.restore import Reached, prepare_restored
from ..stores.sqlite import SqliteStore

_SYNC_CHANCE: Final = 0.1
_PAGES_CHECKPOINT: Final = 200
_SUFFIXES: Final = ("", "-wal")

Image = tuple[bytes | None, ...]
"""The bytes of the database's files."""


class DiskError(Exception):
    """The simulated disk did not take a commit, or the process died in the middle of one."""


class DiskFull(DiskError):
    """There is no room for a commit, and the process lives."""


class SimulatedDisk(SqliteStore):
    """A store on such a disk.

    Attributes:
        full: Whether every commit that returned survives a power cut.
        fate: What becomes of the next commit: "" (nothing special), `refused` (there is no room for it), `lost` and
            `written` (an error or a death, before or after it is on the disk).
    """

    def __init__(
        self,
        folder: Path,
        random: Random,
        *,
        full: bool,
        ageing: float = 0.0,
        committed: Callable[[list[Persist]], None],
        remember: Callable[[], Any],
        rewind: Callable[[Any], None],
        restored: Callable[[Any, int], None],
    ) -> None:
        """See the class.

        Args:
            folder: An empty one.
            random: Source of all chance.
            full: See there.
            ageing: See `SqliteStore`.
            committed: Told each turn that is written.
            remember: Asked for what must come back together with the files.
            rewind: Told what `remember` had answered when the files of then are back after a power cut.
            restored: The same after a restore, and the fence that what was granted bears since.
        """
        super().__init__(folder / "tasks.db", durability="full" if full else "relaxed", ageing=ageing)
        self.full = full
        self.fate = ""
        self._random, self._committed = random, committed
        self._remember, self._rewind, self._restored = remember, rewind, restored
        self._turn: list[Persist] = []
        self._synced: tuple[Image, Any] = ((), None)
        self._reached = Reached(0, 0, 0)
        self._cuts = 0

    def open(self, boot: int = 0) -> Opening:
        """See `Store`. The new epoch is on the disk when this returns, whatever the durability.

        Clocks run on over a power cut, so that what is counted in them can be judged; the store alone sees that the
        machine was off.
        """
        opening = super().open(boot + self._cuts)
        self._reached = Reached(opening.epoch, opening.meta["last_id"], opening.meta["last_finish"])
        self._database.execute("pragma synchronous = off")  # only time would be lost by waiting for the real disk
        self._database.execute(f"pragma wal_autocheckpoint = {_PAGES_CHECKPOINT}")
        self._sync()
        return opening

    def begin(self) -> None:
        """See `Store`."""
        self._turn = []
        super().begin()

    def apply(self, persist: Persist) -> None:
        """See `Store`."""
        super().apply(persist)
        self._turn.append(persist)

    def commit(self) -> None:
        """See `Store`.

        Raises:
            DiskFull: `refused`.
            DiskError: `lost` or `written`.
        """
        fate, self.fate = self.fate, ""
        if fate == "refused":
            raise DiskFull(fate)
        if fate == "lost":
            raise DiskError(fate)
        super().commit()
        turn, self._turn = self._turn, []
        for persist in turn:
            last_id, last_finish = (persist.meta.get(name, 0) for name in ("last_id", "last_finish"))
            if last_id or last_finish:
                epoch, id, finish = self._reached.epoch, self._reached.last_id, self._reached.last_finish
                self._reached = Reached(epoch, last_id or id, last_finish or finish)
        self._committed(turn)
        if not self.full and self._random.random() < _SYNC_CHANCE:
            self._sync()
        if fate:
            raise DiskError(fate)

    # Misfortune.

    def kill(self) -> None:
        """The process is gone, with its files as they are: not closed, not checkpointed."""
        image = self._image()
        self._abandon()
        self._put(image)

    def power_cut(self) -> None:
        """The machine is off: what was not synced is gone."""
        self._cuts += 1
        if self.full:
            self.kill()
            return
        self._abandon()
        image, remembered = self._synced
        self._put(image)
        self._rewind(remembered)

    def backup(self) -> tuple[Image, Any]:
        """A copy of everything as it is committed now."""
        return self._image(), self._remember()

    def restore(self, backup: tuple[Image, Any]) -> None:
        """Put a copy in the place of a closed database, which can still be read or cannot."""
        reached = self._reached if self._random.random() < 0.5 else None
        self._put(backup[0])
        prepare_restored(self.path, reached)
        with closing(sqlite3.connect(self.path)) as connection:
            epoch = dict(connection.execute(statements.META).fetchall())["epoch"]
        self._restored(backup[1], epoch << EPOCH_SHIFT)

    def _sync(self) -> None:
        if not self.full:
            self._synced = self.backup()

    def _files(self) -> list[Path]:
        return [self.path.with_name(self.path.name + suffix) for suffix in _SUFFIXES]

    def _image(self) -> Image:
        return tuple(file.read_bytes() if file.exists() else None for file in self._files())

    def _put(self, image: Image) -> None:
        for file, content in zip(self._files(), image, strict=True):
            if content is None:
                file.unlink(missing_ok=True)
            else:
                file.write_bytes(content)
