"""Leaving well, and tasks that are cancelled at the worst moment."""

from __future__ import annotations

import os
import pty
import random
import select
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from fault_pool import TASKS, FaultPool, broken_at, clock, free_address, gone
from raw_peer import RawPeer
from waiting import until

from workerhost import Client, PoolUnreachable, TaskCancelled
from workerhost.transport.messages import Claim, Outcome, Recorded, Results, Tasks
from workerhost.workers.values import pack

pytestmark = pytest.mark.faults


def test_a_host_that_is_told_to_go_finishes_what_runs_and_hands_back_the_rest(pool: FaultPool) -> None:
    pool.start("one", slots=1)
    client = pool.client()
    runs, waits = (client.send("gated", {"gate": "go"}) for _ in range(2))
    pool.await_trace()
    pool.host("one").send(signal.SIGTERM)
    pool.host("one").await_event("host_drains")
    assert client.show(waits.id)["state"] == "queued"
    pool.open("go")

    assert pool.host("one").ended() == 0
    assert runs.result(10)["attempt"] == 1
    assert pool.state(client, "one") == "left"
    pool.start_host("two", slots=1)
    assert waits.result(10)["attempt"] == 1
    assert pool.audit([runs.id, waits.id], executions_max=1) == {"completed": 2}


def test_what_is_not_done_by_the_deadline_is_handed_back_and_nobody_is_blamed(pool: FaultPool) -> None:
    pool.configure(host={"drain_timeout": 0.3})
    pool.start("one", slots=1)
    client = pool.client()
    handle = client.send("gated", {"gate": "go"})
    start = pool.await_trace()
    told = pool.host("one").send(signal.SIGTERM)
    assert pool.host("one").ended() == 0
    assert clock() - told < 0.3 + 1.0 + 2.0, "deadline, the kill, and two seconds for a busy machine"
    assert gone(start["pid"])

    pool.start_host("two", slots=1)
    pool.await_trace(attempt=2)
    pool.open("go")
    assert handle.result(10)["attempt"] == 2
    shown = client.show(handle.id)
    assert (shown["failures"], shown["crashes"], shown["losses"]) == (0, 0, 0)
    assert [item["outcome"] for item in shown["attempts"]] == ["released", "completed"]
    assert pool.audit([handle.id]) == {"completed": 1}


def test_a_second_signal_forces_a_host_to_go(pool: FaultPool) -> None:
    pool.start("one", slots=1)
    client = pool.client()
    handle = client.send("gated", {"gate": "go"})
    start = pool.await_trace()
    pool.host("one").send(signal.SIGTERM)
    pool.host("one").await_event("host_drains")
    forced = pool.host("one").send(signal.SIGTERM)
    assert pool.host("one").ended() == 0
    assert clock() - forced < 2.0
    assert gone(start["pid"])

    pool.start_host("two", slots=1)
    pool.await_trace(attempt=2)
    pool.open("go")
    assert handle.result(10)["attempt"] == 2
    assert pool.audit([handle.id]) == {"completed": 1}


def test_a_supervisor_that_is_told_to_go_leaves_at_once_and_its_hosts_work_on(pool: FaultPool) -> None:
    pool.start("one", slots=1)
    client = pool.client()
    handle = client.send("gated", {"gate": "go"})
    pool.await_trace()
    told = pool.supervisor.send(signal.SIGTERM)
    assert pool.supervisor.ended() == 0
    assert clock() - told < 1.0
    ticks = len(pool.traces("tick"))
    pool.await_trace("tick", count=ticks + 2)
    pool.open("go")
    pool.start_supervisor()
    assert handle.result(20)["attempt"] == 1
    assert pool.audit([handle.id], executions_max=1) == {"completed": 1}


