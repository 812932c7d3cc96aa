"""The contract of a store, run on every store there is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from workerhost.actors.core.effects import Agenda, Ends, Fetch, Persist, Refill, Replay, Resume
from workerhost.actors.core.rows import CANCELLED, COLUMNS, COMPLETED, FAILED, QUEUED, RUNNING, SCHEDULED, Row
from workerhost.actors.stores.contract import Store, StoreDisagrees
from workerhost.actors.stores.memory import MemoryStore
from workerhost.actors.stores.sqlite import SqliteStore

LANES = [(1, "video.thumbnail", "", ""), (2, "audio.probe", "", "")]
HOSTS = [
    (1, b"token-1", "alpha", "machine-a", 50.0, None, "joined"),
    (2, b"token-2", "beta", "machine-b", 51.0, 60.0, "lost"),
]
SESSIONS = [(1, b"client-1", "one", 40.0), (2, b"client-2", "two", 41.0)]


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
        "state": QUEUED, "place": id, "due": None, "relative": False, "attempt": 1, "failures": 0, "crashes": 0, "losses": 0,
        "releases": 0, "id": id, "fence": fence,
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


# --- opening


def test_a_new_store_is_empty(reopen: Callable[[], Store]) -> None:
    opening = reopen().open()

    assert opening.epoch == 1
    assert opening.meta == {"last_id": 0, "last_finish": 0, "last_owner": 0, "last_session": 0}
    assert (opening.lanes, opening.tallies, opening.running, opening.hosts, opening.pauses) == ([], [], [], [], [])


def test_the_epoch_grows_with_every_opening(reopen: Callable[[], Store]) -> None:
    assert [reopen().open().epoch for _ in range(3)] == [1, 2, 3]


def test_an_opening_brings_back_what_a_supervisor_goes_on_from(store: Store, reopen: Callable[[], Store]) -> None:
    write(
        store,
        tasks=[row(1), row(2), row(3, params=b"x" * 20_000)],
        tallies=[(1, QUEUED, 2), (1, RUNNING, 1), (2, QUEUED, 7)],
        pauses=[("video", True), ("audio", True), ("audio.probe", True)],
        meta={"last_id": 3, "last_finish": 9},
    )
    write(store, claims=[claim(3, 11, owner=2), claim(1, 12)], tallies=[(2, QUEUED, 0)], pauses=[("audio", False)])

    opening = reopen().open()

    assert opening.meta == {"last_id": 3, "last_finish": 9, "last_owner": 2, "last_session": 2}
    assert opening.lanes == LANES
    assert opening.hosts == HOSTS
    assert opening.tallies == [(1, QUEUED, 2), (1, RUNNING, 1)]
    assert opening.pauses == ["audio.probe", "video"]
    assert opening.running == [
        row(1, state=RUNNING, fence=12, attempt=1, owner=1, started_at=200.0),
        row(3, state=RUNNING, fence=11, attempt=1, owner=2, started_at=200.0, params=None),
    ]


def test_a_host_that_comes_back_is_replaced_in_the_table(store: Store, reopen: Callable[[], Store]) -> None:
    left = (1, b"token-1", "alpha", "machine-a", 50.0, 99.0, "left")
    write(store, hosts=[left])

    assert reopen().open().hosts == [left, HOSTS[1]]


# --- turns


def test_a_turn_reads_its_own_writes_and_a_rollback_undoes_all_of_them(
    store: Store, reopen: Callable[[], Store]
) -> None:
    write(
        store,
        tasks=[row(1), row(2), row(3, state=SCHEDULED, due=500.0, relative=True), row(4), row(5)],
        tags=[("red", 1)],
        submissions=[(1, 1, 1, 5, 77)],
        tallies=[(1, QUEUED, 4)],
        pauses=[("audio", True)],
        meta={"last_id": 5},
    )
    write(store, claims=[claim(2, 7), claim(4, 8)])
    write(store, finishes=[ended(4, 8, finish=1, state=FAILED, detail={"message": "no"})])
    before = everything(store)

    store.begin()
    store.apply(
        Persist(
            lanes=[(3, "image", "", "")],
            sessions=[(3, b"client-3", "three", 42.0)],
            hosts=[(3, b"token-3", "gamma", "machine-c", 52.0, None, "joined")],
            tasks=[row(6, lane=3)],
            tags=[("red", 6)],
            claims=[claim(1, 9)],
            returns=[returned(2, 7, losses=1)],
            finishes=[ended(5, 0, finish=2, state=CANCELLED, started_at=None, slot=None, body=b"")],
            retries=[(4,)],
            attempts=[(2, 1, 7, 1, 0, 200.0, 210.0, "lost", None)],
            submissions=[(1, 2, 6, 1, 78)],
            forgotten=[(1, 2)],
            shifts=[10.0],
            tallies=[(1, QUEUED, 5), (3, QUEUED, 1)],
            pauses=[("audio", False), ("video", True)],
            meta={"last_id": 6, "last_finish": 2},
        )
    )
    within = everything(store)
    assert [r.state for r in within["rows"]] == [RUNNING, QUEUED, SCHEDULED, QUEUED, CANCELLED, QUEUED]
    assert within["agenda"][0][COLUMNS.index("due")] == 510.0
    assert within["submissions"] == [(1, [(2, 6, 1, 78)])]
    assert all(within[part] != before[part] for part in before), "every part of the dump must be able to tell"
    store.rollback()

    assert everything(store) == before
    opening = reopen().open()
    assert (opening.lanes, opening.hosts, opening.pauses) == (LANES, HOSTS, ["audio"])
    assert opening.tallies == [(1, QUEUED, 4)]
    assert opening.meta == {"last_id": 5, "last_finish": 0, "last_owner": 2, "last_session": 2}


def everything(store: Store) -> dict[str, Any]:
    """What can be read of the tasks."""
    return {
        "rows": fetch(store, *range(1, 10)),
        "queue": store.read(Refill(1, None, 100)),
        "agenda": store.read(Agenda(True, None, 100)),
        "ends": store.read(Replay(1, 0, 100)),
        "submissions": store.read(Resume(b"peer", b"client-1")),
        "shown": [store.show(id) for id in range(1, 10)],
        "red": store.tasks(state=None, type=None, tag="red", limit=10, before=None),
        "newest": store.tasks(state=None, type=None, tag=None, limit=10, before=None),
    }


def test_a_rollback_outside_a_turn_is_no_error(store: Store) -> None:
    write(store, tasks=[row(1)])
    store.rollback()

    assert len(fetch(store, 1)) == 1


def test_closing_undoes_an_open_turn(store: Store, reopen: Callable[[], Store]) -> None:
    store.begin()
    store.apply(Persist(tasks=[row(1)]))

    again = reopen()
    again.open()
    assert fetch(again, 1) == []


def test_one_step_may_insert_and_claim_the_same_task(store: Store) -> None:
    write(store, tasks=[row(1), row(2)], claims=[claim(1, 1), claim(2, 2)])

    assert [r.state for r in fetch(store, 1, 2)] == [RUNNING, RUNNING]
    assert ids(store.read(Refill(1, None, 9))) == []


# --- rows


def test_a_row_comes_back_as_it_went_in(store: Store) -> None:
    rows = [
        row(1),
        row(2, lane=2, priority=-3, place=77, session=2, params=b"\x00\xff" * 9),
        row(3, state=SCHEDULED, due=123.5, relative=True),
        row(4, options={"timeout": 1.5, "tags": ["a", "b"], "max_attempts": 3, "require_host": True}),
        row(5, state=RUNNING, fence=2**50 + 3, attempt=4, failures=1, crashes=1, losses=1, releases=1, owner=2,
            started_at=150.25),
    ]  # fmt: skip
    write(store, tasks=rows[:1])
    write(store, tasks=rows[1:])

    assert store.read(Fetch((5, 4, 99, 3, 2, 1), "test")) == rows[::-1]


def test_large_params_are_left_out_of_rows_and_read_by_themselves(store: Store) -> None:
    edge, large = b"x" * 16_384, b"x" * 16_385
    write(store, tasks=[row(1, params=edge), row(2, params=large)])

    assert [r.params for r in fetch(store, 1, 2)] == [edge, None]
    assert [columns[-1] for columns in store.read(Refill(1, None, 5))] == [edge, None]
    assert store.params([2, 1, 3]) == {1: edge, 2: large}


def test_an_id_is_given_once(store: Store) -> None:
    write(store, tasks=[row(1)])

    store.begin()
    with pytest.raises(StoreDisagrees):
        store.apply(Persist(tasks=[row(2), row(1)]))
    store.rollback()
    assert fetch(store, 2) == []


# --- the queue


def test_a_lane_is_read_by_priority_then_place(store: Store) -> None:
    write(
        store,
        tasks=[
            row(1, priority=5), row(2, priority=9), row(3, priority=5, place=50), row(4, priority=5),
            row(5, priority=1), row(6, priority=9), row(7, lane=2), row(8, state=SCHEDULED, due=1.0),
        ],
    )  # fmt: skip

    assert ids(store.read(Refill(1, None, 100))) == [2, 6, 1, 4, 3, 5]
    assert ids(store.read(Refill(1, None, 2))) == [2, 6]
    assert ids(store.read(Refill(1, (9, 2), 3))) == [6, 1, 4]
    assert ids(store.read(Refill(1, (5, 4), 100))) == [3, 5]
    assert ids(store.read(Refill(1, (7, 99), 1))) == [1]
    assert ids(store.read(Refill(1, (1, 5), 1))) == []
    assert ids(store.read(Refill(9, None, 1))) == []


def test_what_left_the_queue_is_not_read_and_what_came_back_stands_in_its_old_place(store: Store) -> None:
    write(store, tasks=[row(id) for id in range(1, 7)])
    write(store, claims=[claim(1, 1), claim(2, 2), claim(3, 3)])
    assert ids(store.read(Refill(1, None, 100))) == [4, 5, 6]

    write(store, finishes=[ended(1, 1, finish=1)], returns=[returned(2, 2, losses=1)])
    assert ids(store.read(Refill(1, None, 100))) == [2, 4, 5, 6]

    write(store, finishes=[ended(4, 0, finish=2, state=CANCELLED, started_at=None, slot=None, body=b"")])
    assert ids(store.read(Refill(1, None, 100))) == [2, 5, 6]


def test_the_agenda_is_read_by_due_time_for_each_kind(store: Store) -> None:
    def scheduled(id: int, due: float, relative: bool) -> tuple[Any, ...]:
        return row(id, state=SCHEDULED, due=due, relative=relative)

    write(
        store,
        tasks=[scheduled(1, 30.0, True), scheduled(2, 10.0, True), scheduled(3, 10.0, True), scheduled(4, 5.0, False)],
    )

    assert ids(store.read(Agenda(True, None, 100))) == [2, 3, 1]
    assert ids(store.read(Agenda(True, (10.0, 2), 1))) == [3]
    assert ids(store.read(Agenda(False, None, 100))) == [4]


def test_a_jump_of_the_clock_moves_only_what_was_given_as_a_delay(store: Store) -> None:
    write(
        store,
        tasks=[
            row(1, state=SCHEDULED, due=10.0, relative=True),
            row(2, state=SCHEDULED, due=10.0),
            row(3, due=10.0, relative=True),
        ],
    )
    write(store, shifts=[5.0, -2.0])

    assert [r.due for r in fetch(store, 1, 2, 3)] == [13.0, 10.0, 10.0]
    assert ids(store.read(Agenda(True, (12.0, 0), 9))) == [1]


def test_a_task_that_falls_due_takes_a_new_place(store: Store) -> None:
    write(store, tasks=[row(1, state=SCHEDULED, due=10.0), row(2)])
    write(store, returns=[returned(1, 0, place=40)])

    assert ids(store.read(Refill(1, None, 9))) == [2, 1]
    assert ids(store.read(Agenda(False, None, 9))) == []


# --- leases


def test_a_claim_sets_the_lease_and_nothing_else(store: Store) -> None:
    write(store, tasks=[row(1, options={"timeout": 9.0}), row(2)])
    write(store, claims=[claim(1, fence=2**40, attempt=1, owner=2, at=201.5)])

    assert store.read(Fetch((1, 2), "test")) == [
        row(1, options={"timeout": 9.0}, state=RUNNING, fence=2**40, attempt=1, owner=2, started_at=201.5),
        row(2),
    ]


def test_a_running_task_can_only_be_claimed_again_with_its_own_fence(store: Store) -> None:
    write(store, tasks=[row(1)])
    write(store, claims=[claim(1, 7, owner=1)])
    write(store, claims=[claim(1, 7, owner=2)])  # its host came back as a new session
    assert fetch(store, 1)[0].owner == 2

    refused(store, claims=[claim(1, 8)])


def refused(store: Store, **lists: Any) -> None:
    """The step is refused, and after the rollback nothing has changed."""
    before = everything(store)
    store.begin()
    with pytest.raises(StoreDisagrees):
        store.apply(Persist(**lists))
    store.rollback()
    assert everything(store) == before


@pytest.mark.parametrize(
    "lists",
    [
        {"claims": [claim(1, 9), claim(2, 9)]},
        {"claims": [claim(1, 9), claim(3, 9)]},
        {"claims": [claim(1, 9), claim(99, 9)]},
        {"returns": [returned(2, 6)]},
        {"returns": [returned(3, 8)]},
        {"finishes": [ended(2, 6, finish=5)]},
        {"finishes": [ended(2, 6, finish=5, detail={"cause": "timeout"})]},
        {"finishes": [ended(3, 8, finish=5)]},
        {"finishes": [ended(2, 7, finish=5), ended(2, 7, finish=6)]},
        {"finishes": [ended(99, 7, finish=5)]},
        {"retries": [(1,)]},
        {"retries": [(3,), (2,)]},
    ],
    ids=str,
)
def test_a_write_that_meets_another_fence_or_state_is_refused(store: Store, lists: dict[str, Any]) -> None:
    write(store, tasks=[row(1), row(2), row(3)])
    write(store, claims=[claim(2, 7), claim(3, 8)])
    write(store, finishes=[ended(3, 8, finish=1, state=FAILED)])

    refused(store, **lists)


def test_a_rescued_task_takes_the_late_result_of_its_first_host(store: Store) -> None:
    write(store, tasks=[row(1)])
    write(store, claims=[claim(1, 7)])
    write(store, returns=[returned(1, 7, losses=1)], attempts=[(1, 1, 7, 1, None, 200.0, 205.0, "lost", None)])
    assert fetch(store, 1)[0].started_at == 200.0

    write(store, finishes=[ended(1, 7, finish=1)])

    shown = store.show(1) or {}
    assert shown["state"] == "completed"
    assert [(a["attempt"], a["outcome"]) for a in shown["attempts"]] == [(1, "completed")]


def test_a_return_sets_the_counters_it_is_given(store: Store) -> None:
    write(store, tasks=[row(1)])
    write(store, claims=[claim(1, 7)])
    write(
        store,
        returns=[
            returned(
                1, 7, state=SCHEDULED, due=99.0, relative=True, place=8, failures=1, crashes=2, losses=3, releases=4
            )
        ],
    )

    assert store.read(Fetch((1,), "test")) == [
        row(1, state=SCHEDULED, due=99.0, relative=True, place=8, failures=1, crashes=2, losses=3, releases=4,
            fence=7, attempt=1, owner=1, started_at=200.0),
    ]  # fmt: skip


# --- ends


def test_ends_are_replayed_in_order_for_their_session(store: Store) -> None:
    write(store, tasks=[*(row(id) for id in range(1, 6)), row(6, session=2)])
    write(store, claims=[claim(id, id, owner=2 if id == 4 else 1) for id in range(1, 7)])
    failed = {"error_type": "ValueError", "message": "no", "memory": 5}
    write(
        store,
        finishes=[
            ended(3, 3, finish=1, body=b"\x01"),
            ended(6, 6, finish=2),
            ended(4, 4, finish=3, state=FAILED, body=b"", detail=failed, failures=1),
        ],
    )
    write(store, finishes=[ended(1, 1, finish=4, state=CANCELLED, body=b"")])

    ends = [
        (3, 1, COMPLETED, b"\x01", None),
        (4, 3, FAILED, b"", {**failed, "attempts": 1, "host": "beta"}),
        (1, 4, CANCELLED, b"", {"attempts": 1, "host": "alpha"}),
    ]
    assert store.read(Replay(1, 0, 100)) == ends
    assert store.read(Replay(1, 1, 1)) == ends[1:2]
    assert store.read(Replay(1, 4, 100)) == []
    assert ids(store.read(Replay(2, 0, 100))) == [6]
    assert store.read(Ends(b"peer", (1, 2, 6, 99, 3))) == [ends[0], (6, 2, COMPLETED, b"\xa2ok", None), ends[2]]


def test_an_end_of_a_task_that_never_ran_names_no_host(store: Store) -> None:
    write(store, tasks=[row(1)])
    write(
        store,
        finishes=[ended(1, 0, 1, state=CANCELLED, started_at=None, slot=None, body=b"", detail={"reason": "by hand"})],
    )

    assert store.read(Ends(b"peer", (1,))) == [
        (1, 1, CANCELLED, b"", {"reason": "by hand", "attempts": 0, "host": ""}),
    ]


def test_a_completion_after_failures_keeps_their_count(store: Store) -> None:
    write(store, tasks=[row(1)])
    write(store, claims=[claim(1, 7)])
    write(store, returns=[returned(1, 7, failures=2, crashes=1)])
    write(store, claims=[claim(1, 8, attempt=2)])
    write(store, finishes=[ended(1, 8, finish=1, failures=2, crashes=1)])

    row_now = fetch(store, 1)[0]
    assert (row_now.failures, row_now.crashes, row_now.attempt) == (2, 1, 2)


# --- retry by hand


def test_a_retry_starts_a_new_run_through_and_keeps_the_history(store: Store) -> None:
    write(store, tasks=[row(1, place=3), row(2)])
    write(store, claims=[claim(1, 7, owner=2)])
    failed = {"message": "no", "cause": "exception"}
    write(store, finishes=[ended(1, 7, finish=1, state=FAILED, body=b"", detail=failed, failures=3, crashes=1)])

    write(store, retries=[(1,)])

    assert store.read(Fetch((1,), "test")) == [row(1, place=3, fence=7, attempt=1, owner=2)]
    assert ids(store.read(Refill(1, None, 9))) == [2, 1]
    assert store.read(Replay(1, 0, 9)) == []
    first = {
        "attempt": 1, "host": "beta", "slot": 3, "started_at": 200.0, "ended_at": 300.0, "outcome": "failed",
        "detail": failed,
    }  # fmt: skip
    shown = store.show(1) or {}
    assert (shown["result"], shown["detail"], shown["ended_at"], shown["attempts"]) == (None, None, None, [first])

    write(store, claims=[claim(1, 8, attempt=2, at=400.0)])
    write(store, finishes=[ended(1, 8, finish=2, started_at=400.0, ended_at=401.0)])

    second = {
        "attempt": 2, "host": "alpha", "slot": 3, "started_at": 400.0, "ended_at": 401.0, "outcome": "completed",
        "detail": None,
    }  # fmt: skip
    assert (store.show(1) or {})["attempts"] == [first, second]
    assert ids(store.read(Replay(1, 0, 9))) == [1]


def test_a_retry_of_a_task_that_never_ran_adds_no_attempt(store: Store) -> None:
    write(store, tasks=[row(1)])
    write(store, finishes=[ended(1, 0, 1, state=CANCELLED, started_at=None, slot=None, body=b"")])
    write(store, retries=[(1,)])

    assert (store.show(1) or {})["attempts"] == []


# --- sessions


def test_a_session_is_resumed_with_the_submissions_it_may_repeat(store: Store) -> None:
    write(store, submissions=[(1, 1, 1, 10, 111), (1, 2, 11, 5, 2**32 - 1), (2, 1, 16, 1, 333)])
    write(store, submissions=[(1, 3, 17, 1, 444)], forgotten=[(1, 2)])

    assert store.read(Resume(b"peer", b"client-1")) == [(1, [(2, 11, 5, 2**32 - 1), (3, 17, 1, 444)])]
    assert store.read(Resume(b"peer", b"client-2")) == [(2, [(1, 16, 1, 333)])]
    assert store.read(Resume(b"peer", b"nobody")) == []


# --- for people


def test_show_tells_all_of_a_running_task(store: Store) -> None:
    write(store, tasks=[row(1, lane=2, priority=7, options={"tags": ["red"]}, params=b"\x81\xa1a\x01")])
    write(store, claims=[claim(1, 5, attempt=1, owner=2, at=150.0)])
    write(
        store,
        returns=[returned(1, 5, failures=1)],
        attempts=[(1, 1, 5, 2, 4, 150.0, 160.0, "timeout", {"cause": "timeout"})],
    )
    write(store, claims=[claim(1, 6, attempt=2, owner=1, at=170.0)])

    assert store.show(1) == {
        "id": 1, "type": "audio.probe", "state": "running", "priority": 7, "attempt": 2, "failures": 1, "crashes": 0,
        "losses": 0, "releases": 0, "sent_at": 101.0, "due": None, "started_at": 170.0, "ended_at": None,
        "host": "alpha", "options": {"tags": ["red"]}, "params": b"\x81\xa1a\x01", "result": None, "detail": None,
        "attempts": [
            {"attempt": 1, "host": "beta", "slot": 4, "started_at": 150.0, "ended_at": 160.0, "outcome": "timeout",
             "detail": {"cause": "timeout"}},
            {"attempt": 2, "host": "alpha", "slot": None, "started_at": 170.0, "ended_at": None, "outcome": "running",
             "detail": None},
        ],
    }  # fmt: skip
    assert store.show(2) is None


def test_show_has_the_result_of_a_completed_task(store: Store) -> None:
    write(store, tasks=[row(1)])
    write(store, claims=[claim(1, 5)])
    write(store, finishes=[ended(1, 5, finish=1, body=b"\xa5value")])

    shown = store.show(1) or {}
    assert (shown["state"], shown["result"], shown["ended_at"]) == ("completed", b"\xa5value", 300.0)


def test_tasks_are_listed_newest_first_by_state_type_and_tag(store: Store) -> None:
    write(
        store,
        tasks=[row(id, lane=2 if id % 3 == 0 else 1) for id in range(1, 11)],
        tags=[("red", 3), ("red", 6), ("red", 8), ("blue", 8)],
    )
    write(store, claims=[claim(id, id) for id in range(3, 9)])
    failed = {"error_type": "ValueError", "message": "bad clip"}
    write(
        store,
        finishes=[
            ended(3, 3, finish=1, state=FAILED, body=b"", detail=failed, failures=1),
            ended(4, 4, finish=2, state=FAILED, body=b"", detail={"cause": "timeout"}),
            ended(5, 5, finish=3),
        ],
    )

    def listed(**filters: Any) -> list[int]:
        every: dict[str, Any] = {"state": None, "type": None, "tag": None, "limit": 100, "before": None}
        found, following = store.tasks(**(every | filters))
        assert following is None
        return [task["id"] for task in found]

    assert listed() == list(range(10, 0, -1))
    assert listed(before=4) == [3, 2, 1]
    assert listed(state=FAILED) == [4, 3]
    assert listed(state=RUNNING) == [8, 7, 6]
    assert listed(state=QUEUED, type="audio.probe") == [9]
    assert listed(state=COMPLETED) == [5]
    assert listed(state=FAILED, type="audio.probe") == [3]
    assert listed(state=FAILED, before=4) == [3]
    assert listed(tag="red") == [8, 6, 3]
    assert listed(tag="red", state=FAILED, type="audio.probe", before=6) == [3]
    assert listed(tag="green") == []
    assert listed(type="video") == []
    [item], _ = store.tasks(state=FAILED, type="audio.probe", tag=None, limit=1, before=None)
    assert item == {
        "id": 3, "type": "audio.probe", "state": "failed", "priority": 5, "attempt": 1, "failures": 1, "crashes": 0,
        "sent_at": 103.0, "started_at": 200.0, "ended_at": 300.0, "host": "alpha", "error": "ValueError: bad clip",
    }  # fmt: skip


@pytest.mark.parametrize("filters", [{}, {"tag": "red"}, {"state": FAILED}])
def test_a_long_list_is_read_in_pages(store: Store, filters: dict[str, Any]) -> None:
    write(store, tasks=[row(id) for id in range(1, 8)], tags=[("red", id) for id in range(1, 8)])
    write(store, finishes=[ended(id, 0, finish=id, state=FAILED) for id in range(1, 8)])

    pages: list[list[int]] = []
    before: int | None = None
    while not pages or before is not None:
        every: dict[str, Any] = {"state": None, "type": None, "tag": None}
        found, before = store.tasks(**(every | filters), limit=3, before=before)
        pages.append([task["id"] for task in found])

    assert pages == [[7, 6, 5], [4, 3, 2], [1]]


def test_a_list_that_finds_little_stops_and_can_be_gone_on_with(store: Store) -> None:
    write(store, tasks=[row(1, lane=2), *(row(id) for id in range(2, 7002))])

    found, before = store.tasks(state=None, type="audio.probe", tag=None, limit=10, before=None)
    assert found == []
    assert before is not None

    found, before = store.tasks(state=None, type="audio.probe", tag=None, limit=10, before=before)
    assert ([task["id"] for task in found], before) == ([1], None)


# --- both at once


@pytest.mark.parametrize("seed", range(6))
def test_all_stores_answer_alike_whatever_happens(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    stores: list[Store] = [SqliteStore(tmp_path / "tasks.db"), MemoryStore()]
    try:
        openings = [store.open() for store in stores]
        for store in stores:
            write(store, lanes=LANES, hosts=HOSTS, sessions=SESSIONS)
        model = Model(chance)
        for _ in range(60):
            step = model.step()
            keep = chance.random() < 0.9
            for store in stores:
                store.begin()
                store.apply(step)
                if keep:
                    store.commit()
                else:
                    store.rollback()
            model.settle(keep)
            answers = [model.questions(store) for store in stores]
            assert answers[0] == answers[1], f"seed {seed}"
        for store in stores:
            store.close()
        openings = [store.open() for store in stores]
        assert openings[0] == openings[1]
    finally:
        for store in stores:
            store.close()


class Model:
    """Makes up steps that a core could ask for, and remembers just enough for that."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.tasks: dict[int, tuple[int, int, int]] = {}  # id -> state, fence, attempt
        self.next = self.tasks
        self.counter = 0

    def _number(self) -> int:
        self.counter += 1
        return self.counter

    def step(self) -> Persist:
        chance, persist = self.chance, Persist()
        self.next = dict(self.tasks)
        for id, (state, fence, attempt) in self.tasks.items():
            if state == QUEUED and chance.random() < 0.3:
                grant = self._number()
                persist.claims.append(claim(id, grant, attempt + 1, chance.choice([1, 2]), float(grant)))
                self.next[id] = (RUNNING, grant, attempt + 1)
            elif state in (RUNNING, SCHEDULED) and chance.random() < 0.3:
                to = chance.choice([QUEUED, SCHEDULED])
                due = chance.choice([10.0, 20.0, 30.5]) if to == SCHEDULED else None
                change = returned(id, fence, state=to, due=due, relative=chance.random() < 0.5, failures=attempt)
                persist.returns.append(change)
                if state == RUNNING:
                    end = (id, attempt, fence, 1, 0, 1.0, 2.0, "lost", chance.choice([None, {"cause": "crash"}]))
                    persist.attempts.append(end)
                self.next[id] = (to, fence, attempt)
            elif state in (RUNNING, QUEUED) and chance.random() < 0.3:
                to, detail = chance.choice([(COMPLETED, None), (FAILED, {"message": "no"}), (CANCELLED, None)])
                started_at = chance.choice([5.0, None])
                finish = ended(id, fence, self._number(), state=to, detail=detail, started_at=started_at)
                persist.finishes.append(finish)
                self.next[id] = (to, fence, attempt)
            elif state in (FAILED, CANCELLED) and chance.random() < 0.3:
                persist.retries.append((id,))
                self.next[id] = (QUEUED, fence, attempt)
        for id in range(len(self.tasks) + 1, len(self.tasks) + 1 + chance.randrange(6)):
            scheduled = {"state": SCHEDULED, "due": 15.0, "relative": True} if chance.random() < 0.3 else {}
            changes: dict[str, Any] = {"priority": chance.randrange(3), "lane": chance.choice([1, 2])}
            options = chance.choice([None, {"timeout": 3.0}])
            persist.tasks.append(row(id, **changes, session=chance.choice([1, 2]), options=options, **scheduled))
            if chance.random() < 0.5:
                persist.tags.append((chance.choice(["red", "blue"]), id))
            self.next[id] = (SCHEDULED if scheduled else QUEUED, 0, 0)
        if chance.random() < 0.1:
            persist.shifts.append(chance.choice([-3.0, 4.0]))
        return persist

    def settle(self, kept: bool) -> None:
        self.tasks = self.next if kept else self.tasks

    def questions(self, store: Store) -> list[Any]:
        every = range(1, len(self.tasks) + 2)
        after = (1, len(self.tasks) // 2)
        return [
            *(store.read(Refill(lane, start, 7)) for lane in (1, 2) for start in (None, after)),
            *(store.read(Agenda(relative, start, 5)) for relative in (True, False) for start in (None, (15.0, 4))),
            *(store.read(Replay(session, after[1], 9)) for session in (1, 2)),
            store.read(Fetch(tuple(every), "test")),
            store.read(Ends(b"peer", tuple(every))),
            *(store.show(id) for id in every),
            *(
                store.tasks(state=state, type=type, tag=tag, limit=4, before=before)
                for state in (None, QUEUED, RUNNING, FAILED)
                for type in (None, "audio.probe")
                for tag in (None, "red")
                for before in (None, after[1])
            ),
        ]


def test_one_step_may_give_a_task_back_and_grant_it_anew(store: Store) -> None:
    write(store, tasks=[row(1)], claims=[claim(1, 1)])
    write(store, returns=[returned(1, 1, losses=1)], claims=[claim(1, 2)])

    (found,) = fetch(store, 1)
    assert (found.state, found.fence, found.losses) == (RUNNING, 2, 1)


def test_an_adopted_task_runs_on_under_its_old_fence(store: Store) -> None:
    write(store, tasks=[row(1)], claims=[claim(1, 1)])
    write(store, returns=[returned(1, 1, losses=1)])
    write(store, adoptions=[(2, 1, 1)])

    (found,) = fetch(store, 1)
    assert (found.state, found.fence, found.owner) == (RUNNING, 1, 2)
    with pytest.raises(StoreDisagrees):
        write(store, adoptions=[(2, 1, 1)])
