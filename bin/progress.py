"""Shows how far something is, on stderr: a moving bar at a terminal, a plain line now and then where there is none."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from typing import Self

LINE_SECONDS = 5.0
"""Between two plain lines of one bar: enough for a log, too few to fill it."""


class Bar(Protocol):
    """One thing that is being waited for. Use it in a `with` block."""

    def update(self, done: float, note: str = "") -> None:
        """Tell how much of the total is done, and a word about it."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def bar(what: str, total: float, stream: TextIO | None = None) -> Bar:
    """A bar for `total` steps (1: one task, told in fractions)."""
    out = stream if stream is not None else sys.stderr
    return MovingBar(what, total, out) if out.isatty() else PlainBar(what, total, out)


class PlainBar:
    """A line at the first news, then one every `LINE_SECONDS`, and one when all is done."""

    def __init__(self, what: str, total: float, stream: TextIO) -> None:
        self._what, self._total, self._stream = what, total, stream
        self._told = float("-inf")
        self._last: tuple[float, str] | None = None

    def __enter__(self) -> Self:
        return self

    def update(self, done: float, note: str = "") -> None:
        """See `Bar.update`."""
        now = time.monotonic()
        if (done, note) == self._last or (done < self._total and now - self._told < LINE_SECONDS):
            return
        self._told, self._last = now, (done, note)
        count = f"{done / self._total:.0%}" if self._total <= 1 else f"{done:.0f} of {self._total:.0f}"
        print(f"{self._what}: {count}{f' {note}' if note else ''}", file=self._stream, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to do."""


class MovingBar:
    """rich's progress bar, which goes away when the block is left."""

    def __init__(self, what: str, total: float, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns: list[Any] = [TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn()]
        if total > 1:
            columns.append(TextColumn("{task.completed:.0f}/{task.total:.0f}"))
        columns += [TimeElapsedColumn(), TextColumn("{task.fields[note]}", markup=False)]
        self._progress = Progress(*columns, console=Console(file=stream), transient=True)
        self._bar = self._progress.add_task(what, total=total, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def update(self, done: float, note: str = "") -> None:
        """See `Bar.update`."""
        self._progress.update(self._bar, completed=done, note=note[:40])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar off the screen."""
        self._progress.stop()
