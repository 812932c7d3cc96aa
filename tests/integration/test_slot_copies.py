"""Copies of a slot's process, made with fork: none is a slot, and none keeps the slot's host from seeing its death."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slot_host import SECONDS, Death, Host, task

from workerhost.transport.messages import Outcome
from workerhost.workers import values

TASKS = """
import ctypes, fcntl, multiprocessing, os, signal, termios
from workerhost import BaseWorker, worker

def descriptors():
    for number in range(256):
        try: yield number, os.readlink(f"/proc/self/fd/{number}")
        except OSError: pass

def look(made_by):
    print(made_by, "sockets:", [number for number, link in descriptors() if link.startswith("socket:")])
    signal.pause()

@worker("echo")
def echo(value=None): return value

def control():
    return next(number for number, link in descriptors() if link.startswith("socket:"))

@worker("die")
def die_when_the_last_result_is_told():
    while not int.from_bytes(fcntl.ioctl(control(), termios.TIOCOUTQ, bytes(4)), "little"): pass
    os.kill(os.getpid(), signal.SIGKILL)

@worker("below")
def fork_below_python(writes):
    copy = ctypes.PyDLL(None).fork()  # no hook of Python's runs in it
    if copy: return copy
    frame = bytes([6, 0, 0, 0, 0x95, 5, 0x90, 0x90, 0x90, 0x90])  # news of nothing
    try:
        while writes: os.write(control(), frame * 1000)
        while True: signal.pause()
    finally: os._exit(0)
"""

COPIES = {
    "module": """
multiprocessing.get_context("fork").Process(target=look, args=("module",), daemon=True).start()
""",
    "initialize": """
class Forks(BaseWorker):
    type = "forks"
    def initialize(self):
        self.copy = multiprocessing.get_context("fork").Process(target=look, args=("initialize",), daemon=True)
        self.copy.start()
    def health_check(self): return self.copy.is_alive()
    def execute(self, task): pass
""",
}

PLAIN = """
copy = os.fork()

@worker("copy")
def tell(): return copy
"""


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """A host that waits for ever does so in the test's own thread: only a signal gets that out."""

    def end(*_: object) -> None:
        pytest.fail("the host hangs")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1.0)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def host(bounded: None, tmp_path: Path) -> Iterator[Host]:
    one = Host(tmp_path, TASKS)
    yield one
    one.close()


def answer(host: Host, slot: Any, type: str, params: Any = None) -> Any:
    """The value of one task."""
    host.forget()
    slot.feed([task(type, params)])
    [result] = host.results()
    assert result[2] == Outcome.COMPLETED, result
    return values.unpack(result[3])


def started(host: Host) -> Any:
    """A slot that has said what it offers."""
    slot = host.start()
    host.until(lambda news: news.ready is not None)
    return slot


@pytest.mark.parametrize("made_by", COPIES)
def test_a_copy_made_before_the_slot_is_ready_holds_nothing_of_its_host(host: Host, made_by: str) -> None:
    host.code.write_text(TASKS + COPIES[made_by])
    slot = started(host)
    host.until(lambda news: any("sockets:" in text for _, text in news.lines))
    assert [text for _, text in host.news.lines] == [f"{made_by} sockets: []"]
    assert answer(host, slot, "echo", {"value": 1}) == 1


@pytest.mark.parametrize("writes", [False, True])
def test_a_slot_that_dies_alone_is_buried_while_a_copy_of_it_lives(host: Host, writes: bool) -> None:
    slot = started(host)
    death = Death(answer(host, slot, "below", {"writes": writes}))
    os.kill(slot.pid, signal.SIGKILL)
    exited = host.exited()
    assert (exited["signal"], exited["cause"]) == (signal.SIGKILL, "crash")
    assert death.wait(), "it was in the slot's group"


def test_the_last_words_of_a_dead_slot_are_heard_while_a_copy_of_it_lives(host: Host) -> None:
    slot = started(host)
    death = Death(slot.pid)
    slot.feed([task("below", {"writes": False}, id=1), task("die", id=2)])
    assert death.wait()
    assert host.exited()["started"] == [[2, 7]]
    assert [result[0] for result in host.news.results] == [1]


def test_a_copy_that_comes_out_of_the_import_ends_there(host: Host) -> None:
    host.code.write_text(TASKS + PLAIN)
    slot = started(host)
    death = Death(answer(host, slot, "copy"))
    assert death.wait()
    assert answer(host, slot, "echo", {"value": 1}) == 1
    assert host.news.lines == []
