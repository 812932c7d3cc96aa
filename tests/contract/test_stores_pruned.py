"""What a store must do to forget: ended tasks with all that is kept of them, sessions with their submissions."""

from __future__ import annotations

import pytest
from store_rows import claim, ended, fetch, returned, row, write

from workerhost.actors.core.effects import DEPENDENTS_READ, EndedAfter, Persist, Resume, SeenAfter, Where
from workerhost.actors.core.rows import CANCELLED, COMPLETED, FAILED
from workerhost.actors.stores.contract import Store, StoreDisagrees


@pytest.fixture
def store_of_four(store: Store) -> Store:
    """Three ended tasks of two sessions (finish 1 and 3; 2) and a queued one, with tags and an earlier attempt."""
    options = {"tags": ["red", "red", "blue"]}
    write(
        store,
        tasks=[row(1, options=options), row(2, session=2, params=b"12345678"), row(3), row(4, options=options)],
        tags=[(tag, id) for tag in ("red", "blue") for id in (1, 4)],
        claims=[claim(1, 11), claim(2, 12), claim(3, 13)],
    )
    failed = ended(1, 11, finish=1, state=FAILED, detail={"message": "no"}, body=b"")
    write(
        store,
        finishes=[failed, ended(2, 12, finish=2, ended_at=310.0), ended(3, 13, finish=3)],
        attempts=[(1, 1, 10, 1, 0, 200.0, 210.0, "host lost", None)],
    )
    return store


def test_ended_tasks_are_read_by_session_and_end(store_of_four: Store) -> None:
    first, third = (1, 1, 1, 1, FAILED, 300.0, 1, 0), (1, 3, 3, 1, COMPLETED, 300.0, 1 + 3, 0)
    second = (2, 2, 2, 1, COMPLETED, 310.0, 8 + 3, 0)

    assert store_of_four.read(EndedAfter(0, 0, 10)) == [first, third, second]
    assert store_of_four.read(EndedAfter(0, 0, 2)) == [first, third]
    assert store_of_four.read(EndedAfter(1, 1, 2)) == [third, second]
    assert store_of_four.read(EndedAfter(1, 2**63 - 1, 2)) == [second]
    assert store_of_four.read(EndedAfter(2, 2, 2)) == []


@pytest.mark.parametrize(("state", "needed"), [(FAILED, 1), (CANCELLED, 1), (COMPLETED, 0)])
def test_what_comes_before_one_that_may_run_once_more_is_needed(store: Store, state: int, needed: int) -> None:
    write(store, tasks=[row(1), row(2, state=0)], edges=[(1, 2, 0)], claims=[claim(1, 11)])
    write(store, finishes=[ended(1, 11, finish=1)])
    [*_, (*_, first)] = store.read(EndedAfter(0, 0, 10))
    write(store, met=[(1, 2)], returns=[(2, 2, None, 0, 0, 0, 0, 0, 0, 0, 2, 0)])
    write(store, claims=[claim(2, 12)])
    write(store, finishes=[ended(2, 12, finish=2, state=state)])

    assert first == 1
    assert [end[2:3] + end[-1:] for end in store.read(EndedAfter(0, 0, 10))] == [(1, needed), (2, 0)]


def test_what_comes_before_many_is_needed_until_some_of_them_are_forgotten(store: Store) -> None:
    many = range(2, DEPENDENTS_READ + 3)
    write(store, tasks=[row(1), *(row(id, state=0) for id in many)], edges=[(1, id, 0) for id in many])
    write(store, claims=[claim(1, 11)])
    write(store, finishes=[ended(1, 11, finish=1)])
    write(
        store,
        met=[(1, id) for id in many],
        returns=[returned(id, 0, attempt=0, owner=0) for id in many],
        claims=[claim(id, 11 + id) for id in many],
    )
    write(store, finishes=[ended(id, 11 + id, finish=id) for id in many])
    assert store.read(EndedAfter(0, 0, 1))[0][-1] == 1, "more come after it than are looked at"
    write(store, prunes=[(2, 2)])
    assert store.read(EndedAfter(0, 0, 1))[0][-1] == 0


def test_a_pruned_task_leaves_nothing_behind(store_of_four: Store) -> None:
    write(store_of_four, prunes=[(1, 1), (2, 2)])

    assert [task.id for task in fetch(store_of_four, 1, 2, 3, 4)] == [3, 4]
    assert store_of_four.show(1) is None
    assert [end[2] for end in store_of_four.read(EndedAfter(0, 0, 10))] == [3]
    for states, tag, there in (((), None, [4, 3]), ((FAILED,), None, []), ((), "red", [4])):
        tasks, following = store_of_four.tasks(Where(states=states, tag=tag), 10)
        assert ([task["id"] for task in tasks], following) == (there, None)
    # A later task may not inherit anything by having the number again (after a restore, say).
    write(store_of_four, tasks=[row(1)])
    again = store_of_four.show(1)
    assert again is not None
    assert again["attempts"] == []


