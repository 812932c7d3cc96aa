"""What a task leaves running in its slot's process: found after the task, and ended if it has left the slot's group.

The rule: what a task started and moved into a group or session of its own ends with the task, as does its alarm. What
stays in the slot's group may live as long as the slot (a worker's pool of processes), and so may whatever `initialize`
started. Processes are found on Linux only. Python 3.9 and the standard library suffice.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from typing import Final

from .processes import Family, Process

_WAITS: Final = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.2)
"""Seconds between one search and the next: what is killed needs a moment, and may have started something meanwhile."""
_SUBREAPER: Final = 36  # PR_SET_CHILD_SUBREAPER


class Leftovers:
    """Of one process that runs one task at a time.

    Attributes:
        dead: Ended processes that nobody has waited for, as of the last look: what a task left behind in the slot's
            group and a library's own children look alike, so they are counted and let lie.
    """

    def __init__(self) -> None:
        """Have every descendant whose parent ends become a child of this process."""
        self.dead = 0
        self._group = os.getpgid(0)
        self._spared: set[tuple[int, int]] = set()
        self._spares_alarm = False
        self._able = sys.platform == "linux"
        if self._able:
            import ctypes

            ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)

    def spare(self) -> None:
        """What lives now may live on."""
        self._spares_alarm = signal.getitimer(signal.ITIMER_REAL)[0] > 0
        if self._any():
            self._spared = {(one.pid, one.started) for one in Family().below(os.getpid())}

    def end_alarm(self) -> None:
        """So that what the task set in case it took too long does not strike the next one. One system call."""
        if not self._spares_alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def end(self) -> None:
        """End what the task left behind. One system call if it left nothing, as most do."""
        if self._any():
            for wait in _WAITS:
                if wait:
                    time.sleep(wait)  # sleeps: a killed process is gone when the kernel says so, and there is no signal
                if not self._kill():
                    return

    def _any(self) -> bool:
        """Whether this process has a child, dead or alive."""
        try:
            if self._able:
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            self.dead = 0
            return False
        return self._able

    def _kill(self) -> bool:
        """Kill what is there; whether there was something, so that another look is due."""
        own, self.dead = os.getpid(), 0
        found: list[Process] = []
        for one in Family().below(own, self._spared):
            if one.state == "Z" and (one.group == self._group or one.parent != own):
                self.dead += one.parent == own
            elif one.group != self._group:
                found.append(one)
        for one in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(one.pid, signal.SIGKILL)
            if one.parent == own:
                with suppress(ChildProcessError):
                    os.waitpid(one.pid, os.WNOHANG)
        return bool(found)
