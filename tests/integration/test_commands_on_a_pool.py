"""The command line on a real pool: `up` and all that it keeps, and the commands that ask it, as processes."""

from __future__ import annotations

import json
import os
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting import until

TASKS = """\
import os, signal, time
from workerhost import BaseWorker, worker


@worker("text.length")
def length(text: str) -> int:
    return len(text)


@worker("text.boom")
def boom(how: str) -> None:
    if how == "once" and not os.path.exists("done"):
        open("done", "w").close()
        raise KeyError("the first time")
    if how == "always":
        raise ValueError("nope")


class Slow(BaseWorker):
    type = "slow"

    def execute(self, task):
        for step in range(int(task.params["steps"])):
            self.report_progress(step / task.params["steps"], f"step {step}")
            if os.path.exists(task.params.get("until", "")):
                break
            time.sleep(0.05)
        return {"steps": task.params["steps"], "host": os.getppid()}
"""

START_SECONDS = 30
ANSWER_SECONDS = 30


class Program:
    """One `workerhost` process."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.log = folder / f"{arguments[0]}-{time.monotonic_ns()}.log"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("WORKERHOST")}
        environ["WORKERHOST__MONITORING__HTTP"] = "null"  # no dashboard: these tests are of the pool alone
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workerhost", *arguments],
                cwd=folder, env={**environ, **environment}, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip

    def line(self) -> str:
        """The next line of its stdout, within `START_SECONDS`."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            assert selector.select(START_SECONDS), f"no line on stdout\n{self.log.read_text()}"
        return self.process.stdout.readline().rstrip("\n")

    def until_logged(self, text: str) -> None:
        """Wait until it has said something."""
        until(lambda: text in self.log.read_text(), f"it says {text!r}", show=self.log.read_text)

    def end(self, *signals: int) -> int:
        """Send signals and wait for its end; its exit code."""
        for number in signals:
            self.process.send_signal(number)
        try:
            return self.process.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it did not end\n{self.log.read_text()}")

    def discard(self) -> None:
        """Leave nothing behind, whatever happened."""
        family = [self.process, *_children(self.process.pid)]
        for one in family:
            try:
                one.kill()
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


