"""The token that allows changes over HTTP: one for each user, in a file that nobody else can read."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Final

from ...workers.errors import ConfigError

NAME: Final = "http.token"
_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")


def token_in(folder: Path) -> str:
    """The token in this folder. It is made when there is none, and made anew when others could have read it.

    Keeping it over restarts lets an open page go on.

    Raises:
        ConfigError: The file cannot be written.
    """
    file = folder / NAME
    with contextlib.suppress(OSError, UnicodeDecodeError):
        number = os.open(file, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(number, encoding="ascii") as opened:
            found = os.fstat(opened.fileno())
            text = opened.read(100).strip()
        if stat.S_ISREG(found.st_mode) and not found.st_mode & 0o077 and _is_own(found) and _SHAPE.match(text):
            return text
    return _made(folder, file)


def _is_own(found: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or found.st_uid == os.geteuid()


def _made(folder: Path, file: Path) -> str:
    token = secrets.token_urlsafe(32)
    beside = folder / f".{NAME}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "w", encoding="ascii") as opened:
            opened.write(token + "\n")
        beside.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise ConfigError(
            f"{file}: cannot be written: {error.strerror}; set WORKERHOST_HOME to another folder"
        ) from None
    return token
