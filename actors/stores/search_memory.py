"""Which tasks are meant, in the store that survives nothing: the twin of `search`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from ..core.effects import Matching, MeantNeed, Where
from .blobs import unpack
from .flows_memory import MemoryFlows
from .names_memory import MemoryNames
from .order import Order, Orders
from .record import DETAIL, FINISH, ID, LANE, OPTIONS, PARAMS, RESULT, SENT_AT, SESSION, STATE, Record
from .search import LISTED_ROWS_MAX, MEANT_ROWS_MAX, meant_rows
from .show_memory import MemoryShow
from .views import error_text, list_item

Tagged = Callable[[str, int], bool]


class MemorySearch(MemoryShow):
    """The half of `MemoryStore` that looks for tasks."""

    _tags: Orders
    _ids: Order
    _flows: MemoryFlows
    _names: MemoryNames

    def _owns(self, session: int, owner: str | None) -> bool:
        raise NotImplementedError

    def _columns(self, id: int) -> tuple[Any, ...] | None:
        raise NotImplementedError

    def tasks(self, where: Where, limit: int, before: int | None = None) -> tuple[list[dict[str, Any]], int | None]:
        """Newest first, a bounded scan. See `Store.tasks`."""
        found, following = self._search(where, limit, before, LISTED_ROWS_MAX)
        return [list_item(self._named(record)) for record in found], following

    def _search(self, where: Where, limit: int, before: int | None, looked_at: int) -> tuple[list[Record], int | None]:
        return _search(
            self._newest(where, before), self._lanes.__getitem__, self._tagged, self._owns, where, limit, looked_at
        )

    def _tagged(self, tag: str, id: int) -> bool:
        return (id,) in self._tags.at(tag)

    def _meant(self, need: MeantNeed) -> list[Any]:
        if isinstance(need, Matching):
            found, following = self._search(need.where, need.count, need.before, meant_rows(need.where))
            return [([self._columns(record[ID]) for record in found], following)]
        there = (self._tasks[id] for id in sorted(need.ids, reverse=True) if id in self._tasks)
        ends: list[Any] = []
        edges = 0
        for record in (one for one in there if one[FINISH] is not None):
            later = self._flows.needed_by(record[ID], need.needed_by) if edges < need.edges else None
            edges += self._flows.come_after(record[ID])
            size = len(record[PARAMS]) + len(record[RESULT] or b"")
            columns = (record[column] for column in (SESSION, FINISH, ID, LANE, STATE))
            ends.append((*columns, size, later))
        return ends

    def _newest(self, where: Where, before: int | None) -> Iterable[Record]:
        start = None if before is None else (before,)
        if where.ids is not None:
            ids = (id for id in sorted(where.ids, reverse=True) if before is None or id < before)
            if (key := where.key) is not None:
                ids = (id for id in ids if self._names.bears(id, key))
            return (self._tasks[id] for id in ids if id in self._tasks)
        if where.key is not None:
            return [self._tasks[id] for id in self._names.bearing(where.key) if before is None or id < before]
        if where.flow is not None:
            return (self._tasks[id] for id in self._flows.members(where.flow, before))
        order = self._ids if where.tag is None else self._tags.at(where.tag)
        return (self._tasks[id] for (id,) in order.before(start, MEANT_ROWS_MAX))


def _search(
    records: Iterable[Record],
    lane_of: Callable[[int], tuple[int, str, str, str]],
    tagged: Tagged,
    owns: Callable[[int, str | None], bool],
    where: Where,
    limit: int,
    looked_at: int,
) -> tuple[list[Record], int | None]:
    """Tasks of `records` (the newest first) that are meant, at most `limit`, and the id to go on before."""
    found: list[Record] = []
    scanned, last = 0, None
    for scanned, record in enumerate(islice(records, looked_at), 1):  # noqa: B007 - read after the loop
        if _is_meant(record, lane_of(record[LANE]), tagged, where) and owns(record[SESSION], where.owner):
            if len(found) == limit:
                return found, found[-1][ID]
            found.append(record)
        last = record[ID]
    return found, last if scanned == looked_at else None


def _is_meant(record: Record, lane: tuple[int, str, str, str], tagged: Tagged, where: Where) -> bool:
    _, type, tenant, _ = lane
    if where.states and record[STATE] not in where.states:
        return False
    if where.type not in (None, type) or where.tenant not in (None, tenant):
        return False
    if where.sent_before is not None and record[SENT_AT] >= where.sent_before:
        return False
    if where.tag is not None and not tagged(where.tag, record[ID]):
        return False
    if where.flow is not None and (where.ids is not None or where.key is not None):
        options: dict[str, Any] = unpack(record[OPTIONS]) or {}
        if options.get("flow") != where.flow:
            return False
    return where.error is None or where.error.casefold() in (error_text(unpack(record[DETAIL])) or "").casefold()
