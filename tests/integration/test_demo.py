"""The demonstration as a user runs it: processes joined over tcp, one killed, everything done once, a report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytest.importorskip("av", reason="the extra `media` is not installed")

from workerhost.bin.demo_clips import Clip, Source, encode

SECONDS_MAX = 90
DEMO = [sys.executable, "-P", "-m", "workerhost", "demo"]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six films and a sound, long enough that their tasks take a while, and two files that are none."""
    folder = tmp_path_factory.mktemp("media")
    for number in range(6):
        clip = Clip("", f"Film {number}", 8, (320, 180), Source("testsrc2", "size=320x180"), "0.2*sin(2*PI*440*t)")
        encode(clip, folder / f"film <{number}>.mp4")
    encode(Clip("", "Sound", 8, sound="0.2*sin(2*PI*440*t)"), folder / "sound.m4a")
    whole = (folder / "film <0>.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp3").touch()
    return folder


@pytest.mark.faults
def test_a_killed_host_costs_nothing_and_the_report_says_so(media: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, str(media), "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    numbers = json.loads(done.stdout)
    assert set(numbers) == {"tasks", "completed", "failed", "rescued", "executions", "seconds", "report"}
    assert numbers["tasks"] == 6 * 5 + 3 + 2
    assert numbers["completed"] == numbers["tasks"] - 2
    assert numbers["failed"] == 2
    assert numbers["rescued"] >= 1
    assert numbers["executions"] == numbers["tasks"] + numbers["rescued"]
    assert "killed host-2 with SIGKILL while it ran task" in done.stderr
    assert "host-2 is lost" in done.stderr
    assert "cut.mp4: it is truncated" in done.stderr
    assert "empty.mp3: it is empty (0 bytes)" in done.stderr
    report = Path(numbers["report"])
    assert report == tmp_path / "workerhost-demo" / "report.html"
    page = report.read_text("utf-8")
    assert page.count('src="data:image/jpeg;base64,') == 12
    assert page.count('src="data:image/png;base64,') == 7
    assert "<film" not in page
    assert sorted(path.name for path in (tmp_path / "workerhost-demo").iterdir()) == ["report.html"]


@pytest.mark.faults
def test_interrupted_it_leaves_no_process_and_no_folder_behind(media: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [*DEMO, str(media)], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "hosts joined" in line:
                break
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 3
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    gone, alive = psutil.wait_procs(children, timeout=5)
    assert not alive, gone
    assert [path.name for path in tmp_path.iterdir()] == ["workerhost-demo"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "nowhere: there is no such folder"),
        (".", ".: no media files below it; without FOLDER the demonstration makes its own"),
    ],
)
def test_a_folder_without_media_is_a_mistake_of_use(tmp_path: Path, name: str, said: str) -> None:
    done = subprocess.run([*DEMO, name], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (2, f"workerhost: {said}\n", "")
    assert list(tmp_path.iterdir()) == []
