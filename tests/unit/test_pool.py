"""The core of the supervisor: messages and time in, whole lists of what is said out."""

from __future__ import annotations

from typing import Any

from workerhost.transport.messages import (
    Accepted,
    Admin,
    Alive,
    Bye,
    Cancel,
    Claim,
    Events,
    GiveBack,
    Heartbeat,
    Hello,
    Message,
    Progress,
    Query,
    Recorded,
    Refused,
    Rejected,
    Reply,
    Results,
    Returned,
    Stop,
    Submit,
    Tasks,
    Tree,
    Watch,
    Welcome,
)

HOST, CLIENT = b"h", b"c"
EPOCH = 1 << 40
QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED, QUARANTINED, SCHEDULED = 2, 3, 4, 5, 6, 7, 1


def granted(said: dict[bytes, list[Message]], host: bytes = HOST) -> list[tuple[int, int, int]]:
    """(id, fence, attempt) of the tasks that a host was given."""
    return [
        (task[0], task[1], task[2])
        for message in said.get(host, [])
        if isinstance(message, Tasks)
        for _, tasks in message.groups
        for task in tasks
    ]


def ended(said: dict[bytes, list[Message]], peer: bytes = CLIENT) -> list[tuple[int, int]]:
    """(id, state) of the ends that a client was told."""
    return [(e[0], e[2]) for m in said.get(peer, []) if isinstance(m, Events) for e in m.finished]


def completed(id: int, fence: int, duration: float = 0.1) -> list[Any]:
    return [id, fence, 0, b"value", duration, 0, None]


def failed(id: int, fence: int, **detail: Any) -> list[Any]:
    return [id, fence, 1, b"", 0.1, 0, {"error_type": "ValueError", "message": "no", "retry": True, **detail}]


def crashed(id: int, fence: int) -> list[Any]:
    return [id, fence, 3, b"", 0.1, 0, {"signal": 11}]


def test_a_task_goes_from_a_client_to_a_host_and_its_result_back(pool: Any) -> None:
    pool.host(slots=2)

    said = pool.send()
    assert said == {
        CLIENT: [Accepted(1, 1, 1)],
        HOST: [Tasks([["a", [[1, EPOCH + 1, 1, 5, pool.wall, b"0", None]]]])],
    }

    said = pool.say(HOST, Results([completed(1, EPOCH + 1)]))
    assert said == {HOST: [Recorded(2)], CLIENT: [Events([[1, 1, COMPLETED, b"value", None]])]}
    assert pool.state(1) == "completed"


def test_a_host_is_welcomed_with_its_name_and_the_tree(pool: Any) -> None:
    said = pool.say(HOST, Hello("host", [1, 1], b"s" * 16, "gpu", {"types": ["a.b"], "slots": {"": 1}}))
    policy = {"timeout": 300.0, "cut_off": 3600.0, "isolation": None, "class": None}
    assert said == {HOST: [Welcome(1, "gpu", 1, 1.0, 5.0, {}), Tree({"a": policy, "a.b": policy})]}


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
    order = []
    for _ in range(4):
        (lease,) = pool.pool.queue.leases.values()
        order.append(lease.row.id)
        pool.say(HOST, Results([completed(lease.row.id, lease.row.fence, duration=1.0)]))
    assert order == [4, 2, 3, 1]


def test_a_host_gets_no_more_than_it_has_slots(pool: Any) -> None:
    pool.send(count=10)
    first = granted(pool.host(slots=3))
    assert len(first) == 3
    again = granted(pool.say(HOST, Results([completed(*first[1][:2], duration=1.0)])))
    assert len(again) == 1


def test_the_least_loaded_host_is_served_first(pool: Any) -> None:
    pool.host(b"x", "a", slots=4)
    pool.host(b"y", "a", slots=2)
    said = pool.send(count=3)
    assert (len(granted(said, b"x")), len(granted(said, b"y"))) == (2, 1)


