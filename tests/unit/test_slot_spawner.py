"""Children are started whatever else there is to do, or not at all."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from workerhost.actors import slot_spawner
from workerhost.actors.slot_spawner import Spawner

SECONDS = 10.0
SAY = [sys.executable, "-c", "print('begun')"]


@pytest.fixture
def one() -> Spawner:
    made = Spawner()
    made.begin()
    return made


def start(one: Spawner) -> int:
    """Start a program that says one word; where that can be read, which is at its end when the program is."""
    read, write = os.pipe()
    try:
        one.start(SAY, write, (), "mark").wait(SECONDS)
    except OSError:
        os.close(read)
        raise
    finally:
        os.close(write)
    return read


def said(number: int) -> bytes:
    with os.fdopen(number, "rb") as file:
        return file.read()


def test_a_child_is_started_while_a_large_folder_is_removed(one: Spawner) -> None:
    removed, reached = threading.Event(), threading.Event()
    one.clean(lambda: removed.wait(SECONDS))
    one.end("no process bears it")
    one.clean(reached.set)
    assert said(start(one)) == b"begun\n"
    assert not reached.is_set(), "the removal goes on"
    removed.set()
    one.settle(SECONDS)
    assert reached.is_set()


def test_what_is_called_later_does_not_wait_for_a_removal(one: Spawner) -> None:
    removed, called = threading.Event(), threading.Event()
    one.clean(lambda: removed.wait(SECONDS))
    one.later(0.01, called.set)
    assert called.wait(SECONDS / 2)
    removed.set()


def refuse(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_threads_that_could_not_be_started_are_started_by_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    begin = threading.Thread.start

    def start_all(self: threading.Thread) -> None:
        started.append(self.name)
        begin(self)

    def start_two(self: threading.Thread) -> None:
        if len(started) == 2:
            refuse(self)
        start_all(self)

    monkeypatch.setattr(slot_spawner, "_spawner", None)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_two)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            slot_spawner.spawner()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_all)
        assert_all_work(slot_spawner.spawner())
    assert len(started) == len(set(started)) == 4


def test_all_work_where_a_task_has_taken_all_threads_that_there_may_be(
    one: Spawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert_all_work(one)


def assert_all_work(one: Spawner) -> None:
    for make in (one.clean, one.look, partial(one.later, 0)):
        called = threading.Event()
        make(called.set)
        assert called.wait(SECONDS)
    assert said(start(one)) == b"begun\n"


def test_a_call_that_raises_is_told_and_the_next_one_is_made(one: Spawner, caplog: pytest.LogCaptureFixture) -> None:
    called = threading.Event()

    def fail() -> None:
        raise RecursionError("too deep")

    for make in (one.clean, one.look, partial(one.later, 0)):
        make(fail)
        called.clear()
        make(called.set)
        assert called.wait(SECONDS)
        assert "too deep" in caplog.text
        caplog.clear()


def test_a_start_that_was_given_up_is_never_made(one: Spawner, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    one._starts.add(0, lambda: free.wait(SECONDS))  # pyright: ignore[reportPrivateUsage]
    read, write = os.pipe()
    monkeypatch.setattr(slot_spawner, "START_SECONDS_MAX", 0.01)
    with pytest.raises(TimeoutError, match=r"not started within 0\.01 s"):
        one.start(SAY, write, (), "mark")
    monkeypatch.undo()
    free.set()
    assert said(start(one)) == b"begun\n", "the next one, which waited behind it"
    os.close(write)
    assert said(read) == b""


def test_a_child_that_comes_too_late_is_ended(one: Spawner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    monkeypatch.setattr(slot_spawner, "START_SECONDS_MAX", 0.2)
    with pytest.raises(TimeoutError):
        one.start(Slow(gate), write, (), "mark")
    gate.write_text("go")
    one._starts.settle(monotonic() + SECONDS)  # pyright: ignore[reportPrivateUsage]
    os.close(write)
    assert said(read) == b"", "it would have slept for a minute"


class Slow(list[str]):
    """A command line that is ready late: its process is started after everybody has given up."""

    def __init__(self, gate: Path) -> None:
        super().__init__(["sleep", "60"])
        self.gate = gate

    def __iter__(self) -> Iterator[str]:
        self.gate.read_text()
        return super().__iter__()
