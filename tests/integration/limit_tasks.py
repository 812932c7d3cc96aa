"""Tasks that use more than they may, and some that only seem to."""

from __future__ import annotations

import os
import time
from typing import Any

from workerhost import BaseWorker, Task, worker


@worker("tame")
def tame() -> int:
    """Use nothing to speak of."""
    return os.getpid()


@worker("limited.eats")
def eat(mebibytes: int) -> None:
    """Fill memory, and keep it."""
    hoard: list[bytes] = []
    for _ in range(mebibytes // 8):
        hoard.append(b"x" * (8 << 20))
    time.sleep(30)  # sleeps: it keeps the memory


@worker("limited.shares")
def share(mebibytes: int) -> int:
    """Fill memory, and have four more processes that see the same."""
    hoard = b"x" * (mebibytes << 20)
    children: list[int] = []
    for _ in range(4):
        pid = os.fork()
        if not pid:
            time.sleep(0.5)  # sleeps: for it to be measured
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    return len(hoard)


@worker("limited.forks")
def fork() -> None:
    """Start processes without end."""
    while True:
        if not os.fork():
            time.sleep(60)  # sleeps: it is there to be counted


@worker("limited.burns")
def burn() -> None:
    """Keep a processor busy."""
    while True:
        pass


@worker("limited.writes")
def write() -> None:
    """Write without end."""
    while True:
        os.write(1, b"x" * 65536)


class Silent(BaseWorker):
    """Reports progress for a while, and then no more."""

    type = "silent"

    def execute(self, task: Task) -> Any:
        for _ in range(task.params["reports"]):
            self.report_progress(0.5)
            time.sleep(0.2)  # sleeps: the task is a slow one
        while not self.cancelled:
            time.sleep(0.01)  # sleeps: the task is a slow one


WORKERS = [tame, eat, share, fork, burn, write, Silent]
