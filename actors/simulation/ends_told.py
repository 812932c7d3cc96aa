"""What clients are told of ends is what the commits say: the same number, the same state, the same result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...transport.messages import Events
from ..core.effects import Persist
from .oracle import Oracle, Violation


class EndsTold:
    """Watches each turn's EVENTS.

    An end is told in the turn in which it is written, or as a turn has read it. Between the two others may be written:
    so it is one of its turn, or the last before that.
    """

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._written: Counter[int] = Counter()  # ends of each task in this turn

    def committed(self, turn: Sequence[Persist]) -> None:
        """The turn is on disk."""
        self._written = Counter(finish[9] for persist in turn for finish in persist.finishes)

    def said(self, events: Events) -> None:
        """Somebody is told of ends.

        Raises:
            Violation: Not as they are stored.
        """
        for id, number, state, body, *_ in events.finished:
            known = self._oracle.tasks.get(id)
            if known is None:
                if id not in self._oracle.history.pruned:
                    raise Violation(f"a client is told that task {id} ended, which is not stored")
                continue
            outcomes = known.outcomes[-1 - self._written[id] :]
            if not any(number in (0, outcome[0]) and (state, body) == outcome[1:] for outcome in outcomes):
                raise Violation(
                    f"a client is told that task {id} ended as {state} with {body!r} (number {number}), "
                    f"stored is {outcomes}"
                )
