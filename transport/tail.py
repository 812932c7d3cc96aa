"""What tasks write, as a client hears it: kept lines of attempts that have ended, pushed ones of those that run.

The lines of an attempt are numbered, so that none is given twice, and what was lost on the way is said.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from .block import Block
from .commands import Listener
from .connection import Connection

FIRST_WORD_SECONDS: Final = 2.0
"""How long to wait for what is kept of a running attempt; its host says so at once."""


class Line(NamedTuple):
    """One line that a task wrote.

    Attributes:
        attempt: Of which attempt.
        text: The line, without its end; in square brackets what is said of lines that are missing.
        at: When the supervisor heard it (aware, UTC); None: a kept line of an attempt that has ended.
    """

    attempt: int
    text: str
    at: datetime | None


def tail(
    connection: Connection, id: int, place: tuple[Block, int], show: Callable[[], dict[str, Any]], *, follow: bool
) -> Generator[Line]:
    """The lines of a task, attempt by attempt; see `Client.tail`."""
    block, offset = place
    listener = Listener(id)
    reader = Reader()
    connection.put(listener)
    try:
        yield from reader.kept(show())
        while True:
            over = block.ends[offset] is not None
            while listener.has_news():
                attempt, number, lines, at = listener.items.popleft()
                if reader.is_new(attempt):
                    yield from reader.kept(show(), attempt)
                yield from reader.pushed(attempt, number, lines, at)
                if not follow:
                    return
            if over or not (follow or reader.running):
                break
            if not connection.wait(
                lambda: listener.has_news() or block.ends[offset] is not None,
                [listener.waiters, block.waiters],
                timeout=None if follow else FIRST_WORD_SECONDS,
            ):
                return
        yield from reader.kept(show())  # attempts that were over before anybody could listen
    finally:
        listener.over = True
        if not connection.over:
            connection.put(listener)


class Reader:
    """What of each attempt was given already.

    Attributes:
        running: Whether the task ran when it was shown last.
    """

    def __init__(self) -> None:
        self._next: dict[int, int] = {}  # attempt -> number of the line that must follow
        self._done: set[int] = set()  # attempts that were given from what is kept
        self.running = False

    def is_new(self, attempt: int) -> bool:
        """Whether nothing was given of it yet; what was kept of those before it comes first."""
        return attempt not in self._done and attempt not in self._next

    def kept(self, task: dict[str, Any], before: int | None = None) -> Iterator[Line]:
        """The kept lines of ended attempts of which nothing was given yet, of a task as it is shown now."""
        self.running = task["state"] == "running"
        for item in task["attempts"]:
            attempt = item["attempt"]
            if item["ended_at"] is None or attempt in self._done or attempt in self._next:
                continue
            if before is not None and attempt >= before:
                break
            self._done.add(attempt)
            detail: dict[str, Any] = item["detail"] or {}
            text = str(detail.get("output") or "")
            for line in text.split("\n") if text else ():
                yield Line(attempt, line, None)

    def pushed(self, attempt: int, number: int, lines: list[str], at: float) -> Iterator[Line]:
        """Lines that came by themselves."""
        if attempt in self._done:
            return
        following = self._next.get(attempt, 0)
        moment = datetime.fromtimestamp(at, UTC)
        if number > following:
            yield Line(attempt, f"[{number - following} lines are missing here]", moment)
        for text in lines[max(0, following - number) :]:
            yield Line(attempt, text, moment)
        self._next[attempt] = max(following, number + len(lines))
