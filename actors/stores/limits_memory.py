"""What is stopped and what was granted of limits, in the store that survives nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.effects import Persist


class MemoryLimits:
    """Pauses, and what rates and quotas have counted, by node.

    Args:
        put: Sets an item of a dict so that it can be undone.
        drop: Removes one so.
    """

    def __init__(
        self, put: Callable[[dict[Any, Any], Any, Any], None], drop: Callable[[dict[Any, Any], Any], None]
    ) -> None:
        self._put, self._drop = put, drop
        self._pauses: dict[str, tuple[float | None, str]] = {}
        self._rates: dict[str, dict[int, tuple[Any, ...]]] = {}  # by place
        self._quotas: dict[str, tuple[float, int]] = {}

    def write(self, persist: Persist) -> None:
        """What one step changed."""
        for type, paused, until, reason in persist.pauses:
            if paused:
                self._put(self._pauses, type, (until, reason))
            elif type in self._pauses:
                self._drop(self._pauses, type)
        for type in persist.forgotten_rates:
            if type in self._rates:
                self._drop(self._rates, type)
        for type, place, *row in persist.rates:
            self._put(self._rates.setdefault(type, {}), place, tuple(row))
        for type, start, used in persist.quotas:
            self._put(self._quotas, type, (start, used))

    def pauses(self) -> list[tuple[str, float | None, str]]:
        """For an opening, as the rest."""
        return [(type, *pause) for type, pause in sorted(self._pauses.items())]

    def rates(self) -> list[tuple[Any, ...]]:
        """Of each node in the order of places."""
        return [(type, *rows[place]) for type, rows in sorted(self._rates.items()) for place in sorted(rows)]

    def quotas(self) -> list[tuple[str, float, int]]:
        """Of each node."""
        return [(type, *quota) for type, quota in sorted(self._quotas.items())]
