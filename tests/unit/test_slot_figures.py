"""What is read of a system's figures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from workerhost.actors import slot_figures
from workerhost.actors.slot_figures import Gauge, measure, oom_kills
from workerhost.actors.slot_spawner import spawner
from workerhost.workers import processes

SECONDS = 10.0


def test_the_kernels_kills_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counters = tmp_path / "vmstat"
    monkeypatch.setattr(slot_figures, "COUNTERS", str(counters))
    assert oom_kills() == 0, "no such file"
    counters.write_text("pgfault 17\noom_kill 4\noom_kill_disable 9\n")
    assert oom_kills() == 4
    counters.write_text("pgfault 17\n")
    assert oom_kills() == 0


def test_figures_of_a_process_and_of_one_that_is_not_there() -> None:
    figures = measure(os.getpid(), float("inf"))
    assert figures is not None
    assert figures["memory"] > 10 * 1024 * 1024
    assert figures["cpu"] > 0
    assert measure(2**22 + 1, 0.0) is None


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """A process and its only child."""
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        yield parent.pid, child
        os.kill(child, 9)


def test_a_walk_through_memory_keeps_nobody_waiting_and_is_followed_by_a_rest(
    family: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid in family:
        (tmp_path / str(pid)).mkdir()
        os.mkfifo(tmp_path / str(pid) / "smaps_rollup")
    monkeypatch.setattr(processes, "_PROC", str(tmp_path))
    monkeypatch.setattr(slot_figures, "_RESTS", 10**9)
    told: list[dict[str, int]] = []
    gauge = Gauge()
    gauge.look(family[0], 0.0, told.append)  # it comes back, while nothing can be read
    gauge.look(family[0], 0.0, told.append)
    for _ in range(2):
        for pid in family:
            (tmp_path / str(pid) / "smaps_rollup").write_text("Pss: 7 kB\n")
    settle()
    assert [figures["memory"] for figures in told] == [2 * 7 * 1024]
    gauge.look(family[0], 0.0, told.append)
    settle()
    assert len(told) == 1, "too early: it rests"
    Gauge().look(family[0], float("inf"), told.append)
    settle()
    assert [figures["processes"] for figures in told] == [1, 1], "another slot is looked at"


PROGRAM = """
from workerhost.workers.program import Program
with Program(["sh", "-c", "echo up >&2; read line"], None, limit=1, guarded=True,
    on_error=lambda data: print(data.decode(), flush=True)) as program:
    program.wait()
"""


def test_of_a_program_the_shell_that_guards_it_is_not_counted() -> None:
    slot = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(slot, stdout=subprocess.PIPE, start_new_session=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        try:
            figures = measure(child.pid, float("inf"))
            assert figures is not None
            assert figures["processes"] == 1
        finally:
            os.killpg(child.pid, signal.SIGKILL)


def settle() -> None:
    done = threading.Event()
    spawner().look(done.set)
    assert done.wait(SECONDS)
