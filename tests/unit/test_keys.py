"""Keys in the core: a task that is there once, whoever sends it how often."""

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

from workerhost.actors.core.effects import Persist
from workerhost.transport.messages import (
    Accepted,
    Admin,
    Cancel,
    Events,
    Hello,
    Rejected,
    Reply,
    Results,
    Submit,
    Watch,
)

SAME, OTHER, REPLACED = range(3)
WAITING = 0


def send(pool: Any, number: int, *groups: Any, peer: bytes = CLIENT) -> list[Any]:
    return pool.say(peer, Submit(number, 1, [list(group) for group in groups]))[peer]


def named(key: Any, *params: bytes, type: str = "a", **options: Any) -> Any:
    return type, 5, {"key": key, **options}, list(params)


def test_a_task_whose_key_is_in_use_stands_for_the_one_that_is_there(pool: Any) -> None:
    assert send(pool, 1, named("k", b"x")) == [Accepted(1, 1, 1)]
    assert send(pool, 2, named("k", b"x")) == [Accepted(2, 2, 1, [[0, 1, SAME]]), Events([], [], [[1, QUEUED]])]
    assert pool.pool.queue.unfinished_count == 1
    assert pool.store.show(1)["options"] == {"key": "k"}
    assert pool.store.show(2) is None


def test_other_params_are_not_taken_and_that_is_said(pool: Any) -> None:
    send(pool, 1, named("k", b"x"))
    assert send(pool, 2, named("k", b"y"))[0] == Accepted(2, 2, 1, [[0, 1, OTHER]])
    assert pool.store.show(1)["params"] == b"x"


def test_the_same_key_of_another_type_is_another_key(pool: Any) -> None:
    send(pool, 1, named("k", b"x"))
    assert send(pool, 2, named("k", b"x", type="b")) == [Accepted(2, 2, 1)]


def test_one_submission_may_hold_a_key_twice(pool: Any) -> None:
    said = send(pool, 1, named(["k", "l", "k"], b"x", b"y", b"z"), ("a", 5, None, [b"plain"]), named("l", b"y"))
    assert said[0] == Accepted(1, 1, 5, [[2, 1, OTHER], [4, 2, SAME]])
    assert [pool.state(id) for id in (1, 2, 4)] == ["queued"] * 3
    assert pool.store.show(3) is pool.store.show(5) is None
    assert send(pool, 2, ("a", 5, None, [b"next"])) == [Accepted(2, 6, 1)]


def test_two_submissions_in_one_batch_make_one_task(pool: Any) -> None:
    said = pool.say(
        CLIENT,
        Submit(1, 1, [list(named("k", b"x"))]),
        Submit(2, 1, [list(named("k", b"y"))]),
        Submit(1, 1, [list(named("k", b"x"))]),
    )
    accepted = [message for message in said[CLIENT] if isinstance(message, Accepted)]
    assert accepted == [Accepted(1, 1, 1), Accepted(2, 2, 1, [[0, 1, OTHER]]), Accepted(1, 1, 1)]
    assert pool.pool.queue.unfinished_count == 1


def test_a_repeated_submission_is_answered_as_the_first_time_also_after_a_restart(pool: Any) -> None:
    send(pool, 1, named("k", b"x"))
    first = send(pool, 2, named(["k", "l"], b"x", b"y"))
    pool.host()
    pool.say(HOST, Results([completed(1, pool.pool.queue.leases[1].row.fence)]))  # its key is free by now
    again = send(pool, 2, named(["k", "l"], b"x", b"y"))
    assert again[0] == first[0] == Accepted(2, 2, 2, [[0, 1, SAME]])
    pool.start()
    pool.client()
    assert send(pool, 2, named(["k", "l"], b"x", b"y"))[0] == first[0]


