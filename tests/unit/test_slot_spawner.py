"""Children are started whatever else there is to do, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
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
    one.start(lambda _: subprocess.Popen(SAY, stdout=write)).result(SECONDS).wait(SECONDS)
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


def test_a_start_that_hangs_holds_up_none_from_elsewhere(one: Spawner) -> None:
    free = threading.Event()
    slow = one.start(lambda _: free.wait(SECONDS), "/slow/python")
    behind = one.start(lambda _: None, "/slow/python")
    assert said(start(one)) == b"begun\n"
    one.start(lambda _: None, "/other/python").result(SECONDS)
    assert not slow.done()
    assert not behind.done()
    free.set()
    one.settle(SECONDS)
    assert slow.done()
    assert behind.done()


def test_threads_for_starts_are_bounded(one: Spawner) -> None:
    starts = [one.start(lambda _: threading.current_thread().name, f"/{number}/python") for number in range(40)]
    assert len({start.result(SECONDS) for start in starts}) == 33
    one.settle(SECONDS)


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
    one.start(lambda _: None, "/other/python").result(SECONDS)
    before = monotonic()
    one.settle(SECONDS)
    assert monotonic() - before < SECONDS / 2, "nothing is waited for that no thread does"


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


Leave = Callable[["Future[None]"], object]

LEAVE: dict[str, Leave] = {
    "too late": lambda start: start.exception(SECONDS),
    "cancelled": lambda start: start.cancel(),
}


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE.keys())
def test_a_start_that_nobody_waits_for_any_more_is_not_made(
    one: Spawner, leave: Leave, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, made = threading.Event(), threading.Event()
    one.start(lambda _: free.wait(SECONDS))
    with monkeypatch.context() as patch:
        patch.setattr(slot_spawner, "START_SECONDS_MAX", 0.01)
        leave(one.start(lambda _: made.set()))
    free.set()
    assert said(start(one)) == b"begun\n", "the next one, which waited behind it"
    assert not made.is_set()


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE.keys())
def test_what_is_made_when_nobody_waits_any_more_is_undone(
    one: Spawner, leave: Leave, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, free, undone = threading.Event(), threading.Event(), threading.Event()

    def make(undo: ExitStack) -> None:
        undo.callback(undone.set)
        begun.set()
        free.wait(SECONDS)

    with monkeypatch.context() as patch:
        patch.setattr(slot_spawner, "START_SECONDS_MAX", 0.01)
        starting = one.start(make)
        assert begun.wait(SECONDS)
        leave(starting)
    assert not undone.is_set()
    free.set()
    assert undone.wait(SECONDS)
    assert said(start(one)) == b"begun\n"


def test_a_start_that_takes_too_long_says_so(one: Spawner, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    monkeypatch.setattr(slot_spawner, "START_SECONDS_MAX", 0.01)
    with pytest.raises(TimeoutError, match=r"not started within 0\.01 s: this machine is overloaded"):
        one.start(lambda _: free.wait(SECONDS)).result(SECONDS)
    free.set()


def test_a_start_that_fails_is_undone_before_that_is_told(one: Spawner) -> None:
    undone: list[bool] = []
    told: list[bool] = []

    def make(undo: ExitStack) -> None:
        undo.callback(lambda: undone.append(True))
        raise OSError("no memory")

    starting = one.start(make)
    starting.add_done_callback(lambda _: told.append(bool(undone)))
    with pytest.raises(OSError, match="no memory"):
        starting.result(SECONDS)
    one.settle(SECONDS)
    assert told == [True]
