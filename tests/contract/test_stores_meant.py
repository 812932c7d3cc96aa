"""What every store must say of tasks that filters mean, and of those to be forgotten by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from store_rows import HOSTS, LANES, SESSIONS, claim, ended, row, write  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.effects import EndsOf, Matching, Where
from workerhost.actors.core.rows import CANCELLED, FAILED, QUEUED
from workerhost.actors.stores.contract import Store
from workerhost.actors.stores.search import LISTED_ROWS_MAX

KEYS: list[tuple[Any, ...]] = [
    (id, "", type, "k", 0.0, b"") for id, type in ((2, "video.thumbnail"), (3, "audio.probe"))
]


@pytest.fixture
def store(reopen: Callable[[], Store]) -> Store:
    """1 queued, 2 and 4 failed, 3 cancelled; 2 and 3 of session 2, which is K's, with the key k; 3 and 4 in lane 2."""
    store = reopen()
    store.open()
    write(store, lanes=LANES, hosts=HOSTS, sessions=SESSIONS)
    tasks = [row(1), row(2, session=2), row(3, session=2, lane=2), row(4, lane=2, options={"flow": 4})]
    write(store, tasks=tasks, tags=[("red", 1), ("red", 3)], keys=KEYS)
    detail: dict[str, Any] = {"error_type": "ValueError", "message": "Not FOUND"}
    write(
        store,
        finishes=[
            ended(2, 0, finish=1, state=FAILED, detail=detail, started_at=None),
            ended(3, 0, finish=2, state=CANCELLED, started_at=None),
            ended(4, 0, finish=3, state=FAILED, detail={"reason": "found"}, started_at=None),
        ],
    )
    return store


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (Where(), [4, 3, 2, 1]),
        (Where(states=(FAILED, CANCELLED)), [4, 3, 2]),
        (Where(states=(FAILED, QUEUED)), [4, 2, 1]),
        (Where(states=(FAILED,), error="not found"), [2]),
        (Where(error="Found"), [4, 2]),
        (Where(error="valueerror: not"), [2]),
        (Where(tag="red"), [3, 1]),
        (Where(tag="red", states=(CANCELLED,)), [3]),
        (Where(ids=(1, 3, 99, 2)), [3, 2, 1]),
        (Where(ids=(1, 2, 3), tag="red", states=(QUEUED,)), [1]),
        (Where(ids=(3, 4), flow=4), [4]),
        (Where(owner="K"), [3, 2]),
        (Where(key="k"), [3, 2]),
        (Where(key="k", states=(FAILED,)), [2]),
        (Where(key="k", ids=(1, 3)), [3]),
        (Where(key="other"), []),
        (Where(sent_before=0.0), []),
        (Where(sent_before=1e12), [4, 3, 2, 1]),
    ],
)  # fmt: skip
def test_those_are_found_that_are_meant(store: Store, where: Where, found: list[int]) -> None:
    [(rows, following)] = store.read(Matching(where, None, 10, "x"))
    assert ([columns[0] for columns in rows], following) == (found, None)
    listed: list[int] = []
    before: int | None = None
    for _ in range(max(1, len(found))):
        [(rows, before)] = store.read(Matching(where, before, 1, "x"))
        listed += [columns[0] for columns in rows]
    assert (listed, before) == (found, None)


def test_numbers_of_no_task_hide_none_that_is_there(store: Store) -> None:
    """However many they are: they are not what a page looks at."""
    missing = range(10, 10 + LISTED_ROWS_MAX)
    found, following = store.tasks(Where(ids=(1, 2, *missing)), 10)
    assert ([task["id"] for task in found], following) == ([2, 1], None)


def test_what_is_to_be_forgotten_is_told_with_what_comes_after_it(store: Store) -> None:
    write(store, edges=[(2, 3, 0), (2, 4, 0), (3, 4, 0), (1, 2, 0)])
    rows = store.read(EndsOf((1, 2, 3, 99), 1, 10))
    assert [(one[2], one[1], one[4], one[-1]) for one in rows] == [(3, 2, CANCELLED, (4,)), (2, 1, FAILED, (3,))]
    assert all(type(one[5]) is int for one in rows)
    assert [one[-1] for one in store.read(EndsOf((1, 2, 3), 2, 1))] == [(4,), None]


def test_completed_ones_that_come_after_it_are_read_too_and_count(store: Store) -> None:
    write(store, edges=[(3, 1, 0)])
    write(store, claims=[claim(1, 9)])
    write(store, finishes=[ended(1, 9, finish=4)])
    assert [one[-1] for one in store.read(EndsOf((2, 3), 2, 1))] == [(), None]
