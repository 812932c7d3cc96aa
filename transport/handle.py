"""What a sender holds: `Handle` for one task, `Batch` for many. They look at what was pushed; only waiting waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, overload

from ..workers.errors import WorkerHostError
from .block import Block
from .clock import now
from .connection import Connection, Connections
from .messages import Cancel
from .outcome import error_of, value_of
from .told import Told, ToldBatch

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Value_co = TypeVar("Value_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    Value_co = TypeVar("Value_co", covariant=True)

IDS_MAX: Final = 10_000
"""Ids in one CANCEL."""


class Handle(Told, Generic[Value_co]):
    """One task of a pool. Made by a `Client`; alike handles of the same task are equal. `Handle[int]`: its result is an
    int, as a typed function says (see `worker`).

    State and progress are pushed by the pool, so reading them costs nothing and asks nobody.
    """

    __slots__ = ("_connection", "_connections")

    def __init__(self, connections: Connections, connection: Connection, block: Block, offset: int) -> None:
        self._connections = connections
        self._connection: Connection = connection
        super().__init__(block, offset)

    @property
    def id(self) -> int:
        """The task's number. After `send_soon` it waits until the pool has acknowledged the task.

        Raises:
            TaskRefused, PoolBusy: The pool did not store it.
            PoolUnreachable: No supervisor answered in time.
        """
        if self._block.first == 0:
            self._wait_answered()
        return self._block.id(self._offset)

    def result(self, timeout: float | None = None) -> Value_co:
        """The value that the worker returned; waits for it.

        Args:
            timeout: How long to wait, in seconds; None: until the task ends.

        Raises:
            TaskFailed: It failed (`TaskQuarantined`: it killed its worker too often).
            TaskCancelled: It was cancelled.
            TaskUnknown: The pool does not know it (any more).
            TaskRefused, PoolBusy: After `send_soon`: the pool did not store it.
            TimeoutError: You stopped waiting; the task goes on.
            PoolUnreachable: The pool was away for the client's timeout; the task may go on, ask again.
        """
        if not self.wait(timeout):
            what = f"task {self._block.id(self._offset)}" if self._block.first else "the task"
            raise TimeoutError(f"{what} has not ended within {timeout:g} s; it goes on")
        return value_of(self._block.id(self._offset), self._end())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the task has ended, in whatever way; False if `timeout` (seconds) passed first.

        Raises:
            PoolUnreachable: The pool was away for the client's timeout.
        """
        if self._block.ends[self._offset] is not None:
            return True
        connection = self._here()
        block, offset = self._block, self._offset
        return connection.wait(lambda: block.ends[offset] is not None, [block.waiters], timeout=timeout)

    def cancel(self) -> bool:
        """End the task, running or not; False if it had ended before.

        Raises:
            PoolUnreachable: No supervisor answered in time.
        """
        id = self.id
        return id in cancel(self._here(), [id])

    def place(self) -> tuple[Block, int]:
        """Where news of the task arrive in this process (for this package's own use)."""
        self._here()
        return self._block, self._offset

    def _here(self) -> Connection:
        """The connection of this process. In a forked child the task is looked up on the child's own."""
        current = self._connections.current()
        if current is not self._connection:
            if self._block.first == 0:
                raise WorkerHostError("the parent process sent this task and had no acknowledgement before the fork")
            self._block, self._offset = current.look_up(self._block.id(self._offset))
            self._connection = current
        return self._connection

    def _wait_answered(self) -> None:
        block = self._block
        self._here().wait(lambda: block.answered, [block.waiters], strict=True, blocks=[block])
        if block.refused:
            raise self._error() or WorkerHostError("the task was refused")


class Batch(ToldBatch, Sequence[Handle[Value_co]], Generic[Value_co]):
    """The tasks of one `send_many`, in the order of their params. Kept as ranges of ids, so a million cost little."""

    def __init__(self, connections: Connections, connection: Connection, blocks: Sequence[Block]) -> None:
        self._connections = connections
        self._connection: Connection = connection
        super().__init__(blocks)

    @overload
    def __getitem__(self, index: int) -> Handle[Value_co]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Handle[Value_co]]: ...
    def __getitem__(self, index: int | slice) -> Handle[Value_co] | list[Handle[Value_co]]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return Handle(self._connections, self._connection, *self._at(index))

    def __iter__(self) -> Iterator[Handle[Value_co]]:
        for block in self._blocks:
            for offset in range(block.count):
                yield Handle(self._connections, self._connection, block, offset)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until every task has ended, in whatever way; False if `timeout` (seconds) passed first.

        Raises:
            PoolUnreachable: The pool was away for the client's timeout.
        """
        if not any(block.left for block in self._blocks):
            return True
        connection = self._here()
        deadline = None if timeout is None else now() + timeout
        for block in self._blocks:
            left = None if deadline is None else deadline - now()
            if not connection.wait(partial(_has_ended, block), [block.waiters], timeout=left):
                return False
        return True

    def results(self, timeout: float | None = None, *, return_exceptions: bool = False) -> list[Any]:
        """The values of all tasks, in order; waits for them.

        Args:
            timeout: How long to wait for all of them, in seconds; None: until they have ended.
            return_exceptions: Put the errors of tasks into the list instead of raising the first.

        Raises:
            TaskFailed, TaskCancelled, TaskUnknown: The first task, in order, that did not complete.
            TimeoutError: You stopped waiting; the tasks go on.
            PoolUnreachable: The pool was away for the client's timeout.
        """
        if not self.wait(timeout):
            left = sum(block.left for block in self._blocks)
            raise TimeoutError(f"{left} of {len(self)} tasks have not ended within {timeout:g} s; they go on")
        return [value for block in self._blocks for value in values_of(block, return_exceptions=return_exceptions)]

    def cancel(self) -> int:
        """End all tasks that have not ended; how many those were.

        Raises:
            PoolUnreachable: No supervisor answered in time.
        """
        connection = self._here()
        return len(cancel(connection, [id for block in self._blocks if block.left for id in block.unfinished()]))

    def _here(self) -> Connection:
        """The connection of this process. In a forked child the tasks are looked up on the child's own."""
        current = self._connections.current()
        if current is not self._connection:
            self._blocks = [current.look_up(id)[0] for ids in self.ids() for id in ids]
            self._stops = list(range(1, len(self._blocks) + 1))
            self._connection = current
        return current


def cancel(connection: Connection, ids: Sequence[int]) -> list[int]:
    """End tasks; those that had not ended before."""
    cancelled: list[int] = []
    for start in range(0, len(ids), IDS_MAX):
        cancelled += connection.request(Cancel(0, list(ids[start : start + IDS_MAX])))["cancelled"]
    return cancelled


def values_of(block: Block, *, return_exceptions: bool) -> Iterator[Any]:
    """The values of a block whose tasks have all ended."""
    for offset, end in enumerate(block.ends):
        assert end is not None
        id = block.id(offset) if block.others else block.first + offset
        yield value_of(id, end) if isinstance(end, bytes) or not return_exceptions else error_of(id, end)


def _has_ended(block: Block) -> bool:
    return block.left == 0
