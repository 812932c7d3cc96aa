"""What comes after what: when a task that waits for others runs, is cancelled, or goes on waiting. Pure."""

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
    reasons,
    states,
)
from unit.pool_words import (  # pyright: ignore[reportMissingImports]
    CANCELLED,
    CLIENT,
    COMPLETED,
    FAILED,
    HOST,
    QUEUED,
    completed,
    ended,
    failed,
    granted,
)

from workerhost.actors.core.flows.flows import OPEN_SECONDS
from workerhost.actors.core.settings import Keep
from workerhost.transport.messages import (
    Accepted,
    Admin,
    Cancel,
    Events,
    Rejected,
    Reply,
    Results,
    Tasks,
)


def test_a_task_runs_when_what_it_comes_after_has_completed(pool: Any) -> None:
    pool.host(slots=5)
    assert flow(pool, group(), group(within=[0])) == {
        CLIENT: [Accepted(101, 1, 2)],
        HOST: [Tasks([["a", [[1, lease(pool, 1), 1, 5, pool.wall, b"x", None]]]])],
    }
    assert states(pool, 1, 2) == ["running", "waiting"]
    assert [id for id, *_ in granted(finish(pool, 1))] == [2]


def test_a_task_after_several_waits_for_the_last_of_them(pool: Any) -> None:
    pool.host(slots=5)
    flow(pool, group(b"x", b"y", b"z"), group(within=[[0, 3]]))
    assert granted(finish(pool, 2)) == granted(finish(pool, 3)) == []
    assert [id for id, *_ in granted(finish(pool, 1))] == [4]


def test_all_ends_of_one_message_count_together(pool: Any) -> None:
    pool.host(slots=5)
    flow(pool, group(b"x", b"y", b"z"), group(within=[[0, 3]]))
    said = pool.say(HOST, Results([completed(id, lease(pool, id)) for id in (1, 2, 3)]))
    assert [id for id, *_ in granted(said)] == [4]


@pytest.mark.parametrize(("on_failure", "state"), [("cancel", "cancelled"), ("run", "running"), ("wait", "waiting")])
def test_a_failure_does_to_what_comes_after_as_that_says(pool: Any, on_failure: str, state: str) -> None:
    pool.host(slots=5)
    flow(pool, group(), group(within=[0], on_failure=on_failure))
    fail(pool, 1)
    assert states(pool, 1, 2) == ["failed", state]


def test_a_failure_ends_everything_that_comes_after_and_says_why(pool: Any) -> None:
    pool.host(slots=5)
    flow(pool, group(), group(within=[0]), group(within=[1]))
    said = fail(pool, 1)
    assert ended(said) == [(1, FAILED), (2, CANCELLED), (3, CANCELLED)]
    reasons = [e[4].get("reason") for m in said[CLIENT] if isinstance(m, Events) for e in m.finished]
    assert reasons == [
        None,
        "task 1, which it comes after, is failed",
        "task 2, which it comes after, is cancelled",
    ]


def test_a_person_lets_a_waiting_task_go(pool: Any) -> None:
    pool.host(slots=5)
    flow(pool, group(), group(within=[0]))
    said = pool.say(CLIENT, Admin(1, "unblock", {"ids": [1, 2, 9]}))
    assert [m for m in said[CLIENT] if isinstance(m, Reply)] == [Reply(1, True, {"unblocked": [2]})]
    assert states(pool, 1, 2) == ["running", "running"]
    finish(pool, 2)
    assert granted(finish(pool, 1)) == []


def test_a_cancelled_task_ends_what_comes_after_it(pool: Any) -> None:
    flow(pool, group(), group(within=[0]), group(within=[1]))
    said = pool.say(CLIENT, Cancel(1, [2]))
    assert ended(said) == [(2, CANCELLED), (3, CANCELLED)]
    assert states(pool, 1) == ["queued"]


