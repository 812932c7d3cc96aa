"""A pool with `durability: relaxed` that ended without a last word, as its next supervisor goes on from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from workerhost import Client
from workerhost.actors.core.effects import Persist
from workerhost.actors.stores.restore import NUMBERS_AHEAD
from workerhost.actors.stores.sqlite import SqliteStore
from workerhost.actors.supervisor import Supervisor, SupervisorSettings
from workerhost.transport import clock


class Mortal(SqliteStore):
    """A store whose process can be killed."""

    def die(self) -> None:
        self._abandon()


@pytest.mark.parametrize(("runs", "skipped"), [(0, 0), (1, NUMBERS_AHEAD)], ids=["killed", "power cut"])
def test_numbers_are_skipped_after_a_power_cut_and_not_after_a_kill(tmp_path: Path, runs: int, skipped: int) -> None:
    store = Mortal(tmp_path / "tasks.db", durability="relaxed")
    store.open(clock.boot() - runs)
    store.begin()
    store.apply(Persist(meta={"last_id": 41}))
    store.commit()
    store.die()
    settings = SupervisorSettings(address="tcp://127.0.0.1:0", database=tmp_path / "tasks.db", durability="relaxed")
    supervisor = Supervisor.start(settings)
    try:
        with Client(supervisor.address, timeout=20.0) as client:
            assert client.send("video.clip").id == 42 + skipped
    finally:
        supervisor.stop()
