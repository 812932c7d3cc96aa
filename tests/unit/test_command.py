"""Workers that are programs: what they are told, what their answers mean, and that nothing of them is left."""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from workerhost.transport.messages import Outcome
from workerhost.workers import values
from workerhost.workers.command import (
    OUTPUT_BYTES_MAX,
    command_worker,
    fingerprint,
    meaning,
    read_answer,
    task_line,
)
from workerhost.workers.ends import AttemptEnd
from workerhost.workers.program import Ended, Program
from workerhost.workers.registry import load_all
from workerhost.workers.runner import run
from workerhost.workers.source import Source
from workerhost.workers.task import Task

SUCCESS = b'{"success": true, "result": {"n": 1}}\n'
FAILURE = b'{"success": false, "error": {"type": "Gone", "message": "404", "retry_possible": true}}'
FINAL = FAILURE.replace(b"true", b"false")


def shell(script: str, params: Any = None, *, folder: str = "") -> AttemptEnd:
    worker = command_worker("a.b", Source(command=("/bin/sh", "-c", script), folder=folder))
    return run(worker, Task(id=7, type="a.b", params=params))


def understood(code: int, output: bytes, tail: str = "") -> AttemptEnd:
    return meaning(read_answer(Ended(code, output)), tail)


# What a program is told ------------------------------------------------------------------------------------------


def test_the_task_is_one_line_of_ascii() -> None:
    sent = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    params = {"text": "grüße\n", "raw": b"\x00\xff", "at": sent, "deep": [{"raw": b""}], "endless": float("inf")}
    line = task_line(Task(id=7, type="a.b", params=params, priority=9, attempt=2, sent_at=sent))

    assert line.isascii()
    assert line.count(b"\n") == 1
    told = json.loads(line)
    assert told["params"] == {
        "text": "grüße\n", "raw": {"base64": "AP8="}, "at": "2026-01-31T12:00:00Z", "deep": [{"raw": {"base64": ""}}],
        "endless": "inf",
    }  # fmt: skip
    assert (told["id"], told["type"]) == (7, "a.b")
    worker_id = told["metadata"].pop("worker_id")
    assert worker_id.endswith(f"-{os.getpid()}")
    assert told["metadata"] == {"priority": 9, "created_at": "2026-01-31T12:00:00Z", "attempt": 2}


def test_params_that_are_none_are_an_empty_object() -> None:
    assert json.loads(task_line(Task(id=1, type="a", params=None)))["params"] == {}


# What an answer means --------------------------------------------------------------------------------------------


def test_a_success_is_its_result() -> None:
    end = understood(0, SUCCESS)
    assert (end.outcome, values.unpack(end.body), end.detail) == (Outcome.COMPLETED, {"n": 1}, None)
    assert values.unpack(understood(0, b'\xef\xbb\xbf{"success": true}').body) is None, (
        "a mark of the byte order is no harm"
    )


