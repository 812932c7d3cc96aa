"""What housekeeping costs a turn of the supervisor: ended tasks are forgotten, and the log is taken into the file.

The core on a real store, each turn on the disk before anything is said, see `limits.py`. SQLite writes to the database
itself only when it takes the log in, so the file's time of change tells which turns did.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from figures import Figure, percentile
from limits import Core

from workerhost.actors.core.settings import KEEP, Keep

_TYPE: Final = "v.p.e"
_GOAL: Final = 2.0
_FEW: Final = Keep(count=1000)
_LOADS: Final = {"one task": (1, 5000), "250 tasks": (250, 500)}
"""By name: tasks of a message, and messages of a round, enough for the log to be taken in."""


def turns(rounds: int) -> list[Figure]:
    """How long turns take that keep house, beside those that do not."""
    figures: list[Figure] = []
    for name, (size, messages) in _LOADS.items():
        without: list[float] = []
        keeping: list[float] = []
        merging: list[float] = []
        for _ in range(rounds):
            without += _seconds(size, messages, KEEP)[0]
            forgetting, merges = _seconds(size, messages, _FEW)
            keeping += forgetting + merges
            merging += merges
        base = 1e3 * percentile(without, 0.99)
        figures += [
            Figure(f"a turn, {name}, p50", "ms", 1e3 * percentile(without, 0.5)),
            Figure(f"a turn, {name}, p99", "ms", base),
            Figure(f"a turn, {name}, p99 with housekeeping", "ms", 1e3 * percentile(keeping, 0.99), _GOAL, base),
            Figure(f"a turn, {name}, longest that takes the log in", "ms", 1e3 * max(merging), None, base),
        ]
    return figures


def _seconds(size: int, messages: int, keep: Keep) -> tuple[list[float], list[float]]:
    """Of each turn in which tasks were sent or ended: of those that did not take the log in, and of those that did."""
    found: tuple[list[float], list[float]] = [], []
    with tempfile.TemporaryDirectory(prefix="workerhost-bench-") as folder:
        core = Core(folder, {}, [_TYPE], durability="full", keep=keep)
        file = Path(folder, "queue.db")

        def timed(turn: Callable[[], list[list[Any]]]) -> list[list[Any]]:
            changed, began = file.stat().st_mtime_ns, time.perf_counter()
            granted = turn()
            seconds = time.perf_counter() - began
            found[file.stat().st_mtime_ns != changed].append(seconds)
            return granted

        for _ in range(messages):
            granted = timed(lambda: core.send([[_TYPE, 5, None, [b"\xc0"] * size]]))
            while granted:
                granted = timed(lambda tasks=granted: core.complete(tasks))
        core.store.close()
    return found
