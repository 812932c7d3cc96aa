"""How long tasks go on when the supervisor is away (guarantee 6). Pure.

Time alone counts from the last word of ours that was answered: what we said after it may never have arrived, and our
leases are only as old as what did.
"""

from __future__ import annotations

from typing import Final

from .guidance import Guidance
from .host_effects import SlotTask
from .joining import Joining
from .slot_table import SlotTable
from .stopping import Why

_ASK: Final = 0.6  # `cut_off: stop`: parts of `lost_after`. A lease ends at 1.0, and nothing must run then.
_KILL: Final = 0.85


class CutOff:
    """Stops tasks whose node does not allow them to go on alone for so long."""

    def __init__(self, joining: Joining, guidance: Guidance, slots: SlotTable) -> None:
        self._joining, self._guidance, self._slots = joining, guidance, slots
        self._done = (0.0, 0.0)  # (confirmed, seconds alone) up to which everything was stopped that had to be

    def due(self) -> float:
        """When the next tasks have gone on alone for too long; `inf` if that cannot be."""
        confirmed = self._joining.confirmed
        done = self._done[1] if self._done[0] == confirmed else 0.0
        return confirmed + self._guidance.next_cut_off(done, _ASK * self._joining.lost_after)

    def tick(self, now: float) -> None:
        """Stop what has gone on alone for too long."""
        if now < self.due():
            return
        alone = now - self._joining.confirmed
        self._done = (self._joining.confirmed, alone)
        lost_after, policy = self._joining.lost_after, self._guidance.policy

        def impatient(task: SlotTask) -> bool:
            return policy(task[2]).cut_off is None

        def patient(task: SlotTask) -> bool:
            limit = policy(task[2]).cut_off
            return limit is not None and alone >= limit

        if alone >= _ASK * lost_after:
            self._slots.stop(impatient, Why.CUT_OFF, now, within=max(0.0, _KILL * lost_after - alone))
        self._slots.stop(patient, Why.CUT_OFF, now)
