"""Every store gives a waiting task another lane, priority or options, and touches no task that runs or has ended."""

from __future__ import annotations

import pytest
from store_rows import claim, ended, fetch, ids, row, write

from workerhost.actors.core.effects import Agenda, Consult, Persist, Refill
from workerhost.actors.core.rows import FAILED, SCHEDULED
from workerhost.actors.stores.contract import Store, StoreDisagrees


def test_an_edited_task_stands_in_its_new_place(store: Store) -> None:
    due = row(4, state=SCHEDULED, due=500.0)
    write(store, tasks=[row(1), row(2), row(3), due])
    write(store, edits=[(1, 9, 3, 0), (2, 5, 1, 0), (2, 7, 4, 0)])

    assert ids(store.read(Refill(1, None, 10))) == [3, 2]
    assert ids(store.read(Refill(2, None, 10))) == [1]
    assert ids(store.read(Agenda(relative=False, after=None, count=10))) == [4]
    assert [(one.lane, one.priority) for one in fetch(store, 1, 3, 4)] == [(2, 5), (1, 9), (2, 7)]


def test_an_edited_task_may_be_claimed_in_the_same_step(store: Store) -> None:
    write(store, tasks=[row(1)])
    write(store, edits=[(2, 9, 1, 0)], claims=[claim(1, 11)])
    shown = store.show(1)
    assert shown is not None
    assert (shown["state"], shown["type"], shown["priority"]) == ("running", "audio.probe", 9)


@pytest.mark.parametrize("edit", [(1, 9, 1, 0), (1, 9, 1, 11), (1, 9, 2, 5), (1, 9, 99, 0)], ids=str)
def test_an_edit_of_what_runs_or_has_another_fence_is_refused(store: Store, edit: tuple[int, int, int, int]) -> None:
    write(store, tasks=[row(1), row(2)])
    write(store, claims=[claim(1, 11)])
    store.begin()
    with pytest.raises(StoreDisagrees):
        store.apply(Persist(edits=[edit]))
    store.rollback()


def test_a_task_that_is_tried_again_may_have_other_options(store: Store) -> None:
    tags = {"tags": ["nightly"]}
    write(store, tasks=[row(id, options={**tags, "expires": 9.0}) for id in (1, 2, 3)])
    write(store, finishes=[ended(id, 0, id, state=FAILED, started_at=None, body=b"") for id in (1, 2)])
    write(store, retries=[(91, 1), (92, 2)], options=[(tags, 1, 91), (None, 2, 92)], claims=[claim(1, 93)])
    assert [one.options for one in fetch(store, 1, 2, 3)] == [tags, None, {**tags, "expires": 9.0}]


@pytest.mark.parametrize("options", [(None, 1, 0), (None, 2, 12), (None, 99, 0)], ids=str)
def test_options_of_what_has_ended_or_has_another_fence_are_not_changed(
    store: Store, options: tuple[None, int, int]
) -> None:
    write(store, tasks=[row(1), row(2)])
    write(store, claims=[claim(1, 11), claim(2, 12)])
    write(store, finishes=[ended(2, 12, 1)])
    store.begin()
    with pytest.raises(StoreDisagrees):
        store.apply(Persist(options=[options]))
    store.rollback()


def test_a_task_that_is_run_as_another_type_answers_for_no_others(store: Store) -> None:
    of_a, of_b = ("", "video.thumbnail", b"a" * 8), ("", "video.thumbnail", b"b" * 8)
    write(store, tasks=[row(1), row(2)], cached=[(1, *of_a), (2, *of_b)])
    write(store, edits=[(2, 5, 1, 0)], uncached=[1])

    found = store.read(Consult((), (), "test", cached=(of_a, of_b)))
    assert [asked for asked, *_ in found] == [of_b]
