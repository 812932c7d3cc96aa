"""What a sender in an event loop holds: `AsyncHandle` for one task, `AsyncBatch` for many; see `handle.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, overload

from ..workers.errors import WorkerHostError
from .async_waiting import Ends, cancel, look_up, wait
from .block import Block
from .clock import now
from .connection import Connection, Connections
from .handle import IDS_MAX, values_of
from .outcome import value_of
from .told import Told, ToldBatch

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Value_co = TypeVar("Value_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    Value_co = TypeVar("Value_co", covariant=True)


class Place:
    """What the handles of one client share (for this package's own use).

    Attributes:
        connections: The client's.
        ends: Who waits for single tasks.
    """

    __slots__ = ("connections", "ends")

    def __init__(self, connections: Connections) -> None:
        self.connections, self.ends = connections, Ends()


class AsyncHandle(Told, Generic[Value_co]):
    """One task of a pool. Made by an `AsyncClient`; alike handles of the same task are equal.

    State and progress are pushed by the pool, so reading them costs nothing and asks nobody. A coroutine that is
    cancelled while it waits leaves the task alone: `cancel()` ends a task.
    """

    __slots__ = ("_connection", "_place")

    def __init__(self, place: Place, connection: Connection, block: Block, offset: int) -> None:
        self._place = place
        self._connection: Connection = connection
        super().__init__(block, offset)

    @property
    def id(self) -> int:
        """The task's number.

        Raises:
            TaskRefused, PoolBusy: The pool did not store it.
            RuntimeError: After `send_soon`: it is not acknowledged yet; `await handle.stored()` waits for that.
        """
        if self._block.refused:
            raise self._error() or WorkerHostError("the task was refused")
        if self._block.first == 0:
            raise RuntimeError("the task is not acknowledged yet; its number comes with `await handle.stored()`")
        return self._block.id(self._offset)

    async def stored(self) -> int:
        """Wait until the pool has acknowledged the task; its number.

        Raises:
            TaskRefused, PoolBusy: The pool did not store it.
            PoolUnreachable: No supervisor answered in time.
        """
        block = self._block
        if not block.answered:
            connection = await self._here()
            answered = partial(getattr, block, "answered")
            await wait(connection, answered, [block.waiters], strict=True, blocks=[block])
        return self.id

    async def result(self, timeout: float | None = None) -> Value_co:
        """The value that the worker returned; waits for it, `timeout` seconds at most.

        Raises:
            TaskFailed: It failed (`TaskQuarantined`: it killed its worker too often).
            TaskCancelled: It was cancelled.
            TaskUnknown: The pool does not know it (any more).
            TaskRefused, PoolBusy: After `send_soon`: the pool did not store it.
            TimeoutError: You stopped waiting; the task goes on.
            PoolUnreachable: The pool was away for the client's timeout; the task may go on, ask again.
        """
        if not await self.wait(timeout):
            what = f"task {self._block.id(self._offset)}" if self._block.first else "the task"
            raise TimeoutError(f"{what} has not ended within {timeout:g} s; it goes on")
        return value_of(self._block.id(self._offset), self._end())

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until the task has ended, in whatever way; False if `timeout` (seconds) passed first.

        Raises:
            PoolUnreachable: The pool was away for the client's timeout.
        """
        if self._block.ends[self._offset] is not None:
            return True
        connection = await self._here()
        return await self._place.ends.wait(connection, self._block, self._offset, timeout)

    async def cancel(self) -> bool:
        """End the task, running or not; False if it had ended before.

        Raises:
            PoolUnreachable: No supervisor answered in time.
        """
        id = await self.stored()
        return id in await cancel(await self._here(), [id], IDS_MAX)

    async def place(self) -> tuple[Block, int]:
        """Where news of the task arrive in this process (for this package's own use)."""
        await self._here()
        return self._block, self._offset

    async def _here(self) -> Connection:
        """The connection of this process. In a forked child the task is looked up on the child's own."""
        current = self._place.connections.current()
        if current is not self._connection:
            if self._block.first == 0:
                raise WorkerHostError("the parent process sent this task and had no acknowledgement before the fork")
            self._block, self._offset = await look_up(current, self._block.id(self._offset))
            self._connection = current
        return self._connection


class AsyncBatch(ToldBatch, Sequence[AsyncHandle[Value_co]], Generic[Value_co]):
    """The tasks of one `send_many`, in the order of their params. Kept as ranges of ids, so a million cost little."""

    def __init__(self, place: Place, connection: Connection, blocks: Sequence[Block]) -> None:
        self._place, self._connection = place, connection
        super().__init__(blocks)

    @overload
    def __getitem__(self, index: int) -> AsyncHandle[Value_co]: ...
    @overload
    def __getitem__(self, index: slice) -> list[AsyncHandle[Value_co]]: ...
    def __getitem__(self, index: int | slice) -> AsyncHandle[Value_co] | list[AsyncHandle[Value_co]]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return AsyncHandle(self._place, self._connection, *self._at(index))

    def __iter__(self) -> Iterator[AsyncHandle[Value_co]]:
        for block in self._blocks:
            for offset in range(block.count):
                yield AsyncHandle(self._place, self._connection, block, offset)

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until every task has ended, in whatever way; False if `timeout` (seconds) passed first.

        Raises:
            PoolUnreachable: The pool was away for the client's timeout.
        """
        if not any(block.left for block in self._blocks):
            return True
        connection = await self._here()
        deadline = None if timeout is None else now() + timeout
        for block in self._blocks:
            left = None if deadline is None else deadline - now()
            if not await wait(connection, partial(_has_ended, block), [block.waiters], timeout=left):
                return False
        return True

    async def results(self, timeout: float | None = None, *, return_exceptions: bool = False) -> list[Any]:
        """The values of all tasks, in order; waits for them.

        Args:
            timeout: How long to wait for all of them, in seconds; None: until they have ended.
            return_exceptions: Put the errors of tasks into the list instead of raising the first.

        Raises:
            TaskFailed, TaskCancelled, TaskUnknown: The first task, in order, that did not complete.
            TimeoutError: You stopped waiting; the tasks go on.
            PoolUnreachable: The pool was away for the client's timeout.
        """
        if not await self.wait(timeout):
            left = sum(block.left for block in self._blocks)
            raise TimeoutError(f"{left} of {len(self)} tasks have not ended within {timeout:g} s; they go on")
        return [value for block in self._blocks for value in values_of(block, return_exceptions=return_exceptions)]

    async def cancel(self) -> int:
        """End all tasks that have not ended; how many those were.

        Raises:
            PoolUnreachable: No supervisor answered in time.
        """
        connection = await self._here()
        ids = [id for block in self._blocks if block.left for id in block.unfinished()]
        return len(await cancel(connection, ids, IDS_MAX))

    async def _here(self) -> Connection:
        """The connection of this process. In a forked child the tasks are looked up on the child's own."""
        current = self._place.connections.current()
        if current is not self._connection:
            places = [await look_up(current, id) for ids in self.ids() for id in ids]
            self._blocks = [block for block, _ in places]
            self._stops = list(range(1, len(self._blocks) + 1))
            self._connection = current
        return current


def _has_ended(block: Block) -> bool:
    return block.left == 0
