"""`isolation: command` in a real pool: from `workerhost.yaml` to the result, and what becomes of programs that stop,
hang, die or are left alone.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting import until

from workerhost import Client, ConfigError, TaskCancelled, TaskFailed, TaskQuarantined, WorkerHost

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30

CONFIG = """\
host: {{slots: 2, isolation: {isolation}}}
defaults: {{retry: {{max_attempts: 1}}}}
workers:
  echo: {{isolation: command, command: [./echo.sh]}}
  where: {{isolation: command, command: [sh, where.sh], cwd: below}}
  fail: {{isolation: command, command: [sh, fail.sh]}}
  again: {{isolation: command, command: [sh, again.sh], retry: {{max_attempts: 3, base: 10ms}}}}
  die: {{isolation: command, command: [sh, -c, 'kill -9 $$'], retry: {{base: 10ms}}}}
  polite: {{isolation: command, command: [sh, polite.sh], timeout: {timeout}}}
  stubborn: {{isolation: command, command: [sh, stubborn.sh], timeout: {timeout}}}
"""
PROGRAMS = {
    "echo.sh": """#!/bin/sh
printf '{"success": true, "result": '; cat; printf '}'
""",
    "below/where.sh": """printf '{"success": true, "result": "%s"}' "$PWD"
""",
    "fail.sh": """echo 'the reason' >&2
printf '{"success": false, "error": {"type": "Gone", "message": "404", "retry_possible": false}}'; exit 2
""",
    "again.sh": """[ -e done ] && { printf '{"success": true, "result": "the second time"}'; exit; }
touch done; exit 1
""",
    "polite.sh": """trap 'echo bye > polite.end; exit 130' TERM
echo $$ > polite.pid; while :; do sleep 0.02; done
""",
    "stubborn.sh": """trap '' TERM
