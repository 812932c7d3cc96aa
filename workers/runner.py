"""Runs one attempt: picks the worker, calls it, cleans up, and says how it ended.

Owns the workers' instances of one slot and when each of their methods is called; which exception is what is in `ends`.
Knows no socket and no process. Python 3.9, the standard library and msgpack suffice here.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from . import secrets, values
from .base import BaseWorker
from .ends import DECLINED, UNSERVED, AttemptEnd, end_of, end_told, end_with, text_of, traceback_of
from .registry import Offer, Worker, name_of, offer_of
from .removal import remove
from .task import Task

if TYPE_CHECKING:
    import asyncio

_UTC = timezone.utc  # noqa: UP017 -- datetime.UTC is not in Python 3.9

_NAMED_MAX: Final = 5  # workers, in the note of a task that all of them declined


class Stopped(BaseException):
    """Raised inside a task whose process was told to end (SIGTERM): `finally` and `cleanup` run, then it ends."""


class Attempt:
    """One attempt as its worker sees it. Other threads may only call `cancel`.

    Attributes:
        cancelled: Whether it shall end.
        told: Whether its worker knows: what that returns from then on is not kept.
        stop: Interrupts an `async def` or a program from another thread; None: there is nothing to interrupt.
    """

    __slots__ = ("_base", "_folder", "_item", "_report", "_save", "_task", "cancelled", "stop", "told")

    def __init__(
        self,
        item: Any,
        report: Callable[[Attempt, float, str], None],
        save: Callable[[Attempt, bytes], None] | None = None,
        base: str = "",
        task: Task | None = None,
    ) -> None:
        """Take a task as its host sent it (`slot_news.SlotTask`), or built already.

        Args:
            item: See above; with `task` it is not looked at.
            report: Called with each progress.
            save: Called with each checkpoint, packed.
            base: Folder below which the attempt's own may be made; "": the system's temporary one.
            task: The task, where there is no item.
        """
        self._item, self._report, self._save, self._base, self._task = item, report, save, base, task
        self._folder: Path | None = None
        self.cancelled = self.told = False
        self.stop: Callable[[], object] | None = None

    @property
    def type(self) -> str:
        """The task's type."""
        return self._item[2] if self._task is None else self._task.type

    @property
    def params(self) -> Any:
        """What the sender passed."""
        return secrets.params_of(self._item[10]) if self._task is None else self._task.params

    @property
    def task(self) -> Task:
        """The task, built when it is first asked for: functions do without."""
        if self._task is None:
            self._task = _task_of(self._item)
        return self._task

    def report(self, fraction: float, note: str) -> None:
        """Pass on the latest progress."""
        self._report(self, fraction, note)

    def save(self, value: object) -> None:
        """Pack and pass on the latest checkpoint."""
        body = values.pack(value, what="checkpoint", limit=values.CHECKPOINT_BYTES_MAX)
        if self._save is not None:
            self._save(self, body)

    def cancel(self) -> None:
        """Ask it to end."""
        self.cancelled = True
        stop = self.stop
        if stop is not None:
            with suppress(RuntimeError):  # the event loop was closed in between: it is over
                stop()

    def tell(self) -> bool:
        """Tell its worker whether it shall end."""
        if self.cancelled:
            self.told = True
        return self.cancelled

    def interrupt(self, task: asyncio.Task[Any]) -> None:
        """Cancel the `async def` that it runs; one that has just returned knows nothing of it. In its event loop."""
        if task.cancel():
            self.told = True

    def folder(self) -> Path:
        """Its own folder."""
        if self._folder is None:
            if self._base:
                Path(self._base).mkdir(mode=0o700, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f"{self.task.id}-", dir=self._base or None))
        return self._folder

    def clear(self) -> None:
        """Remove its folder."""
        if self._folder is not None:
            remove(str(self._folder))


