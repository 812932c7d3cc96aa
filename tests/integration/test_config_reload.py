"""A pool that runs learns a new type: one class, one entry in the file, `config reload`. And what else may change."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psutil
import pytest

SECONDS = 30

CONFIG = """\
pool: {heartbeat: 200ms, lost_after: 2s}
host: {slots: 2}
workers:
  video: {class: "clips:Video"}
"""

CLIPS = """\
import time
from workerhost import BaseWorker


class Video(BaseWorker):
    type = "video"

    def execute(self, task):
        time.sleep(task.params["seconds"])  # sleeps: the task is a slow one
        return "video"
"""

SHORTS = """\
from workerhost import BaseWorker, Fail


class Shorts(BaseWorker):
    type = "video.youtube.shorts"

    def execute(self, task):
        if len(task.params["id"]) != 11:
            raise Fail("no such short")
        return "https://youtu.be/" + task.params["id"]
"""

ENTRY = """\
  video.youtube.shorts: {class: "shorts:Shorts", timeout: 1m, max_concurrent: 1}
"""


class Up:
    """A pool that `up` keeps, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file, self.log = folder, folder / "workerhost.yaml", folder / "up.log"
        self.file.write_text(CONFIG)
        (folder / "clips.py").write_text(CLIPS)
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("WORKERHOST")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workerhost", "up", "--address", "tcp://127.0.0.1:*"],
                cwd=folder, env=self.environ, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            assert selector.select(SECONDS), self.log.read_text()
        self.address = self.process.stdout.readline().split()[-1]

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the pool."""
        return subprocess.run(
            [sys.executable, "-m", "workerhost", *command],
            cwd=self.folder, env={**self.environ, "WORKERHOST_ADDRESS": self.address},
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip

    def answer(self, *command: str) -> Any:
        """The JSON document that a command prints."""
        asked = self.ask(*command, "--json")
        assert asked.stdout, (asked.stderr, self.log.read_text())
        return json.loads(asked.stdout)

    def until_logged(self, text: str) -> None:
        """Wait for something to stand in the log of all that `up` keeps."""
        end = time.monotonic() + SECONDS
        while text not in self.log.read_text():
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)  # sleeps: another process writes the file

    def discard(self) -> None:
        """Leave nothing behind."""
        try:
            family = [self.process, *psutil.Process(self.process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            family = []
        for one in family:
            try:
                one.kill()
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
        self.process.wait(SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def up(tmp_path: Path) -> Generator[Up]:
    pool = Up(tmp_path)
    yield pool
    pool.discard()


def test_a_worker_of_the_third_level_is_one_class_and_one_entry_and_no_restart(up: Up) -> None:
    assert len(SHORTS.splitlines()) < 20
    before = up.answer("status")
    running = up.answer("send", "video", "seconds:=2")["id"]
    queued = up.answer("send", "video.youtube.shorts", "id=dQw4w9WgXcQ")["id"]

    (up.folder / "shorts.py").write_text(SHORTS)
    up.file.write_text(CONFIG + ENTRY)
    found = up.answer("config", "reload")
    assert {(c["node"], c["setting"], c["new"], c["needs"]) for c in found["changes"]} == {
        ("video.youtube.shorts", "class", "shorts:Shorts", "hosts"),
        ("video.youtube.shorts", "timeout", 60.0, ""),
        ("video.youtube.shorts", "max_concurrent", 1, ""),
    }
    assert up.ask("wait", str(queued), "--timeout", "20s").returncode == 0, up.log.read_text()
    assert up.answer("show", str(queued))["result"] == "https://youtu.be/dQw4w9WgXcQ"
    assert up.ask("wait", str(running), "--timeout", "20s").returncode == 0
    done = up.answer("show", str(running))
    assert (done["result"], len(done["attempts"])) == ("video", 1), "what ran was left alone"
    after = up.answer("status")
    assert after["supervisor"]["pid"] == before["supervisor"]["pid"]
    assert [host["pid"] for host in after["hosts"]] == [host["pid"] for host in before["hosts"]]


def test_a_wrong_file_changes_nothing_and_every_problem_is_said(up: Up) -> None:
    up.file.write_text(CONFIG + "  audio: {timout: 3}\n  pdf: {max_concurrent: none}\n")
    asked = up.ask("config", "reload")
    assert asked.returncode == 78
    lines = asked.stderr.splitlines()
    assert lines[0].startswith("workerhost: ")
    assert "workerhost.yaml:5: workers.audio.timout is an unknown key; did you mean timeout?" in lines[0]
    assert "workerhost.yaml:6: workers.pdf.max_concurrent" in lines[1]
    assert lines[2] == "workerhost: nothing has changed"
    assert up.answer("send", "video", "seconds:=0", "--wait")["result"] == "video"


def test_a_hangup_reads_the_file_again_and_what_needs_a_restart_is_named(up: Up) -> None:
    up.file.write_text(CONFIG.replace("heartbeat: 200ms", "heartbeat: 300ms") + "  pdf: {max_concurrent: 2}\n")
    up.process.send_signal(signal.SIGHUP)
    up.until_logged("configuration_read")
    (line,) = [line for line in up.log.read_text().splitlines() if "configuration_read" in line]
    assert "pool.heartbeat" in line
    assert "restart" in line
    assert next(t for t in up.answer("types")["types"] if t["type"] == "pdf")["max_concurrent"] == 2
    assert up.ask("config", "reload").stderr.splitlines()[-1].endswith("the file says what was in effect already")
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(SECONDS) == 0
