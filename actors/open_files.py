"""How many files this process may have open: each slot takes `EACH_SLOT` of them, and a machine may have many slots.

A host raises its own limit. Its slots' processes keep the one that it was started with, which task code may rely on.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from math import inf
from typing import Final

EACH_SLOT: Final = 5
"""Its socket, its output, its word, its death, and what watches them."""

_LEFT: Final = 24
"""So many slots leave to the rest of the host: its link, its log, the start of a process, a look into /proc."""

_WITHOUT_LIMIT: Final = 65_536
"""What is asked for where the system names no limit: not all of them take that at its word."""

_before: int | None = None


def allow_all() -> None:
    """From now on this process may have as many open as the system lets it."""
    global _before  # noqa: PLW0603 -- one limit per process is what there is
    soft, hard = _limits()
    wanted = _WITHOUT_LIMIT if hard == inf else hard
    if soft < wanted:
        import resource

        with suppress(OSError, ValueError):  # then it stays as it is, and slots say so if it is too low
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(wanted), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            _before = int(soft)


def limit_before() -> int | None:
    """What the limit was before it was raised; None: it was not."""
    return _before


def leave_some(number: int) -> None:
    """See to it that some are left after this one, which has just been opened: the lowest free number is always taken.

    Raises:
        OSError: There are too few.
    """
    if _limits()[0] - number <= _LEFT:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def _limits() -> tuple[float, float]:
    """The one that counts, and how far it can be raised."""
    try:
        import resource
    except ImportError:  # Windows
        return inf, inf
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (inf if soft == resource.RLIM_INFINITY else soft), (inf if hard == resource.RLIM_INFINITY else hard)
