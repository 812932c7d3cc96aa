"""Keeps child processes alive: starts them, starts them again when they crash, and ends them in order.

Knows nothing of pools. The main thread calls everything; a thread for each child only waits for its end and says so.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

BASE_SECONDS: Final = 0.2
CAP_SECONDS: Final = 30.0
HEALTHY_SECONDS: Final = 60.0


class Backoff:
    """How long to wait before a crashed child is started again: 0.2 s, doubled each time, at most 30 s.

    A child that has lived for a minute begins anew.
    """

    def __init__(self) -> None:
        self._crashes = 0

    def crashed(self, lived: float) -> float:
        """Seconds to wait after a crash of a child that had lived for `lived` seconds."""
        if lived >= HEALTHY_SECONDS:
            self._crashes = 0
        self._crashes += 1
        return min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(self._crashes - 1, 30))


class Exited:
    """A child has ended. `code` as of `subprocess`: negative for a signal."""

    def __init__(self, child: Child, code: int) -> None:
        self.child, self.code = child, code


class Child:
    """One process that is kept.

    Attributes:
        name: For people.
        alive: Whether it was started and its end has not been told.
        due: When to start it again (time as given to `start`), or None.
        backoff: Its crashes.
    """

    def __init__(self, name: str, command: Sequence[str], tell: Callable[[Exited], None]) -> None:
        self.name, self._command, self._tell = name, list(command), tell
        self.alive = False
        self.due: float | None = None
        self.backoff = Backoff()
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    def start(self, now: float) -> None:
        """Start the process, in a session of its own: Ctrl-C at the terminal reaches only the keeper."""
        self.due, self._started, self.alive = None, now, True
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, start_new_session=True)
        threading.Thread(target=self._watch, args=(self._process,), name=f"watch {self.name}", daemon=True).start()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        self._tell(Exited(self, process.wait()))

    def crashed(self, now: float) -> float:
        """Note a crash; returns how many seconds from now it will be started again."""
        wait = self.backoff.crashed(now - self._started)
        self.due = now + wait
        return wait

    @property
    def pid(self) -> int | None:
        """The id of its process, dead or alive; None before the first."""
        return None if self._process is None else self._process.pid

    def end(self, *, now: bool = False) -> None:
        """Ask the process to end; with `now` kill it and what it started in its session's group."""
        self.due = None
        if self._process is None or self._process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            if now:
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.send_signal(signal.SIGTERM)
