"""The monitor of a real pool: what it shows is what happens, over restarts of either."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import pytest
from waiting import until

from workerhost import WorkerHost, worker
from workerhost.actors.monitor import Monitor, MonitorSettings
from workerhost.transport import clock
from workerhost.transport.client import Client

GATE = Event()


@worker("text.length")
def length(text: str) -> int:
    """A task that ends at once."""
    return len(text)


@worker("text.hold")
def hold() -> None:
    """A task that runs until the test lets it go."""
    GATE.wait(30)


@pytest.fixture
def pool() -> Any:
    """A pool in this process."""
    GATE.clear()
    with WorkerHost(workers=[length, hold], slots=2) as pool:
        yield pool
        GATE.set()


def answer_of_another_version(_: Client) -> dict[str, float]:
    return {"epoch": 1, "at": 0.0, "wall": 0.0}


def start(pool: WorkerHost, home: Path) -> Monitor:
    return Monitor.start(MonitorSettings(pool.address, home))


def test_it_shows_what_happens_within_two_looks(pool: WorkerHost, tmp_path: Path) -> None:
    monitor = start(pool, tmp_path)
    until(lambda: monitor.health()["ok"], "it is well")
    assert pool.client.send_many("text.length", ({"text": "abc"} for _ in range(50))).wait(20)
    pool.client.send("text.hold")
    began = clock.now()
    until(lambda: monitor.view()["snapshot"]["nodes"].get("text.hold", {}).get("running"), "the task is seen")
    assert clock.now() - began < 5.0  # a look a second; the rest is for the crowd
    view = monitor.view()
    assert view["problem"] == ""
    assert view["windows"]["1m"]["nodes"]["text"]["completed"] == 50
    [host] = view["windows"]["1m"]["hosts"].values()
    assert (host["completed"], host["errors"]) == (0, 0) or host["attempts"] == 50
    assert b'workerhost_tasks_ended_total{type="text.length",state="completed"} 50' in monitor.metrics()
    assert monitor.ready()["ok"]
    assert (monitor.worker_health("text") or {})["ok"]
    assert monitor.worker_health("nobody.serves") is None
    monitor.stop()


def test_windows_go_on_where_an_earlier_monitor_stopped(pool: WorkerHost, tmp_path: Path) -> None:
    monitor = start(pool, tmp_path)
    until(lambda: monitor.health()["ok"], "it is well")
    assert pool.client.send_many("text.length", ({"text": "abc"} for _ in range(20))).wait(20)
    until(lambda: monitor.view()["windows"]["1h"]["pool"]["completed"] == 20, "all are seen")
    monitor.stop()
    assert pool.client.send_many("text.length", ({"text": "abc"} for _ in range(5))).wait(20)
    monitor = start(pool, tmp_path)
    until(lambda: monitor.health()["ok"], "it is well")
    assert monitor.view()["windows"]["1h"]["pool"]["completed"] == 25
    monitor.stop()


def test_a_broken_file_is_begun_anew(pool: WorkerHost, tmp_path: Path) -> None:
    monitor = start(pool, tmp_path)
    monitor.stop()
    [file] = (tmp_path / "monitor").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    file.write_bytes(b"\x81\xa4form\x01 and no more")
    monitor = start(pool, tmp_path)
    until(lambda: monitor.health()["ok"], "it is well")
    monitor.stop()


def test_a_pool_that_is_away_makes_it_unwell_and_it_keeps_what_it_knows(tmp_path: Path) -> None:
    with WorkerHost(workers=[length]) as pool:
        monitor = start(pool, tmp_path)
        until(lambda: monitor.health()["ok"], "it is well")
    until(lambda: monitor.view()["problem"], "it notices that the pool is away")
    assert monitor.view()["snapshot"]["nodes"]
    until(lambda: not monitor.health()["ok"], "it is unwell")
    assert "has not answered for" in monitor.health()["reason"]
    assert not monitor.ready()["ok"]
    assert b"workerhost_up 0.0" in monitor.metrics()
    monitor.stop()


def test_a_snapshot_that_cannot_be_read_is_told_and_does_not_end_it(
    pool: WorkerHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as other_version:
        other_version.setattr(Client, "snapshot", answer_of_another_version)
        monitor = start(pool, tmp_path)
        until(lambda: "cannot be read (KeyError" in monitor.view()["problem"], "the problem is told")
        assert not monitor.health()["ok"]
    until(lambda: monitor.health()["ok"], "it is well")
    assert monitor.view()["problem"] == ""
    monitor.stop()
