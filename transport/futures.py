"""The futures of an executor's calls, and the thread that gives them their ends.

Owns what becomes of a call that was sent. Which calls there are, and how they are sent, is in `executor.py`.
"""

from __future__ import annotations

import builtins
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from ..workers.errors import NoHost, TaskCancelled, TaskFailed
from ..workers.source import PICKLED
from .block import Block, Waiter
from .client import Client
from .commands import Request
from .connection import Connection
from .handle import IDS_MAX, Handle
from .messages import Cancel
from .outcome import error_of, value_of
from .parcel import Parcel


class PoolFuture(Future[Any]):
    """The future of a call that is a task. `cancel` ends the task, running or not, and does not wait for that.

    Attributes:
        handle: The task.
    """

    def __init__(self, handle: Handle[Any], functions: list[Any], *, only: bool, leave: Callable[[PoolFuture], None]):
        super().__init__()
        self.handle = handle
        self._functions, self._only, self._leave = functions, only, leave
        self._told = False

    @property
    def block(self) -> Block:
        """Where news of the task arrive."""
        return self.handle.place()[0]

    def end(self, block: Block, loads: Callable[[Any], Any]) -> None:
        """The task has ended; `loads` makes the list of values of its result. Called by one thread, as `tell` is."""
        end = block.ends[0]
        assert end is not None
        error = error_of(block.id(0), end)
        if isinstance(error, TaskCancelled):
            super().cancel()
        if not self.tell():
            return
        if error is not None:
            self.set_exception(self._raised(error))
            return
        results = loads(value_of(block.id(0), end))
        self.set_result(results[0] if self._only else results)

    def tell(self) -> bool:
        """Let those who wait know that it was cancelled, once; False if it was."""
        if not self._told:
            self._told = True
            return self.set_running_or_notify_cancel()
        return not self.cancelled()

    def _raised(self, error: Exception) -> BaseException:
        """What the call raised, as far as it can be made again here."""
        if isinstance(error, NoHost):
            setting = "pickle: true" if PICKLED in str(error) else "functions: [my.jobs]"
            return NoHost(f"{error}; a host that has `host: {setting}` in its configuration does")
        if not isinstance(error, TaskFailed) or error.cause != "exception":
            return error
        modules = (sys.modules.get(getattr(function, "__module__", None) or "") for function in self._functions)
        kinds = (getattr(place, error.error_type, None) for place in (builtins, *modules))
        kind = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception)), None)
        if kind is None:
            return error
        try:
            raised = kind(error.message)
        except Exception:  # its constructor wants something else
            return error
        raised.__cause__ = error
        return raised

    def cancel(self) -> bool:
        """End the call; False if it had ended before."""
        if self.cancelled():
            return True
        if not super().cancel():
            return False
        self._leave(self)
        return True


class PoolFutures:
    """The futures of one executor in one process. Their thread holds these and no executor, so one that is dropped
    without `shutdown` leaves nothing behind when all have their ends.

    Args:
        client: Who sends the calls.
        owned: Whether to close it in the end.
        loads: Makes the list of values of a result.

    Attributes:
        over: Whether no more calls are taken.
        watching: The thread, from the first call on.
    """

    def __init__(self, client: Client, loads: Callable[[Any], Any], *, owned: bool, over: bool) -> None:
        self.over = over
        self.watching: threading.Thread | None = None
        self._client, self._loads, self._owned = client, loads, owned
        self._lock = threading.Lock()
        self._waiter = Waiter()
        self._ended: deque[tuple[Block, Sequence[int]]] = deque()
        self._waiter.ended = self._ended
        self._pending: dict[Block, PoolFuture] = {}
        self._left: deque[PoolFuture] = deque()  # futures that were cancelled

    def send(self, parcel: Parcel, functions: list[Any], *, only: bool) -> PoolFuture:
        """Send a call, when there is room.

        Raises:
            RuntimeError: The executor was shut down.
            PoolUnreachable: There was no room within the client's timeout, because no supervisor answers.
        """
        self._check_over()
        connections = self._client._connections  # pyright: ignore[reportPrivateUsage]
        connection = connections.current()
        connection.wait_for_room()  # before the lock, which those that have ended meanwhile need
        with self._lock:
            self._check_over()
            connection.put(parcel)
            block = parcel.block
            future = PoolFuture(Handle(connections, connection, block, 0), functions, only=only, leave=self._leave)
            self._pending[block] = future
            block.waiters.append(self._waiter)
            if block.ends[0] is not None:  # it was quicker
                self._ended.append((block, (0,)))
                self._waiter.wake()
            if self.watching is None:
                self.watching = threading.Thread(
                    target=self._watch, args=[connection], name="futures of a pool", daemon=True
                )
                self.watching.start()
        return future

    def _check_over(self) -> None:
        if self.over:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def finish(self) -> list[PoolFuture]:
        """Take no more calls; those that have not ended."""
        with self._lock:
            self.over = True
            pending = list(self._pending.values())
        self._waiter.wake()
        return pending

    def let_go(self) -> None:
        """Nobody holds the executor any more. Called in whatever thread that is found, so it takes no lock."""
        self.over = True
        self._waiter.wake()

    def _leave(self, future: PoolFuture) -> None:
        self._left.append(future)
        self._waiter.wake()

    def _watch(self, connection: Connection) -> None:
        """The thread that gives futures their ends, until the executor was shut down and all have theirs."""
        leaving: list[PoolFuture] = []
        while not (self.over and not self._pending):
            try:
                connection.wait(lambda: self._has_news(leaving), (), waiter=self._waiter)
            except Exception as error:
                self._give_up(error)
                self.over = self.over or connection.over
            while self._left:
                leaving.append(self._left.popleft())
                leaving[-1].tell()
            leaving[:] = self._end_tasks(connection, leaving)
            while self._ended:
                self._end(self._ended.popleft()[0])
        if self._owned:
            self._client.close()

    def _end_tasks(self, connection: Connection, leaving: list[PoolFuture]) -> list[PoolFuture]:
        """Have the tasks of cancelled futures end; those are left that have no number yet."""
        left: list[PoolFuture] = []
        ids: list[int] = []
        for future in leaving:
            block = future.block
            if not block.answered:
                left.append(future)
            elif block.first:
                ids.append(block.id(0))
        for start in range(0, 0 if connection.over else len(ids), IDS_MAX):
            connection.put(Request(Cancel(0, ids[start : start + IDS_MAX])))
        return left

    def _has_news(self, leaving: list[PoolFuture]) -> bool:
        answered = any(future.block.answered for future in leaving)
        return bool(self._ended or self._left) or answered or (self.over and not self._pending)

    def _give_up(self, error: Exception) -> None:
        """The pool is away for too long: nobody here learns how the calls end, though they may."""
        with self._lock:
            pending = list(self._pending.values())
            self._pending.clear()
        for future in pending:
            if future.tell():
                future.set_exception(error)

    def _end(self, block: Block) -> None:
        with self._lock:
            future = self._pending.pop(block, None)
        if future is not None:
            block.waiters.remove(self._waiter)
            try:
                future.end(block, self._loads)
            except Exception as error:  # a result that cannot be unpickled here
                future.set_exception(error)
