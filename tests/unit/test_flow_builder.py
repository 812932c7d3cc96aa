"""A flow as a client writes it down: in which parts it is handed in, and what it refuses. Pure."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from workerhost.transport.flow_draft import Draft
from workerhost.transport.flow_order import circle, ordered
from workerhost.transport.flow_parts import PART_EDGES_MAX, PART_TASKS_MAX, Wanted, parts
from workerhost.transport.messages import FRAME_BYTES_MAX
from workerhost.transport.parcel import single
from workerhost.transport.references import Reference, pack
from workerhost.transport.terms import AFTER_MAX, RESULTS_MAX, Terms, terms
from workerhost.workers import values
from workerhost.workers.errors import InvalidTask

PLAIN = Terms("a")


class Other(Reference):
    """A task that is there."""

    def __init__(self, id: int) -> None:
        self.id = id


def test_a_task_in_params_leaves_a_nil_and_its_offset() -> None:
    one, two = Other(1), Other(2)
    body, places = pack({"b": [one, "text", two], "a": 3})
    assert body == values.pack({"b": [None, "text", None], "a": 3})
    assert places == [(body.index(b"\xc0"), one), (body.rindex(b"\xc0"), two)]


def test_none_in_params_stays_none_beside_a_task() -> None:
    body, places = pack([None, Other(1), None])
    assert body == b"\x93\xc0\xc0\xc0"
    assert [offset for offset, _ in places] == [2]


def test_what_cannot_travel_is_named_beside_a_task_too() -> None:
    with pytest.raises(InvalidTask, match=r'params\["bad"\]: set'):
        pack({"good": Other(1), "bad": {1, 2}})


def test_params_too_deep_for_anybody_are_refused() -> None:
    value: list[object] = [Other(1)]
    for _ in range(200):
        value = [value]
    with pytest.raises(InvalidTask, match="nested deeper"):
        pack(value)


@pytest.mark.parametrize("beside", [None, Other(1)])
def test_params_that_contain_themselves_more_than_once_are_refused_at_once(beside: Any) -> None:
    root: dict[str, Any] = {"a": beside, "children": []}
    root["children"] += [{"parent": root}, {"parent": root}]
    for send in (pack, partial(single, PLAIN), partial(Draft("").send, "a")):
        with pytest.raises(InvalidTask, match="inside itself"):
            send(root)


@pytest.mark.parametrize(
    ("after", "order"),
    [
        ([[], [0], [0, 1]], [0, 1, 2]),
        ([[1], [], [0]], [1, 0, 2]),
        ([[2], [2], []], [2, 0, 1]),
        ([[1], [0]], None),
        ([[], [1]], None),
    ],
)
def test_tasks_are_put_behind_what_they_come_after(after: list[list[int]], order: list[int] | None) -> None:
    assert ordered(after) == order


@pytest.mark.parametrize(
    ("after", "found"),
    [([[], [0]], []), ([[1], [2], [0]], [0, 1, 2, 0]), ([[], [0], [1, 3], [2]], [2, 3, 2]), ([[0]], [0, 0])],
)
def test_a_circle_is_found(after: list[list[int]], found: list[int]) -> None:
    assert circle(after) == found


def test_equal_neighbours_are_one_group_and_places_in_a_row_one_span() -> None:
    tasks = [Wanted(PLAIN, b"x") for _ in range(5)]
    tasks.append(Wanted(PLAIN, b"\xc0", after={7: "cancel"}, within={0: "run", 2: "run", 3: "run", 4: "run"}))
    tasks[-1].results = [(0, True, 2)]
    [part] = parts(tasks, "nightly")
    last = {"after": [7], "within": [0, [2, 3]], "on_failure": ["cancel", "run", "run", "run", "run"]}
    assert part.groups == [["a", 5, None, [b"x"] * 5], ["a", 5, {**last, "results": [[0, 2]]}, [b"\xc0"]]]
    assert part.flow == {"name": "nightly"}
    assert part.block.states == dict.fromkeys(range(5), 2)


def test_a_large_flow_is_cut_where_tasks_edges_or_bytes_are_too_many() -> None:
    many = [Wanted(PLAIN, b"x") for _ in range(2 * PART_TASKS_MAX + 1)]
    cut = list(parts(many, ""))
    assert [part.block.count for part in cut] == [PART_TASKS_MAX, PART_TASKS_MAX, 1]
    assert [part.flow for part in cut] == [
        {"name": "", "last": False},
        {"start": PART_TASKS_MAX, "last": False},
        {"start": 2 * PART_TASKS_MAX},
    ]
    half = dict.fromkeys(range(PART_EDGES_MAX // 2 + 1), "cancel")
    assert [part.block.count for part in parts([Wanted(PLAIN, b"", within=half) for _ in range(3)], "")] == [1, 1, 1]
    assert [part.block.count for part in parts([Wanted(PLAIN, b"x" * 1024 * 1024) for _ in range(4)], "")] == [2, 2]


def counts(tasks: list[Wanted]) -> list[int]:
    return [part.block.count for part in parts(tasks, "")]


def test_a_large_flow_is_cut_where_named_tasks_results_or_options_are_too_many() -> None:
    def after(place: int) -> dict[int, str]:
        start = 1 + place * (AFTER_MAX // 2)
        return dict.fromkeys(range(start, start + AFTER_MAX // 2), "run")

    assert counts([Wanted(PLAIN, b"", after=after(place)) for place in range(3)]) == [2, 1]
    results = [(offset, False, 7) for offset in range(RESULTS_MAX)]
    assert counts([Wanted(PLAIN, b"", after={7: "run"}, results=list(results)) for _ in range(3)]) == [2, 1]
    with pytest.raises(InvalidTask, match="results of 10001 tasks"):
        counts([Wanted(PLAIN, b"", after={7: "run"}, results=[*results, (RESULTS_MAX, False, 7)])])
    tags = [chr(0x1F600 + number) * 128 for number in range(32)]
    labelled = [Wanted(terms("a", tags=tags, priority=place % 2), b"x") for place in range(1000)]
    assert sum(counts(labelled)) == 1000
    assert max(part.size for part in parts(labelled, "")) < FRAME_BYTES_MAX // 2


@pytest.mark.parametrize("after", ["12", 0, -1, [1, "2"], 1.5, True, object()])
def test_what_is_no_task_to_come_after_is_refused(after: object) -> None:
    with pytest.raises(InvalidTask, match="after="):
        terms("a", after=after)


def test_tasks_to_come_after_are_named_in_any_way() -> None:
    class Several:
        def ids(self) -> list[range]:
            return [range(3, 5), range(9, 10)]

    assert terms("a", after=[Other(7), 8, Several(), 7]).options == {"after": [7, 8, 3, 4, 9]}
    assert terms("a", after=5, on_failure="wait").options == {"after": [5], "on_failure": "wait"}


def test_a_key_in_a_flow_is_refused_and_not_lost() -> None:
    options: dict[str, Any] = {"key": "x"}
    with pytest.raises(InvalidTask, match="a task of a flow has no key: send it before the flow"):
        Draft("").send("a", **options)