class _Instance:
    """A worker of a class, and whether its `cleanup` is still due."""

    __slots__ = ("due", "has_cleanup", "worker")

    def __init__(self, worker: BaseWorker) -> None:
        self.worker, self.due = worker, False
        self.has_cleanup = type(worker).cleanup is not BaseWorker.cleanup
        if self.has_cleanup:
            cleanup: Callable[..., Any] = worker.cleanup

            def once(*args: Any, **kwargs: Any) -> Any:
                self.due = False
                return cleanup(*args, **kwargs)

            worker.cleanup = once


def instance_of(worker: BaseWorker) -> Any:
    """A worker of a class that is ready, as a runner keeps it."""
    return _Instance(worker)


class Runner:
    """The workers of one slot. Used by one thread.

    Args:
        offer: What can be run.
        settled: Called each time a worker's `initialize` has run: what it set up is there to stay.
    """

    def __init__(self, offer: Offer, settled: Callable[[], None] | None = None) -> None:
        self._offer, self._settled = offer, settled
        self._candidates: dict[str, list[tuple[Worker, bool]]] = {}
        self._instances: dict[Any, _Instance] = {}
        self._loop: Any = None

    def attempt(self, attempt: Attempt, *, reraise: bool = False) -> AttemptEnd:
        """Run an attempt to its end. Raises only `Stopped`, or with `reraise` whatever the worker raised."""
        started = False
        try:
            worker = self._choose(attempt)
            if worker is None:
                return self._declined(attempt)
            started = True
            if worker.__class__ is _Instance:
                value = self._execute(worker, attempt)
            else:
                value = call(worker, attempt.params)
                if hasattr(value, "__await__"):
                    value = self._wait(value, attempt)
        except Stopped:
            raise
        except BaseException as error:
            if reraise:
                raise
            return end_of(error, started=started, cancelled=attempt.cancelled, files=(__file__,))
        finally:
            attempt.clear()
        return end_told(value) if attempt.told else end_with(value)

    def health(self) -> dict[str, str]:
        """Ask every class that defines `health_check`, after its `initialize`; by type, or name, why one cannot."""
        sick: dict[str, str] = {}
        for name, worker in (
            *self._offer.types.items(),
            *((name_of(worker), worker) for worker in self._offer.any),
        ):
            if inspect.isclass(worker) and getattr(worker, "health_check", None) is not BaseWorker.health_check:
                try:
                    healthy = self._instance(worker).worker.health_check()
                    if hasattr(healthy, "__await__"):
                        healthy = self._wait(healthy, None)
                    if healthy is False:
                        sick[name] = f"{name_of(worker)}: health_check said no"
                except (Exception, SystemExit) as error:
                    sick[name] = f"{name_of(worker)}: {type(error).__name__}: {text_of(error)}"
        return sick

    def close(self) -> None:
        """Close the event loop, if there was one."""
        if self._loop is not None:
            self._loop.close()

    def _choose(self, attempt: Attempt) -> Any:
        """The first candidate that takes the task: an `_Instance`, a function, or None."""
        candidates = self._candidates.get(attempt.type)
        if candidates is None:
            candidates = self._candidates[attempt.type] = self._offer.candidates(attempt.type)
        for worker, asks in candidates:
            if not isinstance(worker, type):
                return worker
            instance = self._instances.get(worker) or self._instance(worker)
            if not asks or instance.worker.can_handle(attempt.task):
                return instance
        return None

    def _declined(self, attempt: Attempt) -> AttemptEnd:
        """Nobody takes it: nobody would take any other of its type either, or those who were asked said no to this."""
        asked = [name_of(worker) for worker, _ in self._candidates[attempt.type]]
        if not asked:
            return AttemptEnd(None, returned=UNSERVED, note=f"no worker here is for {attempt.type}", started=False)
        note = f"{', '.join(asked[:_NAMED_MAX])} cannot handle it"
        return AttemptEnd(None, returned=DECLINED, note=note, started=False)

    def _instance(self, worker: Any) -> _Instance:
        known = self._instances.get(worker)
        if known is None:
            made: BaseWorker = worker()
            ready: Any = made.initialize()
            if hasattr(ready, "__await__"):
                self._wait(ready, None)
            known = self._instances[worker] = _Instance(made)
            if self._settled is not None:
                self._settled()
        return known

    def _execute(self, instance: _Instance, attempt: Attempt) -> Any:
        worker = instance.worker
        worker._attempt, worker._log = attempt, None  # pyright: ignore[reportPrivateUsage] -- the other half of this
        instance.due = instance.has_cleanup
        try:
            value = worker.execute(attempt.task)
            return self._wait(value, attempt) if hasattr(value, "__await__") else value
        finally:
            if instance.due:
                self._clean_up(worker)
            worker._attempt = None  # pyright: ignore[reportPrivateUsage]

    def _clean_up(self, worker: BaseWorker) -> None:
        """Its failure changes nothing about the result; it is shown."""
        try:
            done: Any = worker.cleanup()
            if hasattr(done, "__await__"):
                self._wait(done, None)
        except (Exception, SystemExit) as error:
            sys.stderr.write(f"cleanup of {name_of(type(worker))} failed:\n{traceback_of(error, (__file__,))}")

    def _wait(self, awaitable: Any, attempt: Attempt | None) -> Any:
        """Run an awaitable to its end in this slot's event loop; what it left running there is cancelled."""
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        loop = self._loop
        before = asyncio.all_tasks(loop)

        async def whole() -> Any:
            return await awaitable

        task = loop.create_task(whole())
        if attempt is not None:
            attempt.stop = lambda: loop.call_soon_threadsafe(attempt.interrupt, task)
            if attempt.cancelled:
                attempt.interrupt(task)
        try:
            return loop.run_until_complete(task)
        finally:
            if attempt is not None:
                attempt.stop = None
            left = asyncio.all_tasks(loop) - before
            for one in left:
                one.cancel()
            if left:
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())


