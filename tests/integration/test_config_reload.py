"""A pool that runs learns a new type: one class, one entry in the file, `config reload`. And what else may change."""

from __future__ import annotations

import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from integration.up_pool import SECONDS, Up  # pyright: ignore[reportMissingImports]

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


@pytest.fixture
def up(tmp_path: Path) -> Generator[Up]:
    pool = Up(tmp_path, CONFIG, clips=CLIPS)
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
