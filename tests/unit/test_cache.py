"""`cache` in the core: a task that has run answers for one with the same params."""

from __future__ import annotations

from typing import Any

import pytest
from unit.pool_words import (  # pyright: ignore[reportMissingImports]
    CLIENT,
    COMPLETED,
    HOST,
    QUEUED,
    completed,
    failed,
    granted,
)

from workerhost.actors.core.effects import Consult
from workerhost.actors.core.tasks.intake import digest_of
from workerhost.config.limits import Cache
from workerhost.config.policy import PolicyTree
from workerhost.transport.messages import Accepted, Admin, Events, Heartbeat, Query, Reply, Results, Submit, Watch

WAITING = 0


def send(pool: Any, number: int, *groups: Any) -> list[Any]:
    return pool.say(CLIENT, Submit(number, 1, [list(group) for group in groups]))[CLIENT]


def cached(*params: bytes, type: str = "a", cache: float = 60) -> Any:
    return type, 5, {"cache": cache}, list(params)


def run(pool: Any, id: int, end: Any = completed, **more: Any) -> None:
    pool.say(HOST, Results([end(id, pool.pool.queue.leases[id].row.fence, **more)]))


def reported(pool: Any, what: str) -> Any:
    (reply,) = pool.say(CLIENT, Query(1, what))[CLIENT]
    return reply.value


def hits(pool: Any, type: str) -> int:
    return next(shown["cache_hits"] for shown in reported(pool, "types")["types"] if shown["type"] == type)


def test_one_run_answers_for_all_that_come_while_it_runs_and_after(pool: Any) -> None:
    pool.host()
    send(pool, 1, cached(b"x"))
    assert send(pool, 2, cached(b"x", b"y", b"y"))[0] == Accepted(2, 2, 3, [[0, 1, 0], [2, 3, 0]])
    run(pool, 1)
    said = send(pool, 3, cached(b"x"))
    assert said == [Accepted(3, 5, 1, [[0, 1, 0]])]
    assert pool.wait(0.1)[CLIENT] == [Events([[1, 0, COMPLETED, b"value", None]])]
    assert hits(pool, "a") == 3
    assert reported(pool, "status")["queue"]["cache_hits"] == 3
    snapshot = reported(pool, "snapshot")
    assert (snapshot["pool"]["hits"], snapshot["nodes"]["a"]["hits"]) == (3, 3)
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


def clear(pool: Any, **arguments: Any) -> Any:
    said = pool.say(CLIENT, Admin(1, "clear_cache", arguments))[CLIENT]
    (reply,) = (message for message in said if isinstance(message, Reply))
    return reply.value


def test_a_completed_task_gives_its_key_free_on_order_and_an_unfinished_one_does_not(pool: Any) -> None:
    pool.host()
    keyed = {"key": "k", "unique_for": "kept"}
    send(pool, 1, plain(b"x", **keyed))
    assert clear(pool, type="a", key="k") == {"type": "a", "key": "k", "task": 1, "state": "running"}
    assert send(pool, 2, plain(b"x", **keyed))[0].others == [[0, 1, 0]]
    run(pool, 1)
    assert clear(pool, type="b", key="k") == {"type": "b", "key": "k", "task": None}
    assert send(pool, 3, plain(b"x", **keyed))[0].others == [[0, 1, 0]]
    assert clear(pool, type="a", key="k") == {"type": "a", "key": "k", "task": 1, "state": "completed"}
    assert send(pool, 4, plain(b"x", **keyed))[0] == Accepted(4, 4, 1)
    assert pool.notes[-1] == "key_cleared"


@pytest.mark.parametrize("arguments", [{"key": "k"}, {"type": "a", "key": 5}, {"type": "a b", "key": "k"}])
def test_a_key_to_clear_is_a_text_and_goes_with_a_type(pool: Any, arguments: Any) -> None:
    assert clear(pool, **arguments)["code"] == "invalid"


@pytest.mark.parametrize("options", [{"cache": -1}, {"cache": "1h"}, {"cache": True}, {"cache": 5, "key": "k"}])
def test_what_cannot_be_is_refused(pool: Any, options: dict[str, Any]) -> None:
    (said,) = send(pool, 1, ("a", 5, options, [b"x"]))
    assert (said.code, said.path) == ("invalid", "cache")


def test_the_task_that_answers_is_granted_once(pool: Any) -> None:
    pool.host(slots=3)
    said = pool.say(CLIENT, *(Submit(number, 1, [list(cached(b"x"))]) for number in (1, 2, 3)))
    assert len(granted(said)) == 1


# What a configuration says.


def plain(*params: bytes, type: str = "a", **options: Any) -> Any:
    return type, 5, options or None, list(params)


def test_tasks_of_a_node_with_a_cache_need_not_say_so(pool_with: Any) -> None:
    pool = pool_with({"a": {"cache": Cache(10.0)}, "a.c": {"cache": None}})
    pool.host(b"h", "a", "a.b", "a.c", "b")
    send(pool, 1, plain(b"x"))
    run(pool, 1)
    assert send(pool, 2, plain(b"x"), plain(b"x", type="a.b"), plain(b"x", type="a.b")) == [
        Accepted(2, 2, 3, [[0, 1, 0], [2, 3, 0]]),
        Events([], [], [[3, QUEUED]]),
    ]
    assert send(
        pool, 3, plain(b"x", type="a.c"), plain(b"x", type="a.c"), plain(b"x", type="b"), plain(b"x", type="b")
    )[0] == Accepted(3, 5, 4)
    pool.wait(11.0, step=2.0)
    assert send(pool, 4, plain(b"x"))[0] == Accepted(4, 9, 1)


