"""Who waits to be heard: everybody is heard in bounded time, each in the order of its words."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from ..core.access.arrivals import BULK_SHARE, News, Said
from ..core.access.identities import Proved
from .oracle import Violation
from .timeline import Timeline

_PATIENCE_SECONDS: Final = 0.3
"""What anybody may have to wait, however short turns are."""
_TIMES: Final = 1 / BULK_SHARE + 2
"""What a turn may cost who waits, in times of its own length: itself, the pause after it, short messages in between."""


class Audience:
    """What has come to a supervisor and was not heard yet, as the world sees it.

    Time in which the supervisor's process stands still does not count.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._lines: dict[bytes, deque[bytes | Proved | None]] = {}
        self._since: dict[bytes, tuple[float, float]] = {}  # when each began to wait, and what turns had taken by then
        self._still_until = 0.0
        self._spent = self._longest = 0.0  # by turns of this process

    def restarted(self) -> None:
        """A supervisor begins: nobody has said anything to it."""
        self._lines, self._since = {}, {}
        self._spent = self._longest = 0.0

    def stands_still(self, until: float) -> None:
        """Nobody is heard meanwhile."""
        self._still_until = until

    def came(self, said: Iterable[Said]) -> None:
        """A turn has taken this from the socket, to be heard in this one or a later one."""
        for peer, word in said:
            self._lines.setdefault(peer, deque()).append(word)
            self._since.setdefault(peer, (self._timeline.now, self._spent))

    def heard(self, frames: Sequence[bytes], news: Iterable[News], took: float) -> None:
        """A turn hears something.

        Args:
            frames: What was read for it.
            news: What it hears.
            took: How many seconds it takes.

        Raises:
            Violation: Somebody is heard in another order than that in which it spoke, or has waited for too long.
        """
        now = self._timeline.now
        read = iter(frames)
        for peer, number, message in news:
            frame = None if message is None or isinstance(message, Proved) else next(read)
            line = self._lines.get(peer)
            said = line.popleft() if line else None
            if line is None or (said is not frame and not (frame is None and said == message)):
                raise Violation(f"message {number} of {peer!r} is heard and was not its next: {message!s:.80}")
            if line:
                self._since[peer] = now + took, self._spent + took
            else:
                del self._lines[peer], self._since[peer]
        self._spent += took
        self._longest = max(self._longest, took)
        self._check_patience(now)

    def _check_patience(self, now: float) -> None:
        """Who waits has others before it, each of whom is heard once, and for no longer than they really are."""
        for peer, (since, spent) in self._since.items():
            waited = now - max(since, self._still_until)
            others = min(self._spent - spent, len(self._lines) * self._longest)
            if waited > (most := _PATIENCE_SECONDS + _TIMES * (self._longest + others)):
                raise Violation(f"{peer!r} has waited {waited:.3f} s to be heard, {most:.3f} s may be")
