"""`PoolExecutor`: a `concurrent.futures.Executor` whose calls are tasks of a pool.

Owns how a function becomes a task. What becomes of it is in `futures.py`; what a host lets be called is the host's
business (`workers/functions.py`).
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from hashlib import sha256
from itertools import chain, islice
from typing import Any, TypeVar, Unpack

from ..workers import values
from ..workers.errors import InvalidTask
from ..workers.functions import pickling
from ..workers.source import FUNCTION, PICKLED
from .client import Client
from .clock import now
from .futures import PoolFuture, PoolFutures
from .parcel import single
from .terms import Sending, terms

Value = TypeVar("Value")

Call = tuple[Any, Sequence[Any], dict[str, Any]]
"""A function (or its path, `module:name`), its arguments and keywords."""


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
        self._begin(over=False)

    def _begin(self, *, over: bool) -> None:
        """The state of one process. A forked child begins anew: its parent's futures and thread are not there."""
        self._process = os.getpid()
        loads = _unchanged if self._pickle is None else self._pickle.loads
        self._futures = PoolFutures(self._client, loads, owned=self._owned, over=over)
        weakref.finalize(self, self._futures.let_go).atexit = False

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
        pending = self._futures.finish()
        if cancel_futures:
            for future in pending:
                future.cancel()
        watching = self._futures.watching
        if watching is None:
            if self._owned:
                self._client.close()
        elif wait and watching is not threading.current_thread():
            watching.join()

    # Sending.

    def _look_at_process(self) -> None:
        if self._process != os.getpid():
            self._begin(over=self._futures.over)

    def _send(self, calls: Sequence[Call], *, only: bool = False) -> PoolFuture:
        self._look_at_process()
        type, params = self._packed(calls)
        parcel = single(terms(type, **self._sending), params)
        return self._futures.send(parcel, [call[0] for call in calls], only=only)

    def _packed(self, calls: Sequence[Call]) -> tuple[str, Any]:
        if self._pickle is not None:
            return PICKLED, self._pickle.dumps([_plain(call) for call in calls])
        named: list[Any] = []
        for function, args, kwargs in map(_plain, calls):
            named.append([path_of(function), list(args), dict(kwargs)])
        return FUNCTION, {"calls": named}


def _unchanged(value: Any) -> Any:
    """A result that was not pickled."""
    return value


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
