"""Puts a backup in a database's place, offline.

What happened after the backup did not happen for the restored pool, and hosts that still know of it are zombies. So
everything they could name is out of reach: the epoch, and with it every fence, goes beyond any that was ever used, the
stored fences are cleared, and new tasks get numbers that no lost one had.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from ..core.opening import EPOCH_SHIFT
from . import statements
from .blobs import pack
from .contract import StoreBroken, StoreDamaged, StoreLocked
from .file_system import real, sync
from .lock import LOCK_LENGTH, LOCK_START
from .schema import APPLICATION_ID, SCHEMA_VERSION, migrate

EPOCHS_BEYOND: Final = 1 << 13
"""By how much the epoch grows where commits may be gone, beyond the last one that was used: from this on a client takes
it for more than a restart (`transport.conversation`). A fence has room for a thousand such.
"""

EPOCHS_AHEAD: Final = 1 << 16
"""By how much the epoch of a backup grows at least: more than a pool's starts and a few power cuts take until it is
restored, since nobody may know how many they were. A fence's 63 bits have room for 64 restores, each of a backup that
was made after the one before.
"""

NUMBERS_AHEAD: Final = 1_000_000
"""By how much the numbers of tasks and ends grow where nobody knows how far the lost ones went."""

_COPY_BYTES: Final = 1 << 20

_MAGIC: Final = b"SQLite format 3\0"

_PREPARE: Final = (
    """insert or ignore into attempt select id, attempt, fence, owner, slot, started_at, null, 'restored', ?
    from task where state = 3""",
    "update task set state = 2 where state = 3",
    """insert into tally select lane, 2, count from tally where state = 3 and count <> 0
    on conflict (lane, state) do update set count = count + excluded.count""",
    "update tally set count = 0 where state = 3",
    "delete from invitation",  # they may have been used, or taken back, since
)
_SPOIL: Final = "update task set fence = ? where state < 4 and fence <> 0"
"""No host ever held the fence of an epoch that is skipped. Having one says that a task was granted before, as ever."""

_REVOKE: Final = "update identity set revoked_at = ? where public = ? and revoked_at is null"
_REVOKED: Final = "select revoked_at, public from identity where revoked_at is not null"
_HAS_IDENTITIES: Final = "select 1 from sqlite_master where name = 'identity'"
_REASON: Final = "it ran when the backup was made that the pool was restored from"


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a history has come, and which keys were revoked in it: since when, and the key."""

    epoch: int
    last_id: int
    last_finish: int
    revoked: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        unfinished: Tasks that wait in the restored database; those that ran when the backup was made are queued again.
        revoked: Keys that were good in the backup and have been revoked since; they stay revoked.
        kept: Where the replaced database is now, or None if there was none.
    """

    unfinished: int
    kept: Path | None
    revoked: int = 0


def restore(backup: Path, database: Path) -> Restored:
    """Replace a database by a backup, at once or not at all.

    Raises:
        StoreLocked: A supervisor has the database.
        StoreBroken: The backup is none, or of a newer version; or another program's database is in the way.
        StoreDamaged: The backup is damaged.
        OSError: The files cannot be read or written.
    """
    backup, database = real(backup), real(database)
    _check_header(backup)
    replaced = _reached_by(database)
    fresh = database.with_name(database.name + ".restoring")
    if fresh.exists() and fresh.samefile(backup):
        raise StoreBroken(f"{backup}: is what a restore that was killed has left behind; name the backup itself")
    with _locked(database) as locked:
        _clear(fresh)  # of one that was killed: SQLite would take its journal for that of this copy
        try:
            with backup.open("rb") as source:
                _copy(source, fresh, database)
            unfinished, revoked = _prepare(fresh, replaced, ahead=EPOCHS_AHEAD + secrets.randbelow(EPOCHS_AHEAD))
            sync(fresh)
            kept = _keep(database, locked)
            fresh.replace(database)
            sync(database.parent)
        finally:
            _clear(fresh)
    return Restored(unfinished, kept, revoked)


def prepare_restored(path: Path, replaced: Reached | None = None) -> int:
    """Make a copy of a backup fit to go on from; how many unfinished tasks it holds.

    Args:
        path: The copy. It is changed, and left as one file.
        replaced: How far the history came that is given up, if it can still be read.

    Raises:
        StoreDamaged: It is damaged.
    """
    return _prepare(path, replaced, ahead=EPOCHS_AHEAD)[0]


def _prepare(path: Path, replaced: Reached | None, *, ahead: int) -> tuple[int, int]:
    """How many unfinished tasks it holds, and how many keys of it have been revoked since."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("pragma journal_mode = delete")
        (found,) = connection.execute("pragma integrity_check(1)").fetchone()
        if found != "ok":
            raise StoreDamaged(f"{path}: is damaged ({' '.join(found.split())}); use another backup")
        migrate(connection)  # a copy of a backup: the backup itself stays as it is
        own = _read(connection)
        going_on = replaced is not None and replaced.epoch >= own.epoch and replaced.last_id >= own.last_id
        beyond = (
            replaced
            if going_on and replaced
            else Reached(0, own.last_id + NUMBERS_AHEAD, own.last_finish + NUMBERS_AHEAD)
        )
        numbers = {
            "epoch": max(own.epoch + ahead, replaced.epoch + EPOCHS_BEYOND if replaced else 0),
            "last_id": max(own.last_id, beyond.last_id),
            "last_finish": max(own.last_finish, beyond.last_finish),
            "clean": 1,  # it was checked just now
        }
        connection.execute("begin immediate")
        connection.execute(_PREPARE[0], (pack({"reason": _REASON}),))
        for statement in _PREPARE[1:]:
            connection.execute(statement)
        connection.execute(_SPOIL, (numbers["epoch"] << EPOCH_SHIFT,))
        connection.executemany(statements.PUT_META, numbers.items())
        if skipped := numbers["last_finish"] - own.last_finish:
            connection.execute(statements.PUT_LEAP, (numbers["last_finish"], skipped))
        revoked = connection.executemany(_REVOKE, replaced.revoked if replaced else ()).rowcount
        connection.execute("commit")
        (unfinished,) = connection.execute("select coalesce(sum(count), 0) from tally where state < 4").fetchone()
    except sqlite3.DatabaseError as error:
        raise StoreDamaged(f"{path}: is damaged ({error}); use another backup") from error
    finally:
        connection.close()
    return unfinished, max(revoked, 0)