def test_a_task_comes_after_tasks_of_any_day(pool: Any) -> None:
    pool.host(slots=5)
    pool.send(count=3)
    finish(pool, 1)
    fail(pool, 2)
    pool.send(after=[1])
    pool.send(after=[1, 3])
    pool.send(after=[2])
    pool.send(after=[2], on_failure="run")
    assert states(pool, 4, 5, 6, 7) == ["running", "waiting", "cancelled", "running"]
    assert [id for id, *_ in granted(finish(pool, 3))] == [5]


def test_a_delay_counts_from_when_nothing_holds_a_task_back(pool: Any) -> None:
    pool.host(slots=5)
    flow(pool, group(), group(within=[0], delay=10))
    finish(pool, 1)
    assert states(pool, 2) == ["scheduled"]
    pool.wait(9)
    assert states(pool, 2) == ["scheduled"]
    pool.wait(2)
    assert states(pool, 2) == ["running"]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"after": [99]}, "after"),
        ({"after": [0]}, "after"),
        ({"after": ["1"]}, "after"),
        ({"within": [0]}, "within"),
        ({"on_failure": "cancel"}, "after"),
        ({"after": [1], "on_failure": "explode"}, "on_failure"),
        ({"after": [1], "results": [[0, 1]]}, "results"),
        ({"after": [1], "results": [[5, 0]]}, "results"),
        ({"after": [1], "results": [["0", 0]]}, "results"),
        ({"results": [[0, 0]]}, "after"),
    ],
)
def test_what_no_dependency_can_be_is_refused_and_nothing_is_stored(
    pool: Any, options: dict[str, Any], path: str
) -> None:
    pool.send()
    said = pool.send(**options)
    [refused] = said[CLIENT]
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.path) == ("invalid", path)
    assert pool.pool.queue.last_id == 1


def test_more_tasks_than_a_turn_can_look_up_are_refused(pool: Any) -> None:
    [refused] = pool.send(after=list(range(1, 10_002)))[CLIENT]
    assert refused.reason == "after: 10001 tasks named in one submission; at most 10000"


def test_a_circle_cannot_be_said(pool: Any) -> None:
    said = flow(pool, group(within=[1]), group(within=[0]))
    reason = "within: place 1 is not before place 0; a circle has no order"
    assert said == {CLIENT: [Rejected(101, "invalid", reason, "within")]}


def test_a_repeated_flow_returns_the_first_ids_and_stores_nothing(pool: Any) -> None:
    groups = [group(), group(within=[0])]
    assert flow(pool, *groups) == flow(pool, *groups) == {CLIENT: [Accepted(101, 1, 2)]}
    assert pool.store.flow(1)["total"] == 2


# Parts.


def test_nothing_of_a_flow_runs_before_its_last_part_is_here(pool: Any) -> None:
    pool.host(slots=5)
    assert flow(pool, group(), last=False) == {CLIENT: [Accepted(101, 1, 1)]}
    assert states(pool, 1) == ["waiting"]
    pool.send("b")  # somebody else's, in between
    assert flow(pool, group(within=[0]), submission=103, of=1, start=1, last=False) == {CLIENT: [Accepted(103, 3, 1)]}
    said = flow(pool, group(within=[[0, 2]]), group(), submission=104, of=1, start=2)
    assert [id for id, *_ in granted(said)] == [5, 1]
    assert [id for id, *_ in granted(finish(pool, 1))] == [3]
    assert [id for id, *_ in granted(finish(pool, 3))] == [4]


def test_a_part_that_is_missing_is_noticed(pool: Any) -> None:
    flow(pool, group(), last=False)
    [refused] = flow(pool, group(), submission=102, of=1, start=2)[CLIENT]
    assert refused.reason == "flow: a part starts at place 2, the next one is 1"
    [refused] = flow(pool, group(), submission=103, of=7, start=1)[CLIENT]
    assert refused.reason == "flow: this session has no flow 7 that takes further parts"