def test_the_end_of_the_task_that_is_there_is_told_to_whoever_sent_the_other(pool: Any) -> None:
    pool.host()
    send(pool, 1, named("k", b"x"))
    other = b"d"
    pool.say(other, Hello("client", [1, 1], other * 16, "other"))
    pool.say(other, Watch(0, 100))
    assert send(pool, 1, named("k", b"x"), peer=other)[0] == Accepted(1, 2, 1, [[0, 1, SAME]])
    said = pool.say(HOST, Results([completed(1, pool.pool.queue.leases[1].row.fence)]))
    assert said[other] == [Events([[1, 0, COMPLETED, b"value", None]])]


@pytest.mark.parametrize("unique_for", [60, "kept"])
def test_a_completed_task_keeps_its_key_as_long_as_it_was_asked_to(pool: Any, unique_for: Any) -> None:
    pool.host(slots=9)
    send(pool, 1, named("k", b"x", unique_for=unique_for))
    pool.say(HOST, Results([completed(1, pool.pool.queue.leases[1].row.fence)]))
    pool.wait(59.0, step=4.0)
    said = send(pool, 2, named("k", b"x"))
    assert said == [Accepted(2, 2, 1, [[0, 1, SAME]])]
    ends = [message for message in pool.wait(0.1)[CLIENT] if isinstance(message, Events)]
    assert ends == [Events([[1, 0, COMPLETED, b"value", None]])]

    pool.wait(2.0)
    kept = [[0, 1, SAME]] if unique_for == "kept" else []
    assert send(pool, 3, named("k", b"x"))[0] == Accepted(3, 3, 1, kept)


def test_a_task_that_ended_badly_gives_its_key_free(pool: Any) -> None:
    pool.host()
    send(pool, 1, named("k", b"x", unique_for="kept"))
    pool.say(HOST, Results([failed(1, pool.pool.queue.leases[1].row.fence, retry=False)]))
    assert pool.state(1) == "failed"
    assert send(pool, 2, named("k", b"x", unique_for="kept"))[0] == Accepted(2, 2, 1)
    pool.say(CLIENT, Cancel(1, [2]))
    assert send(pool, 3, named("k", b"x"))[0] == Accepted(3, 3, 1)


def test_refuse_refuses_the_whole_submission_and_names_the_task(pool: Any) -> None:
    send(pool, 1, named("k", b"x"))
    (said,) = send(pool, 2, ("a", 5, None, [b"y"]), named("k", b"x", on_conflict="refuse"))
    assert said == Rejected(2, "conflict", "key 'k' of a is that of task 1, which is queued", "key")
    assert pool.pool.queue.unfinished_count == 1


def test_replace_gives_other_params_to_a_task_that_has_not_started(pool: Any) -> None:
    send(pool, 1, named("k", b"x"))
    large = b"y" * 5000
    assert send(pool, 2, named("k", large, on_conflict="replace"))[0] == Accepted(2, 2, 1, [[0, 1, REPLACED]])
    assert send(pool, 3, named("k", large, on_conflict="replace"))[0] == Accepted(3, 3, 1, [[0, 1, SAME]])
    assert send(pool, 4, named(["k", "k"], b"1", b"2", on_conflict="replace"))[0].others == [
        [0, 1, REPLACED],
        [1, 1, REPLACED],
    ]
    assert send(pool, 5, named(["l", "l"], b"1", b"2", on_conflict="replace"))[0].others == [[1, 6, REPLACED]]
    said = pool.host(slots=2)
    (tasks,) = [message for message in said[HOST] if type(message).__name__ == "Tasks"]
    assert [(task[0], task[5], task[6]) for _, tasks in tasks.groups for task in tasks] == [
        (1, b"2", {"key": "k"}),
        (6, b"2", {"key": "l"}),
    ]
    # It runs: its params are what they are.
    assert send(pool, 6, named("k", b"z", on_conflict="replace"))[0] == Accepted(6, 8, 1, [[0, 1, OTHER]])


