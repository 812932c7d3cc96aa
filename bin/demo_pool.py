"""The demonstration's pool: a supervisor and hosts, each a process of its own, joined over tcp, with a temporary queue.

Starts them, kills one when told to, and leaves nothing behind. What they log is kept in files and shown only when one
of them ends by itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ..transport.client import Client
from ..workers.errors import PoolUnreachable, WorkerHostError
from .up import free_address

START_SECONDS: Final = 30.0
"""What the start of three processes may take on a busy machine."""

END_SECONDS: Final = 5.0
"""What they may take to leave."""

LOG_LINES: Final = 12
PACKAGE: Final = __name__.partition(".")[0]
CODES: Final = (f"{PACKAGE}.workers.video", f"{PACKAGE}.workers.audio")


class DemoPool:
    """A supervisor and hosts while the `with` block runs.

    Args:
        folder: An empty folder for the queue, the logs and as the current folder of all processes.
        hosts: Their names.
        slots: How many tasks each of them runs at a time.

    Attributes:
        client: Talks to the pool.
        address: Where the supervisor listens.

    Raises:
        WorkerHostError: A process ended by itself, or the pool did not come up in time.
    """

    client: Client

    def __init__(self, folder: Path, hosts: Sequence[str], slots: int) -> None:
        self.address = free_address("tcp://127.0.0.1:0")
        self._folder, self._hosts, self._slots = folder, tuple(hosts), slots
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # What the user has set for pools of their own is none of this one's business.
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("WORKERHOST")}

    def __enter__(self) -> Self:
        try:
            self._start(
                "supervisor", "supervisor", "--bind", self.address, "--database", str(self._folder / "tasks.db")
            )
            for name in self._hosts:
                self._start(name, "host", "--join", self.address, "--name", name, "--slots", str(self._slots), *CODES)
            self.client = Client(self.address, timeout=START_SECONDS)
            self._wait_until_joined()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def hosts(self) -> dict[str, dict[str, Any]]:
        """What the supervisor knows of each host, by name.

        Raises:
            WorkerHostError: A process ended by itself.
        """
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise WorkerHostError(self._why_ended(name, process))
        try:
            return {host["name"]: host for host in self.client.hosts()}
        except PoolUnreachable as error:
            raise WorkerHostError(f"the demonstration's pool does not answer any more: {error}") from error

    def kill(self, name: str) -> None:
        """Kill a host with SIGKILL: it can neither finish nor say goodbye."""
        process = self._processes.pop(name)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def _start(self, name: str, *arguments: str) -> None:
        # -P: a file in the current folder cannot pose as a module of ours.
        command = [sys.executable, "-P", "-m", PACKAGE, *arguments, "--parent", str(os.getpid())]
        with self._log(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C at the terminal reaches only this process, which ends them in order
            )

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _wait_until_joined(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            joined = [host for host in self.hosts().values() if host["state"] == "joined" and host["types"]]
            if len(joined) == len(self._hosts):
                return
            failed = {why for host in joined for why in host["failed"].values()}
            if failed:
                raise WorkerHostError(f"a host of the demonstration cannot run its workers: {'; '.join(failed)}")
            time.sleep(0.05)
        raise WorkerHostError(f"the demonstration's hosts did not join within {START_SECONDS:g} s")

    def _why_ended(self, name: str, process: subprocess.Popen[bytes]) -> str:
        lines = self._log(name).read_text("utf-8", "replace").splitlines()[-LOG_LINES:]
        return f"the demonstration's {name} ended with code {process.returncode}: {' | '.join(lines) or 'no word'}"

    def _end(self) -> None:
        """End the hosts, then the supervisor; kill what does not leave."""
        if hasattr(self, "client"):
            self.client.close()
        supervisor = self._processes.pop("supervisor", None)
        for group in (list(self._processes.values()), [supervisor] if supervisor else []):
            for process in group:
                process.terminate()
            deadline = time.monotonic() + END_SECONDS
            for process in group:
                try:
                    process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self._processes.clear()
