"""The slots of one process: a queue of tasks, one or several threads that run them, and reports in batches.

Owns when a result leaves (when nothing waits, or 1 ms after the first unreported one), when waiting tasks are handed
back (5 ms behind a slow one), how often progress travels, and which task a cancel meets. Knows no socket: what it has
to say goes through `emit`. Python 3.9, the standard library and msgpack suffice here.
"""

from __future__ import annotations

import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import itemgetter
from queue import SimpleQueue
from time import monotonic, perf_counter
from typing import Any, Final

from .ends import CANCELLED, UNSTARTED, AttemptEnd
from .registry import Offer
from .runner import Attempt, Runner, Stopped

FLUSH_SECONDS: Final = 0.001
BLOCKED_SECONDS: Final = 0.005
PROGRESS_SECONDS: Final = 0.1
OVERTAKEN_SECONDS: Final = 1.0
"""So long a waiting task may be overtaken by those of higher priority: it has been granted, and shall run some day."""
FLUSH_BYTES: Final = 1024 * 1024
"""Results of this many bytes leave at once, so that no frame grows without bound."""
MEMORY_SECONDS: Final = 0.1
"""Attempts at least this long report the peak memory of their process; asking for it costs more than a short one."""

WORD: Final = struct.Struct("<qq")
"""What a slot notes at each start, readable from outside after a crash: (id, fence), zeros when idle."""

CHECKPOINTS_MAX: Final = 8
"""So many checkpoints leave at once, for the same reason."""

_priority: Final = itemgetter(5)

Emit = Callable[[list[Any], list[Any], list[Any], list[Any]], None]
"""Takes (progress, results, returned, checkpoints): items of PROGRESS, RESULTS, RELEASE and CHECKPOINT. Never called by
two threads at once.
"""


