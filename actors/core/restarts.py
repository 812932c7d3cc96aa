"""How fast and how often something that died may be started again. Pure.

The first restart is immediate, the next ones wait longer and longer, and what stayed up long enough starts afresh.
"""

from __future__ import annotations

from typing import Final

_BASE_SECONDS: Final = 0.2
_CAP_SECONDS: Final = 30.0
_HEALTHY_SECONDS: Final = 60.0
_RESTARTS_MAX: Final = 5  # within _HEALTHY_SECONDS; then whoever restarts it has a problem of its own


class Restarts:
    """The recent deaths of one child.

    Attributes:
        deaths: How many there were, each within a minute of the one before.
    """

    __slots__ = ("_last", "deaths")

    def __init__(self) -> None:
        self.deaths = 0
        self._last = 0.0

    def died(self, now: float) -> float:
        """Count a death; returns how many seconds to wait before the restart."""
        if self.deaths and now - self._last > _HEALTHY_SECONDS:
            self.deaths = 0
        self.deaths += 1
        self._last = now
        return 0.0 if self.deaths == 1 else min(_CAP_SECONDS, _BASE_SECONDS * 2 ** (self.deaths - 2))

    def too_many(self) -> bool:
        """Whether restarting does not help, so that the one above must decide."""
        return self.deaths > _RESTARTS_MAX