@pytest.mark.parametrize(
    ("code", "output", "outcome", "cause", "retry", "message"),
    [
        (1, FAILURE, Outcome.FAILED, "failed", True, "404"),
        (2, FINAL, Outcome.FAILED, "failed", False, "404"),
        (2, FAILURE, Outcome.FAILED, "failed", False, "404"),  # the more careful of the two counts
        (1, FINAL, Outcome.FAILED, "failed", False, "404"),
        (3, FAILURE, Outcome.TIMEOUT, "timeout", True, "404"),
        (130, FAILURE, Outcome.FAILED, "failed", True, "404"),
        (1, b"", Outcome.FAILED, "failed", True, "did not say why; last on stderr: ValueError: no"),
        (2, b"", Outcome.FAILED, "failed", False, "exit code 2 and did not say why"),
        (3, b"", Outcome.TIMEOUT, "timeout", True, "timed out with exit code 3"),
        (130, b"", Outcome.FAILED, "failed", True, "was interrupted with exit code 130"),
        (22, b"", Outcome.FAILED, "failed", True, "failed with exit code 22"),
        (0, b"", Outcome.FAILED, "protocol_error", False, "no result on stdout; print one JSON object"),
        (0, b" \n", Outcome.FAILED, "protocol_error", False, "no result on stdout"),
        (0, SUCCESS[:20], Outcome.FAILED, "protocol_error", False, "stdout is not one JSON object"),
        (1, FAILURE[:20], Outcome.FAILED, "protocol_error", True, "stdout is not one JSON object"),
        (0, b"hello\n" + SUCCESS, Outcome.FAILED, "protocol_error", False, "begins with 'hello"),
        (0, SUCCESS + SUCCESS, Outcome.FAILED, "protocol_error", False, "write everything else to stderr"),
        (0, b"[1]", Outcome.FAILED, "protocol_error", False, "no JSON object but '[1]'"),
        (0, b'{"result": 1}', Outcome.FAILED, "protocol_error", False, 'no "success"'),
        (0, b'{"success": 1}', Outcome.FAILED, "protocol_error", False, 'no "success"'),
        (0, b'{"success": true, "result": NaN}', Outcome.FAILED, "protocol_error", False, "NaN is not JSON"),
        (0, b'{"success": true, "result": "\xff"}', Outcome.FAILED, "protocol_error", False, "not UTF-8 (byte 29)"),
        (0, b'{"success": true, "result": "\\ud800"}', Outcome.FAILED, "protocol_error", False, "half a character"),
        (0, b'{"success": true, "result": ' + b"9" * 40 + b"}", Outcome.FAILED, "protocol_error", False, "64 bits"),
        (0, b'{"success": true, "result": ' + b"[" * 90_000 + b"]" * 90_000 + b"}", Outcome.FAILED, "protocol_error",
         False, "nested"),
        (0, FAILURE, Outcome.FAILED, "protocol_error", False, '"success": false, the exit code is 0; exit with 1'),
        (1, SUCCESS, Outcome.FAILED, "protocol_error", True, '"success": true, the exit code is 1; exit with 0'),
        (2, SUCCESS, Outcome.FAILED, "protocol_error", False, '"success": true, the exit code is 2; exit with 0'),
        (-11, b"", Outcome.CRASHED, "crash", True, "killed by signal 11 (SIGSEGV); last on stderr: ValueError: no"),
        (-9, SUCCESS, Outcome.CRASHED, "crash", True, "killed by signal 9 (SIGKILL)"),
    ],
)  # fmt: skip
def test_what_an_answer_and_an_exit_code_mean(
    code: int, output: bytes, outcome: Outcome, cause: str, retry: bool, message: str
) -> None:
    end = understood(code, output, "Traceback ...\nValueError: no\n\n")
    assert end.outcome == outcome
    assert end.detail is not None
    assert (end.detail["cause"], end.detail["retry"]) == (cause, retry)
    assert message in end.detail["message"]


def test_what_it_says_of_an_error_is_kept() -> None:
    error = {"type": "Gone", "message": "404", "traceback": "line 3", "retry_possible": False}
    end = understood(
        2, json.dumps({"success": False, "error": error, "logs": [{"level": "info"}, 7]}).encode(), "noise"
    )
    assert end.detail is not None
    assert {k: end.detail[k] for k in ("error_type", "message", "traceback", "exit_code")} == {
        "error_type": "Gone", "message": "404", "traceback": "line 3", "exit_code": 2,
    }  # fmt: skip


@pytest.mark.parametrize("error", [None, 7, [], "text", {}, {"message": 3, "type": [], "traceback": {}}])
def test_an_error_of_any_form_is_a_failure(error: Any) -> None:
    answer = read_answer(Ended(1, json.dumps({"success": False, "error": error, "logs": {"a": 1}}).encode()))
    assert answer.lapses
    end = meaning(answer, "the last line")
    assert end.detail is not None
    assert "did not say why; last on stderr: the last line" in end.detail["message"]
    assert end.detail["retry"] is True


