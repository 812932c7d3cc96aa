"""Schedules in the store that survives nothing: the twin of `schedules`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.effects import Persist
from .blobs import pack, unpack


class MemorySchedules:
    """What the pool sends by itself.

    Args:
        put: Sets an item of a dict so that it can be undone.
        drop: Removes one so.
    """

    def __init__(
        self, put: Callable[[dict[Any, Any], Any, Any], None], drop: Callable[[dict[Any, Any], Any], None]
    ) -> None:
        self._put, self._drop = put, drop
        self._rows: dict[str, tuple[Any, ...]] = {}

    def write(self, persist: Persist) -> None:
        """See `schedules.write`."""
        for name in persist.forgotten_schedules:
            if name in self._rows:
                self._drop(self._rows, name)
        for name, source, plan, *rest in persist.schedules:
            self._put(self._rows, name, (name, source, pack(plan), *rest))

    def known(self) -> list[tuple[Any, ...]]:
        """Their rows, for an opening."""
        rows = [self._rows[name] for name in sorted(self._rows)]
        return [(name, source, unpack(plan), *rest) for name, source, plan, *rest in rows]
