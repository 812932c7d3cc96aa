"""Which code a host's slots load: what was served last, by environment, however the files on the disk change.

It decides nothing; that new code is served now says the core. See `workers.kept_code` for what is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..workers.source import Environment
from .slot_news import Slot

Kept = Mapping[str, list[Any]]


class ServedCode:
    """The code of each environment, as slots have told it."""

    def __init__(self) -> None:
        self._served: dict[Environment, Kept] = {}
        self._fresh: dict[int, tuple[Environment, Kept]] = {}

    def of(self, environment: Environment, *, fresh: bool) -> Kept | None:
        """What a slot is to load; None: what is on the disk, and it tells what that was."""
        return None if fresh else self._served.get(environment)

    def loaded(self, slot: Slot, kept: Kept, *, fresh: bool) -> bool:
        """A slot has loaded this from the disk. The first of an environment says what is served there.

        Returns:
            Whether it may serve: a file can have changed while several slots were starting.
        """
        environment = slot.spec.environment
        served = self._served.setdefault(environment, kept)
        if fresh and served is not kept:
            self._fresh[slot.number] = (environment, kept)
            return True
        return all(kept[name][-1] == served[name][-1] for name in kept.keys() & served.keys())  # the source

    def serve(self, number: int) -> None:
        """What this slot has loaded is served from now on."""
        if number in self._fresh:
            environment, kept = self._fresh.pop(number)
            self._served[environment] = kept

    def ended(self, number: int) -> None:
        """The slot is gone, whether its code was served or not."""
        self._fresh.pop(number, None)

    def clear(self) -> None:
        """Everything is loaded from the disk anew."""
        self._served.clear()
        self._fresh.clear()
