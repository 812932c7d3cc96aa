"""`check worker`, run on programs that keep the protocol and on programs that break it in one way each."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from workerhost.bin import check
from workerhost.bin.main import run

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "command"

GOOD = """\
import json, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
def out(document, code):
    print(json.dumps(document))
    sys.exit(code)
def bad(message):
    out({"success": False, "error": {"type": "Invalid", "message": message, "retry_possible": False}}, 2)
try:
    task = json.loads(sys.stdin.buffer.read())
except ValueError:
    bad("no JSON")
for name in ("id", "type", "params"):
    if name not in task: bad("no " + name)
if task["type"] != "text.length": bad("no such type")
RESULT
"""
ANSWER = 'out({"success": True, "result": len(task["params"].get("text", ""))}, 0)'


def checked(
    capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, list[str]], dict[str, int | None]]:
    """Exit code, and by case: what is wrong, the program's exit code."""
    code = run(["check", "worker", "--json", *arguments])
    document = json.loads(capsys.readouterr().out)
    cases = document["cases"]
    assert document["ok"] == (code == 0) == all(case["ok"] == (not case["violations"]) and case["ok"] for case in cases)
    return code, {c["case"]: c["violations"] for c in cases}, {c["case"]: c["exit_code"] for c in cases}


@pytest.mark.parametrize("program", ["length.py", "length.sh", "length.js"])
def test_the_examples_conform(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    interpreter = {"py": sys.executable, "sh": "bash", "js": "node"}[program[-2:]]
    for needed in [interpreter, *(["jq"] if interpreter == "bash" else [])]:
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed here")
    code, violations, codes = checked(capsys, interpreter, str(EXAMPLES / program))
    assert (code, {case: found for case, found in violations.items() if found}) == (0, {})
    assert list(codes) == [
        "valid task", "missing id", "missing type", "missing params", "unknown type", "empty params", "half a task",
        "unicode", "large task", "stray output", "exit code and success", "huge output", "SIGTERM",
    ]  # fmt: skip
    assert (codes["valid task"], codes["missing id"], codes["unicode"]) == (0, 2, 0)


@pytest.mark.parametrize(
    ("change", "wrong", "words"),
    [
        (("RESULT", "print('hello')\n" + ANSWER), {"stray output", "valid task", "large task"}, "'hello"),
        (("RESULT", ANSWER[:-2] + "1)"), {"exit code and success", "valid task"}, "exit with 0"),
        (("RESULT", 'sys.stdout.write("x" * 20_000_000)'), {"huge output", "valid task"}, "more than 8 MiB on stdout"),
        (("RESULT", ""), {"valid task", "empty params"}, "no result on stdout"),
        (("RESULT", "undefined()"), {"valid task"}, "last on stderr: NameError: name 'undefined' is not defined"),
        (("RESULT", "import os\nos.abort()"), {"valid task"}, "killed by signal 6"),
        (("RESULT", 'sys.stdout.buffer.write(b"{\\xff")'), {"stray output", "valid task"}, "not UTF-8"),
        (('"type", "params"', '"params"'), {"missing type"}, "last on stderr: KeyError: 'type'"),
        (('if task["type"] !=', "if 0 and 1 !="), {"unknown type"}, "expected: it fails (exit code 1 or 2); it"),
        (("}}, 2)", "}}, 1)"), {"missing id", "half a task", "exit code and success"}, "expected: it fails for good"),
        (('"retry_possible": False', '"retry_possible": True'), {"exit code and success"}, "possible is true and"),
        (("sys.exit(130)", "sys.exit(0)"), {"SIGTERM"}, "told to end, it exited with 0"),
        (("import json", "1/0 #"), {"valid task", "SIGTERM"}, "it ended without reading its task"),
    ],
)  # fmt: skip
def test_a_program_that_breaks_the_protocol_is_told_where(
    change: tuple[str, str],
    wrong: set[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "SIGTERM" not in wrong:
        monkeypatch.setattr(check, "SETTLE_SECONDS", 0.05)
    program = tmp_path / "program.py"
    assert change[0] in GOOD
    program.write_text(GOOD.replace(*change).replace("RESULT", ANSWER))
    code, violations, _ = checked(capsys, "--params", '{"text": "abc"}', sys.executable, str(program))

    assert code == 1
    assert wrong <= {case for case, found in violations.items() if found}
    assert words in " ".join(text for case in wrong for text in violations[case])


def test_a_program_that_hangs_is_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "END_SECONDS", 0.3)
    program = tmp_path / "program.sh"
    program.write_text("trap '' TERM\ncat >/dev/null\nwhile :; do :; done\n")
    code, violations, codes = checked(capsys, "--timeout", "100ms", "sh", str(program))

    assert code == 1
    assert violations["valid task"] == ["no end within 0.1 s; read stdin to its end once, answer, and exit"]
    assert "had to be killed; end, with exit code 130" in violations["SIGTERM"][0]
    assert codes["valid task"] is codes["SIGTERM"] is None


def test_a_table_and_a_line_for_each_violation(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "worker", "sh", "-c", "cat >/dev/null; exit 3"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["CASE", "VERDICT", "EXIT", "TIME"]
    assert lines[1].split()[:4] == ["valid", "task", "wrong", "3"]
    assert any(line.startswith("missing id: no result on stdout; print one JSON object") for line in lines)
    assert lines[-1].startswith("sh -c 'cat >/dev/null; exit 3' breaks the protocol: ")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["no-such-program"], 78, "no-such-program cannot be started: No such file or directory"),
        (["--type", "a b", "sh"], 2, "'a b' is not a type"),
        (["--params", "{", "sh"], 2, "is not JSON"),
        (["--timeout", "soon", "sh"], 2, "--timeout 'soon'"),
        ([], 2, "Missing argument"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "worker", *arguments]) == code
    assert words in capsys.readouterr().err
