"""Tables and times for people: plain aligned text that fits the terminal, or 80 columns where there is none."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any

from ..workers.errors import plain

GAP = "  "


def width() -> int:
    """Columns of the terminal that stdout is, or 80."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], columns: int | None = None) -> list[str]:
    """Lines of a table, none longer than `columns`: what is too long is cut in the last column, then in the widest.

    Numbers stand right, texts left; an empty table is no line at all.
    """
    if not rows:
        return []
    cells = [[_cell(value) for value in row] for row in rows]
    right = [all(isinstance(row[n], (int, float)) for row in rows) for n in range(len(head))]
    widths = [max(len(row[n]) for row in [list(head), *cells]) for n in range(len(head))]
    _fit(widths, (columns or width()) - len(GAP) * (len(head) - 1), [len(name) for name in head])
    return [_row(row, widths, right) for row in [list(head), *cells]]


def cut(text: str, columns: int | None = None) -> str:
    """The text, or as much of it as fits."""
    columns = columns or width()
    return text if len(text) <= columns else text[: columns - 1] + "…"


def _cell(value: Any) -> str:
    return "-" if value is None or value == "" else plain(str(value), 500)


def _fit(widths: list[int], room: int, least: list[int]) -> None:
    """Narrow the columns until they fit, the last one first, none below its heading."""
    over = sum(widths) - room
    if over > 0:
        cut = min(over, widths[-1] - min(widths[-1], max(least[-1], 12)))
        widths[-1] -= cut
        over -= cut
    while over > 0 and any(width > least[n] for n, width in enumerate(widths)):
        widest = max((width, n) for n, width in enumerate(widths) if width > least[n])[1]
        widths[widest] -= 1
        over -= 1


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    parts: list[str] = []
    for text, size, is_right in zip(cells, widths, right, strict=True):
        shown = cut(text, size)
        parts.append(shown.rjust(size) if is_right else shown.ljust(size))
    return GAP.join(parts).rstrip()


def span(seconds: float | None) -> str:
    """A length of time in two units at most: `7.1s`, `3m12s`, `2h05m`, `4d3h`."""
    if seconds is None:
        return "-"
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for size, unit, below, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // below:02d}{small}"
    return f"{whole}s"
