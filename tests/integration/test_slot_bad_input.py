"""Workers that answer with what cannot be told, or wreck the process they run in: one attempt ends, with its cause."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slot_host import Host, task

from workerhost.transport.messages import Outcome

TASKS = """
import ctypes, os, signal, sys, threading, time
from workerhost import worker

print("loaded")

@worker("fine")
def fine(): return "fine"

class Unprintable(Exception):
    def __str__(self): raise RuntimeError("no text")
    __repr__ = __str__

class Rude(Exception):
    def __str__(self): sys.exit(3)

class NoText(Exception):
    def __str__(self): return 5

RESULTS = {
    "object": lambda: object(), "nan": lambda: float("nan"), "large": lambda: 2**80, "keys": lambda: {1: 2},
    "itself": lambda: (lambda x: x.append(x) or x)([]), "surrogate": lambda: chr(0xD800),
    "generator": lambda: (n for n in ()),
    "deep": lambda: __import__("functools").reduce(lambda x, _: [x], range(5000), 0),
    "huge": lambda: b"x" * (5 << 20),
}
ERRORS = {"unprintable": Unprintable, "rude": Rude, "no text": NoText, "exit": lambda: SystemExit(0),
    "interrupt": KeyboardInterrupt, "recursion": RecursionError, "long": lambda: ValueError("x" * 10_000_000)}

@worker("returns")
def returns(what): return RESULTS[what]()

@worker("raises")
def raises(what): raise ERRORS[what]()

@worker("wrecks")
def wreck(what):
    if what == "exit 0": os._exit(0)
    if what == "closed descriptors": os.closerange(3, 1000)
    if what == "half a frame":
        for number in range(3, 100):
            try:
                link = os.readlink(f"/proc/self/fd/{number}")
                if link.startswith("socket:"): os.write(number, b"\\xff\\x00\\x00\\x00\\x95")
            except OSError: pass
        os._exit(0)
    if what == "no interpreter": ctypes.pythonapi.Py_FinalizeEx()
    time.sleep(30)

@worker("hides")
def hide(what):
    if what == "no stdout": sys.stdout = sys.stderr = None
    if what == "closed stdout": sys.stdout.close(); os.close(1); os.close(2)
    if what == "no modules": sys.modules.clear()
    if what == "thread that raises": threading.Thread(target=lambda: 1 / 0).start()
    return "done"
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    one = Host(tmp_path, TASKS)
    yield one
    one.close()


def works(host: Host, slot: Any) -> bool:
    """Whether the slot runs the next task as if nothing had been."""
    host.forget()
    slot.feed([task("fine", id=2)])
    [result] = host.results()
    return result[0] == 2 and result[2] == Outcome.COMPLETED


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("object", "result: object"),
        ("nan", "result: NaN"),
        ("large", "result: "),
        ("keys", "result"),
        ("itself", "result"),
        ("surrogate", "result"),
        ("generator", "result: generator"),
        ("deep", "result"),
        ("huge", "result"),
    ],
)
def test_a_result_that_cannot_travel_is_a_failure_that_says_why(host: Host, what: str, message: str) -> None:
    slot = host.ready()
    slot.feed([task("returns", {"what": what})])
    [result] = host.results()
    assert result[2] == (Outcome.TOO_LARGE if what == "huge" else Outcome.FAILED)
    assert message in result[6]["message"]
    assert result[6]["retry"] is False
    assert works(host, slot)


@pytest.mark.parametrize(
    ("what", "error_type"),
    [
        ("unprintable", "Unprintable"),
        ("rude", "Rude"),
        ("no text", "NoText"),
        ("exit", "SystemExit"),
        ("interrupt", "KeyboardInterrupt"),
        ("recursion", "RecursionError"),
        ("long", "ValueError"),
    ],
)
def test_an_exception_that_cannot_be_told_is_a_failure(host: Host, what: str, error_type: str) -> None:
    slot = host.ready()
    slot.feed([task("raises", {"what": what})])
    [result] = host.results()
    assert (result[2], result[6]["error_type"]) == (Outcome.FAILED, error_type)
    assert len(result[6]["message"]) <= 4096
    assert works(host, slot)


@pytest.mark.parametrize(
    ("what", "cause", "exit_code"),
    [
        ("exit 0", "crash", 0),
        ("closed descriptors", None, None),
        ("half a frame", "crash", 0),
        ("no interpreter", "crash", None),
    ],
)
def test_a_process_that_is_wrecked_ends_with_its_task_to_blame(
    host: Host, what: str, cause: str | None, exit_code: int | None
) -> None:
    slot = host.ready()
    slot.feed([task("wrecks", {"what": what})])
    exited = host.exited()
    assert exited["started"] == [[1, 7]]
    assert cause is None or exited["cause"] == cause, exited
    assert exit_code is None or exited["exit_code"] == exit_code
    assert host.news.results == []


@pytest.mark.parametrize("what", ["no stdout", "closed stdout", "no modules", "thread that raises"])
def test_what_a_task_takes_away_from_its_process_is_not_missed_by_the_next(host: Host, what: str) -> None:
    slot = host.ready()
    slot.feed([task("hides", {"what": what})])
    assert host.results()[0][2] == Outcome.COMPLETED
    assert ("closed" in host.news.worn) == (what == "closed stdout"), "it is replaced"
    assert works(host, slot)
