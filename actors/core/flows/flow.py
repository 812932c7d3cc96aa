"""A flow that has not ended: its tasks' ids, how many of them have ended in which way, and how to find it by an id."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ..rows import CANCELLED, COMPLETED, FAILED, QUARANTINED
from .dependencies import Places
from .edges import OPEN, WHOLE


@dataclass(slots=True, eq=False)
class Flow:
    """Tasks that were handed in as one.

    Attributes:
        number: The id of its first task.
        session: Of the client that sent it.
        stage: Whether all of it is here; see `edges`.
        ended: How many tasks are in each final state.
        heard: When the last part came, by `now`.
        places: Which ids its tasks have.
        owner: The client's identity that it counts for; "": nobody's in particular.
    """

    number: int
    name: str
    session: int
    sent_at: float
    heard: float
    stage: int = OPEN
    ended: dict[int, int] = field(default_factory=lambda: dict.fromkeys((COMPLETED, FAILED, CANCELLED, QUARANTINED), 0))
    places: Places = field(default_factory=Places)
    owner: str = ""

    @classmethod
    def of(cls, row: tuple[Any, ...], parts: list[tuple[int, int, int]], now: float, owner: str) -> Flow:
        """As the store has it, which does not know whom it counts for."""
        number, name, session, sent_at, _total, stage, *ended, _ended_at = row
        counts = dict(zip((COMPLETED, FAILED, CANCELLED, QUARANTINED), ended, strict=True))
        return cls(number, name, session, sent_at, now, stage, counts, Places(list(parts)), owner)

    def row(self, wall: float) -> tuple[Any, ...]:
        """As the store keeps it."""
        total, ended_at = self.places.total, wall if self.is_over() else None
        return (self.number, self.name, self.session, self.sent_at, total, self.stage, *self.ended.values(), ended_at)

    def is_over(self) -> bool:
        """Whether all of its tasks have ended, and no more will come."""
        return self.stage >= WHOLE and sum(self.ended.values()) >= self.places.total


class Members:
    """Finds the flow of a task among those that have not ended, and tells how many of them are one identity's."""

    def __init__(self) -> None:
        self.by_number: dict[int, Flow] = {}
        self.owned: Counter[str] = Counter()  # how many, by whom they count for
        self._spans: list[tuple[int, int, int]] = []  # (first id, the one behind the last, flow), by id

    def __len__(self) -> int:
        return len(self.by_number)

    def add(self, flow: Flow) -> None:
        """A flow is known from now on, with the parts that it has."""
        self.by_number[flow.number] = flow
        if flow.owner:
            self.owned[flow.owner] += 1
        for part in flow.places.parts:
            self.grow(flow, part)

    def grow(self, flow: Flow, part: tuple[int, int, int]) -> None:
        """A flow has one more part."""
        insort(self._spans, (part[1], part[1] + part[2], flow.number))

    def remove(self, flow: Flow) -> None:
        """A flow is over."""
        del self.by_number[flow.number]
        if flow.owner:
            self.owned[flow.owner] -= 1
            if not self.owned[flow.owner]:
                del self.owned[flow.owner]
        for _, first, count in flow.places.parts:
            del self._spans[bisect_right(self._spans, (first, first + count, flow.number)) - 1]

    def span(self) -> tuple[int, int]:
        """The first id of all, and the one behind the last: what lies outside belongs to no flow."""
        return (self._spans[0][0], self._spans[-1][1]) if self._spans else (0, 0)

    def flow_of(self, id: int) -> Flow | None:
        """The flow that a task belongs to, if that has not ended."""
        at = bisect_right(self._spans, (id, 1 << 63, 0)) - 1
        if at < 0 or id >= self._spans[at][1]:
            return None
        return self.by_number[self._spans[at][2]]
