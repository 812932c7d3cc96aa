"""What the host's own configuration says of how a type runs: its worker, and the environment it lives in. Data only.

Python 3.9 and the standard library suffice here, because a slot may run in another environment.
"""

from __future__ import annotations

import os
import sys
from typing import Final, NamedTuple

_INTERPRETER = ("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")


FUNCTION: Final = "function"
PICKLED: Final = "function.pickle"
"""Types of the tasks that a `PoolExecutor` sends: a call of a function by its path, and of a pickled one."""


class Source(NamedTuple):
    """Where the worker of one type comes from: `code`, `command` in `folder`, or functions of `modules`. A slot gets it
    as a plain list.

    Attributes:
        code: `module:Class`, or "".
        command: A program (its path, or a name to be found in PATH) and its arguments, or nothing.
        folder: Where the command runs; "": where the host does.
        modules: Whose functions may be called by their path, see `functions`; with `code`, where its worker must be
            defined, if there are any. `my.*`: all below `my`.
    """

    code: str = ""
    command: tuple[str, ...] = ()
    folder: str = ""
    modules: tuple[str, ...] = ()


class Environment(NamedTuple):
    """Where code lives and how it runs. What has the same one may run in the same slot.

    Attributes:
        python: The path of an interpreter or of a virtualenv's folder, or "": the host's interpreter.
        isolation: `process`, `thread` or `inline`.
        concurrency: How many tasks run at a time in one event loop; 1: no task has a neighbour in its thread.
    """

    python: str = ""
    isolation: str = "process"
    concurrency: int = 1

    def interpreter(self) -> str:
        """The interpreter's path. Links stay as they are: a virtualenv is known by where its link lies."""
        if not self.python:
            return sys.executable
        if os.path.isdir(self.python):  # noqa: PTH112 -- pathlib costs a slot's start 6 ms
            return os.path.join(self.python, *_INTERPRETER)  # noqa: PTH118
        return self.python

    def shares(self, other: Environment) -> bool:
        """Whether tasks of both can use the same slots, one after the other, each in a process of its own."""
        return self == other or (self.replaceable() and other.replaceable())

    def replaceable(self) -> bool:
        """Whether a slot of it is one process that runs one task at a time, and can be replaced or killed alone."""
        return self.isolation == "process" and self.concurrency == 1
