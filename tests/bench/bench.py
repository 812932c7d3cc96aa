"""How fast the pool is, beside the ceiling in the same minute: `bin/bench [--json] [--rounds N] [--tasks N]`.

Rates and round trips are measured in turns, ceiling then pool, and the medians compared, so that what else the machine
does hits both. Every run is kept in `bench-results/` with the commit it measured.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ceiling import PARAMS, Ceiling
from nothing import nothing
from pool import Pool, round_trips, tasks_per_second
from rich.console import Console
from rich.table import Table

from workerhost import Client, WorkerHost

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench-results"
SLOTS = 2
TRIPS_PER_ROUND = 100
MEBIBYTE = 1024 * 1024


@dataclass
class Figure:
    """One measured number. `goal` is a bound for `ratio` where there is a ceiling, else for `value`."""

    name: str
    unit: str
    value: float
    goal: float | None = None
    ceiling: float | None = None
    higher_is_better: bool = False
    samples: list[float] = field(default_factory=list[float])
    ceilings: list[float] = field(default_factory=list[float])

    @property
    def ratio(self) -> float | None:
        if self.ceilings:  # measured in pairs, each in the same second or two
            return statistics.median(a / b for a, b in zip(self.samples, self.ceilings, strict=True))
        return self.value / self.ceiling if self.ceiling else None

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        judged = self.value if self.ratio is None else self.ratio
        return judged >= self.goal if self.higher_is_better else judged <= self.goal

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def percentile(samples: list[float], share: float) -> float:
    return sorted(samples)[min(len(samples) - 1, int(len(samples) * share))]


def measure_rate(client: Client, ceiling: Ceiling, name: str, rounds: int, tasks: int, goal: float | None) -> Figure:
    tasks_per_second(client, tasks // 10, PARAMS)  # the slots' processes have run the worker once
    rates: list[float] = []
    ceilings: list[float] = []
    for _ in range(rounds):
        ceilings.append(ceiling.tasks_per_second(tasks))
        rates.append(tasks_per_second(client, tasks, PARAMS))
    return Figure(
        name=name,
        unit="tasks/s",
        value=statistics.median(rates),
        ceiling=statistics.median(ceilings),
        goal=goal,
        higher_is_better=True,
        samples=rates,
        ceilings=ceilings,
    )


def measure_trips(client: Client, ceiling: Ceiling, rounds: int) -> list[Figure]:
    trips: list[float] = []
    ceilings: list[float] = []
    for _ in range(rounds):
        ceilings += ceiling.round_trips(TRIPS_PER_ROUND)
        trips += round_trips(client, TRIPS_PER_ROUND, PARAMS)
    return [
        Figure(
            name=f"one task, idle pool, {label}",
            unit="ms",
            value=1e3 * percentile(trips, share),
            ceiling=1e3 * percentile(ceilings, share),
            goal=goal,
        )
        for label, share, goal in (("p50", 0.50, 3.0), ("p99", 0.99, None))
    ]


def measure_help(rounds: int) -> Figure:
    milliseconds: list[float] = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        subprocess.run([ROOT / "bin" / "workerhost", "--help"], check=True, stdout=subprocess.DEVNULL)
        milliseconds.append(1e3 * (time.perf_counter() - started))
    warm = milliseconds[1:]
    return Figure(name="workerhost --help", unit="ms", value=statistics.median(warm), goal=300, samples=warm)


def measure_starts(rounds: int) -> list[Figure]:
    """How soon a host has joined, and what it and its supervisor weigh when nothing has happened yet."""
    names = {
        "a host has joined, from its start": ("ms", None),
        "a host has joined, from when it is up": ("ms", 100),
        "idle supervisor": ("MiB", 80),
        "idle host": ("MiB", 60),
    }
    samples: list[tuple[float, ...]] = []
    for _ in range(rounds):
        with Pool(slots=SLOTS) as pool:
            supervisor, host = pool.memory()
            joined = (1e3 * pool.seconds_from_start, 1e3 * pool.seconds_from_up)
            samples.append((*joined, supervisor / MEBIBYTE, host / MEBIBYTE))
    return [
        Figure(name=name, unit=unit, value=statistics.median(column), goal=goal, samples=list(column))
        for (name, (unit, goal)), column in zip(names.items(), zip(*samples, strict=True), strict=True)
    ]


def measure(rounds: int, tasks: int) -> list[Figure]:
    figures: list[Figure] = []
    with Ceiling() as ceiling:
        say("a pool with process slots")
        with Pool(slots=SLOTS) as pool:
            figures.append(measure_rate(pool.client, ceiling, "tasks, process slots", rounds, tasks, goal=0.30))
            figures += measure_trips(pool.client, ceiling, rounds)
            after = [weight / MEBIBYTE for weight in pool.memory()]
        say("a pool with thread slots")
        with Pool(slots=SLOTS, isolation="thread") as pool:
            figures.append(measure_rate(pool.client, ceiling, "tasks, thread slots", rounds, tasks, goal=None))
        say("an embedded pool with inline slots")
        with (
            tempfile.TemporaryDirectory(prefix="workerhost-bench-") as folder,
            WorkerHost(workers=[nothing], database=Path(folder, "queue.db"), slots=SLOTS) as pool,
        ):
            figures.append(measure_rate(pool.client, ceiling, "tasks, inline slots", rounds, tasks, goal=None))
    say("starts")
    figures += measure_starts(rounds)
    figures += [
        Figure(name=f"{name} after the tasks", unit="MiB", value=weight)
        for name, weight in zip(("supervisor", "host"), after, strict=True)
    ]
    return [*figures, measure_help(rounds)]


def commit() -> str:
    """The commit that was measured, with a plus when the tree has changes beyond it."""
    try:
        head = subprocess.run(
            ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            ["git", "-C", ROOT, "status", "--porcelain"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "no-commit"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def as_document(figures: list[Figure], rounds: int, tasks: int) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "rounds": rounds,
        "tasks": tasks,
        "figures": [figure.document() for figure in figures],
    }


def keep(document: dict[str, Any]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{document['at'][:19].replace(':', '')}-{document['commit']}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def show(figures: list[Figure]) -> None:
    table = Table("figure", "unit", "pool", "ceiling", "ratio", "goal")
    for column in table.columns[2:]:
        column.justify = "right"
    for figure in figures:
        digits = 0 if figure.value >= 100 else 2
        sign = "≥" if figure.higher_is_better else "≤"
        verdict = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[figure.met]
        table.add_row(
            figure.name,
            figure.unit,
            f"{figure.value:,.{digits}f}",
            "" if figure.ceiling is None else f"{figure.ceiling:,.{digits}f}",
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            "" if figure.goal is None else f"{sign} {figure.goal:g} {verdict}",
        )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bin/bench", description=(__doc__ or "").partition(":")[0] + ".")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    parser.add_argument(
        "--rounds", type=int, default=5, help="turns of each measurement, 5 or more to trust it (default 5)"
    )
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks sent in one turn (default 20000)")
    arguments = parser.parse_args()
    figures = measure(arguments.rounds, arguments.tasks)
    document = as_document(figures, arguments.rounds, arguments.tasks)
    kept = keep(document)
    if arguments.json:
        print(json.dumps(document))
    else:
        show(figures)
    say(f"kept in {kept}")


if __name__ == "__main__":
    main()
