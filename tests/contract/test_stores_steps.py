"""What a store makes of one step that does several things to the same tasks."""

from __future__ import annotations

import pytest
from store_rows import claim, fetch, ids, returned, row, write

from workerhost.actors.core.effects import Persist, Refill
from workerhost.actors.core.rows import QUEUED, RUNNING, SCHEDULED
from workerhost.actors.stores.contract import Store, StoreDisagrees


def test_one_step_may_give_a_task_back_and_grant_it_anew(store: Store) -> None:
    write(store, tasks=[row(1)], claims=[claim(1, 1)])
    write(store, returns=[returned(1, 1, losses=1)], claims=[claim(1, 2)])

    (found,) = fetch(store, 1)
    assert (found.state, found.fence, found.losses) == (RUNNING, 2, 1)


def test_one_step_may_store_tasks_and_grant_some_of_them_beside_older_ones(store: Store) -> None:
    write(store, tasks=[row(1), row(2)])
    options = {"timeout": 3.0}
    new = [row(3), row(4, options=options, params=b"large" * 5000), row(5), row(6, state=SCHEDULED, due=300.0)]
    write(store, tasks=new, tags=[("red", 4)], claims=[claim(4, 11), claim(1, 12), claim(5, 13, owner=2)])

    found = fetch(store, 1, 3, 4, 5, 6)
    assert [(r.id, r.state, r.fence) for r in found] == [
        (1, RUNNING, 12),
        (3, QUEUED, 0),
        (4, RUNNING, 11),
        (5, RUNNING, 13),
        (6, SCHEDULED, 0),
    ]
    assert [(r.attempt, r.owner, r.started_at, r.options) for r in found[2:4]] == [
        (1, 1, 200.0, options),
        (1, 2, 200.0, None),
    ]
    assert ids(store.read(Refill(1, None, 10))) == [2, 3]
    assert store.params([4]) == {4: b"large" * 5000}


def test_one_step_may_store_a_scheduled_task_find_it_due_and_grant_it(store: Store) -> None:
    new = row(1, state=SCHEDULED, due=100.0)
    write(store, tasks=[new], returns=[returned(1, 0, place=7, attempt=0)], claims=[claim(1, 5)])

    (found,) = fetch(store, 1)
    assert (found.state, found.place, found.fence, found.due) == (RUNNING, 7, 5, None)


@pytest.mark.parametrize("granted", [3, 1], ids=["not stored", "not waiting"])
def test_a_grant_of_what_does_not_wait_is_found_out(store: Store, granted: int) -> None:
    store.begin()
    with pytest.raises(StoreDisagrees):
        store.apply(
            Persist(tasks=[row(1, state=SCHEDULED, due=300.0), row(2)], claims=[claim(2, 1), claim(granted, 2)])
        )
    store.rollback()


def test_an_adopted_task_runs_on_under_its_old_fence(store: Store) -> None:
    write(store, tasks=[row(1)], claims=[claim(1, 1)])
    write(store, returns=[returned(1, 1, losses=1)])
    write(store, adoptions=[(2, 1, 1)])

    (found,) = fetch(store, 1)
    assert (found.state, found.fence, found.owner) == (RUNNING, 1, 2)
    with pytest.raises(StoreDisagrees):
        write(store, adoptions=[(2, 1, 1)])


def test_many_grants_and_new_tasks_of_one_step_are_each_what_they_are(store: Store) -> None:
    count = 130
    write(store, tasks=[row(id, priority=id % 3, params=b"%d" % id) for id in range(1, count)])
    skipped = {20, 21, 60}
    granted = [id for id in range(1, count - 9) if id not in skipped]
    other = {id: (1, 2, 200.0) if id < 90 else (2, 1, 300.0) for id in granted}
    claims = [claim(id, fence, *other[id]) for fence, id in enumerate(granted, 1000)]
    tallies = [(lane, state, lane + state) for lane in range(1, 30) for state in (QUEUED, RUNNING)]
    write(store, claims=[*claims[70:], *claims[:70]], tallies=tallies)

    fences = {id: fence for fence, id in enumerate(granted, 1000)}
    for found in fetch(store, *range(1, count)):
        assert (found.priority, found.params) == (found.id % 3, b"%d" % found.id)
        if found.id not in fences:
            assert (found.state, found.fence, found.owner) == (QUEUED, 0, 0)
            continue
        held = (found.attempt, found.owner, found.started_at)
        assert (found.state, found.fence, held) == (RUNNING, fences[found.id], other[found.id])


@pytest.mark.parametrize("held", [1, 7, 12])
def test_a_stretch_of_grants_with_one_that_runs_already_is_refused(store: Store, held: int) -> None:
    write(store, tasks=[row(id) for id in range(1, 13)])
    write(store, claims=[claim(held, 5)])
    store.begin()
    with pytest.raises(StoreDisagrees):
        store.apply(Persist(claims=[claim(id, 100 + id) for id in range(1, 13)]))
    store.rollback()

    assert [found.id for found in fetch(store, *range(1, 13)) if found.state == RUNNING] == [held]
