"""Whatever ends `bin/bench`, nothing goes on of what it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from waiting import until

BENCH = Path(__file__).parents[1] / "bench" / "bench.py"
SECONDS = 40.0
"""For the start of two pools, and for their ends."""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_bench_started_ends_with_it(end: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH), "threads", "--tasks", "10000000"]
    bench = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE, text=True)
    started: list[psutil.Process] = []

    def all_started() -> bool:
        assert bench.poll() is None
        started[:] = psutil.Process(bench.pid).children(recursive=True)
        return len(started) >= 5

    try:
        until(
            all_started,
            "the ceiling's supervisor and host are there, the pool's, and a slot",
            SECONDS,
            show=lambda: started,
        )
        bench.send_signal(end)
        _, said = bench.communicate(timeout=SECONDS)
        assert psutil.wait_procs(started, timeout=SECONDS)[1] == []
        if end == signal.SIGTERM:
            assert bench.returncode == 130
            assert "Traceback" not in said
            assert list(tmp_path.iterdir()) == []
    finally:
        bench.kill()
        bench.wait()
        for process in started:
            if process.is_running():
                process.kill()