def test_a_task_that_is_sent_and_granted_in_one_turn_has_started(pool: Any) -> None:
    pool.host()
    said = pool.say(
        CLIENT,
        Submit(1, 1, [list(named("k", b"x"))]),
        Submit(2, 1, [list(named("k", b"y", on_conflict="replace"))]),
    )
    assert granted(said)
    assert Accepted(2, 2, 1, [[0, 1, OTHER]]) in said[CLIENT]


def test_what_is_sent_in_the_turn_of_a_retry_leaves_room_for_what_runs_once_more(pool_with: Any) -> None:
    pool = pool_with(max_size=2)
    pool.host(slots=2)
    for number in (1, 2):
        send(pool, number, named(f"k{number}", b"x"))
    running = [lease.row for lease in pool.pool.queue.leases.values()]
    pool.say(HOST, Results([failed(row.id, row.fence, retry=False) for row in running]))
    said = pool.say(
        CLIENT,
        Admin(1, "retry", {"ids": [1, 2]}),
        Submit(3, 1, [["a", 5, {"after": [1], "on_failure": "run"}, [b"x"]]]),
    )[CLIENT]
    assert Reply(1, True, {"retried": [1, 2]}) in said
    assert [message.code for message in said if isinstance(message, Rejected)] == ["queue_full"]


def test_a_full_queue_still_answers_for_what_is_there(pool_with: Any) -> None:
    pool = pool_with(max_size=1)
    send(pool, 1, named("k", b"x"))
    assert send(pool, 2, named("k", b"x"))[0] == Accepted(2, 2, 1, [[0, 1, SAME]])
    assert send(pool, 3, named(["k", "l"], b"x", b"y"))[0].code == "queue_full"


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"key": ""}, "key"),
        ({"key": "k" * 256}, "key"),
        ({"key": ["k", "l"]}, "key"),
        ({"key": [5]}, "key"),
        ({"key": "k", "unique_for": "long"}, "unique_for"),
        ({"key": "k", "unique_for": 0}, "unique_for"),
        ({"key": "k", "unique_for": float("nan")}, "unique_for"),
        ({"key": "k", "on_conflict": "ignore"}, "on_conflict"),
        ({"unique_for": 5}, "unique_for"),
        ({"on_conflict": "refuse"}, "on_conflict"),
    ],
)
def test_what_no_key_can_be_is_refused(pool: Any, options: dict[str, Any], path: str) -> None:
    (said,) = send(pool, 1, ("a", 5, options, [b"x"]))
    assert (said.code, said.path) == ("invalid", path)


def test_who_has_gone_before_the_answer_leaves_nothing_behind(pool: Any) -> None:
    number = pool.numbers[CLIENT] + 1
    batch = [(CLIENT, number, Submit(1, 1, [list(named("k", b"x"))])), (CLIENT, 0, None)]
    pool._turn(pool.pool.handle(batch, pool.now, pool.wall))
    assert pool.pool.queue.unfinished_count == 0
    pool.client()
    assert send(pool, 1, named("k", b"x")) == [Accepted(1, 1, 1)]


def retry(pool: Any, *ids: int) -> dict[str, Any]:
    said = pool.say(CLIENT, Admin(9, "retry", {"ids": list(ids)}))[CLIENT]
    (reply,) = (message for message in said if isinstance(message, Reply))
    return reply.value


def test_a_task_whose_key_a_newer_one_has_is_not_retried(pool: Any) -> None:
    send(pool, 1, named("k", b"x"), ("a", 5, None, [b"plain"]))
    pool.say(CLIENT, Cancel(1, [1, 2]))
    send(pool, 2, named("k", b"x"))
    assert retry(pool, 1, 2) == {"retried": [2], "superseded": [[1, 3]]}
    assert [pool.state(id) for id in (1, 2, 3)] == ["cancelled", "queued", "queued"]
    # The newer one ends badly, too: of all that had the key one runs, the latest.
    pool.say(CLIENT, Cancel(2, [3]))
    assert retry(pool, 1, 3) == {"retried": [3], "superseded": [[1, 3]]}


