"""Removes a folder with all that is in it, however deep that lies: what a task has left, nobody has looked at.

Python 3.9 and the standard library suffice.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from itertools import count
from typing import Final

_OPEN: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


def remove(folder: str) -> None:
    """Remove a folder, if it is there. What cannot be removed stays, and a link is not followed.

    Each folder further down is first moved up into the one that is removed: else their depth would be bounded by
    Python's stack, by the length of a path and by the number of open files.
    """
    with suppress(OSError):
        top = os.open(folder, _OPEN)
        try:
            _empty(top)
        finally:
            os.close(top)
    with suppress(OSError):
        os.rmdir(folder)  # noqa: PTH106 -- pathlib costs a slot's start 6 ms


def _empty(top: int) -> None:
    mark, numbers = secrets.token_hex(8), count()
    found = ["."]
    for inner in found:  # it grows meanwhile
        with suppress(OSError):
            number = _reach(inner, top)
            try:
                with os.scandir(number) as entries:
                    names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
                for name, is_folder in names:
                    if not is_folder:
                        with suppress(OSError):
                            os.unlink(name, dir_fd=number)
                    elif inner == ".":
                        found.append(name)
                    else:
                        found.append(_move_up(name, inner, f"{mark}-{next(numbers)}", number, top))
            finally:
                os.close(number)
    for inner in reversed(found[1:]):
        with suppress(OSError):
            outer, _, name = inner.rpartition("/")
            number = _reach(outer or ".", top)
            try:
                os.rmdir(name, dir_fd=number)
            finally:
                os.close(number)


def _reach(inner: str, top: int) -> int:
    """Open a folder below `top`, part by part: a link in the place of any of them is not followed."""
    number = os.open(".", _OPEN, dir_fd=top)
    for part in inner.split("/"):
        try:
            below = os.open(part, _OPEN, dir_fd=number)
        finally:
            os.close(number)
        number = below
    return number


def _move_up(name: str, inner: str, new: str, number: int, top: int) -> str:
    """Where it is then: one that may not be written to stays where it is, and may be empty."""
    try:
        os.rename(name, new, src_dir_fd=number, dst_dir_fd=top)
    except OSError:
        return f"{inner}/{name}"
    return new