def run(
    worker: Worker,
    task: Task,
    *,
    on_progress: Callable[[float, str], None] | None = None,
    on_checkpoint: Callable[[Any], None] | None = None,
    reraise: bool = False,
) -> AttemptEnd:
    """Run one task here, without a pool, with a worker that is not asked whether it wants it: for `try` and for tests.

    Args:
        worker: A class or a function.
        task: Its params are packed and unpacked first, as on the way through a pool.
        on_progress: Called with each (fraction, note).
        on_checkpoint: Called with each checkpoint, as the next attempt would find it.
        reraise: Let what the worker raises through, with its traceback.

    Raises:
        InvalidTask: The params cannot travel.
        ConfigError: It is no worker.
    """
    offer = offer_of([worker])
    values_only = Task(**{**task.__dict__, "params": secrets.params_of(values.pack(task.params))})

    def report(attempt: Attempt, fraction: float, note: str) -> None:  # noqa: ARG001 -- there is only one
        if on_progress is not None:
            on_progress(fraction, note)

    def save(attempt: Attempt, body: bytes) -> None:  # noqa: ARG001
        if on_checkpoint is not None:
            on_checkpoint(values.unpack(body))

    runner = Runner(offer)
    runner._candidates[task.type] = [(worker, False)]  # pyright: ignore[reportPrivateUsage]
    try:
        return runner.attempt(Attempt(None, report, save, task=values_only), reraise=reraise)
    finally:
        runner.close()


def _task_of(item: Any) -> Task:
    """Build a task past the dataclass's own `__init__`, which for a frozen one costs as much as running it."""
    id, fence, type, attempt, failures, priority, sent_at, seconds, key, tags, params, extra = item
    saved = extra.get("checkpoint") if extra else None
    task = object.__new__(Task)
    task.__dict__.update(
        id=id,
        type=type,
        params=secrets.params_of(params),
        priority=priority,
        attempt=attempt,
        failures=failures,
        deadline=None if seconds is None else datetime.fromtimestamp(time.time(), _UTC) + timedelta(seconds=seconds),
        key=key,
        tags=tuple(tags),
        sent_at=datetime.fromtimestamp(sent_at, _UTC) if sent_at else None,
        fence=fence,
        checkpoint=None if saved is None else values.unpack(saved),
    )
    return task


def call(function: Any, params: Any) -> Any:
    """Call a worker's function with a task's params."""
    if params.__class__ is dict:
        return function(**params)
    return function() if params is None else function(params)
