"""What one client feels of others that do their worst at a guarded pool's door: its round trips beside theirs.

The processors are kept awake all the time, also while nobody else is there: else a crowd would take from each trip the
time that waking them takes, and what it costs would not be seen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from ceiling import PARAMS
from figures import Figure, percentile
from pool import NOTHING, PATIENCE, Pool, round_trips

from workerhost import Client

SECONDS: Final = 8.0
"""Of each part, at most; a round takes `_ROUND_SECONDS` of it."""
GOAL: Final = 3.0
_ROUND_SECONDS: Final = 2.0
_TRIPS_MIN: Final = 20
_CROWD: Final = Path(__file__).with_name("crowd.py")
_KINDS: Final = {  # floods come last: what they sent is still queued afterwards
    "churn": ("1,000 connections a second", 900),
    "idle": ("10,000 idle connections", 9_000),
    "garbage": ("another identity's garbage", 100),
    "hostile": ("another identity that waits for no answer", 100),
    "waits": ("another identity's flood of what nobody runs", 1_000),
    "flood": ("another identity's flood", 1_000),
}
"""By kind: its name, and how much it must have done for anything to be felt of it."""
_FLOODS: Final = ("garbage", "hostile", "waits", "flood")
_ACKNOWLEDGED: Final = "acknowledged"
_ENDED: Final = "ended"


def trips_beside(pool: Pool, rounds: int) -> list[Figure]:
    """One task at a time, alone and then beside each kind of crowd; ratios are to those alone.

    What is acknowledged has waited for the supervisor alone. An end waits for slots and processors too, which a flood
    that runs takes for itself, so it has a goal only beside those that take none.
    """
    seconds = min(SECONDS, rounds * _ROUND_SECONDS)
    round_trips(pool.client, 50, PARAMS)
    with _awake():
        alone = _trips(pool.client, seconds)
    figures = _figures("alone", alone, None, goals=())
    for kind in _KINDS:
        address = _invitation(pool) if kind in _FLOODS else pool.address
        with _awake(), crowd(kind, address) as did:
            beside = _trips(pool.client, seconds)
        figures += figures_of(kind, did, beside, alone)
    return figures


def figures_of(
    kind: str, did: dict[str, float], beside: dict[str, list[float]], alone: dict[str, list[float]]
) -> list[Figure]:
    """What was felt of a crowd, and what it did; that it did too little to be felt reaches no goal but misses one."""
    name, least = _KINDS[kind]
    (unit, count), *others = did.items()
    goals = (_ACKNOWLEDGED,) if kind == "flood" else (_ACKNOWLEDGED, _ENDED)
    return [
        *_figures(name, beside, alone, goals=goals if count >= least else ()),
        Figure(f"{name}, {unit}", unit, count, least, higher_is_better=True),
        *(Figure(f"{name}, {unit}", unit, count) for unit, count in others),
    ]


def _trips(client: Client, seconds: float) -> dict[str, list[float]]:
    end = time.monotonic() + seconds
    samples: dict[str, list[float]] = {_ACKNOWLEDGED: [], _ENDED: []}
    while time.monotonic() < end or len(samples[_ENDED]) < _TRIPS_MIN:
        began = time.perf_counter()
        handle = client.send(NOTHING, PARAMS, priority=9)
        samples[_ACKNOWLEDGED].append(time.perf_counter() - began)
        handle.result(timeout=PATIENCE)
        samples[_ENDED].append(time.perf_counter() - began)
    return samples


def _figures(
    name: str, found: dict[str, list[float]], alone: dict[str, list[float]] | None, *, goals: Sequence[str]
) -> list[Figure]:
    return [
        Figure(
            name=f"one task, guarded pool, awake, {name}, {what}, {label}",
            unit="ms",
            value=1e3 * percentile(samples, share),
            ceiling=None if alone is None else 1e3 * percentile(alone[what], share),
            goal=GOAL if label == "p99" and what in goals else None,
        )
        for what, samples in found.items()
        for label, share in {"p50": 0.50, "p99": 0.99}.items()
    ]


@contextmanager
def _awake() -> Generator[None]:
    """All processors, while the block lasts."""
    with ExitStack() as spinning:
        for _ in range(os.cpu_count() or 1):
            spinning.enter_context(crowd("awake", ""))
        yield


@contextmanager
def crowd(kind: str, address: str) -> Generator[dict[str, float]]:
    """One kind of crowd at an address, while the block lasts; what it did is told in the dict, after the block.

    Raises:
        RuntimeError: It did not come, or went away.
    """
    did: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="workerhost-bench-") as home:
        environment = {**os.environ, "WORKERHOST_HOME": home}
        command = [sys.executable, str(_CROWD), kind, address]
        program = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        try:
            assert program.stdout is not None
            if program.stdout.readline() != "ready\n":
                raise RuntimeError(f"the crowd did not come: {kind}")
            yield did
            told, _ = program.communicate(timeout=PATIENCE)
            if program.returncode:
                raise RuntimeError(f"the crowd went away before its time: {kind}")
        finally:
            program.kill()
            program.wait()
    did.update(json.loads(told))


def _invitation(pool: Pool) -> str:
    """For a client that is somebody else."""
    command = [sys.executable, "-m", "workerhost", "invite", "--role", "client", "--json", "--address", pool.address]
    environment = {**os.environ, "WORKERHOST_ADDRESS": pool.address}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=PATIENCE, env=environment)
    return json.loads(done.stdout)["invitation"]
