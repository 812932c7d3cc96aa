"""What the demonstration did: its tasks, their attempts, its hosts, and who was killed. Plain data, shown elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import Any, Final

LOST: Final = "host lost"
"""The outcome of an attempt whose host died."""

OPERATIONS: Final = {
    "probe": "facts",
    "thumbnail": "thumbnail",
    "contact_sheet": "contact sheet",
    "loudness": "loudness",
    "waveform": "waveform",
}
"""The last part of a type -> its name in the report, in the order of the legend."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One start of a task. Times are seconds since the demonstration began.

    Attributes:
        host: The name of the host.
        slot: The slot on that host.
        started: When it started.
        ended: When it ended, or None where nobody saw that.
        outcome: `completed`, `failed`, or why it did not come to an end (`LOST`, ...).
    """

    host: str
    slot: int
    started: float
    ended: float | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Line:
    """One task.

    Attributes:
        id: The task's number.
        type: Its type.
        file: The media file, as it is shown.
        state: Its final state.
        attempts: All its starts.
        error: Why it failed, or "".
        value: Its result, or None.
    """

    id: int
    type: str
    file: str
    state: str
    attempts: tuple[Attempt, ...] = ()
    error: str = ""
    value: Mapping[str, Any] | None = None

    @property
    def rescued(self) -> bool:
        """Whether a host was lost under it."""
        return any(attempt.outcome == LOST for attempt in self.attempts)


@dataclass(frozen=True, slots=True)
class Killed:
    """The host that was killed: its name, when, and when the supervisor knew (None: never seen)."""

    host: str
    at: float
    noticed: float | None


@dataclass(frozen=True, slots=True)
class Run:
    """All that the report shows.

    Attributes:
        folder: Where the media files are.
        began: When it began.
        seconds: How long it took.
        hosts: Name -> number of slots.
        lines: All tasks.
        killed: Who was killed, or None.
    """

    folder: str
    began: datetime
    seconds: float
    hosts: Mapping[str, int]
    lines: tuple[Line, ...] = field(default=())
    killed: Killed | None = None

    def summary(self) -> dict[str, int | float]:
        """The numbers: tasks, completed, failed, rescued, executions, seconds."""
        return {
            "tasks": len(self.lines),
            "completed": sum(line.state == "completed" for line in self.lines),
            "failed": sum(line.state != "completed" for line in self.lines),
            "rescued": sum(line.rescued for line in self.lines),
            "executions": sum(len(line.attempts) for line in self.lines),
            "seconds": round(self.seconds, 2),
        }


def text(value: object) -> str:
    """Any text, fit to stand between tags or in a quoted attribute."""
    return escape(str(value), quote=True)


def operation_of(type: str) -> str:
    """`video.contact_sheet` -> `contact sheet`."""
    last = type.rpartition(".")[2]
    return OPERATIONS.get(last, last)


def color_of(type: str) -> str:
    """The class that gives a type its colour."""
    last = type.rpartition(".")[2]
    return f"op-{list(OPERATIONS).index(last)}" if last in OPERATIONS else "op-other"
