"""Signals as events: a program's main thread waits for them and for whatever else it is told, in one place."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Final

from ..transport import clock

_LOOK_SECONDS: Final = 0.5
ENDING: Final = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)
"""Signals that ask a program to end. The terminal that was closed (SIGHUP) asks for it too."""


class Signalled:
    """A signal to end has come."""


class Events:
    """What the main thread waits for. `put` may be called by any thread and by signal handlers."""

    def __init__(self, numbers: Iterable[int] = ENDING) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._numbers = tuple(numbers)
        for number in self._numbers:
            signal.signal(number, self._signalled)

    def next_ends(self) -> None:
        """From now on a signal ends this process at once, with exit code 0: it was asked for, twice."""
        for number in self._numbers:
            signal.signal(number, lambda _number, _frame: os._exit(0))

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        self._queue.put(Signalled())

    def put(self, event: Any) -> None:
        """Wake the main thread with an event."""
        self._queue.put(event)

    def get(self, timeout: float | None = None) -> Any:
        """The next event, or None when `timeout` seconds have passed.

        It looks up now and then: a signal that the kernel gave to another thread does not end a wait of this one.
        """
        end = None if timeout is None else clock.now() + max(timeout, 0.0)
        while True:
            left = _LOOK_SECONDS if end is None else min(_LOOK_SECONDS, max(0.0, end - clock.now()))
            try:
                return self._queue.get(timeout=left)
            except Empty:
                if end is not None and clock.now() >= end:
                    return None
