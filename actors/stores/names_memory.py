"""Keys in the store that survives nothing: the names that senders gave their tasks. The twin of `names`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..core.effects import Consult, Persist
from .record import ATTEMPT, ENDED_AT, STATE, Record
from .views import clearings, name_view

Name = tuple[str, str, str]


class MemoryNames:
    """The keys of tasks.

    Args:
        put: Sets an item of a mapping, so that it can be undone.
        drop: Takes one out, likewise.
        tasks: All tasks.
    """

    def __init__(
        self,
        put: Callable[[dict[Any, Any], Any, Any], None],
        drop: Callable[[dict[Any, Any], Any], None],
        tasks: dict[int, Record],
    ) -> None:
        self._put, self._drop, self._tasks = put, drop, tasks
        self._by_name: dict[Name, tuple[int, float, bytes]] = {}  # (id, until, digest)
        self._by_id: dict[int, Name] = {}
        self._cached: dict[tuple[str, str, bytes], int] = {}
        self._prints: dict[int, tuple[str, str, bytes]] = {}

    def write(self, persist: Persist, replace: Callable[[int, bytes], None]) -> None:
        """Apply what a step changed, and forget the keys of pruned tasks; `replace` gives a task other params."""
        for id, owner, type, key, until, digest in persist.keys:
            name = owner, type, key
            if name in self._by_name:
                self._drop(self._by_id, self._by_name[name][0])
            self._put(self._by_name, name, (id, until, digest))
            self._put(self._by_id, id, name)
        for id, owner, type, digest in persist.cached:
            asked = owner, type, digest
            if asked in self._cached:
                self._drop(self._prints, self._cached[asked])
            self._put(self._cached, asked, id)
            self._put(self._prints, id, asked)
        for type, count in persist.bounds:
            for id in sorted(id for id, (_, of, _) in self._prints.items() if of == type)[:-count]:
                self._drop(self._cached, self._prints[id])
                self._drop(self._prints, id)
        for params, digest, id in persist.replacements:
            replace(id, params)
            name = self._by_id[id]
            self._put(self._by_name, name, (id, self._by_name[name][1], digest))
        for id in persist.uncached:
            if id in self._prints:
                self._drop(self._cached, self._prints[id])
                self._drop(self._prints, id)
        for id, _ in persist.prunes:
            if id in self._by_id:
                self._drop(self._by_name, self._by_id[id])
                self._drop(self._by_id, id)
            if id in self._prints:
                self._drop(self._cached, self._prints[id])
                self._drop(self._prints, id)

    def read(
        self,
        need: Consult,
        row: Callable[[int], tuple[Any, ...] | None],
        owns: Callable[[int, str | None], bool],
        sent: Callable[[int], tuple[str, str]],
    ) -> list[Any]:
        """Rows for the need; `row` gives the columns of a task, `owns` tells whether an identity sent it, `sent` which
        did and as what type.
        """
        found: list[Any] = []
        for asked in need.keys:
            if asked in self._by_name:
                id, until, digest = self._by_name[asked]
                found.append((asked, until, digest, self._looked_at(id)))
        for asked in need.cached:
            if asked in self._cached:
                id = self._cached[asked]
                found.append((asked, self._tasks[id][ENDED_AT] or 0.0, b"", self._looked_at(id)))
        for id, key in need.bearers:
            if id in self._tasks and (name := self._name_of(id, key, *sent(id))) is not None:
                bearer, until, digest = self._by_name[name]
                found.append(((id, *name), until, digest, row(bearer)))
        return found + [(id, 0.0, b"", row(id)) for id in need.ids if id in self._tasks and owns(id, need.owner)]

    def bears(self, id: int, key: str) -> bool:
        """Whether a task has this key."""
        return id in self._by_id and self._by_id[id][2] == key

    def bearing(self, key: str) -> list[int]:
        """The tasks that have a key, newest first."""
        return sorted((id for (_, _, name), (id, _, _) in self._by_name.items() if name == key), reverse=True)

    def view(self, id: int, meta: Mapping[str, int], type: str) -> dict[str, Any]:
        """What a task's name is worth. See `Store.named`."""
        until = self._by_name[self._by_id[id]][1] if id in self._by_id else None
        cleared = [meta.get(name, 0) for name in clearings(type)] if id in self._prints else None
        return name_view(id, until, cleared)

    def _looked_at(self, id: int) -> tuple[Any, ...]:
        """(id, state, attempt) of a task."""
        record = self._tasks[id]
        return id, record[STATE], record[ATTEMPT]

    def _name_of(self, id: int, key: str, identity: str, type: str) -> Name | None:
        if id in self._by_id:
            return self._by_id[id]
        return next((name for owner in (identity, "") if (name := (owner, type, key)) in self._by_name), None)


class MemoryNameReads:
    """What people may know of names: the part of `MemoryStore` that only reads them."""

    _names: MemoryNames
    _meta: dict[str, int]

    def _sent_as(self, id: int) -> tuple[str, str]:
        raise NotImplementedError

    def named(self, id: int) -> dict[str, Any]:
        """What a task's name is worth. See `Store.named`."""
        return self._names.view(id, self._meta, self._sent_as(id)[1])
