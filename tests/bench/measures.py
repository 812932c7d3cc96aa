"""What can be measured, by name. Each function takes its turns, ceiling then pool, and yields figures."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import features
import housekeeping
from ceiling import PARAMS, Ceiling
from everything import seconds_per_task
from figures import MEBIBYTE, ROOT, Figure, percentile, rate
from floods import trips_beside
from nothing import nothing
from pool import Pool, round_trips, single_tasks_per_second, submits_per_second, tasks_per_second

from workerhost import Client, WorkerHost

SLOTS: Final = 2
TRIPS: Final = 200
LARGE: Final[dict[str, Any]] = {**PARAMS, "body": b"\xc1" * 10 * 1024}
MILLION: Final = 1_000_000
HELD: Final = 100_000


@dataclass(frozen=True)
class Extent:
    """How much is measured: turns of each measurement, tasks sent in one turn."""

    rounds: int
    tasks: int
    deep: int = 10_000_000  # rows of `depths` and `past`


@dataclass(frozen=True)
class Measure:
    """One thing that `bin/bench NAME` measures."""

    function: Callable[[Extent], list[Figure]]
    usual: bool

    @property
    def what(self) -> str:
        """For people."""
        return (self.function.__doc__ or "").strip().rstrip(".")


# With real processes, beside the ceiling.


def _rates(
    client: Client,
    ceiling: Ceiling,
    name: str,
    extent: Extent,
    goal: float | None = None,
    *,
    run: Callable[[Client, int, dict[str, Any]], float] = tasks_per_second,
    params: dict[str, Any] = PARAMS,
) -> Figure:
    run(client, max(200, extent.tasks // 10), params)  # slots have run the worker once, the durations are known
    rates: list[float] = []
    ceilings: list[float] = []
    for _ in range(extent.rounds):
        ceilings.append(ceiling.tasks_per_second(extent.tasks, params))
        rates.append(run(client, extent.tasks, params))
    return rate(name, rates, ceilings, goal)


def processes(extent: Extent) -> list[Figure]:
    """tasks through process slots, and what one costs in processor time."""
    with Ceiling() as ceiling, Pool(slots=SLOTS) as pool:
        figure = _rates(pool.client, ceiling, "tasks, process slots", extent, 0.45)
        return [figure, *_costs(pool, "process slots", extent)]


def threads(extent: Extent) -> list[Figure]:
    """tasks through thread slots, and what one costs in processor time."""
    with Ceiling() as ceiling, Pool(slots=SLOTS, isolation="thread") as pool:
        figure = _rates(pool.client, ceiling, "tasks, thread slots", extent, 0.50)
        return [figure, *_costs(pool, "thread slots", extent)]


def _costs(pool: Pool, slots: str, extent: Extent) -> list[Figure]:
    before = pool.processor_seconds()
    tasks_per_second(pool.client, extent.tasks, PARAMS)
    after = pool.processor_seconds()
    return [
        Figure(f"processor time of a task, {slots}, {who}", "us", 1e6 * (after[who] - before[who]) / extent.tasks)
        for who in before
    ]


def inline(extent: Extent) -> list[Figure]:
    """tasks through an embedded pool with inline slots: one process does everything."""
    with _embedded() as client, Ceiling() as ceiling:
        return [_rates(client, ceiling, "tasks, inline slots", extent)]


@contextmanager
def _embedded() -> Generator[Client]:
    with (
        tempfile.TemporaryDirectory(prefix="workerhost-bench-") as folder,
        WorkerHost(workers=[nothing], database=Path(folder, "queue.db"), slots=SLOTS) as pool,
    ):
        yield pool.client


def hosts(extent: Extent) -> list[Figure]:
    """tasks through two hosts of one thread slot each."""
    with Ceiling() as ceiling, Pool(slots=1, isolation="thread", hosts=2) as pool:
        return [_rates(pool.client, ceiling, "tasks, 2 hosts", extent)]


def large(extent: Extent) -> list[Figure]:
    """tasks with params of 10 KiB, thread slots."""
    extent = Extent(extent.rounds, max(500, extent.tasks // 10))
    with Ceiling() as ceiling, Pool(slots=SLOTS, isolation="thread") as pool:
        return [_rates(pool.client, ceiling, "tasks, params of 10 KiB", extent, params=LARGE)]


def singles(extent: Extent) -> list[Figure]:
    """tasks sent one by one with `send_soon`, thread slots."""
    with Ceiling() as ceiling, Pool(slots=SLOTS, isolation="thread") as pool:
        return [_rates(pool.client, ceiling, "tasks, single sends", extent, 0.30, run=single_tasks_per_second)]


def submits(extent: Extent) -> list[Figure]:
    """how fast tasks are taken in while nobody runs them."""
    with Pool(slots=1, isolation="thread") as pool:
        return [rate("submits", [submits_per_second(pool.client, extent.tasks, PARAMS) for _ in range(extent.rounds)])]


def trips(extent: Extent) -> list[Figure]:
    """round trips of one task through a thread slot of an idle pool."""
    samples: list[float] = []
    ceilings: list[float] = []
    with Ceiling() as ceiling, Pool(slots=SLOTS, isolation="thread") as pool:
        round_trips(pool.client, 50, PARAMS)
        for _ in range(extent.rounds):
            ceilings += ceiling.round_trips(TRIPS)
            samples += round_trips(pool.client, TRIPS, PARAMS)
    return _trips("one task, idle pool", samples, ceilings, {0.50: 1.5, 0.99: 3.0})


def loaded(extent: Extent) -> list[Figure]:
    """round trips of one urgent task while another client keeps the pool busy."""
    samples: list[float] = []
    with Pool(slots=SLOTS, isolation="thread") as pool, Client(pool.address) as other, kept_busy(other):
        for _ in range(extent.rounds):
            samples += round_trips(pool.client, TRIPS, PARAMS)
    return _trips("one urgent task, busy pool", samples, [], {})


@contextmanager
def kept_busy(client: Client) -> Generator[None]:
    """Tasks of a client without a pause while the block lasts; raises what went wrong with them: they were too few."""
    over = threading.Event()

    def burden() -> None:
        while True:
            tasks_per_second(client, 2000, PARAMS)
            if over.is_set():
                return

    with ThreadPoolExecutor(1) as beside:
        burdened = beside.submit(burden)
        try:
            yield
        finally:
            over.set()
        burdened.result()


def _trips(name: str, samples: list[float], ceilings: list[float], goals: dict[float, float]) -> list[Figure]:
    shares = {"p50": 0.50, "p99": 0.99, "p99.9": 0.999}
    return [
        Figure(
            name=f"{name}, {label}",
            unit="ms",
            value=1e3 * percentile(samples, share),
            ceiling=1e3 * percentile(ceilings, share) if ceilings else None,
            goal=goals.get(share),
        )
        for label, share in shares.items()
    ]


def starts(extent: Extent) -> list[Figure]:
    """how soon a host has joined, what everybody weighs, and how long `--help` takes."""
    samples: dict[str, list[float]] = {}
    for _ in range(min(extent.rounds, 3)):
        with Pool(slots=SLOTS) as pool:
            supervisor, host = pool.memory()
            for name, value in (
                ("a host has joined, from its start", 1e3 * pool.seconds_from_start),
                ("a host has joined, from when it is up", 1e3 * pool.seconds_from_up),
                ("idle supervisor", supervisor / MEBIBYTE),
                ("idle host", host / MEBIBYTE),
                ("idle process slot", pool.slots_memory() / SLOTS / MEBIBYTE),
            ):
                samples.setdefault(name, []).append(value)
        started = time.perf_counter()
        subprocess.run([ROOT / "bin" / "workerhost", "--help"], check=True, stdout=subprocess.DEVNULL)
        samples.setdefault("workerhost --help", []).append(1e3 * (time.perf_counter() - started))
    goals = {
        "a host has joined, from when it is up": 100,
        "idle supervisor": 80,
        "idle host": 60,
        "workerhost --help": 300,
    }
    return [
        Figure(
            name, "MiB" if name.startswith("idle") else "ms", statistics.median(found), goals.get(name), samples=found
        )
        for name, found in samples.items()
    ]


# Core and store alone, see `alone.py`.


def _alone(rounds: int, *cases: dict[str, int]) -> list[list[dict[str, Any]]]:
    """Each case so many times, in turns; by case."""
    found: list[list[dict[str, Any]]] = [[] for _ in cases]
    program = str(Path(__file__).with_name("alone.py"))
    for _ in range(rounds):
        for place, case in enumerate(cases):
            done = subprocess.run([sys.executable, program, json.dumps(case)], check=True, stdout=subprocess.PIPE)
            found[place].append(json.loads(done.stdout))
    return found


def _compared(rounds: int, goal: float | None, cases: dict[str, dict[str, int]]) -> list[Figure]:
    """Claims a second in each case, as ratios to the first case of the same turn; weight and start of the last one."""
    first, *others = cases
    of_first, *of_others = _alone(rounds, *cases.values())
    base = [run["claims_per_second"] for run in of_first]
    figures = [rate(f"claims, {first}", base)]
    for name, runs in zip(others, of_others, strict=True):
        figures.append(rate(f"claims, {name}", [run["claims_per_second"] for run in runs], base, goal))
        figures.append(_processor(f"processor time of a task, {name}", runs, of_first))
    name, runs = others[-1], of_others[-1]
    memory = statistics.median(run["memory_after"] for run in runs) / MEBIBYTE
    start = statistics.median(run["first_grant"] for run in runs)
    figures.append(Figure(f"memory, {name}", "MiB", memory, goal=256 if "queued" in name else None))
    figures.append(Figure(f"start until the first grant, {name}", "s", start, goal=1.0 if "queued" in name else None))
    if runs[0]["idle_share"] is not None:
        share = statistics.median(run["idle_share"] for run in runs)
        figures.append(Figure(f"processor, {name}, idle", "share", share, goal=0.10))
    return figures


def _processor(name: str, runs: list[dict[str, Any]], of_first: list[dict[str, Any]]) -> Figure:
    """What else the machine does is in it least of all; its ratio is to the first case."""
    samples, first = ([1e6 * run["processor"] for run in several] for several in (runs, of_first))
    return Figure(
        name, "us", statistics.median(samples), ceiling=statistics.median(first), samples=samples, ceilings=first
    )


def depth(extent: Extent) -> list[Figure]:
    """claims, memory and start with a million tasks queued (core and store alone)."""
    cases: dict[str, dict[str, int]] = {"20 thousand queued": {}, "a million queued": {"queued": MILLION}}
    return _compared(min(3, extent.rounds), 0.9, cases)


def depths(extent: Extent) -> list[Figure]:
    """claims, memory and start with ten million tasks queued (`--deep`; core and store alone; a minute or two)."""
    cases: dict[str, dict[str, int]] = {"20 thousand queued": {}, f"{extent.deep:,} queued": {"queued": extent.deep}}
    return _compared(min(2, extent.rounds), 0.9, cases)


def past(extent: Extent) -> list[Figure]:
    """claims with ten million ended tasks in the store (`--deep`; core and store alone; a minute or two)."""
    cases: dict[str, dict[str, int]] = {"20 thousand queued": {}, f"{extent.deep:,} ended": {"finished": extent.deep}}
    return _compared(min(2, extent.rounds), 0.9, cases)


def memory(extent: Extent) -> list[Figure]:
    """what a task weighs, queued and running, and a host (core and store alone)."""
    cases: dict[str, tuple[int, dict[str, int], dict[str, int]]] = {
        "queued task": (MILLION, {}, {"queued": MILLION}),
        "running task": (HELD, {"queued": HELD}, {"queued": HELD, "hosts": 10, "slots": HELD // 10, "held": HELD}),
        "host": (1000, {"slots": 2000}, {"slots": 2, "hosts": 1000}),
    }
    figures: list[Figure] = []
    for name, (count, without, beside) in cases.items():
        pairs = zip(*_alone(min(3, extent.rounds), without, beside), strict=True)
        weights = [(more["memory"] - less["memory"]) / count for less, more in pairs]
        figures.append(Figure(f"memory of a {name}", "bytes", statistics.median(weights), samples=weights))
    return figures


def turns(extent: Extent) -> list[Figure]:
    """how long turns take that keep house, beside those that do not (core and store alone)."""
    return housekeeping.turns(min(3, extent.rounds))


def crowds(extent: Extent) -> list[Figure]:
    """a hundred and a thousand hosts with two slots each (core and store alone)."""
    cases: dict[str, dict[str, int]] = {
        "1 host": {"slots": 2000},
        "100 hosts": {"hosts": 100, "slots": 20},
        "1,000 hosts": {"hosts": 1000, "slots": 2, "idle": 5},
    }
    return _compared(min(3, extent.rounds), None, cases)


def types(extent: Extent) -> list[Figure]:
    """ten and a thousand types (core and store alone)."""
    cases: dict[str, dict[str, int]] = {"1 type": {}, "10 types": {"types": 10}, "1,000 types": {"types": 1000}}
    return _compared(min(3, extent.rounds), 0.9, cases)


def everything(extent: Extent) -> list[Figure]:
    """every feature on, against off, in processor time (core and store alone)."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(extent.rounds):
        for on, found in rates.items():
            found.append(1 / seconds_per_task(extent.tasks, features=on))
    return [rate("tasks a second of processor time, every feature on (to off)", rates[True], rates[False], 0.9)]


