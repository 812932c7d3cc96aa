"""Hosts that are killed, fall silent, come back too late, or say what is not so."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from fault_pool import FaultPool, gone
from raw_peer import RawPeer
from waiting import until

from workerhost.transport.messages import Claim, GiveBack, Outcome, Recorded, Refused, Results, Tasks, Welcome
from workerhost.workers.values import pack

pytestmark = pytest.mark.faults


def test_tasks_of_a_killed_host_run_elsewhere_within_two_seconds_and_its_children_are_gone(pool: FaultPool) -> None:
    pool.start("one")
    client = pool.client()
    handles = [client.send("gated", {"gate": "go"}) for _ in range(2)]
    pool.await_trace(count=2)
    pool.start_host("two")
    children = pool.host("one").children()
    assert len(children) == 2

    killed = pool.host("one").kill()
    until(lambda: all(map(gone, children)), "the slots of a killed host are gone", 1.0)
    pool.await_trace(count=2, attempt=2, seconds=5)
    again = pool.traces(attempt=2)

    assert max(item["at"] for item in again) - killed < 2.0
    pool.open("go")
    assert {handle.result(10)["attempt"] for handle in handles} == {2}
    attempts = client.show(handles[0].id)["attempts"]
    assert [(item["outcome"], item["host"]) for item in attempts] == [("host lost", "one"), ("completed", "two")]
    assert pool.audit([handle.id for handle in handles]) == {"completed": 2}


def test_a_silent_host_is_lost_after_its_time_and_its_late_result_changes_nothing(pool: FaultPool) -> None:
    pool.start("silent", slots=1)
    client = pool.client()
    handle = client.send("gated", {"gate": "go"})
    first = pool.await_trace()
    pool.start_host("other", slots=1)  # before: how long a host takes to start is not what is asked here
    stopped = pool.host("silent").send(signal.SIGSTOP)

    second = pool.await_trace(attempt=2, seconds=10)
    assert 3.9 < second["at"] - stopped < 5 + 1 + 0.5, "lost_after, which began with the last word, and a heartbeat"
    assert second["host"] != first["host"]
    pool.open("go")
    assert handle.result(10)["attempt"] == 2
    pool.host("silent").send(signal.SIGCONT)
    (stale,) = pool.host("silent").await_event("results_stale")
    assert stale["tasks"] == [handle.id]
    until(lambda: pool.state(client, "silent") == "joined", "the silent host is back")

    assert client.send("quick").result(10)["attempt"] == 1
    assert pool.audit([handle.id, handle.id + 1]) == {"completed": 2}
    assert len(pool.host("silent").events("results_stale")) == 1


def test_a_host_that_is_silent_for_less_than_its_time_keeps_its_tasks(pool: FaultPool) -> None:
    pool.impatient()
    pool.start("one", "two", slots=1)
    client = pool.client()
    handle = client.send("gated", {"gate": "go"})
    first = pool.await_trace()
    name = next(name for name in ("one", "two") if pool.host(name).pid == first["host"])

    pool.host(name).send(signal.SIGSTOP)
    silent = lambda: next(host["silent"] for host in client.hosts() if host["name"] == name)  # noqa: E731
    until(lambda: silent() > 0.5, "half of lost_after has passed")
    pool.host(name).send(signal.SIGCONT)
    until(lambda: silent() < 0.3, "it is heard again")
    pool.open("go")

    assert handle.result(10)["attempt"] == 1
    assert pool.audit([handle.id], executions_max=1) == {"completed": 1}
    assert pool.supervisor.events("host_lost") == []


def test_of_two_hosts_of_one_name_the_second_waits_until_the_first_is_gone(pool: FaultPool) -> None:
    pool.start("same", slots=1)
    first = pool.host("same")
    second = pool.start_host("same", slots=1, wait=False)
    second.await_event("host_refused")
    client = pool.client()
    for _ in range(5):
        client.send("quick").result(10)
    assert {item["host"] for item in pool.traces()} == {first.pid}

    first.kill()
    second.await_event("host_joined", seconds=5)
    client.send("quick").result(10)
    assert pool.traces()[-1]["host"] == second.pid
    assert pool.audit(range(1, 7), executions_max=1) == {"completed": 6}


def test_a_claim_of_a_million_is_granted_within_bounds_and_nothing_is_lost(pool: FaultPool) -> None:
    pool.start()
    client = pool.client()
    batch = client.send_many("quick", [None] * 5000)
    greedy = RawPeer(pool)
    refused = greedy.hello("greedy", slots={"": 1_000_000}, types=["quick"])
    assert isinstance(refused, Refused)
    assert refused.code == "forbidden"
    assert isinstance(greedy.hello("greedy", slots={"": 10_000}, types=["quick"]), Welcome)
    greedy.say(Claim({"": 1_000_000}))
    granted = greedy.receive(Tasks)
    count = sum(len(tasks) for _, tasks in granted.groups)
    assert 0 < count <= 10_000
    while (running := client.status()["tasks"]["running"]) > count:
        more = greedy.receive(Tasks)
        count += sum(len(tasks) for _, tasks in more.groups)
    assert running == count, "what was granted has arrived"
    greedy.close()

    pool.start_host("modest")
    assert len(batch.results(timeout=60)) == 5000
    assert pool.audit(range(1, 5001)) == {"completed": 5000}


def test_made_up_fences_and_foreign_tasks_are_stale_and_change_nothing(pool: FaultPool) -> None:
    pool.start("honest", slots=1)
    client = pool.client()
    held = client.send("gated", {"gate": "go"})
    start = pool.await_trace()
    waits = client.send("gated", {"gate": "go"})
    liar = RawPeer(pool)
    liar.hello("liar", slots={"": 1}, types=["nothing.of.it"])

    def result(id: int, fence: int) -> list[Any]:
        return [id, fence, int(Outcome.COMPLETED), pack("a lie"), 0.1, 1, None]

    fence: int = start["fence"]
    lies = [(held.id, fence + 1), (held.id, 0), (held.id, fence), (waits.id, 0), (waits.id, fence + 1), (10**9, 1)]
    number = liar.say(Results([result(*lie) for lie in lies]))
    recorded = liar.receive(Recorded)

    assert recorded.number == number
    stale: list[list[int]] = recorded.stale
    assert sorted((id, told) for id, told in stale) == sorted(lies)
    liar.say(GiveBack([[held.id, fence, 3, 0.0, "a lie", True]]))
    assert (client.show(held.id)["state"], client.show(waits.id)["state"]) == ("running", "queued")
    pool.open("go")
    assert held.result(10)["fence"] == fence
    assert waits.result(10)["attempt"] == 1
    assert pool.audit([held.id, waits.id], executions_max=1) == {"completed": 2}


def test_a_raw_peer_that_breaks_off_within_its_session_leaves_nothing_behind(pool: FaultPool) -> None:
    pool.start()
    client = pool.client()
    handle = client.send("quick")
    raw = RawPeer(pool)
    assert isinstance(raw.hello("raw", slots={"": 1}, types=["quick"]), Welcome)
    raw.say(Claim({"": 1}))
    raw.receive(Tasks)
    raw.close()

    pool.start_host("one", slots=1)
    assert handle.result(5)["attempt"] == 2
    assert pool.audit([handle.id]) == {"completed": 1}
