"""The cgroup file system (version 2): a group of its own for each slot that limits are set for, so that the kernel
itself keeps them, and ends all that is in the group at a stroke.

Nothing is looked at before the first limit is, and nothing changed outside of what was handed over to this process:
a unit of systemd's with `Delegate=yes`, a tree that belongs to this user, or the top of all that a container sees.
Elsewhere there are no groups, and limits are kept by watching alone. Knows nothing of tasks.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Final

from .log import Log

log = Log("slots")

PROC = Path("/proc/self")

LEAF: Final = "workerhost"
"""Where processes go that stand where groups are to be made: a group has either processes or groups with limits."""

_CONTROLLERS: Final = frozenset({"memory", "pids"})
_ROUNDS_MAX: Final = 50
"""Tries to empty or to remove a group: its processes may start others meanwhile, or take a moment to go."""
_ROUND_SECONDS: Final = 0.002
_REMOVALS_MAX: Final = 10
_THREADS: Final = 1024
_THREADS_EACH: Final = 16
"""The kernel counts threads too, of which a process may have as many as it likes; watching counts the processes. What
the kernel refuses is only what grows faster than it can be watched."""

_own: tuple[Groups | None] | None = None


class Group:
    """What a slot's processes are in.

    Attributes:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._bounds = (inf, inf)

    def add(self, pids: Iterable[int]) -> None:
        """Processes move into it; what they hold already stays on the account of where they were."""
        for pid in pids:
            _write(self.folder / "cgroup.procs", str(pid))

    def bound(self, memory: float, processes: float) -> None:
        """From now on all in it may use so many bytes of memory together, and have about so many processes; `inf`: any
        number. If there is more memory in use than that, the kernel ends them.
        """
        before, self._bounds = self._bounds, (memory, processes)
        if memory != before[0]:
            _write(self.folder / "memory.max", _number(memory))
        if processes != before[1]:
            _write(self.folder / "pids.max", _number(_THREADS + (1 + processes) * _THREADS_EACH))

    def memory_ended(self) -> float:
        """Of processes that were killed: how many bytes they may use, if that was why; 0: it was not."""
        events = _events(self.folder / "memory.events")  # the first can be survived, the second is any want of memory
        return self._bounds[0] if events.get("oom") and events.get("oom_kill") else 0

    def refused(self) -> int:
        """How many processes and threads the kernel has refused to start because of a bound."""
        return 0 if self._bounds[1] == inf else _events(self.folder / "pids.events").get("max", 0)

    def kill(self) -> None:
        """End all that is in it, however much of it there is and whatever that starts meanwhile."""
        switch = self.folder / "cgroup.kill"
        if switch.exists():  # Linux 5.14 and newer
            _write(switch, "1")

    def remove_by(
        self,
        later: Callable[[float, Callable[[], object]], object],
        clean: Callable[[Callable[[], object]], object],
        tries: int = _REMOVALS_MAX,
    ) -> None:
        """Remove it in another thread. Processes with much memory take their time to go; what is left after these
        tries is the next host's to remove.

        Args:
            later: Calls something after so many seconds.
            clean: Calls something that may take a while.
            tries: How many.
        """

        def once() -> None:
            if not self.remove() and tries > 1:
                later(1.0, lambda: self.remove_by(later, clean, tries - 1))

        clean(once)

    def remove(self) -> bool:
        """End all that is in it, and wait a moment for that to be gone; False if something is still there then."""
        for _ in range(_ROUNDS_MAX):
            self.kill()
            for folder, _, _ in os.walk(self.folder, topdown=False):  # it may have made groups itself
                with suppress(OSError):
                    Path(folder).rmdir()
            if not self.folder.exists():
                return True
            time.sleep(_ROUND_SECONDS)
        return False


