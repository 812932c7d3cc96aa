"""The programs in bin/ make their own environment: once, for whoever comes first, and again when something changed.

Python is real here; only `python -m venv` and `python -m pip` are stand-ins that write down their calls, so that
no test needs a network.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(__file__).resolve().parents[2] / "bin"

STAND_IN = f"""#!/bin/sh
case "$1 $2" in
"-m venv") echo venv >>"$CALLS"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
"-m pip") echo "pip $*" >>"$CALLS"; if [ "$GATE" ]; then read -r _ <"$GATE"; fi; exit "${{PIP_EXIT:-0}}" ;;
*) exec "{sys.executable}" "$@" ;;
esac
"""

TOO_OLD = '#!/bin/sh\ncase "$2" in *print*) echo 3.9 ;; *) exit 1 ;; esac\n'
WITHOUT_VENV = '#!/bin/sh\ncase "$2" in *print*) echo 3.12 ;; *ensurepip*) exit 1 ;; esac\n'


class Clone:
    """A clone with one program that needs the environment, and a PATH with only the Python it is given."""

    def __init__(self, folder: Path, python: str | None = STAND_IN) -> None:
        self.root = folder / "a clone"
        self.path = folder / "path"
        self.calls = folder / "calls"
        (self.root / "bin").mkdir(parents=True)
        self.path.mkdir()
        (self.root / "pyproject.toml").write_text("[project]\n")
        shutil.copy(BIN / "environment.sh", self.root / "bin")
        self.program = executable(
            self.root / "bin" / "program",
            '#!/bin/sh\n. "$(dirname -- "$(readlink -f -- "$0")")/environment.sh"\nneed "${1:-media}"\necho "$root"\n',
        )
        for tool in ("cat", "cksum", "cp", "date", "dirname", "ln", "mkdir", "readlink", "rm"):
            (self.path / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
        if python is not None:
            executable(self.path / "python3", python)

    def start(self, *arguments: str, program: Path | None = None, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [program or self.program, *arguments],
            cwd="/",
            env={"PATH": str(self.path), "CALLS": str(self.calls), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, program: Path | None = None, **environment: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        process = self.start(*arguments, program=program, **environment)
        output, errors = process.communicate(timeout=30)
        return process.returncode, output, errors

    def called(self) -> list[str]:
        """What stand-ins were called since the last question: `venv`, or `pip` and what it was to install."""
        calls = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return [" ".join([call.split()[0], *call.split("a clone")[1:]]) for call in calls]


def executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_it_is_made_the_first_time_and_left_alone_afterwards(clone: Clone):
    code, output, errors = clone.run()
    assert (code, output) == (0, f"{clone.root}\n")
    assert "making" in errors
    assert clone.called() == ["venv", "pip [media]"]
    assert clone.run() == (0, f"{clone.root}\n", "")
    assert clone.called() == []


def test_through_a_link_it_is_the_same_clone(clone: Clone, tmp_path: Path):
    clone.run()
    link = tmp_path / "link"
    link.symlink_to(clone.program)
    assert clone.run(program=link) == (0, f"{clone.root}\n", "")


def test_what_is_for_development_also_runs_the_pool(clone: Clone):
    clone.run("dev,media")
    assert clone.called() == ["venv", "pip [dev,media]"]
    clone.run("media")
    assert clone.called() == []


def test_a_changed_pyproject_is_installed_into_the_same_environment(clone: Clone):
    clone.run()
    clone.called()
    (clone.root / "pyproject.toml").write_text("[project]\nname = 'changed'\n")
    clone.run()
    assert clone.called() == ["pip [media]"]


def test_a_moved_clone_makes_a_new_one(clone: Clone):
    clone.run()
    clone.called()
    moved = clone.root.with_name("moved to a clone")
    clone.root.rename(moved)
    assert clone.run(program=moved / "bin" / "program")[:2] == (0, f"{moved}\n")
    assert clone.called() == ["venv", "pip [media]"]


def test_what_failed_is_tried_again(clone: Clone):
    code, output, errors = clone.run(PIP_EXIT="1")
    assert (code, output) == (1, "")
    assert "Is PyPI reachable?" in errors
    clone.called()
    assert clone.run()[0] == 0
    assert clone.called() == ["pip [media]"]


def test_of_two_at_once_one_makes_it_and_the_other_waits(clone: Clone, tmp_path: Path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    first = clone.start(GATE=str(gate))
    assert first.stderr
    assert "making" in first.stderr.readline()
    second = clone.start()
    assert second.stderr
    assert "waiting" in second.stderr.readline()
    gate.write_text("go on\n")
    for process in (first, second):
        output, _ = process.communicate(timeout=30)
        assert (process.returncode, output) == (0, f"{clone.root}\n")
    assert clone.called() == ["venv", "pip [media]"]


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        (None, "no python3 was found in PATH"),
        (TOO_OLD, "python3 is 3.9, too old"),
        (WITHOUT_VENV, "has no venv: install it (Debian, Ubuntu: apt install python3.12-venv)"),
    ],
)
def test_a_machine_without_a_fitting_python_is_told_in_one_line(tmp_path: Path, python: str | None, reason: str):
    code, output, errors = Clone(tmp_path, python).run()
    assert (code, output) == (1, "")
    assert errors.startswith("program: needs Python 3.11 or newer with venv and pip; ")
    assert errors.endswith(reason + "\n")
    assert errors.count("\n") == 1


def test_an_older_python_beside_a_fitting_one_is_passed_over(tmp_path: Path):
    clone = Clone(tmp_path, TOO_OLD)
    executable(clone.path / "python3.12", STAND_IN)
    assert clone.run()[0] == 0
