"""Tasks that come after others and are run once more by hand: what they wait for, and who waits for them. Pure."""

from __future__ import annotations

from typing import Any

import pytest
from unit.flow_words import (  # pyright: ignore[reportMissingImports]
    NIL,
    fail,
    finish,
    flow,
    group,
    lease,
    states,
)
from unit.pool_words import (  # pyright: ignore[reportMissingImports]
    CLIENT,
    HOST,
    completed,
    failed,
    granted,
)

from workerhost.actors.core.flows import flows
from workerhost.actors.core.flows.flows import OPEN_SECONDS
from workerhost.actors.core.settings import Keep
from workerhost.transport.messages import (
    Admin,
    Cancel,
    Reply,
    Results,
    Submit,
    Tasks,
)


def test_a_retried_failure_that_completes_lets_go_who_waited_for_a_person(pool: Any) -> None:
    pool.host(slots=5)
    flow(pool, group(), group(within=[0], on_failure="wait"))
    fail(pool, 1)
    pool.say(CLIENT, Admin(1, "retry", {"ids": [1]}))
    assert [id for id, *_ in granted(finish(pool, 1))] == [2]


def test_a_flow_is_retried_from_where_it_failed(pool: Any) -> None:
    pool.host(slots=5)
    flow(pool, group(), group(within=[0]), group(within=[1]), group(within=[1, 2]))
    finish(pool, 1)
    fail(pool, 2)
    assert states(pool, 1, 2, 3, 4) == ["completed", "failed", "cancelled", "cancelled"]
    assert len(pool.pool.flows.members) == 0
    said = pool.say(CLIENT, Admin(1, "retry", {"ids": [1, 2, 3, 4]}))
    assert [m for m in said[CLIENT] if isinstance(m, Reply)] == [Reply(1, True, {"retried": [2, 3, 4]})]
    assert states(pool, 1, 2, 3, 4) == ["completed", "running", "waiting", "waiting"]
    for id in (2, 3, 4):
        finish(pool, id)
    assert pool.store.flow(1)["state"] == "completed"


def test_a_retried_dependent_waits_for_what_it_comes_after(pool: Any) -> None:
    pool.host(slots=5)
    flow(pool, group(), group(within=[0]))
    fail(pool, 1)
    pool.say(CLIENT, Admin(1, "retry", {"ids": [2]}))
    assert states(pool, 1, 2) == ["failed", "waiting"]
    pool.say(CLIENT, Admin(2, "retry", {"ids": [1]}))
    assert [id for id, *_ in granted(finish(pool, 1))] == [2]


def test_two_retries_of_one_task_in_one_batch_are_one(pool: Any) -> None:
    pool.host(slots=5)
    flow(pool, group(), group(within=[0]))
    fail(pool, 1)
    said = pool.say(CLIENT, Admin(1, "retry", {"ids": [2]}), Admin(2, "retry", {"ids": [2]}))
    replies = [m.value for m in said[CLIENT] if isinstance(m, Reply)]
    assert replies == [{"retried": [2]}, {"retried": []}]


def test_who_comes_after_a_task_that_is_retried_waits_for_its_next_end(pool: Any) -> None:
    pool.host(slots=5)
    pool.send()
    pool.send(after=[1], on_failure="wait")
    batch = [
        (HOST, pool.numbers[HOST] + 1, Results([failed(1, lease(pool, 1), retry=False)])),
        (CLIENT, pool.numbers[CLIENT] + 1, Admin(1, "retry", {"ids": [1]})),
        (CLIENT, pool.numbers[CLIENT] + 2, Submit(9, 1, [group(after=[1]), group(after=[1], on_failure="run")])),
    ]
    pool.numbers[HOST] += 1
    pool.numbers[CLIENT] += 2
    pool.hear(batch)

    assert states(pool, 1, 2, 3, 4) == ["running", "waiting", "waiting", "waiting"]
    finish(pool, 1)
    assert states(pool, 2, 3, 4) == ["running"] * 3


