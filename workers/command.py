"""Workers that are programs, in any language: one process per task, a JSON task on stdin, a JSON result on stdout.

Owns what the two documents hold and what an exit code means. The program itself is run by `program`. Python 3.9, the
standard library and msgpack suffice here.

The task is one line of ASCII: `{"id", "type", "params", "metadata": {"priority", "created_at", "worker_id",
"attempt"}}`. In params bytes are `{"base64": text}` and datetimes ISO 8601 text in UTC; params that are None are `{}`.
The result is `{"success": true, "result": any}` or `{"success": false, "error": {"type", "message", "traceback"?,
"retry_possible"}}`, either with `"logs": [{"level", "message"}]`; what it holds is kept as JSON says it. Exit codes: 0
done, 1 failed, 2 failed for good, 3 timed out, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import zlib
from codecs import getincrementaldecoder
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, Final, NamedTuple, NoReturn, cast

from . import values
from .base import BaseWorker
from .ends import COMPLETED, CRASHED, FAILED, TIMEOUT, TOO_LARGE, AttemptEnd, failure
from .errors import ConfigError, InvalidTask, TooLarge, plain
from .json_value import json_value
from .program import Ended, Program
from .source import Source
from .task import Task

OUTPUT_BYTES_MAX: Final = 2 * values.RESULT_BYTES_MAX
"""Of stdout: JSON takes more room than what is kept of it."""
END_SECONDS: Final = 5.0
"""From asking a program to end (SIGTERM) to killing it, where its host does not do so earlier."""

DONE, RETRY, NO_RETRY, TIMED_OUT, INTERRUPTED = 0, 1, 2, 3, 130
"""The exit codes that mean something."""

SUCCESS: Final = '{"success": true, "result": ...}'
FAILURE: Final = '{"success": false, "error": {"type": ..., "message": ..., "retry_possible": ...}}'

_ERRORS_BYTES_MAX: Final = 1024 * 1024
"""Of stderr: what is passed on. The host keeps less; this spares it the work."""
_TAIL_CHARACTERS: Final = 4096
_FINGERPRINT_BYTES_MAX: Final = 1024 * 1024
_LOGS_MAX: Final = 1000
_UTC = timezone.utc  # noqa: UP017 -- datetime.UTC is not in Python 3.9


class CommandWorker(BaseWorker):
    """Runs a program for each task. `command_worker` makes the class for a type.

    Attributes:
        command: The program and its arguments.
        folder: Where it runs; "": here.
        guarded: See `Program`.
    """

    command: ClassVar[tuple[str, ...]] = ()
    folder: ClassVar[str] = ""
    guarded: ClassVar[bool] = False

    def execute(self, task: Task) -> AttemptEnd:
        """Run the program once. Asked to end, it gets SIGTERM, then SIGKILL."""
        errors = Errors(_to_stderr)
        try:
            program = Program(
                self.command,
                task_line(task),
                folder=self.folder,
                limit=OUTPUT_BYTES_MAX,
                on_error=errors.feed,
                guarded=self.guarded,
            )
        except OSError as error:
            text = f"{self.command[0]} cannot be started: {error.strerror or error}"
            return failure(type(error).__name__, text, cause="start_failed", retry=True)
        with program:
            self._see_through(program)
            errors.close()
            answer = read_answer(program.ended)
        for level, message in answer.logs:
            _to_stderr(f"{level}: {message}\n")
        return meaning(answer, errors.tail)

    def _see_through(self, program: Program) -> None:
        """Wait for its end; pass on that the attempt shall end."""
        attempt = self._attempt
        if attempt is not None:
            attempt.stop = program.wake
        try:
            while not self.cancelled:
                if program.wait():
                    return
            _end(program)
        except BaseException:  # SIGTERM, to the whole group; its host bounds what the program still does
            _end(program)
            raise
        finally:
            if attempt is not None:
                attempt.stop = None


def _end(program: Program) -> None:
    """Ask it to end, and wait, then kill it."""
    program.terminate()
    deadline = monotonic() + END_SECONDS
    while (left := deadline - monotonic()) > 0:
        if program.wait(left):
            return
    program.kill()
    while not program.wait():
        pass


def command_worker(type: str, source: Source, *, guarded: bool = False) -> type[CommandWorker]:
    """The worker of a type that the configuration gives a command.

    Raises:
        ConfigError: The program or its folder is not there.
    """
    program = source.command[0]
    if source.folder and not Path(source.folder).is_dir():
        raise ConfigError(f"cwd: {source.folder}: no such folder")
    if os.sep in program and not Path(program).is_file():
        raise ConfigError(f"command: {program}: no such file (relative paths stand beside the configuration)")
    if os.sep in program and not os.access(program, os.X_OK):
        raise ConfigError(f"command: {program} may not be executed; chmod +x, or put its interpreter first")
    if os.sep not in program and shutil.which(program) is None:
        raise ConfigError(f"command: there is no {program} in PATH; a file is named with its folder: ./{program}")
    members = {"type": type, "command": source.command, "folder": source.folder, "guarded": guarded}
    return _new_class("CommandWorker", (CommandWorker,), {**members, "__module__": __name__})


_new_class: Any = type


def fingerprint(source: Source) -> str:
    """Hash of a command: its words, and what is in the files that they name."""
    found = zlib.crc32(repr((source.command, source.folder)).encode())
    for word in source.command:
        file = Path(source.folder, word)
        try:
            if file.is_file() and file.stat().st_size <= _FINGERPRINT_BYTES_MAX:
                found = zlib.crc32(file.read_bytes(), found)
        except (OSError, ValueError):
            continue
    return f"{found:08x}"


def task_document(task: Task) -> dict[str, Any]:
    """What a program is told of a task."""
    sent = task.sent_at or datetime.now(_UTC)
    return {
        "id": task.id,
        "type": task.type,
        "params": {} if task.params is None else json_value(task.params),
        "metadata": {
            "priority": task.priority,
            "created_at": json_value(sent),
            "worker_id": f"{socket.gethostname()}-{os.getpid()}",
            "attempt": task.attempt,
        },
    }


def task_line(task: Task) -> bytes:
    """The same as one line."""
    return json.dumps(task_document(task), allow_nan=False).encode() + b"\n"


class Answer(NamedTuple):
    """What a program said, and whether it kept to what was agreed.

    Attributes:
        code: Its exit code; below 0: the signal that killed it.
        success: What it said; None: nothing that can be understood.
        result: Of a success.
        error: Of a failure.
        logs: (level, message), ...
        silent: Whether it wrote nothing at all to stdout.
        broken: Why the answer cannot be used, and what to do; "" if it can.
        lapses: What is not as agreed, though it can be used.
        overflowed: Whether it wrote too much.
    """

    code: int
    success: bool | None = None
    result: Any = None
    error: dict[str, Any] = {}  # noqa: RUF012 -- never changed
    logs: tuple[tuple[str, str], ...] = ()
    silent: bool = False
    broken: str = ""
    lapses: tuple[str, ...] = ()
    overflowed: bool = False


def read_answer(ended: Ended) -> Answer:
    """Understand what a program wrote to stdout, beside its exit code."""
    code = ended.code
    if ended.overflowed:
        size, result = OUTPUT_BYTES_MAX // 2**20, values.RESULT_BYTES_MAX // 2**20
        text = (
            f"more than {size} MiB on stdout, which is for one JSON result of at most {result} MiB;"
            " write logs to stderr, store large data and return where it is"
        )
        return Answer(code, broken=text, overflowed=True)
    try:
        said = _document(ended.output)
    except ValueError as error:
        return Answer(code, broken=str(error))
    if said is None:
        wanted = SUCCESS if code == DONE else FAILURE
        return Answer(
            code, silent=True, broken=f"no result on stdout; print one JSON object and nothing else: {wanted}"
        )
    success = said.get("success")
    if not isinstance(success, bool):
        return Answer(code, broken=f'the result has no "success" that is true or false; print {SUCCESS} or {FAILURE}')
    if success != (code == DONE) and code >= 0:
        cure = "exit with 0" if success else "exit with 1 (try again), 2 (do not) or 3 (timed out)"
        text = f'the result says "success": {json.dumps(success)}, the exit code is {code}; {cure}'
        return Answer(code, success, broken=text)
    error: Any = said.get("error")
    known = cast("dict[str, Any]", error) if isinstance(error, dict) else {}
    lapses = () if success else tuple(_lapses(code, known))
    return Answer(code, success, said.get("result"), known, _logs(said.get("logs")), lapses=lapses)


def meaning(answer: Answer, tail: str = "") -> AttemptEnd:
    """How the attempt ended.

    Args:
        answer: What the program said.
        tail: The end of what it wrote to stderr.
    """
    code = answer.code
    last = next((line for line in reversed(tail.splitlines()) if line.strip()), "")
    words = f"; last on stderr: {last.strip()}" if last else ""
    if answer.overflowed:
        end = failure("TooLarge", answer.broken, cause="result_too_large", retry=False)
        end.outcome = TOO_LARGE
    elif code < 0:
        end = failure(
            "", f"the program was killed by {_signal_name(-code)}{words}", cause="crash", retry=True, trace=tail
        )
        end.outcome = CRASHED
        end.detail = {**(end.detail or {}), "signal": -code}
    elif answer.success and not answer.broken:
        end = _completed(answer.result)
    elif answer.broken and not (answer.silent and code != DONE):
        text = f"{answer.broken} (exit code {code}{words})"
        end = failure("ProtocolError", text, cause="protocol_error", retry=code not in (DONE, NO_RETRY), trace=tail)
    else:
        end = _failed(answer, tail, words)
    if end.detail is not None and code > 0:
        end.detail["exit_code"] = code
    return end


class Errors:
    """What a program writes to stderr: passed on as text, up to a limit, and its end kept."""

    def __init__(self, pass_on: Callable[[str], None]) -> None:
        self._pass_on = pass_on
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._count = 0
        self.tail = ""

    def feed(self, data: bytes) -> None:
        """Take bytes in."""
        self._add(self._decoder.decode(data), len(data))

    def close(self) -> None:
        """No more will come."""
        self._add(self._decoder.decode(b"", True), 0)
        if self.tail and not self.tail.endswith("\n"):
            self._pass_on("\n")

    def _add(self, text: str, count: int) -> None:
        self.tail = (self.tail + text)[-_TAIL_CHARACTERS:]
        if text and self._count <= _ERRORS_BYTES_MAX:
            self._pass_on(text)
        self._count += count


def _to_stderr(text: str) -> None:
    """Where the output of a task goes, so that it is captured like that of any other."""
    sys.stderr.write(text)
    sys.stderr.flush()


def _document(output: bytes) -> dict[str, Any] | None:
    """The one JSON object that stdout holds, or None for nothing at all. Raises ValueError with the cure."""
    try:
        text = output.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"stdout is not UTF-8 (byte {error.start}); write the result as UTF-8, or as ASCII") from None
    if not text.strip():
        return None
    try:
        said: Any = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("the result is nested too deeply") from None
    except ValueError as error:
        raise ValueError(
            f"stdout is not one JSON object ({error}), it begins with {plain(text.strip(), 60)!r};"
            " it is for the result alone: write everything else to stderr"
        ) from None
    if not isinstance(said, dict):
        raise ValueError(f"the result is no JSON object but {plain(text.strip(), 60)!r}; print {SUCCESS} or {FAILURE}")
    return cast("dict[str, Any]", said)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON; use null")


def _lapses(code: int, error: dict[str, Any]) -> list[str]:
    """What is not as agreed in a failure that can be understood."""
    found = [
        f"error.{name} is missing or no text; print {FAILURE}"
        for name in ("type", "message")
        if not isinstance(error.get(name), str) or not error[name]
    ]
    again = error.get("retry_possible")
    if not isinstance(again, bool):
        found.append("error.retry_possible is missing; say true or false")
    elif code in (RETRY, NO_RETRY) and again != (code == RETRY):
        found.append(f"error.retry_possible is {json.dumps(again)} and the exit code {code}; 1 means true, 2 false")
    if code not in (RETRY, NO_RETRY, TIMED_OUT, INTERRUPTED):
        found.append(f"exit code {code} means nothing; use 1 (try again), 2 (do not), 3 (timed out), 130 (interrupted)")
    return found


def _logs(logs: Any) -> tuple[tuple[str, str], ...]:
    entries = cast("list[Any]", logs) if isinstance(logs, list) else []
    known = [cast("dict[str, Any]", entry) for entry in entries[:_LOGS_MAX] if isinstance(entry, dict)]
    return tuple((str(entry.get("level", "info")), str(entry.get("message", ""))) for entry in known)


def _completed(result: Any) -> AttemptEnd:
    try:
        return AttemptEnd(COMPLETED, values.pack(result, what="result", limit=values.RESULT_BYTES_MAX))
    except TooLarge as error:
        end = failure("TooLarge", str(error), cause="result_too_large", retry=False)
        end.outcome = TOO_LARGE
        return end
    except InvalidTask as error:  # half a character, a number beyond 64 bits
        return failure("ProtocolError", str(error), cause="protocol_error", retry=False)


def _failed(answer: Answer, tail: str, words: str) -> AttemptEnd:
    """The program failed, with an answer or without one."""
    error, code = answer.error, answer.code
    message = error.get("message")
    if not isinstance(message, str) or not message:
        what = {TIMED_OUT: "timed out", INTERRUPTED: "was interrupted"}.get(code, "failed")
        message = f"the program {what} with exit code {code} and did not say why{words}"
    trace = error.get("traceback")
    kind = error.get("type")
    end = failure(
        kind if isinstance(kind, str) else "",
        message,
        cause="timeout" if code == TIMED_OUT else "failed",
        retry=code != NO_RETRY and error.get("retry_possible") is not False,
        trace=trace if isinstance(trace, str) else tail,
    )
    end.outcome = TIMEOUT if code == TIMED_OUT else FAILED
    return end


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
