"""A client and a host that know nothing but docs/protocol.md work with the real supervisor and a real host."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import IO

import pytest

PEERS = Path(__file__).with_name("raw_peers.py")
SECONDS = 20
TASKS = """\
from workerhost import worker

@worker("text.length")
def length(text):
    return len(text)

@worker("text.boom")
def boom():
    raise ValueError("no")
"""


class Programs:
    """Processes that all end with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *command: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKERHOST")}
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.running.append(process)
        return process

    def end(self) -> None:
        for process in reversed(self.running):
            process.terminate()
        for process in self.running:
            try:
                process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


@pytest.fixture
def programs(tmp_path: Path) -> Generator[Programs]:
    started = Programs(tmp_path)
    yield started
    started.end()


def until(stream: IO[str] | None, pattern: str) -> re.Match[str]:
    """The first line that matches; the end of the stream is a failure."""
    assert stream is not None
    lines: list[str] = []
    for line in stream:
        if (found := re.search(pattern, line)) is not None:
            return found
        lines.append(line)
    pytest.fail(f"no line {pattern!r} in\n{''.join(lines)}")


def test_peers_written_from_the_document_work_with_the_pool(programs: Programs) -> None:
    (programs.folder / "tasks.py").write_text(TASKS)
    supervisor = programs.start(
        "-m", "workerhost", "supervisor", "--bind", "tcp://127.0.0.1:0", "--database", "tasks.db"
    )
    address = until(supervisor.stderr, r"listens at (tcp://\S+);")[1]
    real = programs.start("-m", "workerhost", "host", "--join", address, "tasks.py", "--slots", "2")
    until(real.stderr, "host_joined")
    raw = programs.start("-I", str(PEERS), "host", address)
    assert raw.stdout is not None
    assert raw.stdout.readline() == "joined\n", raw.communicate()

    client = programs.start("-I", str(PEERS), "client", address)
    output, errors = client.communicate(timeout=SECONDS)
    assert client.returncode == 0, errors
    assert json.loads(output) == {
        "again": True,
        "count": 4,
        "ends": [[4, 5], [4, 1], [4, 6], [5, "ValueError"]],
        "rejected": [2, "invalid"],
        "gap": "unknown_session",
        "after reconnect": True,
        "replayed": True,
        "cancelled": [1, True, True],
        "shown": ["completed", {"text": "hello"}, 5],
        "unknown": [False, "unknown"],
        "stranger": [[0, 4], [0, 6], -1],
        "drained": True,
    }
    assert raw.communicate(timeout=SECONDS) == ("left\n", "")
    assert raw.returncode == 0
