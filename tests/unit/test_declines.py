"""What becomes of a task that a host declines: others are asked first, then it waits and says why."""

from __future__ import annotations

from typing import Any

import pytest
from unit.pool_words import CLIENT, HOST, completed, ended, granted  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.order import declines
from workerhost.actors.core.order.declines import ASKED_MAX, POSTPONED_SECONDS
from workerhost.transport.messages import Admin, Cancel, Claim, GiveBack, Heartbeat, Query, Results, Returned

OTHER = b"o"


def decline(pool: Any, host: bytes, id: int, fence: int, code: int = Returned.DECLINED) -> dict[bytes, Any]:
    return pool.say(host, GiveBack([[id, fence, code, 0.0, "not mine", False]]))


def notes(pool: Any) -> list[str]:
    (reply,) = pool.say(CLIENT, Query(9, "status", {}))[CLIENT]
    return reply.value["notes"]


def test_another_host_is_asked_before_the_same_again_and_nothing_is_counted(pool: Any) -> None:
    pool.host(slots=2)
    ((id, fence, _),) = granted(pool.send())
    assert granted(decline(pool, HOST, id, fence)) == [], "it has said no"
    assert len(granted(pool.send())) == 1, "and takes what comes after"
    ((again, fence, attempt),) = granted(pool.host(OTHER, slots=1), OTHER)
    assert (again, attempt) == (id, 1)
    pool.say(OTHER, Results([completed(id, fence)]))
    task = pool.store.show(id)
    assert (task["state"], task["failures"], task["releases"], len(task["attempts"])) == ("completed", 0, 0, 1)


def test_it_keeps_its_place_before_what_came_after_it(pool: Any) -> None:
    pool.host(slots=1)
    ((id, fence, _),) = granted(pool.send(count=4))
    decline(pool, HOST, id, fence)
    pool.send(priority=9, type="b")
    assert [id for id, _, _ in granted(pool.host(OTHER, "a", "b", slots=3), OTHER)] == [5, 1, 3]


def test_a_host_with_several_free_slots_takes_it_in_its_place_too(pool: Any) -> None:
    pool.host(slots=1)
    ((id, fence, _),) = granted(pool.send())
    pool.say(HOST, Claim({"": 0}))
    decline(pool, HOST, id, fence)
    pool.send(priority=9)
    pool.send(priority=1)
    assert [id for id, _, _ in granted(pool.host(OTHER, slots=2), OTHER)] == [2, 1]


def test_when_nobody_is_left_it_waits_and_the_pool_says_why_until_a_hello(pool: Any) -> None:
    pool.host(slots=2)
    pool.host(OTHER, slots=2)
    ((id, fence, _),) = granted(said := pool.send()) or granted(said, OTHER)
    first = HOST if granted(said) else OTHER
    second = OTHER if first == HOST else HOST
    ((_, fence, _),) = granted(decline(pool, first, id, fence), second)
    decline(pool, second, id, fence)
    assert granted(pool.wait(300.0, step=10.0)) == []
    reason = f"declined 2 times, the last time by {second.decode()}: not mine"
    assert notes(pool) == [f"1 of a wait for another host or new code; {reason}"]
    assert pool.pool.queue.declines.of(id).reason() == reason
    assert pool.state(id) == "queued"
    ((again, _, _),) = granted(pool.host(second, slots=2), second)
    assert again == id
    assert notes(pool) == []


def test_after_sixteen_declines_it_waits_for_a_hello_though_others_have_not_been_asked(pool: Any) -> None:
    hosts = [b"h%02d" % n for n in range(ASKED_MAX + 2)]
    for host in hosts:
        pool.host(host)
    said = pool.send()
    for count in range(ASKED_MAX):
        ((asked, (id, fence, _)),) = [(host, task) for host in hosts for task in granted(said, host)]
        assert pool.pool.queue.leases[id].declined is None or pool.pool.queue.leases[id].declined.count == count
        said = decline(pool, asked, id, fence)
    assert not any(granted(said, host) for host in hosts)
    ((id, fence, _),) = granted(pool.host(b"new"), b"new")
    said = decline(pool, b"new", id, fence)
    assert not any(granted(said, host) for host in hosts)


@pytest.mark.parametrize("end", ["cancel", "expire", "restart"])
def test_what_waits_aside_is_a_task_like_any_other(pool: Any, end: str) -> None:
    pool.host(slots=3)
    options = {"expires": pool.wall + 60} if end == "expire" else {}
    ((id, fence, _),) = granted(pool.send(**options))
    decline(pool, HOST, id, fence)
    if end == "cancel":
        pool.say(CLIENT, Cancel(1, [id]))
        assert pool.state(id) == "cancelled"
    elif end == "expire":
        assert ended(pool.wait(70, step=5.0)) == [(id, 5)]
    else:
        pool.start()
        pool.client()
        ((again, _, _),) = granted(pool.host(slots=3))
        assert again == id
    assert len(pool.pool.queue.declines) == 0


def test_a_type_that_no_worker_of_a_host_is_for_is_not_offered_to_that_session_again(pool: Any) -> None:
    pool.host(HOST, "a", "b", slots=2)
    (id, fence, _), (other, second, _) = granted(pool.send(count=3))
    said = pool.say(HOST, GiveBack([[id, fence, Returned.UNSERVED, 0.0, "not loaded", False]]))
    assert granted(said) == []
    assert notes(pool) == ["no host serves a"]
    assert len(granted(pool.send("b"))) == 1
    pool.say(HOST, Results([completed(other, second)]))
    assert pool.store.show(id)["state"] == "queued"
    again = granted(pool.host(HOST, "a", "b", slots=2))
    assert [id for id, _, _ in again] == [1, 3], "until it says HELLO anew"


