"""`cache` in the core: a task that has run answers for one with the same params."""

from __future__ import annotations

from typing import Any

import pytest
from unit.pool_words import (  # pyright: ignore[reportMissingImports]
    CLIENT,
    COMPLETED,
    HOST,
    completed,
    failed,
    granted,
)

from workerhost.transport.messages import Accepted, Admin, Events, Query, Reply, Results, Submit


def send(pool: Any, number: int, *groups: Any) -> list[Any]:
    return pool.say(CLIENT, Submit(number, 1, [list(group) for group in groups]))[CLIENT]


def cached(*params: bytes, type: str = "a", cache: float = 60) -> Any:
    return type, 5, {"cache": cache}, list(params)


def run(pool: Any, id: int, end: Any = completed, **more: Any) -> None:
    pool.say(HOST, Results([end(id, pool.pool.queue.leases[id].row.fence, **more)]))


def hits(pool: Any, type: str) -> int:
    (reply,) = pool.say(CLIENT, Query(1, "types"))[CLIENT]
    return next(shown["cache_hits"] for shown in reply.value["types"] if shown["type"] == type)


def test_one_run_answers_for_all_that_come_while_it_runs_and_after(pool: Any) -> None:
    pool.host()
    send(pool, 1, cached(b"x"))
    assert send(pool, 2, cached(b"x", b"y", b"y"))[0] == Accepted(2, 2, 3, [[0, 1, 0], [2, 3, 0]])
    run(pool, 1)
    said = send(pool, 3, cached(b"x"))
    assert said == [Accepted(3, 5, 1, [[0, 1, 0]])]
    assert pool.wait(0.1)[CLIENT] == [Events([[1, 0, COMPLETED, b"value", None]])]
    assert hits(pool, "a") == 3
    assert pool.store.show(1)["options"] is None


def test_a_result_answers_for_as_long_as_the_newcomer_says(pool: Any) -> None:
    pool.host()
    send(pool, 1, cached(b"x"))
    run(pool, 1)
    pool.wait(10.0, step=2.0)
    assert send(pool, 2, cached(b"x", cache=11))[0].others == [[0, 1, 0]]
    assert send(pool, 3, cached(b"x", cache=9))[0] == Accepted(3, 3, 1)
    # The latest one answers from now on.
    assert send(pool, 4, cached(b"x", cache=1e6))[0].others == [[0, 3, 0]]


def test_params_type_and_the_option_itself_count(pool: Any) -> None:
    send(pool, 1, cached(b"x"))
    assert send(pool, 2, cached(b"X"), cached(b"x", type="b"), ("a", 5, None, [b"x"])) == [Accepted(2, 2, 3)]


def test_what_ended_badly_answers_for_nothing(pool: Any) -> None:
    pool.host()
    send(pool, 1, cached(b"x"))
    run(pool, 1, failed, retry=False)
    assert send(pool, 2, cached(b"x"))[0] == Accepted(2, 2, 1)


@pytest.mark.parametrize(("node", "answers"), [(None, []), ("a", []), ("a.b", [[0, 1, 0]]), ("b", [[0, 1, 0]])])
def test_what_was_cleared_answers_for_nothing_also_after_a_restart(pool: Any, node: Any, answers: Any) -> None:
    send(pool, 1, cached(b"x"))
    assert pool.say(CLIENT, Admin(1, "clear_cache", {"type": node}))[CLIENT] == [Reply(1, True, {"type": node or ""})]
    pool.start()
    pool.client()
    assert send(pool, 2, cached(b"x"))[0] == Accepted(2, 2, 1, answers)
    new = answers or [[0, 2, 0]]
    assert send(pool, 3, cached(b"x"))[0] == Accepted(3, 3, 1, new)


def test_the_type_to_clear_must_be_one(pool: Any) -> None:
    (reply,) = pool.say(CLIENT, Admin(1, "clear_cache", {"type": "a b"}))[CLIENT]
    assert (reply.ok, reply.value["code"]) == (False, "invalid")


@pytest.mark.parametrize("options", [{"cache": 0}, {"cache": "1h"}, {"cache": True}, {"cache": 5, "key": "k"}])
def test_what_cannot_be_is_refused(pool: Any, options: dict[str, Any]) -> None:
    (said,) = send(pool, 1, ("a", 5, options, [b"x"]))
    assert (said.code, said.path) == ("invalid", "cache")


def test_the_task_that_answers_is_granted_once(pool: Any) -> None:
    pool.host(slots=3)
    said = pool.say(CLIENT, *(Submit(number, 1, [list(cached(b"x"))]) for number in (1, 2, 3)))
    assert len(granted(said)) == 1
