"""The contract of a store, run on every store there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from store_rows import HOSTS, LANES, claim, ended, fetch, ids, returned, row, write

from workerhost.actors.core.effects import Agenda, Ends, Fetch, Persist, Refill, Replay, Resume, Where
from workerhost.actors.core.rows import CANCELLED, COLUMNS, COMPLETED, FAILED, QUEUED, RUNNING, SCHEDULED
from workerhost.actors.stores.contract import Store, StoreDisagrees

# --- opening


def test_a_new_store_is_empty(reopen: Callable[[], Store]) -> None:
    opening = reopen().open()

    assert opening.epoch == 1
    assert opening.meta == {"last_id": 0, "last_finish": 0, "last_owner": 0, "last_session": 0, "last_audit": 0}
    assert (opening.lanes, opening.tallies, opening.running, opening.hosts, opening.pauses) == ([], [], [], [], [])


def test_the_epoch_grows_with_every_opening(reopen: Callable[[], Store]) -> None:
    assert [reopen().open().epoch for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("boot", [0, 7, 8])
def test_a_clean_stop_skips_no_number_whatever_became_of_the_machine(
    store: Store, reopen: Callable[[], Store], boot: int
) -> None:
    write(store, meta={"last_id": 5, "last_finish": 3})
    opening = reopen().open(boot)

    assert (opening.epoch, opening.meta["last_id"], opening.meta["last_finish"]) == (2, 5, 3)


def test_an_opening_brings_back_what_a_supervisor_goes_on_from(store: Store, reopen: Callable[[], Store]) -> None:
    write(
        store,
        tasks=[row(1), row(2), row(3, params=b"x" * 20_000)],
        tallies=[(1, QUEUED, 2), (1, RUNNING, 1), (2, QUEUED, 7)],
        pauses=[("video", True, None, ""), ("audio", True, None, ""), ("audio.probe", True, 1e9, "quota used up")],
        rates=[("a", 0, 0, 1.0, 2.0, 1e9, 3, 7), ("a", 0, 0, 1.0, 2.5, 1e9, 4, 7), ("a", 1, 1, 3.0, 3.0, 1e9, 1, 7)],
        quotas=[("b", 1e9, 3), ("b", 1e9, 5)],
        meta={"last_id": 3, "last_finish": 9},
    )
    write(
        store,
        claims=[claim(3, 11, owner=2), claim(1, 12)],
        tallies=[(2, QUEUED, 0)],
        pauses=[("audio", False, None, "")],
    )

    opening = reopen().open()

    assert opening.meta == {"last_id": 3, "last_finish": 9, "last_owner": 2, "last_session": 2, "last_audit": 0}
    assert opening.lanes == LANES
    assert opening.hosts == HOSTS
    assert opening.tallies == [(1, QUEUED, 2), (1, RUNNING, 1)]
    assert opening.pauses == [("audio.probe", 1e9, "quota used up"), ("video", None, "")]
    assert opening.rates == [("a", 0, 1.0, 2.5, 1e9, 4, 7), ("a", 1, 3.0, 3.0, 1e9, 1, 7)]
    assert opening.quotas == [("b", 1e9, 5)]
    assert opening.running == [
        row(1, state=RUNNING, fence=12, attempt=1, owner=1, started_at=200.0),
        row(3, state=RUNNING, fence=11, attempt=1, owner=2, started_at=200.0, params=None),
    ]


def test_a_host_that_comes_back_is_replaced_in_the_table(store: Store, reopen: Callable[[], Store]) -> None:
    left = (1, b"token-1", "alpha", "machine-a", 50.0, 99.0, "left", "")
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
        submissions=[(1, 1, 1, 5, 77, None)],
        tallies=[(1, QUEUED, 4)],
        pauses=[("audio", True, None, "")],
        rates=[("a", 0, 0, 1.0, 2.0, 1e9, 3, 7)],
        quotas=[("b", 1e9, 3)],
        meta={"last_id": 5},
    )
    write(store, claims=[claim(2, 7), claim(4, 8)])
    write(store, finishes=[ended(4, 8, finish=1, state=FAILED, detail={"message": "no"})])
    before = everything(store)

    store.begin()
    store.apply(
        Persist(
            lanes=[(3, "image", "", "")],
            sessions=[(3, b"client-3", "three", 42.0, 0, "K")],
            hosts=[(3, b"token-3", "gamma", "machine-c", 52.0, None, "joined", "H")],
            tasks=[row(6, lane=3)],
            tags=[("red", 6)],
            claims=[claim(1, 9)],
            returns=[returned(2, 7, losses=1)],
            finishes=[ended(5, 0, finish=2, state=CANCELLED, started_at=None, slot=None, body=b"")],
            retries=[(94, 4)],
            attempts=[(2, 1, 7, 1, 0, 200.0, 210.0, "lost", None)],
            submissions=[(1, 2, 6, 1, 78, None)],
            forgotten=[(1, 2)],
            shifts=[10.0],
            tallies=[(1, QUEUED, 5), (3, QUEUED, 1)],
            pauses=[("audio", False, None, ""), ("video", True, None, "")],
            rates=[("a", 0, 0, 1.0, 9.0, 1e9, 9, 7), ("a", 1, 1, 3.0, 3.0, 1e9, 1, 7)],
            quotas=[("b", 1e9, 9)],
            meta={"last_id": 6, "last_finish": 2},
        )
    )
    within = everything(store)
    assert [r.state for r in within["rows"]] == [RUNNING, QUEUED, SCHEDULED, QUEUED, CANCELLED, QUEUED]
    assert within["agenda"][0][COLUMNS.index("due")] == 510.0
    assert within["submissions"] == [(1, 0, [(2, 6, 1, 78, None)], "")]
    assert all(within[part] != before[part] for part in before), "every part of the dump must be able to tell"
    store.rollback()

    assert everything(store) == before
    opening = reopen().open()
    assert (opening.lanes, opening.hosts, opening.pauses) == (LANES, HOSTS, [("audio", None, "")])
    assert (opening.rates, opening.quotas) == ([("a", 0, 1.0, 2.0, 1e9, 3, 7)], [("b", 1e9, 3)])
    assert opening.tallies == [(1, QUEUED, 4)]
    assert opening.meta == {"last_id": 5, "last_finish": 0, "last_owner": 2, "last_session": 2, "last_audit": 0}


def everything(store: Store) -> dict[str, Any]:
    """What can be read of the tasks."""
    return {
        "rows": fetch(store, *range(1, 10)),
        "queue": store.read(Refill(1, None, 100)),
        "agenda": store.read(Agenda(True, None, 100)),
        "ends": store.read(Replay(1, 0, 100, 2**30)),
        "submissions": store.read(Resume(b"peer", b"client-1", "")),
        "shown": [store.show(id) for id in range(1, 10)],
        "red": store.tasks(Where(tag="red"), 10),
        "newest": store.tasks(Where(), 10),
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
    edge, large = b"x" * 4096, b"x" * 4097
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


@pytest.mark.parametrize("fence", [7, 8])
def test_a_running_task_is_not_claimed_again(store: Store, fence: int) -> None:
    write(store, tasks=[row(1)])
    write(store, claims=[claim(1, 7)])

    refused(store, claims=[claim(1, fence)])


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
        {"retries": [(91, 1)]},
        {"retries": [(93, 3), (92, 2)]},
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


def test_an_end_keeps_the_setbacks_that_led_to_it(store: Store) -> None:
    write(store, tasks=[row(1), row(2)])
    write(store, claims=[claim(1, 7), claim(2, 8)])
    write(
        store,
        finishes=[ended(1, 7, finish=1, state=FAILED), ended(2, 8, finish=2)],
        setbacks=[(4, 5, 1, 7)],
    )

    shown = [store.show(id) or {} for id in (1, 2)]
    assert [(task["losses"], task["releases"]) for task in shown] == [(4, 5), (0, 0)]


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
    assert store.read(Replay(1, 0, 100, 2**30)) == ends
    assert store.read(Replay(1, 1, 1, 2**30)) == ends[1:2]
    assert store.read(Replay(1, 4, 100, 2**30)) == []
    assert ids(store.read(Replay(2, 0, 100, 2**30))) == [6]
    assert [(store.show(id) or {})["result"] for id in (3, 4)] == [b"\x01", None]
    assert [end[0] for end in store.read(Ends(b"peer", (3, 1, 6), 1))] == [3, 1]
    assert store.read(Ends(b"peer", (1, 2, 6, 99, 3), 2**30)) == [ends[0], (6, 2, COMPLETED, b"\xa2ok", None), ends[2]]


def test_an_end_of_a_task_that_never_ran_names_no_host(store: Store) -> None:
    write(store, tasks=[row(1)])
    write(
        store,
        finishes=[ended(1, 0, 1, state=CANCELLED, started_at=None, slot=None, body=b"", detail={"reason": "by hand"})],
    )

    assert store.read(Ends(b"peer", (1,), 2**30)) == [
        (1, 1, CANCELLED, b"", {"reason": "by hand", "attempts": 0, "host": ""}),
    ]


@pytest.mark.parametrize("owner", [0, 1])
def test_a_task_that_comes_back_is_owned_by_whoever_may_still_report_of_it(store: Store, owner: int) -> None:
    write(store, tasks=[row(1)])
    write(store, claims=[claim(1, 7, owner=1)])
    write(store, returns=[returned(1, 7, owner=owner)])

    assert fetch(store, 1)[0].owner == owner


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
    write(store, claims=[claim(1, 6)])
    write(store, returns=[returned(1, 6, place=3, attempt=0, losses=2, releases=4)])  # handed back unstarted
    write(store, claims=[claim(1, 7, owner=2)])
    failed = {"message": "no", "cause": "exception"}
    write(store, finishes=[ended(1, 7, finish=1, state=FAILED, body=b"", detail=failed, failures=3, crashes=1)])

    write(store, retries=[(91, 1)])

    assert store.read(Fetch((1,), "test")) == [row(1, place=3, fence=91, attempt=1, owner=0)]
    assert ids(store.read(Refill(1, None, 9))) == [2, 1]
    assert store.read(Replay(1, 0, 9, 2**30)) == []
    first = {
        "attempt": 1, "host": "beta", "code": None, "slot": 3, "started_at": 200.0, "ended_at": 300.0,
        "outcome": "failed", "detail": failed,
    }  # fmt: skip
    shown = store.show(1) or {}
    assert (shown["result"], shown["detail"], shown["ended_at"], shown["attempts"]) == (None, None, None, [first])

    write(store, claims=[claim(1, 92, attempt=2, at=400.0)])
    write(store, finishes=[ended(1, 92, finish=2, started_at=400.0, ended_at=401.0)])

    second = {
        "attempt": 2, "host": "alpha", "code": None, "slot": 3, "started_at": 400.0, "ended_at": 401.0,
        "outcome": "completed", "detail": None,
    }  # fmt: skip
    assert (store.show(1) or {})["attempts"] == [first, second]
    assert ids(store.read(Replay(1, 0, 9, 2**30))) == [1]


def test_a_retry_of_a_task_that_never_ran_adds_no_attempt(store: Store) -> None:
    write(store, tasks=[row(1)])
    write(store, finishes=[ended(1, 0, 1, state=CANCELLED, started_at=None, slot=None, body=b"")])
    write(store, retries=[(91, 1)])

    assert (store.show(1) or {})["attempts"] == []


# --- sessions


def test_a_session_is_resumed_with_the_submissions_it_may_repeat(store: Store) -> None:
    write(store, submissions=[(1, 1, 1, 10, 111, None), (1, 2, 11, 5, 2**32 - 1, None), (2, 1, 16, 1, 333, None)])
    write(store, submissions=[(1, 3, 17, 1, 444, [[0, 3, 1]])], forgotten=[(1, 2)])

    assert store.read(Resume(b"peer", b"client-1", "")) == [
        (1, 0, [(2, 11, 5, 2**32 - 1, None), (3, 17, 1, 444, [[0, 3, 1]])], "")
    ]
    assert store.read(Resume(b"peer", b"client-2", "")) == [(2, 0, [(1, 16, 1, 333, None)], "K")]
    assert store.read(Resume(b"peer", b"nobody", "")) == []
