"""Stores under test: every test of the contract runs on each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workerhost.actors.stores.contract import Store
from workerhost.actors.stores.memory import MemoryStore
from workerhost.actors.stores.sqlite import SqliteStore

sys.path.append(str(Path(__file__).parent))  # tests are no package: this is how they share `store_rows`
from store_rows import HOSTS, LANES, SESSIONS, write


@pytest.fixture(params=["sqlite", "memory"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Gives the store as after a restart of its supervisor (not yet open)."""
    memory = MemoryStore()
    made: list[Store] = []

    def again() -> Store:
        for store in made:
            store.close()
        made.append(SqliteStore(tmp_path / "tasks.db") if request.param == "sqlite" else memory)
        return made[-1]

    yield again
    for store in made:
        store.close()


@pytest.fixture
def store(reopen: Callable[[], Store]) -> Store:
    """An open store with lanes, hosts and sessions."""
    store = reopen()
    store.open()
    write(store, lanes=LANES, hosts=HOSTS, sessions=SESSIONS)
    return store
