"""`--profile FILE`: where the time of a supervisor and of a host goes, for pstats."""

from __future__ import annotations

import pstats
import signal
import subprocess
import sys
from pathlib import Path

import pytest

WORKERHOST = [sys.executable, "-m", "workerhost"]
CODE = (
    "from workerhost import worker\n\n\n@worker('text.length')\ndef length(text: str) -> int:\n    return len(text)\n"
)


def _functions(path: Path) -> set[str]:
    return set(pstats.Stats(str(path)).get_stats_profile().func_profiles)


def test_supervisor_and_host_write_their_profiles_when_they_end(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(CODE)
    address = f"ipc://{tmp_path}/pool"
    arguments = [
        ["supervisor", "--bind", address, "--database", "queue.db", "--profile", "supervisor.prof"],
        ["host", "--join", address, "--slots", "1", "--profile", "host.prof", "tasks.py"],
    ]
    processes = [subprocess.Popen([*WORKERHOST, *each], cwd=tmp_path) for each in arguments]
    try:
        send = [*WORKERHOST, "--address", address, "send", "text.length", "text=four", "--wait"]
        answers = (subprocess.run(send, capture_output=True, text=True, timeout=30, check=False) for _ in range(10))
        # One that finds no supervisor yet waits two seconds for it and ends with 69.
        sent = next(answer for answer in answers if answer.returncode != 69)
        assert sent.stdout == "4\n", sent.stderr
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()

    assert {"perform", "commit", "dispatch"} <= _functions(tmp_path / "supervisor.prof")
    assert {"on_slot", "place"} <= _functions(tmp_path / "host.prof")


@pytest.mark.parametrize("command", ["supervisor", "host"])
def test_a_profile_that_cannot_be_written_is_told_before_anything_starts(tmp_path: Path, command: str) -> None:
    run = subprocess.run(
        [*WORKERHOST, command, "--profile", "missing/profile"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 2
    assert "missing/profile cannot be written (No such file or directory)" in " ".join(run.stderr.split())
