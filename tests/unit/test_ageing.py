"""Ageing: waiting makes tasks more urgent, nothing is sorted again, and the wait is bounded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.conftest import WALL, PoolAtHand  # pyright: ignore[reportMissingImports]
from unit.pool_words import HOST, completed, granted

from workerhost.actors.core.effects import Persist, Refill
from workerhost.actors.core.settings import PoolSettings
from workerhost.actors.stores.line import Line
from workerhost.actors.stores.memory import MemoryStore
from workerhost.actors.stores.sqlite import SqliteStore
from workerhost.config.loading import load
from workerhost.transport.messages import Results
from workerhost.workers.errors import ConfigError

PERIOD = 10.0


def aged(**more: Any) -> PoolAtHand:
    """A pool whose tasks age, at the beginning of a period of its clock."""
    pool = PoolAtHand(PoolSettings(ageing=PERIOD, **more), MemoryStore(PERIOD))
    pool.jump = -(pool.wall % PERIOD)
    pool.client()
    return pool


def drained(pool: Any, said: Any) -> list[int]:
    order = granted(said)
    grants = list(order)
    while grants:
        grants = granted(pool.say(HOST, Results([completed(id, fence, 60.0) for id, fence, _ in grants])))
        order += grants
    return [id for id, _, _ in order]


def test_a_task_gains_one_priority_with_each_period(pool: Any) -> None:
    pool = aged()
    pool.send(priority=5)
    pool.now += PERIOD
    pool.send(priority=6)
    pool.send(priority=7)
    pool.now += 2 * PERIOD
    pool.send(priority=8)
    # By then 1 counts 5 + 3, 2 counts 6 + 2, 3 counts 7 + 2, and 4 counts 8: at equal urgency the first that came.
    assert drained(pool, pool.host()) == [3, 1, 2, 4]
    assert [pool.store.show(id)["priority"] for id in (1, 2, 3, 4)] == [5, 6, 7, 8], "what people see stays"


def test_without_ageing_a_task_of_low_priority_waits_for_all_others(pool: Any) -> None:
    pool.send(priority=5)
    pool.now += 1000 * PERIOD
    pool.send(priority=6)
    assert drained(pool, pool.host()) == [2, 1]


def test_it_holds_behind_the_horizon_and_for_tasks_that_were_declined_or_came_back() -> None:
    pool = aged(rows_max=4)
    for n in range(12):
        pool.send(count=2, priority=1 + n % 3)
        pool.now += PERIOD / 2
    urgency = {id: 1 + (id - 1) // 2 % 3 - (id - 1) // 2 // 2 for id in range(1, 25)}
    assert drained(pool, pool.host()) == sorted(urgency, key=lambda task: (-urgency[task], task))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 25)), min_size=1, max_size=30), st.sampled_from([4, 50]))
def test_the_wait_is_bounded(sent: list[tuple[int, int]], rows: int) -> None:
    """No task begins before another that was sent more than (difference of priorities + 1) periods earlier."""
    pool = aged(rows_max=rows)
    known: list[tuple[int, float]] = []
    for priority, seconds in sent:
        pool.now += seconds
        pool.send(priority=priority)
        known.append((priority, pool.wall))
    order = drained(pool, pool.host())
    assert sorted(order) == list(range(1, len(sent) + 1))
    for place, id in enumerate(order):
        priority, at = known[id - 1]
        for other in order[place + 1 :]:
            lower, earlier = known[other - 1]
            assert at - earlier < (priority - lower + 1) * PERIOD


@pytest.mark.parametrize("old", [0.0, 7.0])
@pytest.mark.parametrize("new", [0.0, 600.0])
def test_another_setting_sorts_what_waits_anew(tmp_path: Path, old: float, new: float) -> None:
    path = tmp_path / "tasks.db"
    rows = [
        (id, 1, 3 - id % 4, id, 2, 1, 0, 0, 0, 0, 0, 0, WALL + 50.0 * id, None, False, 0, None, None, b"")
        for id in range(1, 60)
    ]
    memory = MemoryStore(new)
    stores: list[Any] = [SqliteStore(path, ageing=old), memory]
    for store in stores:
        store.open()
        store.begin()
        store.apply(Persist(lanes=[(1, "a", "", "")], tasks=rows))
        store.commit()
    stores[0].close()
    sqlite = SqliteStore(path, ageing=new)
    sqlite.open()
    after = None
    while True:
        found = sqlite.read(Refill(1, after, 7))
        assert found == memory.read(Refill(1, after, 7))
        if not found:
            break
        _, _, priority, place, *_ = found[-1]
        after = (priority - int(found[-1][12] / new) if new else priority, place)
    sqlite.close()
    again = SqliteStore(path, ageing=new)
    again.open()
    plan = again._database.execute(  # pyright: ignore[reportPrivateUsage]
        f"explain query plan {Line(new).lower}",
        (1, 5, 10),
    ).fetchall()
    assert len(plan) == 1, plan
    assert "USING INDEX ready (lane=? AND <expr>" in plan[0][3] or "ready (lane=? AND priority<?)" in plan[0][3], plan
    again.close()


Load = Callable[..., Any]


@pytest.mark.parametrize(
    ("text", "period"), [("1 per 10m", 600.0), ("3 per 1h", 1200.0), ("2 per 5", 2.5), (None, None)]
)
def test_ageing_as_a_configuration_says_it(text: str | None, period: float | None) -> None:
    found = load({"queue": {"ageing": text}})
    assert found.queue.ageing == period
    assert load(found.document()).queue.ageing == period


@pytest.mark.parametrize("text", ["10m", "1 per day", "0 per 1m", "1 per 0s", "2 per 1s", 600, True, ""])
def test_what_is_no_ageing_is_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match="write 1 per 10m"):
        load({"queue": {"ageing": text}})


def test_ageing_does_not_go_with_fifo() -> None:
    with pytest.raises(ConfigError, match="remove one of the two"):
        load({"queue": {"ageing": "1 per 10m", "type": "fifo"}})
