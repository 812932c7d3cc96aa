"""Lanes of which no task is left are forgotten after a while; what somebody invents of them keeps nobody else out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from unit.pool_words import HOST, completed, granted  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.access.identities import Identity, Proved
from workerhost.actors.core.clients import requests
from workerhost.actors.core.order.empties import EMPTY_SECONDS
from workerhost.actors.core.settings import Keep
from workerhost.actors.core.step import Step
from workerhost.config.limits import Rate
from workerhost.config.policy import PolicyTree
from workerhost.transport.messages import Accepted, Cancel, Hello, Rejected, Results, Submit, Watch

ONE, OTHER = b"1", b"2"
KEYS = {ONE: "1" * 40, OTHER: "2" * 40}


@pytest.fixture
def pool(pool_with: Callable[..., Any]) -> Any:
    """A pool that forgets what has ended after ten seconds, with a host."""
    world = pool_with(keep=Keep(completed=10.0, failed=10.0))
    world.host(HOST, "a", "b", slots=100)
    return world


def run(pool: Any, type: str = "a", **options: Any) -> None:
    said = pool.send(type, **options)
    pool.say(HOST, Results([completed(id, fence) for id, fence, _ in granted(said)]))


def lanes(pool: Any) -> list[tuple[str, str]]:
    known = pool.pool.queue.lanes
    assert {lane.number for lane in known.by_key.values()} == set(known.by_number)
    stored = [(lane[1], lane[2]) for lane in pool.store.open().lanes]
    assert stored == [(lane.type, lane.tenant.name) for lane in known.by_number.values()]
    return stored


def test_a_lane_is_forgotten_when_all_its_tasks_have_been_for_a_while(pool: Any) -> None:
    run(pool, tenant="one")
    run(pool, tenant="two")
    pool.send("b", delay=10 * EMPTY_SECONDS)
    pool.wait(60.0)
    assert lanes(pool) == [("a", "one"), ("a", "two"), ("b", "")]
    pool.wait(EMPTY_SECONDS - 120.0, step=2.0)
    assert len(lanes(pool)) == 3
    run(pool, tenant="two")
    pool.wait(180.0)
    assert lanes(pool) == [("a", "two"), ("b", "")]
    assert list(pool.pool.queue.lanes.tenants.by_name) == ["two", ""]
    assert list(pool.pool.queue.lanes.tree.tenants) == ["tenant two"]


def test_who_comes_back_is_served_as_before(pool: Any) -> None:
    for tenant in ("one", "two"):
        run(pool, tenant=tenant)
    pool.wait(EMPTY_SECONDS + 120.0, step=2.0)
    assert lanes(pool) == []
    for tenant in ("one", "three", "two"):
        assert len(granted(pool.send("a", tenant=tenant))) == 1
    assert lanes(pool) == [("a", "one"), ("a", "three"), ("a", "two")]
    numbers = [tenant.number for tenant in pool.pool.queue.lanes.tenants.by_name.values()]
    assert len(set(numbers)) == len(numbers)


def test_one_tenant_is_left_of_two_and_gets_what_there_is(pool: Any) -> None:
    run(pool, tenant="one")
    run(pool, tenant="two")
    pool.send("b", tenant="two", delay=2 * EMPTY_SECONDS)
    pool.wait(EMPTY_SECONDS + 120.0, step=2.0)
    assert lanes(pool) == [("b", "two")]
    said = pool.wait(EMPTY_SECONDS, step=2.0)
    assert len(granted(said)) == 1
    assert len(granted(pool.send("a", tenant="two", count=5))) == 5
    assert len(granted(pool.send("a", tenant="four", count=5))) == 5


def tenants(pool: Any) -> tuple[list[str], set[str]]:
    """Of which tenants anything is counted: by the core, and by the store."""
    tree = pool.pool.queue.lanes.tree
    assert {path for path in tree._below if path.startswith("tenant ")} <= set(tree.tenants)
    return list(tree.tenants), {type for type, *_ in pool.store.open().rates}


@pytest.fixture
def limited(pool_with: Callable[..., Any]) -> Callable[[Rate], Any]:
    """Makes the same pool with a rate for every tenant, whoever that is."""

    def make(rate: Rate) -> Any:
        policies = PolicyTree(tenants={"*": {"rate": rate}})
        world = pool_with(keep=Keep(completed=10.0, failed=10.0), policies=policies)
        world.host(HOST, "a", slots=100)
        return world

    return make


def test_limits_for_all_tenants_keep_none_that_has_no_task(limited: Callable[[Rate], Any]) -> None:
    pool = limited(Rate(100, 1.0))
    for name in ("one", "two"):
        run(pool, tenant=name)
    assert tenants(pool) == (["tenant one", "tenant two"], {"tenant one", "tenant two"})
    pool.wait(EMPTY_SECONDS + 120.0, step=2.0)
    assert (lanes(pool), tenants(pool)) == ([], ([], set()))
    pool.start()
    assert tenants(pool) == ([], set())


def test_what_a_rate_counted_of_a_tenant_stays_as_long_as_its_window(limited: Callable[[Rate], Any]) -> None:
    pool = limited(Rate(1, 2 * EMPTY_SECONDS))
    for name in ("one", "two"):
        run(pool, tenant=name)
    pool.wait(EMPTY_SECONDS + 120.0, step=2.0)
    assert (lanes(pool), tenants(pool)) == ([], (["tenant one", "tenant two"], {"tenant one", "tenant two"}))
    pool.start()
    pool.client()
    pool.host(HOST, "a", slots=100)
    assert granted(pool.send("a", tenant="two")) == []
    pool.wait(EMPTY_SECONDS - 60.0, step=2.0)
    assert tenants(pool) == (["tenant two"], {"tenant two"}), "no task of it comes, so time alone must free it"
    assert len(granted(pool.send("a", tenant="one"))) == 1


def test_what_was_counted_before_a_long_night_is_not_read_again(limited: Callable[[Rate], Any]) -> None:
    pool = limited(Rate(100, 60.0))
    run(pool, tenant="one")
    pool.now += 90.0
    pool.start()
    pool.wait(0.1)
    assert tenants(pool) == (["tenant one"], set()), "it has a lane for an hour"
    pool.wait(EMPTY_SECONDS + 120.0, step=2.0)
    assert tenants(pool) == ([], set())


def test_lanes_that_were_empty_at_the_start_go_too(pool: Any) -> None:
    run(pool, tenant="one")
    pool.wait(60.0)
    pool.start()
    assert len(lanes(pool)) == 1
    pool.wait(EMPTY_SECONDS + 60.0, step=2.0)
    assert lanes(pool) == []


def test_a_group_without_a_task_makes_no_lane(pool: Any) -> None:
    pool.send("a", count=0, tenant="one")
    pool.send("c", count=0)
    assert lanes(pool) == []
    assert list(pool.pool.queue.lanes.by_type) == []


@pytest.fixture
def guarded(pool_with: Callable[..., Any]) -> Any:
    """A pool with two clients, each with an identity."""
    world = pool_with(guarded=True, keep=Keep(completed=10.0, failed=10.0))
    step = Step(world.now, world.wall)
    for key in KEYS.values():
        world.pool.identities.trust(step, Identity(key, "client"))
    world._turn(step.effects())
    for peer, key in KEYS.items():
        world._turn(world.pool.handle([(peer, 0, Proved(key))], world.now, world.wall))
        world.say(peer, Hello("client", [1, 1], peer * 16, "name"))
        world.say(peer, Watch(0, 100))
    return world


def answer(world: Any, peer: bytes, number: int, groups: list[Any]) -> Accepted | Rejected:
    said = world.say(peer, Submit(number, 1, groups))[peer]
    return next(one for one in said if isinstance(one, (Accepted, Rejected)))


def test_what_one_identity_invents_keeps_no_other_from_its_own(guarded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "LANES_MAX", 8)
    monkeypatch.setattr(requests, "LANES_EACH_MAX", 3)
    world = guarded

    def submit(peer: bytes, number: int, *tenants: str) -> Accepted | Rejected:
        return answer(world, peer, number, [["a", 5, {"tenant": tenant}, [b"x"]] for tenant in tenants])

    assert isinstance(submit(ONE, 1, "t1", "t2"), Accepted)
    refused = submit(ONE, 2, "t3", "t4")
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.path) == ("quota", "tenant")
    assert refused.reason == "2 lanes (of a type, a tenant and requirements) are this identity's making, of at most 3"
    assert isinstance(submit(ONE, 2, "t1", "t2", "t3"), Accepted), "what is there already is not its making anew"
    assert isinstance(submit(OTHER, 1, "t1", "t4", "t5", "t6"), Accepted)
    assert isinstance(submit(ONE, 3, "t7"), Rejected)
    for peer, ids in ((ONE, range(1, 6)), (OTHER, range(6, 20))):
        world.say(peer, Cancel(1, list(ids)))
    world.wait(EMPTY_SECONDS + 120.0, step=2.0)
    assert lanes(world) == []
    assert isinstance(submit(ONE, 3, "t7", "t8", "t9"), Accepted), "what was forgotten counts no more"


def test_types_that_one_identity_invents_one_after_the_other_leave_others_theirs(
    guarded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their lanes are forgotten, what is counted of them is not."""
    monkeypatch.setattr(requests, "TYPES_MAX", 4)
    monkeypatch.setattr(requests, "TYPES_EACH_MAX", 2)

    def submit(peer: bytes, number: int, *types: str) -> Accepted | Rejected:
        return answer(guarded, peer, number, [[type, 5, None, [b"x"]] for type in types])

    assert isinstance(submit(ONE, 1, "t1", "t2"), Accepted)
    guarded.say(ONE, Cancel(1, [1, 2]))
    guarded.wait(EMPTY_SECONDS + 120.0, step=2.0)
    assert lanes(guarded) == []
    refused = submit(ONE, 2, "t3")
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.path) == ("invalid", "type")
    assert refused.reason == "2 types are this identity's making, of at most 2"
    assert isinstance(submit(ONE, 2, "t1", "t2"), Accepted)
    assert isinstance(submit(OTHER, 1, "t3", "t4"), Accepted)
