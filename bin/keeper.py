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
from dataclasses import dataclass

from ..actors.core.restarts import ChildSpec, Restarts


@dataclass(frozen=True, slots=True)
class Exited:
    """A child has ended.

    Attributes:
        child: Which.
        code: As of `subprocess`: negative for a signal. None: there was no room for its process, so it never began.
        how: In words.
    """

    child: Child
    code: int | None
    how: str


class Child:
    """One process that is kept.

    Attributes:
        name: For people.
        alive: Whether it was started and its end has not been told.
        due: When to start it again (monotonic seconds), or None.
        restarts: Its deaths.
    """

    def __init__(self, name: str, spec: ChildSpec, command: Sequence[str], tell: Callable[[Exited], None]) -> None:
        self.name, self._command, self._tell = name, list(command), tell
        self.alive = False
        self.due: float | None = None
        self.restarts = Restarts(spec)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, in a session of its own: Ctrl-C at the terminal reaches only the keeper.

        A machine that has no room for it now may have some later, so that counts as an end like any other.
        """
        self.due, self.alive, self._process = None, True, None
        try:
            self._process = process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, start_new_session=True)
            threading.Thread(target=self._watch, args=(process,), name=f"watch {self.name}", daemon=True).start()
        except (OSError, RuntimeError, MemoryError) as error:  # RuntimeError: no thread
            if self._process is not None:  # nobody would hear of its end
                self.end(now=True)
                self._process.wait()
            self._tell(Exited(self, None, f"cannot be started ({str(error) or type(error).__name__})"))

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        self._tell(Exited(self, code, how))

    def ended(self, now: float, *, well: bool) -> float | None:
        """Note its end; returns how many seconds from now it will be started again, None: it will not.

        Args:
            now: Monotonic seconds.
            well: Whether it ended by itself and as it should.
        """
        wait = self.restarts.ended(now, well=well)
        self.due = None if wait is None or self.restarts.too_many() else now + wait
        return wait

    @property
    def pid(self) -> int | None:
        """The id of its process, dead or alive; None before the first."""
        return None if self._process is None else self._process.pid

    def hang_up(self) -> None:
        """Have the process read its configuration again."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGHUP)

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
