"""Tasks of many lanes that nothing limits are taken in one go, in the order in which one at a time would be."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from workerhost.actors.core.order.choices import Choice
from workerhost.actors.core.order.lane import Lane
from workerhost.actors.core.rows import CANCELLED, QUEUED, Row


class New(NamedTuple):
    lane: int
    priority: int
    large: bool
    cancelled: bool


NEW = st.builds(New, st.integers(1, 4), st.integers(3, 5), st.booleans(), st.booleans())


def stood(new: list[New], *, horizons: bool) -> tuple[Choice, dict[int, Lane], list[Row]]:
    lanes = {number: Lane(number, f"t{number}") for number in range(1, 5)}
    rows = [
        Row(id, task.lane, task.priority, id, QUEUED, 1, 0, 0, 0, 0, 0, 0, 0.0, None, False, 0, None, None, params)
        for id, task in enumerate(new, 1)
        for params in [None if task.large else b""]
    ]
    for row in rows:
        lane = lanes[row.lane]
        lane.window.add(row)
        lane.counts[QUEUED] += 1
    for lane in lanes.values():
        if horizons and lane.window.size > 2:
            lane.window.trim(2)
    choice = Choice("", lambda lane: True, lanes.values())
    for row, task in zip(rows, new, strict=True):
        if task.cancelled:
            lane = lanes[row.lane]
            in_memory = any(row is held for held in lane.window.rows())
            row.state = CANCELLED
            lane.counts[QUEUED] -= 1
            if in_memory:
                lane.window.forget()
    return choice, lanes, rows


def one_at_a_time(choice: Choice, most: int) -> list[int]:
    ids: list[int] = []
    while len(ids) < most and (lane := choice.best()) is not None and (head := lane.window.head()) is not None:
        if head.params is None:
            break
        lane.window.take(1, None)
        lane.counts[QUEUED] -= 1
        ids.append(head.id)
    return ids


def in_runs(choice: Choice, lanes: dict[int, Lane], most: int) -> list[int]:
    """A run may end early where all that stood behind a horizon was cancelled; `best` puts that right."""
    ids: list[int] = []

    def room(_lane: Lane, taken: int) -> int:
        return most - len(ids) - taken

    while choice.best() is not None and (rows := choice.run(room)):
        for row in rows:
            lanes[row.lane].counts[QUEUED] -= 1
        ids += [row.id for row in rows]
    return ids


@given(st.lists(NEW, max_size=30), st.integers(0, 30), st.booleans())
def test_runs_are_what_one_at_a_time_would_be(new: list[New], most: int, horizons: bool) -> None:
    (choice, _, _), (other, lanes, _) = stood(new, horizons=horizons), stood(new, horizons=horizons)
    assert in_runs(other, lanes, most) == one_at_a_time(choice, most)
    assert one_at_a_time(other, 30) == one_at_a_time(choice, 30)  # and what follows is the same


def test_a_run_ends_at_a_lane_with_no_room_for_more() -> None:
    new = [New(lane, 5, large=False, cancelled=False) for lane in (1, 2, 1, 2, 1)]
    choice, _, _ = stood(new, horizons=False)
    assert [row.id for row in choice.run(lambda lane, taken: (9 if lane.number == 1 else 2) - taken)] == [1, 2, 3]


def test_a_run_ends_at_a_lane_that_waits_for_a_node_or_needs_something() -> None:
    new = [New(lane, 5, large=False, cancelled=False) for lane in (1, 2, 3, 1)]
    choice, lanes, _ = stood(new, horizons=False)
    lanes[3].needs = {"gpu": 1}
    assert [row.id for row in choice.run(lambda lane, taken: 9 - taken)] == [1, 2]
    lanes[3].needs = {}
    choice.park(lanes[3], None)
    assert choice.run(lambda lane, taken: 9 - taken) == []
