"""Hands on the queue: other priorities and other types for tasks that nobody runs, in memory as in the store."""

from __future__ import annotations

from typing import Any

import pytest

from workerhost.transport.messages import Admin, Reply, Tasks


def edit(pool: Any, ids: list[int], **change: Any) -> Any:
    """What the pool answers."""
    said = pool.say(b"c", Admin(1, "edit", {"ids": ids, **change}))
    (reply,) = [message for message in said[b"c"] if isinstance(message, Reply)]
    return reply.value if reply.ok else reply.value["code"]


def granted(said: dict[bytes, list[Any]], peer: bytes = b"h") -> list[int]:
    return [
        task[0] for one in said.get(peer, []) if isinstance(one, Tasks) for _, group in one.groups for task in group
    ]


def test_a_raised_task_is_granted_first_and_a_lowered_one_last(pool: Any) -> None:
    pool.send(count=4)
    assert edit(pool, [3], priority=9) == {"edited": [3]}
    assert edit(pool, [1], priority=-1) == {"edited": [1]}
    assert pool.store.show(3)["priority"] == 9
    assert granted(pool.host(b"h", "a", slots=4)) == [3, 2, 4, 1]


def test_a_moved_task_is_run_by_who_serves_the_other_type(pool: Any) -> None:
    pool.send("a", count=3)
    assert edit(pool, [2], type="b.c") == {"edited": [2]}
    assert (pool.store.show(2)["type"], pool.store.show(1)["type"]) == ("b.c", "a")
    lanes = pool.pool.queue.lanes.by_type
    assert [lanes[type][0].counts[2] for type in ("a", "b.c")] == [2, 1]
    assert granted(pool.host(b"h", "b.c", slots=4)) == [2]


def test_what_runs_or_has_ended_is_left_as_it_is(pool: Any) -> None:
    pool.host(b"h", "a", slots=1)
    pool.send(count=2)
    assert edit(pool, [1, 2, 99], priority=9, type="b") == {"edited": [2]}
    assert (pool.state(1), pool.store.show(1)["priority"]) == ("running", 5)


def test_a_scheduled_task_keeps_its_time(pool: Any) -> None:
    pool.send(count=1, delay=10.0)
    due = pool.store.show(1)["due"]
    assert edit(pool, [1], priority=7, type="b") == {"edited": [1]}
    assert (pool.state(1), pool.store.show(1)["due"]) == ("scheduled", due)
    assert granted(pool.host(b"h", "b")) == []
    assert granted(pool.wait(11.0)) == [1]


def test_tasks_that_only_the_store_knows_are_changed_too(pool_with: Any) -> None:
    pool = pool_with(rows_max=4)
    pool.send(count=40)
    assert sorted(edit(pool, [38, 2], priority=9)["edited"]) == [2, 38]
    assert edit(pool, list(range(10, 20)), type="b")["edited"] == list(range(10, 20))
    order = granted(pool.host(b"h", "a", slots=40))
    assert order[:3] == [2, 38, 1]
    assert sorted(order) == [*range(1, 10), *range(20, 41)]
    assert granted(pool.host(b"i", "b", slots=40), b"i") == list(range(10, 20))


def test_the_order_survives_a_restart(pool: Any) -> None:
    pool.send(count=3)
    edit(pool, [3], priority=9)
    edit(pool, [1], type="b")
    pool.start()
    order = granted(pool.host(b"h", "a", "b", slots=3))
    assert (sorted(order), [id for id in order if id != 1]) == ([1, 2, 3], [3, 2])


def test_a_task_with_a_key_stays_at_its_type(pool: Any) -> None:
    pool.send(count=1)
    lane = pool.pool.queue.lanes.by_type["a"][0]
    row = pool.pool.queue.rows[1]
    row.options = {"key": "k"}
    assert edit(pool, [1], type="b") == {"edited": []}
    assert edit(pool, [1], priority=8) == {"edited": [1]}
    assert lane.counts[2] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"ids": [1]},
        {"ids": [1], "priority": 2**31},
        {"ids": [1], "priority": True},
        {"ids": [1], "type": "no type"},
        {"ids": [1], "type": 7},
        {"ids": ["1"], "priority": 1},
        {"ids": list(range(1, 10_003)), "priority": 1},
        {"ids": 1, "priority": 1},
    ],
)
def test_a_malformed_edit_changes_nothing(pool: Any, arguments: dict[str, Any]) -> None:
    pool.send(count=1)
    ids: Any = arguments["ids"]
    assert edit(pool, ids, **{name: value for name, value in arguments.items() if name != "ids"}) == "invalid"
    assert pool.store.show(1)["priority"] == 5


def test_a_queue_without_priorities_says_so(pool_with: Any) -> None:
    pool = pool_with(fifo=True)
    pool.send(count=1)
    assert edit(pool, [1], priority=9) == "invalid"
    assert edit(pool, [1], type="b") == {"edited": [1]}


def test_a_type_that_would_need_a_lane_too_many_takes_nothing(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.send("a", count=2)
    pool.send("b")
    monkeypatch.setattr("workerhost.actors.core.tasks.edits.LANES_MAX", 2)
    assert edit(pool, [1], type="c") == {"edited": []}
    assert edit(pool, [2], type="b") == {"edited": [2]}
