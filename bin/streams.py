"""The two streams of a program: its data on stdout, its words and logs on stderr.

Data that cannot be written is an error, for whoever asked for it does not have it. Words that cannot be written are
lost: a disk that is full or a reader that has left must keep no program from what it has to do, and least of all from
ending as it should.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any


class _Words(io.RawIOBase):
    """A raw stream whose failures nobody hears of: whatever writes above it never raises."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw

    def write(self, data: Any, /) -> int:
        """Write what can be written; the rest counts as written."""
        try:
            written = self._raw.write(data)
        except OSError:
            written = None
        return len(data) if written is None else written  # None: whoever shares a pipe or terminal made it not wait

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._raw.isatty()

    def fileno(self) -> int:
        return self._raw.fileno()


def open_streams() -> None:
    """Make this process's stderr one that never raises. For the start of a program.

    Of a stream that was closed before the program began, Python makes None: what is printed to such a stderr would go
    to stdout, among the data, and what is printed to such a stdout would be lost without an error.
    """
    out: Any = sys.stdout
    if out is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")  # each write fails
    words: Any = sys.stderr
    if words is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
        return
    raw = getattr(words.buffer, "raw", words.buffer)  # the buffer is the raw stream itself under `python -u`
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Words(raw)), words.encoding, "backslashreplace", line_buffering=True
    )


def give_up_data() -> None:
    """Lose the data that stdout does not take: at its end the interpreter would try again, and give another code."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
