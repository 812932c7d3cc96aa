"""One identity's flood is its own affair: bounds on what it has unfinished, on how fast it sends, on its mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from unit.pool_words import CANCELLED, HOST, granted  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.access import allowances
from workerhost.actors.core.access.identities import Garbled, Identity, Proved
from workerhost.actors.core.clients import clients
from workerhost.actors.core.clients.reloads import Configuration
from workerhost.actors.core.flows import flows
from workerhost.actors.core.settings import PoolSettings
from workerhost.actors.core.step import Step
from workerhost.config.changes import Change
from workerhost.transport.messages import (
    Accepted,
    Admin,
    Cancel,
    Claim,
    GiveBack,
    Hello,
    Outcome,
    Query,
    Refused,
    Rejected,
    Reply,
    Results,
    Returned,
    Submit,
    Watch,
    Welcome,
)

ONE, OTHER, ADMIN = b"1", b"2", b"3"
KEYS = {ONE: "1" * 40, OTHER: "2" * 40, ADMIN: "3" * 40}


@pytest.fixture
def pool(pool_with: Callable[..., Any]) -> Any:
    """A guarded pool for 20 tasks with two clients and an admin."""
    world = pool_with(guarded=True, max_size=20)
    step = Step(world.now, world.wall)
    for peer, key in KEYS.items():
        world.pool.identities.trust(step, Identity(key, "admin" if peer == ADMIN else "client"))
    world._turn(step.effects())
    for peer in KEYS:
        join(world, peer)
    world.notes.clear()
    return world


def join(pool: Any, peer: bytes, session: bytes | None = None) -> Any:
    pool._turn(pool.pool.handle([(peer, 0, Proved(KEYS[peer]))], pool.now, pool.wall))
    said = pool.say(peer, Hello("client", [1, 1], session or peer * 16, "name"))
    pool.say(peer, Watch(0, 100))
    return said


def submit(pool: Any, peer: bytes, number: int, *params: bytes) -> Any:
    said = pool.say(peer, Submit(number, 1, [["a", 5, None, list(params)]]))[peer]
    return next(one for one in said if isinstance(one, (Accepted, Rejected)))


def test_what_a_task_said_of_its_service_is_not_told_to_who_did_not_send_it(pool: Any) -> None:
    step = Step(pool.now, pool.wall)
    pool.pool.identities.trust(step, Identity("4" * 40, "host"))
    pool._turn(step.effects())
    pool._turn(pool.pool.handle([(HOST, 0, Proved("4" * 40))], pool.now, pool.wall))
    submit(pool, ONE, 1, b"x")
    submit(pool, OTHER, 1, b"y")
    ((id, fence, _),) = granted(pool.host(HOST))
    spent = {"message": "account of alice is empty", "kind": "quota"}
    pool.say(HOST, Results([[id, fence, Outcome.FAILED, b"", 0.1, 0, spent]]))

    submit(pool, ADMIN, 1, b"z")
    for id, fence, _ in granted(pool.say(HOST, Claim({"": 1}))):
        pool.say(HOST, GiveBack([[id, fence, Returned.DECLINED, 0.0, "alice is not ours", False]]))

    def answers(peer: bytes) -> str:
        pool.answers.clear()
        said = [pool.say(peer, Query(number, what)) for number, what in enumerate(("status", "types", "snapshot"))]
        pool.say(peer, Query(9, "why", {"id": 1 if peer == ONE else 2}))
        return repr(said) + repr([answer.live for answer in pool.answers])

    assert "asleep" in answers(OTHER)
    assert "alice" not in answers(OTHER)
    assert "task 1" not in answers(OTHER)
    assert answers(ADMIN).count("a is asleep: task 1: account of alice is empty") >= 2


def test_one_client_takes_half_of_the_queue_at_most(pool: Any) -> None:
    assert submit(pool, ONE, 1, *[b"x"] * 10) == Accepted(1, 1, 10)
    reason = "this identity has 10 unfinished tasks of at most 10"
    assert submit(pool, ONE, 2, b"x") == Rejected(2, "queue_full", reason, "", 1.0)
    assert submit(pool, OTHER, 1, *[b"x"] * 5) == Accepted(1, 11, 5)
    join(pool, ONE, b"another process.")
    assert submit(pool, ONE, 1, b"x").code == "queue_full", "another session of the same identity is no way around it"
    said = pool.say(ONE, Cancel(1, [1, 2]))
    assert [e[2] for m in said[ONE] for e in getattr(m, "finished", [])] in ([], [CANCELLED, CANCELLED])
    assert submit(pool, ONE, 2, b"x", b"x") == Accepted(2, 16, 2)


def test_half_of_the_queue_is_half_of_what_the_configuration_says_by_now(pool: Any) -> None:
    read = Configuration(PoolSettings(max_size=8), [Change("", "queue.max_size", 20, 8, "")])
    pool._turn(pool.pool.reread(read, pool.now, pool.wall))
    assert submit(pool, ONE, 1, *[b"x"] * 4) == Accepted(1, 1, 4)
    reason = "this identity has 4 unfinished tasks of at most 4"
    assert submit(pool, ONE, 2, b"x") == Rejected(2, "queue_full", reason, "", 1.0)
    read = Configuration(PoolSettings(max_size=12), [Change("", "queue.max_size", 8, 12, "")])
    pool._turn(pool.pool.reread(read, pool.now, pool.wall))
    assert submit(pool, ONE, 2, b"x", b"x") == Accepted(2, 5, 2)


def test_a_restart_forgives_nothing(pool: Any) -> None:
    assert submit(pool, ONE, 1, *[b"x"] * 10).count == 10
    pool.say(ONE, Cancel(1, [1, 2]))
    pool.start()
    for peer in KEYS:
        join(pool, peer)
    assert submit(pool, ONE, 2, *[b"x"] * 3).code == "queue_full"
    assert submit(pool, ONE, 2, b"x", b"x").count == 2
    pool.say(ONE, Cancel(2, list(range(1, 13))))
    pool.start()
    for peer in KEYS:
        join(pool, peer)
    assert pool.store.open().shares == [], "what has ended is kept no longer"


@pytest.mark.parametrize("who", [ONE, ADMIN])
@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_retried_is_unfinished_again(pool: Any, who: bytes, restarted: bool) -> None:
    assert submit(pool, ONE, 1, *[b"x"] * 10).count == 10
    pool.say(ONE, Cancel(1, list(range(1, 11))))
    if restarted:
        pool.start()
        for peer in KEYS:
            join(pool, peer)
    pool.say(who, Admin(2, "retry", {"ids": list(range(1, 10))}))
    pool.say(who, Admin(3, "retry", {"ids": [10, 1]}))
    assert submit(pool, ONE, 2, b"x").code == "queue_full"
    pool.start()
    for peer in KEYS:
        join(pool, peer)
    assert submit(pool, ONE, 2, b"x").code == "queue_full"
    pool.say(ONE, Cancel(2, [10]))
    assert submit(pool, ONE, 2, b"x").count == 1


def refused(pool: Any, peer: bytes, *ids: int) -> Any:
    said = pool.say(peer, Admin(9, "retry", {"ids": list(ids)}))[peer]
    (reply,) = (message for message in said if isinstance(message, Reply))
    return None if reply.ok else reply.value["code"]


def test_who_retries_has_no_more_unfinished_than_who_sends(pool: Any) -> None:
    assert submit(pool, ONE, 1, *[b"x"] * 10).count == 10
    pool.say(ONE, Cancel(1, list(range(1, 11))))
    assert submit(pool, ONE, 2, *[b"x"] * 8).count == 8
    assert refused(pool, ONE, 1, 2, 3) == "queue_full"
    assert refused(pool, ONE, 1, 2) is None
    assert refused(pool, ONE, 3) == "queue_full"
    assert refused(pool, ONE, 1) is None, "it runs already: nothing is to be done"
    assert refused(pool, ADMIN, 3, 4) is None, "an admin is bounded by the queue alone"
    assert refused(pool, ADMIN, *range(5, 11)) is None
    assert submit(pool, OTHER, 1, b"x", b"x").count == 2
    pool.say(ONE, Cancel(2, [1]))
    assert refused(pool, ADMIN, 1) is None
    pool.say(ONE, Cancel(2, [1]))
    assert submit(pool, OTHER, 2, b"x").count == 1
    assert refused(pool, ADMIN, 1) == "queue_full"


def orders(pool: Any, peer: bytes, *ids: Iterable[int]) -> list[bool]:
    """Whether each of several orders of one turn to run tasks once more was obeyed."""
    said = pool.say(peer, *(Admin(number, "retry", {"ids": list(some)}) for number, some in enumerate(ids)))[peer]
    return [message.ok for message in said if isinstance(message, Reply)]


def test_many_orders_in_one_turn_are_bounded_together(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        assert submit(pool, ONE, number, *[b"x"] * 10).count == 10
        pool.say(ONE, Cancel(number, list(range(1, 21))))
    assert orders(pool, ONE, range(1, 11), range(11, 21)) == [True, False]
    assert submit(pool, OTHER, 1, *[b"x"] * 10).count == 10
    pool.say(ONE, Cancel(3, list(range(1, 21))))
    assert orders(pool, ONE, range(1, 7), range(7, 11)) == [True, True]
    pool.say(ONE, Cancel(4, list(range(1, 21))))
    pool.say(OTHER, Cancel(1, list(range(21, 31))))

    monkeypatch.setattr(flows, "FLOWS_MAX", 3)
    numbers = [flow(pool, ONE, number).first for number in (3, 4)]
    pool.say(ONE, Cancel(5, numbers))
    numbers += [flow(pool, ONE, number).first for number in (5, 6)]
    pool.say(ONE, Cancel(6, numbers))
    assert sorted(orders(pool, ONE, *([number] for number in numbers))) == [False, True, True, True]
    assert len(pool.pool.flows.members) == 3


def test_flows_that_are_retried_are_no_more_than_may_be_handed_in(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "FLOWS_MAX", 3)
    monkeypatch.setattr(flows, "FLOWS_EACH_MAX", 2)
    for number in (1, 2, 3):
        assert flow(pool, ONE, number) == Accepted(number, number, 1)
        pool.say(ONE, Cancel(1, [number]))
    assert refused(pool, ONE, 1, 2, 3) == "queue_full"
    assert refused(pool, ONE, 1, 2) is None
    assert refused(pool, ONE, 3) == "queue_full"
    assert refused(pool, ADMIN, 3) is None
    assert flow(pool, OTHER, 1).code == "queue_full"


def test_what_an_admin_sent_is_nobodys_when_it_is_retried(pool: Any) -> None:
    assert submit(pool, ADMIN, 1, *[b"x"] * 15).count == 15
    pool.say(ADMIN, Cancel(1, list(range(1, 16))))
    pool.say(ADMIN, Admin(2, "retry", {"ids": list(range(1, 16))}))
    assert pool.store.open().shares == []


def test_an_admin_is_bounded_by_the_queue_alone(pool: Any) -> None:
    assert submit(pool, ADMIN, 1, *[b"x"] * 20) == Accepted(1, 1, 20)


def test_who_sends_too_fast_is_told_when_to_go_on(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowances, "BYTES_PER_SECOND", 100.0)
    assert submit(pool, ONE, 1, b"x" * 700) == Accepted(1, 1, 1), "five seconds' worth at once, and some debt"
    late = submit(pool, ONE, 2, b"x")
    assert (late.code, late.retry_after) == ("quota", 2.0)
    assert submit(pool, OTHER, 1, b"x") == Accepted(1, 2, 1)
    pool.wait(2.1)
    assert submit(pool, ONE, 2, b"x") == Accepted(2, 3, 1)


def test_tasks_for_which_older_ones_answer_count_to_how_fast_it_sends(
    pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowances, "TASKS_PER_SECOND", 2.0)
    again = [["a", 5, {"key": ["k"] * 14}, [b"x"] * 14]]
    assert submit(pool, ONE, 1, b"x") == Accepted(1, 1, 1)
    said = pool.say(ONE, Submit(2, 1, again))[ONE]
    assert [one.count for one in said if isinstance(one, Accepted)] == [14], "one is stored, and 13 are that one"
    late = submit(pool, ONE, 3, b"x")
    assert (late.code, late.retry_after) == ("quota", 2.5)


def test_what_one_identity_keeps_in_memory_is_no_other_ones_affair(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "KEPT_BYTES_MAX", 2 * clients.SUBMISSION_BYTES)
    assert submit(pool, ONE, 1, b"x").count == submit(pool, ONE, 2, b"x").count == 1
    refused = submit(pool, ONE, 3, b"x")
    assert (refused.code, refused.path) == ("quota", "below")
    assert "this identity" in refused.reason
    assert submit(pool, OTHER, 1, b"x").count == 1


def flow(pool: Any, peer: bytes, number: int) -> Any:
    said = pool.say(peer, Submit(number, 1, [["a", 5, None, [b"x"]]], {"name": "one task"}))[peer]
    return next(one for one in said if isinstance(one, (Accepted, Rejected)))


@pytest.mark.parametrize("restarted", [False, True])
def test_one_client_has_half_of_the_flows_at_most(
    pool: Any, monkeypatch: pytest.MonkeyPatch, *, restarted: bool
) -> None:
    monkeypatch.setattr(flows, "FLOWS_MAX", 4)
    monkeypatch.setattr(flows, "FLOWS_EACH_MAX", 2)
    assert [flow(pool, ONE, number).count for number in (1, 2)] == [1, 1]
    if restarted:
        pool.start()
        for peer in KEYS:
            join(pool, peer)
    reason = "this identity has 2 flows that have not ended, of at most 2: it may hand in more when some have"
    assert flow(pool, ONE, 3) == Rejected(3, "queue_full", reason, "", 1.0)
    assert flow(pool, OTHER, 1) == Accepted(1, 3, 1)
    pool.say(ONE, Cancel(1, [1]))
    assert flow(pool, ONE, 3) == Accepted(3, 4, 1)
    assert flow(pool, ADMIN, 1) == Accepted(1, 5, 1), "an admin is bounded by the pool's bound alone"
    reason = "the pool has 4 flows that have not ended, and no more"
    assert flow(pool, ADMIN, 2) == Rejected(2, "queue_full", reason, "", 1.0)


def test_a_flow_that_is_retried_is_its_senders_again(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "FLOWS_EACH_MAX", 2)
    assert flow(pool, ONE, 1) == Accepted(1, 1, 1)
    pool.say(ONE, Cancel(1, [1]))
    pool.say(ONE, Admin(2, "retry", {"ids": [1]}))
    assert flow(pool, ONE, 2).count == 1
    assert flow(pool, ONE, 3).code == "queue_full"
    pool.say(ONE, Cancel(3, [1, 2]))
    assert [flow(pool, ONE, number).count for number in (3, 4)] == [1, 1]


def test_new_sessions_begin_as_fast_as_a_shell_loop_needs_and_not_faster(
    pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is kept for a week."""
    monkeypatch.setattr(allowances, "SESSIONS_AT_ONCE", 3)
    for number in range(3):
        assert isinstance(join(pool, ONE, b"%016d" % number)[ONE][0], Welcome)
    stored = pool.store.open().meta["last_session"]
    reason = (
        "this identity begins sessions faster than 5 a second, and has begun 3 at once: "
        "do more in each, or try again in a second"
    )
    assert join(pool, ONE, b"%016d" % 3) == {ONE: [Refused("quota", reason)]}
    assert pool.store.open().meta["last_session"] == stored
    assert isinstance(join(pool, ONE, b"%016d" % 2)[ONE][0], Welcome), "one that is there already goes on"
    assert isinstance(join(pool, OTHER, b"%016d" % 4)[OTHER][0], Welcome)
    for number in range(5, 15):
        assert isinstance(join(pool, ADMIN, b"%016d" % number)[ADMIN][0], Welcome)
    pool.now += 0.2
    assert isinstance(join(pool, ONE, b"%016d" % 3)[ONE][0], Welcome)