def test_a_task_that_is_retried_has_its_key_again(pool: Any) -> None:
    send(pool, 1, named("k", b"x", unique_for="kept"))
    pool.say(CLIENT, Cancel(1, [1]))
    assert retry(pool, 1) == {"retried": [1]}
    assert send(pool, 2, named("k", b"x"))[0].others == [[0, 1, SAME]]
    pool.say(CLIENT, Cancel(2, [1]))
    send(pool, 3, named("k", b"y"))
    pool.say(CLIENT, Cancel(3, [3]))
    assert retry(pool, 1) == {"retried": [1]}
    assert send(pool, 4, named("k", b"x"))[0].others == [[0, 1, SAME]]
    assert retry(pool, 3) == {"retried": [], "superseded": [[3, 1]]}


def test_a_completed_task_that_keeps_its_key_stands_for_older_ones(pool: Any) -> None:
    send(pool, 1, named("k", b"x"))
    pool.say(CLIENT, Cancel(1, [1]))
    send(pool, 2, named("k", b"x", unique_for=60))
    pool.host()
    pool.say(HOST, Results([completed(2, pool.pool.queue.leases[2].row.fence)]))
    assert retry(pool, 1, 2) == {"retried": [], "superseded": [[1, 2]]}
    pool.wait(61.0, step=4.0)
    assert retry(pool, 1) == {"retried": [1]}


def test_one_that_comes_after_others_waits_for_them_again(pool: Any) -> None:
    send(pool, 1, ("a", 5, None, [b"first"]))
    send(pool, 2, ("a", 5, {"key": ["k"], "after": [1], "results": [[0, 0]]}, [b"\xc0"]))
    pool.say(CLIENT, Cancel(1, [1]))
    assert [pool.state(id) for id in (1, 2)] == ["cancelled", "cancelled"]
    assert retry(pool, 2) == {"retried": [2]}
    assert pool.state(2) == "waiting"
    # Its params are what they take up, too: they are replaced by no other's.
    assert send(pool, 3, named("k", b"y", on_conflict="replace"))[0].others == [[0, 2, OTHER]]
    assert retry(pool, 1) == {"retried": [1]}
    pool.host(slots=2)
    assert pool.state(2) == "waiting"
    pool.say(HOST, Results([completed(1, pool.pool.queue.leases[1].row.fence)]))
    assert pool.state(2) == "running"


def test_one_that_comes_after_others_takes_its_key_back(pool: Any) -> None:
    send(pool, 1, ("a", 5, None, [b"first"]))
    send(pool, 2, ("a", 5, {"key": ["k"], "after": [1], "results": [[0, 0]]}, [b"\xc0"]))
    pool.say(CLIENT, Cancel(1, [1]))
    send(pool, 3, named("k", b"y"))
    pool.say(CLIENT, Cancel(2, [3]))
    said = pool.say(CLIENT, Admin(1, "retry", {"ids": [2]}), Admin(2, "retry", {"ids": [3]}))[CLIENT]
    replies = [message.value for message in said if isinstance(message, Reply)]
    assert replies == [{"retried": [], "superseded": [[3, 2]]}, {"retried": [2]}]
    assert send(pool, 4, named("k", b"z", on_conflict="replace"))[0].others == [[0, 2, OTHER]]


def test_one_that_comes_after_others_is_not_superseded_by_itself(pool: Any) -> None:
    send(pool, 1, ("a", 5, None, [b"first"]))
    send(pool, 2, ("a", 5, {"key": ["k"], "after": [1]}, [b"x"]))
    pool.say(CLIENT, Cancel(1, [1]))
    said = pool.say(CLIENT, Admin(1, "retry", {"ids": [2]}), Admin(2, "retry", {"ids": [2]}))[CLIENT]
    assert [message.value for message in said if isinstance(message, Reply)] == [{"retried": []}, {"retried": [2]}]