def test_who_comes_after_a_task_that_is_retried_in_the_turn_of_another_end_waits_for_its_next_end(pool: Any) -> None:
    """What that end lets go is asked for first, so that nobody has looked at the new edge when the retry is heard."""
    pool.host(slots=5)
    pool.send()
    pool.send()
    pool.send(after=[2])
    fail(pool, 1)
    pool.hear(
        [
            (HOST, pool.numbers[HOST] + 1, Results([completed(2, lease(pool, 2))])),
            (CLIENT, pool.numbers[CLIENT] + 1, Submit(9, 1, [group(after=[1], on_failure="run")])),
            (CLIENT, pool.numbers[CLIENT] + 2, Admin(1, "retry", {"ids": [1]})),
        ]
    )
    pool.numbers[HOST] += 1
    pool.numbers[CLIENT] += 2
    assert states(pool, 1, 3, 4) == ["running", "running", "waiting"]

    finish(pool, 1)
    assert states(pool, 4) == ["running"]


def test_results_that_grew_too_large_since_a_task_was_let_go_fail_it_and_hurt_nobody_else(pool: Any) -> None:
    pool.host(slots=5)
    large: Any = {"type": "b", "on_failure": "run", "within": [[0, 3]], "results": [[1, 0], [2, 1], [3, 2]]}
    flow(pool, group(b"x", b"y", b"z"), group(b"\x93\xc0\xc0\xc0", **large), group(type="b"))
    for id in (1, 2, 3):
        fail(pool, id)
    assert states(pool, 4, 5) == ["queued", "queued"]
    pool.say(CLIENT, Admin(1, "retry", {"ids": [1, 2, 3]}))
    for id in (1, 2, 3):
        finish(pool, id, b"r" * 3 * 1024 * 1024)

    said = pool.host(b"i", "b", slots=2)
    assert states(pool, 4, 5) == ["failed", "running"]
    assert pool.store.show(4)["detail"]["cause"] == "result_too_large"
    assert [id for id, *_ in granted(said, b"i")] == [5]


def test_many_whose_results_grew_too_large_are_looked_at_in_as_many_turns(pool: Any) -> None:
    pool.host(slots=5)
    large: Any = {"type": "b", "on_failure": "run", "within": [[0, 2]], "results": [[1, 0], [2, 1]]}
    flow(pool, group(b"x", b"y"), *[group(b"\x92\xc0\xc0", **large) for _ in range(3)])
    for id in (1, 2):
        fail(pool, id)
    pool.say(CLIENT, Admin(1, "retry", {"ids": [1, 2]}))
    for id in (1, 2):
        finish(pool, id, b"r" * 3 * 1024 * 1024)

    pool.host(b"i", "b", slots=1)
    assert states(pool, 3, 4, 5) == ["failed", "queued", "queued"]
    assert pool.pool.next_time(pool.now) == pool.now, "the next turn follows at once"
    pool.hear([])
    assert states(pool, 3, 4, 5) == ["failed", "failed", "queued"]


