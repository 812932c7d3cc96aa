"""A log file that several processes write at once, and that is put aside when it has become large.

The standard library's rotating handler is for one process: two would each rename the file under the other. Here every
line is one write at the file's end, and who finds the file too large renames it under a lock, unless another just did.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Generator
from pathlib import Path


class LogFile:
    """Where lines go. What cannot be written is lost, and said once on stderr: a full disk stops no task.

    Args:
        path: The file; its folder is made if it is missing.
        max_bytes: It is put aside when it would become larger than that; None: never.
        backup_count: How many files that were put aside are kept, as `NAME.1` (the latest) and so on.
    """

    def __init__(self, path: Path, max_bytes: int | None, backup_count: int) -> None:
        self._path, self._max_bytes, self._backup_count = path, max_bytes, backup_count
        self._guard = threading.Lock()
        self._file: int | None = None
        self._told = False

    def write(self, text: str) -> None:
        """Add a line, its end included."""
        line = text.encode("utf-8", "backslashreplace")
        with self._guard:
            try:
                self._put(line)
            except OSError as error:
                self._close()
                if not self._told:
                    self._told = True
                    print(f"workerhost: {self._path} cannot be written: {error.strerror or error}", file=sys.stderr)

    def _put(self, line: bytes) -> None:
        if self._file is None or not self._is_the_file(self._file):
            self._open()
        assert self._file is not None
        size = os.fstat(self._file).st_size
        if self._max_bytes is not None and size and size + len(line) > self._max_bytes:
            with self._lock():
                if self._is_the_file(self._file):
                    self._close()
                    self._put_aside()
            self._open()
        os.write(self._file, line)
        self._told = False

    def _is_the_file(self, file: int) -> bool:
        """Whether nobody has put aside or removed what is open."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(file))
        except FileNotFoundError:
            return False

    def _open(self) -> None:
        self._close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o640)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # what some file systems say of a disk that is full
                os.close(file)

    def _put_aside(self) -> None:
        if not self._backup_count:
            self._path.unlink(missing_ok=True)
            return
        for number in range(self._backup_count - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._aside(number).replace(self._aside(number + 1))
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(self._aside(1))

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    @contextlib.contextmanager
    def _lock(self) -> Generator[None]:
        """One process at a time; where there is no such lock (Windows) a file is for one process."""
        try:
            import fcntl
        except ImportError:
            yield
            return
        number = os.open(self._path.with_name(f".{self._path.name}.lock"), os.O_WRONLY | os.O_CREAT, 0o640)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield
        finally:
            os.close(number)