def test_two_orders_in_one_batch_retry_a_task_once(pool: Any) -> None:
    send(pool, 1, named("k", b"x"))
    pool.say(CLIENT, Cancel(1, [1]))
    send(pool, 2, named("k", b"x"))
    pool.say(CLIENT, Cancel(2, [2]))
    said = pool.say(CLIENT, Admin(1, "retry", {"ids": [1]}), Admin(2, "retry", {"ids": [2]}))[CLIENT]
    replies = [message.value for message in said if isinstance(message, Reply)]
    assert replies == [{"retried": [1]}, {"retried": [], "superseded": [[2, 1]]}]


# Among others.


def test_a_task_with_a_key_may_come_after_others(pool: Any) -> None:
    pool.host(slots=9)
    send(pool, 1, ("a", 5, None, [b"x"]))
    assert send(pool, 2, named(["k", "l"], b"y", b"z", after=[1])) == [Accepted(2, 2, 2)]
    assert send(pool, 3, named(["m", "k"], b"w", b"y", after=[1])) == [
        Accepted(3, 4, 2, [[1, 2, SAME]]),
        Events([], [], [[2, WAITING]]),
    ]
    assert [pool.state(id) for id in (2, 3, 4)] == ["waiting"] * 3
    said = pool.say(HOST, Results([completed(1, pool.pool.queue.leases[1].row.fence)]))
    assert [id for id, _, _ in granted(said)] == [2, 3, 4]


def test_a_key_after_a_task_that_is_not_there_is_refused_and_a_repeated_one_is_not(pool: Any) -> None:
    pool.host()
    (said,) = send(pool, 1, named("k", b"x", after=[7]))
    assert said == Rejected(1, "invalid", "after: the pool has no task 7", "after")
    send(pool, 2, ("a", 5, None, [b"x"]))
    again = named("k", b"x", after=[1])
    assert send(pool, 3, again)[0] == Accepted(3, 2, 1)
    fence = pool.pool.queue.leases[1].row.fence
    pool.say(HOST, Results([completed(1, fence)]))
    pool.store.begin()
    pool.store.apply(Persist(prunes=[(1, 1)]))
    pool.store.commit()
    assert send(pool, 3, again)[0] == Accepted(3, 2, 1)


def test_params_that_take_up_results_are_not_replaced(pool: Any) -> None:
    send(pool, 1, ("a", 5, None, [b"x", b"y"]))
    nil = b"\xc0"
    taking: dict[str, Any] = {"after": [1], "results": [[0, 0]], "on_conflict": "replace"}
    assert send(pool, 2, named("k", nil, **taking))[0] == Accepted(2, 3, 1)
    assert send(pool, 3, named("k", nil, **taking))[0].others == [[0, 3, SAME]]
    other = named("k", nil, after=[2], results=[[0, 0]], on_conflict="replace")
    assert send(pool, 4, other)[0].others == [[0, 3, OTHER]]
    assert send(pool, 5, named("k", b"plain", on_conflict="replace"))[0].others == [[0, 3, OTHER]]
    send(pool, 6, named("l", nil))
    assert send(pool, 7, named("l", nil, **taking))[0].others == [[0, 7, OTHER]]
    assert send(pool, 8, named("l", b"z", on_conflict="replace", after=[1]))[0].others == [[0, 7, REPLACED]]
    assert pool.state(7) == "queued"


def test_a_flow_has_no_keys(pool: Any) -> None:
    (said,) = pool.say(CLIENT, Submit(1, 1, [list(named("k", b"x"))], {"name": "f"}))[CLIENT]
    reason = "a task of a flow has no key: send it before the flow, and let tasks of that come after it"
    assert said == Rejected(1, "invalid", reason, "key")