def guarded(extent: Extent) -> list[Figure]:
    """tasks through a pool that other machines can reach, beside one that they cannot."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    trips: dict[bool, list[float]] = {False: [], True: []}
    with Pool(slots=SLOTS) as plain, Pool(slots=SLOTS, guarded=True) as encrypted:
        pools = {False: plain, True: encrypted}
        for pool in pools.values():
            tasks_per_second(pool.client, max(200, extent.tasks // 10), PARAMS)
        for _ in range(extent.rounds):
            for secure, pool in pools.items():
                rates[secure].append(tasks_per_second(pool.client, extent.tasks, PARAMS))
                trips[secure] += round_trips(pool.client, TRIPS // 4, PARAMS)
    half = [1000 * statistics.median(trips[secure]) for secure in (True, False)]
    return [
        rate("tasks, encrypted (to the same without)", rates[True], rates[False], 0.85),
        Figure("round trip, encrypted, median", "ms", half[0], ceiling=half[1]),
    ]


def floods(extent: Extent) -> list[Figure]:
    """round trips at a guarded pool while others flood it, come and go, or stand about, and what these did."""
    with Pool(slots=SLOTS, guarded=True) as pool:
        return trips_beside(pool, extent.rounds)


def flows(extent: Extent) -> list[Figure]:
    """a chain of 1,000 tasks, and a group of 10,000 with a final task."""
    return features.flows(min(3, extent.rounds))


def once(extent: Extent) -> list[Figure]:
    """tasks with a key, or answered from a cache, to the same without."""
    return features.once(extent.rounds, extent.tasks)


def schedules(_extent: Extent) -> list[Figure]:
    """what 10,000 schedules that are not due take of a processor."""
    return features.schedules()


def files(_extent: Extent) -> list[Figure]:
    """a million tasks sent from a file: how long, and how much memory (some minutes)."""
    return features.files()


MEASURES: Final = {
    "processes": Measure(processes, usual=True),
    "threads": Measure(threads, usual=True),
    "inline": Measure(inline, usual=True),
    "singles": Measure(singles, usual=True),
    "submits": Measure(submits, usual=True),
    "trips": Measure(trips, usual=True),
    "loaded": Measure(loaded, usual=False),
    "hosts": Measure(hosts, usual=False),
    "large": Measure(large, usual=False),
    "starts": Measure(starts, usual=True),
    "depth": Measure(depth, usual=True),
    "depths": Measure(depths, usual=False),
    "past": Measure(past, usual=False),
    "memory": Measure(memory, usual=False),
    "turns": Measure(turns, usual=False),
    "crowds": Measure(crowds, usual=False),
    "types": Measure(types, usual=False),
    "everything": Measure(everything, usual=False),
    "guarded": Measure(guarded, usual=False),
    "floods": Measure(floods, usual=False),
    "flows": Measure(flows, usual=True),
    "once": Measure(once, usual=False),
    "schedules": Measure(schedules, usual=False),
    "files": Measure(files, usual=False),
}
