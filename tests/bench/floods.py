"""What one client feels of others that do their worst at a guarded pool's door: its round trips beside theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ceiling import PARAMS
from figures import Figure, percentile
from pool import PATIENCE, Pool, round_trips

from workerhost import Client

SECONDS: Final = 8.0
"""Of each part, at most; a round takes `_ROUND_SECONDS` of it."""
GOAL: Final = 3.0
_ROUND_SECONDS: Final = 2.0
_TRIPS_MIN: Final = 20
_CROWD: Final = Path(__file__).with_name("crowd.py")
_KINDS: Final = {  # the flood comes last: what it sent is still queued afterwards
    "churn": "1,000 connections a second",
    "idle": "10,000 idle connections",
    "flood": "another identity's flood",
}


def trips_beside(pool: Pool, rounds: int) -> list[Figure]:
    """Round trips alone, then beside each kind of crowd; ratios are to those alone."""
    seconds = min(SECONDS, rounds * _ROUND_SECONDS)
    round_trips(pool.client, 50, PARAMS)
    alone = _trips(pool.client, seconds)
    figures = _figures("alone", alone, None)
    for kind, name in _KINDS.items():
        with _crowd(pool, kind):
            beside = _trips(pool.client, seconds)
        figures += _figures(name, beside, alone)
    return figures


def _trips(client: Client, seconds: float) -> list[float]:
    end = time.monotonic() + seconds
    samples: list[float] = []
    while time.monotonic() < end or len(samples) < _TRIPS_MIN:
        samples += round_trips(client, 1, PARAMS)
    return samples


def _figures(name: str, samples: list[float], alone: list[float] | None) -> list[Figure]:
    return [
        Figure(
            name=f"one task, guarded pool, {name}, {label}",
            unit="ms",
            value=1e3 * percentile(samples, share),
            ceiling=None if alone is None else 1e3 * percentile(alone, share),
            goal=None if alone is None else GOAL,
        )
        for label, share in {"p50": 0.50, "p99": 0.99}.items()
    ]


@contextmanager
def _crowd(pool: Pool, kind: str) -> Generator[None]:
    """One kind of crowd at the pool, while the block lasts; what it did is said."""
    with tempfile.TemporaryDirectory(prefix="workerhost-bench-") as home:
        address = _invitation(pool) if kind == "flood" else pool.address
        environment = {**os.environ, "WORKERHOST_HOME": home}
        command = [sys.executable, str(_CROWD), kind, address]
        program = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        try:
            assert program.stdout is not None
            if program.stdout.readline() != "ready\n":
                raise RuntimeError(f"the crowd did not come: {kind}")
            yield
            did, _ = program.communicate(timeout=PATIENCE)
            if program.returncode:
                raise RuntimeError(f"the crowd went away before its time: {kind}")
        finally:
            program.kill()
            program.wait()
    print(f"bench: {_KINDS[kind]}: {did.strip()}", file=sys.stderr, flush=True)


def _invitation(pool: Pool) -> str:
    """For a client that is somebody else."""
    command = [sys.executable, "-m", "workerhost", "invite", "--role", "client", "--json", "--address", pool.address]
    environment = {**os.environ, "WORKERHOST_ADDRESS": pool.address}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=PATIENCE, env=environment)
    return json.loads(done.stdout)["invitation"]
