"""How a slot's process ended, or why there is none: what is told of it, in numbers and in words."""

from __future__ import annotations

import errno
import os
import signal
import sys
from concurrent.futures import CancelledError
from typing import Any

from ..workers.errors import ConfigError
from .open_files import EACH_SLOT


def wait(pid: int) -> tuple[int | None, int]:
    """Status and peak memory of a child that is dead or about to be."""
    try:
        _, status, usage = os.wait4(pid, 0)
    except ChildProcessError:  # this process ignores SIGCHLD: the kernel has thrown it away
        return None, 0
    return status, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def exit_of(status: int | None) -> dict[str, Any]:
    """`signal` and `exit_code` of `slot_news.SlotNews.exited`."""
    if status is None:
        return {"signal": None, "exit_code": None}
    code = os.waitstatus_to_exitcode(status)
    return {"signal": -code if code < 0 else None, "exit_code": code if code >= 0 else None}


def said(exited: dict[str, Any]) -> str:
    """The same for people."""
    if exited["signal"] is None:
        return f"its process ended with exit code {exited['exit_code']}"
    try:
        name = signal.Signals(exited["signal"]).name
    except ValueError:
        name = "unknown"
    return f"its process was killed by signal {exited['signal']} ({name})"


def never_started(error: BaseException) -> dict[str, Any]:
    """What is told of a process that could not be started, or that was not wanted any more before it was.

    Args:
        error: Why.
    """
    cause, message = "start_failed", f"{type(error).__name__}: {error}"
    if isinstance(error, CancelledError):
        cause, message = "stopped", "its process was stopped before it was started"
    elif isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        message = (
            f"{error.strerror}: each slot takes {EACH_SLOT}; have fewer slots, or raise the limit of the "
            "host's process (ulimit -n)"
        )
    elif isinstance(error, ConfigError):
        message = str(error)
    exited: dict[str, Any] = {"signal": None, "exit_code": None, "cause": cause}
    return {**exited, "started": [], "memory": 0, "message": message}
