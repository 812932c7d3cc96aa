"""Questions and orders that are not answered: of thousands at once so many are under way, and the others wait.

Pure, part of the client's conversation.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from .commands import Request

ASKED_MAX: Final = 256
"""Requests under way at a time. A link holds a thousand messages, and the supervisor hears a few hundred in a turn."""

WAITING_MAX: Final = 1000
"""Waiting requests, and those that nobody waits for any more are swept out."""


class Requests:
    """Requests in the order in which they were made, numbered from 1."""

    def __init__(self) -> None:
        self._asked: dict[int, Request] = {}
        self._waiting: deque[tuple[int, Request]] = deque()
        self._waiting_max = WAITING_MAX
        self._last = 0

    def __len__(self) -> int:
        return len(self._asked) + len(self._waiting)

    def put(self, request: Request) -> None:
        """Add a request at the end."""
        self._last += 1
        self._waiting.append((self._last, request))
        if len(self._waiting) > self._waiting_max:
            self._waiting = deque(entry for entry in self._waiting if not entry[1].withdrawn)
            self._waiting_max = 2 * len(self._waiting) + WAITING_MAX  # else every request would sweep them

    def next(self) -> tuple[int, Request] | None:
        """The next to say and its number, if one may be said now. It is under way from here on.

        One that nobody waits for is not said, and its place is another's: its answer may take as long as it likes.
        """
        if self._waiting and len(self._asked) >= ASKED_MAX:
            self._asked = {number: request for number, request in self._asked.items() if not request.withdrawn}
        while self._waiting and len(self._asked) < ASKED_MAX:
            number, request = self._waiting.popleft()
            if not request.withdrawn:
                self._asked[number] = request
                return number, request
        return None

    def answered(self, number: int) -> Request | None:
        """The request of this number, if it is under way; it is no more."""
        return self._asked.pop(number, None)

    def again(self) -> None:
        """The connection broke: what was under way is to be said once more, before the others."""
        self._waiting.extendleft(reversed(self._asked.items()))
        self._asked.clear()
