"""New code for slots that live: what is looked at before it is served, and what is told of it. Pure.

A slot of its own loads the new code first. Only if nothing fails in it that did not fail before are the others
replaced, each when it is empty; else the old code goes on serving, also in slots that are started later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....workers.source import Environment
from .environments import Environments
from .slot_table import SlotTable
from .slots import Slot
from .verdicts import Offer

_TOLD_MAX = 100


@dataclass(slots=True)
class Reloading:
    """One order to reload.

    Attributes:
        number: The order's, 0: nobody asked, a file has changed.
        types: Those that are meant, and what lies below them; none: all.
        waiting: Environments whose new code is still being looked at, and by which slot.
        changed: Type -> [fingerprint before, after]; "" where it was or is not served.
        failed: What failed in the new code -> why.
    """

    number: int
    types: Sequence[str]
    waiting: dict[Environment, int]
    changed: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def judge(self, environment: Environment, before: Offer | None, failed: Mapping[str, str]) -> bool:
        """The new code of an environment is known; returns whether it may serve."""
        self.waiting.pop(environment, None)
        known: Mapping[str, str] = {} if before is None else before.failed
        new = {what: reason for what, reason in failed.items() if what not in known}
        self.failed |= new
        return not new

    def note(self, before: Offer | None, after: Offer) -> None:
        """What has changed in an environment that serves new code."""
        old, new = before or Offer(), after
        for type in sorted({*old.types, *new.types}):
            prints = [old.fingerprints.get(type, ""), new.fingerprints.get(type, "")]
            if prints[0] != prints[1] or (type in old.types) != (type in new.types):
                self.changed[type] = [self.changed.get(type, prints)[0], prints[1]]

    def facts(self) -> dict[str, Any]:
        """What HELLO says of it."""
        return {"number": self.number, "changed": _some(self.changed), "failed": _some(self.failed)}


class Reloads:
    """The reload that is under way, if one is, and what is told of the last one.

    Attributes:
        told: See `Reloading.facts`; empty before the first.
    """

    def __init__(self, environments: Environments, slots: SlotTable) -> None:
        self._environments, self._slots = environments, slots
        self._present: Reloading | None = None
        self.told: dict[str, Any] = {}

    def begin(self, order: int, types: Sequence[str]) -> None:
        """Look at the code as it is on the disk now, to serve it if nothing fails in it that did not fail before.

        Args:
            order: The order's number; 0: nobody asked, a file has changed.
            types: Those that are meant, and what lies below them; none: all.
        """
        if self._present is not None:
            # what changed meanwhile is looked at too, and told to who asked before
            order = order or self._present.number
            for number in self._present.waiting.values():
                self._slots.drop(number)
        wanted = self._environments.below(types)
        changed = {} if self._present is None else self._present.changed
        looked = [environment for environment in wanted if environment.isolation != "inline"]
        self._present = Reloading(order, types, {one: self._slots.check(one, fresh=True) for one in looked}, changed)
        if len(looked) < len(wanted):
            self._present.failed["inline"] = "inline slots keep their code; start the program again"

    def again(self) -> None:
        """What slots are to load is something else than when the look at it began."""
        if self._present is not None:
            self.begin(self._present.number, self._present.types)

    def may_serve(self, slot: Slot | None, environment: Environment, failed: Mapping[str, str]) -> bool:
        """Whether what a slot has loaded counts: of new code that is looked at, only if nothing is worse in it."""
        present = self._present
        if slot is None or not slot.fresh:
            return True
        if present is None or present.waiting.get(environment) != slot.number:
            return False  # a newer one looks
        named = self._environments.named(environment, failed)
        fine = present.judge(environment, self._environments.offer_of(environment), named)
        if fine:
            self._slots.serve(slot)
        return fine

    def heard(self, before: Offer | None, after: Offer | None) -> None:
        """The offer of an environment is another than before, perhaps."""
        if self._present is not None and before != after and after is not None:
            self._present.note(before, after)

    def take_done(self) -> Reloading | None:
        """The reload, if all new code is known by now; then none is under way."""
        present = self._present
        if present is None or present.waiting:
            return None
        self._present, self.told = None, present.facts()
        return present


def _some(values: Mapping[str, Any]) -> dict[str, Any]:
    names: Iterable[str] = list(values)[:_TOLD_MAX]
    return {name: values[name] for name in names}
