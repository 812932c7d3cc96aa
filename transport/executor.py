"""`PoolExecutor`: a `concurrent.futures.Executor` whose calls are tasks of a pool.

Owns futures and how a function becomes a task. What a host lets be called is the host's business
(`workers/functions.py`).
"""

from __future__ import annotations

import builtins
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from hashlib import sha256
from itertools import chain, islice
from typing import Any, TypeVar, Unpack

from ..workers import values
from ..workers.errors import InvalidTask, NoHost, TaskCancelled, TaskFailed
from ..workers.functions import pickling
from ..workers.source import FUNCTION, PICKLED
from .block import Block, Waiter
from .client import Client
from .clock import now
from .commands import Request
from .connection import Connection
from .handle import IDS_MAX, Handle
from .messages import Cancel
from .outcome import error_of, value_of
from .terms import Sending, terms

Value = TypeVar("Value")

Call = tuple[Any, Sequence[Any], dict[str, Any]]
"""A function (or its path, `module:name`), its arguments and keywords."""


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


class PoolExecutor(Executor):
    """Runs functions on the hosts of a pool; a `concurrent.futures.Executor`.

    A function is named by its import path, and runs on hosts that list its module: `host: {functions: [my.jobs]}`.
    Arguments and results are what params and results may be (a tuple arrives as a list). With `pickle=True` any
    function, argument and result may travel that cloudpickle can carry, to hosts that say `host: {pickle: true}`.

    An exception of the function is raised again: one of Python's own, or of the function's module, as itself, with the
    `TaskFailed` that bears the remote traceback as its cause; any other as `TaskFailed`. Tasks outlive the program that
    sent them.

    Args:
        client: A client, or the address of a pool (else `$WORKERHOST_ADDRESS`, as for `Client`).
        pickle: See above.
        name: A name of the run, so that it can be begun again: a call that the pool has completed under this name, with
            the same function and arguments, is not made again; its result is there at once, as long as the pool keeps
            it. Equal calls are one task. (Pickled calls are equal if their bytes are.)
        **sending: As for `Client.send`, for every call. `max_attempts` is 1 unless said, `full` is `wait`.

    Raises:
        ConfigError: The address is malformed, or this machine has no identity for it.
        InvalidTask, TypeError: Something in `sending` is wrong.
        ImportError: `pickle=True`, and cloudpickle is not installed here.
    """

    def __init__(
        self,
        client: Client | str | None = None,
        *,
        pickle: bool = False,
        name: str | None = None,
        **sending: Unpack[Sending],
    ) -> None:
        terms(FUNCTION, **sending)  # what is wrong with them is said now, not at the first call
        self._client = client if isinstance(client, Client) else Client(client)
        self._owned = not isinstance(client, Client)
        self._pickle = pickling() if pickle else None
        self._sending: Sending = {"max_attempts": 1, "require_host": True, "full": "wait", **sending}
        if name is not None:
            self._sending = {"key": partial(_key, name), "unique_for": "kept", **self._sending}
        self._over = False
        self._begin()

    def _begin(self) -> None:
        """The state of one process. A forked child begins anew: its parent's futures and thread are not there."""
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._waiter = Waiter()
        self._ended: deque[tuple[Block, Sequence[int]]] = deque()
        self._waiter.ended = self._ended
        self._pending: dict[Block, PoolFuture] = {}
        self._left: deque[PoolFuture] = deque()  # futures that were cancelled
        self._watching: threading.Thread | None = None

    # The face of an Executor.

    def submit(self, fn: Callable[..., Value] | str, /, *args: Any, **kwargs: Any) -> Future[Value]:  # pyright: ignore[reportIncompatibleMethodOverride]  # a path will do too
        """Have `fn(*args, **kwargs)` run as a task.

        Raises:
            InvalidTask: The function or an argument cannot travel; the message says why and what to do.
            RuntimeError: The executor was shut down.
        """
        return self._send([(fn, args, kwargs)], only=True)

    def map(
        self,
        fn: Callable[..., Value] | str,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[Value]:
        """As `Executor.map`; `chunksize` calls are one task.

        Raises:
            TimeoutError: A value was not there after `timeout` seconds, counted from this call.
        """
        if chunksize < 1:
            raise ValueError(f"chunksize={chunksize!r}: it must be at least 1")
        deadline = None if timeout is None else now() + timeout
        calls: Iterator[Call] = ((fn, args, {}) for args in zip(*iterables, strict=False))
        futures = deque(self._send(chunk) for chunk in _chunks(calls, chunksize))
        return chain.from_iterable(_in_order(futures, deadline))

    def send_calls(self, calls: Sequence[Call]) -> Future[list[Any]]:
        """Have several calls run one after the other as one task; the future's result is the list of their results."""
        return self._send(calls)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; wait until all have ended. With `wait=False` what was sent goes on without this program.

        Args:
            wait: Whether to wait.
            cancel_futures: Cancel all that have not ended.
        """
        self._look_at_process()
        with self._lock:
            self._over = True
            pending = list(self._pending.values())
        if cancel_futures:
            for future in pending:
                future.cancel()
        self._waiter.wake()
        watching = self._watching
        if watching is None:
            if self._owned:
                self._client.close()
        elif wait and watching is not threading.current_thread():
            watching.join()

    # Sending.

    def _look_at_process(self) -> None:
        if self._process != os.getpid():
            self._begin()

    def _send(self, calls: Sequence[Call], *, only: bool = False) -> PoolFuture:
        self._look_at_process()
        type, params = self._packed(calls)
        with self._lock:
            if self._over:
                raise RuntimeError("cannot schedule new futures after shutdown")
            handle = self._client.send_soon(type, params, **self._sending)
            future = PoolFuture(handle, [call[0] for call in calls], only=only, leave=self._leave)
            block = future.block
            self._pending[block] = future
            block.waiters.append(self._waiter)
            if block.ends[0] is not None:  # it was quicker
                self._ended.append((block, (0,)))
                self._waiter.wake()
            if self._watching is None:
                connection = self._client._connections.current()  # pyright: ignore[reportPrivateUsage]
                self._watching = threading.Thread(
                    target=self._watch, args=[connection], name="futures of a pool", daemon=True
                )
                self._watching.start()
        return future

    def _packed(self, calls: Sequence[Call]) -> tuple[str, Any]:
        if self._pickle is not None:
            return PICKLED, self._pickle.dumps([_plain(call) for call in calls])
        named: list[Any] = []
        for function, args, kwargs in map(_plain, calls):
            named.append([path_of(function), list(args), dict(kwargs)])
        return FUNCTION, {"calls": named}

    # Futures.

    def _leave(self, future: PoolFuture) -> None:
        self._left.append(future)
        self._waiter.wake()

    def _watch(self, connection: Connection) -> None:
        """The thread that gives futures their ends, until the executor was shut down and all have theirs."""
        leaving: list[PoolFuture] = []
        while not (self._over and not self._pending):
            try:
                connection.wait(lambda: self._has_news(leaving), (), waiter=self._waiter)
            except Exception as error:
                self._give_up(error)
                self._over = self._over or connection.over
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
        return bool(self._ended or self._left) or answered or (self._over and not self._pending)

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

    def _loads(self, value: Any) -> Any:
        return value if self._pickle is None else self._pickle.loads(value)


def _chunks(calls: Iterator[Call], size: int) -> Iterator[list[Call]]:
    while chunk := list(islice(calls, size)):
        yield chunk


def _key(name: str, params: Any) -> str:
    """What names a call in a run."""
    return f"{name}:{sha256(values.pack(params)).hexdigest()[:32]}"


def path_of(function: Any) -> str:
    """The import path of a function, `module:name`.

    Raises:
        InvalidTask: Nobody could import it; the message says the cure.
    """
    if isinstance(function, str):
        return function
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    cure = "move it to the top level of a module that the hosts list under `functions`, or use pickle=True"
    if not module or not name or getattr(function, "__self__", None) not in (None, sys.modules.get(module)):
        raise InvalidTask(f"{function!r} has no import path; {cure}", "fn")
    if "<" in name:
        raise InvalidTask(f"{name} is defined inside a function, where no host finds it; {cure}", "fn")
    if module == "__main__":
        raise InvalidTask(f"{name} is defined in the script that runs, which no host can import; {cure}", "fn")
    return f"{module}:{name}"


def _plain(call: Call) -> Call:
    """A call whose function is no `functools.partial`."""
    function, args, kwargs = call
    while isinstance(function, partial):
        args, kwargs, function = (*function.args, *args), {**function.keywords, **kwargs}, function.func
    return function, args, kwargs


def _in_order(futures: deque[PoolFuture], deadline: float | None) -> Generator[list[Any]]:
    """The results of chunks, in order. What has not ended when this is left early is cancelled."""
    try:
        while futures:
            future = futures.popleft()
            try:
                yield future.result(None if deadline is None else deadline - now())
            finally:
                future.cancel()
    finally:
        for future in futures:
            future.cancel()
