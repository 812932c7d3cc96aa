"""Tasks that behave in every way a pool must survive. They note what they do in a file that the test reads."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from workerhost import BaseWorker, Task, worker


def trace(what: str, task: Task, **more: Any) -> None:
    """Add a line to the file of traces; short enough to be written as a whole."""
    known = {"id": task.id, "attempt": task.attempt, "fence": task.fence, "pid": os.getpid(), "host": os.getppid()}
    at = time.clock_gettime(time.CLOCK_BOOTTIME)
    with open("trace", "a", encoding="utf-8") as file:  # noqa: PTH123
        file.write(json.dumps({"what": what, "at": at, **known, **more}) + "\n")


class Traced(BaseWorker):
    """Notes its start."""

    def execute(self, task: Task) -> Any:
        trace("start", task)
        return self.work(task) or {"fence": task.fence, "attempt": task.attempt, "pid": os.getpid()}

    def work(self, task: Task) -> Any:
        """What it does then."""


class Quick(Traced):
    """Ends at once."""

    type = "quick"


class Gated(Traced):
    """Waits for a file."""

    type = "gated"

    def work(self, task: Task) -> None:
        gate = Path(str(task.params["gate"]))
        ticks = 0
        while not gate.exists():
            time.sleep(0.005)  # sleeps: the task is one that takes long
            ticks += 1
            if ticks % 20 == 0:
                trace("tick", task)
                self.report_progress(0.5, "waiting")


class Patient(Traced):
    """Takes its time."""

    type = "patient"

    def work(self, task: Task) -> None:
        time.sleep(float(task.params["seconds"]))  # sleeps: the task is a slow one


class Poison(Traced):
    """Kills its process, unless the cure is there."""

    type = "poison"

    def work(self, task: Task) -> None:
        print("the last words of task", task.id, flush=True)
        if not Path("cure").exists():
            os.kill(os.getpid(), signal.SIGSEGV)
            signal.pause()


class Exits(Traced):
    """Leaves its process with an exit code."""

    type = "exits"

    def work(self, task: Task) -> None:
        print("before the exit", file=sys.stderr, flush=True)
        os._exit(int(task.params["code"]))


class Deaf(Traced):
    """Ignores SIGTERM, in a call of C that never returns to Python."""

    type = "deaf"

    def work(self, task: Task) -> None:
        print("deaf from now on", flush=True)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        libc = ctypes.PyDLL(None)  # PyDLL keeps the lock of the interpreter: no other thread of this process runs
        while True:
            libc.sleep(1000)  # sleeps: this is the task


class Daemon(Traced):
    """Leaves a grandchild behind: a double fork with a session of its own."""

    type = "daemon"

    def work(self, task: Task) -> Any:
        program = "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n"
        program += "  open('daemon', 'w').write(str(os.getpid()))\n  time.sleep(600)\n"
        subprocess.run([sys.executable, "-c", program], check=True)
        while not Path("daemon").exists() or not Path("daemon").read_text():
            time.sleep(0.005)  # sleeps: the grandchild needs a moment to begin
        return {"daemon": int(Path("daemon").read_text()), "fence": task.fence, "attempt": task.attempt}


class Messy(BaseWorker):
    """Leaves a file and a process of another session behind when it kills its own."""

    type = "messy"

    def execute(self, task: Task) -> Any:
        (self.workdir / "large").write_bytes(b"x" * 10_000)
        daemon = subprocess.Popen(["sleep", "600"], start_new_session=True)
        trace("mess", task, daemon=daemon.pid)
        os.kill(os.getpid(), signal.SIGKILL)


class Noisy(Traced):
    """Writes far more than anybody wants to read, without a newline and in no encoding."""

    type = "noisy"

    def work(self, task: Task) -> None:
        junk = bytes(range(256)).replace(b"\n", b"") * 4096
        for _ in range(int(task.params["megabytes"])):
            os.write(1, junk)


class Vandal(Traced):
    """Writes garbage, or half a frame, on every socket that its process has."""

    type = "vandal"

    def work(self, task: Task) -> None:
        for number in range(3, 64):
            try:
                control = socket.socket(fileno=os.dup(number))
            except OSError:
                continue
            if control.family == socket.AF_UNIX:
                control.sendall(bytes.fromhex(str(task.params["bytes"])))
            control.close()
        if not task.params["ends"]:
            signal.pause()


@worker("nothing")
def nothing() -> None:
    """End as soon as it began."""


@worker("boom")
def boom(text: str) -> None:
    """Raise, after some output."""
    print("about to fail:", text)
    raise ValueError(text)
