"""How fast tasks of a lane are, measured, and what follows: how many may be granted beyond the free slots.

Guarantee 4: the margin exists only where the measured 95th percentile is under 2 ms, so that microsecond tasks are
shipped by the hundred and no minute task ever waits behind another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SLOW_SECONDS: Final = 0.002
_SLOW_SHARE_MAX: Final = 0.05  # the 95th percentile is under SLOW_SECONDS
_SAMPLES_MIN: Final = 20
_AHEAD_SECONDS: Final = (
    0.010  # work in flight per slot: a few round trips, so that a slot never waits for the next message
)
_MARGIN_MAX: Final = 1000
_MEMORY: Final = 200  # samples after which an old one weighs little


class Pace:
    """Moving mean of durations and moving share of slow ones.

    Attributes:
        samples: How many attempts were measured.
        mean: Seconds; a slow attempt counts as `SLOW_SECONDS`, so that a few minutes do not weigh for thousands.
        slow: Share of attempts that took longer than `SLOW_SECONDS`.
    """

    __slots__ = ("mean", "samples", "slow")

    def __init__(self) -> None:
        self.samples, self.mean, self.slow = 0, 0.0, 0.0

    def measured(self, durations: Sequence[float]) -> None:
        """So many attempts ended after so many seconds each."""
        count = len(durations)
        if max(durations) <= SLOW_SECONDS:
            seconds, slow = sum(durations), 0
        else:
            slow = sum([duration > SLOW_SECONDS for duration in durations])
            seconds = sum([min(duration, SLOW_SECONDS) for duration in durations])
        weight = count / min(self.samples + count, _MEMORY + count)
        self.mean += weight * (seconds / count - self.mean)
        self.slow += weight * (slow / count - self.slow)
        self.samples += count

    def blocked(self) -> None:
        """A slot gave such tasks back unstarted: one of them was slow, so ship them one by one for a while."""
        self.slow = max(self.slow, 4 * _SLOW_SHARE_MAX)

    def margin(self, slots: int) -> int:
        """Grants beyond the free slots of a host with so many slots."""
        if self.samples < _SAMPLES_MIN or self.slow > _SLOW_SHARE_MAX:
            return 0
        return min(_MARGIN_MAX, int(slots * _AHEAD_SECONDS / max(self.mean, 1e-5)))
