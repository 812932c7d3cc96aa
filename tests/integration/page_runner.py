"""Does what a page of the documents says, as its reader would: top to bottom, in one empty folder, in one shell.

- ```console: lines that begin with `$ ` are typed, the lines below are what must be seen. `...` stands for anything, a
  line of only `...` for any lines. A command that ends in ` &` goes on in the background, and once a pool is meant to
  listen, the next command waits until it does.
- ```sh: a script; every command of it must succeed.
- ```python, ```yaml and others whose first line is a comment with a file's name (`# tasks.py`): that file's content.
- ```python without one: a program, run with the pool's address in the environment.
- ```yaml without one: a configuration, or a part of one, that must load.
- ```text: something to look at.

`<!-- not run: REASON -->` on the line above a block: not run, for that reason.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml
from waiting import until

from workerhost.config.loading import check

BLOCK = re.compile(r"^(?:<!-- (not run: .+?) -->\n)?```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^(?:#|//|--|;) ([\w./-]+\.\w+|Dockerfile)\n")
PORTS = ("7470", "7471")
SECONDS = 60


@dataclass(frozen=True)
class Block:
    """A block of a page: where it begins, its language and text, and why it is not run, if it is not."""

    line: int
    language: str
    text: str
    not_run: str


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    found: list[Block] = []
    for match in BLOCK.finditer(page):
        line = page.count("\n", 0, match.start(2)) + 1
        found.append(Block(line, match[2], match[3], match[1] or ""))
    return found


def matches(seen: str, expected: str) -> bool:
    """Whether an output is the expected one, in which `...` stands for anything."""
    seen_lines = [line.rstrip() for line in seen.strip("\n").splitlines()]
    wanted = [line.rstrip() for line in expected.strip("\n").splitlines()]
    reached = {0}  # how many of the seen lines the wanted ones so far may stand for
    for line in wanted:
        if line == "...":
            reached = set(range(min(reached), len(seen_lines) + 1)) if reached else reached
            continue
        pattern = re.compile(re.escape(line).replace(r"\.\.\.", ".*"))
        reached = {at + 1 for at in reached if at < len(seen_lines) and pattern.fullmatch(seen_lines[at])}
    return len(seen_lines) in reached


def free_ports() -> tuple[int, int]:
    """Two ports that nobody listens at."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