def test_who_keeps_making_mistakes_is_not_heard_for_a_minute(pool: Any) -> None:
    for _ in range(allowances.MISTAKES_MAX + 1):
        pool.say(ONE, Claim({"": 1}))
    assert pool.notes.count("identity_ignored") == 1
    assert pool.say(ONE, Query(1, "status")) == {}
    assert join(pool, ONE) == {}, "not even a new session is answered"
    assert OTHER in pool.say(OTHER, Query(1, "status"))
    pool.wait(60.1)
    assert ONE in join(pool, ONE)


def test_a_mistake_now_and_then_is_forgiven(pool: Any) -> None:
    for _ in range(3 * allowances.MISTAKES_MAX):
        pool.say(ONE, Claim({"": 1}))
        pool.wait(10)
    assert "identity_ignored" not in pool.notes


def test_frames_that_are_no_message_are_mistakes_too(pool: Any) -> None:
    batch = [(ONE, 0, Garbled())] * (allowances.MISTAKES_MAX + 1)
    pool._turn(pool.pool.handle(batch, pool.now, pool.wall))
    assert pool.say(ONE, Query(1, "status")) == {}


def test_where_nothing_is_proved_nobody_is_bounded(pool_with: Callable[..., Any]) -> None:
    world = pool_with()
    for _ in range(3 * allowances.MISTAKES_MAX):
        world._turn(world.pool.handle([(b"c", 0, Garbled())], world.now, world.wall))
        world.say(b"c", Claim({"": 1}))
    assert b"c" in world.say(b"c", Query(1, "status"))
