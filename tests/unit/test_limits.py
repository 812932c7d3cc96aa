"""Limits of nodes in the pool: who is granted what, who waits for what, and when that ends without anybody asking."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from unit.pool_words import (
    CLIENT,
    EPOCH,
    HOST,
    QUEUED,
    RUNNING,
    completed,
    crashed,
    failed,
    granted,
)  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.effects import Persist, Send
from workerhost.actors.core.policies.nodes import Block, Node
from workerhost.actors.core.step import Step
from workerhost.config.limits import Breaker, Quota, Rate
from workerhost.config.policy import PolicyTree
from workerhost.transport.messages import (
    Accepted,
    Admin,
    GiveBack,
    Hello,
    Query,
    Refused,
    Results,
    Returned,
    Submit,
    Tasks,
)

Make = Callable[..., Any]
BREAKER = Breaker(failures=0.5, window=60.0, at_least=2, cool_off=30.0)


def ids(said: Any, host: bytes = HOST) -> list[int]:
    return [id for id, _, _ in granted(said, host)]


def tick(pool: Any) -> Any:
    """Time alone wakes the supervisor, as soon as it asked for."""
    return pool._turn(pool.pool.handle([], pool.now, pool.wall))


def sleep_until_it_wakes(pool: Any) -> float:
    """Go to the moment for which the supervisor asked because of its limits; how long that took."""
    when = pool.pool.queue.lanes.tree.next_time()
    assert when < inf
    waited = when - pool.now
    pool.now = when
    return waited


def codes(pool: Any, type: str, **more: Any) -> list[str]:
    lane = pool.pool.queue.lanes.by_type[type][0]
    return [block.code for block in pool.pool.queue.lanes.tree.blocks(lane, pool.now, pool.wall, **more)]


def done(pool: Any, said: Any, host: bytes = HOST) -> Any:
    """All that was granted completes."""
    return pool.say(host, Results([completed(id, fence, duration=60.0) for id, fence, _ in granted(said, host)]))


# One limit each ---------------------------------------------------------------------------------------------------


def test_a_rate_grants_its_number_and_the_rest_exactly_when_the_window_slides(pool_with: Make) -> None:
    pool = pool_with({"v": {"rate": Rate(2, 1.0)}})
    pool.host(HOST, "v.a", "v.b", "w", slots=9)
    assert ids(pool.send("v.a")) == [1]
    pool.now += 0.25
    assert ids(pool.send("v.b", count=3)) == [2]
    assert ids(pool.send("w")) == [5], "what is not below it does not wait"
    assert codes(pool, "v.a") == codes(pool, "v.b") == ["rate"]
    assert sleep_until_it_wakes(pool) == 0.75
    assert ids(tick(pool)) == [3]
    assert sleep_until_it_wakes(pool) == 0.25
    assert ids(tick(pool)) == [4]
    assert codes(pool, "v.a") == ["rate"]
    pool.now += 2
    assert codes(pool, "v.a") == []


def test_the_effects_of_a_grant_under_a_rate_and_a_quota(pool_with: Make) -> None:
    pool = pool_with({"v": {"rate": Rate(5, 60.0), "quota": Quota(5)}})
    pool.host(HOST, "v", slots=3, costs={"v": 2})
    wall, midnight = pool.wall, pool.wall // 86400 * 86400
    pool.send("v")
    pool.now += 0.125
    submit = Submit(2, 1, [["v", 5, None, [b"x", b"y"]]])
    effects = pool.pool.handle([(CLIENT, pool.numbers[CLIENT] + 1, submit)], pool.now, pool.wall)
    assert isinstance(effects[0], Persist)
    assert effects == [
        Persist(
            tasks=effects[0].tasks,
            submissions=effects[0].submissions,
            claims=[(EPOCH + 2, 1, 1, pool.wall, 2)],
            tallies=[(1, QUEUED, 1), (1, RUNNING, 2)],
            rates=[("v", 1, 1, 100.125, 100.125, wall + 0.125, 1, 1)],
            quotas=[("v", midnight, 4)],
            meta={"last_id": 3},
        ),
        Send(CLIENT, 2, Accepted(2, 2, 2)),
        Send(HOST, 3, Tasks([["v", [[2, EPOCH + 2, 1, 5, pool.wall, b"x", None]]]])),
    ]


def test_a_quota_counts_what_a_task_costs_and_is_given_again_at_its_reset(pool_with: Make) -> None:
    pool = pool_with({"v": {"quota": Quota(10)}})
    pool.host(HOST, "v.search", "v.video", slots=9, costs={"v.search": 4})
    assert ids(pool.send("v.search", count=3)) == [1, 2]
    assert ids(pool.send("v.video", count=3)) == [4, 5], "2 units are left"
    assert codes(pool, "v.video") == ["quota"]
    (reply,) = pool.say(CLIENT, Query(1, "status"))[CLIENT]
    assert reply.value["notes"] == ["v has used 10 of 10 units, its quota per day"]
    midnight = (pool.wall // 86400 + 1) * 86400
    assert pool.now + midnight - pool.wall == pytest.approx(pool.pool.queue.lanes.tree.next_time())
    pool.silent.add(CLIENT)
    while pool.wall < midnight - 1:
        pool.now += min(1.0 if pool.wall > midnight - 5 else 3000.0, midnight - 1 - pool.wall)
        pool.pool.hosts.stalled(3000.0)
        assert ids(tick(pool)) == []
    pool.now += 1.0
    assert ids(tick(pool)) == [3, 6]


def test_a_host_for_which_a_task_is_dear_keeps_nobody_else_from_it(pool_with: Make) -> None:
    pool = pool_with({"v": {"quota": Quota(3)}})
    pool.host(b"x", "v.a", slots=9, costs={"v.a": 2})
    said = pool.send("v.a", count=4)
    assert ids(said, b"x") == [1], "1 unit is left"
    assert ids(pool.host(b"y", "v.a", slots=1), b"y") == [2]
    done(pool, said, b"x")
    midnight = (pool.wall // 86400 + 1) * 86400
    assert pool.now + midnight - pool.wall == pytest.approx(pool.pool.queue.lanes.tree.next_time())
    pool.pool.hosts.stalled(midnight - pool.wall)
    pool.now += midnight - pool.wall
    assert ids(tick(pool), b"x") == [3], "at the reset it is looked at again"


def test_a_task_that_costs_more_than_the_quota_says_so(pool_with: Make) -> None:
    pool = pool_with({"v": {"quota": Quota(10)}})
    pool.host(HOST, "v", costs={"v": 11})
    assert ids(pool.send("v")) == []
    lane = pool.pool.queue.lanes.by_type["v"][0]
    (block,) = pool.pool.queue.lanes.tree.blocks(lane, pool.now, pool.wall, cost=11)
    assert block.text == (
        "v has used 0 of 10 units, its quota per day; a task costs 11: it can never run, raise the quota"
    )


def test_per_host_bounds_each_host_and_all_of_the_subtree_together(pool_with: Make) -> None:
    pool = pool_with({"v": {"per_host": 2}})
    pool.host(b"x", "v.a", "v.b", "w", slots=5)
    said = pool.send("v.a", count=2)
    assert ids(said, b"x") == [1, 2]
    assert ids(pool.send("v.b", count=3), b"x") == []
    assert ids(pool.send("w"), b"x") == [6], "another subtree does not wait"
    owner = pool.pool.hosts.named("x").owner
    assert (codes(pool, "v.b"), codes(pool, "v.b", owner=owner)) == ([], ["per_host"])
    assert ids(pool.host(b"y", "v.a", "v.b", "w", slots=5), b"y") == [3, 4]
    assert ids(done(pool, {b"x": said[b"x"]}, b"x"), b"x") == [5]


def test_max_concurrent_and_a_rate_above_it_must_both_have_room(pool_with: Make) -> None:
    pool = pool_with({"v": {"rate": Rate(3, 60.0)}, "v.a": {"max_concurrent": 1}})
    pool.host(HOST, "v.a", "v.b", slots=9)
    first = pool.send("v.a", count=2)
    assert (ids(first), codes(pool, "v.a")) == ([1], ["max_concurrent"])
    assert ids(pool.send("v.b", count=2)) == [3, 4]
    assert codes(pool, "v.a") == ["rate", "max_concurrent"]
    assert ids(done(pool, first)) == []
    assert codes(pool, "v.a") == ["rate"]
    sleep_until_it_wakes(pool)
    pool.pool.hosts.stalled(60.0)
    assert ids(tick(pool)) == [2]


def test_there_is_no_margin_under_a_limit_but_under_a_closed_breaker(pool_with: Make) -> None:
    pool = pool_with({"v": {"rate": Rate(1000, 1.0)}, "b": {"breaker": BREAKER}})
    for type in ("v", "b"):
        lane = pool.pool.queue.lanes.of((type, "", ""), Step(pool.now, pool.wall))
        lane.pace.measured([0.0001] * 1000)
    margins = {type: pool.pool.queue.lanes.by_type[type][0].margin(4) for type in ("v", "b")}
    assert margins["v"] == 0
    assert margins["b"] > 0


@pytest.mark.parametrize("rate", [Rate(3, 1.0), Rate(40, 1.0), Rate(1000, 60.0)])
def test_what_a_rate_allows_is_used_when_there_is_demand(pool_with: Make, rate: Rate) -> None:
    """The supervisor wakes by itself when the window slides, and no other news comes."""
    pool = pool_with({"v": {"rate": rate}}, lost_after=1e6)
    windows = 4
    pool.host(HOST, "v.a", "v.b", slots=2 * rate.count)
    start, run = pool.now, 0
    said = pool.send("v.a", count=windows * rate.count)
    pool.send("v.b", count=windows * rate.count)
    while pool.now < start + windows * rate.seconds:
        while took := ids(said):
            run += len(took)
            said = done(pool, said)
        sleep_until_it_wakes(pool)
        said = tick(pool)
    assert 0.95 * windows * rate.count <= run <= windows * rate.count


# Breakers ---------------------------------------------------------------------------------------------------------


def test_a_breaker_opens_probes_with_one_task_at_a_time_and_closes(pool_with: Make) -> None:
    pool = pool_with({"v": {"breaker": BREAKER}})
    pool.host(HOST, "v", "w", slots=4)
    said = pool.send("v", count=4)
    pool.say(HOST, Results([failed(id, fence, retry=False) for id, fence, _ in granted(said)[:2]]))
    assert pool.notes[-1] == "breaker_opened"
    pool.say(HOST, Results([completed(id, fence) for id, fence, _ in granted(said)[2:]]))
    assert ids(pool.send("v", count=3)) == [], "what ran on does not close it"
    assert ids(pool.send("w")) == [8]
    assert codes(pool, "v") == ["breaker"]
    (reply,) = pool.say(CLIENT, Query(1, "status"))[CLIENT]
    assert reply.value["notes"] == [
        "v fails too often (2 of the latest 2 failed); one task may try again after a while"
    ]
    assert sleep_until_it_wakes(pool) == 30.0
    pool.pool.hosts.stalled(30.0)
    probe = tick(pool)
    assert ids(probe) == [5]
    assert tick(pool) == {}
    said = pool.say(HOST, Results([failed(id, fence, retry=False) for id, fence, _ in granted(probe)]))
    assert (ids(said), pool.notes[-1]) == ([], "breaker_opened")
    assert sleep_until_it_wakes(pool) == 60.0
    pool.pool.hosts.stalled(60.0)
    probe = tick(pool)
    assert ids(probe) == [6]
    assert ids(done(pool, probe)) == [7]
    assert pool.notes[-1] == "breaker_closed"


def test_resume_closes_a_breaker_and_waking_does_not(pool_with: Make) -> None:
    pool = pool_with({"v": {"breaker": BREAKER}})
    pool.host(HOST, "v", slots=4)
    said = pool.send("v", count=6)
    pool.say(HOST, Results([failed(id, fence, retry=False) for id, fence, _ in granted(said)]))
    assert (pool.notes[-1], codes(pool, "v")) == ("breaker_opened", ["breaker"])
    step = Step(pool.now, pool.wall)
    pool.pool.queue.lanes.tree.sleep(step, "v", pool.wall + 5.0, "")  # sleeps: the node, on the pool's clock
    pool.wait(6.0)
    assert ("type_woke" in pool.notes, codes(pool, "v")) == (True, ["breaker"])
    assert ids(pool.say(CLIENT, Admin(1, "resume", {"type": "v"}))) == [5, 6]
    assert pool.notes[-3:-1] == ["breaker_closed", "type_resumed"]


@pytest.mark.parametrize("how", ["released", "cancelled", "lost"])
def test_a_probe_that_does_not_come_to_an_end_lets_another_try(pool_with: Make, how: str) -> None:
    pool = pool_with({"v": {"breaker": BREAKER}})
    pool.host(HOST, "v", slots=1)
    ((id, fence, _),) = granted(pool.send("v"))
    ((id, fence, _),) = granted(pool.say(HOST, Results([crashed(id, fence)])))
    assert ids(pool.say(HOST, Results([crashed(id, fence)]))) == [], "it would be tried again at once"
    sleep_until_it_wakes(pool)
    pool.pool.hosts.stalled(30.0)
    ((id, fence, _),) = granted(tick(pool))
    pool.send("v", priority=9)
    if how == "released":
        said = pool.say(HOST, GiveBack([[id, fence, Returned.RELEASED, 0.0, "not now", True]]))
        assert len(ids(said)) == 1
    elif how == "cancelled":
        said = pool.say(HOST, Results([[id, fence, 4, b"", 0.1, 0, None]]))
        assert len(ids(said)) == 1
    else:
        pool.host(b"y", "v", slots=1)
        pool.close(HOST)
        assert len(ids(pool.wait(1.5, step=0.1), b"y")) == 1


def test_quota_and_auth_failures_open_no_breaker(pool_with: Make) -> None:
    pool = pool_with({"v": {"breaker": BREAKER}})
    pool.host(HOST, "v", slots=4)
    said = pool.send("v", count=4)
    pool.say(HOST, Results([failed(id, fence, kind="quota", retry=False) for id, fence, _ in granted(said)]))
    assert "breaker_opened" not in pool.notes


def test_endpoints_that_fail_open_their_platform_and_no_sibling_notices(pool_with: Make) -> None:
    pool = pool_with({"v": {"breaker": Breaker(0.9, 60.0, 1000, 30.0)}, "v.y": {"breaker": BREAKER}})
    types = ["v.y.a", "v.y.b", "v.y.c", "v.z"]
    pool.host(HOST, *types, slots=20)
    done(pool, pool.send("v.y.c", count=9))
    for type, opened in (("v.y.a", {"v.y.a"}), ("v.y.b", {"v.y.a", "v.y.b", "v.y"})):
        said = pool.send(type, count=2)
        pool.say(HOST, Results([failed(id, fence, retry=False) for id, fence, _ in granted(said)]))
        nodes = pool.pool.queue.lanes.tree.nodes.values()
        assert {node.type for node in nodes if node.guard and node.guard.state(pool.now) == "open"} == opened
    assert ids(pool.send("v.y.c")) == []
    assert len(ids(pool.send("v.z"))) == 1


# Stopping and changing --------------------------------------------------------------------------------------------


def test_a_node_sleeps_until_its_time_over_a_restart_and_clocks_that_are_set(pool: Any) -> None:
    pool.host(HOST, "v.a", "w", slots=4)
    step = Step(pool.now, pool.wall)
    until = pool.wall + 100
    pool.pool.queue.lanes.tree.sleep(step, "v", until, "quota used up")  # sleeps: a node of the tree
    assert step.persist.pauses == [("v", True, until, "quota used up")]
    pool.store.apply(step.persist)
    assert ids(pool.send("v.a")) == []
    lane = pool.pool.queue.lanes.by_type["v.a"][0]
    blocks = pool.pool.queue.lanes.tree.blocks(lane, pool.now, pool.wall)
    assert blocks == [Block("v", "asleep", "v is asleep: quota used up", until)]
    pool.start()
    pool.host(HOST, "v.a", "w", slots=4)
    assert codes(pool, "v.a") == ["asleep"]
    pool.jump += 90
    tick(pool)
    assert sleep_until_it_wakes(pool) == pytest.approx(10, abs=0.01)
    pool.pool.hosts.stalled(10.0)
    assert ids(tick(pool)) == [1]
    assert pool.notes[-1] == "type_woke"
    assert pool.store.open().pauses == []


def test_a_pause_is_not_shortened_by_a_sleep_and_resume_wakes(pool: Any) -> None:
    pool.host(HOST, "v")
    tree = pool.pool.queue.lanes.tree
    pool.say(CLIENT, Admin(1, "pause", {"type": "v"}))
    tree.sleep(Step(pool.now, pool.wall), "v", pool.wall + 1, "for a while")  # sleeps: a node of the tree
    pool.wait(3)
    assert ids(pool.send("v")) == []
    assert ids(pool.say(CLIENT, Admin(2, "resume", {"type": "v"}))) == [1]
    tree.sleep(Step(pool.now, pool.wall), "v", pool.wall + 1e6, "for long")  # sleeps: a node of the tree
    done(pool, {HOST: [Tasks([["v", [[1, EPOCH + 1, 1, 5, 0.0, b"", None]]]])]})
    assert ids(pool.send("v")) == []
    assert ids(pool.say(CLIENT, Admin(3, "resume", {"type": "v"}))) == [2]


def test_another_tree_counts_what_runs_and_a_lowered_limit_waits_for_leases_to_end(pool_with: Make) -> None:
    pool = pool_with({"v": {"max_concurrent": 3}})
    pool.host(HOST, "v.a", "v.b", slots=9)
    said = pool.send("v.a", count=5)
    assert len(ids(said)) == 3
    lanes = pool.pool.queue.lanes
    lanes.retune(PolicyTree({"v": {"max_concurrent": 2}, "v.b": {"per_host": 1}}))
    first, *others = granted(said)
    assert ids(pool.say(HOST, Results([completed(*first[:2], duration=60.0)]))) == []
    assert lanes.tree.nodes["v"].held == 2
    assert len(ids(pool.say(HOST, Results([completed(*others[0][:2], duration=60.0)])))) == 1
    assert ids(pool.send("v.b", count=3)) == []
    lanes.retune(PolicyTree({"v.b": {"per_host": 1, "timeout": 5.0}}))
    assert ids(tick(pool)) == [5, 6], "v is free, v.b may run one on each host"
    assert lanes.by_type["v.b"][0].policy.timeout == 5.0
    lanes.retune(PolicyTree({}))
    assert ids(tick(pool)) == [7, 8]


def test_a_lease_that_was_given_up_lives_on_although_the_rate_is_used_up(pool_with: Make) -> None:
    pool = pool_with({"v": {"rate": Rate(1, 3600.0)}})
    pool.host(b"x", "v")
    ((id, fence, _),) = granted(pool.send("v"), b"x")
    pool.close(b"x")
    pool.wait(1.5)
    assert pool.state(id) == "queued"
    pool.host(b"x2", "v", session=b"x" * 16, name="x", running=[[id, fence]])
    assert pool.state(id) == "running"


def test_rate_and_quota_survive_a_restart(pool_with: Make) -> None:
    pool = pool_with({"v": {"rate": Rate(2, 60.0)}, "w": {"quota": Quota(2)}})
    pool.host(HOST, "v", "w", slots=9)
    assert len(ids(pool.send("v", count=5))) == 2
    assert len(ids(pool.send("w", count=5))) == 2
    pool.now += 10
    pool.start()
    assert ids(pool.host(HOST, "v", "w", slots=9, session=b"new!" * 4)) == []
    pool.client()
    assert codes(pool, "v") == ["rate"]
    assert codes(pool, "w") == ["quota"]
    assert sleep_until_it_wakes(pool) == pytest.approx(50.0)


# Neighbours -------------------------------------------------------------------------------------------------------


def test_what_is_blocked_is_not_looked_at_again_and_again(pool_with: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_with({"v": {"max_concurrent": 1}})
    pool.host(HOST, "v", "w", slots=2)
    pool.send("v", count=1000, priority=9)
    asked: list[str] = []
    room = Node.room

    def watched(self: Node, count: int, cost: int, now: float, wall: float) -> int:
        asked.append(self.type)
        return room(self, count, cost, now, wall)

    monkeypatch.setattr(Node, "room", watched)
    for _ in range(5):
        done(pool, pool.send("w"))
    assert asked == []


def test_types_shows_limits_and_what_keeps_a_node(pool_with: Make) -> None:
    pool = pool_with({"v": {"rate": Rate(1, 60.0), "quota": Quota(9), "per_host": 3, "breaker": BREAKER}})
    pool.host(HOST, "v", slots=2)
    pool.send("v", count=2)
    (reply,) = pool.say(CLIENT, Query(1, "types"))[CLIENT]
    (shown,) = reply.value["types"]
    told = {name: shown[name] for name in ("max_concurrent", "per_host", "rate", "quota", "quota_used", "breaker")}
    assert told == {
        "max_concurrent": None, "per_host": 3, "rate": "1/min", "quota": "9/day", "quota_used": 1, "breaker": "closed",
    }  # fmt: skip
    assert shown["blocks"] == [
        {
            "node": "v",
            "code": "rate",
            "text": "v has started 1 tasks of late, its rate is 1/min",
            "until": pytest.approx(pool.wall + 60, abs=0.01),
        }
    ]


@pytest.mark.parametrize("costs", [{"v": 0}, {"v": True}, {"v": 1.5}, {7: 1}, [1], {"v": 10**12}])
def test_an_offer_with_bad_costs_is_refused(pool: Any, costs: Any) -> None:
    said = pool.say(HOST, Hello("host", [1, 1], b"h" * 16, "h", {"types": ["v"], "slots": {"": 1}, "costs": costs}))
    assert said == {HOST: [Refused("forbidden", "offer['costs'] must map types to units, 1 to 1000000000 each")]}


@pytest.mark.parametrize("probing", [False, True])
def test_which_task_tries_a_node_that_fails_is_told_to_those_who_may_know(probing: bool) -> None:
    node = Node("v", PolicyTree({}).limits("v"), BREAKER)
    assert node.guard is not None
    node.guard.open(100.0, "task 7 tried and failed")
    node.guard.probe = 8 if probing else None
    whole, less = (node.blocks(101.0, 0.0, told=told)[0].text for told in (True, False))

    assert "task 7 tried and failed" in whole
    assert ("task 8 tries" in whole) == probing
    assert "task 7" not in less
    assert "task 8" not in less
