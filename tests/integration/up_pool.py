"""What a test of commands on a pool needs: one that `up` keeps in a folder of its own, and a hand to ask it."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from waiting import until

SECONDS = 30


class Up:
    """A pool that `up` keeps, in a folder of its own."""

    def __init__(self, folder: Path, config: str, *options: str, **files: str) -> None:
        self.folder, self.file, self.log = folder, folder / "workerhost.yaml", folder / "up.log"
        self.file.write_text(config)
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("WORKERHOST")}
        self.environ["WORKERHOST_HOME"] = str(folder / "home")
        if "monitoring" not in config:
            self.environ["WORKERHOST__MONITORING__HTTP"] = "null"  # no dashboard: the test is of the pool alone
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workerhost", "up", "--address", "tcp://127.0.0.1:*", *options],
                cwd=folder, env=self.environ, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(SECONDS):
                self.discard()
                raise AssertionError(self.log.read_text())
        self.address = self.process.stdout.readline().split()[-1]

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the pool."""
        return subprocess.run(
            [sys.executable, "-m", "workerhost", *command],
            cwd=self.folder, env={**self.environ, "WORKERHOST_ADDRESS": self.address},
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip

    def answer(self, *command: str) -> Any:
        """The JSON document that a command prints."""
        asked = self.ask(*command, "--json")
        assert asked.stdout, (asked.stderr, self.log.read_text())
        return json.loads(asked.stdout)

    def until(self, look: Callable[[], Any], what: str) -> None:
        """Wait for something that its processes do; a failure shows what they have logged."""
        until(look, what, show=self.log.read_text)

    def until_logged(self, text: str) -> None:
        """Wait for something to stand in the log of all that `up` keeps."""
        self.until(lambda: text in self.log.read_text(), f"it logs {text!r}")

    def discard(self) -> None:
        """Leave nothing behind."""
        try:
            family = [self.process, *psutil.Process(self.process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            family = []
        for one in family:
            try:
                one.kill()
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
        self.process.wait(SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()
