"""What `bin/bench` says it measured is what it measured, and nothing is left of what it started."""

from __future__ import annotations

import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest

from workerhost import Client, Fail, PoolUnreachable, WorkerHost, worker

sys.path.append(str(Path(__file__).parents[1] / "bench"))  # tests are no package
ceiling: Any = import_module("ceiling")
features: Any = import_module("features")
figures: Any = import_module("figures")
floods: Any = import_module("floods")
limits: Any = import_module("limits")
measures: Any = import_module("measures")


def test_a_ceiling_that_does_not_come_up_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen
    started: list[subprocess.Popen[str]] = []

    def one_only(*arguments: Any, **options: Any) -> subprocess.Popen[str]:
        if started:
            raise OSError("no process any more")
        started.append(start(*arguments, **options))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", one_only)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(OSError, match="no process any more"), ceiling.Ceiling():
        pass
    assert not psutil.pid_exists(started[0].pid)
    assert list(tmp_path.iterdir()) == []


def test_the_peak_of_a_program_is_its_own_and_not_that_of_who_starts_it(tmp_path: Path) -> None:
    weight = b"x" * 200 * features.MEBIBYTE
    command = [sys.executable, "-c", "import time; time.sleep(0.2)"]  # sleeps: it does nothing, and is weighed
    peak, seconds = features.peak_and_seconds(command, tmp_path)
    assert 1 < peak < 100 < len(weight) / features.MEBIBYTE
    assert 0.2 < seconds < 20


def test_a_flow_that_has_ended_otherwise_than_completed_has_no_time() -> None:
    @worker("bench.fails")
    def fails() -> None:
        raise Fail("it does")

    with WorkerHost(workers=[fails]) as pool:
        with pool.client.flow("chain") as flow:
            first = flow.send("bench.fails")
            flow.send("bench.fails", after=[first])
        with pytest.raises(RuntimeError, match=r"a flow of 2 tasks has ended as .*failed"):
            features.ended(flow, 0.0)


def test_a_pool_that_was_not_kept_busy_is_not_taken_for_a_busy_one() -> None:
    unreachable = Client("tcp://127.0.0.1:1", timeout=0.2)
    with unreachable as client, pytest.raises(PoolUnreachable), measures.kept_busy(client):
        pass


def test_a_claim_that_is_not_granted_has_no_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SLOTS", 1)  # taken by the one that blocks the others
    with pytest.raises(AssertionError, match="the task was not granted"):
        limits.claim_latency(limits.BATCH)


def test_a_comparison_says_what_was_otherwise_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    figures.keep(figures.run_of([figures.rate("tasks", [100.0])], {"tasks": 200, "rounds": 1}))
    now = [figures.rate("tasks", [150.0])]
    told: list[str] = []
    for tasks, rounds in ((20_000, 5), (200, 1)):
        figures.show(now, figures.kept_before({"tasks"}, {"tasks": tasks, "rounds": rounds}))
        told.append(capsys.readouterr().out)
    assert "+50% (then tasks 200, rounds 1)" in told[0]
    assert "+50%" in told[1]
    assert "then" not in told[1]


def test_a_crowd_tells_what_it_did() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as door:
        with floods.crowd("churn", f"tcp://127.0.0.1:{door.getsockname()[1]}") as did:
            for _ in range(3):
                door.accept()[0].close()
        assert did["connections/s"] > 2


@pytest.mark.parametrize(("rate", "met"), [(950.0, True), (300.0, False)])
def test_of_a_crowd_that_did_too_little_nothing_is_reached(rate: float, met: bool) -> None:
    trips = {"acknowledged": [0.001], "ended": [0.002]}
    told = floods.figures_of("churn", {"connections/s": rate}, trips, trips)
    verdicts = [figure.met for figure in told if figure.goal is not None]
    assert verdicts == ([True, True, True] if met else [False])
