"""What a restore must not change about tasks that come after others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from unit.conftest import PoolAtHand  # pyright: ignore[reportMissingImports]
from unit.pool_words import CLIENT, HOST, failed, granted  # pyright: ignore[reportMissingImports]

from workerhost.actors.stores.restore import prepare_restored
from workerhost.actors.stores.sqlite import SqliteStore
from workerhost.transport.messages import Admin, Results


@pytest.mark.parametrize("restored", [False, True])
def test_what_was_retried_by_hand_waits_for_the_next_run_of_what_it_comes_after(tmp_path: Path, restored: bool) -> None:
    path = tmp_path / "tasks.db"
    store: Any = SqliteStore(path)
    pool: Any = PoolAtHand(store=store)
    pool.client()
    pool.send("a", max_attempts=1)
    pool.send("b", after=[1])
    ((id, fence, _),) = granted(pool.host(HOST, "a"))
    pool.say(HOST, Results([failed(id, fence)]))
    pool.say(CLIENT, Admin(1, "retry", {"ids": [2]}))
    assert (pool.state(1), pool.state(2)) == ("failed", "waiting")
    store.close()

    if restored:
        prepare_restored(path)
    pool.store = SqliteStore(path)
    pool.start()
    try:
        pool.client()
        pool.wait(2.0)
        assert (pool.state(1), pool.state(2)) == ("failed", "waiting")
    finally:
        pool.store.close()
