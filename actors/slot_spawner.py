"""One thread that lives as long as the process and does what an actor must not: it starts children (Linux ends a child
together with the *thread* that started it), removes what they leave behind, and calls something a little later.

It knows nothing of tasks.
"""

from __future__ import annotations

import heapq
import itertools
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from time import monotonic
from typing import Final

from ..workers.processes import end_marked

MARK: Final = "WORKERHOST_SLOT"
"""In the environment of a slot's process and of all that it starts."""

START_SECONDS_MAX = 30.0
"""Starting a process takes milliseconds; a machine that needs longer than this has no room for another one."""


class Spawner:
    """The thread and its agenda. All methods may be called in any thread."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._marks: set[bytes] = set()
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="spawner", daemon=True).start()

    def start(self, command: Sequence[str], output: int, numbers: Sequence[int], mark: str) -> subprocess.Popen[bytes]:
        """Start a process in a session of its own and wait until it is started.

        Args:
            command: Its command line.
            output: Where its stdout and stderr go.
            numbers: Further file descriptors that it gets, under the same numbers.
            mark: Value of `MARK` in its environment.

        Raises:
            OSError: It could not be started.
        """
        started: Future[subprocess.Popen[bytes]] = Future()

        def begin() -> None:
            try:
                started.set_result(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        pass_fds=tuple(numbers),
                        env={**os.environ, MARK: mark},
                        start_new_session=True,
                    )
                )
            except BaseException as error:
                started.set_exception(error)

        self.later(0, begin)
        return started.result(START_SECONDS_MAX)

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call something in the thread, not before `seconds` from now. It must be short and must not raise."""
        with self._changed:
            heapq.heappush(self._agenda, (monotonic() + seconds, next(self._order), call))
            self._changed.notify()

    def remove(self, folder: str) -> None:
        """Remove a folder with all that is in it, if it is there."""
        self.later(0, lambda: shutil.rmtree(folder, ignore_errors=True))

    def end(self, mark: str) -> None:
        """Kill all that bears this mark. Marks that come while a search waits for its turn share it."""
        with self._changed:
            waits = bool(self._marks)
            self._marks.add(mark.encode())
        if not waits:
            self.later(0, self._end)

    def settle(self, seconds: float) -> None:
        """Wait until what is due by now is done, at most so long."""
        done = threading.Event()
        self.later(0, done.set)
        done.wait(seconds)

    def _end(self) -> None:
        with self._changed:
            marks, self._marks = self._marks, set()
        end_marked(MARK, marks)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._agenda or self._agenda[0][0] > monotonic():
                    self._changed.wait(self._agenda[0][0] - monotonic() if self._agenda else None)
                _, _, call = heapq.heappop(self._agenda)
            call()


_lock = threading.Lock()
_spawner: Spawner | None = None


def spawner() -> Spawner:
    """The one of this process."""
    global _spawner  # noqa: PLW0603 -- one thread per process is the point
    with _lock:
        if _spawner is None or _spawner.process != os.getpid():
            _spawner = Spawner()
        return _spawner
