"""Tenants: at equal priority they take turns, whoever was served longest ago first, and their limits hold as nodes'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.conftest import PoolAtHand  # pyright: ignore[reportMissingImports]
from unit.pool_words import CLIENT, EPOCH, HOST, QUEUED, RUNNING, completed, granted

from workerhost.actors.core.effects import Persist, Send
from workerhost.actors.core.settings import PoolSettings
from workerhost.config.limits import Rate
from workerhost.config.policy import PolicyTree
from workerhost.transport.messages import Accepted, Admin, Claim, Query, Rejected, Reply, Results, Submit, Tasks

Make = Callable[..., Any]


def ids(said: Any, host: bytes = HOST) -> list[int]:
    return [id for id, _, _ in granted(said, host)]


def drained(pool: Any, said: Any = None) -> list[int]:
    """Every task of a pool whose only host has one slot, in the order in which they were granted."""
    order = granted(said or {})
    grants = list(order)
    while grants:
        grants = granted(pool.say(HOST, Results([completed(id, fence, 9.0) for id, fence, _ in grants])))
        order += grants
    return [id for id, _, _ in order]


def test_the_effects_of_a_task_with_a_tenant(pool: Any) -> None:
    pool.host(slots=1)
    submit = Submit(1, 1, [["a", 5, {"tenant": "acme", "timeout": 5.0}, [b"x"]]])
    effects = pool.pool.handle([(CLIENT, pool.numbers[CLIENT] + 1, submit)], pool.now, pool.wall)
    assert isinstance(effects[0], Persist)
    row = (1, 1, 5, 1, QUEUED, 1, 0, 0, 0, 0, 0, 0, pool.wall, None, False, 0, None, {"timeout": 5.0}, b"x")
    assert effects == [
        Persist(
            lanes=[(1, "a", "acme", "")],
            tasks=[row],
            submissions=effects[0].submissions,
            claims=[(EPOCH + 1, 1, 1, pool.wall, 1)],
            tallies=[(1, RUNNING, 1)],
            meta={"last_id": 1},
        ),
        Send(CLIENT, 1, Accepted(1, 1, 1)),
        Send(HOST, 2, Tasks([["a", [[1, EPOCH + 1, 1, 5, pool.wall, b"x", {"timeout": 5.0}]]]])),
    ]


def test_tenants_take_turns_however_much_one_of_them_sent_first(pool: Any) -> None:
    pool.send(count=5, tenant="acme")
    pool.send(count=2, tenant="globex")
    pool.send(count=2)
    assert drained(pool, pool.host()) == [1, 6, 8, 2, 7, 9, 3, 4, 5]


def test_priority_goes_before_turns_and_first_come_within_a_tenant(pool: Any) -> None:
    pool.send("a", count=2, tenant="acme")
    pool.send("b", count=1, tenant="acme", priority=9)
    pool.send("b", count=2, tenant="acme")
    pool.send("b", count=2, tenant="globex")
    pool.send("a", count=1, tenant="globex", priority=9)
    # At priority 9 acme and globex take turns, then at 5; acme's own tasks go by place, whatever their type.
    assert drained(pool, pool.host(HOST, "a", "b")) == [3, 8, 1, 6, 2, 7, 4, 5]


def test_who_was_served_longest_ago_is_first_whenever_it_comes_back(pool: Any) -> None:
    said = pool.host()
    said = pool.send(count=1, tenant="acme")
    pool.send(count=3, tenant="globex")
    pool.send(count=1, tenant="acme")
    assert drained(pool, said) == [1, 2, 5, 3, 4]


def test_turns_hold_where_memory_keeps_only_the_beginning_of_each_lane(pool_with: Make) -> None:
    pool = pool_with(rows_max=8)
    for tenant in ("acme", "globex", "initech"):
        pool.send("a", count=20, tenant=tenant)
        pool.send("b", count=20, tenant=tenant)
    order = drained(pool, pool.host(HOST, "a", "b"))
    whose = [(id - 1) // 40 for id in order]
    assert whose == [0, 1, 2] * 40
    for tenant in range(3):
        mine = [id for id in order if (id - 1) // 40 == tenant]
        assert mine == sorted(mine), "within a tenant it is first come, across its types"


def test_a_fast_lane_is_shipped_ahead_in_turns_too(pool: Any) -> None:
    said = pool.host(slots=1)
    said = pool.send(count=60, tenant="acme")
    while grants := granted(said):
        said = pool.say(HOST, Results([completed(id, fence, 0.0001) for id, fence, _ in grants]))
    pool.say(HOST, Claim({"": 0}))
    pool.send(count=40, tenant="acme")
    pool.send(count=40, tenant="globex")
    said = pool.say(HOST, Claim({"": 1}))
    order = ids(said)
    assert len(order) > 20, "the margin of a fast lane"
    assert [id <= 100 for id in order] == [False, True] * (len(order) // 2) + [False] * (len(order) % 2)


def test_a_tenant_runs_no_more_at_a_time_than_it_may(pool_with: Make) -> None:
    tree = PolicyTree(tenants={"acme": {"max_concurrent": 2}, "*": {"max_concurrent": 1}})
    pool = pool_with(policies=tree)
    pool.host(HOST, "a", "b", slots=9)
    assert ids(pool.send("a", count=3, tenant="acme")) == [1, 2]
    assert ids(pool.send("b", count=3, tenant="acme")) == [], "over all its types together"
    assert ids(pool.send("a", count=2, tenant="globex")) == [7]
    assert ids(pool.send("a", count=2, tenant="initech")) == [9], "each that is not named has its own"
    assert ids(pool.send("a", count=2)) == [11, 12], "tasks without a tenant are nobody's"
    fences = {id: lease.row.fence for id, lease in pool.pool.queue.leases.items()}
    assert ids(pool.say(HOST, Results([completed(1, fences[1])]))) == [3]
    row = pool.pool.queue.rows[4]
    why = pool.pool.requests.why.explain(row, pool.now, pool.wall)
    assert [reason["text"] for reason in why["reasons"]] == ["tenant acme runs 2 tasks, 2 at a time are allowed"]


def test_a_tenants_rate_holds_over_a_restart(pool_with: Make) -> None:
    tree = PolicyTree(tenants={"acme": {"rate": Rate(2, 10.0)}})
    pool = pool_with(policies=tree)
    pool.host(slots=9)
    said = pool.send(count=5, tenant="acme")
    assert ids(said) == [1, 2]
    pool.say(HOST, Results([completed(id, fence) for id, fence, _ in granted(said)]))
    pool.now += 4
    pool.start()
    pool.client()
    assert ids(pool.host(slots=9)) == []
    pool.wait(6.5)
    assert pool.state(3) == pool.state(4) == "running"
    assert pool.state(5) == "queued"


def test_status_lists_tenants_with_what_waits_and_what_keeps_them(pool_with: Make) -> None:
    pool = pool_with(policies=PolicyTree(tenants={"acme": {"max_concurrent": 1}}))
    assert "tenants" not in status(pool), "a pool that has none says nothing of them"
    pool.host(slots=9)
    pool.send(count=3, tenant="acme")
    pool.send(count=1)
    block = {
        "node": "tenant acme",
        "code": "max_concurrent",
        "text": "tenant acme runs 1 tasks, 1 at a time are allowed",
        "until": None,
    }
    assert status(pool)["tenants"] == [
        {"tenant": "", "queued": 0, "running": 1, "max_concurrent": None, "rate": None, "blocks": []},
        {"tenant": "acme", "queued": 2, "running": 1, "max_concurrent": 1, "rate": None, "blocks": [block]},
    ]


def status(pool: Any) -> dict[str, Any]:
    (reply,) = pool.say(CLIENT, Query(1, "status", {}))[CLIENT]
    assert isinstance(reply, Reply)
    return reply.value


@pytest.mark.parametrize("tenant", ["", "two words", "x" * 65, 7, None, "a,b"])
def test_a_name_that_cannot_be_one_is_refused(pool: Any, tenant: Any) -> None:
    (said,) = pool.send(tenant=tenant)[CLIENT]
    assert isinstance(said, Rejected)
    assert (said.code, said.path) == ("invalid", "tenant")


def test_a_paused_type_costs_a_tenant_no_turn(pool: Any) -> None:
    pool.say(CLIENT, Admin(1, "pause", {"type": "b"}))
    pool.send("b", count=1, tenant="globex")
    pool.send("a", count=3, tenant="acme")
    pool.send("a", count=1, tenant="globex")
    assert drained(pool, pool.host(HOST, "a", "b")) == [2, 5, 3, 4]


SENT = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["", "x", "y", "z"]), st.integers(1, 2), st.integers(1, 4)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(SENT, st.sampled_from([4, 6, 50]))
def test_no_tenant_is_served_twice_while_another_of_its_priority_waits(sent: list[Any], rows: int) -> None:
    """The bound on unfairness, and the whole order, by a model that knows nothing of lanes and windows."""
    world = PoolAtHand(PoolSettings(rows_max=rows))
    world.client()
    waiting: list[tuple[int, str, int]] = []
    for type, tenant, priority, count in sent:
        world.send(type, count, priority, **({"tenant": tenant} if tenant else {}))
        waiting += [(-priority, tenant, len(waiting) + n + 1) for n in range(count)]
    turns: dict[str, int] = {}
    expected: list[int] = []
    while waiting:
        first = min(waiting, key=lambda task: (task[0], turns.get(task[1], 0), task[2]))
        waiting.remove(first)
        turns[first[1]] = len(expected) + 1
        expected.append(first[2])
    assert drained(world, world.host(HOST, "a", "b")) == expected
