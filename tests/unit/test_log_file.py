"""The log file: JSON lines, put aside when it is large, whole also where several processes write it at once."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from workerhost.actors.core.telling.digest import DIGEST_SECONDS
from workerhost.bin import logs
from workerhost.bin.log_file import LogFile
from workerhost.config.loading import check, load
from workerhost.transport.messages import Outcome, Results, Tasks

WRITER = """
import sys
from pathlib import Path
from workerhost.bin.log_file import LogFile
file = LogFile(Path(sys.argv[1]), 1000, 1000)
for number in range(300):
    file.write(f"{sys.argv[2]} {number}\\n")
"""


def test_a_line_goes_to_stderr_and_to_the_file_with_its_fields(tmp_path: Path) -> None:
    settings = load({"logging": {"file": str(tmp_path / "logs" / "w.log"), "level": "info"}}).logging
    logs.set_up_as(settings, process="host")
    stream = io.StringIO()
    logs.set_up("INFO", "console", stream, LogFile(tmp_path / "logs" / "w.log", None, 0), process="host")
    log = structlog.get_logger()
    log.debug("not_written")
    log.info("host_joined", host="one", token="secret")
    try:
        raise ValueError("nope")
    except ValueError:
        log.exception("turn_failed", task=7)

    first, second = (json.loads(line) for line in (tmp_path / "logs" / "w.log").read_text().splitlines())
    assert (first["event"], first["host"], first["process"], first["level"]) == ("host_joined", "one", "host", "info")
    assert first["timestamp"].endswith("Z")
    assert "ValueError: nope" in second["exception"]
    assert "secret" not in (tmp_path / "logs" / "w.log").read_text()
    assert "host_joined" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_a_large_file_is_put_aside_and_only_so_many_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "w.log"
    file = LogFile(path, 30, 2)
    for number in range(20):
        file.write(f"line {number:04}\n")

    assert path.read_text() == "line 0018\nline 0019\n"
    assert (tmp_path / "w.log.1").read_text() == "line 0015\nline 0016\nline 0017\n"
    assert sorted(one.name for one in tmp_path.glob("w.log*")) == ["w.log", "w.log.1", "w.log.2"]
    LogFile(path, 10, 0).write("a line that is longer than a file may be\n")
    assert path.read_text() == "a line that is longer than a file may be\n", "a line is never cut"


def test_processes_that_write_the_same_file_lose_and_tear_no_line(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "w.log"), f"writer-{n}"]) for n in range(3)
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]

    lines = [line for file in tmp_path.glob("w.log*") for line in file.read_text().splitlines()]
    assert sorted(lines) == sorted(f"writer-{n} {number}" for n in range(3) for number in range(300))
    assert len(list(tmp_path.glob("w.log.*"))) > 2


def test_a_file_that_somebody_moves_or_removes_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "w.log"
    file = LogFile(path, None, 0)
    file.write("one\n")
    path.rename(tmp_path / "elsewhere")
    file.write("two\n")
    assert ((tmp_path / "elsewhere").read_text(), path.read_text()) == ("one\n", "two\n")


def test_a_file_that_cannot_be_written_is_said_once_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = LogFile(tmp_path, None, 0)
    file.write("one\n")
    file.write("two\n")
    assert capsys.readouterr().err == f"workerhost: {tmp_path} cannot be written: Is a directory\n"


def test_the_settings_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text("logging: {file: logs/w.log, max_bytes: 1M, backup_count: 3}\n")
    settings = load(tmp_path / "w.yaml")
    assert settings.logging.file == tmp_path / "logs" / "w.log", "a relative path starts beside the file"
    assert (settings.logging.max_bytes, settings.logging.backup_count) == (1 << 20, 3)
    assert json.dumps(settings.document()["logging"])
    assert check({"logging": {"backup_count": -1}})
    assert check({"logging": {"files": "x"}})


# What is written of a run -------------------------------------------------------------------------------------------


def run(pool: Any, tasks: dict[bytes, list[Any]], outcome: Outcome = Outcome.COMPLETED) -> int:
    """The host `h` ends what it was given, over and over; how many tasks."""
    ended = 0
    while given := [
        task for one in tasks.get(b"h", []) if isinstance(one, Tasks) for _, group in one.groups for task in group
    ]:
        ended += len(given)
        tasks = pool.say(b"h", Results([[task[0], task[1], int(outcome), b"", 0.01, 0, None] for task in given]))
    return ended


def test_tasks_that_go_well_write_no_line_and_ten_minutes_one(pool: Any) -> None:
    pool.host(b"h", "a", slots=50)
    noted = list(pool.notes)
    assert noted == ["host_joined"]
    said = pool.send(count=500)
    assert run(pool, said) >= 50
    assert pool.notes == noted, "a line a task would fill the disk in a night"
    pool.wait(DIGEST_SECONDS + 1, step=1.0)
    assert pool.notes == [*noted, "pool_digest"]
    pool.wait(DIGEST_SECONDS + 1, step=1.0)
    assert pool.notes == [*noted, "pool_digest"], "where nothing happens nothing is said"


def test_a_quarantined_task_is_a_line(pool_with: Callable[..., Any]) -> None:
    pool = pool_with({"a": {"crash_limit": 1}})
    pool.host(b"h", "a")
    run(pool, pool.send(), Outcome.CRASHED)
    assert pool.notes == ["host_joined", "task_quarantined"]
