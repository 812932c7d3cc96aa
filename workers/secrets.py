"""Secrets that need not stand in the queue: a task names one, and the host that runs it puts in what it has.

Owns the form of such a name and where a host keeps what belongs to it. Knows nothing of tasks or sockets; Python
3.9 and the standard library suffice here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final, cast

from . import values
from .errors import Fail

NAME: Final = "$secret"
"""`{"$secret": "youtube"}` anywhere in params stands for the secret `youtube`."""

VARIABLE: Final = "WORKERHOST_SECRET_"
"""With the name behind it: the variable of the host's environment that holds it."""

FOLDER: Final = "WORKERHOST_SECRETS"
"""The variable that names a folder with a file for each secret."""

_MARK: Final = NAME.encode()
_LEGAL: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_BYTES_MAX: Final = 64 * 1024


def params_of(body: bytes) -> Any:
    """The params that travelled as `body`, with the secrets that they name.

    Only what the host keeps for tasks can be named, not the rest of its environment: who sends tasks could have it told
    otherwise.

    Raises:
        ValueError: The bytes are not a packed value.
        Fail: This host has no such secret.
    """
    value = values.unpack(body)
    return _revealed(value) if _MARK in body else value


def _revealed(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        if len(items) == 1 and NAME in items:
            return _kept(items[NAME])
        return {key: _revealed(item) for key, item in items.items()}
    if isinstance(value, list):
        return [_revealed(item) for item in cast("list[Any]", value)]
    return value


def _kept(name: Any) -> str:
    if not isinstance(name, str) or not _LEGAL.match(name):
        raise Fail(f"{NAME} must be a name of letters, digits, _ and -, not {name!r:.100}", kind="configuration")
    found = os.environ.get(VARIABLE + name)
    folder = os.environ.get(FOLDER)
    if found is None and folder:
        try:
            with Path(folder, name).open(encoding="utf-8") as stream:
                found = stream.read(_BYTES_MAX).rstrip("\r\n")
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError) as error:
            raise Fail(f"the file of the secret {name!r} cannot be read: {error}", kind="configuration") from None
    if found is None:
        cure = f"set {VARIABLE}{name} in its environment, or {FOLDER} to a folder with a file {name}"
        raise Fail(f"this host has no secret {name!r}; {cure}", kind="configuration")
    return found