def test_a_flow_that_never_becomes_whole_is_given_up(pool: Any) -> None:
    pool.host(slots=5)
    flow(pool, group(), group(within=[0], on_failure="run"), last=False)
    pool.wait(OPEN_SECONDS + 5, step=4.0)
    assert states(pool, 1, 2) == ["cancelled", "cancelled"]
    assert pool.store.flow(1)["state"] == "failed"
    assert "flow_given_up" in pool.notes


def test_a_restart_between_two_parts_loses_nothing(pool: Any) -> None:
    flow(pool, group(), last=False)
    pool.start()
    pool.client()
    pool.host(slots=5)
    said = flow(pool, group(within=[0]), submission=102, of=1, start=1)
    assert [id for id, *_ in granted(said)] == [1]
    assert [id for id, *_ in granted(finish(pool, 1))] == [2]


def test_a_part_without_a_task_is_refused(pool: Any) -> None:
    """Two flows that began with nothing would have one number."""
    for said in ({"last": False}, {}):
        [refused] = flow(pool, ["a", 5, None, []], **said)[CLIENT]
        assert refused.reason == "flow: a part holds at least one task"
    flow(pool, group(), last=False)
    [refused] = flow(pool, ["a", 5, None, []], submission=102, of=1, start=1)[CLIENT]
    assert refused.reason == "flow: a part holds at least one task"


def test_a_flow_given_up_ends_who_came_after_what_had_ended_before(pool: Any) -> None:
    pool.host(slots=5)
    flow(pool, group(), last=False)
    pool.say(CLIENT, Cancel(1, [1]))
    flow(pool, group(within=[0]), submission=102, of=1, start=1, last=False)
    pool.wait(OPEN_SECONDS + 5, step=4.0)
    assert states(pool, 1, 2) == ["cancelled", "cancelled"]
    assert len(pool.pool.flows.members) == 0


# Restarts and bounds.


def test_groups_without_tasks_name_no_more_others_than_groups_with_some(pool: Any) -> None:
    flow(pool, group(*[b"x"] * 1000), last=False)
    empty: list[Any] = ["a", 5, {"within": [[0, 1000]]}, []]
    [refused] = flow(pool, *[empty] * 101, group(), submission=102, of=1, start=1000)[CLIENT]
    assert refused.reason == "more than 100000 dependencies in one submission"


