"""Supervisors of a test's own, with no host beside them, and programs that are their clients."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from workerhost.actors.core.settings import PoolSettings
from workerhost.actors.supervisor import Supervisor, SupervisorSettings

PROGRAM_SECONDS = 20.0


class Supervisors:
    """Starts supervisors, one after the other; called with an address and settings, it says the real address."""

    def __init__(self) -> None:
        self.started: list[Supervisor] = []

    def __call__(self, address: str = "tcp://127.0.0.1:0", *, database: Path | None = None, **settings: Any) -> str:
        pool = replace(PoolSettings(heartbeat=0.2, lost_after=2.0), **settings)
        self.started.append(Supervisor.start(SupervisorSettings(address=address, database=database, pool=pool)))
        return self.started[-1].address

    def stop(self) -> None:
        self.started.pop().stop()


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program to which a warning is an error."""
    command = [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False)
