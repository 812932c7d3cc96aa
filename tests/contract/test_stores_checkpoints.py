"""Every store keeps the latest checkpoint of a task under a lease, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from store_rows import claim, ended, returned, row, write

from workerhost.actors.core.effects import Persist
from workerhost.actors.stores.contract import Store, StoreDisagrees


def test_the_latest_checkpoint_outlives_the_attempt_and_the_process(store: Store, reopen: Callable[[], Store]) -> None:
    write(store, tasks=[row(1), row(2), row(3)])
    write(store, claims=[claim(1, 11), claim(2, 12)])
    write(store, checkpoints=[(b"one", 1, 11), (b"other", 2, 12), (b"two", 1, 11)])
    assert store.checkpoints([1, 2, 3, 99]) == {1: b"two", 2: b"other"}

    write(store, checkpoints=[(b"last", 1, 11)], returns=[returned(1, 11)], claims=[claim(1, 13, attempt=2)])
    assert store.checkpoints([1]) == {1: b"last"}

    again = reopen()
    assert again.open().checkpoints == [1, 2]
    assert again.checkpoints([2, 1]) == {1: b"last", 2: b"other"}


def test_a_checkpoint_goes_with_the_end_of_its_task(store: Store, reopen: Callable[[], Store]) -> None:
    write(store, tasks=[row(1)])
    write(store, claims=[claim(1, 11)])
    write(store, checkpoints=[(b"one", 1, 11)], finishes=[ended(1, 11, 1)], cleared=[1])

    assert store.checkpoints([1]) == {}
    assert reopen().open().checkpoints == []


@pytest.mark.parametrize("fence", [10, 12])
def test_a_checkpoint_with_another_fence_is_refused(store: Store, fence: int) -> None:
    write(store, tasks=[row(1), row(2)])
    write(store, claims=[claim(1, 11)])

    store.begin()
    with pytest.raises(StoreDisagrees):
        store.apply(Persist(checkpoints=[(b"stale", 1, fence)]))
    store.rollback()
    assert store.checkpoints([1]) == {}


def test_a_task_that_does_not_run_takes_no_checkpoint(store: Store) -> None:
    write(store, tasks=[row(1)])

    store.begin()
    with pytest.raises(StoreDisagrees):
        store.apply(Persist(checkpoints=[(b"early", 1, 0)]))
    store.rollback()


def test_a_turn_that_is_undone_leaves_the_checkpoint_before(store: Store) -> None:
    write(store, tasks=[row(1)])
    write(store, claims=[claim(1, 11)])
    write(store, checkpoints=[(b"kept", 1, 11)])

    store.begin()
    store.apply(Persist(checkpoints=[(b"undone", 1, 11)]))
    store.rollback()
    store.begin()
    store.apply(Persist(finishes=[ended(1, 11, 1)], cleared=[1]))
    store.rollback()

    assert store.checkpoints([1]) == {1: b"kept"}