def _check_header(backup: Path) -> None:
    """Tell a backup from any other file before anything is written."""
    log = backup.with_name(backup.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise StoreBroken(f"{backup}: is a database in use, not a backup; make one with `workerhost backup FILE`")
    header = _header(backup)
    application, version = (int.from_bytes(header[at : at + 4], "big") for at in (68, 60))
    if not header.startswith(_MAGIC) or application != APPLICATION_ID:
        raise StoreBroken(f"{backup}: is no backup of a WorkerHost database; make one with `workerhost backup FILE`")
    if version > SCHEMA_VERSION:
        message = f"was written by a newer WorkerHost (schema {version}, this one knows {SCHEMA_VERSION}); use that one"
        raise StoreBroken(f"{backup}: {message}")


def _reached_by(database: Path) -> Reached | None:
    """How far the database came that is to be replaced; None if there is none, or it cannot be read any more."""
    if not database.exists() or not _header(database).startswith(_MAGIC):
        return None  # SQLite would throw away the log of what it takes for no database
    connection = sqlite3.connect(database, isolation_level=None, timeout=0)
    try:
        connection.execute("pragma locking_mode = exclusive")
        (application,) = connection.execute("pragma application_id").fetchone()
        if application != APPLICATION_ID:
            raise StoreBroken(f"{database}: is a database of another program; name another file with --database")
        connection.execute("begin immediate")  # nobody else has it; closing it then brings its log into the file
        return _read(connection, ahead=NUMBERS_AHEAD)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreLocked(_taken(database)) from error
        return None
    finally:
        connection.close()


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(100)


def _read(connection: sqlite3.Connection, *, ahead: int = 0) -> Reached:
    """How far a database came; `ahead`: how much further it may have come that does not know its last commits."""
    meta: dict[str, int] = dict(connection.execute(statements.META))
    ahead = ahead if meta.get("relaxed") and not meta.get("clean") else 0
    known = connection.execute(_HAS_IDENTITIES).fetchone()
    revoked = tuple(connection.execute(_REVOKED)) if known else ()
    return Reached(meta.get("epoch", 0), meta.get("last_id", 0) + ahead, meta.get("last_finish", 0) + ahead, revoked)


@contextlib.contextmanager
def _locked(database: Path) -> Generator[BinaryIO | None]:
    """Hold SQLite's own lock on the file, also on one that is too damaged for SQLite to open.

    Whoever reads it meanwhile must read what is given here: to close it anywhere in this process drops the lock. None:
    there is no file, or no such lock.
    """
    if not database.exists() or os.name != "posix":
        yield None
        return
    import fcntl

    with database.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, LOCK_LENGTH, LOCK_START)
        except BlockingIOError as error:
            raise StoreLocked(_taken(database)) from error
        yield file


def _taken(database: Path) -> str:
    return f"{database}: a supervisor has this database open; stop it, then restore"


def _clear(fresh: Path) -> None:
    """Remove a copy and what SQLite writes beside it."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)


def _copy(source: BinaryIO, path: Path, database: Path) -> None:
    """Make a new file, which nobody but its owner may read at any time: params and results may be private.

    What root makes belongs to whoever has the database, or its folder: the service that goes on with it is not root's.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, 0o600), "wb") as target:
        if os.name == "posix" and os.geteuid() == 0:
            owner = (database if database.exists() else database.parent).stat()
            os.fchown(target.fileno(), owner.st_uid, owner.st_gid)
        shutil.copyfileobj(source, target, _COPY_BYTES)


def _keep(database: Path, locked: BinaryIO | None) -> Path | None:
    """Give the database a second name, so that there is never a moment without one under its own."""
    if not database.exists():
        return None
    kept, number = database.with_name(database.name + ".before-restore"), 1
    while kept.exists():
        number += 1
        kept = database.with_name(f"{database.name}.before-restore-{number}")
    try:
        kept.hardlink_to(database)
    except OSError:  # a file system without hard links
        with database.open("rb") if locked is None else contextlib.nullcontext(locked) as source:
            _copy(source, kept, database)
        sync(kept)
    log = database.with_name(database.name + "-wal")
    if log.exists():  # of a damaged database alone: beside the new one it would be taken for its log
        log.rename(kept.with_name(kept.name + "-wal"))
    return kept
