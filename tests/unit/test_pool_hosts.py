"""The core of the supervisor: hosts that come, go, die and come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unit.pool_words import (  # pyright: ignore[reportMissingImports]
    CANCELLED,
    CLIENT,
    COMPLETED,
    EPOCH,
    HOST,
    RUNNING,
    completed,
    ended,
    granted,
)

from workerhost.transport.messages import (
    Accepted,
    Admin,
    Bye,
    Cancel,
    Claim,
    Drain,
    Events,
    GiveBack,
    Heartbeat,
    Hello,
    Progress,
    Query,
    Recorded,
    Refused,
    Reply,
    Results,
    Returned,
    Stop,
    Submit,
    Tasks,
    Tree,
    Welcome,
)


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
    policy: dict[str, Any] = {"timeout": 300.0, "cut_off": 3600.0, "no_progress_timeout": None, "limits": {}}
    assert said == {HOST: [Welcome(1, "gpu", 1, 1.0, 5.0, {}), Tree({"a": policy, "a.b": policy})]}


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


def test_a_repeated_submission_is_recognised_after_a_restart(pool: Any) -> None:
    submit = Submit(1, 1, [["a", 5, None, [b"x"]]])
    pool.say(CLIENT, submit)
    pool.start()
    pool.client()
    assert pool.say(CLIENT, submit) == {CLIENT: [Accepted(1, 1, 1)]}
    assert pool.pool.queue.unfinished_count == 1


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


def test_a_released_task_comes_back_and_nothing_is_counted(pool: Any) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    said = pool.say(HOST, GiveBack([[id, fence, Returned.RELEASED, 0.0, "not now", True]]))
    ((again, _, attempt),) = granted(said)
    assert (again, attempt) == (id, 2)
    task = pool.store.show(id)
    assert (task["failures"], task["crashes"], task["releases"]) == (0, 0, 1)


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


def test_a_host_that_says_goodbye_hands_everything_back(pool: Any) -> None:
    pool.host(b"x")
    pool.send()
    pool.host(b"y")
    said = pool.say(b"x", Bye("drained"))
    assert len(granted(said, b"y")) == 1
    assert pool.store.show(1)["losses"] == 0


def test_hosts_that_are_gone_are_listed_for_a_day(pool_with: Callable[..., Any]) -> None:
    pool = pool_with(heartbeat=60.0, lost_after=300.0)  # so that a day has few turns
    pool.host(b"h")
    pool.host(b"g")
    pool.say(b"g", Bye("done"))
    pool.silent.add(b"h")
    pool.wait(310, step=30.0)

    def listed() -> dict[str, str]:
        [said] = [m for m in pool.say(b"c", Query(1, "hosts"))[b"c"] if isinstance(m, Reply)]
        return {host["name"]: host["state"] for host in said.value["hosts"]}

    assert listed() == {"h": "lost", "g": "left"}
    pool.wait(24 * 3600 - 400, step=30.0)
    assert listed() == {"h": "lost", "g": "left"}
    pool.wait(400, step=30.0)
    assert listed() == {}


def test_a_host_that_its_own_process_drains_is_shown_as_what_it_is(pool: Any) -> None:
    def state() -> str:
        (reply,) = pool.say(CLIENT, Query(1, "hosts"))[CLIENT]
        return reply.value["hosts"][0]["state"]

    pool.host()
    assert state() == "joined"
    pool.say(HOST, Claim({"": 0}, leaving=True))
    assert state() == "draining"
    said = pool.say(CLIENT, Admin(2, "drain", {"host": "h", "undo": True}))
    assert [type(message) for message in said[HOST]] == [Drain]
    pool.say(HOST, Claim({"": 0}, leaving=True))
    assert state() == "draining"


def test_a_draining_host_gets_nothing_new(pool: Any) -> None:
    pool.host()
    said = pool.say(CLIENT, Admin(1, "drain", {"host": "h"}))
    assert said[CLIENT] == [Reply(1, True, {"host": "h", "draining": True})]
    assert granted(pool.send()) == []
    pool.say(CLIENT, Admin(2, "drain", {"host": "h", "undo": True}))
    assert len(granted(pool.say(HOST, Claim({"": 1})))) == 1


def test_an_order_to_drain_is_said_again_to_a_host_that_comes_back(pool: Any) -> None:
    pool.host()
    pool.say(CLIENT, Admin(1, "drain", {"host": "h"}))
    pool.close(HOST)
    said = pool.host(b"z", session=HOST * 16, name="h")
    again = pool.say(b"z", Hello("host", [1, 1], HOST * 16, "h", {"types": ["a"], "slots": {"": 1}, "greeting": 9}))

    assert [message for message in again[b"z"] if isinstance(message, Drain)] == [Drain()]
    assert granted(pool.send(), b"z") == granted(said, b"z") == []
    pool.say(CLIENT, Admin(2, "drain", {"host": "h", "undo": True}))
    pool.close(b"z")
    undone = pool.host(b"y", session=HOST * 16, name="h", greeting=10)
    assert len(granted(undone, b"y")) == 1
    once_more = Hello("host", [1, 1], HOST * 16, "h", {"types": ["a"], "slots": {"": 1}, "greeting": 11})
    assert Drain(undo=True) in pool.say(b"x", once_more)[b"x"]


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


def test_a_host_that_never_answers_three_times_is_the_tasks_own_fault_only_when_alone(pool: Any) -> None:
    said = pool.send()
    for n in range(4):
        peer = b"%d" % n
        said = pool.host(peer)
        (group,) = next(m for m in said[peer] if isinstance(m, Tasks)).groups
        extra: dict[str, Any] | None = group[1][0][6]
        assert (extra is not None and "alone" in extra) == (n == 3)
        pool.close(peer)
        said = pool.wait(1.5)
        pool.client()
    assert pool.state(1) == "quarantined"
    assert pool.store.show(1)["losses"] == 4
