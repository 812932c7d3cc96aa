"""What the demonstration shows while it runs, on stderr: moving bars at a terminal, plain lines where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

LINE_SECONDS: Final = 1.0
"""Between two plain lines of progress."""

NOTE_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class HostView:
    """One host at one moment.

    Attributes:
        name: Its name.
        gone: Whether it was killed.
        running: What it runs, in words.
        fraction: How far that is, on average.
    """

    name: str
    gone: bool
    running: str
    fraction: float


class Screen(Protocol):
    """Where the demonstration shows how far it is. Use it in a `with` block."""

    def say(self, text: str) -> None:
        """One line that stays."""
        ...

    def show(self, done: int, hosts: Sequence[HostView]) -> None:
        """The present state."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def screen(total: int, hosts: Sequence[str]) -> Screen:
    """The right one for where stderr goes."""
    out = sys.stderr
    return MovingScreen(total, hosts, out) if out.isatty() else PlainScreen(total, out)


class PlainScreen:
    """A line a second."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total, self._stream = total, stream
        self._told = float("-inf")

    def say(self, text: str) -> None:
        """See `Screen.say`."""
        print(text, file=self._stream, flush=True)

    def show(self, done: int, hosts: Sequence[HostView]) -> None:
        """See `Screen.show`."""
        now = time.monotonic()
        if now - self._told < LINE_SECONDS and done < self._total:
            return
        self._told = now
        parts = [
            f"{host.name}: {'killed' if host.gone else host.running or 'idle'}"
            + (f" {host.fraction:.0%}" if host.running and not host.gone else "")
            for host in hosts
        ]
        self.say(" | ".join([f"{done} of {self._total} tasks", *parts]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to do."""


class MovingScreen:
    """A bar for everything and one for each host; what is said stands above them."""

    def __init__(self, total: int, hosts: Sequence[str], stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(file=stream, highlight=False),
            transient=True,
        )
        self._all = self._progress.add_task("all tasks", total=total, note="")
        self._bars = {name: self._progress.add_task(name, total=1.0, note="") for name in hosts}
        self._total = total

    def say(self, text: str) -> None:
        """See `Screen.say`."""
        self._progress.console.print(text, markup=False, soft_wrap=True)

    def show(self, done: int, hosts: Sequence[HostView]) -> None:
        """See `Screen.show`."""
        self._progress.update(self._all, completed=done, note=f"{done} of {self._total}")
        for host in hosts:
            note = "killed" if host.gone else host.running or "idle"
            self._progress.update(self._bars[host.name], completed=host.fraction, note=note[:NOTE_MAX])

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars off the screen."""
        self._progress.stop()
