"""What tasks in hand wrote: the last lines of each attempt, numbered, and what of them somebody listens to. Pure.

Nothing grows: an attempt's lines are a ring, longer while somebody listens. Numbers tell a listener what was lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import inf
from typing import Any, Final

from .host_effects import Key

KEPT_LINES: Final = 64
KEPT_CHARACTERS: Final = 16 * 1024
"""Of what a task wrote, so much is kept with its attempt."""

FOLLOWED_LINES: Final = 1000
FOLLOWED_CHARACTERS: Final = 256 * 1024
"""So much waits for the next word to those who listen."""

SAY_SECONDS: Final = 0.1
"""What is listened to travels so often."""


class Heard:
    """What one attempt wrote.

    Attributes:
        count: How many lines it was in all; the last of them are kept.
    """

    __slots__ = ("_lines", "_size", "count")

    def __init__(self) -> None:
        self.count = self._size = 0
        self._lines: deque[str] = deque()

    def add(self, text: str, *, followed: bool) -> None:
        """One line more."""
        self.count += 1
        lines = self._lines
        lines.append(text)
        self._size += len(text)
        most, size = (FOLLOWED_LINES, FOLLOWED_CHARACTERS) if followed else (KEPT_LINES, KEPT_CHARACTERS)
        while len(lines) > most or self._size > size:
            self._size -= len(lines.popleft())

    def since(self, number: int) -> tuple[int, list[str]]:
        """The lines from `number` on, as far as they are kept, and the number of the first of them."""
        first = max(number, self.count - len(self._lines))
        return first, list(self._lines)[len(self._lines) - (self.count - first) :]

    def kept(self) -> str:
        """Its last lines as one text, which says how many there were before."""
        lines: list[str] = []
        size = 0
        for line in reversed(self._lines):
            size += len(line) + 1
            if len(lines) == KEPT_LINES or size > KEPT_CHARACTERS:
                break
            lines.append(line)
        before = self.count - len(lines)
        return "\n".join([f"[{before} lines before]"] * (before > 0) + lines[::-1])


class Listening:
    """Which attempts of this host somebody listens to.

    Attributes:
        wanted: The number of the next line to be said of each.
        items: Of OUTPUT, not yet said.
    """

    def __init__(self) -> None:
        self.wanted: dict[Key, int] = {}
        self.items: list[Any] = []
        self._fresh = False
        self._due = 0.0

    def want(self, keys: Mapping[Key, bool]) -> None:
        """Listen to these attempts, and to no others; what is kept of new ones, or asked for anew, is said now.

        Args:
            keys: Whether each is asked for anew.
        """
        before = self.wanted
        self.wanted = {key: -1 if anew else before.get(key, -1) for key, anew in keys.items()}
        if any(number < 0 for number in self.wanted.values()):
            self._fresh, self._due = True, 0.0

    def heard(self) -> None:
        """Something was written; perhaps by one of those."""
        self._fresh = True

    def say(self, key: Key, heard: Heard | None) -> None:
        """Put what is new of an attempt to what must be said. A first word is said even if there is nothing."""
        number = self.wanted[key]
        first, lines = heard.since(max(number, 0)) if heard is not None else (0, [])
        if lines or number < 0:
            self.items.append([*key, first, lines])
            self.wanted[key] = first + len(lines)

    def ended(self, key: Key, heard: Heard | None) -> None:
        """An attempt is over: its last lines are said before its end is."""
        if key in self.wanted:
            self.say(key, heard)
            del self.wanted[key]

    def over(self) -> None:
        """The session is over: the next one says anew what is wanted."""
        self.wanted, self.items, self._fresh = {}, [], False

    def due(self) -> float:
        """When there is something to say if nothing happens; `inf`: never."""
        return self._due if self.wanted and self._fresh else inf

    def falls_due(self, now: float) -> bool:
        """Whether it is time to say what is new; the next time comes a little later."""
        if not self.wanted or not self._fresh or now < self._due:
            return False
        self._fresh, self._due = False, now + SAY_SECONDS
        return True
