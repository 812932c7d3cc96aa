"""Numbers that a power cut or a restore skipped are no ends: the latest so many that are kept are counted without."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from workerhost.actors.core.effects import EndedAfter, Persist
from workerhost.actors.core.opening import Opening
from workerhost.actors.core.pool import Pool
from workerhost.actors.core.rows import COMPLETED, QUEUED
from workerhost.actors.core.settings import Keep, PoolSettings
from workerhost.actors.stores.restore import restore
from workerhost.actors.stores.sqlite import SqliteStore
from workerhost.actors.turn import perform

KEPT = 20
NOW = 1e9


class Mortal(SqliteStore):
    """A store whose process can be killed."""

    def die(self) -> None:
        self._abandon()


class Life:
    """A pool's database, over one run of the machine after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.boot = self.ends = 0

    def run(self, count: int) -> None:
        """So many tasks end, and then the machine does, as if all had been written just in time."""
        store, opening = self.open()
        first = self.ends + 1
        self.ends += count
        finish = opening.meta["last_finish"] - self.ends + count
        ids = range(first, first + count)
        store.begin()
        store.apply(
            Persist(
                lanes=[] if opening.lanes else [(1, "video.clip", "", "")],
                tasks=[(id, 1, 5, id, QUEUED, 1, 0, 0, 0, 0, 0, 0, NOW, None, False, 0, None, None, b"") for id in ids],
                claims=[(id, 1, 1, NOW, id) for id in ids],
                finishes=[(COMPLETED, finish + id, NOW, NOW, 1, b"", None, 0, 0, id, id) for id in ids],
                tallies=[(1, COMPLETED, self.ends)],
                meta={"last_id": self.ends, "last_finish": opening.meta["last_finish"] + count},
            )
        )
        store.commit()
        store.die()

    def kept(self) -> list[int]:
        """The tasks that are left by a pool which keeps the latest so many ends, in the order of their ends."""
        store, opening = self.open()
        keep = Keep(completed=86400.0, failed=86400.0, count=KEPT)
        pool = Pool(PoolSettings(keep=keep), opening, 0.0, NOW, self.boot)
        perform(pool, store, pool.start(0.0, NOW), 0.0, NOW)
        perform(pool, store, pool.handle([], 2.0, NOW + 2), 2.0, NOW + 2)
        left = [id for _, _, id, *_ in store.read(EndedAfter(0, 0, 1000))]
        store.die()
        return left

    def open(self) -> tuple[Mortal, Opening]:
        self.boot += 1
        store = Mortal(self.path, durability="relaxed")
        return store, store.open(self.boot)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path / "tasks.db")


@pytest.mark.parametrize(
    "runs", [[5], [5, 5, 5], [30], [30, 0, 5], [30, 15, 10], [5, 40, 25], [20, 20], [30, 19, 1]], ids=str
)
def test_the_latest_ends_are_kept_over_power_cuts(life: Life, runs: list[int]) -> None:
    for count in runs:
        life.run(count)

    total = sum(runs)
    assert life.kept() == list(range(max(total - KEPT, 0) + 1, total + 1))


@pytest.mark.parametrize("readable", [True, False])
def test_the_latest_ends_of_a_backup_are_kept_by_a_restore(life: Life, tmp_path: Path, readable: bool) -> None:
    life.run(15)
    life.run(15)
    life.open()[0].close()
    backup = tmp_path / "backup.db"
    shutil.copyfile(life.path, backup)
    life.run(200)
    if not readable:
        life.path.write_bytes(b"\xa5" * 10_000)
    restore(backup, life.path)

    assert life.kept() == list(range(11, 31))
