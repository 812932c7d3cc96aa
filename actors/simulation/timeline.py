"""Virtual time: what happens next, and when. Nothing here waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final

WALL_START: Final = 1_700_000_000.0
"""The wall clock's reading when a world begins (some day in 2023)."""

OWN_START: Final = 1000.0
"""What a node's own clock says then, so that nobody takes 0 for "never"."""

REMEMBERED: Final = 40
"""How many of the latest events a failure shows."""


class Timeline:
    """Events in the order of their time; equal times in the order in which they were set.

    Attributes:
        now: Seconds since the world began. A node's own clock may run at another rate, see `Clock`.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._told: deque[tuple[float, str, Any]] = deque(maxlen=REMEMBERED)

    def after(self, seconds: float, event: Callable[..., None], *arguments: Any) -> None:
        """Let something happen."""
        self._count += 1
        heappush(self._events, (self.now + max(0.0, seconds), self._count, event, arguments))

    def step(self) -> bool:
        """Let the next thing happen; False if nothing will."""
        if not self._events:
            return False
        self.now, _, event, arguments = heappop(self._events)
        event(*arguments)
        return True

    def step_until(self, until: float) -> bool:
        """Let the next thing happen if its time is not past `until`; else it is `until`, and False."""
        if self._events and self._events[0][0] <= until:
            return self.step()
        self.now = max(self.now, until)
        return False

    def run_for(self, seconds: float) -> None:
        """Let exactly so much time pass."""
        until = self.now + seconds
        while self.step_until(until):
            pass

    def tell(self, who: str, what: Any) -> None:
        """Remember something for whoever must understand a failure."""
        self._told.append((self.now, who, what))

    def told(self) -> list[str]:
        """The latest events, oldest first, one line each."""
        return [f"{now:9.3f}  {who:22}  {what!s:.150}" for now, who, what in self._told]


class Clock:
    """One node's clocks.

    Attributes:
        rate: Its seconds for each of the world's.
        jump: What was added to its wall clock.
    """

    def __init__(self, timeline: Timeline, rate: float = 1.0) -> None:
        self._timeline = timeline
        self.rate = rate
        self.jump = 0.0

    def now(self) -> float:
        """Monotonic seconds."""
        return OWN_START + self._timeline.now * self.rate

    def wall(self) -> float:
        """Seconds since the epoch."""
        return WALL_START + self._timeline.now + self.jump

    def until(self, now: float) -> float:
        """How long, in the world's seconds, until this clock has passed `now`."""
        return max(0.0, (now - self.now()) / self.rate) + 1e-6