@pytest.mark.parametrize("when", ["in the turn of its failure", "a turn later"])
def test_many_who_come_after_a_task_that_is_retried_are_all_let_go(
    pool: Any, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(flows, "_READ_EDGES", 5)
    monkeypatch.setattr(flows, "_TURN_EDGES", 5)
    pool.host(slots=20)
    pool.send()
    for _ in range(10):
        pool.send(after=[1], on_failure="wait")
    failure = (HOST, pool.numbers[HOST] + 1, Results([failed(1, lease(pool, 1), retry=False)]))
    again = (CLIENT, pool.numbers[CLIENT] + 1, Admin(1, "retry", {"ids": [1]}))
    pool.numbers[HOST] += 1
    pool.numbers[CLIENT] += 1
    for batch in ([failure, again],) if when == "in the turn of its failure" else ([failure], [again]):
        pool.hear(batch)
    finish(pool, 1)
    pool.wait(1)

    assert states(pool, *range(2, 12)) == ["running"] * 10


def test_a_flow_that_ends_while_one_of_its_tasks_is_retried_goes_on(pool: Any) -> None:
    flow(pool, group(), group())
    pool.say(CLIENT, Cancel(1, [1]))
    pool.say(CLIENT, Admin(2, "retry", {"ids": [1]}), Cancel(3, [2]))
    assert states(pool, 1, 2) == ["queued", "cancelled"]
    assert pool.store.flow(1)["state"] == "running"
    pool.say(CLIENT, Admin(4, "retry", {"ids": [2]}))
    pool.send(after=[2])
    pool.host(slots=5)
    finish(pool, 1)
    assert [id for id, *_ in granted(finish(pool, 2))] == [3]
    assert pool.store.flow(1)["state"] == "completed"


def test_a_task_that_came_after_a_failure_and_waits_for_a_person_is_let_go_by_its_retry(pool: Any) -> None:
    pool.host(slots=5)
    pool.send()
    fail(pool, 1)
    pool.send(after=[1], on_failure="wait")
    pool.say(CLIENT, Admin(1, "retry", {"ids": [1]}))
    assert [id for id, *_ in granted(finish(pool, 1))] == [2]


def test_after_a_restart_a_retried_failure_lets_go_who_waited_for_a_person(pool: Any) -> None:
    pool.host(slots=5)
    pool.send()
    pool.send(after=[1], on_failure="wait")
    fail(pool, 1)
    pool.start()
    pool.client()
    pool.host(slots=5)
    pool.wait(1.0)
    pool.say(CLIENT, Admin(1, "retry", {"ids": [1]}))
    assert [id for id, *_ in granted(finish(pool, 1))] == [2]


@pytest.mark.parametrize("later", ["restart", "another comes after it"])
def test_what_was_retried_to_wait_for_a_failure_is_not_ended_by_that_failure_again(pool: Any, later: str) -> None:
    pool.host(slots=5)
    pool.send()
    pool.send(after=[1])
    fail(pool, 1)
    pool.say(CLIENT, Admin(1, "retry", {"ids": [2]}))
    assert states(pool, 1, 2) == ["failed", "waiting"]
    if later == "restart":
        pool.start()
        pool.client()
        pool.host(slots=5)
        pool.wait(1.0)
    else:
        pool.send(after=[1])
        assert pool.state(3) == "cancelled"
    assert states(pool, 1, 2) == ["failed", "waiting"]
    pool.say(CLIENT, Admin(2, "retry", {"ids": [1]}))
    assert [id for id, *_ in granted(finish(pool, 1))] == [2]


def test_many_who_wait_for_a_person_are_let_go_together(pool_with: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workerhost.actors.core.flows.flows._READ_EDGES", 5)
    pool = pool_with()
    pool.host(slots=20)
    pool.send()
    pool.send(count=10, after=[1], on_failure="wait")
    fail(pool, 1)
    pool.say(CLIENT, Admin(1, "retry", {"ids": [1]}))
    assert len(granted(finish(pool, 1))) == 10


def test_a_result_is_kept_for_a_failure_that_may_be_run_once_more(pool_with: Any) -> None:
    pool = pool_with(keep=Keep(completed=5.0, failed=60.0))
    pool.host(slots=5)
    flow(pool, group(), group(NIL, within=[0], results=[[0, 0]]))
    finish(pool, 1, b"\x07")
    fail(pool, 2)
    pool.wait(40)
    said = pool.say(CLIENT, Admin(1, "retry", {"ids": [2]}))
    [tasks] = [m for m in said[HOST] if isinstance(m, Tasks)]
    assert tasks.groups[0][1][0][5] == b"\x07"
    finish(pool, 2)
    pool.wait(10)
    assert pool.store.show(1) is pool.store.show(2) is None


@pytest.mark.parametrize("restarted", [False, True])
def test_who_retries_a_flow_that_was_given_up_takes_it_as_whole(pool: Any, restarted: bool) -> None:
    flow(pool, group(), group(within=[0]), last=False)
    pool.wait(OPEN_SECONDS + 5, step=4.0)
    assert (*states(pool, 1, 2), pool.store.flow(1)["state"]) == ("cancelled", "cancelled", "failed")
    pool.say(CLIENT, Admin(1, "retry", {"ids": [1, 2]}))
    assert (*states(pool, 1, 2), pool.store.flow(1)["state"]) == ("queued", "waiting", "running")
    if restarted:
        pool.start()
        pool.client()
    pool.host(slots=5)
    assert [id for id, *_ in granted(finish(pool, 1))] == [2]
    finish(pool, 2)
    assert pool.store.flow(1)["state"] == "completed"


def test_a_task_that_is_retried_before_its_flow_is_whole_waits_for_that(pool: Any) -> None:
    pool.host(slots=5)
    flow(pool, group(), last=False)
    pool.say(CLIENT, Cancel(1, [1]))
    pool.say(CLIENT, Admin(2, "retry", {"ids": [1]}))
    assert states(pool, 1) == ["waiting"]
    flow(pool, group(), submission=102, of=1, start=1)
    assert states(pool, 1, 2) == ["running", "running"]
