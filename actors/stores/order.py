"""A sorted list in which what is added at the end and taken from the front stays cheap."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from itertools import islice
from typing import Any, Final

Entry = tuple[Any, ...]

_GONE_MIN: Final = 64
"""Below this, removed entries are not worth clearing away."""


class Order:
    """Distinct tuples in ascending order. A removed one stays in the list, skipped, until half of the list is gone.

    Args:
        home: Where it stands among others, and is forgotten by `leave` when nothing is in it.
        key: Under which.
    """

    __slots__ = ("_entries", "_gone", "_home", "_key")

    def __init__(self, home: dict[Any, Order] | None = None, key: Any = None) -> None:
        self._entries: list[Entry] = []
        self._gone: set[Entry] = set()
        self._home, self._key = home, key

    def leave(self) -> None:
        """Be forgotten, if nothing is in it; it may have been already."""
        if not len(self) and self._home is not None:
            self._home.pop(self._key, None)

    def add(self, entry: Entry) -> None:
        """Put an entry in its place. It must not be there."""
        if entry in self._gone:
            self._gone.remove(entry)
        elif not self._entries or self._entries[-1] < entry:
            self._entries.append(entry)
        else:
            insort(self._entries, entry)

    def remove(self, entry: Entry) -> None:
        """Take out an entry that is there."""
        self._gone.add(entry)
        if len(self._gone) > max(_GONE_MIN, len(self._entries) // 2):
            self._entries = [entry for entry in self._entries if entry not in self._gone]
            self._gone.clear()

    def __len__(self) -> int:
        return len(self._entries) - len(self._gone)

    def __contains__(self, entry: Entry) -> bool:
        place = bisect_left(self._entries, entry)
        return self._entries[place : place + 1] == [entry] and entry not in self._gone

    def after(self, entry: Entry | None, count: int) -> list[Entry]:
        """At most `count` entries after `entry` (None: from the first on), ascending."""
        start = 0 if entry is None else bisect_right(self._entries, entry)
        return self._there(range(start, len(self._entries)), count)

    def before(self, entry: Entry | None, count: int) -> list[Entry]:
        """At most `count` entries before `entry` (None: from the last on), descending."""
        start = len(self._entries) if entry is None else bisect_left(self._entries, entry)
        return self._there(range(start - 1, -1, -1), count)

    def _there(self, indexes: range, count: int) -> list[Entry]:
        entries, gone = self._entries, self._gone
        return list(islice((entries[index] for index in indexes if entries[index] not in gone), count))


class Orders(dict[Any, Order]):
    """An order for each key that has anything in it: made when something is added, forgotten at the end of a turn."""

    def __missing__(self, key: Any) -> Order:
        order = self[key] = Order(self, key)
        return order

    def at(self, key: Any) -> Order:
        """To read from; nothing is made."""
        return self.get(key, _EMPTY)


_EMPTY: Final = Order()
