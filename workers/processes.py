"""What /proc says of processes: who descends from whom, what they use, and which ones bear a mark. Ends those that do.

A mark is a variable of the environment, which everything that a process starts inherits: by it, what has left its
group, its session and its parent is still found. Where there is no /proc nothing is found. Knows nothing of tasks.
Python 3.9 and the standard library suffice.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

_PROC: Final = "/proc"
_ROUNDS_MAX: Final = 50
"""Searches for what bears a mark: what is killed may have started something meanwhile, or takes a moment to go."""
_ROUND_SECONDS: Final = 0.002
_KERNEL_THREAD: Final = 0x00200000  # PF_KTHREAD


class Process(NamedTuple):
    """One process at one moment.

    Attributes:
        pid: Its id.
        state: `R`, `S`, `Z` (dead, and not yet waited for) and so on.
        parent: The id of the process that would wait for it.
        group: Its process group.
        cpu: Seconds of processor time that it and those it has waited for have used.
        started: When it was started, in ticks since the system was; tells it from a later one of the same id.
        resident: Bytes of memory that it holds, shared ones included.
    """

    pid: int
    state: str
    parent: int
    group: int
    cpu: float
    started: int
    resident: int


def process(pid: int, proc: str = _PROC) -> Process | None:
    """What is known of a process; None if it is not there."""
    try:
        with open(f"{proc}/{pid}/stat", "rb") as file:  # noqa: PTH123 -- pathlib costs as much as the reading
            text = file.read()
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    ticks = sum(map(int, fields[11:15]))
    return Process(
        pid,
        fields[0].decode(),
        int(fields[1]),
        int(fields[2]),
        ticks / _ticks_per_second(),
        int(fields[19]),
        int(fields[21]) * _page_bytes(),
    )


def memory_shared_out(pid: int) -> int | None:
    """Bytes of memory that a process holds, with what it shares divided among those who share it (PSS): 0 if it has
    ended, None if that cannot be told. It costs a walk through all its pages.
    """
    try:
        with open(f"{_PROC}/{pid}/smaps_rollup", "rb") as file:  # noqa: PTH123 -- as above
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:")), 0)
    except ProcessLookupError:
        return 0
    except OSError:  # not ours to look at, it has ended, or a kernel that does not tell
        return None if _exists(_PROC, pid) else 0


class Family:
    """Whose child is whose. Reads each list of children when it is asked for; where the kernel keeps none, all
    processes are looked through once, and that picture is kept for as long as this object.
    """

    def __init__(self, proc: str = _PROC) -> None:
        self._proc = proc
        self._children: dict[int, list[int]] | None = None

    def children(self, pid: int) -> list[int]:
        """The ids of the children of a process."""
        if self._children is None:
            found: list[int] = []
            try:
                for thread in os.listdir(f"{self._proc}/{pid}/task"):  # noqa: PTH208 -- only names are needed
                    with open(f"{self._proc}/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123
                        found += map(int, file.read().split())
            except FileNotFoundError:
                if found or not _exists(self._proc, pid):
                    return found  # it ended, or a thread of it
                self._children = self._look_through()
            except OSError:
                return found
            else:
                return found
        return self._children.get(pid, [])

    def below(self, pid: int, spared: Collection[tuple[int, int]] = ()) -> Iterator[Process]:
        """A process's descendants, but for those (id, `started`) that are spared, and what is below these."""
        pending = self.children(pid)
        while pending:
            one = process(pending.pop(), self._proc)
            if one is not None and (one.pid, one.started) not in spared:
                yield one
                pending += self.children(one.pid)

    def _look_through(self) -> dict[int, list[int]]:
        children: dict[int, list[int]] = {}
        for pid in _pids(self._proc):
            one = process(pid, self._proc)
            if one is not None:
                children.setdefault(one.parent, []).append(pid)
        return children


def end_marked(name: str, marks: Collection[bytes]) -> None:
    """Kill every process with one of these values of the variable, whatever session or parent it has given itself."""
    entries = {name.encode() + b"=" + mark for mark in marks}
    for _ in range(_ROUNDS_MAX):
        again = False
        for pid, environ in _environments():
            if not entries.isdisjoint(environ):
                again = True
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            elif environ == [b""]:
                again |= is_starting(pid) or _environment(pid) != environ  # it may have come between the two looks
        if not again:
            return
        time.sleep(_ROUND_SECONDS)


def is_starting(pid: int, proc: str = _PROC) -> bool:
    """Whether a process is being turned into another program just now: for a moment it shows no environment then, but
    whoever asked for the program has been told that it runs.
    """
    try:
        with open(f"{proc}/{pid}/stat", "rb") as file:  # noqa: PTH123 -- as above
            text = file.read()
    except OSError:
        return False
    fields = text[text.rindex(b")") + 2 :].split()
    return (
        fields[0] != b"Z" and not int(fields[6]) & _KERNEL_THREAD and int(fields[48]) == 0
    )  # env_end, which is set last


def marks(name: str) -> set[bytes]:
    """All values of the variable that processes bear which this one may look at."""
    start = name.encode() + b"="
    return {entry[len(start) :] for _, environ in _environments() for entry in environ if entry.startswith(start)}


def _environments() -> Iterator[tuple[int, list[bytes]]]:
    for pid in _pids(_PROC):
        environ = _environment(pid)
        if environ:
            yield pid, environ


def _environment(pid: int) -> list[bytes]:
    """Nothing at all if it is not there, or not ours to look at."""
    try:
        with open(f"{_PROC}/{pid}/environ", "rb") as environ:  # noqa: PTH123 -- as above
            return environ.read().split(b"\0")
    except OSError:
        return []


def _pids(proc: str) -> list[int]:
    try:
        return [int(entry) for entry in os.listdir(proc) if entry.isdigit()]  # noqa: PTH208 -- as above
    except OSError:
        return []


def _exists(proc: str, pid: int) -> bool:
    return os.path.exists(f"{proc}/{pid}")  # noqa: PTH110 -- as above


def _ticks_per_second() -> int:
    return os.sysconf("SC_CLK_TCK")


def _page_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE")