def test_a_second_signal_ends_a_supervisor_that_does_not_come_to_its_end(pool: FaultPool) -> None:
    broken = pool.folder / "broken"
    pool.start_supervisor(**broken_at("hangs_in_turn", broken))
    client = pool.client()
    kept = client.send("quick")
    broken.touch()
    lost = client.send_soon("quick")
    until(broken.with_suffix(".reached").exists, "a turn hangs")
    told = pool.supervisor.send(signal.SIGTERM)

    def told_again_and_ended() -> bool:  # two signals at once are one
        with suppress(ProcessLookupError):
            pool.supervisor.send(signal.SIGTERM)
        return pool.supervisor.process.poll() is not None

    until(told_again_and_ended, "it ends")
    assert pool.supervisor.ended() == 0
    assert clock() - told < 5.0, "it would wait for twice as long by itself"
    broken.unlink()
    pool.start_supervisor()
    pool.start_host("one")
    assert [handle.result(20)["attempt"] for handle in (kept, lost)] == [1, 1]
    assert pool.audit([kept.id, lost.id], executions_max=1) == {"completed": 2}


def test_a_rolling_restart_of_every_host_under_load_loses_and_doubles_nothing(pool: FaultPool) -> None:
    names = ("one", "two", "three")
    pool.start(*names)
    client = pool.client()
    ids: list[int] = []

    def load() -> None:
        for type, params in (("quick", [None] * 50), ("patient", [{"seconds": 0.02}] * 20)):
            ids.extend(id for part in client.send_many(type, params).ids() for id in part)

    for name in names:
        load()
        pool.await_trace(count=len(pool.traces()) + 1)
        old = pool.host(name)
        old.send(signal.SIGTERM)
        new = pool.start_host(name, wait=False)
        load()
        assert old.ended() == 0
        new.await_event("host_joined")
    load()
    for id in ids:
        client.task(id).result(30)
    assert pool.audit(ids, executions_max=1) == {"completed": len(ids)}


def test_drain_takes_no_new_tasks_and_undo_takes_them_again(pool: FaultPool) -> None:
    pool.start("one", "two", slots=1)
    client = pool.client()
    held = client.send("gated", {"gate": "go"})
    busy = next(name for name in ("one", "two") if pool.host(name).pid == pool.await_trace()["host"])
    idle = "two" if busy == "one" else "one"

    client.drain(busy)
    assert pool.state(client, busy) == "draining"
    for _ in range(6):
        client.send("quick").result(10)
    assert {item["host"] for item in pool.traces()[1:]} == {pool.host(idle).pid}
    client.drain(busy, undo=True)
    assert pool.state(client, busy) == "joined"
    pool.host(busy).await_event("drain_undone")
    pool.open("go")
    assert held.result(10)["attempt"] == 1
    client.drain(idle)
    assert pool.host(idle).ended() == 0, "nothing is left to do there"
    assert client.send("quick").result(10)
    assert pool.traces()[-1]["host"] == pool.host(busy).pid
    assert {item["name"]: item["state"] for item in client.hosts()} == {busy: "joined", idle: "left"}
    assert pool.audit(range(1, 9), executions_max=1) == {"completed": 8}


def test_a_cancel_at_any_moment_leaves_exactly_one_end(pool: FaultPool) -> None:
    pool.start("one")
    client, other = pool.client(), pool.client()
    chance = random.Random(40)
    cancelled: set[int] = set()
    handles = [client.send("patient", {"seconds": chance.choice([0, 0.005, 0.01])}) for _ in range(3)]
    for _ in range(60):
        handles += [client.send("patient", {"seconds": chance.choice([0, 0.005, 0.01])}) for _ in range(3)]
        chosen = chance.sample(handles[-9:], 3)
        cancelled |= set(other.cancel([handle.id for handle in chosen]))

    for handle in handles:
        assert handle.wait(30)
    for handle in handles:
        assert (str(handle.state) == "cancelled") == (handle.id in cancelled), "an acknowledged cancel never completes"
    assert cancelled
    counts = pool.audit([handle.id for handle in handles])
    assert counts == {"cancelled": len(cancelled), "completed": len(handles) - len(cancelled)}