def test_a_prune_can_be_undone(store_of_four: Store) -> None:
    before = (store_of_four.show(1), store_of_four.read(EndedAfter(0, 0, 10)))
    listed = store_of_four.tasks(Where(tag="red"), 10)

    store_of_four.begin()
    store_of_four.apply(_pruned((1, 1), (3, 3)))
    store_of_four.rollback()

    assert (store_of_four.show(1), store_of_four.read(EndedAfter(0, 0, 10))) == before
    assert store_of_four.tasks(Where(tag="red"), 10) == listed


@pytest.mark.parametrize("prune", [(4, 1), (1, 2), (9, 1)], ids=["not ended", "ended anew", "not there"])
def test_only_the_end_that_was_judged_is_pruned(store_of_four: Store, prune: tuple[int, int]) -> None:
    store_of_four.begin()
    with pytest.raises(StoreDisagrees, match="prune"):
        store_of_four.apply(_pruned(prune))
    store_of_four.rollback()


def test_a_task_that_was_never_queued_is_pruned_too(store: Store) -> None:
    write(store, tasks=[row(1)])
    write(store, finishes=[ended(1, 0, finish=1, state=CANCELLED, started_at=None, slot=None, body=b"")])

    write(store, prunes=[(1, 1)])

    assert fetch(store, 1) == []


def test_sessions_are_read_by_number_with_their_last_word_and_forgotten(store: Store) -> None:
    write(store, submissions=[(1, 1, 1, 5, 77, None), (1, 2, 6, 1, 78, None), (2, 1, 7, 1, 79, None)])
    assert store.read(SeenAfter("session", 0, 10)) == [(1, 40.0, False), (2, 41.0, False)]
    assert store.read(SeenAfter("session", 1, 10)) == [(2, 41.0, False)]
    assert store.read(SeenAfter("session", 0, 1)) == [(1, 40.0, False)]

    write(store, forgotten_sessions=[1])

    assert store.read(Resume(b"peer", b"client-1", "one")) == []
    assert store.read(Resume(b"peer", b"client-2", "two")) == [(2, 0, [(1, 7, 1, 79, None)], "K")]
    # Its number belongs to nobody: whoever had it again would inherit nothing.
    write(store, sessions=[(1, b"client-3", "three", 42.0, 0, "")])
    assert store.read(Resume(b"peer", b"client-3", "three")) == [(1, 0, [], "")]


def test_a_known_clients_session_is_needed_while_anything_that_it_sent_is_kept(store: Store) -> None:
    def needed() -> list[bool]:
        return [needed for _, _, needed in store.read(SeenAfter("session", 0, 10))]

    write(store, tasks=[row(1), row(2, session=2)], shares=[(2, "K", 1)])
    assert needed() == [False, True], "of session 1 nobody has proved anything"
    write(store, claims=[claim(1, 9), claim(2, 10)])
    write(store, finishes=[ended(1, 9, finish=1), ended(2, 10, finish=2)], shares=[(2, "", 0)])
    assert needed() == [False, True]
    write(store, prunes=[(2, 2)])
    assert needed() == [False, False]


def test_hosts_are_read_by_number_with_the_time_they_left_and_forgotten(store: Store) -> None:
    assert store.read(SeenAfter("host", 0, 10)) == [(1, None), (2, 60.0)]
    assert store.read(SeenAfter("host", 1, 10)) == [(2, 60.0)]

    store.begin()
    store.apply(_forgotten(1))
    store.rollback()
    write(store, forgotten_hosts=[2])

    assert store.read(SeenAfter("host", 0, 10)) == [(1, None)]


def _pruned(*prunes: tuple[int, int]) -> Persist:
    return Persist(prunes=list(prunes))


def _forgotten(*owners: int) -> Persist:
    return Persist(forgotten_hosts=list(owners), forgotten_sessions=[1])


def test_a_forgotten_lane_may_be_made_anew(store: Store) -> None:
    write(store, lanes=[(7, "b", "tenant", "")], tallies=[(7, 2, 1), (7, 4, 3)])
    write(store, tallies=[(7, 2, 0), (7, 4, 0)])
    store.close()
    assert (7, "b", "tenant", "") in store.open().lanes

    write(store, forgotten_lanes=[7], lanes=[(8, "b", "tenant", "")])

    store.close()
    after = store.open()
    assert [lane for lane in after.lanes if lane[1] == "b"] == [(8, "b", "tenant", "")]
    assert not [tally for tally in after.tallies if tally[0] == 7]


def test_what_a_rate_counted_is_forgotten_and_may_be_counted_anew(store: Store) -> None:
    rows = [("tenant a", 0, 0, 1.0, 2.0, 1e9, 3, 7), ("tenant a", 1, 1, 3.0, 3.0, 1e9, 1, 7)]
    other, new = ("tenant b", 0, 0, 1.0, 2.0, 1e9, 3, 7), ("tenant a", 0, 0, 9.0, 9.0, 1e9, 1, 7)
    write(store, rates=[*rows, other])

    store.begin()
    store.apply(Persist(forgotten_rates=["tenant a", "tenant c"], rates=[new]))
    store.rollback()
    store.close()
    assert store.open().rates == [(type, *row) for type, _, *row in (*rows, other)]

    write(store, forgotten_rates=["tenant a", "tenant c"], rates=[new])
    store.close()
    assert store.open().rates == [(type, *row) for type, _, *row in (new, other)]
