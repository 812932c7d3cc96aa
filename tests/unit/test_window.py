"""The window is an exact prefix of its lane, whatever comes and goes, and however small the memory."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from workerhost.actors.core.order.pace import Pace
from workerhost.actors.core.order.window import Window, key_of
from workerhost.actors.core.rows import CANCELLED, QUEUED, Row
from workerhost.actors.core.settings import PoolSettings
from workerhost.transport.messages import Cancel, GiveBack, Results, Returned, Tasks

HOST = b"h"


def row(id: int, priority: int = 5, place: int | None = None) -> Row:
    return Row(id, 1, priority, place or id, QUEUED, 1, 0, 0, 0, 0, 0, 0, 0.0, None, False, 0, None, None, b"")


def test_rows_come_out_in_order_of_priority_and_place() -> None:
    window = Window()
    for new in (row(1, 1), row(2, 9), row(3, 5), row(4, 9), row(5, 5, place=2)):
        assert window.add(new)
    assert [r.id for r in window.take(9, None)] == [2, 4, 5, 3, 1]
    assert window.size == 0


def test_take_stops_where_another_lane_is_better() -> None:
    window = Window()
    rows = [row(1, 9), row(2, 5), row(3, 5), row(4, 1)]
    for new in rows:
        window.add(new)
    assert [r.id for r in window.take(9, key_of(rows[1]))] == [1, 2]
    assert [r.id for r in window.take(9, (-5, 2))] == []


def test_a_row_that_was_cancelled_where_it_stood_is_skipped() -> None:
    window = Window()
    rows = [row(1), row(2), row(3)]
    for new in rows:
        window.add(new)
    rows[0].state = rows[2].state = CANCELLED
    window.forget()
    window.forget()
    assert [r.id for r in window.take(9, None)] == [2]
    assert window.size == 0


def test_a_trimmed_window_refuses_what_lies_behind_its_horizon() -> None:
    window = Window()
    for new in (row(1), row(2), row(3, 9), row(4)):
        window.add(new)
    assert sorted(r.id for r in window.trim(2)) == [2, 4]
    assert not window.add(row(9))
    assert window.add(row(10, 6))
    assert [r.id for r in window.take(9, None)] == [3, 10, 1]


def test_a_window_keeps_at_least_one_row() -> None:
    window = Window()
    for new in (row(1), row(2)):
        window.add(new)
    window.trim(0)
    assert [r.id for r in window.rows()] == [1]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 12), st.integers(1, 3)),
        st.tuples(st.just("finish"), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("cancel"), st.integers(0, 60), st.just(0)),
        st.tuples(st.just("restart"), st.just(0), st.just(0)),
    ),
    min_size=1,
    max_size=40,
)


@given(steps=STEPS, memory=st.integers(2, 12))
@settings(max_examples=150, deadline=None)
def test_order_is_exact_however_small_the_memory(steps: list[tuple[str, int, Any]], memory: int) -> None:
    from unit.conftest import PoolAtHand  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    pool: Any = PoolAtHand(PoolSettings(rows_max=memory))
    pool.client()
    waiting: dict[int, int] = {}  # id -> priority: the whole queue, as anybody would write it down
    running: dict[int, int] = {}

    def took(said: dict[bytes, list[Any]]) -> None:
        for message in said.get(HOST, []):
            if isinstance(message, Tasks):
                for id, fence, *_ in message.groups[0][1]:
                    assert id == min(waiting, key=lambda other: (-waiting[other], other)), (
                        "the best task was passed over"
                    )
                    running[id] = fence
                    del waiting[id]

    took(pool.host(slots=2))
    for kind, number, more in steps:
        if kind == "send":
            first = pool.pool.queue.last_id + 1
            waiting.update({id: int(more) for id in range(first, first + number)})
            took(pool.send(count=number, priority=more))
        elif kind == "finish" and running:
            id = sorted(running)[number % len(running)]
            fence = running.pop(id)
            if more:
                took(pool.say(HOST, Results([[id, fence, 0, b"", 1.0, 0, None]])))
            else:
                waiting[id] = pool.store.show(id)["priority"]
                took(pool.say(HOST, GiveBack([[id, fence, Returned.DRAIN, 0.0, "", False]])))
        elif kind == "cancel" and number in waiting:
            del waiting[number]
            took(pool.say(b"c", Cancel(1, [number])))
        elif kind == "restart":
            pool.start()
            pool.client()
            took(pool.host(slots=2, running=[[id, fence] for id, fence in running.items()]))
    while running:
        id, fence = running.popitem()
        took(pool.say(HOST, Results([[id, fence, 0, b"", 1.0, 0, None]])))
    assert not waiting


def test_the_margin_needs_measured_speed() -> None:
    pace = Pace()
    pace.measured([0.00005] * 19)
    assert pace.margin(4) == 0
    pace.measured([0.0001])
    assert pace.margin(4) > 100
    pace.measured([0.01] * 10)
    assert pace.margin(4) == 0


def test_the_margin_follows_the_duration() -> None:
    fast, slower = Pace(), Pace()
    fast.measured([0.00001] * 100)
    slower.measured([2**-10] * 100)
    assert fast.margin(2) == 1000
    assert slower.margin(2) == 20
