"""Placement: what tasks require and hosts offer, packed without overcommitting, and no large task starved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.conftest import PoolAtHand  # pyright: ignore[reportMissingImports]
from unit.pool_words import CLIENT, EPOCH, HOST, RUNNING, completed, granted

from workerhost.actors.core.effects import Persist, Send
from workerhost.config.policy import PolicyTree
from workerhost.config.resources import canonical, resources, written
from workerhost.transport.messages import (
    Accepted,
    Admin,
    Cancel,
    Claim,
    GiveBack,
    Hello,
    Query,
    Rejected,
    Reply,
    Results,
    Returned,
    Submit,
    Tasks,
)

Make = Callable[..., Any]
GIB = 2**30


def ids(said: Any, host: bytes = HOST) -> list[int]:
    return [id for id, _, _ in granted(said, host)]


def end(pool: Any, *numbers: int, host: bytes = HOST) -> list[int]:
    """These tasks complete; what is granted for it."""
    leases = pool.pool.queue.leases
    return ids(pool.say(host, Results([completed(id, leases[id].row.fence, 60.0) for id in numbers])), host)


def used(pool: Any, host: bytes = HOST) -> dict[str, int]:
    (owner,) = [h.owner for h in pool.pool.hosts.by_owner.values() if h.token == host * 16 and h.alive()]
    return {name: count for name, count in pool.pool.queue.lanes.tree.stocks[owner].used.items() if count}


def why(pool: Any, id: int) -> dict[str, Any]:
    row = pool.pool.queue.rows[id]
    return pool.pool.requests.why.explain(row, pool.now, pool.wall)


# What is written ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("gpu=1,memory=8G,zone=eu", {"gpu": 1, "memory": 8 * GIB, "zone": "eu"}),
        ({"zone": "eu", "gpu": "2", "memory": "1.5G"}, {"gpu": 2, "memory": GIB * 3 // 2, "zone": "eu"}),
        ({"version": "1.5", "cores": 0}, {"cores": 0, "version": "1.5"}),
        ("", {}),
    ],
)
def test_what_reads_as_a_number_or_size_counts_and_the_rest_is_a_label(given: Any, found: Any) -> None:
    assert resources(given) == found
    assert list(resources(given)) == sorted(found)
    assert resources(canonical(found)) == found


@pytest.mark.parametrize(
    "given",
    ["gpu", ["gpu"], 1, None, {"gpu": -1}, {"gpu": 1.5}, {"gpu": True}, {"a b": 1}, {"x": "a,b"}, {"x": ""},
     {str(n): 1 for n in range(33)}, {"gpu": 2**51}],
)  # fmt: skip
def test_anything_else_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r"write|at most|use"):
        resources(given)


def test_counts_for_people() -> None:
    assert [written("memory", n) for n in (8 * GIB, 3 * 2**20, 1023, 0)] == [
        "memory=8G", "memory=3M", "memory=1023", "memory=0",
    ]  # fmt: skip
    assert written("zone", "eu") == "zone=eu"


# Packing ------------------------------------------------------------------------------------------------------------


def test_the_effects_of_a_task_that_requires_something(pool: Any) -> None:
    pool.host(slots=2, resources={"gpu": 1, "zone": "eu"})
    submit = Submit(1, 1, [["a", 5, {"requires": {"zone": "eu", "gpu": 1}}, [b"x"]]])
    effects = pool.pool.handle([(CLIENT, pool.numbers[CLIENT] + 1, submit)], pool.now, pool.wall)
    assert isinstance(effects[0], Persist)
    assert effects == [
        Persist(
            lanes=[(1, "a", "", "gpu=1,zone=eu")],
            tasks=effects[0].tasks,
            submissions=effects[0].submissions,
            claims=[(EPOCH + 1, 1, 1, pool.wall, 1)],
            tallies=[(1, RUNNING, 1)],
            meta={"last_id": 1},
        ),
        Send(CLIENT, 1, Accepted(1, 1, 1)),
        Send(HOST, 2, Tasks([["a", [[1, EPOCH + 1, 1, 5, pool.wall, b"x", None]]]])),
    ]


def test_a_host_is_given_no_more_than_it_offers(pool: Any) -> None:
    pool.host(slots=9, resources={"gpu": 2, "memory": 8 * GIB})
    assert ids(pool.send(count=3, requires={"gpu": 1})) == [1, 2]
    assert ids(pool.send(count=3, requires={"memory": "3G"})) == [4, 5]
    assert ids(pool.send(count=2)) == [7, 8], "what requires nothing does not wait"
    assert used(pool) == {"gpu": 2, "memory": 6 * GIB}
    assert end(pool, 1) == [3]
    assert end(pool, 4, 5) == [6]


def test_labels_are_not_used_up_and_must_be_the_same(pool: Any) -> None:
    pool.host(b"h", slots=9, resources={"zone": "eu"})
    pool.host(b"i", slots=9, resources={"zone": "us", "gpu": 1})
    said = pool.send(count=3, requires={"zone": "eu"})
    assert (ids(said, b"h"), ids(said, b"i")) == ([1, 2, 3], [])
    said = pool.send(requires={"zone": "us"})
    assert (ids(said, b"h"), ids(said, b"i")) == ([], [4])


def test_what_a_node_requires_is_inherited_and_a_task_says_otherwise(pool_with: Make) -> None:
    pool = pool_with({"ml": {"requires": {"gpu": 1}}, "ml.big": {"requires": {"memory": 4}}})
    pool.host(HOST, "ml", "ml.big", slots=9, resources={"gpu": 4, "memory": 8})
    pool.send("ml.big")
    assert used(pool) == {"gpu": 1, "memory": 4}
    pool.send("ml.big", requires={"gpu": 2, "memory": 0})
    assert used(pool) == {"gpu": 3, "memory": 4}


def test_a_cancelled_task_uses_what_it_uses_until_its_host_has_stopped_it(pool: Any) -> None:
    pool.host(slots=2, resources={"gpu": 1})
    pool.send(count=2, requires={"gpu": 1})
    fence = pool.pool.queue.leases[1].row.fence
    assert ids(pool.say(CLIENT, Cancel(1, [1]))) == []
    assert used(pool) == {"gpu": 1}
    assert ids(pool.say(HOST, Results([[1, fence, 4, b"", 1.0, 0, None]]))) == [2]


def test_leases_hold_what_they_use_over_restarts_of_the_supervisor(pool: Any) -> None:
    pool.host(slots=2, resources={"gpu": 1})
    said = pool.send(count=2, requires={"gpu": 1})
    ((id, fence, _),) = granted(said)
    pool.start()
    pool.client()
    assert ids(pool.host(slots=2, resources={"gpu": 1}, running=[[id, fence]])) == []
    assert used(pool) == {"gpu": 1}
    assert end(pool, 1) == [2]


def test_a_rescued_task_is_adopted_only_where_there_is_still_room_for_it(pool: Any) -> None:
    pool.host(b"h", slots=2, resources={"gpu": 1})
    ((id, fence, _),) = granted(pool.send(requires={"gpu": 1}))
    pool.silent.add(b"h")
    pool.wait(6)
    assert pool.state(id) == "queued"
    said = pool.host(b"h", slots=2, resources={"gpu": 1}, running=[[id, fence]])
    assert ids(said) == []
    assert pool.state(id) == "running"
    assert used(pool) == {"gpu": 1}


def test_what_a_host_has_to_stop_uses_what_it_uses_until_that_is_confirmed(pool: Any) -> None:
    pool.host(b"h", slots=2, resources={"gpu": 1})
    ((id, fence, _),) = granted(pool.send(requires={"gpu": 1}))
    pool.silent.add(b"h")
    pool.wait(6)
    pool.host(b"i", slots=2, resources={"gpu": 1})
    assert pool.state(id) == "running", "on another host by now"
    pool.send(count=1, requires={"gpu": 1})
    said = pool.host(b"h", slots=2, resources={"gpu": 1}, running=[[id, fence]])
    assert ids(said, b"h") == [], "its graphics card is still busy with what it was told to stop"
    assert used(pool, b"h") == {"gpu": 1}
    said = pool.say(b"h", Results([[id, fence, 4, b"", 1.0, 0, None]]))
    assert ids(said, b"h") == [2]


def test_a_task_that_is_given_back_frees_what_it_held(pool: Any) -> None:
    pool.host(slots=1, resources={"gpu": 1})
    ((id, fence, _),) = granted(pool.send(requires={"gpu": 1}))
    pool.say(HOST, Claim({"": 0}))
    pool.say(HOST, GiveBack([[id, fence, Returned.DRAIN, 0.0, "", False]]))
    assert used(pool) == {}


def test_a_host_that_offers_less_than_before_is_given_nothing_until_it_fits(pool: Any) -> None:
    pool.host(slots=4, resources={"gpu": 2})
    said = pool.send(count=3, requires={"gpu": 1})
    running = [[id, fence] for id, fence, _ in granted(said)]
    assert len(running) == 2
    assert ids(pool.host(slots=4, resources={"gpu": 1}, running=running)) == []
    assert end(pool, 1) == []
    assert end(pool, 2) == [3]


def test_other_requirements_of_a_node_count_from_the_moment_they_are_read(pool_with: Make) -> None:
    pool = pool_with({"a": {"requires": {"gpu": 1}}})
    pool.host(slots=4, resources={"gpu": 2})
    pool.send(count=3)
    assert used(pool) == {"gpu": 2}
    pool.pool.queue.lanes.retune(PolicyTree({"a": {"requires": {"gpu": 2}}}))
    assert used(pool) == {"gpu": 4}
    assert end(pool, 1) == []
    assert end(pool, 2) == [3]
    pool.pool.queue.lanes.retune(PolicyTree())
    assert used(pool) == {}
    assert pool.send(count=1)[HOST]


# No large one is starved -------------------------------------------------------------------------------------------


def test_what_a_task_waits_for_is_kept_for_it_from_the_moment_its_turn_has_come(pool: Any) -> None:
    pool.host(slots=9, resources={"gpu": 2})
    assert ids(pool.send(count=2, requires={"gpu": 1})) == [1, 2]
    assert ids(pool.send(requires={"gpu": 2})) == []
    assert ids(pool.send(count=9, requires={"gpu": 1})) == []
    assert end(pool, 1) == [], "one is free and kept for task 3"
    assert ids(pool.send(count=1)) == [13], "what needs none of it passes"
    assert ids(pool.send(requires={"gpu": 1}, priority=9)) == [14], "and so does a higher priority"
    assert end(pool, 14) == []
    assert end(pool, 2) == [3]
    assert end(pool, 3) == [4, 5]


def test_what_is_left_after_what_is_kept_is_for_others(pool: Any) -> None:
    pool.host(slots=9, resources={"gpu": 1, "memory": 10})
    pool.send(requires={"gpu": 1})
    assert ids(pool.send(requires={"gpu": 1, "memory": 6})) == []
    assert ids(pool.send(count=3, requires={"memory": 2})) == [3, 4], "6 of 10 are kept"


def test_a_task_that_begins_elsewhere_or_ends_keeps_nothing(pool: Any) -> None:
    pool.host(b"h", slots=9, resources={"gpu": 2})
    pool.send(requires={"gpu": 1})
    pool.send(requires={"gpu": 2})
    assert ids(pool.send(requires={"gpu": 1})) == []
    assert ids(pool.say(CLIENT, Cancel(1, [2]))) == [3], "the one it was kept for is cancelled"
    pool.send(requires={"gpu": 2})
    pool.send(requires={"gpu": 1})
    assert end(pool, 1) == []
    said = pool.host(b"i", slots=9, resources={"gpu": 2})
    assert ids(said, b"i") == [4]
    assert pool.pool.next_time(pool.now) == pool.now, "what was kept for it is free: look again at once"
    assert ids(pool._turn(pool.pool.handle([], pool.now, pool.wall))) == [5]


def test_a_paused_task_keeps_nothing(pool: Any) -> None:
    pool.host(HOST, "a", "b", slots=9, resources={"gpu": 2})
    pool.send("a", requires={"gpu": 1})
    pool.send("b", requires={"gpu": 2})
    pool.say(CLIENT, Admin(1, "pause", {"type": "b"}))
    pool.send("a", requires={"gpu": 1})
    said = pool._turn(pool.pool.handle([], pool.now, pool.wall))
    assert pool.state(3) == "running", said


def test_slot_pools_of_one_host_keep_for_each_other(pool: Any) -> None:
    """A task of the pool `ml` has its slot; those of the other pool do not take the graphics card from it for ever."""
    slots = {"": 1, "ml": 1}
    offer = {"types": ["ml", "x"], "slots": slots, "resources": {"gpu": 1}}
    pool.say(HOST, Hello("host", [1, 1], HOST * 16, "h", offer))
    pool.say(HOST, Claim(slots))
    pool.send("x", count=5, requires={"gpu": 1})
    pool.send("ml", requires={"gpu": 1})
    order = [1]
    for _ in range(5):
        (running,) = pool.pool.queue.leases
        order += end(pool, running)
    assert order.index(6) <= 1, order


def test_a_declined_task_that_does_not_fit_asks_for_no_turn_after_turn(pool: Any) -> None:
    pool.host(b"h", slots=2, any=True, resources={"gpu": 1})
    pool.host(b"i", slots=2, any=True, resources={"gpu": 1})
    said = pool.send(count=2, requires={"gpu": 1})
    ((id, fence, _),) = granted(said, b"h")
    pool.say(b"h", GiveBack([[id, fence, Returned.DECLINED, 0.0, "not mine", False]]))
    assert pool.state(id) == "queued"
    assert pool.pool.next_time(pool.now) > pool.now


# What is said -------------------------------------------------------------------------------------------------------


def test_why_names_the_nearest_miss(pool: Any) -> None:
    pool.host(b"h", slots=2, name="cpu-1", resources={"memory": 64 * GIB})
    pool.host(b"i", slots=2, name="gpu-1", resources={"gpu": 1, "memory": 8 * GIB, "zone": "us"})
    pool.send(requires={"gpu": 1, "memory": "16G"})
    said = why(pool, 1)
    text = "no host that serves a offers what it requires (gpu=1, memory=16G); the nearest, cpu-1, offers no gpu"
    assert said["reasons"] == [{"code": "not_offered", "text": text, "until": None}]
    assert said["hosts"] == [
        {"name": "cpu-1", "says": "offers no gpu"},
        {"name": "gpu-1", "says": "offers memory=8G < 16G"},
    ]
    pool.send(requires={"zone": "eu"})
    assert why(pool, 2)["hosts"][1]["says"] == "offers zone=us, not eu"
    (reply,) = pool.say(CLIENT, Query(1, "status", {}))[CLIENT]
    assert isinstance(reply, Reply)
    assert reply.value["notes"] == [
        "1 of a wait for a host that offers gpu=1, memory=16G; the nearest, cpu-1, offers no gpu",
        "1 of a wait for a host that offers zone=eu; the nearest, cpu-1, offers no zone=eu",
    ]
    assert [host["resources"] for host in reply.value["hosts"]][1] == {"gpu": 1, "memory": 8 * GIB, "zone": "us"}


def test_why_says_what_is_in_use_and_for_whom_something_is_kept(pool: Any) -> None:
    pool.host(HOST, "a", "b", slots=9, name="gpu-1", resources={"gpu": 2})
    pool.send("a", requires={"gpu": 1})
    pool.send("b", requires={"gpu": 2})
    pool.send("a", requires={"gpu": 1})
    assert [reason["text"] for reason in why(pool, 2)["reasons"]] == [
        "no host has free what it requires (gpu=2); gpu-1 offers gpu=2, 1 in use"
    ]
    assert [reason["text"] for reason in why(pool, 3)["reasons"]] == [
        "no host has free what it requires (gpu=1); gpu-1 keeps what it has free for a task of b whose turn came before"
    ]
    (reply,) = pool.say(CLIENT, Query(1, "hosts", {}))[CLIENT]
    assert isinstance(reply, Reply)
    assert reply.value["hosts"][0]["in_use"] == {"gpu": 1}


def test_require_host_means_one_that_offers_enough(pool: Any) -> None:
    pool.host(resources={"gpu": 1})
    (said,) = pool.send(requires={"gpu": 2}, require_host=True)[CLIENT]
    assert isinstance(said, Rejected)
    assert (said.code, said.reason) == ("no_host", "no joined host that serves a offers gpu=2")
    assert isinstance(pool.send(requires={"gpu": 1}, require_host=True)[CLIENT][0], Accepted)


@pytest.mark.parametrize("requires", [{"gpu": -1}, {"x": [1]}, {"a b": 1}, {1: 1}, "gpu=1", {"gpu": 1.0}])
def test_requirements_that_cannot_be_are_refused(pool: Any, requires: Any) -> None:
    (said,) = pool.send(requires=requires)[CLIENT]
    assert isinstance(said, Rejected)
    assert (said.code, said.path) == ("invalid", "requires")


# All of it ----------------------------------------------------------------------------------------------------------

NEEDS = st.sampled_from([{}, {"gpu": 1}, {"gpu": 2}, {"memory": 3}, {"gpu": 1, "memory": 5}, {"zone": "eu"}])
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("send"), NEEDS, st.integers(1, 3), st.integers(1, 2)),
        st.tuples(st.just("end"), st.integers(0, 9)),
        st.tuples(st.just("cancel"), st.integers(1, 20)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(MOVES)
def test_nothing_is_overcommitted_nothing_starves_and_why_is_right(moves: list[Any]) -> None:
    world = PoolAtHand()
    world.client()
    offers = {b"h": {"gpu": 2, "memory": 6}, b"i": {"gpu": 1, "memory": 5, "zone": "eu"}}
    for host, offer in offers.items():
        world.host(host, slots=3, resources=offer)
    queue = world.pool.queue

    def settle() -> None:
        while world.pool.next_time(world.now) <= world.now:
            world.wait(0.001)
        for host in world.pool.hosts.by_owner.values():
            for name, most in host.offer.counts().items():
                assert sum(lease.lane.needs.get(name, 0) for lease in host.leases.values()) <= most
        for row in list(queue.rows.values()):
            assert why(world, row.id)["reasons"], "the next claim takes it"

    def finish(index: int) -> None:
        leases = list(queue.leases.values())
        if leases:
            lease = leases[index % len(leases)]
            world.say(lease.pool.host.token[:1], Results([completed(lease.row.id, lease.row.fence, 9.0)]))

    for move, *more in moves:
        if move == "send":
            needs, count, priority = more
            world.send("a", count, priority, **({"requires": needs} if needs else {}))
        elif move == "end":
            finish(more[0])
        else:
            world.say(CLIENT, Cancel(1, [more[0]]))
        settle()
    while queue.rows or queue.leases:
        assert queue.leases, "somebody waits and nobody runs"
        finish(0)
        settle()
