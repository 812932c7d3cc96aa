"""What is read of a system's figures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workerhost.actors import slot_figures
from workerhost.actors.slot_figures import measure, oom_kills


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