def test_what_it_says_of_an_error_can_travel() -> None:
    """A cut emoji in JSON is half a character, and a traceback may be as long as the output may."""
    words = {"type": "E\ud83d", "message": "m\ud83d", "traceback": "t\ud83d" * 1_000_000, "retry_possible": True}
    detail = understood(1, json.dumps({"success": False, "error": words}).encode()).detail
    assert detail is not None
    assert len(values.pack(detail)) < 32 * 1024
    assert (detail["error_type"], detail["message"]) == ("E\\ud83d", "m\\ud83d")


@pytest.mark.parametrize(
    ("code", "lapse"), [(2, "retry_possible is true and the exit code 2"), (9, "exit code 9 means nothing"), (1, "")]
)
def test_what_is_not_as_agreed_is_told(code: int, lapse: str) -> None:
    lapses = read_answer(Ended(code, FAILURE)).lapses
    assert (lapse in lapses[0]) if lapse else not lapses


# Real programs ---------------------------------------------------------------------------------------------------


def test_a_program_reads_its_task_and_answers() -> None:
    end = shell("""printf '{"success": true, "result": '; cat; printf '}'""", {"a": "grüße"})
    result = values.unpack(end.body)
    assert (result["id"], result["type"], result["params"]) == (7, "a.b", {"a": "grüße"})


def test_a_large_task_meets_a_program_that_writes_first(tmp_path: Path) -> None:
    script = f"head -c 500000 /dev/zero >&2; cat > {tmp_path}/task; printf '{{\"success\": true}}'"
    end = shell(script, {"text": "x" * 900_000})
    assert end.outcome == Outcome.COMPLETED
    assert len(json.loads((tmp_path / "task").read_bytes())["params"]["text"]) == 900_000


def test_a_program_need_not_read_its_task() -> None:
    assert shell("""exec <&-; printf '{"success": true, "result": 1}'""", {"text": "x" * 900_000}).outcome == 0


def test_what_it_logs_is_passed_on_and_its_end_explains_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    end = shell("""printf 'gr\\303\\274\\303' >&2; printf '\\237e\\nlast words' >&2; exit 1""")
    assert capsys.readouterr().err == "grüße\nlast words\n"
    assert end.detail is not None
    assert end.detail["message"].endswith("last on stderr: last words")
    assert end.detail["traceback"] == "grüße\nlast words"

    shell("""printf '{"success": true, "logs": [{"level": "info", "message": "half"}, {"message": "whole"}]}'""")
    assert capsys.readouterr().err == "info: half\ninfo: whole\n"


def test_a_flood_is_stopped_where_it_stands() -> None:
    end = shell("cat /dev/zero")
    assert end.detail is not None
    assert (end.outcome, end.detail["cause"], end.detail["retry"]) == (Outcome.TOO_LARGE, "result_too_large", False)
    assert "more than 8 MiB on stdout" in end.detail["message"]


def test_a_result_above_the_limit_is_too_large() -> None:
    text = "x" * (values.RESULT_BYTES_MAX + 1)
    assert len(text) < OUTPUT_BYTES_MAX
    end = understood(0, json.dumps({"success": True, "result": text}).encode())
    assert end.detail is not None
    assert (end.outcome, end.detail["cause"]) == (Outcome.TOO_LARGE, "result_too_large")


def test_a_flood_on_stderr_is_cut_and_harms_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    end = shell("""head -c 30000000 /dev/zero | tr '\\0' x >&2; printf '{"success": true, "result": 1}'""")
    assert values.unpack(end.body) == 1
    assert len(capsys.readouterr().err) < 2 * 1024 * 1024


