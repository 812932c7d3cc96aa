"""Changes of a store in memory, each noted so that a turn that fails leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .contract import StoreDisagrees
from .order import Entry, Order


class Undoable:
    """The turn's transaction over dicts and orders."""

    def __init__(self) -> None:
        self._undo: list[tuple[Callable[..., Any], *tuple[Any, ...]]] = []
        self._emptied: list[Order] = []

    def begin(self) -> None:
        """Open the turn's transaction."""
        self._undo.clear()

    def commit(self) -> None:
        """Keep the turn."""
        self._undo.clear()
        self._forget_empty()

    def rollback(self) -> None:
        """Undo the turn, last change first."""
        while self._undo:
            function, *arguments = self._undo.pop()
            function(*arguments)
        self._forget_empty()

    def _forget_empty(self) -> None:
        for order in self._emptied:
            order.leave()
        self._emptied.clear()

    def _put(self, mapping: dict[Any, Any], key: Any, value: Any) -> None:
        if key in mapping:
            self._undo.append((mapping.__setitem__, key, mapping[key]))
        else:
            self._undo.append((mapping.pop, key))
        mapping[key] = value

    def _put_new(self, mapping: dict[Any, Any], key: Any, value: Any) -> None:
        if key in mapping:
            message = f"a row is there already ({key})"
            raise StoreDisagrees(message)
        self._put(mapping, key, value)

    def _drop(self, mapping: dict[Any, Any], key: Any) -> None:
        self._undo.append((mapping.__setitem__, key, mapping.pop(key)))

    def _add(self, order: Order, entry: Entry) -> None:
        order.add(entry)
        self._undo.append((order.remove, entry))

    def _remove(self, order: Order, entry: Entry) -> None:
        order.remove(entry)
        self._undo.append((order.add, entry))
        if not len(order):
            self._emptied.append(order)
