"""Where a CODE lies: `tasks.py`, `my.module`, either with `:Name` behind it, and the folders that it is looked for in.

Imports none of it. Python 3.9 and the standard library suffice here, because a slot may run in another environment.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

MAIN: Final = "__main__:"
"""Before the path of a script that is the main program: it is loaded as `__mp_main__`."""


def search_paths(codes: Iterable[str], environment: Mapping[str, str], current: str) -> tuple[str, ...]:
    """The folders that slots get on `sys.path`: those of CODE files, the current one, and those of PYTHONPATH."""
    found: dict[str, None] = {}
    for code in codes:
        place, _ = split_code(code)
        if is_file(place):
            found[str(Path(current, place.removeprefix(MAIN)).resolve().parent)] = None
    found[str(Path(current).resolve())] = None
    for folder in environment.get("PYTHONPATH", "").split(":" if sys.platform != "win32" else ";"):
        if folder:
            found[str(Path(current, folder).resolve())] = None
    return tuple(found)


def add_paths(paths: Iterable[str]) -> None:
    """Put folders on `sys.path`, behind the standard library, so that a user's `http.py` breaks nothing, and before
    what is installed.
    """
    place = next((n for n, entry in enumerate(sys.path) if entry.endswith(("site-packages", "dist-packages"))), None)
    new = [path for path in dict.fromkeys(paths) if path not in sys.path]
    position = len(sys.path) if place is None else place
    sys.path[position:position] = new


def split_code(code: str) -> tuple[str, str]:
    """`tasks.py:Name` -> (`tasks.py`, `Name`); without a name ""."""
    place, colon, name = code.rpartition(":")
    if colon and place != MAIN.rstrip(":") and all(part.isidentifier() for part in name.split(".")):
        return place, name
    return code, ""


def is_file(place: str) -> bool:
    """Whether a CODE's place is a file, not a module."""
    return place.endswith(".py") or "/" in place or "\\" in place
