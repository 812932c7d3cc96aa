"""What a store is: the one thing that survives. One contract suite (`tests/contract`) runs on every store.

A store never decides. It applies what the core persists and reads what the core needs, all inside the turn's
transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..core.effects import Need, Persist, Where
from ..core.opening import Opening


class StoreLocked(Exception):
    """Another supervisor has this database open."""


class StoreBroken(Exception):
    """The database cannot be used: not ours, newer than this version, on a network file system, or damaged."""


class StoreFull(StoreBroken):
    """There is no room left on the disk. The turn is undone; what was committed before is whole."""


class StoreDamaged(StoreBroken):
    """The disk fails, or the database is damaged. Nothing may be acknowledged any more; the process ends with 74."""


class StoreDisagrees(Exception):
    """A write met another fence or state than the core believed: a bug; the process must end and start from the
    store.
    """


class BackupEnded(NamedTuple):
    """A copy of the database is on the disk, or `fault` says why not. `path` is as it was asked for."""

    path: str
    fault: str | None
    bytes: int


class Store(Protocol):
    """The supervisor's memory on disk. Used from one thread."""

    @property
    def durable(self) -> bool:
        """Whether what is committed survives the process."""
        ...

    def open(self, boot: int = 0) -> Opening:
        """Open, check, migrate, and start a new epoch.

        Where commits may be gone that others were told of, the store goes on beyond any number that these can have
        used, as after a restore: by an epoch from which clients see that they have to ask anew.

        Args:
            boot: A number of this run of the machine, 0 if unknown. Commits that were not synced outlive a process, not
                the machine: none is gone if the store was last opened within the same run.

        Raises:
            StoreLocked: Another process has it.
            StoreBroken: It cannot be used; the message says why and what to do.
        """
        ...

    def begin(self) -> None:
        """Open the turn's transaction."""
        ...

    def apply(self, persist: Persist) -> None:
        """Write one step's changes.

        Raises:
            StoreDisagrees: A row's fence or state was not what the core believed.
        """
        ...

    def read(self, need: Need) -> list[Any]:
        """Rows for a need, the turn's own writes included. See each need for their form."""
        ...

    def params(self, ids: Sequence[int]) -> dict[int, bytes]:
        """The params of tasks whose rows in memory do not carry them."""
        ...

    def checkpoints(self, ids: Sequence[int]) -> dict[int, bytes]:
        """The latest checkpoints of these tasks."""
        ...

    def commit(self) -> None:
        """Make the turn durable."""
        ...

    def rollback(self) -> None:
        """Undo the turn (no error if none is open)."""
        ...

    def show(self, id: int) -> dict[str, Any] | None:
        """One task in full, for people: see `tests/contract` for the keys; `attempts` lists the attempts, oldest first:
        of many the first and the latest, and `attempts_left_out` counts those between.
        """
        ...

    def tasks(self, where: Where, limit: int, before: int | None = None) -> tuple[list[dict[str, Any]], int | None]:
        """Those that are meant, for people, the newest first, of a bounded number that are looked at: (tasks, the id to
        go on before, or None at the end).
        """
        ...

    def named(self, id: int) -> dict[str, Any]:
        """What the name of a task that is there is worth: `unique_until`, if its key is its own (an instant, "kept", or
        None: while it is unfinished), and `answers`: True, if its result answers for others with the same params.
        """
        ...

    def results(self, ids: Sequence[int]) -> dict[int, bytes]:
        """The results of these tasks; those that have none are left out."""
        ...

    def flows(self, *, before: int, limit: int, owner: str | None = None) -> tuple[list[dict[str, Any]], int | None]:
        """Flows with numbers below `before`, newest first, of which `limit` are looked at; the number to go on before,
        None at the end.
        """
        ...

    def flow(self, flow: int, *, start: int = 0, owner: str | None = None) -> dict[str, Any] | None:
        """One flow: `ids` [[first, count], ...] of its tasks and, of a bounded number of them, those from `start` on,
        `counts` by state and `types` {type: counts by state}; `next` says from where to go on counting.
        """
        ...

    def flow_of(self, task: int) -> int | None:
        """The number of the flow that a task belongs to, if it belongs to one."""
        ...

    def after(self, task: int, limit: int) -> list[tuple[int, int, int, int | None]]:
        """What a task comes after: (id, policy, met, its state or None if it is not kept any more), by id."""
        ...

    def audit(self, limit: int, before: int) -> list[dict[str, Any]]:
        """Rows of the audit with a number below `before`, the latest first: `{number, at, identity, name, event}` and
        what else was said.
        """
        ...

    def work(self, seconds: float) -> bool:
        """Do a part of what goes on between turns (a check after an unclean stop, a backup); whether more is left.

        Raises:
            StoreDamaged: The check found damage.
        """
        ...

    def back_up(self, path: Path, told: Callable[[BackupEnded], None]) -> None:
        """Begin to copy everything into a new file; `work` goes on with it. One at a time.

        Args:
            path: The file; it must not be there yet.
            told: Called, in another thread, when the copy is durable or has failed.

        Raises:
            StoreBroken: It cannot be made; the message says why.
        """
        ...

    def copied(self) -> float | None:
        """How far the backup is, from 0 to 1; None if there is none."""
        ...

    def close(self) -> None:
        """Checkpoint and close. A backup that is not on the disk by now is given up: it never appears."""
        ...
