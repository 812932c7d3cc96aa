"""Runs one program: bytes go to its stdin, what it writes comes back bounded, and nothing of it is left behind.

Owns the child's pipes, its signals and its end. Knows nothing of tasks. Python 3.9 and the standard library suffice.
"""

from __future__ import annotations

import os
import secrets
import selectors
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple

from .processes import end_marked

MARK: Final = "WORKERHOST_RUN"
"""In the environment of a program and of all that it starts: by this, what it left behind is found."""

_READ_BYTES: Final = 64 * 1024
_READS_AFTER_END_MAX: Final = 64
"""Of a pipe whose program has ended: more than a pipe holds, and a bound where something still writes."""
_POLL_SECONDS: Final = 0.02
"""Between two looks at whether it has ended, where the system has no descriptor that says so."""
_GUARD: Final = ("/bin/sh", "-c", "trap '' HUP INT TERM; read line; kill -s KILL 0")


class Ended(NamedTuple):
    """How a program ended.

    Attributes:
        code: Its exit code; below 0: the signal that killed it.
        output: What it wrote to stdout, cut at the limit.
        overflowed: Whether it wrote more than the limit, and was killed for it.
    """

    code: int
    output: bytes
    overflowed: bool = False


class Program:
    """One running program. Use it in a `with` block: leaving it ends the program and all that it started.

    `wake` may be called in any thread, the rest in one.

    Args:
        command: The program and its arguments.
        stdin: What it reads; None: nothing comes, and no end either.
        folder: Where it runs; "": here.
        limit: Most bytes that it may write to stdout.
        on_error: Takes what it writes to stderr, piece by piece.
        guarded: Whether this process leads a process group that is its own: the program joins it, and is killed with
            it. Otherwise it gets a session of its own.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        stdin: bytes | None,
        *,
        folder: str = "",
        limit: int,
        on_error: Callable[[bytes], None],
        guarded: bool = False,
    ) -> None:
        self._limit, self._on_error, self._guarded = limit, on_error, guarded
        self._mark = f"{os.getpid()}-{secrets.token_hex(8)}"
        if guarded:
            _guard()
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            list(command),
            cwd=folder or None,
            env={**os.environ, MARK: self._mark},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=not guarded,
        )
        self._output = bytearray()
        self._overflowed = self._over = False
        self._unwritten = memoryview(stdin or b"")
        self._lock = threading.Lock()
        self._woken, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._exit_number = _exit_number(self._process.pid)
        self._watch(keeps_stdin=stdin is None)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if not self._over:
                self.kill()
                self._finish()
        finally:
            self._close()

    def wait(self, seconds: float | None = None) -> bool:
        """Carry what is written until it has ended: True. False: woken, or `seconds` have passed."""
        deadline = None if seconds is None else monotonic() + seconds
        while not self._over:
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                return False
            if self._exit_number < 0:
                left = _POLL_SECONDS if left is None else min(left, _POLL_SECONDS)
            woken = dead = False
            for key, _ in self._selector.select(left):
                if key.data is not None:
                    key.data()
                else:
                    woken |= key.fileobj is self._woken
                    dead |= key.fd == self._exit_number
            if dead or (self._exit_number < 0 and self._process.poll() is not None):
                self._finish()
            elif woken:
                self._woken.recv(64)
                return False
        return True

    def wake(self) -> None:
        """Let `wait` return."""
        with self._lock, suppress(OSError):
            self._waker.send(b"\0")

    def terminate(self) -> None:
        """SIGTERM to the program, alone."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to the program and all that it started."""
        if not self._guarded:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    @property
    def ended(self) -> Ended:
        """How it ended, when it has."""
        return Ended(self._process.wait(), bytes(self._output), self._overflowed)

    def _watch(self, *, keeps_stdin: bool) -> None:
        process: Any = self._process
        for pipe in (process.stdin, process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, self._read_output)
        self._selector.register(process.stderr, selectors.EVENT_READ, self._read_errors)
        if not keeps_stdin:
            self._selector.register(process.stdin, selectors.EVENT_WRITE, self._write)
        self._selector.register(self._woken, selectors.EVENT_READ)
        if self._exit_number >= 0:
            self._selector.register(self._exit_number, selectors.EVENT_READ)

    def _write(self) -> None:
        stdin: Any = self._process.stdin
        try:
            self._unwritten = self._unwritten[os.write(stdin.fileno(), self._unwritten) :]
        except BlockingIOError:
            return
        except OSError:  # it does not want to know
            self._unwritten = self._unwritten[:0]
        if not self._unwritten:
            self._selector.unregister(stdin)
            stdin.close()

    def _read_output(self) -> bool:
        data = self._read(self._process.stdout)
        room = self._limit - len(self._output)
        self._output += data[:room]
        if len(data) > room and not self._overflowed:
            self._overflowed = True
            self.kill()
        return bool(data)

    def _read_errors(self) -> bool:
        data = self._read(self._process.stderr)
        if data:
            self._on_error(data)
        return bool(data)

    def _read(self, pipe: Any) -> bytes:
        """What is there; nothing more comes after b""."""
        if pipe.closed:
            return b""
        try:
            data = os.read(pipe.fileno(), _READ_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            with suppress(KeyError):
                self._selector.unregister(pipe)
            pipe.close()
        return data

    def _finish(self) -> None:
        """It is dead, or about to be: end what it left behind, and take its last words."""
        if self._exit_number >= 0:
            with suppress(ChildProcessError):  # it was waited for already
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)  # its id stays its own until `wait`
        if not self._guarded:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        end_marked(MARK, {self._mark.encode()})
        self._process.wait()
        for read in (self._read_output, self._read_errors):
            for _ in range(_READS_AFTER_END_MAX):
                if not read():
                    break
        self._over = True

    def _close(self) -> None:
        with self._lock:
            self._waker.close()
        self._woken.close()
        self._selector.close()
        if self._exit_number >= 0:
            os.close(self._exit_number)
        process: Any = self._process
        for pipe in (process.stdin, process.stdout, process.stderr):
            with suppress(OSError):
                pipe.close()


def _exit_number(pid: int) -> int:
    """A descriptor that is readable when the process has ended, or -1 where there is none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


@cache
def _guard() -> subprocess.Popen[bytes]:
    """A shell that ends this process's group when this process has gone, however it went.

    A signal at a parent's death reaches only this process, not the programs that it has started. The shell's stdin is
    a pipe of which only this process holds the other end.
    """
    return subprocess.Popen(
        _GUARD,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=Path("/"),
    )


def is_guard(pid: int) -> bool:
    """Whether a process is such a shell; False where there is no /proc."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() == "\0".join((*_GUARD, "")).encode()
    except OSError:
        return False
