"""Signals as events: a program's main thread waits for them and for whatever else it is told, in one place."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType
from typing import Any, Final

from ..transport import clock

ENDING: Final = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)
"""Signals that ask a program to end. The terminal that was closed (SIGHUP) asks for it too, but not what was started
with `nohup`, which hands SIGHUP over as one to be ignored."""

_HANGUP: Final = getattr(signal, "SIGHUP", None)


def _has_terminal() -> bool:
    """Whether this process belongs to a terminal that is still there."""
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
        return True
    return False


class Signalled:
    """A signal to end has come."""


class Hangup:
    """SIGHUP has come to a program that reads its configuration again on it, and not because its terminal is gone."""


class Events:
    """What the main thread waits for. `put` may be called by any thread and by signal handlers.

    It waits on a socket that the interpreter itself writes to when a signal comes: one that the kernel gave to
    another thread wakes the main thread all the same, at once.
    """

    def __init__(self, numbers: Iterable[int] = ENDING, *, rereads: bool = False) -> None:
        self._rereads, self._terminal = rereads, _has_terminal()
        self._events: deque[Any] = deque()
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._stays = _HANGUP is not None and signal.getsignal(_HANGUP) is signal.SIG_IGN
        self._numbers = tuple(number for number in numbers if number != _HANGUP or not self._stays)
        signal.set_wakeup_fd(self._far.fileno(), warn_on_full_buffer=False)
        for number in self._numbers:
            signal.signal(number, self._signalled)
        if _HANGUP is not None and self._stays and rereads:
            signal.signal(_HANGUP, self._signalled)

    def next_ends(self) -> None:
        """From now on a signal ends this process at once, with exit code 0: it was asked for, twice."""
        for number in self._numbers:
            signal.signal(number, lambda _number, _frame: os._exit(0))

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        hung_up = self._rereads and number == _HANGUP
        if hung_up and (self._stays or _has_terminal() == self._terminal):
            self.put(Hangup())
        else:
            self.put(Signalled())

    def put(self, event: Any) -> None:
        """Wake the main thread with an event."""
        self._events.append(event)
        with suppress(BlockingIOError):  # a full socket wakes just as well
            self._far.send(b"\0")

    def get(self, timeout: float | None = None) -> Any:
        """The next event, or None when `timeout` seconds have passed."""
        end = None if timeout is None else clock.now() + max(timeout, 0.0)
        while not self._events:
            left = None if end is None else end - clock.now()
            if left is not None and left <= 0:
                return None
            select.select([self._near], [], [], left)
            with suppress(BlockingIOError):
                self._near.recv(4096)
        return self._events.popleft()