def test_a_restart_finds_who_was_not_told(pool_with: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workerhost.actors.core.flows.flows._TURN_EDGES", 3)
    pool = pool_with()
    flow(pool, group(), group(*[b"x"] * 20, within=[0]))
    pool.say(CLIENT, Cancel(1, [1]))
    assert states(pool, *range(2, 22)).count("waiting") > 10
    pool.start()
    pool.wait(10)
    assert set(states(pool, *range(2, 22))) == {"cancelled"}


def test_a_waiting_task_is_known_after_a_restart(pool: Any) -> None:
    pool.send()
    pool.send(after=[1])
    pool.start()
    pool.client()
    pool.host(slots=5)
    assert [id for id, *_ in granted(finish(pool, 1))] == [2]


def test_many_dependents_are_let_go_a_bounded_number_a_turn(pool_with: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workerhost.actors.core.flows.flows._TURN_EDGES", 100)
    monkeypatch.setattr("workerhost.actors.core.flows.flows._READ_EDGES", 30)
    pool = pool_with()
    pool.host(slots=1)
    flow(pool, group(), group(*[b"x"] * 1000, within=[0]))
    finish(pool, 1)
    there = pool.store.flow(1)["counts"]
    assert there["waiting"] == 900
    assert pool.pool.next_time(pool.now) == pool.now
    pool.wait(10)
    assert "waiting" not in pool.store.flow(1)["counts"]


def test_nothing_is_read_where_nothing_waits(pool: Any) -> None:
    pool.host(slots=5)
    pool.send(count=3)
    reads: list[Any] = []
    read = pool.store.read

    def noted(need: Any) -> Any:
        reads.append(need)
        return read(need)

    pool.store.read = noted
    finish(pool, 1)
    fail(pool, 2)
    assert reads == []


def test_what_a_flow_needs_is_not_forgotten_before_it_has_ended(pool_with: Any) -> None:
    pool = pool_with(keep=Keep(completed=1.0, failed=1.0))
    pool.host(slots=1)
    flow(pool, group(), group(within=[0]))
    pool.send("b")
    pool.send("b", after=[3])
    finish(pool, 1)
    pool.wait(30)
    assert states(pool, 1) == ["completed"]
    finish(pool, 2)
    pool.wait(30)
    assert pool.store.show(1) is pool.store.show(2) is pool.store.flow(1) is None


# Results in params.


def test_results_are_put_into_the_params_of_what_comes_after(pool: Any) -> None:
    pool.host(slots=5)
    packed = b"\x92\xc0\xc0"  # a list of two nils
    flow(pool, group(b"x", b"y"), group(packed, within=[[0, 2]], results=[[2, 0], [1, 1]]))
    finish(pool, 1, b"\xa3one")
    said = finish(pool, 2, b"\xa3two")
    [tasks] = [m for m in said[HOST] if isinstance(m, Tasks)]
    assert tasks.groups[0][1][0][5] == b"\x92\xa3two\xa3one"


def test_results_are_put_in_again_when_a_task_is_tried_again(pool: Any) -> None:
    pool.host(slots=5)
    flow(pool, group(), group(NIL, within=[0], results=[[0, 0]]))
    finish(pool, 1, b"\x07")
    pool.say(HOST, Results([failed(2, lease(pool, 2))]))
    said = pool.wait(5)
    [tasks] = [m for m in said[HOST] if isinstance(m, Tasks)]
    assert tasks.groups[0][1][0][5] == b"\x07"


def test_results_that_are_too_large_together_fail_the_task(pool: Any) -> None:
    pool.host(slots=5)
    flow(pool, group(b"x", b"y"), group(b"\x92\xc0\xc0", within=[[0, 2]], results=[[1, 0], [2, 1]]))
    finish(pool, 1, b"r" * 3 * 1024 * 1024)
    said = finish(pool, 2, b"r" * 3 * 1024 * 1024)
    assert ended(said) == [(2, COMPLETED), (3, FAILED)]
    assert pool.store.show(3)["detail"]["cause"] == "result_too_large"


# What people see.


def test_why_names_what_a_task_waits_for(pool: Any) -> None:
    pool.host(slots=1)
    flow(pool, group(b"x", b"y"), group(within=[[0, 2]], on_failure="wait"))
    assert reasons(pool, 3) == ["waits for 1 (running), 2 (queued)"]
    fail(pool, 1)
    assert reasons(pool, 3) == ["waits for 1 (failed; a person decides: retry it, or unblock this one), 2 (running)"]


def test_a_flow_shows_how_far_it_is(pool: Any) -> None:
    pool.host(slots=1)
    flow(pool, group(b"x", b"y"), group(within=[[0, 2]]))
    finish(pool, 1)
    shown = pool.store.flow(1)
    assert (shown["state"], shown["total"], shown["completed"]) == ("running", 3, 1)
    assert shown["counts"] == {"completed": 1, "running": 1, "waiting": 1}
    listed = {name: value for name, value in shown.items() if name not in ("ids", "counts", "types", "next")}
    assert pool.store.flows(before=2**62, limit=5) == ([listed], None)
    assert pool.store.flows(before=2**62, limit=1) == ([listed], 1)


def test_a_client_hears_when_its_task_waits_no_longer(pool: Any) -> None:
    flow(pool, group(), group(within=[0]))
    said = pool.say(CLIENT, Admin(1, "unblock", {"ids": [2]}))
    assert [m.states for m in said[CLIENT] if isinstance(m, Events)] == [[[2, QUEUED]]]
