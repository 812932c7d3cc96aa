"""What a measurement yields, how it is shown and kept, and how two runs compare."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = ROOT / "bench-results"
MEBIBYTE: Final = 1024 * 1024
_WIDTH: Final = 140  # of a table that goes into a file


@dataclass
class Figure:
    """One measured number.

    Attributes:
        name: What it is; the same in every run.
        unit: Of `value`.
        value: The median of `samples`, where there are several.
        goal: A bound: for `ratio` where there is one, else for `value`.
        ceiling: What the bare loop reached beside it, in the same unit; or what else the ratio is to.
        higher_is_better: Which way the goal is meant.
        samples, ceilings: Turn by turn, in pairs.
    """

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
        """To the ceiling of the same turn."""
        if self.ceilings:
            return statistics.median(a / b for a, b in zip(self.samples, self.ceilings, strict=True))
        return self.value / self.ceiling if self.ceiling else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.goal is None:
            return None
        judged = self.value if self.ratio is None else self.ratio
        return judged >= self.goal if self.higher_is_better else judged <= self.goal

    def document(self) -> dict[str, Any]:
        """As it is kept."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


def rate(name: str, rates: Sequence[float], ceilings: Sequence[float] = (), goal: float | None = None) -> Figure:
    """Tasks a second, measured in turns."""
    return Figure(
        name=name,
        unit="tasks/s",
        value=statistics.median(rates),
        goal=goal,
        ceiling=statistics.median(ceilings) if ceilings else None,
        higher_is_better=True,
        samples=list(rates),
        ceilings=list(ceilings),
    )


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample below which that share of them lies."""
    return sorted(samples)[min(len(samples) - 1, int(len(samples) * share))]


def run_of(figures: Sequence[Figure], conditions: dict[str, Any]) -> dict[str, Any]:
    """A whole run, as it is kept and printed with `--json`."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        **conditions,
        "figures": [figure.document() for figure in figures],
    }


def keep(document: dict[str, Any]) -> Path:
    """Write a run beside the others."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{document['at'][:19].replace(':', '')}-{document['commit']}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def kept_before(names: set[str], conditions: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By name, each figure as the latest kept run that has it measured it, and `otherwise`: conditions it had not."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(RESULTS.glob("*.json"), reverse=True):
        if names <= found.keys():
            break
        run = json.loads(path.read_text(encoding="utf-8"))
        otherwise = {name: run.get(name) for name, value in conditions.items() if run.get(name) != value}
        for figure in run["figures"]:
            found.setdefault(figure["name"], {**figure, "otherwise": otherwise})
    return found


def show(figures: Sequence[Figure], before: dict[str, dict[str, Any]] | None) -> None:
    """The table, with the change against earlier runs if they are given."""
    table = Table(
        "figure", "unit", "pool", "ceiling", "ratio", "goal", *([] if before is None else ["before", "change"])
    )
    for column in table.columns[2:]:
        column.justify = "right"
    for figure in figures:
        sign = "≥" if figure.higher_is_better else "≤"
        verdict = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[figure.met]
        change = [] if before is None else _change(figure, before.get(figure.name))
        table.add_row(
            figure.name,
            figure.unit,
            _number(figure.value),
            "" if figure.ceiling is None else _number(figure.ceiling),
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            "" if figure.goal is None else f"{sign} {figure.goal:g} {verdict}",
            *change,
        )
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(table)


def _number(value: float) -> str:
    return f"{value:,.{0 if value >= 100 else 2 if value >= 0.1 else 4}f}"


def _change(figure: Figure, before: dict[str, Any] | None) -> list[str]:
    """Ratios are compared where both runs have one: what else the machine did is in neither then."""
    if before is None:
        return ["", "new"]
    now, then = figure.value, before["value"]
    if figure.ratio is not None and before["ratio"] is not None:
        now, then = figure.ratio, before["ratio"]
    share = now / then - 1 if then else 0.0
    better = share >= 0 if figure.higher_is_better else share <= 0
    colour = "white" if abs(share) < 0.05 else "green" if better else "red"
    otherwise = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in before["otherwise"].items())
    return [_number(then), f"[{colour}]{share:+.0%}[/]" + (f" (then {otherwise})" if otherwise else "")]


def _commit() -> str:
    """The commit that was measured, with a plus when the tree has changes beyond it."""
    try:
        head, changed = (
            subprocess.run(["git", "-C", ROOT, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "no-commit"
    return head + ("+" if changed else "")
