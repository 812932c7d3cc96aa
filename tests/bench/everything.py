"""What all the features cost that a pool may have, and that most tasks do not use: on, against off.

On are a limit, a rate and a breaker at each node above the tasks, rules that raise alerts, a goal, a schedule that
sends a task a second, a flow that waits, four tenants, a key and tags for one task in twenty, and a monitor that asks
for a snapshot a second. Processor time of the supervisor's core on a real store, see `limits.py`.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any, Final

from limits import BATCH, EVERY_LIMIT, Core

from workerhost.config.schedules import Plan, Timing
from workerhost.config.watching import Goal, Rule, Watching
from workerhost.transport.messages import Hello, Query

TYPE: Final = "v.p.e"
WAITING: Final = "nobody.takes"
TENANTS: Final = ("", "a", "b", "c")
_TASKS_A_SECOND: Final = 20_000
_NAMED: Final = BATCH // 20
_SETTINGS: Final[dict[str, Any]] = {
    "queue_depth_high": 10**6,
    "watching": Watching(
        (Rule("", "queue_depth", above=True, threshold=10**6), Rule("v", "success_rate", above=False, threshold=0.5)),
        (Goal("success_rate", least=0.9),),
    ),
    "schedules": {"each second": Plan(TYPE, b"\xc0", Timing(every=1.0))},
}


def _groups(number: int, *, features: bool) -> list[list[Any]]:
    """What one SUBMIT holds."""
    if not features:
        return [[TYPE, 5, None, [b"\xc0"] * BATCH]]
    tenant = TENANTS[number % len(TENANTS)]
    named = {"key": [f"{number}-{n}" for n in range(_NAMED)], "tags": ["bench"]}
    options = {"tenant": tenant} if tenant else {}
    return [
        [TYPE, 5, options or None, [b"\xc0"] * (BATCH - _NAMED)],
        [TYPE, 5, {**options, **named}, [b"\xc0"] * _NAMED],
    ]


def seconds_per_task(tasks: int, *, features: bool) -> float:
    """Processor time of a task that is sent, granted and completed."""
    nodes = {"v": EVERY_LIMIT, "v.p": EVERY_LIMIT, TYPE: EVERY_LIMIT} if features else {}
    with tempfile.TemporaryDirectory(prefix="workerhost-bench-") as folder:
        core = Core(folder, nodes, [TYPE], **(_SETTINGS if features else {}))
        if features:
            core.say(b"m", Hello("observer", [1, 1], b"m" * 16, "monitor"))
            core.send([[WAITING, 5, None, [b"\xc0"]], [WAITING, 5, {"within": [0]}, [b"\xc0"] * 10]], {"name": "waits"})
            assert core.pool.queue.unfinished_count == 11  # the flow was taken
        for number in range(8):  # lanes are made, durations known
            _run(core, number, features=features)
        done, asked, number, started = 0, 0, 0, time.process_time()
        while done < tasks:
            number += 1
            done += _run(core, number, features=features)
            if features and done // _TASKS_A_SECOND > asked:
                asked += 1
                core.say(b"m", Query(asked, "snapshot"))
        seconds = time.process_time() - started
        core.store.close()
    return seconds / done


def _run(core: Core, number: int, *, features: bool) -> int:
    """Send a batch and complete it; how many tasks ended."""
    core.now += BATCH / _TASKS_A_SECOND
    granted, done = core.send(_groups(number, features=features)), 0
    while granted:
        done += len(granted)
        granted = core.complete(granted)
    return done
