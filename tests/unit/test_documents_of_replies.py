"""The pool's replies as documents: what is an instant, and what only has the name of one."""

from __future__ import annotations

from workerhost.transport import documents

TERABYTE = 2.0**40


def test_a_resource_may_be_called_as_instants_are() -> None:
    host = {"name": "a", "joined_at": 0.5, "resources": {"due": TERABYTE, "at": 2, "zone": "eu"}, "in_use": {"at": 1}}
    assert documents.plain_data({"hosts": [host]})["hosts"] == [
        {**host, "joined_at": "1970-01-01T00:00:00.500Z", "resources": {"due": TERABYTE, "at": 2, "zone": "eu"}}
    ]
    task = {"id": 1, "state": "queued", "since": 1.0, "requires": {"since": 5}}
    assert documents.task(task)["requires"] == {"since": 5}
    assert documents.task(task)["since"] == "1970-01-01T00:00:01.000Z"


def test_when_a_schedule_comes_next_is_an_instant() -> None:
    schedule = {"name": "nightly", "every": 60.0, "next": 60.0, "last": 0.0, "task": None, "coming": [60.0, 120.0]}
    assert documents.schedule(schedule) == {
        **schedule,
        "next": "1970-01-01T00:01:00.000Z",
        "last": "1970-01-01T00:00:00.000Z",
        "coming": ["1970-01-01T00:01:00.000Z", "1970-01-01T00:02:00.000Z"],
    }
    assert documents.schedule({**schedule, "next": None})["next"] is None
