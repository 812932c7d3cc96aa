"""Starting a slot's process: all of it that may take its time, for the thread that starts children."""

from __future__ import annotations

import mmap
import os
import selectors
import signal
import socket
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgpack as _untyped  # pyright: ignore[reportMissingTypeStubs] -- it ships none

from ..workers.errors import ConfigError
from ..workers.slots import WORD
from ..workers.source import Environment
from . import open_files, slot_child
from .slot_exit import wait
from .slot_spawner import MARK

_MSGPACK: Final[Any] = _untyped


class Child(NamedTuple):
    """A process that has been started, and this side's ends of what it was given.

    Attributes:
        pid: Its id, and that of its group.
        control: The socket for frames in both directions.
        output: Where its stdout and stderr can be read.
        death: A descriptor that is readable when it is dead; -1: the system has none, the end of `control` says so.
        word: Its notes of what runs.
        selector: Over the three.
    """

    pid: int
    control: socket.socket
    output: int
    death: int
    word: mmap.mmap
    selector: selectors.BaseSelector


def start_child(undo: ExitStack, environment: Environment, threads: int, mark: str) -> Child:
    """Start a process in a session of its own.

    Args:
        undo: Takes what must be undone if the process is of no use.
        environment: Where it lives.
        threads: How many tasks it runs at a time.
        mark: Value of `MARK` in its environment.

    Raises:
        ConfigError: The interpreter that the configuration names cannot be run.
        OSError: It could not be started.
    """
    with ExitStack() as handed:
        control, far = socket.socketpair()
        undo.callback(control.close)
        handed.callback(far.close)
        control.setblocking(False)
        output, theirs = os.pipe()
        undo.callback(os.close, output)
        handed.callback(os.close, theirs)
        os.set_blocking(output, False)
        words = _shared_file(WORD.size * threads)
        handed.callback(os.close, words)
        open_files.leave_some(words)
        word = mmap.mmap(words, WORD.size * threads)
        undo.callback(word.close)
        pid = _run(environment, far.fileno(), words, theirs, mark)
        undo.callback(_abandon, pid)
    selector = selectors.DefaultSelector()
    undo.callback(selector.close)
    selector.register(control, selectors.EVENT_READ)
    selector.register(output, selectors.EVENT_READ)
    death = -1
    if hasattr(os, "pidfd_open"):
        death = os.pidfd_open(pid)
        undo.callback(os.close, death)
        selector.register(death, selectors.EVENT_READ)
    return Child(pid, control, output, death, word, selector)


def _run(environment: Environment, control: int, words: int, output: int, mark: str) -> int:
    interpreter = environment.interpreter()
    arguments = [str(number) for number in (control, words, os.getpid())]
    arguments.append(str(Path(_MSGPACK.__file__).parent) if environment.python else "")
    try:
        process = subprocess.Popen(
            [interpreter, "-I", slot_child.__file__, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(control, words),
            env={**os.environ, MARK: mark},
            start_new_session=True,
        )
    except OSError as error:
        if environment.python and error.filename:
            what = f"{interpreter}: {error.strerror}; name an interpreter or a virtualenv's folder"
            raise ConfigError(what) from error
        raise
    process.returncode = 0  # it is waited for elsewhere, with its peak memory; this keeps Popen from looking
    return process.pid


def _abandon(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    wait(pid)


def temporary_folder() -> str:
    """The folder below which slots keep their own.

    Raises:
        ConfigError: There is none.
    """
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:
        raise ConfigError(f"{error.strerror}: let this user write to one of them, or set TMPDIR") from error


def _shared_file(size: int) -> int:
    """A file without a name, for memory that two processes share."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("workerhost-slot")
    else:
        number, path = tempfile.mkstemp(prefix="workerhost-")
        Path(path).unlink()
    os.ftruncate(number, size)
    return number