def test_a_node_that_has_failed_is_offered_again_when_it_is_well(pool: Any) -> None:
    pool.host(slots=1)
    ((id, fence, _),) = granted(pool.send())
    decline(pool, HOST, id, fence, Returned.UNSERVED)
    assert granted(pool.say(HOST, Heartbeat(0, {"a": ["failed", "no module"]}))) == []
    assert [task[0] for task in granted(pool.say(HOST, Heartbeat(0, {"a": ["idle", ""]})))] == [id]


def test_what_stands_aside_is_bounded(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declines, "WAITING_MAX", 2)
    pool.host(slots=3)
    for id, fence, _ in granted(pool.send(count=3)):
        decline(pool, HOST, id, fence)
    assert len(pool.pool.queue.declines) == 2
    task = pool.store.show(3)
    assert (task["state"], round(task["due"] - pool.wall)) == ("scheduled", POSTPONED_SECONDS)


def test_a_lane_that_is_longer_than_memory_loses_nothing_of_what_stands_aside(pool_with: Any) -> None:
    pool = pool_with(rows_max=10)
    pool.host(slots=2)
    (id, fence, _), (other, second, _) = granted(pool.send(count=40))
    decline(pool, HOST, id, fence)
    pool.say(HOST, GiveBack([[other, second, Returned.DECLINED, 0.0, "", False]]), Claim({"": 40}))
    rounds = 0
    while leases := list(pool.pool.queue.leases.values()):
        rounds += 1
        pool.say(HOST, Results([completed(lease.row.id, lease.row.fence) for lease in leases]))
    assert rounds < 40
    assert pool.pool.queue.unfinished_count == 2
    tasks = granted(pool.host(OTHER, slots=2), OTHER)
    assert sorted(id for id, _, _ in tasks) == [1, 2]


def test_a_limit_holds_for_what_stands_aside(pool_with: Any) -> None:
    pool = pool_with({"a": {"max_concurrent": 1}})
    pool.host(slots=1)
    ((id, fence, _),) = granted(pool.send(count=2))
    ((second, other, _),) = granted(decline(pool, HOST, id, fence))
    assert granted(pool.host(OTHER, slots=2), OTHER) == []
    assert [task[0] for task in granted(pool.say(HOST, Results([completed(second, other)])), OTHER)] == [id]


def test_why_says_who_declined_it_and_what_it_waits_for(pool: Any) -> None:
    pool.host(slots=2)
    ((id, fence, _),) = granted(pool.send())
    decline(pool, HOST, id, fence)
    told = pool.pool.requests.why.explain(pool.pool.queue.rows[id], pool.now, pool.wall)
    (reason,) = told["reasons"]
    assert reason["code"] == "declined"
    assert reason["text"].startswith("declined once, the last time by h: not mine; it waits for another host")
    assert told["hosts"][0]["says"].startswith("is not asked again")


def test_it_is_not_passed_over_when_what_comes_before_it_has_no_room(pool_with: Any) -> None:
    pool = pool_with({"b": {"max_concurrent": 1}})
    pool.host(OTHER, "b", "c", "z", slots=2)
    ((first, fence, _),) = granted(pool.send("b", priority=9), OTHER)
    ((second, other, _),) = granted(pool.send("z"), OTHER)
    pool.host(HOST, "c", "w", slots=1)
    ((declined, third, _),) = granted(pool.send("c"), HOST)
    decline(pool, HOST, declined, third)
    assert len(granted(pool.send("w"), HOST)) == 1
    pool.send("c")
    pool.send("b", count=2, priority=9)
    said = pool.say(OTHER, Results([completed(first, fence), completed(second, other)]))
    assert [id for id, _, _ in granted(said, OTHER)] == [6, declined]


@pytest.mark.parametrize("code", [Returned.UNSTARTED, Returned.RELEASED])
def test_who_declined_it_is_not_asked_again_when_another_hands_it_back(pool: Any, code: int) -> None:
    pool.host(HOST, "a", slots=1)
    ((id, fence, _),) = granted(pool.send())
    decline(pool, HOST, id, fence)
    ((_, fence, _),) = granted(pool.host(OTHER, "a", slots=1), OTHER)
    said = decline(pool, OTHER, id, fence, code)
    assert (granted(said), [again for again, _, _ in granted(said, OTHER)]) == ([], [id])


def test_nor_when_the_other_is_lost(pool: Any) -> None:
    pool.host(HOST, "a", slots=1)
    ((id, fence, _),) = granted(pool.send())
    decline(pool, HOST, id, fence)
    pool.host(OTHER, "a", slots=1)
    pool.close(OTHER)
    assert granted(pool.wait(10)) == []
    assert pool.state(id) == "queued"
    assert [again for again, _, _ in granted(pool.host(b"third", "a"), b"third")] == [id]


@pytest.mark.parametrize(("change", "asked"), [({"priority": 9}, False), ({"type": "b"}, True)])
def test_another_priority_asks_nobody_again_and_another_type_does(
    pool: Any, change: dict[str, Any], asked: bool
) -> None:
    pool.host(HOST, "a", "b", slots=2)
    ((id, fence, _),) = granted(pool.send())
    decline(pool, HOST, id, fence)
    said = pool.say(CLIENT, Admin(1, "edit", {"ids": [id], **change}))
    assert said[CLIENT][0].ok
    assert [task for task, _, _ in granted(said)] == [id] * asked
    if not asked:
        assert [task for task, _, _ in granted(pool.host(OTHER, "a", "b", slots=1), OTHER)] == [id]
