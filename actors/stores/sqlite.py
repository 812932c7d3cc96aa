"""The default store: one SQLite file, one connection, one transaction a turn.

Owns the file and the connection (tables: `schema.py`, SQL: `statements.py`); decides nothing about tasks.
The file is held exclusively for as long as it is open: that keeps a second supervisor out, needs no shared-memory file,
and avoids the corruption that SQLite up to 3.51.2 can cause when several connections write.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from ...transport import clock
from ..core.effects import Need, Persist, Where
from ..core.opening import Opening
from . import flows, identities, names, reads, schedules, schema, search, statements, writing
from .backup import Backup
from .binding import rows_of
from .blobs import unpack
from .check import walk
from .contract import BackupEnded, StoreBroken, StoreDamaged, StoreDisagrees, StoreFull, StoreLocked
from .cures import CURES
from .file_system import network_file_system, real, reserve_bytes
from .line import Line
from .restore import EPOCHS_BEYOND, NUMBERS_AHEAD
from .schema import APPLICATION_ID, SCHEMA_VERSION
from .views import full_view, list_item

CHECKED_BYTES_MAX: Final = 32 * 1024 * 1024
"""After an unclean stop a file up to this size is checked before it is used, which takes a moment; a larger one in
small steps while it serves.
"""

HOSTS_MAX: Final = 1000
"""How many of the latest host sessions an opening brings back."""

_PRAGMAS: Final = (
    "locking_mode = exclusive",  # before the first access: then there is never a shared-memory file
    "trusted_schema = off",
    "cell_size_check = on",
    "mmap_size = 0",
    "temp_store = memory",
    "cache_size = -16384",  # KiB
    "fullfsync = on",  # macOS alone: there a plain fsync leaves data in the drive's cache
    "checkpoint_fullfsync = on",
)
_WRITE_PRAGMAS: Final = (
    "journal_mode = wal",
    "journal_size_limit = 67108864",
)
_LOG_PAGES_MAX: Final = 10000
"""Pages in the log that bring a checkpoint: it costs two more fsyncs, so it is rare beside group commits."""
_LOG_SHARE: Final = 0.6
"""The log stays below this share of the disk's reserve: the file may need as much again to take it in."""
_SYNCHRONOUS: Final = {"full": "full", "relaxed": "normal"}


