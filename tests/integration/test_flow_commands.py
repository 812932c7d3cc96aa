"""The commands about flows, on a pool in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from workerhost import Fail, WorkerHost, worker
from workerhost.bin.main import run

BROKEN = threading.Event()


@worker("made.part")
def part(n: int) -> int:
    if BROKEN.is_set() and n == 1:
        raise Fail("no such part")
    return n


@pytest.fixture
def pool() -> Iterator[WorkerHost]:
    BROKEN.clear()
    with WorkerHost(workers=[part]) as pool:
        yield pool


@pytest.fixture
def command(pool: WorkerHost, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a command; its exit code and what it printed."""

    def execute(*arguments: str) -> tuple[int, str]:
        code = run(["--address", pool.address, *arguments])
        return code, capsys.readouterr().out

    return execute


def test_a_flow_is_listed_shown_and_retried_from_where_it_failed(pool: WorkerHost, command: Any) -> None:
    BROKEN.set()
    with pool.client.flow("parts") as flow:
        nodes = [flow.send("made.part", {"n": n}) for n in range(3)]
        flow.send("made.part", {"n": 7}, after=nodes)
    assert flow.wait(20)
    code, out = command("flows")
    assert code == 0
    assert out.splitlines()[1].split()[:3] == [str(flow.id), "parts", "failed"]
    assert "4 of 4, 2 badly" in out
    shown = json.loads(command("flow", "show", str(flow.id), "--json")[1])
    assert shown["counts"] == {"completed": 2, "failed": 1, "cancelled": 1}
    assert "ids    1 to 4" in command("flow", "show", str(flow.id))[1]
    single = pool.client.send("made.part", {"n": 9})
    assert single.wait(20)
    listed = json.loads(command("ls", "--flow", str(flow.id), "--json")[1])["tasks"]
    assert [task["id"] for task in listed] == [4, 3, 2, 1]
    assert [task["id"] for task in pool.client.tasks(flow=flow.id, state="failed")] == [2]
    BROKEN.clear()
    assert command("flow", "retry", str(flow.id), "--json") == (0, json.dumps({"flow": flow.id, "retried": 2}) + "\n")
    assert flow.wait(20)
    assert command("flow", "cancel", str(flow.id))[0] == 1
    assert "completed" in command("flows")[1]


def test_a_task_is_sent_to_run_after_another_and_let_go(pool: WorkerHost, command: Any) -> None:
    pool.client.pause("made")
    first = command("send", "made.part", "n:=5")[1].strip()
    second = command("send", "made.part", "n:=6", "--after", first, "--on-failure", "wait")[1].strip()
    assert f"waits for {first} (queued)" in command("why", second)[1]
    edge = {"id": int(first), "state": "queued", "on_failure": "wait", "met": False}
    assert json.loads(command("show", second, "--json")[1])["after"] == [edge]
    assert f"after     {first} (queued; if it does not complete: wait)" in command("show", second)[1]
    assert "after" not in pool.client.show(int(first))
    assert command("unblock", second, first) == (1, f"{second}\n")
    assert pool.client.show(int(second))["state"] == "queued"
    pool.client.resume("made")


def test_a_flow_that_is_not_there_is_said_so(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = command("flow", "show", "4711")
    assert code == 1
