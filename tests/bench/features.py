"""What flows, schedules and large files cost a real pool, each bounded in time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

from ceiling import PARAMS, Ceiling
from figures import MEBIBYTE, Figure, percentile, rate
from pool import NOTHING, PATIENCE, Pool, tasks_per_second

A_CHAIN: Final = "a chain of 1,000 tasks"
CHAIN: Final = 1_000
TRIPS: Final = 500
GROUP: Final = 10_000
SCHEDULES: Final = 10_000
SECONDS_MAX: Final = 300.0
_IDLE_SECONDS: Final = 20.0
_DAY: Final = 86_400


def flows(rounds: int) -> list[Figure]:
    """A chain, in which each task comes after the one before, and a group with a task that comes after all of it.

    How fast a chain can be depends on how fast the machine hands one task on, so a link is held against a round trip of
    the bare loop, too.
    """
    samples: dict[str, list[float]] = {}
    trips: list[float] = []
    with Ceiling() as ceiling, Pool(slots=2, isolation="thread") as pool:
        tasks_per_second(pool.client, 1000, PARAMS)
        for _ in range(rounds):
            trips.append(1e3 * percentile(ceiling.round_trips(TRIPS), 0.5))
            for name, run in ((A_CHAIN, _chain), ("a group of 10,000 and a final task", _group)):
                before = pool.processor_seconds()
                samples.setdefault(name, []).append(run(pool))
                after = pool.processor_seconds()
                spent = sum(after.values()) - sum(before.values())
                samples.setdefault(f"{name}, processor time of the pool", []).append(spent)
    links = [1e3 * seconds / CHAIN for seconds in samples[A_CHAIN]]
    return [
        *(
            Figure(name, "s", median(found), None if "processor" in name else 2.0, samples=found)
            for name, found in samples.items()
        ),
        Figure("a link of a chain, to a round trip", "ms", median(links), None, median(trips), False, links, trips),
    ]


def once(rounds: int, count: int) -> list[Figure]:
    """Tasks that bear a key, that ask for an answer which is not there, and for one that is: to the same without."""
    plain: list[float] = []
    rates: dict[str, list[float]] = {"with a key": [], "with a cache, nothing in it": [], "from the cache": []}
    with Pool(slots=2, isolation="thread") as pool:
        tasks_per_second(pool.client, 1000, PARAMS)
        for number in range(rounds):
            params = {**PARAMS, "body": b"%d" % number}
            plain.append(tasks_per_second(pool.client, count, params))
            ways: list[dict[str, Any]] = [{"key": _key}, {"cache": 3600}, {"cache": 3600}]
            for found, sending in zip(rates.values(), ways, strict=True):
                found.append(tasks_per_second(pool.client, count, params, **sending))
    goals = {"with a key": 0.7, "from the cache": 0.7}
    return [rate(f"tasks {name} (to the same without)", found, plain, goals.get(name)) for name, found in rates.items()]


def _key(params: dict[str, Any]) -> str:
    return f"{params['body']}:{params['frame']}"


def _chain(pool: Pool) -> float:
    began = time.perf_counter()
    with pool.client.flow("chain") as flow:
        last: Any = flow.send(NOTHING, PARAMS)
        for _ in range(CHAIN - 1):
            last = flow.send(NOTHING, PARAMS, after=[last])
    return ended(flow, began)


def _group(pool: Pool) -> float:
    began = time.perf_counter()
    with pool.client.flow("group") as flow:
        parts = [flow.send(NOTHING, PARAMS) for _ in range(GROUP)]
        flow.send(NOTHING, PARAMS, after=parts)
    return ended(flow, began)


def ended(flow: Any, began: float) -> float:
    """Seconds from `began` until all tasks of a flow have completed."""
    if not flow.wait(timeout=PATIENCE):
        message = f"a flow has not ended within {PATIENCE:g} s"
        raise TimeoutError(message)
    seconds = time.perf_counter() - began
    shown = flow.show()
    if shown["completed"] != shown["total"]:  # what is cancelled because another failed ends very soon
        message = f"a flow of {shown['total']} tasks has ended as {shown['counts']}: its time tells nothing"
        raise RuntimeError(message)
    return seconds


def schedules() -> list[Figure]:
    """What a supervisor takes of a processor while nothing happens, with and without schedules that are not due."""
    with Pool(slots=1, isolation="thread") as pool:
        without = _idle_share(pool)
        began = time.perf_counter()
        for number in range(SCHEDULES):
            pool.client.schedule(f"s{number}", NOTHING, PARAMS, every=_DAY + 7 * number)
        made = time.perf_counter() - began
        share = _idle_share(pool)
    return [
        Figure("supervisor, idle, no schedule", "share", without),
        Figure("supervisor, idle, 10,000 schedules", "share", share, goal=0.01),
        Figure("10,000 schedules made one by one", "s", made),
    ]


def _idle_share(pool: Pool) -> float:
    before = pool.processor_seconds()["supervisor"]
    time.sleep(_IDLE_SECONDS)  # sleeps: that nothing happens is what is measured
    return (pool.processor_seconds()["supervisor"] - before) / _IDLE_SECONDS


def files() -> list[Figure]:
    """Peak memory of `send --from` for a million lines, beside that for a hundred thousand."""
    peaks: dict[int, float] = {}
    seconds: dict[int, float] = {}
    for lines in (100_000, 1_000_000):
        with (
            Pool(slots=2, isolation="thread") as pool,
            tempfile.TemporaryDirectory(prefix="workerhost-bench-") as folder,
        ):
            path = Path(folder, "params.jsonl")
            with path.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps({**PARAMS, "frame": number}) + "\n" for number in range(lines))
            peaks[lines], seconds[lines] = _sent_from(path, pool.address)
    return [
        Figure("peak memory, a million tasks from a file (to 100,000)", "MiB", peaks[1_000_000],
               ceiling=peaks[100_000], goal=1.1),
        Figure("a million tasks from a file", "s", seconds[1_000_000]),
    ]  # fmt: skip


def _sent_from(path: Path, address: str) -> tuple[float, float]:
    """MiB at the peak, and seconds."""
    command = [sys.executable, "-m", "workerhost", "send", NOTHING, "--from", str(path), "--address", address]
    return peak_and_seconds(command, path.parent)


def peak_and_seconds(command: list[str], folder: Path) -> tuple[float, float]:
    """MiB at the peak of a program that must succeed, and seconds.

    `ru_maxrss` would tell the peak of who starts it, if that was higher: a process takes it along when it becomes
    another program. What the kernel tells of its memory begins with the program.
    """
    began, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            if time.perf_counter() - began > SECONDS_MAX:
                message = f"{' '.join(command)} has not ended within {SECONDS_MAX:g} s"
                raise TimeoutError(message)
            peak = max(peak, _peak(process.pid))
            time.sleep(0.05)  # sleeps: between two looks, without taking from what is measured
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode:
        message = f"{' '.join(command)} ended with {process.returncode}"
        raise RuntimeError(message)
    return peak, time.perf_counter() - began


def _peak(pid: int) -> float:
    """MiB; 0 of a process that has just ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 / MEBIBYTE for line in lines if line.startswith("VmHWM:")), 0.0)