class SqliteStore(flows.FlowReads, names.NameReads):
    """A pool's database in one file.

    Args:
        path: The file; made if it is not there. Its folder must exist, on a local disk.
        durability: `full`: a commit is on the disk when it returns. `relaxed`: a power cut may undo the last commits.
        ageing: Seconds after which a waiting task counts one priority more; 0: never.
    """

    durable = True

    def __init__(self, path: str | os.PathLike[str], *, durability: str = "full", ageing: float = 0.0) -> None:
        self.path = real(path)
        self._line = Line(ageing)
        self._synchronous = _SYNCHRONOUS[durability]
        self._relaxed = durability == "relaxed"
        self._connection: sqlite3.Connection | None = None
        self._explained: contextlib.AbstractContextManager[None] = _Explained(self._explain)
        self._backup: Backup | None = None
        self._walk: Generator[None] | None = None
        self._step_end = 0.0
        self._damage = False
        self._copy: Path | None = None

    def open(self, boot: int = 0) -> Opening:
        """Open, check, and start a new epoch. See `Store.open`."""
        self._make_file()
        try:
            with self._explained:
                # Of several threads only because a backup's takes turns with ours; see there.
                self._connection = sqlite3.connect(self.path, isolation_level=None, timeout=0, check_same_thread=False)
                self._prepare()
                opening = self._opening(boot)
                self._database.execute(f"pragma synchronous = {self._synchronous}")
                return opening
        except BaseException:
            self._abandon()
            raise

    def begin(self) -> None:
        """Open the turn's transaction."""
        with self._explained:
            self._database.execute("begin immediate")

    def apply(self, persist: Persist) -> None:
        """Write one step's changes. See `Store.apply`."""
        with self._explained:
            writing.apply(self._database, persist)

    def read(self, need: Need) -> list[Any]:
        """Rows for a need. See `Store.read` and each need."""
        with self._explained:
            return reads.read(self._database, need, self._line, self._members)

    def params(self, ids: Sequence[int]) -> dict[int, bytes]:
        """The params of tasks; ids that are not there are left out."""
        with self._explained:
            execute = self._database.execute
            return {id: params for id in ids for (params,) in execute(statements.PARAMS_OF, (id,))}

    def checkpoints(self, ids: Sequence[int]) -> dict[int, bytes]:
        """The latest checkpoints of tasks. See `Store.checkpoints`."""
        with self._explained:
            execute = self._database.execute
            return {id: body for id in ids for (body,) in execute(statements.CHECKPOINT_OF, (id,))}

    def commit(self) -> None:
        """Make the turn durable."""
        with self._explained:
            self._database.execute("commit")

    def rollback(self) -> None:
        """Undo the turn. SQLite may have done so already (a full disk), hence the question."""
        with self._explained:
            if self._database.in_transaction:
                self._database.execute("rollback")

    def show(self, id: int) -> dict[str, Any] | None:
        """One task in full. See `Store.show`."""
        with self._explained:
            task = self._task(id)
            if task is None:
                return None
            attempts = self._database.execute(statements.ATTEMPTS_OF, (id,)).fetchall()
            return full_view(task, [(*columns, unpack(detail)) for *columns, detail in attempts])

    def tasks(self, where: Where, limit: int, before: int | None = None) -> tuple[list[dict[str, Any]], int | None]:
        """Newest first, a bounded scan. See `Store.tasks`."""
        with self._explained:
            ids, following = search.search(self._database, self._members, where, before, limit, search.LISTED_ROWS_MAX)
            return [list_item(task) for id in ids if (task := self._task(id)) is not None], following

    def audit(self, limit: int, before: int) -> list[dict[str, Any]]:
        """The latest first. See `Store.audit`."""
        with self._explained:
            return identities.audit(self._database, limit, before)

    def work(self, seconds: float) -> bool:
        """A part of the check or of a backup. See `Store.work`."""
        if self._walk is not None:
            self._step_end = clock.now() + seconds
            with self._explained:
                if next(self._walk, self) is self:
                    self._walk = None
        elif self._backup is not None:
            self._backup.work(seconds)
        return self._walk is not None or self.copied() is not None

    def back_up(self, path: Path, told: Callable[[BackupEnded], None]) -> None:
        """Begin a copy. See `Store.back_up`."""
        with self._explained:
            size = self._pragma("page_count") * self._pragma("page_size")
        if path.exists() or path.is_symlink():
            raise StoreBroken(f"{path}: is there already; name a new file")
        if not path.parent.is_dir():
            raise StoreBroken(f"{path}: its folder is not there")
        if shutil.disk_usage(path.parent).free < size + reserve_bytes(path.parent):
            raise StoreBroken(f"{path}: its disk has no room for {size >> 20} MiB beside its reserve")
        try:
            self._backup = Backup(self._database, path, told)
        except RuntimeError as error:  # no thread can be started
            raise StoreBroken(f"{path}: cannot be copied into now ({error}); ask again") from error

    def copied(self) -> float | None:
        """How far the backup is. See `Store.copied`."""
        return self._backup.copied if self._backup is not None and self._backup.copying else None

    def close(self) -> None:
        """Checkpoint and close (no error if it is not open). What may be damaged is not called clean."""
        if self._connection is None:
            return
        try:
            self._rest()
            self.rollback()
            if not self._damage and self._walk is None:
                with self._explained:
                    self._database.execute(statements.PUT_META, ("clean", 1))
        finally:
            self._abandon()

    def _rest(self) -> None:
        """Give up the backup, also one that has all pages: the connection goes, and with it whoever would be told."""
        if self._backup is not None:
            self._backup.give_up()
            self._backup = None

    # --- opening

    def _make_file(self) -> None:
        """Make the file if it is missing, readable by its owner alone: params and results may be private."""
        kind = network_file_system(self.path.parent)
        if kind is not None:
            message = (
                f"{self.path}: lies on a network file system ({kind}), where locks and fsync cannot be trusted; "
                "put the database on a local disk"
            )
            raise StoreBroken(message)
        try:
            # A file that exists is left to SQLite alone: opening and closing it here would drop the locks that another
            # connection of this process may hold.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            # SQLite itself would call a file that may only be read a disk that fails.
            if self.path.is_file() and not os.access(self.path, os.R_OK | os.W_OK):
                raise StoreBroken(f"{self.path}: may not be used; {CURES[sqlite3.SQLITE_CANTOPEN]}") from None
        except OSError as error:
            message = f"{self.path}: cannot be created ({error.strerror}); its folder must exist and be writable"
            raise StoreBroken(message) from error

    def _prepare(self) -> None:
        """Take the lock, see that the database is ours, and make its tables those of this version."""
        for pragma in _PRAGMAS:
            self._database.execute(f"pragma {pragma}")
        application, version = self._pragma("application_id"), self._pragma("user_version")
        empty = not self._database.execute("select 1 from sqlite_master limit 1").fetchall()
        if application != APPLICATION_ID and not (empty and application == version == 0):
            message = f"{self.path}: is a database of another program; name another file"
            raise StoreBroken(message)
        if version > SCHEMA_VERSION:
            message = (
                f"{self.path}: was written by a newer WorkerHost (schema {version}, this one knows {SCHEMA_VERSION}); "
                "start that one, or name another file"
            )
            raise StoreBroken(message)
        log_pages = reserve_bytes(self.path.parent) * _LOG_SHARE / self._pragma("page_size")
        log = f"wal_autocheckpoint = {max(1, min(_LOG_PAGES_MAX, int(log_pages)))}"
        for pragma in (*_WRITE_PRAGMAS, log, "synchronous = full"):  # an epoch is on the disk before it is used
            self._database.execute(f"pragma {pragma}")
        if empty:
            schema.create(self._database)
        elif version < SCHEMA_VERSION:
            self._copy = schema.keep_copy(self._database, self.path)
            schema.migrate(self._database)
        self._line.keep(self._database)

    def _opening(self, boot: int) -> Opening:
        execute = self._database.execute
        execute("begin immediate")
        meta: dict[str, int] = {"epoch": 0, "clean": 1, "relaxed": 0, "last_id": 0, "last_finish": 0}
        meta.update(execute(statements.META).fetchall())
        self._walk, self._damage = None, False
        epoch, clean, relaxed = (meta.pop(name) for name in ("epoch", "clean", "relaxed"))
        opened_in = meta.pop("opened_in", 0)
        epoch += 1
        if not clean:
            self._check()
            if relaxed and (boot == 0 or opened_in != boot):
                epoch += EPOCHS_BEYOND
                meta["last_id"] += NUMBERS_AHEAD
                meta["last_finish"] += NUMBERS_AHEAD
                execute(statements.PUT_LEAP, (meta["last_finish"], NUMBERS_AHEAD))
        for name, statement in statements.LAST.items():
            (meta[name],) = execute(statement).fetchone()
        opening = Opening(
            epoch=epoch,
            meta=meta,
            leaps=execute(statements.LEAPS).fetchall(),
            lanes=execute(statements.LANES).fetchall(),
            tallies=execute(statements.TALLIES).fetchall(),
            running=rows_of(execute(statements.RUNNING_ROWS)),
            hosts=execute(statements.HOSTS, (HOSTS_MAX,)).fetchall(),
            pauses=execute(statements.PAUSES).fetchall(),
            rates=execute(statements.RATES).fetchall(),
            quotas=execute(statements.QUOTAS).fetchall(),
            checkpoints=[id for (id,) in execute(statements.CHECKPOINTS)],
            identities=execute(statements.IDENTITIES).fetchall(),
            invitations=execute(statements.INVITATIONS).fetchall(),
            shares=execute(statements.SHARES).fetchall(),
            flows=flows.unfinished(self._database),
            schedules=schedules.known(self._database),
            copy=str(self._copy) if self._copy else None,
        )
        numbers = {name: meta[name] for name in ("last_id", "last_finish")}
        # Together with the run of the machine in which what follows is written: who opens again leaps no second time.
        written = {"epoch": epoch, "clean": 0, "relaxed": int(self._relaxed), "opened_in": boot, **numbers}
        self._database.executemany(statements.PUT_META, written.items())
        execute("commit")
        return opening

    def _check(self) -> None:
        """Look for damage after an unclean stop: now where that is quick, else in `work`."""
        if self._pragma("page_count") * self._pragma("page_size") > CHECKED_BYTES_MAX:
            self._walk = walk(self._database, self._line.level, lambda: clock.now() >= self._step_end)
            return
        (found,) = self._database.execute("pragma quick_check(1)").fetchone()
        if found != "ok":
            raise StoreDamaged(self._damaged(" ".join(found.split())))

    def _pragma(self, name: str) -> int:
        return self._database.execute(f"pragma {name}").fetchone()[0]

    # --- reading

    def _task(self, id: int) -> dict[str, Any] | None:
        """All columns of a task by name, blobs unpacked, with the names of its type and host."""
        cursor = self._database.execute(statements.FULL, (id,))
        row = cursor.fetchone()
        if row is None:
            return None
        task = dict(zip((name for name, *_ in cursor.description), row, strict=True))
        return task | {name: unpack(task[name]) for name in ("options", "detail")}

    # --- the connection

    @property
    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            message = "the store is not open"
            raise RuntimeError(message)
        return self._connection

    def _abandon(self) -> None:
        """Close the connection, whatever state it is in; SQLite undoes an open transaction and checkpoints."""
        self._rest()
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _explain(self, error: sqlite3.DatabaseError) -> NoReturn:
        """Say what SQLite's errors mean to the people who run the pool."""
        if isinstance(error, sqlite3.IntegrityError):
            message = f"{self.path}: a row is there already, or incomplete ({error})"
            raise StoreDisagrees(message) from error
        code = error.sqlite_errorcode & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            message = f"{self.path}: another supervisor has this database open; stop it, or name another file"
            raise StoreLocked(message) from error
        if code == sqlite3.SQLITE_NOTADB:
            raise StoreBroken(self._damaged(str(error))) from error
        message = f"{self.path}: {error}; {CURES.get(code, 'start again, and report it if it returns')}"
        if code == sqlite3.SQLITE_FULL:
            raise StoreFull(message) from error
        if code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR):
            raise StoreBroken(message) from error
        self._damage = True
        if code == sqlite3.SQLITE_CORRUPT:
            message = self._damaged(str(error))
        raise StoreDamaged(message) from error

    def _damaged(self, found: str) -> str:
        return (
            f"{self.path}: is damaged, or no database ({found}); `workerhost restore FILE` puts a backup in its place; "
            f"without one keep a copy of it and of {self.path.name}-wal, then salvage what can be read with "
            f"`sqlite3 {self.path.name} .recover`, or move both away to start empty"
        )


class _Explained:
    """`with` it SQLite's errors are explained; misuse by our own code stays as it is.

    Several of these are in each turn, and `contextlib.contextmanager` takes Python many times as long.
    """

    __slots__ = ("_explain",)

    def __init__(self, explain: Callable[[sqlite3.DatabaseError], NoReturn]) -> None:
        self._explain = explain

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.ProgrammingError):
            self._explain(error)