def test_a_repeated_submission_returns_the_first_ids_and_stores_nothing(pool: Any) -> None:
    submit = Submit(1, 1, [["a", 5, None, [b"x", b"y"]]])
    assert pool.say(CLIENT, submit) == {CLIENT: [Accepted(1, 1, 2)]}
    assert pool.say(CLIENT, submit) == {CLIENT: [Accepted(1, 1, 2)]}
    assert pool.pool.queue.unfinished_count == 2


def test_a_repeated_submission_is_recognised_after_a_restart(pool: Any) -> None:
    submit = Submit(1, 1, [["a", 5, None, [b"x"]]])
    pool.say(CLIENT, submit)
    pool.start()
    pool.client()
    assert pool.say(CLIENT, submit) == {CLIENT: [Accepted(1, 1, 1)]}
    assert pool.pool.queue.unfinished_count == 1


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


def test_require_host_refuses_a_type_that_nobody_serves(pool: Any) -> None:
    pool.host(HOST, "a")
    (rejected,) = pool.send("b", require_host=True)[CLIENT]
    assert (rejected.code, rejected.reason) == ("no_host", "no joined host serves b")


def test_a_task_of_a_type_without_host_waits_and_status_says_so(pool: Any) -> None:
    pool.host(HOST, "a")
    pool.send("b")
    (reply,) = pool.say(CLIENT, Query(1, "status"))[CLIENT]
    assert isinstance(reply, Reply)
    assert reply.value["notes"] == ["no host serves b"]
    assert reply.value["tasks"]["queued"] == 1


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


def test_a_silent_host_is_lost_and_its_tasks_run_elsewhere(pool: Any) -> None:
    pool.host(b"x")
    ((id, fence, _),) = granted(pool.send(), b"x")
    pool.host(b"y")
    pool.silent.add(b"x")
    assert granted(pool.wait(4.9), b"y") == []
    said = pool.wait(1.0)
    ((id, second, attempt),) = granted(said, b"y")
    assert (id, attempt, second > fence) == (1, 2, True)
    task = pool.store.show(1)
    assert (task["losses"], task["failures"], task["crashes"]) == (1, 0, 0)


def test_a_host_whose_connection_closed_has_a_short_grace(pool: Any) -> None:
    pool.host(b"x")
    pool.send()
    pool.host(b"y")
    pool.close(b"x")
    assert granted(pool.wait(0.9, step=0.1), b"y") == []
    assert len(granted(pool.wait(0.3, step=0.1), b"y")) == 1


def test_the_zombies_late_result_changes_nothing_and_is_told_so(pool: Any) -> None:
    pool.host(b"x")
    ((id, old, _),) = granted(pool.send(), b"x")
    pool.host(b"y")
    pool.close(b"x")
    ((id, new, _),) = granted(pool.wait(1.5, step=0.1), b"y")

    pool.host(b"z", session=b"x" * 16, name="x", finished=[[id, old]], slots=0)
    said = pool.say(b"z", Results([completed(id, old)]))
    assert said == {b"z": [Recorded(2, [[id, old]])]}
    assert ended(pool.say(b"y", Results([completed(id, new)]))) == [(1, COMPLETED)]


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


