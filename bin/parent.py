"""Ends a process with the one that started it, also when that one is killed: nothing is left behind `up`."""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when its parent's starting thread ends (Linux; elsewhere: nothing).

    Args:
        parent: The parent's id, as it was told to us; if it is gone already this process ends at once.
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel knew
        os.kill(os.getpid(), signal.SIGTERM)