class Reader:
    """Follows a page in a folder, with a shell of its own. Close it: it ends whatever it began."""

    def __init__(self, folder: Path, ports: tuple[int, int]) -> None:
        self.folder = folder
        self.ports = dict(zip(PORTS, map(str, ports), strict=True))
        self.address = f"tcp://127.0.0.1:{ports[0]}"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("WORKERHOST")}
        environ |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "WORKERHOST_HOME": str(folder / "home" / "workerhost"),
            "WORKERHOST_ADDRESS": self.address,
            "WORKERHOST__POOL__BIND": self.address,
            "WORKERHOST__MONITORING__HTTP": f"127.0.0.1:{ports[1]}",
            "COLUMNS": "120",
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_COLOR": "1",
        }
        (folder / "home").mkdir()
        self.environ = environ
        self.shell = subprocess.Popen(
            ["bash", "--norc"], cwd=folder, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=(folder / "home" / "shell.log").open("wb"), bufsize=0, start_new_session=True,
        )  # fmt: skip
        self._unheard = b""
        self.hosts = 0

    def follow(self, page: str) -> None:
        """Do all that a page says."""
        for block in blocks(page):
            if not block.not_run:
                self.do(block)

    def do(self, block: Block) -> None:
        """Do what one block says, and compare what is seen."""
        where = f"line {block.line}"
        text = self._here(block.text)
        if file := FILE.match(text):
            path = self.folder / file[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.split("\n", 1)[1].lstrip("\n"), encoding="utf-8")
        elif block.language == "console":
            self._console(text, where)
        elif block.language == "sh":
            for line in text.replace("\\\n", "").splitlines():
                self._run(line, where, strict=True)
        elif block.language == "python":
            program = [sys.executable, "-"]
            done = subprocess.run(
                program, input=text, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=SECONDS,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{where}:\n{done.stdout}{done.stderr}"
        elif block.language == "yaml":
            assert check(yaml.safe_load(text)) == [], where
        else:
            assert block.language == "text", f"{where}: a block of {block.language!r} needs a file's name or a reason"

    def _here(self, text: str) -> str:
        """The ports that a page names are taken by whoever works on this machine; here are others."""
        for port, other in self.ports.items():
            text = text.replace(f":{port}", f":{other}")
        return text

    def _console(self, text: str, where: str) -> None:
        for part in re.split(r"^\$ ", text.replace("\\\n", ""), flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            seen = self._run(command, where)
            if not command.endswith(" &"):
                message = f"{where}: {command}\n--- seen:\n{seen}\n--- expected:\n{expected}\n--- jobs:\n{self._jobs()}"
                assert matches(seen, expected), message

    def type(self, command: str) -> str:
        """Type one command; what it says."""
        return self._run(self._here(command), command)

    def _run(self, command: str, where: str, *, strict: bool = False) -> str:
        """Type a command; what it says on both of its outputs."""
        if not command.strip() or command.lstrip().startswith("#"):
            return ""
        mark = secrets.token_hex(8)
        if command.endswith(" &"):
            self._say(
                f"{command[:-2]} >>home/jobs.log </dev/null &\necho {mark} 0\n"
            )  # so that %1 is the program itself
        else:
            self._say(f"{{ {command}\n}} 2>&1 </dev/null; code=$?; echo; echo {mark} $code\n")
        seen, code = self._hear(mark, command)
        if command.endswith(" &"):
            self._wait_for_a_pool(command)
        elif strict:
            assert code == 0, f"{where}: {command} ended with {code}\n{seen}\n{self._jobs()}"
        return seen

    def _say(self, line: str) -> None:
        assert self.shell.stdin is not None
        self.shell.stdin.write(line.encode())

    def _hear(self, mark: str, command: str) -> tuple[str, int]:
        assert self.shell.stdout is not None
        end = time.monotonic() + SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self.shell.stdout, selectors.EVENT_READ)
            while not (found := re.search(rf"\n?{mark} (\d+)\n".encode(), self._unheard)):
                assert selector.select(max(0.0, end - time.monotonic())), f"no end of: {command}\n{self._jobs()}"
                piece = os.read(self.shell.stdout.fileno(), 65536)
                assert piece, f"the shell ended at: {command}"
                self._unheard += piece
        seen, self._unheard = self._unheard[: found.start()], self._unheard[found.end() :]
        return seen.decode(errors="replace"), int(found[1])

    def _wait_for_a_pool(self, command: str) -> None:
        """What goes on in the background is there when it says so: a pool answers, and a host more has joined."""
        if not re.search(r"workerhost (up|supervisor|host)\b", command):
            return
        self.hosts += "workerhost supervisor" not in command
        until(self._all_joined, f"a pool with {self.hosts} hosts after: {command}", SECONDS, show=self._jobs)

    def _all_joined(self) -> bool:
        asked = subprocess.run(
            [sys.executable, "-m", "workerhost", "status", "--json"],
            cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False, timeout=SECONDS,
        )  # fmt: skip
        return asked.returncode == 0 and len(json.loads(asked.stdout)["hosts"]) >= self.hosts

    def _jobs(self) -> str:
        logs = [*self.folder.glob("home/*.log"), *self.folder.glob("*.log")]
        return "\n".join(f"{log.name}:\n{log.read_text(errors='replace')[-2000:]}" for log in logs)

    def close(self) -> None:
        """End all that the page began, and the shell."""
        self._say("kill -TERM $(jobs -p) 2>/dev/null; wait\nexit\n")
        try:
            self.shell.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.shell.pid, signal.SIGKILL)
            self.shell.wait(SECONDS)