class Pool:
    """A pool that `up` keeps in a folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        (folder / "tasks.py").write_text(TASKS)
        self.folder = folder
        self.up = Program(folder, "up", "tasks.py", "--slots", "2", "--address", "tcp://127.0.0.1:*", *options)
        self.send_line = self.up.line()
        assert self.send_line, self.up.log.read_text()
        self.address = self.send_line.split()[-1]

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the pool."""
        return subprocess.run(
            [sys.executable, "-m", "workerhost", *command],
            cwd=self.folder, env={**os.environ, "WORKERHOST_ADDRESS": self.address},
            capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False,
        )  # fmt: skip

    def answer(self, *command: str) -> Any:
        """The JSON document that a command prints."""
        done = self.ask(*command, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def open(self, gate: str) -> None:
        """Let the tasks end that run until this file exists."""
        (self.folder / gate).touch()

    def send_gated(self, gate: str) -> int:
        """Send a task that runs until `open`, however slow the machine is, and wait until it runs; its id."""
        id = self.send("slow", "steps:=2000", f"until={self.folder / gate}")
        self.until("show", str(id), holds=lambda task: task["state"] == "running")
        return id

    def send(self, *command: str) -> int:
        """Send a task; its id."""
        done = self.ask("send", *command)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    def until(self, *command: str, holds: Callable[[Any], bool]) -> Any:
        """Ask until the answer is as it should be."""

        def right() -> list[Any]:
            found = self.answer(*command)
            return [found] if holds(found) else []

        what = f"`{' '.join(command)}` answers as it should"
        return until(right, what, show=lambda: f"{self.answer(*command)}\n{self.up.log.read_text()}")[0]

    def children(self) -> dict[str, psutil.Process]:
        """The processes that `up` keeps, by what they are."""
        return {process.cmdline()[4]: process for process in psutil.Process(self.up.process.pid).children()}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Generator[Pool]:
    """A pool that no test of this module breaks."""
    made = Pool(tmp_path_factory.mktemp("pool"))
    yield made
    made.up.discard()


@pytest.fixture
def own(tmp_path: Path) -> Generator[Pool]:
    """A pool that the test may break."""
    made = Pool(tmp_path)
    yield made
    made.up.discard()


# Tasks --------------------------------------------------------------------------------------------------------------


def test_the_send_line_that_up_prints_works_as_it_is(pool: Pool) -> None:
    words = shlex.split(pool.send_line)
    sent = words[words.index("send") :]
    assert sent[:4] == ["send", "text.length", "text=hello", "--wait"]

    done = pool.ask(*sent)
    assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr


def test_a_task_from_send_to_show(pool: Pool) -> None:
    id = pool.send("text.length", "text=grüße", "--priority", "7", "--tag", "greeting")
    assert pool.ask("wait", str(id)).stdout == f"{id} completed\n"

    document = pool.answer("show", str(id))
    expected = {
        "id": id, "type": "text.length", "state": "completed", "priority": 7, "attempt": 1,
        "params": {"text": "grüße"}, "result": 5, "error": None,
    }  # fmt: skip
    assert {key: document[key] for key in expected} == expected
    assert [attempt["outcome"] for attempt in document["attempts"]] == ["completed"]
    assert document["sent_at"] <= document["started_at"] <= document["ended_at"]

    listed = pool.answer("ls", "--tag", "greeting")["tasks"]
    assert [(task["id"], task["state"]) for task in listed] == [(id, "completed")]
    for command in (("show", str(id)), ("ls",), ("ls", "--state", "completed", "--type", "text.length")):
        done = pool.ask(*command)
        assert done.returncode == 0
        assert str(id) in done.stdout
    assert max(map(len, pool.ask("ls").stdout.splitlines())) <= 80


def test_send_wait_with_json_prints_what_show_prints(pool: Pool) -> None:
    document = pool.answer("send", "text.length", "text=abc", "--wait")
    assert (document["state"], document["result"]) == ("completed", 3)
    assert pool.answer("show", str(document["id"])) == document


def test_a_failure_is_one_line_and_1_and_show_has_the_traceback(pool: Pool) -> None:
    done = pool.ask("send", "text.boom", "how=always", "--max-attempts", "1", "--wait")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("failed after 1 attempt(s): ValueError: nope\n")
    id = pool.answer("ls", "--state", "failed")["tasks"][0]["id"]
    assert 'tasks.py", line 16, in boom' in pool.ask("show", str(id)).stdout
    assert pool.answer("show", str(id))["error"]["error_type"] == "ValueError"
    assert pool.ask("wait", str(id)).returncode == 1


def test_why_says_what_a_task_waits_for_and_what_it_went_through(pool: Pool) -> None:
    waits = pool.send("nobody.serves.this")
    said = pool.answer("why", str(waits))
    assert (said["state"], [reason["code"] for reason in said["reasons"]]) == ("queued", ["not_served"])
    assert [host["says"] for host in said["hosts"]] == ["has no worker for it"]
    text = pool.ask("why", str(waits)).stdout
    assert "none of 1 hosts serves nobody.serves.this" in text
    pool.ask("cancel", str(waits))

    done = pool.ask("send", "text.boom", "how=always", "--max-attempts", "1", "--wait", "--tag", "told")
    assert done.returncode == 1
    (task,) = pool.answer("ls", "--tag", "told")["tasks"]
    said = pool.answer("why", str(task["id"]))
    assert said["reasons"] == []
    assert [event["text"].split(" after ")[0] for event in said["story"][2:]] == ["it failed"]
    assert "ValueError: nope" in pool.ask("why", str(task["id"])).stdout
    assert pool.ask("why", "999999").returncode == 1


def test_retry_runs_a_failed_task_again(pool: Pool) -> None:
    done = pool.ask("send", "text.boom", "how=once", "--max-attempts", "1", "--tag", "once", "--wait")
    assert done.returncode == 1

    assert pool.answer("retry", "--tag", "once", "--dry-run")["retried"]
    assert pool.ask("wait", "--tag", "once").returncode == 1, "a dry run changes nothing"
    (id,) = pool.answer("retry", "--tag", "once")["retried"]
    assert pool.ask("wait", str(id)).returncode == 0
    absent = pool.ask("retry", "999999")
    assert absent.returncode == 1
    assert (
        absent.stderr
        == "workerhost: task 999999 was not retried: it has not failed, a newer task has its key, or there is none\n"
    )


def test_cancel_ends_a_running_task(pool: Pool) -> None:
    id = pool.send("slow", "steps:=2000")
    pool.until("show", str(id), holds=lambda task: task["state"] == "running")

    assert pool.ask("cancel", str(id)).stdout == f"{id}\n"
    done = pool.ask("wait", str(id))
    assert (done.returncode, done.stdout.split(":")[0]) == (1, f"{id} cancelled")
    assert pool.ask("cancel", str(id)).returncode == 1


def test_many_tasks_are_changed_only_when_that_was_said(pool: Pool) -> None:
    ids = [pool.send("nobody.edits", "--tag", "many") for _ in range(3)]
    asked = pool.ask("cancel", "--tag", "many")
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "this would cancel 3 tasks: say --yes, or look first with --dry-run" in asked.stderr
    assert sorted(pool.answer("cancel", "--tag", "many", "--dry-run")["cancelled"]) == ids
    assert pool.answer("cancel", "--tag", "many", "--older-than", "1h")["cancelled"] == []

    assert pool.answer("priority", "9", str(ids[0]))["changed"] == [ids[0]]
    assert pool.answer("show", str(ids[0]))["priority"] == 9
    assert sorted(pool.answer("move", "nobody.moves", "--tag", "many", "--yes")["moved"]) == ids
    assert pool.answer("show", str(ids[0]))["type"] == "nobody.moves"
    assert sorted(pool.answer("cancel", "--type", "nobody.moves", "--yes")["cancelled"]) == ids
    assert sorted(pool.answer("retry", "--tag", "many", "--rate", "100/s", "--yes")["retried"]) == ids
    assert len(pool.answer("cancel", "--tag", "many", "--yes")["cancelled"]) == 3
    assert pool.ask("retry", "--tag", "many", "--rate", "often").returncode == 2


def test_a_wait_that_ends_first_says_75_and_the_task_goes_on(pool: Pool) -> None:
    id = pool.send("slow", "steps:=2000")
    done = pool.ask("wait", str(id), "--timeout", "200ms")
    assert done.returncode == 75
    assert f"still running: {id}" in done.stderr

    waiting = Program(pool.folder, "wait", str(id), WORKERHOST_ADDRESS=pool.address)
    try:
        pool.until("show", str(id), holds=lambda task: bool(task["progress"]))
        waiting.until_logged("waiting: 0%")
        assert waiting.end(signal.SIGINT) == 75
        assert f"stopped waiting, the work goes on; wait again: workerhost wait {id}\n" in waiting.log.read_text()
    finally:
        waiting.discard()
    assert pool.ask("cancel", "--type", "slow").stdout == f"{id}\n"


def test_a_task_for_nobody_is_told(pool: Pool) -> None:
    id = pool.send("nobody.home")
    assert "note: no host serves nobody.home" in pool.ask("status").stdout
    assert pool.ask("cancel", str(id)).returncode == 0

    refused = pool.ask("send", "nobody.home", "--require-host")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "nobody.home" in refused.stderr

    patient = Program(pool.folder, "send", "nobody.home", "--wait", WORKERHOST_ADDRESS=pool.address)
    try:
        patient.until_logged("waits: none of 1 hosts serves nobody.home")
        assert patient.end(signal.SIGINT) == 75
    finally:
        patient.discard()


def test_the_place_for_code_in_an_invitations_line_is_no_code(pool: Pool) -> None:
    refused = pool.ask("host", "--join", pool.address, "CODE")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "CODE stands for your workers" in refused.stderr


def test_a_filter_that_means_nothing_says_so(pool: Pool) -> None:
    none = pool.ask("retry", "--error", "no such error")
    assert (none.returncode, none.stdout) == (0, "")
    assert "no task is like that" in none.stderr


def test_status_hosts_and_types(pool: Pool) -> None:
    status = pool.answer("status")
    assert status["supervisor"]["address"] == pool.address
    assert [(host["state"], host["slots"]) for host in status["hosts"]] == [("joined", 2)]
    assert set(status["tasks"]) == {
        "waiting", "scheduled", "queued", "running", "completed", "failed", "cancelled", "quarantined",
    }  # fmt: skip
    assert max(map(len, pool.ask("status").stdout.splitlines())) <= 80

    name = status["hosts"][0]["name"]
    assert name in pool.ask("hosts").stdout
    assert pool.answer("hosts")["hosts"][0]["types"] == ["slow", "text.boom", "text.length"]
    assert [item["hosts"] for item in pool.answer("types", "text.length")["types"]] == [[name]]
    assert pool.ask("types", "absent").returncode == 1


def test_top_prints_one_page_where_there_is_no_terminal(pool: Pool) -> None:
    done = pool.ask("top")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"workerhost  {pool.address}  up ")
    assert "0 of 2 slots busy on 1 host" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_paused_type_waits_until_it_is_resumed(pool: Pool) -> None:
    assert pool.ask("pause", "text").returncode == 0
    id = pool.send("text.length", "text=abc")
    assert pool.ask("wait", str(id), "--timeout", "300ms").returncode == 75
    assert pool.ask("resume", "text").returncode == 0
    assert pool.ask("wait", str(id)).returncode == 0


