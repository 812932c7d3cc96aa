"""A terminal that is closed ends a program, unless `nohup` has told it to stay; some read their file again instead.

A supervisor hears of signals also while it opens a large database.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 30
PROGRAM = """\
import fcntl, signal, sys, termios
from workerhost.bin.signals import Events

fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if "nohup" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
events = Events(rereads="rereads" in sys.argv)
print("deaf" if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else "ready", flush=True)
while True:
    print(type(events.get()).__name__, flush=True)
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], ["Signalled", "Signalled"]),
        (["rereads"], ["Signalled", "Signalled"]),
        (["nohup"], ["Signalled"]),
        (["nohup", "rereads"], ["Hangup", "Signalled"]),
    ],
)
def test_a_program_outlives_its_terminal_where_told_so(words: list[str], said: list[str], tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    screen, terminal = os.openpty()
    running = subprocess.Popen(
        [sys.executable, program, *words], stdin=terminal, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert running.stdout is not None
        os.close(terminal)
        assert running.stdout.readline() == ("deaf\n" if words == ["nohup"] else "ready\n")
        os.close(screen)  # the kernel says so with SIGHUP
        if len(said) > 1:
            assert running.stdout.readline() == f"{said[0]}\n"
        running.send_signal(signal.SIGTERM)
        assert running.stdout.readline() == f"{said[-1]}\n"
    finally:
        running.kill()
        running.communicate(timeout=SECONDS)


SLOW = """\
import sqlite3, sys, threading
from workerhost.bin.main import main

hold, connect = threading.Event(), sqlite3.connect

def slow(*arguments, **more):
    print("opening", flush=True)
    hold.wait(60)
    return connect(*arguments, **more)

sqlite3.connect = slow
sys.argv[1:] = ["supervisor", "--bind", "tcp://127.0.0.1:0", "--database", "tasks.db"]
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_supervisor_that_opens_a_large_database_ends_when_it_is_told_to(number: int, tmp_path: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", SLOW], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "opening\n"
        running.send_signal(number)
        _, said = running.communicate(timeout=SECONDS / 2)
        assert (running.returncode, said) == (0, "")
    finally:
        running.kill()
        running.communicate(timeout=SECONDS)