class Groups:
    """Where groups can be made.

    Attributes:
        base: The folder that they stand in.
    """

    def __init__(self, base: Path) -> None:
        self.base = base

    def __repr__(self) -> str:
        return f"<Groups in {self.base}>"

    def make(self, name: str) -> Group | None:
        """A new group without bounds; None if there can be no more of them."""
        folder = self.base / name
        try:
            folder.mkdir()
        except OSError:
            return None
        _write(folder / "memory.swap.max", "0")  # else what goes beyond is written to disk, slowly, for a long time
        _write(folder / "memory.oom.group", "1")
        return Group(folder)

    def sweep(self, is_orphan: Callable[[str], bool]) -> None:
        """Remove the groups that killed hosts have left, by their names."""
        with suppress(OSError):
            for folder in self.base.iterdir():
                if folder.is_dir() and is_orphan(folder.name):
                    Group(folder).remove()


def find(proc: Path, user: int) -> Groups | None:
    """Where a process may make groups; None: nowhere. What stands there is moved into a group called `LEAF`.

    Args:
        proc: What /proc says of the process.
        user: Whose process it is.
    """
    try:
        base = _handed_over(proc, user)
        return Groups(base) if base is not None and _prepare(base) else None
    except OSError:  # not there, not ours, or read-only, as in most containers
        return None


def own() -> Groups | None:
    """Where this process may make groups. It is looked for once, which may take some milliseconds."""
    global _own  # noqa: PLW0603 -- one answer per process is the point
    if _own is None:
        groups = find(PROC, os.geteuid())
        _own = (groups,)
        log.info("limits_kept", by="watching alone" if groups is None else f"groups in {groups.base}")
    return _own[0]


def in_use() -> Groups | None:
    """As `own`, where that was asked for before."""
    return None if _own is None else _own[0]


def _handed_over(proc: Path, user: int) -> Path | None:
    """The folder that was handed over to this process, or the one below which it was put by who did that."""
    own = next((line[3:] for line in (proc / "cgroup").read_text().splitlines() if line.startswith("0::")), "")
    own = own.removesuffix(f"/{LEAF}") or "/"
    if Path(own).name.startswith(f"{LEAF}-"):  # a pool inside of a slot stays within the slot's bounds
        return None
    for line in (proc / "mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] != "cgroup2":
            continue
        top = Path(fields[4])
        if fields[3] != "/" and not f"{own}/".startswith(f"{fields[3]}/"):
            continue
        own = own if fields[3] == "/" else own.removeprefix(fields[3]) or "/"
        folder = top / own.lstrip("/")
        if folder == top:
            return folder if os.access(folder, os.W_OK) else None
        return next((each for each in (folder, folder.parent) if each != top and _is_delegated(each, user)), None)
    return None


def _is_delegated(folder: Path, user: int) -> bool:
    """Whether systemd says so, or the tree of a user begins here. What merely can be written to is somebody else's to
    arrange.
    """
    for name in ("user.delegate", "trusted.delegate"):
        with suppress(OSError, AttributeError):  # not every system has such attributes
            if os.getxattr(folder, name) == b"1":
                return True
    return user != 0 and folder.stat().st_uid == user != folder.parent.stat().st_uid


def _prepare(base: Path) -> bool:
    """Have groups below `base` keep limits of their own."""
    wanted = _CONTROLLERS & set((base / "cgroup.controllers").read_text().split())
    control = base / "cgroup.subtree_control"
    if not wanted or wanted <= set(control.read_text().split()):
        return bool(wanted)
    for _ in range(_ROUNDS_MAX):
        try:
            control.write_text(" ".join(f"+{name}" for name in sorted(wanted)))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            _move_out(base)
        else:
            return True
    return False


def _move_out(base: Path) -> None:
    """The processes that stand in `base` itself go into one group below."""
    leaf = base / LEAF
    leaf.mkdir(exist_ok=True)
    for pid in (base / "cgroup.procs").read_text().split():
        _write(leaf / "cgroup.procs", pid)


def _write(path: Path, text: str) -> None:
    """Where a kernel does not have the file, or the process is gone, there is nothing to be done."""
    with suppress(OSError):
        path.write_text(text)


def _events(path: Path) -> dict[str, int]:
    try:
        pairs = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {pair[0]: int(pair[1]) for pair in pairs}


def _number(value: float) -> str:
    return "max" if value == inf else str(int(value))
