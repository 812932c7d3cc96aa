"""Lanes that have held nothing for a while, not even an ended task, are forgotten: here, and in the store.

So what clients have invented of tenants, requirements and types does not stay for ever. Types themselves are known as
long as the supervisor runs: what was counted of them is told. Owns when it is done; `Lanes` knows how.
"""

from __future__ import annotations

from itertools import islice
from math import inf
from typing import Final

from ..step import Step
from .lanes import Lanes

EMPTY_SECONDS: Final = 3600.0
"""A tenant that sends now and then keeps its lane, and its turn."""
_PAUSE_SECONDS: Final = 0.1
_SLICE_MAX: Final = 500


class Empties:
    """Forgets the lanes that have been empty for `EMPTY_SECONDS`, some of them in a turn."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._pause = -inf

    def next_time(self) -> float:
        """When `wake` has something to do."""
        since = next(iter(self._lanes.emptied.values()), inf)
        return max(since + EMPTY_SECONDS, self._pause)

    def wake(self, step: Step) -> None:
        """Look at those that were empty first."""
        emptied = self._lanes.emptied
        if step.now < self.next_time():
            return
        due = [lane for lane, since in islice(emptied.items(), _SLICE_MAX) if since + EMPTY_SECONDS <= step.now]
        for lane in due:
            del emptied[lane]
        self._pause = step.now + _PAUSE_SECONDS
        self._lanes.forget([lane for lane in due if lane.is_unused()], step)
