"""A store whose last commits a power cut may have undone goes on beyond all that others can have been told of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from workerhost.actors.core.effects import Persist
from workerhost.actors.stores.restore import EPOCHS_AHEAD, EPOCHS_BEYOND, NUMBERS_AHEAD, restore
from workerhost.actors.stores.sqlite import SqliteStore
from workerhost.transport import clock
from workerhost.transport.conversation import RESTORED_EPOCHS

BOOT, NEXT_BOOT = 7, 8
REACHED = (500, 400)
"""Ids and ends that a run has given."""


class Mortal(SqliteStore):
    """A store whose process can be killed."""

    def die(self) -> None:
        self._abandon()


Run = Callable[..., tuple[int, int, int]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Opens the store, gives numbers as a supervisor does, and dies or leaves; what it had gone on from."""

    def one(durability: str, boot: int, *, leaves: bool = False) -> tuple[int, int, int]:
        store = Mortal(tmp_path / "tasks.db", durability=durability)
        opening = store.open(boot)
        store.begin()
        reached = dict(zip(("last_id", "last_finish"), REACHED, strict=True))
        numbers = {name: max(opening.meta[name], number) for name, number in reached.items()}
        store.apply(Persist(meta=numbers))
        store.commit()
        (store.close if leaves else store.die)()
        return opening.epoch, opening.meta["last_id"], opening.meta["last_finish"]

    return one


def test_a_leap_of_the_epoch_is_one_that_clients_heed() -> None:
    assert EPOCHS_BEYOND >= RESTORED_EPOCHS


@pytest.mark.parametrize("now", ["full", "relaxed"])
@pytest.mark.parametrize("boot", [NEXT_BOOT, 0], ids=["another", "unknown"])
def test_after_a_power_cut_the_numbers_go_on_beyond_those_that_were_lost(run: Run, boot: int, now: str) -> None:
    """Whatever the durability is from now on: what was lost was written before."""
    run("relaxed", BOOT)

    assert run(now, boot) == (2 + EPOCHS_BEYOND, 500 + NUMBERS_AHEAD, 400 + NUMBERS_AHEAD)


def test_that_happens_once(run: Run) -> None:
    run("relaxed", BOOT)
    epoch, id, finish = run("relaxed", NEXT_BOOT)

    assert run("relaxed", NEXT_BOOT) == (epoch + 1, id, finish)
    assert run("full", NEXT_BOOT, leaves=True) == (epoch + 2, id, finish)


def test_that_happens_once_also_where_nothing_more_could_be_written(tmp_path: Path, run: Run) -> None:
    """As on a disk that is full: a supervisor opens again and again until there is room."""
    run("relaxed", BOOT)
    epochs: list[int] = []
    for _ in range(3):
        store = Mortal(tmp_path / "tasks.db", durability="relaxed")
        epochs.append(store.open(NEXT_BOOT).epoch)
        store.die()

    assert epochs == [2 + EPOCHS_BEYOND, 3 + EPOCHS_BEYOND, 4 + EPOCHS_BEYOND]


@pytest.mark.parametrize("content", [None, "no number\n", "00000000-0000-0000-0000-000000000000\n"])
def test_a_process_that_opens_again_leaps_on_no_system(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    """Also where runs of the machine have no numbers: some systems, and some containers."""
    numbered = tmp_path / "boot_id"
    if content is not None:
        numbered.write_text(content)
    monkeypatch.setattr(clock, "_BOOT_ID", numbered)

    assert [run("relaxed", clock.boot())[0] for _ in range(3)] == [1, 2, 3]


def test_what_a_pool_says_of_its_own_clocks_is_not_when_commits_were_made(tmp_path: Path, run: Run) -> None:
    """A relative due time is stored by an anchor, with the run of the machine that it is of: both or neither change."""
    store = Mortal(tmp_path / "tasks.db", durability="relaxed")
    store.open(BOOT)
    store.begin()
    store.apply(Persist(meta={"boot": BOOT, "anchor_ms": 5}))
    store.commit()
    store.die()
    run("relaxed", NEXT_BOOT)

    meta = store.open(NEXT_BOOT).meta
    store.close()
    assert (meta["boot"], meta["anchor_ms"]) == (BOOT, 5)


def test_a_process_that_is_killed_loses_nothing_and_skips_no_number(run: Run) -> None:
    run("relaxed", BOOT)

    assert run("relaxed", BOOT) == (2, *REACHED)


@pytest.mark.parametrize(("durability", "leaves"), [("full", False), ("full", True), ("relaxed", True)])
def test_what_is_on_the_disk_is_not_lost_with_the_machine(run: Run, durability: str, leaves: bool) -> None:
    run(durability, BOOT, leaves=leaves)

    assert run("relaxed", NEXT_BOOT) == (2, *REACHED)


@pytest.mark.parametrize(("durability", "skipped"), [("full", 0), ("relaxed", NUMBERS_AHEAD)])
def test_so_does_a_backup_that_is_put_in_its_place(tmp_path: Path, run: Run, durability: str, skipped: int) -> None:
    run(durability, BOOT, leaves=True)
    backup = tmp_path / "backup.db"
    shutil.copyfile(tmp_path / "tasks.db", backup)
    run(durability, BOOT)
    restore(backup, tmp_path / "tasks.db")

    _, id, finish = run("full", NEXT_BOOT)
    assert (id, finish) == (500 + skipped, 400 + skipped)


@pytest.mark.parametrize("cuts", [1, 2, 4])
def test_clients_heed_a_restore_however_often_the_epoch_leapt_since_the_backup(
    tmp_path: Path, run: Run, cuts: int
) -> None:
    run("relaxed", BOOT, leaves=True)
    backup = tmp_path / "backup.db"
    shutil.copyfile(tmp_path / "tasks.db", backup)
    epochs = [run("relaxed", boot)[0] for boot in range(NEXT_BOOT, NEXT_BOOT + 1 + cuts)]
    for _ in range(2):  # the second time what is replaced is what the same backup became
        restore(backup, tmp_path / "tasks.db")
        epochs.append(run("relaxed", NEXT_BOOT + cuts, leaves=True)[0])

    assert [after - before >= RESTORED_EPOCHS for before, after in pairwise(epochs)] == [True] * (cuts + 2)


def test_a_database_that_cannot_be_read_has_leapt_some_times_since_the_backup() -> None:
    assert EPOCHS_AHEAD >= 6 * (EPOCHS_BEYOND + 1) + RESTORED_EPOCHS
