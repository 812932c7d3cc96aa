"""One file for all machines: a host with no configuration runs the classes that the supervisor's file names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from integration.up_pool import SECONDS, Up  # pyright: ignore[reportMissingImports]

CONFIG = """\
pool: {heartbeat: 200ms, lost_after: 2s}
host: {slots: 1, not: [text]}
workers:
  text.length: {class: "jobs.text:Length", isolation: thread, concurrency: 4}
  text.evil: {class: "outside:Evil"}
"""

JOBS = """\
import asyncio, os
from outside import Evil
from workerhost import BaseWorker


class Length(BaseWorker):
    together = asyncio.Barrier(4)

    async def execute(self, task):
        if task.params["four"]:
            await self.together.wait()  # only four in one loop get past it
        return [len(task.params["text"]), os.getcwd()]


class Words(BaseWorker):
    def execute(self, task):
        return len(task.params["text"].split())
"""

NEAR = """\
from workerhost import worker

@worker("near")
def near(): pass
"""

EVIL = """\
from workerhost import BaseWorker


class Evil(BaseWorker):
    def execute(self, task):
        return "evil"
"""


@pytest.fixture
def far(tmp_path: Path) -> Path:
    """The folder of the other machine: code, and no configuration."""
    folder = tmp_path / "far"
    (folder / "jobs").mkdir(parents=True)
    (folder / "jobs" / "__init__.py").write_text("")
    (folder / "jobs" / "text.py").write_text(JOBS)
    (folder / "outside.py").write_text(EVIL)
    return folder


@pytest.fixture
def up(tmp_path: Path, far: Path) -> Generator[Up]:
    (tmp_path / "near").mkdir()
    pool = Up(tmp_path / "near", CONFIG, "near.py", near=NEAR)
    command = [sys.executable, "-m", "workerhost", "host", "--join", pool.address, "--accept", "jobs.*"]
    with (tmp_path / "far.log").open("wb") as log:
        host = subprocess.Popen([*command, "--name", "far", "--slots", "1"], cwd=far, env=pool.environ, stderr=log)
    yield pool
    host.terminate()
    try:
        assert host.wait(SECONDS) == 0, (tmp_path / "far.log").read_text()
    finally:
        host.kill()
        pool.discard()


def test_a_host_without_a_file_runs_what_the_supervisors_file_names(up: Up, far: Path) -> None:
    assert up.answer("send", "text.length", "text=hello", "four:=false", "--wait")["result"] == [5, str(far)]
    four = [up.answer("send", "text.length", "text=hi", "four:=true")["id"] for _ in range(4)]
    assert up.ask("wait", *map(str, four), "--timeout", "20s").returncode == 0, "four at a time in one event loop"

    other = CONFIG.replace("jobs.text:Length", "jobs.text:Words").replace("concurrency: 4", "concurrency: 1")
    up.file.write_text(other)
    up.answer("config", "reload")
    up.until(
        lambda: up.answer("send", "text.length", "text=a b c", "four:=false", "--wait").get("result") == 3,
        "it runs the other class",
    )


def test_what_it_does_not_accept_it_does_not_run(up: Up) -> None:
    assert up.answer("send", "text.length", "text=hello", "four:=false", "--wait")["result"][0] == 5
    id = str(up.answer("send", "text.evil")["id"])
    assert "has no worker for it: far" in up.ask("why", id).stdout

    up.file.write_text(CONFIG.replace("outside:Evil", "jobs.text:Evil"))
    up.answer("config", "reload")
    up.until(
        lambda: "defined in outside, which this host does not accept" in up.ask("hosts", "--json").stdout,
        "what it imports from elsewhere is refused, and said",
    )
    assert up.answer("show", id)["state"] == "queued"
