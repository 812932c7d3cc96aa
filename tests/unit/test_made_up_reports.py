"""What a host says of tasks that were never granted to anybody is no report."""

from __future__ import annotations

from typing import Any

from workerhost.transport.messages import Hello, Recorded, Results, Stop

NEVER = 0
"""The fence of a task that was never granted."""


def test_a_result_for_a_task_that_was_never_granted_is_stale(pool: Any) -> None:
    pool.send()
    pool.host(b"h", "b")
    said = pool.say(b"h", Results([[1, NEVER, 0, b"a lie", 0.1, 1, None]]))

    assert said[b"h"] == [Recorded(2, [[1, NEVER]])]
    assert pool.state(1) == "queued"


def test_a_host_that_claims_to_run_a_task_that_was_never_granted_is_told_to_stop(pool: Any) -> None:
    pool.send()
    offer = {"types": ["a"], "slots": {"": 1}, "running": [[1, NEVER]], "finished": []}
    said = pool.say(b"h", Hello("host", [1, 1], b"h" * 16, "h", offer))

    assert [message for message in said[b"h"] if isinstance(message, Stop)] == [Stop([[1, NEVER]])]
    assert pool.state(1) == "queued"
