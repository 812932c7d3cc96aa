"""The trouble of one caller is nobody else's: what cannot be said, what ends often, what fails half-way."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from workerhost import AsyncClient, Client, InvalidTask, TaskCancelled, WorkerHost, worker
from workerhost.bin.main import run
from workerhost.transport.commands import Request
from workerhost.transport.messages import Query
from workerhost.transport.outcome import raise_refusal
from workerhost.transport.parcel import Parcel
from workerhost.transport.terms import Terms

SECONDS = 20.0
"""Longer than anything here takes; a wait of that length has failed."""

let_go = threading.Event()


@worker("echo")
def echo(value: Any) -> Any:
    return value


@worker("hold")
def hold(value: Any = None) -> Any:
    let_go.wait(SECONDS)
    return value


@worker("slow")
def slow(value: Any) -> Any:
    time.sleep(0.05)  # sleeps: the task is a slow one
    return value


@pytest.fixture
def pool() -> Iterator[WorkerHost]:
    let_go.clear()
    with WorkerHost(workers=[echo, hold, slow], slots=2) as pool:
        yield pool
        let_go.set()


@pytest.fixture
def client(pool: WorkerHost) -> Iterator[Client]:
    """A client beside the pool's own."""
    with Client(pool.address, timeout=SECONDS) as client:
        yield client


def test_tasks_that_stand_for_own_ones_are_told_beyond_the_first_credit(client: Client) -> None:
    client.pause("echo")
    client.send_many("echo", range(12_000), key=str)
    second = client.send_many("echo", range(12_000), key=str)
    assert second[0].id == 1
    client.resume("echo")
    assert second.results(60) == list(range(12_000))


def test_what_fits_into_no_frame_is_refused_and_the_client_lives(client: Client) -> None:
    handle = client.send("hold", 7)
    connection = client._connections.current()  # pyright: ignore[reportPrivateUsage]  # nothing public lets it through
    bad = Parcel(Terms("echo", options={"after": [2**64]}), [b"\xc0"], 1)
    connection.put(bad)
    connection.submitted([bad.block], patient=False, refusals=0)
    with pytest.raises(InvalidTask, match="cannot be said"):
        raise_refusal(bad.block)
    let_go.set()
    assert handle.result(SECONDS) == 7


def test_values_that_cannot_be_said_are_their_callers_mistake_alone(client: Client) -> None:
    handle = client.send("hold", 7)
    half = "\udcff"
    calls: list[Callable[[], Any]] = [
        lambda: client.send("echo", 1, after=[2**64]),
        lambda: client.send("echo", 1, key=half),
        lambda: client.send_many("echo", [1], key=lambda _: half),
        lambda: client.flow(half),
        lambda: client.tasks(error=half),
        lambda: client.cancel(key=half),
        lambda: client.schedule(half, "echo", every=60),
        lambda: client.backup(half),
        lambda: client.drain(half),
        lambda: client.task(True),
        lambda: client.flow(1 << 70).show(),
    ]
    for call in calls:
        with pytest.raises(InvalidTask):
            call()
    let_go.set()
    assert handle.result(SECONDS) == 7


def test_a_filter_that_cannot_be_said_is_a_mistake_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ls", "--tag", "\udcff", "--address", "tcp://127.0.0.1:1"]) == 2
    assert capsys.readouterr().err.startswith("workerhost: tag='\\udcff': it cannot be said")


def test_a_map_goes_on_though_nobody_else_holds_its_client(pool: WorkerHost) -> None:
    assert list(Client(pool.address).map("slow", range(6), buffersize=2)) == list(range(6))

    async def main() -> list[Any]:
        return [value async for value in AsyncClient(pool.address).map("slow", range(6), buffersize=2)]

    assert asyncio.run(main()) == list(range(6))


FORKING = """
import asyncio, os, sys
from workerhost import AsyncClient
client = AsyncClient(sys.argv[1], timeout=10)
async def parent():
    done, held = await client.send_many("echo", range(3)), await client.send_many("hold", range(2))
    assert await done.results(10) == [0, 1, 2]
    return done, held
async def child():
    assert await done.results(10) == [0, 1, 2]
    assert not await held.wait(0.1)
    assert await held.cancel() == 2
    assert await held.wait(10)
    await client.close()
done, held = asyncio.run(parent())
pid = os.fork()
if pid == 0:
    asyncio.run(child())
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
assert asyncio.run(held.wait(10))
asyncio.run(client.close())
print(held[0].state)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_batch_of_coroutines_is_looked_up_anew_in_a_forked_child(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/pool"
    command = [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", FORKING, address]
    let_go.clear()
    with WorkerHost({"pool": {"bind": address}}, workers=[echo, hold], slots=2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * SECONDS, check=False)
        let_go.set()
    assert (done.returncode, done.stdout, done.stderr) == (0, "cancelled\n", "")


def test_a_map_whose_params_fail_at_its_beginning_leaves_nothing_that_runs(client: Client) -> None:
    with pytest.raises(InvalidTask):
        client.map("hold", [*range(250), object()], buffersize=400)
    let_go.set()
    until(lambda: not any(map(client.status()["tasks"].get, ("queued", "running"))), "all have ended")
    counts = client.status()["tasks"]
    assert (counts.get("completed", 0), counts["cancelled"] >= 200) == (0, True)


def test_what_others_ask_does_not_keep_a_block_from_being_left(client: Client) -> None:
    client.status()
    connection = client._connections.current()  # pyright: ignore[reportPrivateUsage]
    taken = connection.taken

    def asked_again() -> list[Any]:
        commands = taken()
        if not connection.over:
            connection.put(Request(Query(0, "status", {})))  # there always is one that was not taken yet
        return commands

    connection.taken = asked_again
    began = time.monotonic()
    client.settle()
    connection.taken = taken
    assert time.monotonic() - began < SECONDS / 2


def test_a_map_that_is_collected_in_its_clients_own_thread_is_cancelled_without_waiting(client: Client) -> None:
    def leave_one() -> None:
        values: Any = client.map("nobody", range(5), buffersize=10, return_exceptions=True)
        client.cancel(min(task["id"] for task in client.tasks()))
        assert isinstance(next(values), TaskCancelled)
        ring = [values]
        ring.append(ring)  # only a collection finds it

    connection = client._connections.current()  # pyright: ignore[reportPrivateUsage]
    taken = connection.taken

    def collecting() -> list[Any]:
        connection.taken = taken
        gc.collect()
        return taken()

    gc.disable()
    try:
        leave_one()
        connection.taken = collecting
        began = time.monotonic()
        client.status()
    finally:
        gc.enable()
    took, left = time.monotonic() - began, [task["id"] for task in client.tasks(state="queued")]
    client.cancel(left or [1])  # nobody serves them: the pool could not be left
    assert (took < SECONDS / 2, left) == (True, [])
