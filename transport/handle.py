"""What a sender holds: `Handle` for one task, `Batch` for many. They look at what was pushed; only waiting waits."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, overload

from ..workers.errors import WorkerHostError
from .block import REFUSED, UNKNOWN, Block, End
from .clock import now
from .connection import Connection, Connections
from .messages import STATES, Cancel, TaskState
from .outcome import error_of, value_of

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Value_co = TypeVar("Value_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    Value_co = TypeVar("Value_co", covariant=True)

IDS_MAX: Final = 10_000
"""Ids in one CANCEL."""

_COMPLETED: Final = STATES.index(TaskState.COMPLETED)


class Progress(NamedTuple):
    """How far a task, or a batch, has come.

    Attributes:
        fraction: From 0 to 1.
        note: What the worker said about it, or "".
        at: When it was said (aware, UTC), or None if nothing was.
    """

    fraction: float
    note: str
    at: datetime | None


class Handle(Generic[Value_co]):
    """One task of a pool. Made by a `Client`; alike handles of the same task are equal. `Handle[int]`: its result is an
    int, as a typed function says (see `worker`).

    State and progress are pushed by the pool, so reading them costs nothing and asks nobody.
    """

    __slots__ = ("_block", "_connection", "_connections", "_offset")

    def __init__(self, connections: Connections, connection: Connection, block: Block, offset: int) -> None:
        self._connections = connections
        self._connection: Connection = connection
        self._block, self._offset = block, offset

    @property
    def id(self) -> int:
        """The task's number. After `send_soon` it waits until the pool has acknowledged the task.

        Raises:
            TaskRefused, PoolBusy: The pool did not store it.
            PoolUnreachable: No supervisor answered in time.
        """
        if self._block.first == 0:
            self._wait_answered()
        return self._block.first + self._offset

    @property
    def state(self) -> TaskState:
        """Where the task is, as far as the pool has told.

        Raises:
            TaskRefused, PoolBusy: The pool did not store it.
            TaskUnknown: The pool does not know it.
        """
        code = _state_of(self._block, self._offset)
        if code < 0:
            raise self._error() or WorkerHostError("the task has no state")
        return STATES[code]

    @property
    def progress(self) -> Progress:
        """What the worker told last."""
        fraction, note, at = self._block.progress.get(self._offset, (0.0, "", 0.0))
        if isinstance(self._block.ends[self._offset], bytes):
            fraction = 1.0
        return Progress(fraction, note, datetime.fromtimestamp(at, UTC) if at else None)

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
            what = f"task {self._block.first + self._offset}" if self._block.first else "the task"
            raise TimeoutError(f"{what} has not ended within {timeout:g} s; it goes on")
        return value_of(self._block.first + self._offset, self._end())

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
            self._block, self._offset = current.look_up(self._block.first + self._offset)
            self._connection = current
        return self._connection

    def _wait_answered(self) -> None:
        block = self._block
        self._here().wait(lambda: block.answered, [block.waiters], strict=True, blocks=[block])
        if block.refused:
            raise self._error() or WorkerHostError("the task was refused")

    def _end(self) -> End:
        end = self._block.ends[self._offset]
        assert end is not None
        return end

    def _error(self) -> WorkerHostError | None:
        return error_of(self._block.first + self._offset, self._end())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and self._block is other._block and self._offset == other._offset

    def __hash__(self) -> int:
        return hash((id(self._block), self._offset))

    def __repr__(self) -> str:
        number = self._block.first + self._offset if self._block.first else "not acknowledged"
        return f"<Handle {number} {_word(_state_of(self._block, self._offset))}>"


class Batch(Sequence[Handle[Value_co]], Generic[Value_co]):
    """The tasks of one `send_many`, in the order of their params. Kept as ranges of ids, so a million cost little."""

    def __init__(self, connections: Connections, connection: Connection, blocks: Sequence[Block]) -> None:
        self._connections = connections
        self._connection: Connection = connection
        self._blocks = list(blocks)
        self._stops = list(accumulate(block.count for block in self._blocks))

    def __len__(self) -> int:
        return self._stops[-1] if self._stops else 0

    @overload
    def __getitem__(self, index: int) -> Handle[Value_co]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Handle[Value_co]]: ...
    def __getitem__(self, index: int | slice) -> Handle[Value_co] | list[Handle[Value_co]]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"number {index} of a batch of {len(self)}")
        at = bisect_right(self._stops, position)
        offset = position - (self._stops[at - 1] if at else 0)
        return Handle(self._connections, self._connection, self._blocks[at], offset)

    def __iter__(self) -> Iterator[Handle[Value_co]]:
        for block in self._blocks:
            for offset in range(block.count):
                yield Handle(self._connections, self._connection, block, offset)

    @property
    def counts(self) -> dict[TaskState, int]:
        """How many tasks are in each state; states without any are absent."""
        codes: dict[int, int] = {}
        for block in self._blocks:
            if block.left == 0 and block.completed == block.count:
                codes[_COMPLETED] = codes.get(_COMPLETED, 0) + block.count
                continue
            for offset in range(block.count):
                code = _state_of(block, offset)
                codes[code] = codes.get(code, 0) + 1
        return {state: codes[code] for code, state in enumerate(STATES) if code in codes}

    @property
    def progress(self) -> Progress:
        """All tasks together; the note says how many have ended."""
        ended = len(self) - sum(block.left for block in self._blocks)
        running = [told for block in self._blocks for told in _of_unfinished(block)]
        fraction = (ended + sum(fraction for fraction, _, _ in running)) / len(self) if len(self) else 1.0
        at = max((at for _, _, at in running), default=0.0)
        note = f"{ended} of {len(self)} ended"
        return Progress(fraction, note, datetime.fromtimestamp(at, UTC) if at else None)

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

    def ids(self) -> list[range]:
        """The tasks' numbers, as ranges, in order."""
        return [range(block.first, block.first + block.count) for block in self._blocks]

    def _here(self) -> Connection:
        """The connection of this process. In a forked child the tasks are looked up on the child's own."""
        current = self._connections.current()
        if current is not self._connection:
            self._blocks = [current.look_up(id)[0] for ids in self.ids() for id in ids]
            self._stops = list(range(1, len(self._blocks) + 1))
            self._connection = current
        return current

    def __repr__(self) -> str:
        ids = ", ".join(f"{r.start}-{r.stop - 1}" for r in self.ids()[:3]) + ("..." if len(self._blocks) > 3 else "")
        return f"<Batch of {len(self)}: {ids}>"


def cancel(connection: Connection, ids: Sequence[int]) -> list[int]:
    """End tasks; those that had not ended before."""
    cancelled: list[int] = []
    for start in range(0, len(ids), IDS_MAX):
        cancelled += connection.request(Cancel(0, list(ids[start : start + IDS_MAX])))["cancelled"]
    return cancelled


def values_of(block: Block, *, return_exceptions: bool) -> Iterator[Any]:
    """The values of a block whose tasks have all ended."""
    for id, end in enumerate(block.ends, block.first):
        assert end is not None
        yield value_of(id, end) if isinstance(end, bytes) or not return_exceptions else error_of(id, end)


def _has_ended(block: Block) -> bool:
    return block.left == 0


def _of_unfinished(block: Block) -> Iterator[tuple[float, str, float]]:
    for offset, told in list(block.progress.items()):
        if block.ends[offset] is None:
            yield told


def _state_of(block: Block, offset: int) -> int:
    end = block.ends[offset]
    if end is None:
        return block.states.get(offset, block.initial)
    return _COMPLETED if isinstance(end, bytes) else end[0]


def _word(code: int) -> str:
    return {UNKNOWN: "unknown to the pool", REFUSED: "refused"}.get(code) or STATES[code].value
