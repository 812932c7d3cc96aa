"""The core of the supervisor: what becomes of tasks. Messages and time in, whole lists of what is said out."""

from __future__ import annotations

from typing import Any

from unit.pool_words import (  # pyright: ignore[reportMissingImports]
    CANCELLED,
    CLIENT,
    COMPLETED,
    FAILED,
    HOST,
    QUARANTINED,
    RUNNING,
    SCHEDULED,
    completed,
    crashed,
    ended,
    failed,
    granted,
)

from workerhost.transport.messages import (
    Accepted,
    Admin,
    Cancel,
    Claim,
    Events,
    GiveBack,
    Hello,
    Outcome,
    Recorded,
    Rejected,
    Reply,
    Results,
    Returned,
    Submit,
    Watch,
)


def test_order_is_priority_then_age_whatever_came_first(pool: Any) -> None:
    pool.send(priority=1, count=2)
    pool.send(priority=9, count=2)
    pool.send(priority=5)
    assert [id for id, _, _ in granted(pool.host(slots=5))] == [3, 4, 5, 1, 2]


def test_order_holds_across_types(pool: Any) -> None:
    pool.send("a", priority=5)
    pool.send("b", priority=7)
    pool.send("c", priority=6)
    pool.send("a", priority=8)
    pool.host(HOST, "a", "b", "c", slots=1)
    order: list[int] = []
    for _ in range(4):
        (lease,) = pool.pool.queue.leases.values()
        order.append(lease.row.id)
        pool.say(HOST, Results([completed(lease.row.id, lease.row.fence, duration=1.0)]))
    assert order == [4, 2, 3, 1]


def test_a_repeated_submission_returns_the_first_ids_and_stores_nothing(pool: Any) -> None:
    submit = Submit(1, 1, [["a", 5, None, [b"x", b"y"]]])
    assert pool.say(CLIENT, submit) == {CLIENT: [Accepted(1, 1, 2)]}
    assert pool.say(CLIENT, submit) == {CLIENT: [Accepted(1, 1, 2)]}
    assert pool.pool.queue.unfinished_count == 2


def test_the_same_submission_with_other_tasks_is_a_conflict(pool: Any) -> None:
    pool.say(CLIENT, Submit(1, 1, [["a", 5, None, [b"x"]]]))
    said = pool.say(CLIENT, Submit(1, 1, [["a", 5, None, [b"y"]]]))
    assert said == {CLIENT: [Rejected(1, "conflict", "submission 1 was sent before with other tasks")]}


def test_what_no_task_can_be_is_refused_and_nothing_is_stored(pool: Any) -> None:
    for group, path in (
        [["a b", 5, None, [b""]], "type"],
        [["a.b.c.d", 5, None, [b""]], "type"],
        [["a", "high", None, [b""]], "priority"],
        [["a", 5, {"dely": 3}, [b""]], "dely"],
        [["a", 5, {"delay": -3}, [b""]], "delay"],
        [["a", 5, {"tags": [""]}, [b""]], "tags"],
        [["a", 5, None, ["text"]], "params"],
        [["a", 5, None, [b"x" * (1024 * 1024 + 1)]], "params"],
    ):
        (rejected,) = pool.say(CLIENT, Submit(1, 1, [group]))[CLIENT]
        assert isinstance(rejected, Rejected)
        assert rejected.path == path
    assert pool.pool.queue.unfinished_count == 0


def test_a_full_queue_refuses_whole_submissions(pool_with: Any) -> None:
    pool = pool_with(max_size=3)
    pool.send(count=2)
    (rejected,) = pool.send(count=2)[CLIENT]
    assert (rejected.code, rejected.retry_after) == ("queue_full", 1.0)
    assert pool.pool.queue.unfinished_count == 2