sleep 300 & echo $! > stubborn.child; echo $$ > stubborn.pid; while :; do wait; done
""",
}


def written(folder: Path, *, isolation: str = "process", timeout: str = "5m") -> Path:
    """A folder with the configuration and its programs."""
    (folder / "below").mkdir()
    for name, text in PROGRAMS.items():
        (folder / name).write_text(text)
    (folder / "echo.sh").chmod(0o755)
    config = folder / "workerhost.yaml"
    config.write_text(CONFIG.format(isolation=isolation, timeout=timeout))
    return config


def number(file: Path) -> int:
    """The process id that a program writes into a file, when it has."""
    until(lambda: file.exists() and file.read_text().endswith("\n"), f"{file} is written")
    return int(file.read_text())


def gone(*pids: int) -> None:
    """Wait until processes are no more."""
    until(lambda: not any(map(is_alive, pids)), f"none of {pids} lives")


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module", params=["process", "thread", "inline"])
def pool(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[tuple[WorkerHost, Path]]:
    """A pool with each isolation that a host can have; its programs stand in a folder that is not the present one."""
    folder = tmp_path_factory.mktemp(str(request.param))
    with WorkerHost(written(folder, isolation=request.param)) as running:
        yield running, folder


def test_a_host_without_code_serves_what_its_configuration_names(pool: tuple[WorkerHost, Path]) -> None:
    client = pool[0].client
    (host,) = client.hosts()
    assert host["types"] == ["again", "die", "echo", "fail", "polite", "stubborn", "where"]

    told = client.send("echo", {"text": "grüße", "raw": b"\x00"}, priority=7).result(SECONDS)
    assert (told["type"], told["params"]) == ("echo", {"text": "grüße", "raw": {"base64": "AA=="}})
    assert (told["metadata"]["priority"], told["metadata"]["attempt"]) == (7, 1)
    assert client.send("where").result(SECONDS) == str(pool[1] / "below")


def test_many_at_once(pool: tuple[WorkerHost, Path]) -> None:
    batch = pool[0].client.send_many("echo", [{"n": n} for n in range(30)])
    assert [told["params"]["n"] for told in batch.results(SECONDS)] == list(range(30))


def test_how_it_failed_arrives(pool: tuple[WorkerHost, Path]) -> None:
    client = pool[0].client
    with pytest.raises(TaskFailed) as failed:
        client.send("fail").result(SECONDS)
    error = failed.value
    assert (error.cause, error.error_type, error.message, error.attempts) == ("failed", "Gone", "404", 1)
    assert error.traceback == "the reason\n"


def test_a_failure_that_may_be_tried_again_is(pool: tuple[WorkerHost, Path]) -> None:
    assert pool[0].client.send("again").result(SECONDS) == "the second time"


def test_a_program_that_dies_again_and_again_is_quarantined_and_its_slot_lives_on(
    pool: tuple[WorkerHost, Path],
) -> None:
    client = pool[0].client
    with pytest.raises(TaskQuarantined) as failed:
        client.send("die").result(SECONDS)
    assert failed.value.cause == "crash"
    assert client.send("echo").result(SECONDS)


def test_a_cancel_lets_the_program_end_in_order(pool: tuple[WorkerHost, Path]) -> None:
    running, folder = pool
    handle = running.client.send("polite")
    pid = number(folder / "polite.pid")
    assert handle.cancel()
    with pytest.raises(TaskCancelled):
        handle.result(SECONDS)
    gone(pid)
    assert (folder / "polite.end").read_text() == "bye\n"
    assert running.client.send("echo").result(SECONDS)


@pytest.mark.faults
@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_a_timeout_ends_a_program_that_does_not_want_to_and_what_it_started(tmp_path: Path, isolation: str) -> None:
    with WorkerHost(written(tmp_path, isolation=isolation, timeout="300ms"), slots=1) as running:
        handle = running.client.send("stubborn")
        pids = number(tmp_path / "stubborn.pid"), number(tmp_path / "stubborn.child")
        with pytest.raises(TaskFailed) as failed:
            handle.result(SECONDS)
        assert failed.value.cause == "timeout"
        gone(*pids)
        assert running.client.send("echo").result(SECONDS)


def ran(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workerhost", *arguments],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip


@pytest.mark.faults
def test_a_program_dies_with_its_host(tmp_path: Path) -> None:
    written(tmp_path)
    log = tmp_path / "up.log"
    with log.open("wb") as errors:
        up = subprocess.Popen(
            [sys.executable, "-m", "workerhost", "up", "--address", "tcp://127.0.0.1:*"],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    family: list[psutil.Process] = []
    pids: tuple[int, ...] = ()
    try:
        assert up.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(up.stdout, selectors.EVENT_READ)
            assert selector.select(SECONDS), log.read_text()
        address = up.stdout.readline().split()[-1]
        with Client(address) as client:
            client.send("stubborn")
            pids = number(tmp_path / "stubborn.pid"), number(tmp_path / "stubborn.child")
        family = psutil.Process(up.pid).children(recursive=True)
        host = next(process for process in family if process.ppid() == up.pid and "host" in process.cmdline())
        up.send_signal(signal.SIGSTOP)  # else it starts another host, and that runs the task again
        host.kill()
        gone(*pids)
    finally:
        up.kill()
        up.wait(SECONDS)
        if up.stdout is not None:
            up.stdout.close()
        for pid in filter(is_alive, (*pids, *[process.pid for process in family])):
            if pid in pids:
                os.kill(pid, signal.SIGKILL)
            gone(pid)


def test_what_is_missing_is_told_at_the_start(tmp_path: Path) -> None:
    config = written(tmp_path)
    (tmp_path / "echo.sh").unlink()
    with pytest.raises(ConfigError, match=r"echo: command: .*/echo.sh: no such file"), WorkerHost(config):
        pytest.fail("it must not start")


@pytest.mark.parametrize(("type", "program", "expected"), [
    ("text.length", "python3", 5), ("text.upper", "node", "GRÜSSE"), ("text.lines", "jq", 2),
])  # fmt: skip
def test_the_examples_run_in_a_pool(type: str, program: str, expected: Any, tmp_path: Path) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed here")
    folder = tmp_path / "command"
    shutil.copytree(ROOT / "examples" / "command", folder)
    text = {"text.length": "grüße", "text.upper": "grüße", "text.lines": "one\ntwo"}[type]
    config = folder / "workerhost.yaml"
    config.write_text(config.read_text() + "host: {isolation: process, slots: 1}\n")
    if shutil.which("node") is None:
        config.write_text("".join(line for line in config.read_text().splitlines(keepends=True) if "node" not in line))
    with WorkerHost(config) as pool:
        assert pool.client.send(type, {"text": text}).result(SECONDS) == expected


def test_show_prints_what_holds_for_such_a_type(tmp_path: Path) -> None:
    config = written(tmp_path)
    shown = ran(tmp_path, "config", "show", "--json", "-c", str(config))
    node = json.loads(shown.stdout)["workers"]["where"]
    assert node["command"] == ["sh", "where.sh"]
    assert node["cwd"] == str(tmp_path / "below")
    again = tmp_path / "again.json"
    again.write_text(shown.stdout)
    assert json.loads(ran(tmp_path, "config", "show", "--json", "-c", str(again)).stdout) == json.loads(shown.stdout)
