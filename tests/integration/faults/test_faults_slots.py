"""Processes of slots that are killed, deaf, noisy, leave children behind, or do not keep the protocol."""

from __future__ import annotations

import os
import signal
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from fault_pool import FaultPool, clock, gone
from waiting import until

from workerhost import TaskCancelled, TaskFailed, TaskQuarantined
from workerhost.actors.slot_spawner import MARK
from workerhost.workers.processes import marks

pytestmark = pytest.mark.faults


def test_a_killed_slot_is_noticed_at_once_and_replaced_and_its_host_stays(pool: FaultPool) -> None:
    pool.start("one", slots=1)
    client = pool.client()
    handle = client.send("gated", {"gate": "go"})
    child = pool.await_trace()["pid"]
    pool.open("go")  # for the second attempt
    killed, killed_at = clock(), datetime.now().astimezone().timestamp()
    os.kill(child, signal.SIGKILL)

    assert handle.result(10)["attempt"] in (1, 2), "a kill may come after the end"
    (died,) = pool.host("one").await_event("slot_died")
    assert datetime.fromisoformat(died["timestamp"]).timestamp() - killed_at < 0.5
    client.send("quick").result(10)
    assert pool.traces()[-1]["at"] - killed < 1.0
    assert (died["signal"], died["cause"]) == (9, "crash")
    assert pool.supervisor.events("host_lost") == []
    assert len(pool.supervisor.events("host_joined")) == 1, "its session is the same"
    assert pool.audit([handle.id, handle.id + 1]) == {"completed": 2}


def test_a_task_that_kills_its_process_is_tried_three_times_then_quarantined_until_retried(pool: FaultPool) -> None:
    pool.start("one")
    client = pool.client()
    poison = client.send("poison")
    neighbours = [client.send("gated", {"gate": "go"}) for _ in range(4)]
    with pytest.raises(TaskQuarantined, match="killed its worker 3 times") as caught:
        poison.result(20)
    pool.open("go")

    assert all(neighbour.result(20) for neighbour in neighbours)
    assert len(pool.traces(id=poison.id)) == 3
    assert caught.value.attempts == 3
    shown = client.show(poison.id)
    assert (shown["state"], shown["crashes"], shown["failures"]) == ("quarantined", 3, 0)
    assert [item["attempt"] for item in shown["attempts"]] == [1, 2, 3]
    for item in shown["attempts"]:
        detail = item["detail"]
        assert (detail["cause"], detail["signal"]) == ("crash", signal.SIGSEGV)
        assert detail["memory"] > 1_000_000
        assert f"the last words of task {poison.id}" in detail["output"]
        assert "Segmentation fault" in detail["output"], "what the interpreter said when it died"

    pool.open("cure")
    assert client.retry(poison) == [poison.id]
    assert client.task(poison.id).result(20)["attempt"] == 4
    assert client.show(poison.id)["crashes"] == 0
    assert pool.audit([poison.id, *(n.id for n in neighbours)]) == {"completed": 5}


def test_every_way_to_die_is_told_apart(pool: FaultPool) -> None:
    pool.configure(defaults={"crash_limit": 1, "retry": {"max_attempts": 1}})
    pool.start("one", slots=2)
    client = pool.client()

    def detail(type: str, params: Any = None, **sending: Any) -> dict[str, Any]:
        handle = client.send(type, params, **sending)
        with pytest.raises(TaskFailed):
            handle.result(20)
        return client.show(handle.id)["attempts"][-1]["detail"]

    exits = detail("exits", {"code": 3})
    assert (exits["cause"], exits["exit_code"], exits.get("signal")) == ("crash", 3, None)
    assert exits["output"].endswith("before the exit")
    garbage = detail("vandal", {"bytes": "ffffffff" * 4, "ends": False})
    assert (garbage["cause"], "did not keep the protocol" in garbage["message"]) == ("protocol_error", True)
    half = detail("vandal", {"bytes": "0a00000001", "ends": True})
    assert half["cause"] == "protocol_error"
    raised = detail("boom", {"text": "so it goes"})
    assert (raised["cause"], raised["error_type"], raised["message"]) == ("exception", "ValueError", "so it goes")
    late = detail("patient", {"seconds": 30}, timeout=0.2)
    assert late["cause"] == "timeout"
    assert client.send("quick").result(10)["attempt"] == 1, "the host is well"
    assert pool.supervisor.events("host_lost") == []