def test_unknown_tasks_and_hosts_are_one_line(pool: Pool) -> None:
    for command in (("show", "999999"), ("wait", "999999"), ("drain", "nobody")):
        done = pool.ask(*command)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr


def test_an_absent_pool_is_one_line_and_69(tmp_path: Path) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "workerhost", "send", "text.length", "text=a", "--address", "tcp://127.0.0.1:9"],
        capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "connection refused, nothing listens there; start one with: workerhost up" in done.stderr
    assert time.monotonic() - began < 6, "three seconds, and as much again for a busy machine"


# up -----------------------------------------------------------------------------------------------------------------


def test_a_signal_lets_tasks_finish_and_what_was_done_stays_done(own: Pool) -> None:
    id = own.send_gated("go")
    family = _children(own.up.process.pid)

    own.up.process.send_signal(signal.SIGTERM)
    own.up.until_logged("the hosts finish what they run")
    own.open("go")
    assert own.up.end() == 0
    assert psutil.wait_procs(family, timeout=10)[1] == []

    with_tasks = Program(own.folder, "supervisor", "--bind", own.address)
    try:
        own.until("status", holds=lambda status: bool(status["supervisor"]))
        assert own.answer("show", str(id))["result"]["steps"] == 2000
        assert with_tasks.end(signal.SIGTERM) == 0
    finally:
        with_tasks.discard()


