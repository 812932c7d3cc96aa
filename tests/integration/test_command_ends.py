"""How a command ends when whoever listens to it, or whom it asks, is gone, and what it shows to a poor terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
from up_pool import Up

WORKERHOST = [sys.executable, "-m", "workerhost"]
SECONDS = 30
TASKS = "from workerhost import worker\n\n\n@worker('echo')\ndef echo(x): return x\n"


def test_whoever_closes_the_pipe_is_no_failed_task(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    ended = subprocess.run(
        [*WORKERHOST, "config", "schema"],
        cwd=tmp_path, stdout=writes, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    os.close(writes)
    assert (ended.returncode, ended.stderr) == (74, "")


def test_a_terminal_that_lacks_a_character_shows_its_number(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    shown = subprocess.run(
        [*WORKERHOST, "try", "tasks.py:echo", "x=\u65e5"],
        cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert (shown.returncode, "\\u65e5" in shown.stdout) == (0, True), (shown.stdout, shown.stderr)


def test_a_wait_notices_that_the_pool_is_gone(tmp_path: Path) -> None:
    up = Up(tmp_path, "{}", "tasks.py", tasks=TASKS)
    try:
        id = up.answer("send", "nobody.home")["id"]
        family = [up.process, *psutil.Process(up.process.pid).children(recursive=True)]
        log = tmp_path / "wait.log"
        with log.open("wb") as stderr:
            waiting = subprocess.Popen(
                [*WORKERHOST, "wait", str(id), "--timeout", "6s"],
                cwd=tmp_path, env={**up.environ, "WORKERHOST_ADDRESS": up.address}, stderr=stderr,
            )  # fmt: skip
        up.until(lambda: "waiting: " in log.read_text(), "the command waits")
        for one in family:
            one.kill()

        up.until(lambda: "the pool is away; waiting for it" in log.read_text(), "the command notices")
        assert waiting.wait(SECONDS) == 69
        assert f"not heard of: {id}" in log.read_text()
    finally:
        up.discard()