def test_a_restarted_supervisor_adopts_what_its_host_still_runs(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    pool.start()
    said = pool.host(running=[[id, fence]])
    assert granted(said) == []
    pool.client()
    assert ended(pool.say(HOST, Results([completed(id, fence)]))) == [(1, COMPLETED)]
    assert pool.store.show(1)["attempt"] == 1


def test_after_a_restart_every_lease_gets_one_full_period_of_grace(pool: Any) -> None:
    pool.host()
    pool.send()
    pool.start()
    pool.wait(4.9)
    assert pool.state(1) == "running"
    pool.wait(0.3)
    assert pool.state(1) == "queued"


def test_a_running_task_that_its_host_does_not_name_is_queued_at_once(pool: Any) -> None:
    pool.host()
    ((id, _, _),) = granted(pool.send())
    said = pool.host(running=[])
    ((again, _, attempt),) = granted(said)
    assert (again, attempt) == (id, 2)
    assert pool.store.show(1)["losses"] == 0


def test_a_host_that_was_lost_and_comes_back_is_adopted_or_told_to_stop(pool: Any) -> None:
    pool.host(b"x", slots=2)
    ((one, fence_one, _), (two, fence_two, _)) = granted(pool.send(count=2), b"x")
    pool.close(b"x")
    pool.wait(1.5)
    pool.host(b"y", slots=1)  # takes the first
    said = pool.say(
        b"x2",
        Hello(
            "host",
            [1, 1],
            b"x" * 16,
            "x",
            {"types": ["a"], "slots": {"": 2}, "running": [[one, fence_one], [two, fence_two]]},
        ),
    )
    assert [m for m in said[b"x2"] if isinstance(m, Stop)] == [Stop([[one, fence_one]])]
    assert pool.state(two) == "running"
    assert ended(pool.say(b"x2", Results([completed(two, fence_two)]))) == [(two, COMPLETED)]


def test_a_gap_in_the_numbers_ends_the_session_and_hello_reconciles(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    pool.numbers[HOST] += 1  # one message is lost
    assert pool.say(HOST, Heartbeat(0)) == {HOST: [Refused("unknown_session", "message 2 was lost")]}
    pool.host(running=[[id, fence]])
    assert ended(pool.say(HOST, Results([completed(id, fence)]))) == [(1, COMPLETED)]


def test_a_stranger_is_told_to_say_hello(pool: Any) -> None:
    pool.numbers[b"?"] = 0
    assert pool.say(b"?", Heartbeat(0)) == {b"?": [Refused("unknown_session", "say HELLO first")]}


def test_another_version_is_refused_with_both_versions_named(pool: Any) -> None:
    said = pool.say(b"v", Hello("host", [7, 9], b"v" * 16, "v", {}))
    assert said == {b"v": [Refused("version", "this supervisor speaks protocol 1, the peer 7 to 9")]}


def test_a_name_in_use_is_refused_while_its_host_lives(pool: Any) -> None:
    pool.host(b"x", named=True, name="gpu")
    said = pool.say(b"y", Hello("host", [1, 1], b"y" * 16, "gpu", {"types": ["a"], "named": True}))
    assert said == {b"y": [Refused("name_taken", "another host named 'gpu' is joined")]}


def test_a_name_that_nobody_chose_gets_a_number(pool: Any) -> None:
    pool.host(b"x", name="box")
    said = pool.say(b"y", Hello("host", [1, 1], b"y" * 16, "box", {"types": ["a"]}))
    assert said[b"y"][0] == Welcome(1, "box-2", 1, 1.0, 5.0, {})


def test_cancel_ends_a_queued_task_at_once(pool: Any) -> None:
    pool.send(count=2)
    said = pool.say(CLIENT, Cancel(1, [1, 77]))
    assert said[CLIENT][0] == Reply(1, True, {"cancelled": [1]})
    assert ended(said) == [(1, CANCELLED)]
    assert [id for id, _, _ in granted(pool.host(slots=5))] == [2]


def test_cancel_of_a_running_task_is_final_at_once_and_its_slot_counts_until_it_is_free(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send(count=2))
    said = pool.say(CLIENT, Cancel(1, [id]))
    assert said[HOST] == [Stop([[id, fence]])]
    assert ended(said) == [(id, CANCELLED)]
    said = pool.say(HOST, Results([completed(id, fence)]))
    assert ended(said) == []
    assert pool.state(id) == "cancelled"
    assert [i for i, _, _ in granted(said)] == [2]


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


def test_a_released_task_comes_back_and_nothing_is_counted(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    said = pool.say(HOST, GiveBack([[id, fence, Returned.RELEASED, 0.0, "not now", True]]))
    ((again, _, attempt),) = granted(said)
    assert (again, attempt) == (id, 2)
    task = pool.store.show(id)
    assert (task["failures"], task["crashes"], task["releases"]) == (0, 0, 1)


def test_a_task_given_back_unstarted_has_not_been_attempted(pool: Any) -> None:
    pool.host(slots=1)
    ((id, fence, _),) = granted(pool.send())
    ((again, _, attempt),) = granted(pool.say(HOST, GiveBack([[id, fence, Returned.UNSTARTED, 0.0, "", False]])))
    assert (again, attempt) == (id, 1)


def test_a_type_that_everybody_declines_waits_and_does_not_spin(pool: Any) -> None:
    pool.host(HOST, any=True)
    said = pool.send("odd")
    declines = 0
    for _ in range(40):
        for id, fence, _ in granted(said):
            declines += 1
            pool.say(HOST, GiveBack([[id, fence, Returned.DECLINED, 0.0, "", False]]))
        said = pool.wait(1.0)
    assert 5 <= declines <= 16


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


def test_slots_of_a_subtree_are_its_own(pool: Any) -> None:
    pool.say(HOST, Hello("host", [1, 1], b"s" * 16, "h", {"types": ["ml", "video"], "slots": {"ml": 1, "video": 2}}))
    pool.say(HOST, Claim({"ml": 1, "video": 2}))
    pool.send("ml", count=5)
    pool.send("video", count=5)
    running = sorted(lease.lane.type for lease in pool.pool.queue.leases.values())
    assert running == ["ml", "video", "video"]


def test_serve_and_not_bound_what_a_host_takes(pool: Any) -> None:
    pool.host(HOST, any=True, serve=["video"], slots=9, **{"not": ["video.raw"]})
    for type in ("video", "video.raw", "video.probe", "audio"):
        pool.send(type)
    assert sorted(lease.lane.type for lease in pool.pool.queue.leases.values()) == ["video", "video.probe"]


def test_fast_tasks_are_granted_beyond_the_slots_and_slow_ones_never(pool: Any) -> None:
    pool.host(slots=1)
    said = pool.send(count=2000)
    for _ in range(25):
        said = pool.say(HOST, Results([completed(id, fence, 0.0001) for id, fence, _ in granted(said)]))
    assert len(granted(said)) > 10
    assert len(pool.pool.queue.leases) > 10


def test_a_slot_that_was_blocked_ends_the_margin(pool: Any) -> None:
    pool.host(slots=1)
    said = pool.send(count=300)
    for _ in range(25):
        said = pool.say(HOST, Results([completed(id, fence, 0.0001) for id, fence, _ in granted(said)]))
    tasks = granted(said)
    said = pool.say(HOST, GiveBack([[id, fence, Returned.UNSTARTED, 0.0, "", False] for id, fence, _ in tasks[1:]]))
    assert granted(said) == []


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


def test_a_host_that_says_goodbye_hands_everything_back(pool: Any) -> None:
    pool.host(b"x")
    pool.send()
    pool.host(b"y")
    said = pool.say(b"x", Bye("drained"))
    assert len(granted(said, b"y")) == 1
    assert pool.store.show(1)["losses"] == 0


def test_a_draining_host_gets_nothing_new(pool: Any) -> None:
    pool.host()
    said = pool.say(CLIENT, Admin(1, "drain", {"host": "h"}))
    assert said[CLIENT] == [Reply(1, True, {"host": "h", "draining": True})]
    assert granted(pool.send()) == []
    pool.say(CLIENT, Admin(2, "drain", {"host": "h", "undo": True}))
    assert len(granted(pool.say(HOST, Claim({"": 1})))) == 1


def test_a_delayed_task_takes_the_place_of_its_due_time(pool: Any) -> None:
    pool.send(delay=10)
    pool.wait(5)
    pool.send()
    pool.wait(5.5)
    pool.send()
    assert [id for id, _, _ in granted(pool.host(slots=9))] == [2, 1, 4]


def test_a_jump_of_the_wall_clock_moves_no_delay_and_no_lease(pool: Any) -> None:
    pool.host()
    pool.send()
    pool.send(delay=10)
    pool.jump = 3600.0
    pool.wait(4)
    assert (pool.state(1), pool.state(2)) == ("running", "scheduled")
    pool.jump = -3600.0
    pool.wait(4)
    assert (pool.state(1), pool.state(2)) == ("running", "scheduled")
    pool.wait(3)
    assert (pool.state(1), pool.state(2)) == ("running", "queued")


def test_a_jump_while_no_supervisor_ran_moves_no_delay_either(pool: Any) -> None:
    pool.send(delay=10)
    pool.wait(5)
    pool.jump = -86400.0
    pool.start()
    pool.wait(4)
    assert pool.state(1) == "scheduled"
    pool.wait(1.5)
    assert pool.state(1) == "queued"


def test_an_instant_goes_by_the_wall_clock(pool: Any) -> None:
    pool.send(at=pool.wall + 3600)
    pool.wait(5)
    pool.jump = 3600.0
    pool.wait(1)
    assert pool.state(1) == "queued"


def test_a_scheduled_task_survives_a_restart(pool: Any) -> None:
    pool.send(delay=10)
    pool.wait(5)
    pool.start()
    pool.wait(4)
    assert pool.state(1) == "scheduled"
    pool.wait(1.5)
    assert pool.state(1) == "queued"


def test_a_task_that_was_not_started_by_its_expiry_fails(pool: Any) -> None:
    pool.send(expires=pool.wall + 5)
    assert ended(pool.wait(6)) == [(1, FAILED)]
    assert pool.store.show(1)["detail"]["cause"] == "expired"


def test_a_supervisor_that_stalled_gives_nobody_up_for_it(pool: Any) -> None:
    pool.host()
    pool.send()
    pool.now += 60  # the process stood still
    pool.say(HOST)
    assert pool.state(1) == "running"
    pool.wait(3)
    assert pool.state(1) == "running"


def test_progress_goes_to_the_client_and_is_shown_by_hosts(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    said = pool.say(HOST, Progress([[id, fence, 0.5, "half"], [id, fence + 1, 0.9, "stale"]]))
    assert said == {CLIENT: [Events([], [[id, 0.5, "half", pool.wall]], [[id, RUNNING]])]}
    (reply,) = pool.say(CLIENT, Query(1, "hosts"))[CLIENT]
    assert isinstance(reply, Reply)
    assert reply.value["hosts"][0]["tasks"][0]["fraction"] == 0.5


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


def test_a_host_that_never_answers_three_times_is_the_tasks_own_fault_only_when_alone(pool: Any) -> None:
    said = pool.send()
    for n in range(4):
        peer = b"%d" % n
        said = pool.host(peer)
        (group,) = [m for m in said[peer] if isinstance(m, Tasks)][0].groups
        extra = group[1][0][6]
        assert (extra or {}).get("alone", False) == (n == 3)
        pool.close(peer)
        said = pool.wait(1.5)
        pool.client()
    assert pool.state(1) == "quarantined"


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
    assert pool.say(HOST, Submit(1, 1, [["a", 5, None, [b"x"]]])) == {}
    assert pool.notes.count("message_forbidden") == 2
    assert pool.pool.queue.unfinished_count == 0


def test_depth_is_warned_of_once_and_cleared_once(pool_with: Any) -> None:
    pool = pool_with(queue_depth_high=10)
    pool.send(count=11)
    pool.send(count=5)
    tasks = granted(pool.host(slots=20))
    assert [n for n in pool.notes if n.startswith("queue_depth")] == ["queue_depth_high", "queue_depth_normal"]
    assert len(tasks) == 16
