"""Rows for the tests of stores, in the orders of `COLUMNS` and of the lists of `Persist`."""

from __future__ import annotations

from typing import Any

from workerhost.actors.core.effects import Fetch, Persist
from workerhost.actors.core.rows import COLUMNS, COMPLETED, QUEUED, Row
from workerhost.actors.stores.contract import Store

LANES = [(1, "video.thumbnail", "", ""), (2, "audio.probe", "", "")]
HOSTS = [
    (1, b"token-1", "alpha", "machine-a", 50.0, None, "joined", ""),
    (2, b"token-2", "beta", "machine-b", 51.0, 60.0, "lost", "H"),
]
SESSIONS = [(1, b"client-1", "one", 40.0, 0, ""), (2, b"client-2", "two", 41.0, 0, "K")]


def row(id: int, **changes: Any) -> tuple[Any, ...]:
    """A new queued task of lane 1 and session 1, in the order of COLUMNS."""
    values: dict[str, Any] = dict.fromkeys(COLUMNS, 0) | {
        "id": id, "lane": 1, "priority": 5, "place": id, "state": QUEUED, "session": 1, "sent_at": 100.0 + id,
        "due": None, "relative": False, "started_at": None, "options": None, "params": b"\x80",
    }  # fmt: skip
    return tuple((values | changes).values())


def claim(id: int, fence: int, attempt: int = 1, owner: int = 1, at: float = 200.0) -> tuple[int, int, int, float, int]:
    return (fence, attempt, owner, at, id)


def ended(id: int, fence: int, finish: int, state: int = COMPLETED, **changes: Any) -> tuple[Any, ...]:
    """An end of a task that ran, in the order of Persist.finishes."""
    values: dict[str, Any] = {
        "state": state, "finish": finish, "ended_at": 300.0, "started_at": 200.0, "slot": 3, "body": b"\xa2ok",
        "detail": None, "failures": 0, "crashes": 0, "id": id, "fence": fence,
    }  # fmt: skip
    return tuple((values | changes).values())


def returned(id: int, fence: int, **changes: Any) -> tuple[Any, ...]:
    """Back to the queue, in the order of Persist.returns."""
    values: dict[str, Any] = {
        "state": QUEUED, "place": id, "due": None, "relative": False, "attempt": 1, "failures": 0,
        "crashes": 0, "losses": 0, "releases": 0, "owner": 1, "id": id, "fence": fence,
    }  # fmt: skip
    return tuple((values | changes).values())


def write(store: Store, **lists: Any) -> None:
    """One turn with one step."""
    store.begin()
    store.apply(Persist(**lists))
    store.commit()


def fetch(store: Store, *ids: int) -> list[Row]:
    return [Row(*columns) for columns in store.read(Fetch(ids, "test"))]


def ids(rows: list[tuple[Any, ...]]) -> list[int]:
    return [columns[0] for columns in rows]
