"""QUERY `snapshot`: counters that only grow, summed up the tree, and what stands where now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unit.conftest import WALL, PoolAtHand  # pyright: ignore[reportMissingImports]
from unit.pool_words import (  # pyright: ignore[reportMissingImports]
    CLIENT,
    HOST,
    completed,
    crashed,
    failed,
    granted,
)

from workerhost.actors.core.statistics import BOUNDS, Figures
from workerhost.actors.core.telling import snapshot as module
from workerhost.transport import codec
from workerhost.transport.messages import Admin, Bye, Claim, GiveBack, Query, Reply, Results, Returned


def ask(pool: PoolAtHand) -> dict[str, Any]:
    """The snapshot, through the bytes of the wire."""
    [reply] = [m for m in pool.say(CLIENT, Query(1, "snapshot"))[CLIENT] if isinstance(m, Reply)]
    assert reply.ok
    decoded = codec.decode(codec.encode(reply, 1))[1]
    assert isinstance(decoded, Reply)
    return decoded.value


def run(pool: PoolAtHand, said: dict[bytes, Any], **how: Any) -> dict[bytes, Any]:
    """The host completes what it was given."""
    items = [completed(id, fence, **how) for id, fence, _ in granted(said)]
    return pool.say(HOST, Results(items))


def test_an_empty_pool_has_zeros(pool: PoolAtHand) -> None:
    shot = ask(pool)
    assert shot["nodes"] == {}
    assert shot["hosts"] == []
    assert shot["pool"].items() >= Figures().shown().items()
    assert (shot["at"], shot["wall"], shot["epoch"], shot["uptime"]) == (100.0, WALL + 100.0, 1, 0.0)


def test_what_happened_is_counted_at_every_node_above(pool: PoolAtHand) -> None:
    pool.host(HOST, "video.clip", "video.thumb", slots=10)
    pool.now += 2.0
    run(pool, pool.send("video.clip", 3), duration=0.2)
    run(pool, pool.send("video.thumb", 1), duration=40.0)
    shot = ask(pool)
    found = {name: (n["sent"], n["completed"], n["attempts"]) for name, n in shot["nodes"].items()}
    assert found == {"video": (4, 4, 4), "video.clip": (3, 3, 3), "video.thumb": (1, 1, 1)}
    assert shot["nodes"]["video"]["seconds"] == shot["pool"]["seconds"] == 40.6
    assert "durations" not in shot["nodes"]["video.clip"]
    buckets = {bound: n for bound, n in zip(BOUNDS, shot["nodes"]["video"]["durations"], strict=False) if n}
    assert buckets == {0.25: 3, 60.0: 1}
    assert [(h["completed"], h["attempts"], h["seconds"], h["running"]) for h in shot["hosts"]] == [(4, 4, 40.6, 0)]


def test_how_long_tasks_waited_is_known_when_they_are_granted(pool: PoolAtHand) -> None:
    pool.send("a", 2)
    pool.send("a", 1, delay=6.0)
    pool.wait(10.0)
    assert ask(pool)["nodes"]["a"]["oldest"] == WALL + 100.0
    pool.host(HOST, "a", slots=10)
    node = ask(pool)["nodes"]["a"]
    assert (node["grants"], node["waited"], node["oldest"], node["running"]) == (3, 24.0, None, 3)
    assert {b: n for b, n in zip(BOUNDS, node["waits"], strict=False) if n} == {5.0: 1, 10.0: 2}


def test_a_task_of_low_priority_that_waits_behind_others_is_the_oldest(pool: PoolAtHand) -> None:
    pool.send("a", 1, priority=1)
    pool.wait(5.0)
    pool.send("a", 1, priority=9)
    assert ask(pool)["nodes"]["a"]["oldest"] == WALL + 100.0


def test_a_task_that_runs_once_more_waits_since_it_was_queued_again(pool: PoolAtHand) -> None:
    pool.send("a")
    pool.say(CLIENT, Admin(1, "cancel", {"ids": [1]}))
    pool.wait(100.0)
    pool.say(CLIENT, Admin(2, "retry", {"ids": [1]}))
    assert ask(pool)["nodes"]["a"]["oldest"] == pool.wall
    pool.wait(3.0)
    pool.host(HOST, "a")
    assert ask(pool)["nodes"]["a"]["waited"] == 3.0


def test_a_task_that_its_host_gave_back_waits_since_then_and_who_stands_behind_it_for_longer(pool: PoolAtHand) -> None:
    [(id, fence, _)] = granted({**pool.host(HOST, "a"), **pool.send("a")})
    pool.wait(10.0)
    back = pool.wall
    pool.say(HOST, GiveBack([[id, fence, int(Returned.DRAIN), 0.0, "", True]]), Bye("drained"))
    pool.wait(10.0)
    assert ask(pool)["nodes"]["a"]["oldest"] == back
    pool.send("a")
    sent = pool.wall
    pool.wait(10.0)
    pool.say(CLIENT, Admin(1, "cancel", {"ids": [1]}))
    pool.say(CLIENT, Admin(2, "retry", {"ids": [1]}))
    assert ask(pool)["nodes"]["a"]["oldest"] == sent


def test_a_task_that_comes_after_another_waits_for_a_host_only_since_that_has_ended(pool: PoolAtHand) -> None:
    [(id, fence, _)] = granted({**pool.host(HOST, "a"), **pool.send("a")})
    pool.send("b", after=[id])
    pool.wait(20.0)
    pool.say(HOST, Results([completed(id, fence)]))
    assert ask(pool)["nodes"]["b"]["oldest"] == pool.wall
    pool.wait(2.0)
    pool.host(b"i", "b")
    assert ask(pool)["nodes"]["b"]["waited"] == 2.0


def test_a_clock_that_is_set_back_makes_no_counter_fall(pool: PoolAtHand) -> None:
    pool.send("a")
    pool.jump -= 3600.0
    pool.host(HOST, "a")
    node = ask(pool)["nodes"]["a"]
    assert (node["grants"], node["waited"], node["waits"][0]) == (1, 0.0, 1)


def test_failures_are_counted_by_cause_and_retries_apart(pool: PoolAtHand) -> None:
    pool.host(HOST, "a", slots=2)
    said = pool.send("a", 2)
    (one, fence, _), (two, other, _) = granted(said)
    said = pool.say(HOST, Results([failed(one, fence), crashed(two, other)]))
    [(id, fence, _)] = granted(said)
    assert id == two
    pool.say(HOST, Results([failed(id, fence, retry=False, cause="oom")]))
    node = ask(pool)["nodes"]["a"]
    assert node["causes"] == {"exception": 1, "crash": 1, "oom": 1}
    assert (node["failed"], node["retried"], node["attempts"], node["grants"]) == (1, 2, 3, 2)


def test_a_host_that_invents_causes_fills_no_memory(pool: PoolAtHand) -> None:
    pool.host(HOST, "a", slots=100)
    items = [failed(id, f, retry=False, cause=f"c{id}") for id, f, _ in granted(pool.send("a", 100))]
    pool.say(HOST, Results(items))
    causes = ask(pool)["nodes"]["a"]["causes"]
    assert len(causes) == 17
    assert causes["other"] == 84


def test_what_a_lost_host_held_is_rescued_and_what_is_handed_back_is_released(pool: PoolAtHand) -> None:
    pool.host(HOST, "a", slots=2)
    said = pool.send("a", 2)
    (one, fence, _), _ = granted(said)
    pool.say(HOST, Claim({"": 0}), GiveBack([[one, fence, int(Returned.RELEASED), 0.0, "later", True]]))
    pool.silent.add(HOST)
    pool.wait(10.0)
    shot = ask(pool)
    assert (shot["pool"]["released"], shot["pool"]["rescued"]) == (1, 1)
    [host] = shot["hosts"]
    assert (host["state"], host["released"], host["rescued"]) == ("lost", 1, 1)


def test_cancelled_and_expired_tasks_count_as_ended(pool: PoolAtHand) -> None:
    pool.send("a", 1, expires=WALL + 105.0)
    pool.wait(10.0)
    assert ask(pool)["nodes"]["a"]["failed"] == 1


def test_a_node_tells_its_hosts_limits_and_what_blocks_it(pool_with: Callable[..., PoolAtHand]) -> None:
    pool = pool_with({"video": {"max_concurrent": 1}, "audio": {}})
    pool.host(HOST, "video.clip", slots=4)
    pool.host(b"i", "video.clip", "text", slots=4)
    pool.send("video.clip", 2)
    nodes = ask(pool)["nodes"]
    assert {name: node["hosts"] for name, node in nodes.items()} == {
        "audio": 0, "text": 1, "video": 2, "video.clip": 2
    }  # fmt: skip
    assert nodes["video"]["limits"]["max_concurrent"] == nodes["video"]["limits"]["held"] == 1
    assert [block["code"] for block in nodes["video"]["blocks"]] == ["max_concurrent"]
    pool.say(b"i", Bye())
    pool.wait(1.0)
    assert ask(pool)["nodes"]["video.clip"]["hosts"] == 1


def test_what_runs_is_listed_by_host(pool: PoolAtHand) -> None:
    pool.host(HOST, "a", slots=100)
    pool.send("a", 100)
    [host] = ask(pool)["hosts"]
    assert len(host["tasks"]) == 64
    assert host["tasks"][0].items() >= {"id": 1, "type": "a", "attempt": 1, "stopping": False}.items()
    assert host["pools"] == {"": [100, 100]}


def test_of_too_many_nodes_the_busiest_are_listed(pool: PoolAtHand, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "NODES_MAX", 2)
    for name, count in (("a", 1), ("b", 3), ("c", 2)):
        pool.send(name, count)
    shot = ask(pool)
    assert (list(shot["nodes"]), shot["nodes_left_out"]) == (["b", "c"], 1)


def test_counters_begin_anew_with_the_epoch(pool: PoolAtHand) -> None:
    pool.host(HOST, "a", slots=2)
    run(pool, pool.send("a", 2))
    pool.start()
    pool.client()
    shot = ask(pool)
    assert (shot["epoch"], shot["pool"]["completed"], shot["tasks"]["completed"]) == (2, 0, 2)
