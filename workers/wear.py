"""Whether a slot's process is still as good as new after a task: what can be put back is, the rest is a reason to
replace the process.

Put back: the current folder, and the slot's own handler of SIGTERM. A reason, against what the process was when it was
warm (the third look after its workers were set up): memory that grew by more than 256 MiB and to more than double, or
by more than a quarter of what the task's node allows an attempt; more than 100 descriptors, or 40 threads, that were
not there; more than 100 ended processes that nobody has waited for. Python 3.9 and the standard library suffice.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, NamedTuple

from .processes import process

LOOK_SECONDS: Final = 0.1
"""Between two looks: one costs some 50 microseconds."""
WARM_LOOKS: Final = 3
_MEBIBYTE: Final = 1024 * 1024
GROWTH_BYTES: Final = 256 * _MEBIBYTE
GROWTH_FACTOR: Final = 2
LIMIT_SHARE: Final = 0.25
DESCRIPTORS: Final = 100
THREADS: Final = 40
"""More than a default pool of threads has, which fills up as it is used."""
DEAD: Final = 100


class Figures(NamedTuple):
    """What a look sees: bytes of memory, and numbers of the others."""

    memory: int
    descriptors: int
    threads: int
    dead: int


class Wear:
    """Of one process that runs one task at a time.

    Args:
        look: Tells the present figures.
    """

    def __init__(self, look: Callable[[], Figures]) -> None:
        self._look = look
        self._next = 0.0
        self._looks = 0
        self._warm: Figures | None = None
        self._folder = ""
        self._handler: Any = None
        self.settle()

    def settle(self) -> None:
        """Its workers were set up: what is now is right, and it warms up again."""
        self._looks, self._warm = 0, None
        self._folder = _folder()
        self._handler = signal.getsignal(signal.SIGTERM) if self._handler is None else self._handler

    def after(self, memory_limit: float) -> str:
        """After a task: why this process should be replaced, or "". Mostly nothing but a look at the clock.

        Args:
            memory_limit: Bytes that an attempt of the task's node may use; 0: any number.
        """
        now = monotonic()
        if now < self._next:
            return ""
        self._next = now + LOOK_SECONDS
        return self._put_back() or self._judge(self._look(), memory_limit)

    def _put_back(self) -> str:
        if signal.getsignal(signal.SIGTERM) != self._handler:
            signal.signal(signal.SIGTERM, self._handler)
        if self._folder and _folder() != self._folder:
            try:
                os.chdir(self._folder)
            except OSError as error:
                return f"its folder was changed, and cannot be changed back: {error.strerror}"
        return ""

    def _judge(self, now: Figures, memory_limit: float) -> str:
        self._looks += 1
        warm = self._warm
        if warm is None:
            if self._looks >= WARM_LOOKS:
                self._warm = now
            return ""
        growth = max(GROWTH_BYTES, (GROWTH_FACTOR - 1) * warm.memory)
        if now.memory > warm.memory + min(growth, LIMIT_SHARE * memory_limit or growth):
            return f"its memory grew from {warm.memory // _MEBIBYTE} to {now.memory // _MEBIBYTE} MiB"
        for name, value, before, most in (
            ("descriptors", now.descriptors, warm.descriptors, DESCRIPTORS),
            ("threads", now.threads, warm.threads, THREADS),
            ("ended processes that nobody has waited for", now.dead, warm.dead, DEAD),
        ):
            if value > before + most:
                return f"it has {value} {name}, and had {before} when it was warm"
        return ""


def figures(dead: int) -> Figures:
    """Those of this process; `dead`: see `Leftovers`."""
    own = process(os.getpid())
    try:
        descriptors = len(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"))  # noqa: PTH208
    except OSError:
        descriptors = 0
    return Figures(0 if own is None else own.resident, descriptors, threading.active_count(), dead)


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 -- pathlib costs as much as the call
    except OSError:  # it was removed
        return ""
