"""Exit codes, and how an error becomes one line and a code. A user's mistake never shows a traceback."""

from __future__ import annotations

import os
import sys
from typing import Final, NoReturn

from ..workers.errors import (
    ConfigError,
    InvalidTask,
    PoolBusy,
    PoolRefused,
    PoolUnreachable,
    TooLarge,
    WorkerHostError,
    plain,
)
from .streams import give_up_data

OK: Final = 0
FAILED: Final = 1  # a task failed or was cancelled, or a check failed
USAGE: Final = 2
UNREACHABLE: Final = 69
INTERNAL: Final = 70
INPUT_OUTPUT: Final = 74
BUSY: Final = 75  # or still running when the wait ended
NOT_PERMITTED: Final = 77
CONFIGURATION: Final = 78
INTERRUPTED: Final = 130  # what a shell expects after Ctrl-C

LINE_MAX: Final = 2000


class UsageError(Exception):
    """The command line cannot be understood. The message says which part and what would be right."""


def say(text: str) -> None:
    """One line for the person at the terminal, on stderr: stdout carries data only."""
    print(f"workerhost: {plain(text, LINE_MAX)}", file=sys.stderr, flush=True)


def leave(code: int) -> NoReturn:
    """End this process at once, with what it has said written: taking the interpreter apart is most of an end."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def report(error: BaseException) -> int:
    """Tell the user what went wrong, in one line, and return the exit code. Only a bug of ours shows where it was."""
    if isinstance(error, OSError):
        give_up_data()
    if isinstance(error, BrokenPipeError):
        return INPUT_OUTPUT  # the reader of our output has left (`workerhost ls | head`): nobody is there to be told
    if isinstance(error, KeyboardInterrupt):
        say("interrupted")
        return INTERRUPTED
    code = code_of(error)
    if code == INTERNAL:
        import traceback

        traceback.print_exception(error)
        say("that was a bug of WorkerHost, not your mistake: please report the lines above")
    else:
        say(str(error) or type(error).__name__)
    return code


def code_of(error: BaseException) -> int:
    """The exit code that an error stands for."""
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return code
    from ..actors.stores.contract import StoreBroken, StoreDamaged, StoreLocked

    if isinstance(error, StoreDamaged):
        return INPUT_OUTPUT
    return CONFIGURATION if isinstance(error, (StoreBroken, StoreLocked)) else INTERNAL


_CODES: Final[dict[type[BaseException], int]] = {  # the first that fits
    UsageError: USAGE,
    InvalidTask: USAGE,
    TooLarge: USAGE,
    ConfigError: CONFIGURATION,
    PoolUnreachable: UNREACHABLE,
    PoolRefused: NOT_PERMITTED,
    PoolBusy: BUSY,
    TimeoutError: BUSY,
    WorkerHostError: FAILED,
    OSError: INPUT_OUTPUT,
}
