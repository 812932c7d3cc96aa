"""A terminal that is closed ends a program, unless `nohup` has told it to stay; some read their file again instead."""

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