def test_a_failure_is_tried_again_after_its_backoff_and_then_is_final(pool: Any) -> None:
    pool.host()
    ((id, fence, attempt),) = granted(pool.send())
    said = pool.say(HOST, Results([failed(id, fence)]))
    assert said == {HOST: [Recorded(2)], CLIENT: [Events([], [], [[1, SCHEDULED]])]}

    ((id, fence, attempt),) = granted(pool.wait(1.2, step=0.1))
    assert attempt == 2
    pool.say(HOST, Results([failed(id, fence)]))
    assert granted(pool.wait(1.5, step=0.1)) == []
    ((id, fence, attempt),) = granted(pool.wait(1.0, step=0.1))
    assert attempt == 3

    said = pool.say(HOST, Results([failed(id, fence)]))
    assert ended(said) == [(1, FAILED)]
    task = pool.store.show(1)
    assert [a["outcome"] for a in task["attempts"]] == ["exception", "exception", "failed"]
    assert task["failures"] == 3


def test_a_permanent_failure_is_final_at_once(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    said = pool.say(HOST, Results([failed(id, fence, retry=False)]))
    assert ended(said) == [(1, FAILED)]


def test_a_failure_may_ask_for_its_own_delay(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    pool.say(HOST, Results([failed(id, fence, after=30)]))
    assert granted(pool.wait(29)) == []
    assert len(granted(pool.wait(2))) == 1


def test_max_attempts_of_the_task_wins_over_its_node(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send(max_attempts=1))
    assert ended(pool.say(HOST, Results([failed(id, fence)]))) == [(1, FAILED)]


def test_a_task_that_kills_its_worker_three_times_is_quarantined(pool: Any) -> None:
    pool.host()
    said = pool.send()
    for _ in range(2):
        ((id, fence, _),) = granted(said)
        said = pool.say(HOST, Results([crashed(id, fence)]))
    ((id, fence, attempt),) = granted(said)
    said = pool.say(HOST, Results([crashed(id, fence)]))
    assert (attempt, ended(said)) == (3, [(1, QUARANTINED)])
    assert granted(pool.wait(60)) == []


def test_the_late_result_of_a_rescued_task_that_nobody_claimed_is_welcome(pool: Any) -> None:
    pool.host(b"x")
    ((id, fence, _),) = granted(pool.send(), b"x")
    pool.close(b"x")
    pool.wait(1.5)
    assert pool.state(1) == "queued"
    pool.host(b"z", session=b"x" * 16, name="x", finished=[[id, fence]], slots=0)
    said = pool.say(b"z", Results([completed(id, fence)]))
    assert said[b"z"] == [Recorded(2)]
    assert ended(said) == [(1, COMPLETED)]
    assert [a["outcome"] for a in pool.store.show(1)["attempts"]] == ["completed"]


def test_a_repeated_result_is_recorded_once_and_not_called_stale(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    pool.say(HOST, Results([completed(id, fence)]))
    said = pool.say(HOST, Results([completed(id, fence)]))
    assert said == {HOST: [Recorded(3)]}


def test_a_result_with_a_made_up_fence_is_stale(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    said = pool.say(HOST, Results([completed(id, fence + 7), completed(999, 1), completed(2**63 - 1, 1)]))
    assert said == {HOST: [Recorded(2, [[id, fence + 7], [999, 1], [2**63 - 1, 1]])]}
    assert pool.state(1) == "running"


def test_cancel_ends_a_queued_task_at_once(pool: Any) -> None:
    pool.send(count=2)
    said = pool.say(CLIENT, Cancel(1, [1, 77]))
    assert said[CLIENT][0] == Reply(1, True, {"cancelled": [1]})
    assert ended(said) == [(1, CANCELLED)]
    assert [id for id, _, _ in granted(pool.host(slots=5))] == [2]


def test_what_a_cancelled_attempt_wrote_last_is_kept_though_its_end_is_recorded_before(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    pool.say(CLIENT, Cancel(1, [id]))
    before = pool.store.show(id)
    wrote = {"output": "half of it", "message": "not this"}
    report = [id, fence, int(Outcome.CANCELLED), b"", 1.0, 2, wrote]
    said = pool.say(HOST, Results([report]))
    assert ended(said) == []
    [attempt] = pool.store.show(id)["attempts"]
    assert attempt["outcome"] == "cancelled"
    assert attempt["detail"] == {"output": "half of it", "reason": "cancelled by a client"}
    assert {**pool.store.show(id), "attempts": None} == {**before, "attempts": None}
    pool.say(HOST, Results([[*report[:6], {"output": "another word"}]]))
    assert pool.store.show(id)["attempts"] == [attempt]
    pool.say(CLIENT, Admin(2, "retry", {"ids": [id]}))
    assert pool.store.show(id)["attempts"][0]["detail"]["output"] == "half of it"


def test_retry_by_hand_runs_a_failed_task_once_more(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    pool.say(HOST, Results([failed(id, fence, retry=False)]))
    said = pool.say(CLIENT, Admin(1, "retry", {"ids": [id]}))
    assert said[CLIENT][0] == Reply(1, True, {"retried": [id]})
    ((again, fence, attempt),) = granted(said)
    assert (again, attempt) == (id, 2)
    assert ended(pool.say(HOST, Results([completed(id, fence)]))) == [(id, COMPLETED)]


def test_a_completed_task_is_not_run_again(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    pool.say(HOST, Results([completed(id, fence)]))
    assert pool.say(CLIENT, Admin(1, "retry", {"ids": [id]})) == {CLIENT: [Reply(1, True, {"retried": []})]}


def test_a_report_of_the_run_before_changes_nothing_after_a_retry_by_hand(pool: Any) -> None:
    pool.host(slots=0)
    pool.host(b"x")
    ((id, fence, _),) = granted(pool.send(), b"x")
    pool.say(b"x", Results([failed(id, fence, retry=False)]))
    pool.say(b"x", Claim({"": 0}))
    pool.say(CLIENT, Admin(1, "retry", {"ids": [id]}))
    assert pool.say(b"x", Results([failed(id, fence, retry=False)])) == {b"x": [Recorded(4, [[id, fence]])]}
    assert pool.state(id) == "queued"


def test_a_task_given_back_unstarted_has_not_been_attempted(pool: Any) -> None:
    pool.host(slots=1)
    ((id, fence, _),) = granted(pool.send())
    ((again, _, attempt),) = granted(pool.say(HOST, GiveBack([[id, fence, Returned.UNSTARTED, 0.0, "", False]])))
    assert (again, attempt) == (id, 1)


def test_a_limit_holds_for_the_whole_pool_and_blocks_nobody_else(pool_with: Any) -> None:
    pool = pool_with({"a": {"max_concurrent": 2}})
    pool.host(b"x", "a.one", "b", slots=3)
    pool.host(b"y", "a.two", "b", slots=3)
    pool.send("a.one", count=3, priority=9)
    pool.send("a.two", count=3, priority=9)
    said = pool.send("b", count=3)
    running = [lease.lane.type for lease in pool.pool.queue.leases.values()]
    assert running.count("b") == 3
    assert len([t for t in running if t.startswith("a.")]) == 2
    lease = next(le for le in pool.pool.queue.leases.values() if le.lane.type == "a.one")
    peer = lease.pool.host.peer.address
    said = pool.say(peer, Results([completed(lease.row.id, lease.row.fence)]))
    assert len(granted(said, b"x") + granted(said, b"y")) == 1


def test_a_paused_subtree_is_granted_nothing_until_it_is_resumed(pool: Any) -> None:
    pool.host(HOST, "a.b", "c", slots=4)
    pool.say(CLIENT, Admin(1, "pause", {"type": "a"}))
    pool.send("a.b")
    pool.send("c")
    assert [lease.lane.type for lease in pool.pool.queue.leases.values()] == ["c"]
    pool.start()
    pool.client()
    pool.host(HOST, "a.b", "c", slots=4)
    assert [lease.lane.type for lease in pool.pool.queue.leases.values()] == ["c"]
    said = pool.say(CLIENT, Admin(2, "resume", {"type": "a"}))
    assert len(granted(said)) == 1


def test_a_delayed_task_takes_the_place_of_its_due_time(pool: Any) -> None:
    pool.send(delay=10)
    pool.wait(5)
    pool.send()
    pool.wait(5.5)
    pool.send()
    assert [id for id, _, _ in granted(pool.host(slots=9))] == [2, 1, 4]


def test_a_task_that_was_not_started_by_its_expiry_fails(pool: Any) -> None:
    pool.send(expires=pool.wall + 5)
    assert ended(pool.wait(6)) == [(1, FAILED)]
    assert pool.store.show(1)["detail"]["cause"] == "expired"


def test_a_client_that_comes_back_is_told_what_it_missed_in_order(pool: Any) -> None:
    pool.host(slots=3)
    tasks = granted(pool.send(count=3))
    pool.close(CLIENT)
    pool.say(HOST, Results([completed(id, fence) for id, fence, _ in tasks]))
    pool.say(CLIENT, Hello("client", [1, 1], CLIENT * 16, "client"))
    assert ended(pool.say(CLIENT, Watch(1, 100))) == [(2, COMPLETED), (3, COMPLETED)]


def test_a_client_is_never_told_more_than_its_credit(pool: Any) -> None:
    pool.say(CLIENT, Watch(0, 2))
    pool.host(slots=5)
    tasks = granted(pool.send(count=5))
    told = [id for id, _ in ended(pool.say(HOST, Results([completed(id, fence) for id, fence, _ in tasks])))]
    assert told == [1, 2]
    assert [id for id, _ in ended(pool.say(CLIENT, Watch(2, 2)))] == [3, 4]
    assert [id for id, _ in ended(pool.say(CLIENT, Watch(4, 2)))] == [5]


def test_another_client_may_watch_a_task_by_its_id(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    pool.say(b"o", Hello("client", [1, 1], b"o" * 16, "other"))
    said = pool.say(b"o", Watch(0, 10, [id, 99]))
    assert said == {b"o": [Events([], [], [[id, RUNNING], [99, -1]])]}
    said = pool.say(HOST, Results([completed(id, fence)]))
    assert said[b"o"] == [Events([[id, 0, COMPLETED, b"value", None]])]
    pool.say(b"o", Watch(0, 10, [id]))
    assert ended(pool.wait(0.1), b"o") == [(id, COMPLETED)]


def test_a_malformed_message_ends_its_session_and_nothing_else(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    for items in (
        [["x"]],
        [[id, fence, 0, "text", 0.1, 0, None]],
        [[id, fence, 99, b"", 0.1, 0, None]],
        [[id, fence, 0, b"", "long", 0, None]],
    ):
        said = pool.say(HOST, Results(items))
        assert said[HOST][-1].code == "forbidden"
        pool.host(running=[[id, fence]])
    assert ended(pool.say(HOST, Results([completed(id, fence)]))) == [(id, COMPLETED)]


def test_roles_keep_to_their_own_messages(pool: Any) -> None:
    pool.host()
    assert pool.say(CLIENT, Claim({"": 5})) == {}
    reason = "this connection is that of a host, which may not say SUBMIT"
    said = pool.say(HOST, Submit(1, 1, [["a", 5, None, [b"x"]]]))
    assert said == {HOST: [Rejected(1, "forbidden", reason)]}
    assert pool.notes.count("message_forbidden") == 2
    assert pool.pool.queue.unfinished_count == 0


def test_depth_is_warned_of_once_and_cleared_once(pool_with: Any) -> None:
    pool = pool_with(queue_depth_high=10)
    pool.send(count=11)
    pool.send(count=5)
    tasks = granted(pool.host(slots=20))
    assert [n for n in pool.notes if n.startswith("queue_depth")] == ["queue_depth_high", "queue_depth_normal"]
    assert len(tasks) == 16
