"""Threads that live as long as the process and do what an actor must not: some start children (Linux ends a child
together with the *thread* that started it) and do nothing else, one removes what they leave behind, one looks at what
they use, one calls something a little later.

It knows nothing of tasks.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any, Final, TypeVar

from ..workers.processes import end_marked
from ..workers.removal import remove
from .log import Log

MARK: Final = "WORKERHOST_SLOT"
"""In the environment of a slot's process and of all that it starts."""

START_SECONDS_MAX = 30.0
"""Starting a process takes milliseconds; a machine that needs longer than this has no room for another one."""

_ELSEWHERE_MAX: Final = 32
"""Interpreters whose starts have a thread of their own; it can never end, for its children would end with it."""

T = TypeVar("T")

log = Log("host")


class Agenda:
    """A thread that makes calls one after the other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._begun = False

    def begin(self) -> None:
        """Start the thread, unless it runs.

        Raises:
            RuntimeError: The system lets this process have no further one.
        """
        with self._changed:
            if not self._begun:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
                self._begun = True

    def add(self, seconds: float, call: Callable[[], object]) -> None:
        """Make a call in the thread, not before `seconds` from now. What it raises ends nothing but itself."""
        with self._changed:
            heapq.heappush(self._calls, (monotonic() + seconds, next(self._order), call))
            self._changed.notify()

    def settle(self, until: float) -> None:
        """Wait until what is due by now is done, at most until that time of `monotonic`."""
        done = threading.Event()
        self.add(0, done.set)
        done.wait(max(0.0, until - monotonic()))

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._calls or self._calls[0][0] > monotonic():
                    self._changed.wait(self._calls[0][0] - monotonic() if self._calls else None)
                _, _, call = heapq.heappop(self._calls)
            try:
                call()
            except Exception as error:
                log.error("call_failed", thread=self._name, error=repr(error), exc_info=error)


class Spawner:
    """The threads of this process. All methods may be called in any thread."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._marks: set[bytes] = set()
        self._lock = threading.Lock()
        self._starts_elsewhere: dict[str, Agenda] = {}
        self._starts, self._calls = Agenda("spawner"), Agenda("timer")
        self._removals, self._looks = Agenda("cleaner"), Agenda("figures")

    def begin(self) -> None:
        """Start the threads, unless they run: all of them before there is anything to do, for a task may take what
        this user or this group may have of them.

        Raises:
            RuntimeError: The system lets this process have no further one.
        """
        for agenda in (self._starts, self._calls, self._removals, self._looks):
            agenda.begin()

    def start(self, make: Callable[[ExitStack], T], where: str = "") -> Future[T]:
        """Have a process started, in the thread that all children from one place share.

        Args:
            make: Called there, with a stack that takes what must be undone if the process is of no use.
            where: The interpreter, "" for this process's own: starts wait for others from the same place only, which
                may lie in a file system that does not answer.

        Returns:
            What becomes of it: what `make` returned or raised, `TimeoutError` after `START_SECONDS_MAX`. Once it is
            cancelled or too late, what has not been made is not, and what is made all the same is undone.
        """
        started: Future[T] = Future()

        def begin() -> None:
            if started.done():
                return
            try:
                with ExitStack() as undo:
                    made = make(undo)
                    kept = undo.pop_all()
            except BaseException as error:
                with suppress(InvalidStateError):
                    started.set_exception(error)
                return
            try:
                started.set_result(made)
            except InvalidStateError:
                kept.close()

        self._starts_of(where).add(0, begin)
        self.later(START_SECONDS_MAX, lambda: _give_up(started))
        return started

    def _starts_of(self, where: str) -> Agenda:
        """Where a thread of its own is refused, or there are too many, the one that is there must do."""
        with self._lock:
            known = len(self._starts_elsewhere)
            if where and where not in self._starts_elsewhere and known < _ELSEWHERE_MAX:
                agenda = Agenda(f"spawner of {where}")
                try:
                    agenda.begin()
                except RuntimeError:
                    return self._starts
                self._starts_elsewhere[where] = agenda
            return self._starts_elsewhere.get(where, self._starts)

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call something, not before `seconds` from now. It must be short."""
        self._calls.add(seconds, call)

    def look(self, call: Callable[[], object]) -> None:
        """Call what looks at the use of processes. It may take its time."""
        self._looks.add(0, call)

    def clean(self, call: Callable[[], object]) -> None:
        """Call what removes something or searches for it. It may take its time."""
        self._removals.add(0, call)

    def remove(self, folder: str) -> None:
        """Remove a folder with all that is in it, if it is there."""
        self.clean(lambda: remove(folder))

    def end(self, mark: str) -> None:
        """Kill all that bears this mark. Marks that come while a search waits for its turn share it."""
        with self._lock:
            waits = bool(self._marks)
            self._marks.add(mark.encode())
        if not waits:
            self.clean(self._end)

    def settle(self, seconds: float) -> None:
        """Wait until what is due by now is called, removed, ended and started, at most so long."""
        until = monotonic() + seconds
        self._calls.settle(until)
        self._removals.settle(until)
        with self._lock:
            starts = [self._starts, *self._starts_elsewhere.values()]
        for agenda in starts:
            agenda.settle(until)

    def _end(self) -> None:
        with self._lock:
            marks, self._marks = self._marks, set()
        end_marked(MARK, marks)


def _give_up(started: Future[Any]) -> None:
    """A start takes too long."""
    with suppress(InvalidStateError):
        what = "this machine is overloaded, or a file system does not answer"
        started.set_exception(TimeoutError(f"it was not started within {START_SECONDS_MAX:g} s: {what}"))


_lock = threading.Lock()
_spawner: Spawner | None = None


def spawner() -> Spawner:
    """The one of this process, with all its threads.

    Raises:
        RuntimeError: The system lets this process have no further thread. The next call tries again.
    """
    global _spawner  # noqa: PLW0603 -- one set of threads per process is the point
    with _lock:
        if _spawner is None or _spawner.process != os.getpid():
            _spawner = Spawner()
        _spawner.begin()
        return _spawner
