"""What a store must do about flows and edges: every store gives the same rows to the same needs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store_rows import LANES, SESSIONS, claim, ended, fetch, row, write

from workerhost.actors.core.effects import EndedAfter, Persist, Where
from workerhost.actors.core.flows.edges import CANCEL, RUN, WAIT, Awaited, Dependents, FlowsOf, Gathered, Unmet
from workerhost.actors.core.rows import CANCELLED, COLUMNS, COMPLETED, FAILED, QUEUED, WAITING
from workerhost.actors.stores.contract import Store
from workerhost.actors.stores.memory import MemoryStore
from workerhost.actors.stores.sqlite import SqliteStore


def flow_row(flow: int, total: int, stage: int = 1, session: int = 1, **ends: Any) -> tuple[Any, ...]:
    """A flow, in the order of Persist.flows."""
    values = {"completed": 0, "failed": 0, "cancelled": 0, "quarantined": 0, "ended_at": None} | ends
    return (flow, "nightly", session, 100.0, total, stage, *values.values())


@pytest.fixture
def diamond(store: Store) -> Store:
    """Task 4 comes after 2 and 3, which come after 1; a flow of two parts, with task 9 between them."""
    write(
        store,
        tasks=[row(1), *(row(id, state=WAITING) for id in (2, 3)), row(9), row(10, state=WAITING, params=b"12345")],
        edges=[(1, 2, CANCEL), (1, 3, RUN), (2, 10, WAIT), (3, 10, CANCEL), (-1, 10, CANCEL)],
        flows=[flow_row(1, 4)],
        flow_parts=[(1, 0, 1, 3), (1, 3, 10, 1)],
    )
    return store


def test_the_tasks_of_a_flow_are_listed_newest_first_and_in_pages(diamond: Store) -> None:
    write(diamond, tags=[("red", 1), ("red", 9), ("red", 10)])

    def listed(before: int | None = None, **filters: Any) -> list[int]:
        return [task["id"] for task in diamond.tasks(replace(Where(flow=1), **filters), 9, before)[0]]

    assert listed() == [10, 3, 2, 1]
    assert listed(flow=2) == []
    assert listed(before=3) == [2, 1]
    assert listed(tag="red") == [10, 1]
    assert listed(states=(WAITING,), before=10) == [3, 2]
    found, following = diamond.tasks(Where(flow=1), 2)
    assert ([task["id"] for task in found], following) == ([10, 3], 3)


def test_the_flow_of_a_task_is_found(diamond: Store) -> None:
    assert [diamond.flow_of(id) for id in (1, 3, 9, 10, 11)] == [1, 1, None, 1, None]


def test_the_tasks_of_a_flow_are_counted_by_type_and_state(diamond: Store) -> None:
    flow = diamond.flow(1)
    assert flow is not None
    assert (flow["counts"], flow["types"]) == (
        {"queued": 1, "waiting": 3},
        {"video.thumbnail": {"queued": 1, "waiting": 3}},
    )
    later = diamond.flow(1, start=2)
    assert later is not None
    assert later["types"] == {"video.thumbnail": {"waiting": 2}}
    nothing = diamond.flow(1, start=4)
    assert nothing is not None
    assert (nothing["counts"], nothing["types"], nothing["total"]) == ({}, {}, 4)


def columns(store: Store, id: int) -> tuple[Any, ...]:
    [found] = fetch(store, id)
    return tuple(getattr(found, name) for name in COLUMNS)


def test_dependents_are_read_in_order_and_their_row_once(diamond: Store) -> None:
    two, three, ten = (columns(diamond, id) for id in (2, 3, 10))
    assert diamond.read(Dependents(((1, COMPLETED),), (0, 0), 10)) == [(1, 2, CANCEL, 1, two), (1, 3, RUN, 1, three)]
    assert diamond.read(Dependents(((1, COMPLETED),), (1, 2), 10)) == [(1, 3, RUN, 1, three)]
    assert diamond.read(Dependents(((1, COMPLETED),), (0, 0), 1)) == [(1, 2, CANCEL, 1, two)]
    several = Dependents(((-1, COMPLETED), (2, FAILED), (3, COMPLETED)), (0, 0), 10)
    assert diamond.read(several) == [(-1, 10, CANCEL, 3, ten), (2, 10, WAIT, 0, None), (3, 10, CANCEL, 0, None)]


def test_an_edge_that_is_met_holds_nothing_back(diamond: Store) -> None:
    write(diamond, met=[(1, 2), (-1, 10)])
    assert diamond.read(Dependents(((1, COMPLETED),), (0, 0), 10)) == [(1, 3, RUN, 1, columns(diamond, 3))]
    assert diamond.read(Unmet((10, 2, 77), 5, "test")) == [
        (columns(diamond, 10), [(2, WAIT, WAITING), (3, CANCEL, WAITING)]),
        (columns(diamond, 2), []),
    ]
    assert diamond.after(10, 5) == [(2, WAIT, 0, WAITING), (3, CANCEL, 0, WAITING)]
    write(diamond, freed=[10])
    assert diamond.read(Unmet((10,), 5, "test")) == [(columns(diamond, 10), [])]


def test_all_edges_are_walked_over_in_slices(diamond: Store) -> None:
    first = diamond.read(Awaited((-(1 << 63), 0), 2))
    assert first == [(-1, 10, 0, None), (1, 2, 0, QUEUED)]
    assert diamond.read(Awaited((1, 2), 5)) == [(1, 3, 0, QUEUED), (2, 10, 0, WAITING), (3, 10, 0, WAITING)]


def test_a_retried_task_may_wait_again(store: Store) -> None:
    write(store, tasks=[row(1), row(2, state=WAITING)], edges=[(1, 2, CANCEL)])
    write(store, finishes=[ended(2, 0, finish=1, state=CANCELLED, started_at=None)])
    write(store, retries=[(7, 2)], waits=[2])
    [again] = fetch(store, 2)
    assert (again.state, again.fence) == (WAITING, 7)


def test_the_size_of_what_is_put_together_is_known(diamond: Store) -> None:
    write(diamond, claims=[claim(1, 11)])
    write(diamond, finishes=[ended(1, 11, finish=1, body=b"result")])
    assert diamond.read(Gathered(((10, (1, 1, 2, 88)),))) == [(columns(diamond, 10), 5 + 6 + 6)]
    assert diamond.results([1, 2, 88]) == {1: b"result"}


def test_an_ended_task_is_needed_while_one_that_comes_after_it_has_not_completed(diamond: Store) -> None:
    write(diamond, claims=[claim(1, 11)])
    write(diamond, finishes=[ended(1, 11, finish=1)], met=[(1, 2), (1, 3)])
    assert [found[-1] for found in diamond.read(EndedAfter(0, 0, 5))] == [1]
    write(diamond, finishes=[ended(id, 0, finish=id, state=CANCELLED, started_at=None) for id in (2, 3)])
    assert {found[2]: found[-1] for found in diamond.read(EndedAfter(0, 0, 5))} == {1: 1, 2: 1, 3: 1}


def test_a_flow_goes_with_its_first_task_and_edges_with_theirs(diamond: Store) -> None:
    write(diamond, claims=[claim(1, 11)])
    write(diamond, finishes=[ended(1, 11, finish=1), ended(10, 0, finish=2, state=CANCELLED, started_at=None)])
    write(diamond, prunes=[(1, 1), (10, 2)])
    assert diamond.flow(1) is None
    assert diamond.after(10, 5) == []
    assert diamond.read(Awaited((-(1 << 63), 0), 9)) == [(1, 2, 0, None), (1, 3, 0, None)]


def test_a_flow_that_ends_and_is_forgotten_in_one_step_is_gone(diamond: Store) -> None:
    write(diamond, finishes=[ended(1, 0, finish=1)])
    whole = flow_row(1, 4, stage=2, completed=4, ended_at=120.0)
    write(diamond, flows=[whole], flow_parts=[(1, 0, 1, 3)], prunes=[(1, 1)])
    assert diamond.read(FlowsOf((1,))) == []
    assert diamond.flow_of(2) is None


def test_flows_are_found_again_and_those_that_have_ended_are_not_taken_over(reopen: Callable[[], Store]) -> None:
    store = reopen()
    store.open()
    parts = [(1, 0, 1, 3), (1, 3, 10, 1), (20, 0, 20, 2)]
    write(store, lanes=LANES, sessions=SESSIONS, tasks=[row(id) for id in (1, 2, 3, 10, 20, 21)], flow_parts=parts,
          flows=[flow_row(1, 4, stage=0), flow_row(20, 2, session=2, completed=2, ended_at=300.0)])  # fmt: skip
    store = reopen()
    assert store.open().flows == [(flow_row(1, 4, stage=0), [(0, 1, 3), (3, 10, 1)])]
    assert store.read(FlowsOf((20, 99))) == [(flow_row(20, 2, session=2, completed=2, ended_at=300.0), [(0, 20, 2)])]
    shown = store.flow(1)
    assert shown is not None
    assert (shown["state"], shown["ids"], shown["counts"]) == ("open", [[1, 3], [10, 1]], {"queued": 4})
    listed, following = store.flows(before=2**62, limit=1)
    assert ([one["id"] for one in listed], following) == ([20], 20)
    assert store.flows(before=2**62, limit=5, owner="K") == ([listed[0]], None)
    assert store.flow(1, owner="K") is None


def test_a_large_flow_is_counted_in_slices(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("flows", "flows_memory"):
        monkeypatch.setattr(f"workerhost.actors.stores.{name}.COUNTED_ROWS_MAX", 3)
    write(
        store,
        tasks=[row(id) for id in (1, 2, 5, 6, 7)],
        flows=[flow_row(1, 5)],
        flow_parts=[(1, 0, 1, 2), (1, 2, 5, 3)],
    )
    pages: list[Any] = [store.flow(1)]
    while pages[-1]["next"] is not None:
        pages.append(store.flow(1, start=pages[-1]["next"]))
    assert [(page["counts"], page["next"]) for page in pages] == [({"queued": 3}, 3), ({"queued": 2}, None)]


@pytest.mark.parametrize("seed", range(4))
def test_stores_agree_about_edges_whatever_happens(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    stores: list[Store] = [SqliteStore(tmp_path / "tasks.db"), MemoryStore()]
    ids = range(1, 21)
    for store in stores:
        store.open()
        write(store, lanes=LANES, sessions=SESSIONS, tasks=[row(id, state=WAITING) for id in ids])
    for _ in range(60):
        change: dict[str, Any] = {
            "edges": [(chance.choice([-1, *ids]), chance.choice(ids), chance.randint(0, 2)) for _ in range(3)],
            "met": [(chance.choice([-1, *ids]), chance.choice(ids)) for _ in range(4)],
            "freed": [chance.choice(ids)] if chance.random() < 0.1 else [],
        }
        keep = chance.random() < 0.8
        needs = (
            Dependents(tuple((id, COMPLETED) for id in (-1, *ids[::3])), (chance.choice(ids), 5), chance.randint(1, 9)),
            Unmet(tuple(ids), 3, "test"),
            Awaited((chance.choice(ids), chance.choice(ids)), 7),
        )
        answers: list[Any] = []
        for store in stores:
            write_or_undo(store, change, keep=keep)
            answers.append([store.read(need) for need in needs])
        assert answers[0] == answers[1]
    for store in stores:
        store.close()


def write_or_undo(store: Store, change: dict[str, Any], *, keep: bool) -> None:
    store.begin()
    store.apply(Persist(**change))
    if keep:
        store.commit()
    else:
        store.rollback()
