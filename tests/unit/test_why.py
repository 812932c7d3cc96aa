"""Why a task does not run: every queued task has a reason, and what the reasons say is what the next claim does."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from unit.conftest import PoolAtHand  # pyright: ignore[reportMissingImports]
from unit.pool_words import CLIENT, HOST, completed, failed, granted  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.effects import Answer
from workerhost.actors.core.host.verdicts import within
from workerhost.actors.core.rows import QUEUED
from workerhost.actors.core.settings import PoolSettings
from workerhost.actors.core.step import Step
from workerhost.actors.core.telling.story import story
from workerhost.actors.turn import perform
from workerhost.config.limits import Quota
from workerhost.config.policy import PolicyTree
from workerhost.transport.messages import Admin, Claim, Query, Reply, Results


def why(pool: Any, id: int) -> dict[str, Any]:
    """What the pool says of a task."""
    (columns,) = [task for task in [pool.store.show(id)] if task is not None]
    row = pool.pool.queue.rows.get(id) or (pool.pool.queue.leases[id].row if id in pool.pool.queue.leases else None)
    assert row is not None, columns["state"]
    return pool.pool.requests.why.explain(row, pool.now, pool.wall)


def codes(explanation: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in explanation["reasons"]]


def test_without_a_host_it_says_so_and_how_to_start_one(pool: Any) -> None:
    pool.send("a")
    said = why(pool, 1)
    assert said == {
        "reasons": [
            {
                "code": "no_host",
                "text": "no host has joined; start one: workerhost host --join ADDRESS CODE",
                "until": None,
            }
        ],
        "hosts": [],
        "ahead": 0,
    }


def test_hosts_that_do_not_serve_it_are_asked_one_by_one(pool: Any) -> None:
    pool.host(b"h", "b")
    pool.host(b"i", "a", **{"not": ["a"]})
    pool.host(b"j", "b", failed={"a": "tasks.py:3: SyntaxError: no"})
    pool.send("a")
    said = why(pool, 1)
    assert codes(said) == ["not_served"]
    assert said["hosts"] == [
        {"name": "h", "says": "has no worker for it"},
        {"name": "i", "says": "does not serve it (its `serve` and `not`)"},
        {"name": "j", "says": "could not load its worker: tasks.py:3: SyntaxError: no"},
    ]


def test_full_hosts_and_the_order_of_those_that_wait(pool: Any) -> None:
    pool.host(slots=1)
    pool.send(count=3)
    pool.send(priority=9)
    assert codes(why(pool, 1)) == ["running"]
    for id, ahead in ((4, 0), (2, 1), (3, 2)):
        said = why(pool, id)
        assert (codes(said), said["ahead"]) == (["hosts_busy"], ahead), id
        assert said["hosts"] == [{"name": "h", "says": "is full: 1 of 1 slots are taken"}]


def test_a_draining_host_and_a_paused_node(pool: Any) -> None:
    pool.host(slots=2)
    pool.say(CLIENT, Admin(1, "pause", {"type": "a"}))
    pool.send()
    assert codes(why(pool, 1)) == ["paused"]
    pool.say(CLIENT, Admin(2, "drain", {"host": "h"}))
    said = why(pool, 1)
    assert codes(said) == ["paused", "hosts_busy"]
    assert said["hosts"] == [{"name": "h", "says": "drains: it takes nothing new"}]


NO_LIBRARY = "its process ended with exit code 1, and said: OSError: libcuda.so.1 is missing"


def test_slots_that_cannot_be_started_are_the_reason_and_what_they_said_with_it(pool: Any) -> None:
    pool.host(HOST, "a", slots=2)
    pool.say(HOST, Claim({"": 0}, start_failed={"": NO_LIBRARY}))
    pool.send("a")

    mend = "mend that there: the host tries again by itself"
    assert why(pool, 1) == {
        "reasons": [
            {
                "code": "start_failed",
                "text": f"no slot of the hosts that serve a can be started; h: {NO_LIBRARY}; {mend}",
                "until": None,
            }
        ],
        "hosts": [{"name": "h", "says": f"cannot start its slots: {NO_LIBRARY}"}],
        "ahead": 0,
    }
    (host,) = pool.pool.report.hosts(Step(pool.now, pool.wall), told=True)["hosts"]
    assert host["start_failed"] == {"": NO_LIBRARY}

    assert granted(pool.say(HOST, Claim({"": 1}, start_failed={"": NO_LIBRARY}))), "one of them can"
    pool.send("a")
    assert codes(why(pool, 2)) == ["hosts_busy"], "it waits for the one that can"


def test_a_host_that_never_could_start_a_slot_is_the_reason_if_it_might_serve_the_type(pool: Any) -> None:
    pool.host(HOST, "", types=[], serve=["a"])
    pool.say(HOST, Claim({"": 0}, start_failed={"": NO_LIBRARY}))
    pool.send("a")
    pool.send("b")

    said = why(pool, 1)
    assert codes(said) == ["start_failed"]
    assert said["hosts"] == [{"name": "h", "says": f"cannot start its slots: {NO_LIBRARY}"}]
    assert codes(why(pool, 2)) == ["not_served"], "it would not take this one anyway"

    pool.host(b"i", "a")
    assert codes(why(pool, 1)) == ["running"], "another host has it"


def test_what_slots_cannot_be_started_for_is_held_short_and_to_slot_pools_that_there_are(pool: Any) -> None:
    pool.host(HOST, "a")
    pool.say(HOST, Claim({"": 0}, start_failed={"": "x" * 100_000, "elsewhere": "y"}))
    (host,) = pool.pool.hosts.by_owner.values()
    assert host.start_failed == {"": "x" * 1024}

    pool.say(HOST, Claim({"": 0}, start_failed={"": 5}))  # pyright: ignore[reportArgumentType]
    assert host.peer is None, "and it must be a text"


def test_a_limit_by_host_is_what_that_host_says(pool_with: Any) -> None:
    pool = pool_with({"v": {"per_host": 1}})
    pool.host(HOST, "v.a", slots=2)
    pool.send("v.a", count=2)
    says = "v runs 1 tasks on this host, 1 at a time are allowed"
    assert why(pool, 2) == {
        "reasons": [{"code": "per_host", "text": f"no host may take it now; h: {says}", "until": None}],
        "hosts": [{"name": "h", "says": says}],
        "ahead": 0,
    }
    pool.say(HOST, Claim({"": 1}))
    said = why(pool, 2)
    assert codes(said) == ["per_host"]
    assert said["hosts"] == [{"name": "h", "says": f"is full: 1 of 1 slots are taken; {says}"}]


def test_a_quota_counts_what_the_task_costs_on_each_host(pool_with: Any) -> None:
    pool = pool_with({"v": {"quota": Quota(3)}})
    pool.host(HOST, "v.a", slots=3, costs={"v.a": 2})
    pool.send("v.a", count=2)
    says = "v has used 2 of 3 units, its quota per day"
    said = why(pool, 2)
    (reason,) = said["reasons"]
    midnight = (pool.wall // 86400 + 1) * 86400
    assert (reason["code"], reason["text"]) == ("quota", f"no host may take it now; h: {says}; a task costs 2")
    assert abs(reason["until"] - midnight) < 1
    assert said["hosts"] == [{"name": "h", "says": f"{says}; a task costs 2"}]


def test_a_task_that_failed_waits_for_its_time(pool: Any) -> None:
    pool.host(slots=1)
    [(id, fence, _)] = granted(pool.send())
    pool.say(HOST, Results([failed(id, fence)]))
    [reason] = why(pool, id)["reasons"]
    assert reason["code"] == "scheduled"
    assert reason["until"] > pool.wall


def test_the_question_is_answered_with_what_the_store_knows(pool: Any) -> None:
    pool.send("a")
    effects = pool.pool.handle([(CLIENT, pool.numbers[CLIENT] + 1, Query(7, "why", {"id": 1}))], pool.now, pool.wall)
    pool.numbers[CLIENT] += 1
    [answer] = [e for e in perform(pool.pool, pool.store, effects, pool.now, pool.wall) if isinstance(e, Answer)]
    assert (answer.request, answer.what, answer.arguments) == (7, "why", {"id": 1})
    assert [reason["code"] for reason in answer.live[1]["reasons"]] == ["no_host"]
    said = pool.say(CLIENT, Query(8, "why", {"id": 99}))
    assert said == {CLIENT: [Reply(8, False, {"code": "unknown", "reason": "the pool has no such task"})]}


NODES = {
    "a": {"max_concurrent": 2},
    "b.x": {"max_concurrent": 1},
    "c": {"per_host": 1},
    "d": {"quota": Quota(6)},
}
TYPES = ("a.one", "a.two", "b.x", "c", "d")
MOVES = st.one_of(
    st.tuples(st.just("send"), st.sampled_from(TYPES), st.integers(1, 3)),
    st.tuples(st.just("end"), st.integers(0, 5), st.none()),
    st.tuples(st.just("slots"), st.sampled_from([b"h", b"i"]), st.integers(0, 3)),
    st.tuples(st.sampled_from(["pause", "resume"]), st.sampled_from(["a", "a.one", "c"]), st.none()),
)


def prediction(pool: Any, lease: Any, reasons: dict[int, dict[str, Any]]) -> int | None:
    """What `why` says that a host takes when this lease of its ends: the first of those that wait for a slot alone."""
    host = lease.pool.host.name
    waiting = [
        (-row.priority, row.place, id)
        for id, row in pool.pool.queue.rows.items()
        if row.state == QUEUED
        and all(_ends_with(reason, lease) for reason in reasons[id]["reasons"])
        and any(said["name"] == host and _frees(said["says"], lease) for said in reasons[id]["hosts"])
    ]
    return min(waiting)[2] if waiting else None


def _frees(says: str, lease: Any) -> bool:
    """Whether the end of a lease of this host leaves nothing of what it says."""
    return all(
        part == "could take it"
        or part.startswith("is full")
        or (" on this host, " in part and within(lease.lane.type, part.split()[0]))
        for part in says.split("; ")
    )


def _ends_with(reason: dict[str, Any], lease: Any) -> bool:
    """Whether the end of a lease removes this reason."""
    if reason["code"] == "max_concurrent":
        return within(lease.lane.type, reason["text"].split()[0])
    return reason["code"] in ("hosts_busy", "order", "per_host")


@given(moves=st.lists(MOVES, max_size=25))
@example(moves=[*[("send", f"a.{type}", 1) for type in ("one", "two", "one")], ("send", "a.two", 2), ("end", 0, None)])
@settings(max_examples=150, deadline=None)
def test_what_waits_has_a_reason_and_the_reasons_say_what_is_taken_next(moves: list[Any]) -> None:
    pool: Any = PoolAtHand(PoolSettings(policies=PolicyTree(NODES)))
    pool.client()
    pool.host(b"h", *TYPES, slots=2, costs={"d": 4})
    pool.host(b"i", "a.one", "c", "d", slots=2)
    for request, (move, what, number) in enumerate(moves, 1):
        if move == "send":
            pool.send(what, priority=number)
        elif move == "end" and pool.pool.queue.leases:
            leases: list[Any] = list(pool.pool.queue.leases.values())
            lease = leases[what % len(leases)]
            before = {id: why(pool, id) for id, row in pool.pool.queue.rows.items() if row.state == QUEUED}
            frees = lease.pool.held <= lease.pool.capacity
            expected = prediction(pool, lease, before)
            # As long as a minute: no margin is granted, so that one end is one free slot.
            done = completed(lease.row.id, lease.row.fence, duration=60.0)
            said = pool.say(lease.pool.host.peer.address, Results([done]))
            if frees:
                # The other host may take one too, where the end made room under a limit, or the only one.
                taken = {peer: [id for id, _, _ in granted(said, peer)] for peer in (b"h", b"i")}
                own = taken[lease.pool.host.peer.address]
                both = taken[b"h"] + taken[b"i"]
                if expected is None:
                    assert own == [], (moves[:request], before)
                else:
                    # Or the other host was asked first, and what it took has filled the limit again.
                    filled = bool(both) and not own and "max_concurrent" in codes(why(pool, expected))
                    assert expected in both or filled, (moves[:request], before)
        elif move == "slots":
            pool.say(what, Claim({"": number}))
        elif move in ("pause", "resume"):
            pool.say(CLIENT, Admin(request, move, {"type": what}))
        for id, row in pool.pool.queue.rows.items():
            assert row.state != QUEUED or codes(why(pool, id)), f"task {id} waits for no reason after {moves[:request]}"


def test_the_story_tells_every_attempt_and_why_it_ended() -> None:
    task = {
        "sent_at": 100.0, "ended_at": 130.0, "state": "completed", "detail": None,
        "attempts": [
            {"attempt": 1, "host": "gpu-1", "started_at": 105.0, "ended_at": 110.0, "outcome": "crash",
             "detail": {"message": "its process was killed by signal 9 (SIGKILL)", "signal": 9}},
            {"attempt": 2, "host": "gpu-2", "started_at": 112.0, "ended_at": 130.0, "outcome": "completed",
             "detail": None},
        ],
    }  # fmt: skip
    assert story(task) == [
        {"at": 100.0, "text": "sent, then waited 5.0 s for its first start"},
        {"at": 105.0, "text": "attempt 1 began on gpu-1"},
        {
            "at": 110.0,
            "text": "its process died after 5.0 s: its process was killed by signal 9 (SIGKILL);"
            " tried again 2.0 s later",
        },
        {"at": 112.0, "text": "attempt 2 began on gpu-2"},
        {"at": 130.0, "text": "completed after 18.0 s"},
    ]


def test_the_story_counts_the_attempts_that_are_left_out() -> None:
    attempts = [
        {"attempt": n, "host": "", "started_at": n, "ended_at": n + 0.5, "outcome": "exception", "detail": None}
        for n in (1, 2, 9)
    ]
    task = {"sent_at": 1.0, "ended_at": None, "state": "queued", "detail": None, "attempts": attempts}
    left_out = story({**task, "attempts_left_out": 6})
    assert [event["text"] for event in left_out[2:6]] == [
        "it raised after 0.5 s; tried again 0.5 s later",
        "attempt 2 began",
        "it raised after 0.5 s",
        "6 attempts left out",
    ]
    assert left_out[5]["at"] == 2.5
