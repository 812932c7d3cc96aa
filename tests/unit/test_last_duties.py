"""What an actor owes to others when it fails is done, whatever becomes of the words about it."""

from __future__ import annotations

import io
import logging
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workerhost.actors.host import Host, HostSettings
from workerhost.actors.log import Log
from workerhost.actors.supervisor import Supervisor, SupervisorSettings
from workerhost.bin import logs
from workerhost.bin.log_file import LogFile

SECONDS = 10.0


class NoRoom(io.StringIO):
    """A stream on a disk that is full."""

    def write(self, text: str, /) -> int:
        raise OSError(28, "No space left on device")


class Closed(io.StringIO):
    """A stream that somebody has closed."""

    def write(self, text: str, /) -> int:
        raise ValueError("I/O operation on closed file.")


class Unsayable(Exception):
    """An error that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no words for it")


def no_words() -> None:
    """Nothing that is said can be written."""
    logs.set_up("DEBUG", "json", NoRoom())


def all_words() -> None:
    """All that is said can be written."""
    logs.set_up("DEBUG", "json", io.StringIO())


@pytest.mark.parametrize("stream", [NoRoom(), Closed()])
def test_a_line_that_cannot_be_written_is_lost(stream: io.StringIO, tmp_path: Path) -> None:
    logs.set_up("INFO", "json", stream, LogFile(tmp_path / "w.log", None, 0))
    Log("host").critical("host_failed", error="x")
    assert "host_failed" in (tmp_path / "w.log").read_text()


def test_a_line_is_lost_where_a_program_has_no_use_for_it() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError(5, "Input/output error")

    broken = Broken()
    logging.getLogger("workerhost.host").addHandler(broken)
    try:
        Log("host").warning("frame_dropped", reason="x")
    finally:
        logging.getLogger("workerhost.host").removeHandler(broken)


@pytest.mark.parametrize(("words", "error"), [(no_words, RuntimeError("a bug")), (all_words, Unsayable())])
def test_a_supervisor_that_failed_tells_whoever_started_it(words: Callable[[], None], error: Exception) -> None:
    def reread() -> list[str]:
        raise error

    words()
    told: queue.Queue[BaseException] = queue.Queue()
    address = "tcp://127.0.0.1:0"
    supervisor = Supervisor.start(SupervisorSettings(address=address, reread=reread, on_failure=told.put))
    supervisor.reload()
    assert told.get(timeout=SECONDS) is error
    again = Supervisor.start(SupervisorSettings(address=supervisor.address))  # it is free: the socket was closed
    again.stop()


class Never:
    """No number of seconds, and what it raises cannot even be shown."""

    def __radd__(self, now: float) -> float:
        raise Unsayable


@pytest.mark.parametrize(("words", "timeout"), [(no_words, "soon"), (all_words, Never())])
def test_a_host_that_failed_has_left(words: Callable[[], None], timeout: Any) -> None:
    words()
    host = Host.start(HostSettings(address="tcp://127.0.0.1:1", slots={"": 1}, isolation="inline"))
    host.drain(timeout)
    assert host.join(SECONDS)
    assert not host.is_alive()


def test_a_host_that_cannot_begin_has_left() -> None:
    code: Any = [5]  # no CODE
    host = Host.start(HostSettings(address="tcp://127.0.0.1:1", isolation="inline", code=code, reload=True))
    assert host.join(SECONDS)
    assert "the host failed" in str(host.error)
