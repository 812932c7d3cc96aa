"""One worker whose tasks end in every way that an attempt can: which one, their type says. All write before it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import Any

from workerhost import BaseWorker, Release, Result, Task


class Dies(BaseWorker):
    """Takes all types below `dies`."""

    type = "dies"

    def can_handle(self, task: Task) -> bool:
        return task.type.startswith("dies.")

    def execute(self, task: Task) -> Any:
        print(f"the last words of {task.type}", flush=True)
        return getattr(self, task.type.rpartition(".")[2])()

    def raises(self) -> None:
        raise ValueError("so it goes")

    def fails(self) -> Result:
        return Result(success=False, error="there is no such page", retry=False)

    def hangs(self) -> None:
        signal.pause()

    def stalls(self) -> None:
        self.report_progress(0.5)
        signal.pause()

    def crashes(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)
        signal.pause()

    def shot(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def exits(self) -> None:
        os._exit(3)

    def eats(self) -> None:
        hoard = [b"x" * (8 << 20) for _ in range(64)]
        signal.pause()
        del hoard

    def forks(self) -> None:
        while True:
            if not os.fork():
                signal.pause()

    def burns(self) -> None:
        while True:
            pass

    def floods(self) -> None:
        while True:
            os.write(1, b"x" * 1000 + b"\n")

    def bursts(self) -> bytes:
        return bytes(5 << 20)

    def babbles(self) -> None:
        for number in range(3, 64):
            try:
                control = socket.socket(fileno=os.dup(number))
            except OSError:
                continue
            if control.family == socket.AF_UNIX:
                control.sendall(b"\xff" * 16)
            control.close()
        signal.pause()

    def declines(self) -> int:
        assert self.task is not None
        if self.task.attempt == 1:
            raise Release("not at this time")
        return self.task.attempt

    def waits(self) -> int:
        """Runs until its process is ended, but not the second time."""
        assert self.task is not None
        if self.task.attempt == 1:
            open("begun", "w").close()  # noqa: PTH123
            threading.Event().wait()  # in a thread of its own, where there are threads
        return self.task.attempt
