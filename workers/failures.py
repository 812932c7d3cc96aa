"""What kind of failure a plain exception is, where that is certain. Knows the standard library's exceptions alone.

Python 3.9 and the standard library suffice here.
"""

from __future__ import annotations

import errno
from socket import EAI_AGAIN, gaierror
from typing import Final

_MISTAKES: Final = (NameError, SyntaxError, ImportError)
"""A programmer's errors: trying again changes nothing. (And the TypeError of the call itself, which only the caller of
a worker can tell.)"""

_OLD_TIMEOUTS: Final = ("asyncio.exceptions", "concurrent.futures._base", "socket")
"""Before Python 3.11 these modules had a `TimeoutError` or `timeout` of their own; to import them takes long."""


def _numbers(*names: str) -> frozenset[int]:
    """Those that this system has."""
    return frozenset(number for name in names if (number := getattr(errno, name, None)) is not None)


_NETWORK: Final = _numbers("ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ETIMEDOUT")
_NO_ROOM: Final = _numbers("ENOSPC", "EDQUOT", "ENOMEM", "EMFILE", "ENFILE", "EAGAIN", "EIO")
"""This machine has run out of something, or its disk is broken; another host may be well."""


def kind_of(error: BaseException) -> str | None:
    """`transient`, `system` or `permanent` where it is certain, else None."""
    if isinstance(error, _MISTAKES):
        return "permanent"
    if isinstance(error, MemoryError):
        return "system"
    if isinstance(error, gaierror):
        return "transient" if error.errno == EAI_AGAIN else None
    if isinstance(error, (ConnectionError, TimeoutError)) or _is_old_timeout(type(error)):
        return "transient"
    if not isinstance(error, OSError):
        return None
    if error.errno in _NETWORK:
        return "transient"
    if error.errno in _NO_ROOM:
        return "system"
    reason = getattr(error, "reason", None)  # what urllib.error.URLError carries
    return kind_of(reason) if isinstance(reason, OSError) and reason is not error else None


def _is_old_timeout(kind: type[BaseException]) -> bool:
    return kind.__name__.lower() in ("timeout", "timeouterror") and kind.__module__ in _OLD_TIMEOUTS