def test_a_slot_that_is_deaf_within_c_is_killed_after_its_grace(pool: FaultPool) -> None:
    pool.configure(defaults={"retry": {"max_attempts": 1}})
    pool.start("one", slots=2)
    client = pool.client()
    late = client.send("deaf", timeout=0.3)
    unwanted = client.send("deaf")
    pool.await_trace(count=2)
    began = clock()
    assert unwanted.cancel()
    with pytest.raises(TaskFailed) as caught:
        late.result(15)

    until(lambda: all(gone(item["pid"]) for item in pool.traces()), "both are dead")
    assert clock() - began < 0.3 + 5.0 + 0.5 + 0.5, "timeout, grace, and as long again as a heartbeat's half for us"
    assert caught.value.cause == "timeout"
    detail = client.show(late.id)["attempts"][-1]["detail"]
    assert (detail["output"], detail["signal"]) == ("deaf from now on", 9)
    with pytest.raises(TaskCancelled):
        unwanted.result(5)
    assert client.send("quick").result(10)["attempt"] == 1
    assert pool.audit([late.id, unwanted.id, unwanted.id + 1]) == {"failed": 1, "cancelled": 1, "completed": 1}


def test_a_grandchild_that_left_its_session_ends_with_its_task(pool: FaultPool) -> None:
    pool.start("one", slots=1)
    daemon: int = pool.client().send("daemon").result(10)["daemon"]
    pool.closers.append(lambda: psutil.pid_exists(daemon) and os.kill(daemon, signal.SIGKILL))

    assert gone(daemon)


@pytest.mark.parametrize("megabytes", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_what_a_task_writes_is_bounded_and_costs_its_host_no_memory(pool: FaultPool, megabytes: int) -> None:
    pool.start("one", slots=1)
    client = pool.client()
    client.send("quick").result(10)
    host = psutil.Process(pool.host("one").pid)
    before = host.memory_info().rss
    began = clock()

    noisy = client.send("noisy", {"megabytes": megabytes})
    peak = [before]
    until(lambda: peak.append(host.memory_info().rss) or noisy.wait(0.05), "it is done", 30 + megabytes / 5)
    assert noisy.result(1)["attempt"] == 1
    assert max(peak) - before < 50 * 1024 * 1024
    assert pool.host("one").log.stat().st_size < 4 * 1024 * 1024
    assert client.send("quick").result(10)["attempt"] == 1
    silent = client.hosts()[0]["silent"]
    assert silent < clock() - began + 1.5, "it was heard all the time"
    assert pool.supervisor.events("host_lost") == []


@pytest.mark.slow
def test_500_kills_in_a_row_leave_no_process_no_descriptor_and_no_file(pool: FaultPool) -> None:
    pool.configure(defaults={"crash_limit": 1})
    pool.start("one", slots=2)
    client = pool.client()
    client.send("quick").result(10)
    host = psutil.Process(pool.host("one").pid)
    prefix = f"workerhost-{Path('/proc/self/ns/pid').stat().st_ino}-{host.pid}-"
    until(lambda: len(host.children()) == 2, "both slots are there")
    descriptors = host.num_fds()

    poison = client.send_many("messy", [{} for _ in range(500)])
    assert poison.wait(400)

    assert poison.counts == {"quarantined": 500}
    assert len(pool.traces("mess")) == 500
    client.send("quick").result(10)
    until(lambda: len(host.children()) == 2, "both slots are there again")
    until(
        lambda: sum(mark.startswith(prefix.encode()) for mark in marks(MARK)) == 2,
        "nothing is left that bears the mark of another slot",
    )
    until(lambda: not list(Path(tempfile.gettempdir()).glob(f"{prefix}*")), "no folder is left")
    until(lambda: host.num_fds() <= descriptors, f"there are {descriptors} descriptors again")


@pytest.mark.slow
def test_a_hosts_memory_is_flat_over_100_000_tasks(pool: FaultPool) -> None:
    pool.start("one", slots=2)
    client = pool.client()
    host = psutil.Process(pool.host("one").pid)
    sizes: list[int] = []
    for _ in range(5):
        assert client.send_many("nothing", [None] * 20_000).wait(120)
        sizes.append(host.memory_info().rss)

    assert sizes[-1] - sizes[0] < 4 * 1024 * 1024, sizes
    assert client.send("nothing").result(10) is None
