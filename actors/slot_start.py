"""What a slot's process needs before it can be started."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..workers.errors import ConfigError


def temporary_folder() -> str:
    """The folder below which slots keep their own.

    Raises:
        ConfigError: There is none.
    """
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:
        raise ConfigError(f"{error.strerror}: let this user write to one of them, or set TMPDIR") from error


def shared_file(size: int) -> int:
    """A file without a name, for memory that two processes share."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("workerhost-slot")
    else:
        number, path = tempfile.mkstemp(prefix="workerhost-")
        Path(path).unlink()
    os.ftruncate(number, size)
    return number
