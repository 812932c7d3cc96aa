"""The class that a worker's author extends. What surrounds an attempt (start, report, end) is in `runner`.

Python 3.9 and the standard library suffice here, because a slot may run in another environment; structlog is used for
`self.log` where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

from .task import Task


class Attempt(Protocol):
    """What a worker may ask of the attempt that it runs.

    Attributes:
        stop: Called in another thread when it shall end; None: nothing waits for that.
    """

    stop: Callable[[], object] | None

    def tell(self) -> bool:
        """Tell its worker whether it shall end."""
        ...

    @property
    def task(self) -> Task:
        """The task."""
        ...

    def report(self, fraction: float, note: str) -> None:
        """Take the latest progress."""
        ...

    def save(self, value: object) -> None:
        """Take the latest checkpoint."""
        ...

    def folder(self) -> Path:
        """The attempt's own folder, made when it is first asked for."""
        ...


class BaseWorker:
    """Runs tasks. One instance per slot, one task at a time.

    A class with `type` serves that type (and, where its own `can_handle` says so, types below it); a class without
    `type` is asked with `can_handle` about the types that no class with a type serves.

    Attributes:
        type: Dotted path of one to three parts, such as `video.thumbnail`, or "".
        quota_cost: Units of a `quota` above the type that one task uses, 1 or more.
    """

    type: ClassVar[str] = ""
    quota_cost: ClassVar[int] = 1
    _attempt: Attempt | None = None
    _log: Any = None

    def initialize(self) -> None:
        """Called once per slot, before the first task. An exception fails that task's attempt; it is tried again."""

    def can_handle(self, task: Task) -> bool:
        """Whether this worker takes the task. A class that names no type and does not say takes what it is asked."""
        return not self.type or task.type == self.type

    def execute(self, task: Task) -> Any:
        """Run one task: return a `Result` or a plain value, or raise. May be `async def`."""
        message = f"{type(self).__name__} must define execute(self, task)"
        raise NotImplementedError(message)

    def cleanup(self) -> None:
        """Called once after `execute`, however it ended, unless it called this itself."""

    def health_check(self) -> bool:
        """Whether tasks can be run here. Where a class defines it, it is asked when its slot starts, after
        `initialize`; False or an exception takes the type off the slot's offer.
        """
        return True

    def report_progress(self, fraction: float, note: str = "") -> None:
        """Say how far the task is, 0 to 1. Call it freely: at most 10 a second travel, the latest always.

        Raises:
            TypeError, ValueError: `fraction` is no number.
        """
        fraction = float(fraction)
        fraction = 0.0 if fraction != fraction else min(1.0, max(0.0, fraction))  # NaN: 0
        if self._attempt is not None:
            self._attempt.report(fraction, str(note)[:200].encode("utf-8", "replace").decode())

    def checkpoint(self, value: Any) -> None:
        """Save where the task is: the next attempt, on whatever host, finds the latest such value in `task.checkpoint`.

        Call it freely: at most 4 a second travel, the latest always, and before the end of an attempt is told. It does
        not wait for the pool's disk; an attempt whose host is killed loses what it saved in the last 0.3 s. A task that
        has ended for good, or is retried by hand, begins from nothing.

        Args:
            value: What a result may be, at most 64 KiB (65536 bytes) packed. None too is a checkpoint.

        Raises:
            InvalidTask: It cannot travel; the message names the part that cannot.
            TooLarge: It is above the limit: store it elsewhere and save where.
            RuntimeError: No task runs.
        """
        self._running("checkpoint").save(value)

    @property
    def task(self) -> Task:
        """The task that runs.

        Raises:
            RuntimeError: None runs.
        """
        return self._running("task").task

    @property
    def cancelled(self) -> bool:
        """Whether this attempt shall end: look at it in long loops and return. What is returned after a True is not
        kept, and a task that was stopped only because its host leaves, or was cut off, runs again.
        """
        return self._attempt is not None and self._attempt.tell()

    @property
    def workdir(self) -> Path:
        """An empty folder of this attempt's own, removed when it ended.

        Raises:
            RuntimeError: No task runs.
        """
        return self._running("workdir").folder()

    @property
    def log(self) -> Any:
        """A structlog logger that carries the task's id, type and attempt; a plain one where structlog is missing."""
        if self._log is None:
            self._log = _logger(type(self).__name__, self._attempt.task if self._attempt else None)
        return self._log

    def _running(self, name: str) -> Attempt:
        if self._attempt is None:
            message = f"{type(self).__name__}.{name} exists only while a task runs (in a test: workers.runner.run)"
            raise RuntimeError(message)
        return self._attempt


def _logger(name: str, task: Task | None) -> Any:
    fields = {"task": task.id, "type": task.type, "attempt": task.attempt} if task else {}
    try:
        import structlog
    except ImportError:
        import logging

        return logging.LoggerAdapter(logging.getLogger(name), fields)
    return structlog.get_logger(name).bind(worker=name, **fields)
