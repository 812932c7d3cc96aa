"""A pool that other machines can reach, and those machines: each is a folder with identities of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
from waiting import until

from workerhost.transport.client import Client

SECONDS = 30.0
TASKS = """\
import time
from workerhost import worker


@worker("text.length")
def length(text: str) -> int:
    return len(text)


@worker("slow")
def slow(seconds: float) -> str:
    time.sleep(seconds)  # sleeps: the task is a slow one
    return "slept"
"""
CONFIG = "pool: {heartbeat: 200ms, lost_after: 2s}\n"


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Machine:
    """One machine: its own identities, its own programs.

    Args:
        folder: Where its files are.
        before: What every program of it is started through, such as `nsenter`.
    """

    def __init__(self, folder: Path, before: tuple[str, ...] = ()) -> None:
        folder.mkdir()
        (folder / "tasks.py").write_text(TASKS)
        (folder / "pool.yaml").write_text(CONFIG)
        self.folder, self.before, self.home = folder, before, folder / "home"
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("WORKERHOST")}
        self.environ["WORKERHOST__MONITORING__HTTP"] = "null"  # no dashboard: these tests are of the pool alone
        self.environ["WORKERHOST_HOME"] = str(self.home)
        self.running: list[subprocess.Popen[bytes]] = []

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [*self.before, sys.executable, "-m", "workerhost", *arguments]

    def ask(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            self._command(arguments), cwd=self.folder, env={**self.environ, **environment},
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip

    def answer(self, *arguments: str, **environment: str) -> Any:
        """What a command that must succeed says as JSON."""
        done = self.ask(*arguments, **environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def client(self, address: str, timeout: float = SECONDS) -> Client:
        """A client in this process that has this machine's identities."""
        with patch.dict(os.environ, {"WORKERHOST_HOME": str(self.home)}):
            return Client(address, timeout=timeout)

    def start(self, *arguments: str, **environment: str) -> Program:
        """Start a program that stays."""
        log = self.folder / f"{arguments[0]}-{len(self.running)}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                self._command(arguments), cwd=self.folder, env={**self.environ, **environment},
                stdout=stream, stderr=stream,
            )  # fmt: skip
        self.running.append(process)
        return Program(process, log)

    def discard(self) -> None:
        """Leave nothing behind, whatever happened."""
        for process in self.running:
            family: list[Any] = [process]
            if process.poll() is None:
                family += psutil.Process(process.pid).children(recursive=True)
            for one in family:
                try:
                    one.kill()
                except (psutil.NoSuchProcess, ProcessLookupError):
                    continue
            process.wait(10)


class Program:
    """A program that stays."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text(errors="replace")

    def says(self, text: str) -> None:
        """Wait until it has said something."""
        until(lambda: text in self.log() or self.process.poll() is not None, f"it says {text!r}", show=self.log)
        assert text in self.log(), self.log()

    def ends(self) -> int:
        """Wait until it ends; its exit code."""
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end\n{self.log()}") from None

    def kill(self) -> None:
        """At once, and without a word."""
        self.process.kill()
        self.process.wait(10)


class NetworkPool:
    """A supervisor's machine, whose supervisor other machines can reach."""

    def __init__(self, machine: Machine, where: str = "127.0.0.1") -> None:
        self.machine = machine
        self.port = free_port()
        self._admin: Client | None = None
        self.address = f"tcp://{where}:{self.port}"
        self.supervisor = self.start()

    def start(self) -> Program:
        """Start the supervisor, also once more."""
        bind = f"tcp://0.0.0.0:{self.port}"
        started = self.machine.start("supervisor", "--network", "--bind", bind, "-c", "pool.yaml")
        started.says("the supervisor listens at")
        self.supervisor = started
        return started

    @property
    def admin(self) -> Client:
        """Who started the supervisor may do everything; its connection finds a supervisor that is started again."""
        if self._admin is None:
            self._admin = self.machine.client(f"tcp://127.0.0.1:{self.port}")
        return self._admin

    def invite(self, role: str, *options: str) -> str:
        """An invitation's text."""
        where = ("--address", self.address.removeprefix("tcp://"))
        here = f"tcp://127.0.0.1:{self.port}"
        made = self.machine.answer("invite", "--role", role, *where, "--json", *options, WORKERHOST_ADDRESS=here)
        return made["invitation"]

    def joined(self, name: str) -> bool:
        """Whether a host of this name is there."""
        return any((host["name"], host["state"]) == (name, "joined") for host in self.admin.hosts())

    def revoke(self, role: str, name: str = "") -> None:
        """Revoke all identities of a role whose name begins so."""
        for one in self.admin.keys()["identities"]:
            if one["role"] == role and one["name"].startswith(name):
                self.admin.revoke(one["key"])

    def discard(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self._admin is not None:
            self._admin.__exit__(AssertionError, None, None)
        self.machine.discard()
