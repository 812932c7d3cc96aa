"""New code in a pool that runs: `reload`, `up --reload`, and `types` when hosts serve different code."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from integration.up_pool import SECONDS, Up  # pyright: ignore[reportMissingImports]

WORDS = """\
from workerhost import worker


@worker("text.word")
def word():
    return "old"
"""


@pytest.fixture
def start(tmp_path: Path) -> Generator[Callable[..., Any]]:
    with ExitStack() as stack:

        def start(*options: str) -> Any:
            pool = Up(tmp_path, "host: {slots: 1, name: one}\n", *options, "words.py", words=WORDS)
            stack.callback(pool.discard)
            return pool

        yield start


def value(pool: Any) -> str:
    return pool.answer("send", "text.word", "--wait")["result"]


def test_reload_serves_new_code_and_says_which(start: Callable[..., Any]) -> None:
    pool = start()
    assert value(pool) == "old"
    (pool.folder / "words.py").write_text(WORDS.replace("old", "newer"))
    asked = pool.ask("reload")
    assert asked.returncode == 0, asked.stderr
    assert re.fullmatch(r"one serves new code of text.word: [0-9a-f]{8} -> [0-9a-f]{8}\n", asked.stdout)
    assert value(pool) == "newer"
    assert pool.ask("reload", "text").stdout == "one has loaded everything anew; no worker's file has changed\n"
    asked = pool.ask("reload", "no such host")
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "is neither a host that has joined nor a type" in asked.stderr


def test_reload_of_broken_code_changes_nothing_and_names_file_and_line(start: Callable[..., Any]) -> None:
    pool = start()
    assert value(pool) == "old"
    (pool.folder / "words.py").write_text(WORDS + "def f(:\n")
    asked = pool.ask("reload", "one")
    place = f"{pool.folder / 'words.py'}:{len(WORDS.splitlines()) + 1}"
    assert (asked.returncode, asked.stdout) == (
        1,
        f"one keeps the old code of words.py: words.py: SyntaxError: invalid syntax ({place})\n",
    )
    assert value(pool) == "old"


def test_up_that_watches_serves_what_is_saved_and_keeps_what_ran_when_that_is_broken(start: Callable[..., Any]) -> None:
    pool = start("--reload")
    assert value(pool) == "old"
    (pool.folder / "words.py").write_text(WORDS + "def f(:\n")
    pool.until_logged("old_code_kept")
    (line,) = [line for line in pool.log.read_text().splitlines() if "old_code_kept" in line]
    assert f"words.py:{len(WORDS.splitlines()) + 1}" in line
    assert value(pool) == "old"
    (pool.folder / "words.py").write_text(WORDS.replace("old", "newer"))
    pool.until_logged("code_reloaded")
    assert value(pool) == "newer"


def test_types_names_hosts_that_serve_different_code(start: Callable[..., Any], tmp_path: Path) -> None:
    pool = start()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "words.py").write_text(WORDS.replace("old", "other"))
    assert "different code" not in pool.ask("types").stdout
    other = subprocess.Popen(
        [sys.executable, "-m", "workerhost", "host", "--join", pool.address, "--name", "two", "words.py"],
        cwd=elsewhere, env=pool.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        pool.until(lambda: len(pool.answer("hosts")["hosts"]) == 2, "the other host joins")
        said = pool.ask("types").stdout
        (line,) = [line for line in said.splitlines() if "different code" in line]
        assert re.search(
            r"^text.word is served from different code: [0-9a-f]{8} on (one|two); [0-9a-f]{8} on (one|two)$", line
        )
    finally:
        family = [other, *psutil.Process(other.pid).children(recursive=True)]
        for process in family:
            process.kill()
        other.wait(SECONDS)