def test_a_program_killed_by_a_signal_is_a_crash() -> None:
    end = shell("kill -SEGV $$")
    assert end.detail is not None
    assert (end.outcome, end.detail["signal"]) == (Outcome.CRASHED, 11)


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="what leaves its group is found in /proc")
@pytest.mark.parametrize("how", ["", "setsid "])
def test_what_a_program_leaves_behind_is_ended(tmp_path: Path, how: str) -> None:
    script = f"""({how}sleep 300 & echo $! > pid); printf '{{"success": true, "result": 1}}'"""
    assert shell(script, folder=str(tmp_path)).outcome == Outcome.COMPLETED, "though its stdout is still held open"
    pid = int((tmp_path / "pid").read_text())
    if is_alive(pid):
        number = os.pidfd_open(pid)  # it was killed: it is gone as soon as the kernel has time
        try:
            assert select.select([number], [], [], 10)[0]
        finally:
            os.close(number)


def test_a_cancel_is_sigterm_and_no_program_outlives_a_with_block(tmp_path: Path) -> None:
    ready = threading.Event()
    script = "trap 'echo ended > seen; exit 130' TERM; echo ready >&2; while :; do sleep 0.01; done"

    def heard(data: bytes) -> None:
        ready.set()
        program.wake()

    with Program(["/bin/sh", "-c", script], b"", folder=str(tmp_path), limit=10, on_error=heard) as program:
        assert not program.wait(10)
        assert ready.is_set()
        program.terminate()
        assert program.wait(10)
        assert program.ended.code == 130
    assert (tmp_path / "seen").read_text() == "ended\n"

    with Program(["/bin/sh", "-c", "trap '' TERM; sleep 300"], None, limit=10, on_error=print) as stubborn:
        pid = stubborn.pid
    assert not is_alive(pid)
    assert stubborn.ended.code == -9


def test_no_descriptor_is_left() -> None:
    shell("exit 1")
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208
    for _ in range(20):
        shell("exit 1")
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208


# From the configuration ------------------------------------------------------------------------------------------


def test_a_host_offers_what_is_there_and_says_what_is_not(tmp_path: Path) -> None:
    (tmp_path / "plain.sh").write_text("exit 1")
    commands: dict[str, Source] = {
        "a.good": Source(command=("sh", "plain.sh"), folder=str(tmp_path)),
        "a.gone": Source(command=(f"{tmp_path}/gone", "x"), folder=str(tmp_path)),
        "a.plain": Source(command=(f"{tmp_path}/plain.sh",), folder=str(tmp_path)),
        "a.path": Source(command=("no-such-program-anywhere",), folder=str(tmp_path)),
        "a.cwd": Source(command=("sh",), folder=f"{tmp_path}/nowhere"),
    }
    offer = load_all((), commands).plain()

    assert offer["types"] == ["a.good"]
    assert offer["failed"] == {
        "a.gone": f"command: {tmp_path}/gone: no such file (relative paths stand beside the configuration)",
        "a.plain": f"command: {tmp_path}/plain.sh may not be executed; chmod +x, or put its interpreter first",
        "a.path": "command: there is no no-such-program-anywhere in PATH; a file is named with its folder:"
        " ./no-such-program-anywhere",
        "a.cwd": f"cwd: {tmp_path}/nowhere: no such folder",
    }
    assert offer["fingerprints"]["a.good"] == fingerprint(commands["a.good"])


def test_a_fingerprint_is_of_the_files_that_a_command_names(tmp_path: Path) -> None:
    source = Source(command=("sh", "work.sh"), folder=str(tmp_path))
    (tmp_path / "work.sh").write_text("exit 1")
    before = fingerprint(source)
    assert fingerprint(source) == before
    (tmp_path / "work.sh").write_text("exit 2")
    assert fingerprint(source) != before
    assert fingerprint(source._replace(command=("sh", "-x", "work.sh"))) != fingerprint(source)


def test_a_program_that_has_gone_since_is_a_failed_attempt(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    worker = command_worker("a", Source(command=(str(program),)))
    program.unlink()
    end = run(worker, Task(id=1, type="a"))
    assert end.detail is not None
    assert (end.outcome, end.detail["cause"]) == (Outcome.FAILED, "start_failed")
    assert f"{program} cannot be started: No such file" in end.detail["message"]
