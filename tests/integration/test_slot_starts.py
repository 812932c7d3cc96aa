"""Slots whose process is long in coming: nobody waits for it, and what is not wanted any more ends as it comes."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slot_host import SECONDS, Host, task

from workerhost import WorkerHost
from workerhost.actors import slot_start
from workerhost.actors.slot_spawner import spawner
from workerhost.workers import values
from workerhost.workers.processes import Family

TASKS = """
from workerhost import worker

print("loaded")

@worker("echo")
def echo(value=None): return value
"""


class Gate:
    """Before the start of a process, like an interpreter on a file system that does not answer."""

    def __init__(self) -> None:
        self.reached, self._open = threading.Event(), threading.Event()
        self.free = 0

    def open(self) -> None:
        self._open.set()

    def popen(self, *args: Any, **kwargs: Any) -> Any:
        """Start one, those that are free at once."""
        self.free -= 1
        if self.free < 0:
            self.reached.set()
            assert self._open.wait(3 * SECONDS)
        return Popen(*args, **kwargs)


Popen = subprocess.Popen


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    one = Gate()
    monkeypatch.setattr(slot_start.subprocess, "Popen", one.popen)
    yield one
    one.open()
    spawner().settle(SECONDS)


@pytest.fixture
def host(tmp_path: Path, gate: Gate) -> Iterator[Host]:
    one = Host(tmp_path, TASKS)
    yield one
    gate.open()
    one.close()


def children() -> set[int]:
    return set(Family().children(os.getpid()))


def test_what_is_fed_to_a_slot_that_is_being_started_is_run_when_it_is_there(host: Host, gate: Gate) -> None:
    slot = host.start()
    assert gate.reached.wait(SECONDS)
    slot.feed([task("echo", {"value": 1})])
    slot.feed([task("echo", {"value": 2}, id=2)])
    assert slot.pid == 0
    gate.open()
    assert [values.unpack(result[3]) for result in host.results(2)] == [1, 2]
    assert slot.pid in children()


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_a_slot_that_is_ended_while_it_is_being_started_is_gone_and_so_is_its_process(
    host: Host, gate: Gate, end: str
) -> None:
    before = children()
    slot = host.start()
    assert gate.reached.wait(SECONDS)
    slot.feed([task("echo")])
    getattr(slot, end)()
    exited = host.exited()
    assert (exited["cause"], exited["started"], exited["message"]) == (
        "stopped", [], "its process was stopped before it was started",
    )  # fmt: skip
    gate.open()
    spawner().settle(SECONDS)
    assert (slot.pid, children()) == (0, before)


@pytest.mark.parametrize(("end", "number"), [("kill", signal.SIGKILL), ("terminate", signal.SIGTERM)])
def test_a_slot_that_is_ended_before_it_is_known_to_be_there_is_ended_like_any_other(
    host: Host, gate: Gate, end: str, number: int
) -> None:
    before = children()
    gate.open()
    slot = host.start()
    spawner().settle(SECONDS)
    assert slot.pid == 0, "the news of it are not read yet"
    getattr(slot, end)()
    assert slot.pid in children()
    exited = host.exited()
    assert (exited["cause"], exited["signal"]) == ("stopped", number)
    assert children() == before


@pytest.mark.parametrize("mebibytes", [0, 3])
def test_a_slot_that_is_closed_while_it_is_being_started_still_says_what_it_can_run(
    host: Host, gate: Gate, mebibytes: int
) -> None:
    """However much more than fits into its socket it is told."""
    source = b"#" * mebibytes * 2**20
    slot = host.start(spec=replace(host.spec, kept={"large": ["/nowhere/large.py", 1, len(source), source]}))
    assert gate.reached.wait(SECONDS)
    slot.feed([task("echo")])
    slot.close()
    gate.open()
    assert host.exited()["cause"] == "stopped"
    assert host.news.ready is not None
    assert host.news.ready["types"] == ["echo"]
    assert host.news.results == []


def test_a_start_that_hangs_silences_no_host_and_keeps_none_from_leaving(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks.py").write_text(TASKS)
    gate.free = 1
    before = children()
    workers, host = {"echo": {"class": "tasks:echo"}}, {"isolation": "process", "slots": 2}
    with WorkerHost({"workers": workers, "host": host}) as pool:
        assert gate.reached.wait(SECONDS)
        assert pool.client.send("echo", {"value": 1}).result(SECONDS) == 1
    gate.open()
    spawner().settle(SECONDS)
    assert children() == before
