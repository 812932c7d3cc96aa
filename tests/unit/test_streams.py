"""A program whose words cannot be written does what it has to; one whose data cannot be written ends with 74."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

SECONDS = 30
FULL = Path("/dev/full")
WORDS = """
from workerhost.bin.streams import open_streams
open_streams()
from workerhost.actors.log import Log
from workerhost.bin import exits, logs, progress
exits.say("a word")
with progress.bar("waiting", 3) as bar:
    bar.update(1)
logs.set_up("INFO", "auto")
Log("host").info("host_joined", text="x" * 100_000)
Log("host").info("host_joined")
exits.report(RuntimeError("a bug"))
print("done")
"""
VERSION = "-m", "workerhost", "--version"
MISTAKE = "-m", "workerhost", "nosuch"


def program(*arguments: str, stdout: int | IO[bytes], stderr: int | IO[bytes]) -> tuple[int, str, str]:
    """Run Python: (exit code, stdout, stderr). A pipe is one that is read."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run(
        [sys.executable, *arguments],
        env=environ, stdout=stdout, stderr=stderr, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    return ended.returncode, ended.stdout or "", ended.stderr or ""


def without(descriptor: int, *arguments: str) -> tuple[int, str, str]:
    """Run Python with a standard stream that was closed before."""
    close = f"import os, sys; os.close({descriptor}); os.execv(sys.executable, [sys.executable, *{arguments}])"
    return program("-c", close, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture
def full() -> Iterator[int]:
    """A disk without room."""
    if not FULL.exists():
        pytest.skip("no /dev/full")
    writes = os.open(FULL, os.O_WRONLY)
    yield writes
    os.close(writes)


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe whose reader has left."""
    reads, writes = os.pipe()
    os.close(reads)
    yield writes
    os.close(writes)


@pytest.fixture
def crowded() -> Iterator[int]:
    """A pipe that nobody empties, and that somebody has told not to wait."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    yield writes
    os.close(reads)
    os.close(writes)


@pytest.mark.parametrize(("where", "options"), [("full", ()), ("full", ("-u",)), ("unread", ()), ("crowded", ())])
def test_words_that_cannot_be_written_are_lost_and_nothing_else(
    request: pytest.FixtureRequest, where: str, options: tuple[str, ...]
) -> None:
    stderr = request.getfixturevalue(where)
    assert program(*options, "-c", WORDS, stdout=subprocess.PIPE, stderr=stderr) == (0, "done\n", "")


def test_words_that_can_be_written_are() -> None:
    code, data, said = program("-c", WORDS, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (code, data) == (0, "done\n")
    assert said.startswith("workerhost: a word\nwaiting: 1 of 3\n")
    assert said.count('"host_joined"') == 2
    assert "RuntimeError: a bug\n" in said


def test_a_mistake_that_cannot_be_told_is_still_a_mistake(full: int) -> None:
    assert program(*MISTAKE, stdout=subprocess.PIPE, stderr=full) == (2, "", "")


def test_words_get_among_no_data_where_stderr_was_closed() -> None:
    assert without(2, *MISTAKE) == (2, "", "")


def test_data_that_cannot_be_written_is_an_error(full: int) -> None:
    said = "workerhost: [Errno 28] No space left on device\n"
    assert program(*VERSION, stdout=full, stderr=subprocess.PIPE) == (74, "", said)


def test_a_stdout_that_was_closed_takes_no_data() -> None:
    assert without(1, *VERSION) == (74, "", "workerhost: [Errno 9] Bad file descriptor\n")
