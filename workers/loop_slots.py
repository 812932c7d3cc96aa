"""Slots that share one event loop, for `concurrency: N`: many `async def` at a time in one thread of one process.

Each has workers of its own, so that `self.task`, `self.cancelled` and the rest mean its task. Cancelling ends one
coroutine and what it left running, and no neighbour. Python 3.9, the standard library and msgpack suffice here.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from time import perf_counter
from typing import Any, Final
from weakref import WeakSet

from .base import BaseWorker
from .ends import DECLINED, AttemptEnd, end_of, end_told, end_with, traceback_of
from .registry import Offer, name_of
from .runner import Attempt, Runner, call, instance_of
from .slots import Slots

_CALLERS: Final = (__file__, call.__code__.co_filename)
"""Where workers are called: methods here, functions by `call`."""

_lane: ContextVar[int] = ContextVar("lane", default=-1)
_lasting: ContextVar[bool] = ContextVar("lasting", default=False)


def keep_async(offer: Offer, concurrency: int) -> None:
    """Take off what would keep an event loop for itself, and say what to do about it."""
    for type, worker in list(offer.types.items()):
        function: Any = getattr(worker, "execute", worker)
        if not inspect.iscoroutinefunction(function):
            del offer.types[type]
            code: Any = getattr(function, "__code__", None)
            where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
            offer.failed[type] = (
                f"{name_of(worker)}: `concurrency: {concurrency}` needs `async def`{where}; "
                f"make it one, or use `isolation: thread`, or set `concurrency: 1` for {type}"
            )
    offer.any = [worker for worker in offer.any if inspect.iscoroutinefunction(getattr(worker, "execute", worker))]


class _LoopRunner(Runner):
    """The workers of one slot among several in an event loop."""

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run in this loop from now on."""
        self._loop = loop

    async def attempt_in_loop(self, attempt: Attempt) -> AttemptEnd:
        """Run an attempt to its end, beside others."""
        started = False
        inner: Any = None
        try:
            worker = await self._chosen(attempt)
            if worker is None:
                note = f"no worker here takes {attempt.type}"
                return AttemptEnd(None, returned=DECLINED, note=note, started=False)
            started = True
            inner = asyncio.ensure_future(self._run(worker, attempt))
            attempt.stop = lambda: self._loop.call_soon_threadsafe(attempt.interrupt, inner)
            if attempt.cancelled:
                attempt.interrupt(inner)
            value = await inner
        except BaseException as error:
            return end_of(error, started=started, cancelled=attempt.cancelled, files=_CALLERS)
        finally:
            attempt.stop = None
            attempt.clear()
        return end_told(value) if attempt.told else end_with(value)

    async def _chosen(self, attempt: Attempt) -> Any:
        """As `_choose`, with an `initialize` that may be `async def`."""
        for worker, asks in self._offer.candidates(attempt.type):
            if not inspect.isclass(worker):
                return worker
            instance = self._instances.get(worker) or await self._made(worker)
            if not asks or instance.worker.can_handle(attempt.task):
                return instance
        return None

    async def _made(self, worker: Any) -> Any:
        """An instance. What its `initialize` says is the task's at hand; what it starts is its own, and lives on."""
        lasting = _lasting.set(True)
        try:
            made: Any = worker()
            ready: Any = made.initialize()
            if hasattr(ready, "__await__"):
                await ready
        finally:
            _lasting.reset(lasting)
        instance = self._instances[worker] = instance_of(made)
        return instance

    async def _run(self, worker: Any, attempt: Attempt) -> Any:
        if not hasattr(worker, "has_cleanup"):
            value = call(worker, attempt.params)
            return await value if hasattr(value, "__await__") else value
        instance, worker = worker, worker.worker
        worker._attempt, worker._log = attempt, None
        instance.due = instance.has_cleanup
        try:
            value = worker.execute(attempt.task)
            return await value if hasattr(value, "__await__") else value
        finally:
            if instance.due:
                await self._clean_up_in_loop(worker)
            worker._attempt = None

    async def _clean_up_in_loop(self, worker: BaseWorker) -> None:
        try:
            done: Any = worker.cleanup()
            if hasattr(done, "__await__"):
                await done
        except (Exception, SystemExit) as error:
            sys.stderr.write(f"cleanup of {name_of(type(worker))} failed:\n{traceback_of(error, _CALLERS)}")

    def _wait(self, awaitable: Any, attempt: Attempt | None) -> Any:  # noqa: ARG002 -- before the loop runs
        return self._loop.run_until_complete(awaitable)


class LoopSlots(Slots):
    """`count` slots in one event loop, which `work` runs; the other methods in any thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loop = asyncio.new_event_loop()
        self._loop.set_task_factory(self._task)
        asyncio.set_event_loop(self._loop)
        self._lanes: list[_LoopRunner] = [_LoopRunner(self._offer) for _ in range(self._count)]
        self._runners = list[Runner](self._lanes)
        self._left: list[WeakSet[Any]] = [WeakSet() for _ in range(self._count)]
        for lane in self._lanes:
            lane.begin(self._loop)

    def feed(self, items: Sequence[Any]) -> None:
        """Add tasks to the queue."""
        self._line_up(items)
        self._wake()

    def stop(self) -> None:
        """Let `work` return when nothing runs any more; safe in a signal handler."""
        super().stop()
        self._wake()

    def present(self) -> int:
        """The id of the task on whose behalf the calling code runs, or 0."""
        index = _lane.get()
        slot = self._running[index] if index >= 0 else None
        return 0 if slot is None else slot[0][0]

    def work(self, index: int = 0) -> None:  # noqa: ARG002 -- one thread runs all
        """Run tasks until `stop`."""
        try:
            while True:
                self._loop.call_soon(self._begin)
                with suppress(SystemExit, KeyboardInterrupt):  # asyncio ends the task with them, and lets them through
                    self._loop.run_forever()
                    return
        finally:
            with self._lock:
                self._flush()
            self._loop.close()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: all is over
            self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        """Start what waits in slots that are free."""
        if self._stopping:
            if all(slot is None for slot in self._running):
                self._loop.stop()
            return
        for index in range(self._count):
            if not self._waiting:
                return
            if self._running[index] is None:
                with self._lock:
                    item = self._take(index)
                if item is not None:
                    self._loop.create_task(self._work_in_loop(index, item))

    async def _work_in_loop(self, index: int, item: Any) -> None:
        """One slot's tasks, one after the other, until nothing waits."""
        _lane.set(index)
        while item is not None:
            fed, attempt, began = item
            end = await self._lanes[index].attempt_in_loop(attempt)
            await self._end_rest(index)
            if self._after is not None:
                self._after(fed, perf_counter() - began)
            item = self._ended(index, fed, end, perf_counter() - began)
        if self._stopping:
            with self._lock:
                self._running[index] = None
            self._begin()

    async def _end_rest(self, index: int) -> None:
        """Cancel what a task started and left running."""
        present = asyncio.current_task()
        left = [task for task in self._left[index] if task is not present and not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=1.0)

    def _task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> Any:
        """Each asyncio task is noted with the slot whose task it works for, but for those that outlive that."""
        task = asyncio.Task(coroutine, loop=loop, **more)
        index = _lane.get()
        if index >= 0 and not _lasting.get():
            self._left[index].add(task)
        return task