class Slots:
    """`count` slots that share one queue. `work` runs in a thread for each; the other methods in any thread."""

    def __init__(
        self,
        offer: Offer,
        number: int,
        emit: Emit,
        nudge: Callable[[], None],
        *,
        count: int = 1,
        word: Any = None,
        folder: str = "",
        interrupts: bool = False,
        after: Callable[[Any, float], None] | None = None,
        settled: Callable[[], None] | None = None,
    ) -> None:
        """Set them up; nothing runs yet.

        Args:
            offer: What can be run.
            number: The slot's number in reports.
            emit: See `Emit`.
            nudge: Called when `relieve` should be called soon, by whoever calls it.
            count: How many tasks run at a time.
            word: A writable buffer of `WORD.size` bytes for each slot, or None.
            folder: Where the attempts' own folders are made, or "".
            after: Called in the task's thread when it has ended, before it is reported, with it (a `SlotTask`) and the
                seconds it took.
            settled: Called when a worker was initialized, see `Runner`.
            interrupts: Whether `Stopped` is raised in the task's thread when it has to end.
        """
        self._offer = offer
        self._number, self._count, self._folder = number, count, folder
        self._emit, self._nudge, self._word = emit, nudge, word
        self._runners = [Runner(offer, settled) for _ in range(count)]
        self._lock = threading.Lock()
        self._tokens: SimpleQueue[None] = SimpleQueue()
        self._waiting: deque[Any] = deque()
        self._last: Any = None  # the last of those that waited when some began to be overtaken, until it has begun
        self._last_since = 0.0
        self._running: list[tuple[Any, Attempt, float] | None] = [None] * count
        self._seen = list(self._running)
        self._looked = 0.0
        self._threads: dict[int, int] = {}
        self._results: list[Any] = []
        self._results_since, self._results_bytes = 0.0, 0
        self._returned: list[Any] = []
        self._progress: dict[tuple[int, int], list[Any]] = {}
        self._checkpoints: dict[tuple[int, int], list[Any]] = {}
        self._latest_due = 0.0
        self._stopping = False
        self._interrupts, self._after = interrupts, after
        self.in_task = False
        """True while a worker's code runs: with one slot, `Stopped` may be raised in its thread then, and only then."""

    def offer(self) -> dict[str, Any]:
        """What can be run (`Offer.plain`), less what a `health_check` took off. Call it in the first slot's thread."""
        sick = self._runners[0].health()
        plain = self._offer.plain()
        plain["types"] = [type for type in plain["types"] if type.removesuffix(".*") not in sick]
        plain["any"] = [name for name in plain["any"] if name not in sick]
        plain["failed"].update(sick)
        return plain

    def feed(self, items: Sequence[Any]) -> None:
        """Add tasks (`slot_news.SlotTask`) to the queue, each before those of lower priority: it may have been fed
        ahead, by the hundred, before this one was there.
        """
        self._line_up(items)
        for _ in range(min(len(items), self._count)):
            self._tokens.put(None)

    def _line_up(self, items: Sequence[Any]) -> None:
        """Only whoever feeds calls it. Among equals first come is first; and after `OVERTAKEN_SECONDS` among all."""
        waiting = self._waiting
        priorities = set(map(_priority, items))
        if len(priorities) <= 1:  # the common case
            with suppress(IndexError):  # the last one has begun
                if not waiting or priorities <= {waiting[-1][5]} or max(priorities) < waiting[-1][5]:
                    waiting.extend(items)
                    return
        with self._lock:
            if waiting and not any(item is self._last for item in waiting):
                self._last, self._last_since = min(reversed(waiting), key=_priority), monotonic()
            if not waiting or monotonic() - self._last_since < OVERTAKEN_SECONDS:
                items = sorted([*waiting, *items], key=_priority, reverse=True)
                waiting.clear()
            waiting.extend(items)

    def cancel(self, id: int, fence: int) -> None:
        """Ask a running task to end; one that waits ends here as CANCELLED. Unknown ones are over already."""
        with self._lock:
            for slot in self._running:
                if slot is not None and slot[0][0] == id and slot[0][1] == fence:
                    slot[1].cancel()
                    return
            for item in list(self._waiting):
                if item[0] == id and item[1] == fence:
                    with suppress(ValueError):
                        self._waiting.remove(item)
                        self._add(item, AttemptEnd(CANCELLED), 0.0)
                        self._flush()
                    return

    def stop(self) -> None:
        """Let every `work` return after its present task; safe in a signal handler."""
        self._stopping = True
        for _ in range(self._count):
            self._tokens.put(None)

    def cancel_all(self) -> None:
        """Ask all running tasks to end; safe in a signal handler."""
        for slot in list(self._running):
            if slot is not None:
                slot[1].cancel()

    def part(self) -> None:
        """In a copy of this process, made by fork: nobody is left who would give the lock back."""
        self._lock = threading.Lock()

    @property
    def several(self) -> bool:
        """Whether several tasks run at a time."""
        return self._count > 1

    def busy(self) -> bool:
        """Whether a task runs or waits."""
        return bool(self._waiting) or any(slot is not None for slot in self._running)

    def present(self) -> int:
        """The id of the task that the calling thread runs (any thread, where there is one slot), or 0."""
        index = 0 if self._count == 1 else self._threads.get(threading.get_ident(), -1)
        slot = self._running[index] if index >= 0 else None
        return 0 if slot is None else slot[0][0]

    def work(self, index: int = 0) -> None:
        """Run tasks, one after the other, until `stop`.

        Raises:
            Stopped: It was raised in the task. That task is not reported, its word stays.
        """
        self._threads[threading.get_ident()] = index
        runner = self._runners[index]
        item = None
        try:
            while not self._stopping:
                if item is None:
                    item = self._next(index)
                    continue
                _, attempt, began = item
                self.in_task = True
                end = runner.attempt(attempt)
                self.in_task = False
                if self._after is not None:
                    self._after(item[0], perf_counter() - began)
                item = self._ended(index, item[0], end, perf_counter() - began)
        finally:
            self.in_task = False
            with self._lock:
                self._flush()
            runner.close()

    def relieve(self) -> float | None:
        """Do what is due by time: flush, hand back what waits behind slow tasks, pass on the latest progress.

        Returns:
            Seconds until it wants to be called again, None: not until the next `feed` or nudge.
        """
        with self._lock:
            if (self._waiting or self._results) and self._blocked():
                self._hand_back()
            wait = BLOCKED_SECONDS if self._waiting or self._results else None
            if self._progress or self._checkpoints:
                left = self._latest_due - monotonic()
                if left <= 0:
                    self._flush_latest()
                else:
                    wait = left if wait is None else min(left, wait)
            return wait

    def between(self, say: Callable[[], None]) -> None:
        """Call what writes to where `emit` does, while nothing is emitted."""
        with self._lock:
            say()

    def report(self, attempt: Attempt, fraction: float, note: str) -> None:
        """Take progress of a running attempt: the first leaves at once, later ones every 0.1 s, always the latest."""
        task = attempt.task
        self._keep_latest(self._progress, [task.id, task.fence, fraction, note])

    def save(self, attempt: Attempt, body: bytes) -> None:
        """Take a checkpoint of a running attempt; it leaves as progress does, and always before the attempt's end."""
        task = attempt.task
        self._keep_latest(self._checkpoints, [task.id, task.fence, body])

    def _keep_latest(self, latest: dict[tuple[int, int], list[Any]], item: list[Any]) -> None:
        interruptible, self.in_task = self.in_task, False  # a frame must not be cut in two by `Stopped`
        with self._lock:
            waits = bool(self._progress or self._checkpoints)
            latest[item[0], item[1]] = item
            if monotonic() >= self._latest_due or len(self._checkpoints) >= CHECKPOINTS_MAX:
                self._flush_latest()
            elif not waits:
                self._nudge()
        self.in_task = interruptible
        if self._stopping and interruptible and self._interrupts:
            raise Stopped

    def _next(self, index: int) -> Any:
        """Wait for a task and take it, or None after a false alarm."""
        if not self._waiting:
            self._tokens.get()
        with self._lock:
            return self._take(index)

    def _take(self, index: int) -> Any:
        """Begin the next task, if there is one. Holds the lock."""
        try:
            item = self._waiting.popleft()
        except IndexError:
            self._running[index] = None
            if self._word is not None:
                WORD.pack_into(self._word, index * WORD.size, 0, 0)
            return None
        if self._word is not None:
            WORD.pack_into(self._word, index * WORD.size, item[0], item[1])
        slot = self._running[index] = (item, Attempt(item, self.report, self.save, self._folder), perf_counter())
        return slot

    def _ended(self, index: int, item: Any, end: AttemptEnd, duration: float) -> Any:
        """Note an end and begin the next task, in one step."""
        with self._lock:
            self._add(item, end, duration)
            if (
                not self._waiting
                or self._results_bytes > FLUSH_BYTES
                or perf_counter() - self._results_since > FLUSH_SECONDS
            ):
                self._flush()
            return None if self._stopping else self._take(index)

    def _add(self, item: Any, end: AttemptEnd, duration: float) -> None:
        if end.outcome is None:
            self._returned.append([item[0], item[1], end.returned, end.after, end.note, end.started])
            return
        detail = end.detail
        if duration >= MEMORY_SECONDS:
            detail = {**(detail or {}), "memory": peak_memory()}
        if not self._results:
            self._results_since = perf_counter()
        self._results.append([item[0], item[1], end.outcome, end.body, duration, self._number, detail])
        self._results_bytes += len(end.body) + (len(end.detail.get("traceback", "")) if end.detail else 0)

    def _blocked(self) -> bool:
        """Whether every slot has been in the same task from one look to the next. A look back at when it began would
        blame the task where the machine gave this process no time.
        """
        now = perf_counter()
        if now - self._looked < 0.9 * BLOCKED_SECONDS:
            return False
        before, self._seen, self._looked = self._seen, list(self._running), now
        return all(slot is not None and slot is seen for slot, seen in zip(self._seen, before))  # noqa: B905 -- 3.9

    def _hand_back(self) -> None:
        with suppress(IndexError):  # one by one: `feed` takes no lock
            while True:
                item = self._waiting.popleft()
                self._returned.append([item[0], item[1], UNSTARTED, 0.0, "", False])
        self._flush()

    def _flush(self) -> None:
        if self._results or self._returned or self._checkpoints:
            results, returned = self._results, self._returned
            self._results, self._returned, self._results_bytes = [], [], 0
            self._say(results, returned)

    def _flush_latest(self) -> None:
        self._latest_due = monotonic() + PROGRESS_SECONDS
        self._say([], [])

    def _say(self, results: list[Any], returned: list[Any]) -> None:
        progress, checkpoints = list(self._progress.values()), list(self._checkpoints.values())
        self._progress.clear()
        self._checkpoints.clear()
        self._emit(progress, results, returned, checkpoints)


def peak_memory() -> int:
    """The most bytes of memory this process ever held, or 0 where that cannot be asked.

    Linux counts that of the process which started this one into `getrusage`, hence the look into /proc first.
    """
    try:
        with open("/proc/self/status", "rb") as status:  # noqa: PTH123 -- pathlib costs as much as the reading
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(b"VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)
