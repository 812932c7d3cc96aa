"""`check worker`: runs a program on good and bad tasks and says where it does not keep the protocol.

Owns the cases and what each expects. How an answer is understood is the same code that a slot uses.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, cast

from ..transport import clock
from ..workers.command import (
    DONE,
    END_SECONDS,
    NO_RETRY,
    OUTPUT_BYTES_MAX,
    Answer,
    Errors,
    read_answer,
    task_document,
    task_line,
)
from ..workers.errors import ConfigError
from ..workers.program import Program
from ..workers.task import Task
from . import documents
from .tables import span, table

LARGE_BYTES: Final = 900 * 1024
"""Just below the limit of params; far above what a pipe holds, so that a program must read before it writes."""
SETTLE_SECONDS: Final = 1.0
"""How long a program may take to start before it gets SIGTERM."""
UNKNOWN_TYPE: Final = "no.such.type"
UNICODE: Final = 'grüße, 你好, 🎬, \u202eabc, "quotes", back\\slash, line\nbreak, \u0000'


class Expected(Enum):
    """What a case wants to see."""

    SUCCESS = "it succeeds (exit code 0)"
    FAILURE = "it fails (exit code 1 or 2)"
    REFUSAL = "it fails for good (exit code 2): trying again would not help"
    ANSWER = "it succeeds or fails, with an answer"


@dataclass(frozen=True, slots=True)
class Case:
    """One run.

    Attributes:
        name: For people.
        line: What the program reads.
        expected: How it should end.
    """

    name: str
    line: bytes
    expected: Expected


@dataclass(slots=True)
class Finding:
    """What a case brought to light.

    Attributes:
        case: Its name.
        violations: What is wrong, and what to do; empty: nothing.
        exit_code: Of the program, below 0: the signal that killed it; None: it did not end, or there was no run.
        seconds: How long it ran, None: there was no run.
    """

    case: str
    violations: list[str] = field(default_factory=list)
    exit_code: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    answer: Answer | None  # None: it did not end in time
    seconds: float
    last: str  # line on stderr


def cases(type: str, params: Any) -> Iterator[Case]:
    """All runs but the one with SIGTERM.

    Args:
        type: A type that the program runs.
        params: With which a task of it succeeds.
    """
    task = Task(id=1, type=type, params=params)
    whole = task_document(task)
    given = cast("dict[str, Any]", params) if isinstance(params, dict) else {}

    def line(**changes: Any) -> bytes:
        return json.dumps({**whole, **changes}).encode() + b"\n"

    def without(name: str) -> bytes:
        return json.dumps({key: value for key, value in whole.items() if key != name}).encode() + b"\n"

    yield Case("valid task", task_line(task), Expected.SUCCESS)
    for name in ("id", "type", "params"):
        yield Case(f"missing {name}", without(name), Expected.REFUSAL)
    yield Case("unknown type", line(type=UNKNOWN_TYPE), Expected.FAILURE)
    yield Case("empty params", line(params={}), Expected.ANSWER)
    yield Case("half a task", task_line(task)[: len(task_line(task)) // 2], Expected.REFUSAL)
    yield Case("unicode", line(params={**given, "unicode": UNICODE}), Expected.ANSWER)
    yield Case("large task", line(params={**given, "large": "x" * LARGE_BYTES}), Expected.ANSWER)


def conforms(command: Sequence[str], type: str, params: Any, timeout: float) -> list[Finding]:
    """Run all cases.

    Args:
        command: The program and its arguments.
        type: A type that it runs.
        params: With which a task of it succeeds.
        timeout: Seconds that one run may take.

    Raises:
        ConfigError: It cannot even be started.
    """
    found: list[Finding] = []
    stray, codes, huge = Finding("stray output"), Finding("exit code and success"), Finding("huge output")
    for case in cases(type, params):
        run = _run(command, case.line, timeout)
        found.append(_judged(case, run, timeout))
        if run.answer is not None:
            for finding, wrong in ((stray, _stray), (codes, _codes), (huge, _huge)):
                finding.violations += [f"{case.name}: {text}" for text in wrong(run.answer)]
    return [*found, stray, codes, huge, _terminated(command)]


def show(command: Sequence[str], findings: Sequence[Finding], as_json: bool) -> None:
    """Print what was found: a table and a line for each violation, or one JSON document."""
    wrong = [f"{finding.case}: {text}" for finding in findings for text in finding.violations]
    if as_json:
        items = [
            {
                "case": finding.case,
                "ok": not finding.violations,
                "exit_code": finding.exit_code,
                "seconds": finding.seconds,
                "violations": finding.violations,
            }
            for finding in findings
        ]
        documents.show({"command": list(command), "ok": not wrong, "cases": items})
        return
    head = ["CASE", "VERDICT", "EXIT", "TIME"]
    rows = [[f.case, "wrong" if f.violations else "ok", f.exit_code, span(f.seconds)] for f in findings]
    if sys.stdout.isatty():
        _show_colours(head, rows)
    else:
        print("\n".join(table(head, rows)))
    for text in wrong:
        print(text)
    print(f"{shlex.join(command)} " + (f"breaks the protocol: {len(wrong)} violations" if wrong else "conforms"))


def _show_colours(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(*(name.capitalize() for name in head))
    for name, verdict, code, time in rows:
        colour = "green" if verdict == "ok" else "bold red"
        shown.add_row(name, Text(verdict, colour), "-" if code is None else str(code), time)
    Console().print(shown)


def _run(command: Sequence[str], line: bytes, timeout: float) -> _Run:
    errors = Errors(_ignore)
    began = clock.now()
    with _started(command, line, errors) as program:
        answer = read_answer(program.ended) if program.wait(timeout) else None
    return _Run(answer, clock.now() - began, _last(errors))


def _started(command: Sequence[str], line: bytes | None, errors: Errors) -> Program:
    try:
        return Program(command, line, limit=OUTPUT_BYTES_MAX, on_error=errors.feed)
    except OSError as error:
        raise ConfigError(f"{command[0]} cannot be started: {error.strerror or error}") from None


def _ignore(text: str) -> None:
    """What a program writes to stderr is not shown while it runs: its last line is, where something is wrong."""


def _last(errors: Errors) -> str:
    return next((line.strip() for line in reversed(errors.tail.splitlines()) if line.strip()), "")


def _judged(case: Case, run: _Run, timeout: float) -> Finding:
    finding = Finding(case.name, seconds=run.seconds)
    if run.answer is None:
        finding.violations.append(f"no end within {timeout:g} s; read stdin to its end once, answer, and exit")
        return finding
    answer = run.answer
    finding.exit_code = answer.code
    said = f" (last on stderr: {run.last})" if run.last else ""
    if answer.code < 0:
        finding.violations.append(f"killed by signal {-answer.code}{said}")
    elif answer.broken:
        finding.violations.append(f"{answer.broken}{said}")
    elif not _fits(answer, case.expected):
        cure = "; name one that does with --type TYPE --params JSON" if case.expected is Expected.SUCCESS else ""
        finding.violations.append(f"expected: {case.expected.value}; {_told(answer)}{cure}")
    return finding


def _fits(answer: Answer, expected: Expected) -> bool:
    if expected is Expected.ANSWER:
        return True
    if expected is Expected.SUCCESS:
        return answer.success is True
    return answer.success is False and (expected is Expected.FAILURE or answer.code == NO_RETRY)


def _told(answer: Answer) -> str:
    if answer.success:
        return "it succeeded"
    return f"it failed with exit code {answer.code}: {answer.error.get('message')}"


def _stray(answer: Answer) -> list[str]:
    unreadable = answer.broken and answer.success is None and not answer.silent and not answer.overflowed
    return [answer.broken] if unreadable else []


def _codes(answer: Answer) -> list[str]:
    return [answer.broken] if answer.broken and answer.success is not None else list(answer.lapses)


def _huge(answer: Answer) -> list[str]:
    return [answer.broken] if answer.overflowed else []


def _terminated(command: Sequence[str]) -> Finding:
    """It waits for its task, and is told to end."""
    finding = Finding("SIGTERM")
    errors = Errors(_ignore)
    with _started(command, None, errors) as program:
        if program.wait(SETTLE_SECONDS):
            finding.violations.append("it ended without reading its task; read all of stdin first")
            return finding
        began = clock.now()
        program.terminate()
        if not program.wait(END_SECONDS):
            finding.violations.append(
                f"it still ran {END_SECONDS:g} s after SIGTERM and had to be killed; end, with exit code 130"
            )
            return finding
        finding.seconds = clock.now() - began
        finding.exit_code = program.ended.code
    if finding.exit_code in (DONE, NO_RETRY):
        finding.violations.append(
            f"told to end, it exited with {finding.exit_code}, as if the task were over; use 130, or just die of it"
        )
    return finding