def test_a_second_signal_ends_at_once(own: Pool) -> None:
    own.send_gated("never")
    family = _children(own.up.process.pid)
    own.up.process.send_signal(signal.SIGINT)
    own.up.until_logged("the hosts finish what they run")

    began = time.monotonic()
    assert own.up.end(signal.SIGINT) == 0
    assert time.monotonic() - began < 10
    assert psutil.wait_procs(family, timeout=10)[1] == []


@pytest.mark.faults
def test_a_killed_host_is_started_again_and_its_task_is_rescued(own: Pool) -> None:
    id = own.send_gated("go")
    first = own.children()["host"]
    first.kill()
    own.up.until_logged("host 1 was killed by signal 9; it is started again")
    own.open("go")

    assert own.ask("wait", str(id)).returncode == 0
    document = own.answer("show", str(id))
    assert document["attempt"] == 2
    assert document["result"]["host"] == own.children()["host"].pid != first.pid


@pytest.mark.faults
def test_a_wait_survives_a_killed_supervisor(own: Pool) -> None:
    id = own.send_gated("go")
    waiting = Program(own.folder, "wait", str(id), WORKERHOST_ADDRESS=own.address)
    try:
        waiting.until_logged("waiting: ")
        own.children()["supervisor"].kill()
        own.open("go")

        assert waiting.line() == f"{id} completed"
        assert waiting.end() == 0
        assert own.answer("show", str(id))["attempt"] == 1, "a supervisor that is away kills nothing"
    finally:
        waiting.discard()


@pytest.mark.faults
def test_a_killed_up_leaves_nothing_behind(own: Pool) -> None:
    family = _children(own.up.process.pid)
    assert len(family) >= 4
    own.up.process.kill()
    assert psutil.wait_procs(family, timeout=20)[1] == []


def test_a_drained_host_leaves_and_is_not_started_again(own: Pool) -> None:
    own.send("text.length", "text=abc")
    assert own.ask("wait", "--idle", "--timeout", "20s").returncode == 0
    assert own.answer("status")["tasks"]["completed"] == 1

    name = own.answer("hosts")["hosts"][0]["name"]
    assert own.ask("drain", name).returncode == 0
    own.up.until_logged("host 1 has left")
    assert "started again" not in own.up.log.read_text()
    assert own.up.end(signal.SIGTERM) == 0


def test_what_cannot_start_is_one_line_and_78(own: Pool, tmp_path_factory: pytest.TempPathFactory) -> None:
    second = Program(own.folder, "up", "--address", own.address)
    try:
        assert second.end() == 78
        assert "Traceback" not in second.log.read_text()
        assert "tasks.db" in second.log.read_text() or own.address in second.log.read_text()
    finally:
        second.discard()

    for folder, options, expected in (
        (tmp_path_factory.mktemp("other"), ("--bind", own.address), own.address),
        (own.folder, ("--bind", "tcp://127.0.0.1:*"), "tasks.db"),
        (tmp_path_factory.mktemp("far"), ("--bind", "tcp://0.0.0.0:7470"), "workerhost keys new"),
    ):
        refused = Program(folder, "supervisor", *options)
        try:
            assert refused.end() == 78
            assert expected in refused.log.read_text()
            assert refused.log.read_text().startswith("workerhost: ")
        finally:
            refused.discard()
