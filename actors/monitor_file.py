"""The file in which a monitor keeps its windows over restarts: written whole, read only if it is sound.

One for each pool, below this user's folder. It holds numbers and names of types and hosts, nothing of tasks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import msgpack  # pyright: ignore[reportMissingTypeStubs]  # it has none

from .core.telling.gathering import Gathering

_FOLDER: Final = "monitor"
_BYTES_MAX: Final = 64 * 1024 * 1024
_OLD_SECONDS: Final = 7 * 86400.0

_pack = cast("Callable[[Any], bytes]", msgpack.packb)  # pyright: ignore[reportUnknownMemberType]
_unpack = cast("Callable[..., Any]", msgpack.unpackb)  # pyright: ignore[reportUnknownMemberType]


class MonitorFile:
    """Where the windows of the pool at an address are kept.

    Args:
        home: This user's folder.
        address: The pool's.

    Attributes:
        path: The file.
    """

    def __init__(self, home: Path, address: str) -> None:
        self.path = home / _FOLDER / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.msgpack"

    def read(self) -> Gathering | None:
        """What was kept, or None: nothing, or nothing that could be used.

        Raises:
            ValueError: There is a file, but it is not what it should be.
        """
        try:
            with self.path.open("rb") as opened:
                body = opened.read(_BYTES_MAX + 1)
        except OSError:
            return None
        try:
            return Gathering.restored(_unpack(body, max_ext_len=0))
        except Exception as error:  # whatever a broken file makes of it, it is begun anew
            message = f"{self.path} cannot be used and is begun anew ({type(error).__name__}: {error})"
            raise ValueError(message) from None

    def write(self, gathering: Gathering) -> None:
        """Keep it.

        Raises:
            OSError: It cannot be written.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(number, "wb") as opened:
                opened.write(_pack(gathering.kept()))
            beside.replace(self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise

    def tidy(self) -> None:
        """Remove those of pools that nobody has watched for a week, and what was half written."""
        latest = time.time() - _OLD_SECONDS
        for file in self.path.parent.glob("*.msgpack*") if self.path.parent.is_dir() else ():
            with contextlib.suppress(OSError):
                if file.stat().st_mtime < latest:
                    file.unlink()
