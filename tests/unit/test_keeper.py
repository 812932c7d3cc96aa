"""A child that the machine has no room for has died, and is started again like any other."""

from __future__ import annotations

import errno
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from workerhost.actors.core.restarts import ChildSpec, Restart
from workerhost.bin.keeper import Child, Exited

SECONDS = 20.0
NO_ROOM = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


def failing_once(function: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    """The same, but for the first call."""
    errors = [error]

    def call(*arguments: Any, **more: Any) -> Any:
        if errors:
            raise errors.pop()
        return function(*arguments, **more)

    return call


@pytest.mark.parametrize(
    ("place", "name", "error", "how"),
    [
        (subprocess, "Popen", NO_ROOM, f"cannot be started ({NO_ROOM})"),
        (subprocess, "Popen", MemoryError(), "cannot be started (MemoryError)"),
        (
            threading.Thread,
            "start",
            RuntimeError("can't start new thread"),
            "cannot be started (can't start new thread)",
        ),
    ],
)
def test_a_child_without_room_has_died_and_begins_when_there_is_some(
    monkeypatch: pytest.MonkeyPatch, place: Any, name: str, error: Exception, how: str
) -> None:
    ends: queue.Queue[Exited] = queue.Queue()
    child = Child("host 1", ChildSpec(Restart.TRANSIENT), [sys.executable, "-c", "input()"], ends.put)
    monkeypatch.setattr(place, name, failing_once(getattr(place, name), error))

    child.start()
    end = ends.get(timeout=SECONDS)
    assert (end.child, end.code, end.how) == (child, None, how)
    assert child.alive, "until its end is heard of"
    assert child.ended(time.monotonic(), well=False) is not None
    assert child.restarts.deaths == 1
    assert child.due is not None

    child.start()  # its input is empty: it ends by itself
    end = ends.get(timeout=SECONDS)
    assert (end.code, end.how) == (1, "ended with code 1")


def test_a_child_whose_end_nobody_would_hear_of_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: queue.Queue[Exited] = queue.Queue()
    child = Child(
        "host 1", ChildSpec(Restart.TRANSIENT), [sys.executable, "-c", "import signal; signal.pause()"], ends.put
    )
    started: list[subprocess.Popen[bytes]] = []
    popen: Any = subprocess.Popen

    def noted(*arguments: Any, **more: Any) -> Any:
        started.append(popen(*arguments, **more))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    monkeypatch.setattr(threading.Thread, "start", failing_once(threading.Thread.start, RuntimeError("no thread")))
    child.start()
    assert ends.get(timeout=SECONDS).code is None
    assert started[0].returncode == -9
