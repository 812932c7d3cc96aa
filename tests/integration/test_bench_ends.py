"""Whatever ends `bin/bench`, nothing goes on of what it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

BENCH = Path(__file__).parents[1] / "bench" / "bench.py"
SECONDS = 40.0
"""For the start of two pools, and for their ends."""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_bench_started_ends_with_it(end: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH), "threads", "--tasks", "10000000"]
    bench = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE, text=True)
    started: list[psutil.Process] = []
    try:
        deadline = time.monotonic() + SECONDS
        while len(started) < 5:  # the ceiling's supervisor and host, the pool's, and a slot
            assert time.monotonic() < deadline, started
            assert bench.poll() is None
            time.sleep(0.02)  # sleeps: between two looks
            started = psutil.Process(bench.pid).children(recursive=True)
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
