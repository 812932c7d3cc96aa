"""What `bin/bench` says it measured is what it measured, and nothing is left of what it started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

sys.path.append(str(Path(__file__).parents[1] / "bench"))  # tests are no package
import ceiling as _ceiling
import features as _features

ceiling: Any = _ceiling
features: Any = _features  # found by their folder, which a type checker does not know


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