@pytest.mark.parametrize("moment", ["before a claim", "while it runs", "its host is dead", "it has ended"])
def test_a_cancel_is_final_and_its_process_ends(pool: FaultPool, moment: str) -> None:
    pool.start_supervisor()
    client = pool.client()
    gate: dict[str, Any] = {"gate": "go"}
    handle = client.send("quick" if moment == "it has ended" else "gated", gate)
    child = 0
    if moment != "before a claim":
        pool.start_host("one", slots=1)
        child = pool.await_trace()["pid"]
    if moment == "its host is dead":
        pool.host("one").kill()
    if moment == "it has ended":
        handle.result(10)
    assert client.cancel(handle) == ([] if moment == "it has ended" else [handle.id])
    if moment == "it has ended":
        assert client.show(handle.id)["state"] == "completed"
        return

    with pytest.raises(TaskCancelled):
        handle.result(10)
    if moment == "while it runs":
        until(lambda: gone(child), "its process is gone", 5.5)
    pool.open("go")
    pool.start_host("two", slots=1)
    assert client.send("quick").result(10)["attempt"] == 1
    assert pool.traces(id=handle.id) == [] if moment == "before a claim" else len(pool.traces(id=handle.id)) == 1
    assert pool.audit([handle.id, handle.id + 1]) == {"cancelled": 1, "completed": 1}


def test_a_cancel_between_a_grant_and_its_start_is_final(pool: FaultPool) -> None:
    """The host has the task and has said nothing of it; what it reports later changes nothing."""
    pool.start()
    client = pool.client()
    handle = client.send("quick")
    raw = RawPeer(pool)
    raw.hello("raw", slots={"": 1}, types=["quick"])
    raw.say(Claim({"": 1}))
    ((_, ((id, fence, *_),)),) = raw.receive(Tasks).groups
    assert client.cancel(handle) == [id]
    with pytest.raises(TaskCancelled):
        handle.result(10)
    number = raw.say(Results([[id, fence, int(Outcome.COMPLETED), pack("too late"), 0.1, 1, None]]))
    assert raw.receive(Recorded).number == number
    assert client.show(id)["state"] == "cancelled"
    raw.close()
    assert pool.audit([id]) == {"cancelled": 1}


@pytest.fixture
def deaf_address() -> Iterator[str]:
    """Somebody who takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("peer", ["deaf", "absent"])
def test_nobody_waits_for_ever_for_a_peer_that_does_not_answer(pool: FaultPool, deaf_address: str, peer: str) -> None:
    address = deaf_address if peer == "deaf" else free_address()
    host = pool.start_host("lonely", slots=1, join=address, wait=False)
    until(host.children, "its slots start")
    told = host.send(signal.SIGTERM)
    assert host.ended(10) == 0
    assert clock() - told < 10

    began = clock()
    with pytest.raises(PoolUnreachable), Client(address, timeout=0.5) as client:
        client.send("quick")
    assert clock() - began < 10
    command = pool.program("send", "quick", "--address", address)
    assert command.ended(10) == 69


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "ksh"])
def test_ctrl_c_at_a_shell_ends_the_pool_in_order(pool: FaultPool, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    pid, terminal = pty.fork()
    if pid == 0:  # the terminal's foreground process: the shell, and the pool as its child
        os.chdir(pool.folder)
        words = [sys.executable, "-m", "workerhost", "up", str(TASKS), "--slots", "1", "--address", pool.address]
        command = f"{shlex.join(words)}; echo ended with $?"
        os.execvp(shell, [shell, "-c", f"trap : INT; {command}"])  # as at a prompt, the shell itself stays
    seen = bytearray()

    def said(text: bytes) -> bool:
        if select.select([terminal], [], [], 0)[0]:
            with suppress(OSError):  # the other end is closed
                seen.extend(os.read(terminal, 65536))
        return text in seen

    pool.closers.append(lambda: (os.close(terminal), os.waitpid(pid, 0)))
    until(lambda: said(b"the pool is up"), "the pool is up")
    held = pool.client().send("gated", {"gate": "go"})
    pool.await_trace()
    os.write(terminal, b"\x03")
    until(lambda: said(b"the hosts finish what they run"), "it has heard")
    pool.open("go")
    until(lambda: said(b"ended with 0"), "it has ended")
    assert held.id == 1
    pool.start_supervisor()
    assert pool.audit([1], executions_max=1) == {"completed": 1}
