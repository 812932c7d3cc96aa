"""How a task is shown to people, in the store that survives nothing."""

from __future__ import annotations

from typing import Any

from .blobs import unpack
from .record import DETAIL, LANE, NAMES, OPTIONS, OWNER, Record
from .views import first_and_latest, full_view


class MemoryShow:
    """The part of `MemoryStore` that puts together what people see of a task."""

    _tasks: dict[int, Record]
    _attempts: dict[int, dict[tuple[int, int], tuple[Any, ...]]]
    _lanes: dict[int, tuple[int, str, str, str]]
    _hosts: dict[int, tuple[Any, ...]]
    _code: dict[int, dict[tuple[str, float], str]]

    def show(self, id: int) -> dict[str, Any] | None:
        """One task in full. See `Store.show`."""
        record = self._tasks.get(id)
        if record is None:
            return None
        ended = self._attempts.get(id, {})
        attempts = [
            (*key, self._host(owner), self._code_of(record, owner, columns[1]), *columns, unpack(detail))
            for key in first_and_latest(ended)
            for owner, *columns, detail in [ended[key]]
        ]
        return full_view(self._named(record), attempts)

    def _host(self, owner: int) -> str | None:
        return self._hosts[owner][2] if owner in self._hosts else None

    def _code_of(self, record: Record, owner: int, started_at: float | None) -> str | None:
        """Fingerprint of the code with which a host session ran an attempt of a task."""
        if started_at is None:
            return None
        type = self._lanes[record[LANE]][1]
        served = [
            (known, since, text)  # the nearest one is meant, then the latest: `*` sorts before names
            for (known, since), text in self._code.get(owner, {}).items()
            if since <= started_at and (known == type or (known[-1:] == "*" and type.startswith(known[:-1])))
        ]
        return max(served)[2] if served else None

    def _named(self, record: Record) -> dict[str, Any]:
        task = dict(zip(NAMES, record, strict=True))
        task |= {"options": unpack(record[OPTIONS]), "detail": unpack(record[DETAIL])}
        owner = record[OWNER]
        code = self._code_of(record, owner, task["started_at"])
        _, type, tenant, requires = self._lanes[record[LANE]]
        return task | {"type": type, "tenant": tenant, "requires": requires, "host": self._host(owner), "code": code}
