"""A simulated host that runs real task code, on virtual time: for users' tests.

The code of an attempt runs at once and whole when the attempt begins; its end is told after as long as its type is said
to take. Until then everything may happen to it that happens to an attempt: a timeout, a cancel, the death of its slot
or host. A second run then finds what the first one did, as in a real pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ...transport.messages import Outcome
from ...workers import ends
from ...workers.ends import AttemptEnd
from ...workers.registry import Offer
from ...workers.runner import Attempt, Runner
from ..slot_news import SlotNews, SlotTask
from .host import Behaviour, SimulatedHost, SimulatedSlot
from .network import Network
from .oracle import Oracle
from .timeline import Clock, Timeline
from .vigil import Executions

TAKES: Final = 0.01
"""Seconds that an attempt takes if nothing else is said: too long to be shipped ahead of a free slot."""


class Unwatched(Oracle):
    """Checks nothing: the guarantees are this package's own business, and tested there."""

    watches = False

    def committed(self, turn: object, pool: object, now: float, own: float, wall: float) -> None:
        """Anything may be written."""

    def acknowledged(self, token: bytes, first: int, count: int, others: list[list[int]]) -> None:
        """Anything may be acknowledged."""

    def rejected(self, token: bytes, submission: int, wall: float) -> None:
        """Any key may be in use."""

    def recorded(self, items: object, stale: object) -> None:
        """Anything may be recorded."""

    def began(self, id: int, fence: int, checkpoint: bytes | None) -> None:
        """Anything may begin."""


class CodeHost(SimulatedHost):
    """See the module.

    Args:
        name: Its name.
        timeline, network, clock, random, executions: Of its world.
        offer: What it serves.
        takes: Type -> seconds an attempt takes; read at each start.
        options: Of the host's core.
    """

    def __init__(
        self,
        name: str,
        timeline: Timeline,
        network: Network,
        clock: Clock,
        random: Any,
        executions: Executions,
        offer: Offer,
        takes: Mapping[str, float],
        options: dict[str, Any],
    ) -> None:
        super().__init__(name, timeline, network, clock, random, Behaviour(), executions, options)
        self._offer, self._takes = offer, takes
        self._runners: dict[int, Runner] = {}

    def busy(self) -> bool:
        """Whether a slot runs a task."""
        return any(slot.task is not None for slot in self._slots.values())

    def crash_slot(self) -> None:
        """A slot that runs a task dies; one that does not if there is none."""
        slots = sorted(self._slots.values(), key=lambda slot: slot.task is None)
        if slots and not self.paused:
            self._die(slots[0], 9)

    def crash(self) -> None:
        """See `SimulatedHost`."""
        super().crash()
        for runner in self._runners.values():
            runner.close()
        self._runners.clear()

    def _ready(self, slot: SimulatedSlot) -> None:
        if (old := self._runners.get(slot.number)) is not None:
            old.close()
        runner = self._runners[slot.number] = Runner(self._offer)
        sick = runner.health()
        offer = self._offer.plain()
        offer["types"] = [type for type in offer["types"] if type.removesuffix(".*") not in sick]
        offer["failed"].update(sick)
        slot.ready = True
        self._news(SlotNews(slot.number, ready=offer))
        self._next(slot)

    def _next(self, slot: SimulatedSlot) -> None:
        if slot.task is not None or slot.doomed or not slot.waiting or self._slots.get(slot.number) is not slot:
            return
        slot.task = task = slot.waiting.popleft()
        slot.life += 1
        self._executions.began(self.name, task)
        self._later(0.0, self._run, slot, slot.life)  # in an event of its own: the code may use a client

    def _run(self, slot: SimulatedSlot, life: int) -> None:
        task = slot.task
        if task is None or slot.life != life or self._slots.get(slot.number) is not slot:
            return
        takes = self._takes.get(task[2], self._takes.get("", TAKES))
        end = self._runners[slot.number].attempt(self._attempt(slot, task))
        self._later(takes, self._tell_end, slot, life, end, takes)
        if slot.waiting:
            self._later(0.005, self._hand_back, slot)

    def _attempt(self, slot: SimulatedSlot, item: SlotTask) -> Attempt:
        """The attempt, whose task's deadline is by the world's clock."""

        def report(_: Attempt, fraction: float, note: str) -> None:
            self._later(0.0, self._news, SlotNews(slot.number, progress=[[item[0], item[1], fraction, note]]))

        def save(_: Attempt, body: bytes) -> None:
            self._later(0.0, self._news, SlotNews(slot.number, checkpoints=[[item[0], item[1], body]]))

        task = Attempt(item, report).task
        if item[7] is not None:
            task = replace(task, deadline=datetime.fromtimestamp(self.clock.wall(), UTC) + timedelta(seconds=item[7]))
        return Attempt(item, report, save, task=task)

    def _tell_end(self, slot: SimulatedSlot, life: int, end: AttemptEnd, took: float) -> None:
        task = slot.task
        if task is None or slot.life != life or self._slots.get(slot.number) is not slot:
            return
        slot.task = None
        self._executions.ended(self.name, task[0], task[1])
        if end.outcome is None:
            item = [task[0], task[1], end.returned, end.after, end.note, end.started]
            self._news(SlotNews(slot.number, returned=[item]))
        else:
            item = [task[0], task[1], Outcome(end.outcome), end.body, took, slot.number, end.detail]
            self._news(SlotNews(slot.number, results=[item]))
        if self.core is not None:
            self._next(slot)

    def _cancel(self, slot: SimulatedSlot, id: int, fence: int) -> None:
        if slot.task is not None and slot.task[:2] == (id, fence):
            self._later(0.01, self._tell_end, slot, slot.life, AttemptEnd(ends.CANCELLED), 0.01)
        else:
            super()._cancel(slot, id, fence)