def test_a_task_may_say_otherwise_than_its_node(pool_with: Any) -> None:
    pool = pool_with({"a": {"cache": Cache(10.0)}})
    pool.host()
    assert send(pool, 1, plain(b"x", cache=0))[0] == Accepted(1, 1, 1)
    assert send(pool, 2, plain(b"x"))[0] == Accepted(2, 2, 1), "what says no answers for no other"
    run(pool, 1)
    run(pool, 2)
    assert send(pool, 3, plain(b"x", cache=0))[0] == Accepted(3, 3, 1)
    pool.wait(12.0, step=2.0)
    assert send(pool, 4, plain(b"x", cache=60))[0].others == [[0, 2, 0]]
    assert send(pool, 5, plain(b"x", key="k"), plain(b"x", key="l"))[0] == Accepted(5, 5, 2), "a key goes first"


def test_of_a_node_so_many_results_answer_the_latest(pool_with: Any) -> None:
    pool = pool_with({"a": {"cache": Cache(1e6, count=3)}})
    params = [b"%d" % n for n in range(5)]
    send(pool, 1, plain(*params))
    assert send(pool, 2, plain(params[4], params[2], params[3]))[0].others == [[0, 5, 0], [1, 3, 0], [2, 4, 0]]
    assert send(pool, 3, plain(params[1]))[0] == Accepted(3, 9, 1)
    assert send(pool, 4, plain(params[2]))[0] == Accepted(4, 10, 1), "another one has its place"
    pool.start()
    pool.client()
    assert send(pool, 5, plain(params[4], params[1]))[0].others == [[0, 5, 0], [1, 9, 0]]


def test_a_bound_is_kept_in_parts(pool_with: Any) -> None:
    pool = pool_with({"a": {"cache": Cache(1e6, count=16)}})
    for n in range(40):
        send(pool, n + 1, plain(b"%d" % n))
        latest = [b"%d" % (n - back) for back in range(min(n + 1, 14))]
        assert len(pool.store.read(Consult((), (), "test", cached=prints(latest)))) == len(latest)
        every = prints([b"%d" % m for m in range(n + 1)])
        assert len(pool.store.read(Consult((), (), "test", cached=every))) <= 16


def prints(params: list[bytes]) -> tuple[tuple[str, str, bytes], ...]:
    return tuple(("", "a", digest_of(one)) for one in params)


def test_a_configuration_that_is_read_again_counts_for_what_comes(pool_with: Any) -> None:
    pool = pool_with({"a": {"cache": Cache(10.0)}})
    send(pool, 1, plain(b"x"))
    pool.pool.queue.lanes.tree.retune(PolicyTree({"b": {"cache": Cache(10.0)}}))
    assert send(pool, 2, plain(b"x"), plain(b"x", type="b"), plain(b"x", type="b"))[0] == Accepted(2, 2, 3, [[2, 3, 0]])
    pool.pool.queue.lanes.tree.retune(PolicyTree())
    assert send(pool, 3, plain(b"x"), plain(b"x", type="b"))[0] == Accepted(3, 5, 2)


# Among others.


def test_what_comes_after_others_is_answered_for_unless_it_takes_up_their_results(pool_with: Any) -> None:
    pool = pool_with({"a": {"cache": Cache(1e6)}})
    pool.host(slots=9)
    send(pool, 1, plain(b"x"), plain(b"y"))
    run(pool, 2)
    assert send(pool, 2, plain(b"y", b"z", after=[1]))[0] == Accepted(2, 3, 2, [[0, 2, 0]])
    assert pool.state(4) == "waiting"
    said = send(pool, 3, plain(b"z", after=[1]))
    assert said[:2] == [Accepted(3, 5, 1, [[0, 4, 0]]), Events([], [], [[4, WAITING]])]
    assert send(pool, 4, plain(b"\xc0", after=[1], results=[[0, 0]]), plain(b"\xc0"))[0] == Accepted(4, 6, 2)
    run(pool, 1)
    assert [pool.state(id) for id in (4, 6)] == ["running"] * 2
    (said,) = send(pool, 5, plain(b"\xc0", cache=5, after=[1], results=[[0, 0]]))
    assert (said.code, said.path) == ("invalid", "cache")


def test_tasks_of_a_flow_are_its_own(pool_with: Any) -> None:
    pool = pool_with({"a": {"cache": Cache(1e6)}})
    send(pool, 1, plain(b"x"))
    groups = [list(plain(b"x")), list(plain(b"x", within=[0]))]
    assert pool.say(CLIENT, Submit(2, 1, groups, {"name": "f"}))[CLIENT] == [Accepted(2, 2, 2)]
    (said,) = pool.say(CLIENT, Submit(3, 1, [list(plain(b"x", cache=5))], {"name": "f"}))[CLIENT]
    reason = "a task of a flow has no cache: send it before the flow, and let tasks of that come after it"
    assert (said.code, said.path, said.reason) == ("invalid", "cache", reason)
    assert pool.say(CLIENT, Submit(4, 1, [list(plain(b"x", cache=0))], {"name": "f"}))[CLIENT] == [Accepted(4, 4, 1)]


def test_many_ends_of_older_tasks_are_told_in_few_messages(pool: Any) -> None:
    pool.host(slots=600)
    params = [b"%d" % n for n in range(600)]
    send(pool, 1, cached(*params))
    for id in range(1, 601):
        run(pool, id)
    pool.say(CLIENT, Watch(pool.pool.queue.last_finish, 100_000))
    assert send(pool, 2, cached(*params)) == [Accepted(2, 601, 600, [[n, n + 1, 0] for n in range(600)])]
    ends = [m for _ in range(3) for m in pool.say(CLIENT, Heartbeat(0))[CLIENT] if isinstance(m, Events)]
    assert [row[0] for m in ends for row in m.finished] == list(range(1, 601))
    assert len(ends) == 2
