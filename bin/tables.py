"""Tables and times for people: plain aligned text that fits the terminal, or 80 columns where there is none."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

from ..workers.errors import plain

GAP = "  "
_FIGURE_MAX = 9_999_999
"""A larger number is rounded in a table: `12.3M`. Where it stands alone, `count` has all of it."""
_NUMBER = re.compile(r"-|-?[0-9][0-9,.]*[kMGT%]?")
_NOTE_COLUMNS = 12
"""What the last column keeps at least, beside its heading: less says nothing."""


def width() -> int:
    """Columns of the terminal that stdout is, or 80."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], columns: int | None = None) -> list[str]:
    """Lines of a table, none longer than `columns`: what is too long is cut in the last column, then in the widest.

    Numbers stand right and are never cut, texts left; an empty table is no line at all.
    """
    if not rows:
        return []
    cells = [[_cell(value) for value in row] for row in rows]
    right = [all(_NUMBER.fullmatch(text) for text in column) for column in zip(*cells, strict=True)]
    widths = [max(breadth(row[n]) for row in [list(head), *cells]) for n in range(len(head))]
    least = [size if is_right else breadth(name) for name, size, is_right in zip(head, widths, right, strict=True)]
    _fit(widths, (columns or width()) - len(GAP) * (len(head) - 1), least)
    return [_row(row, widths, right) for row in [list(head), *cells]]


def breadth(text: str) -> int:
    """Columns that a text takes in a terminal: a Chinese character takes two, an accent that is added takes none."""
    if text.isascii():
        return len(text)
    return sum(_columns_of(character) for character in text)


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, columns: int | None = None) -> str:
    """The text, or as much of it as fits. A name or a path is cut in its middle: its end tells it from others."""
    columns = columns or width()
    if breadth(text) <= columns:
        return text
    if " " in text or columns < 8:
        return _first(text, columns - 1) + "…"
    tail = _first(text[::-1], columns // 2)[::-1]
    return _first(text, columns - 1 - breadth(tail)) + "…" + tail


def _first(text: str, columns: int) -> str:
    """As many characters from the start as fit."""
    if text.isascii():
        return text[: max(columns, 0)]
    taken = ""
    for character in text:
        columns -= _columns_of(character)
        if columns < 0:
            break
        taken += character
    return taken


def wrapped(name: str, text: str, *, indent: int) -> list[str]:
    """`name  text` over as many lines as it takes, its text standing in one column.

    Args:
        name: What stands in front of the first line; empty: nothing.
        text: One paragraph.
        indent: Where the text begins.
    """
    columns = max(width() - indent, 8)
    words = " ".join(cut(word, columns) for word in plain(text, 2000).split())
    lines = textwrap.wrap(words, columns, break_on_hyphens=False) or [""]
    return [f"{name if number == 0 else '':{indent}}{line}".rstrip() for number, line in enumerate(lines)]


def count(number: int, word: str) -> str:
    """`1 host`, `1,200 hosts`."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def figure(number: float) -> str:
    """A number for a narrow column: whole up to seven digits, then rounded to three."""
    if isinstance(number, float):
        return f"{number:.1f}"
    if abs(number) <= _FIGURE_MAX:
        return str(number)
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(number) >= size:
            return f"{number / size:.3g}{unit}" if abs(number) < 999.5 * size else f"{number / size:.0f}{unit}"
    return str(number)


def _cell(value: Any) -> str:
    return "-" if value is None or value == "" else plain(str(value), 500)


def _fit(widths: list[int], room: int, least: list[int]) -> None:
    """Narrow the columns until they fit, the last one first, none below its heading."""
    over = sum(widths) - room
    if over > 0:
        less = min(over, widths[-1] - min(widths[-1], max(least[-1], _NOTE_COLUMNS)))
        widths[-1] -= less
        over -= less
    while over > 0 and any(width > least[n] for n, width in enumerate(widths)):
        widest = max((width, n) for n, width in enumerate(widths) if width > least[n])[1]
        widths[widest] -= 1
        over -= 1


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    parts: list[str] = []
    for text, size, is_right in zip(cells, widths, right, strict=True):
        shown = cut(text, size)
        blank = " " * (size - breadth(shown))
        parts.append(blank + shown if is_right else shown + blank)
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


def ago(instant: float | None, now: float) -> float | None:
    """Seconds since an instant; None if there is none."""
    return None if instant is None else max(0.0, now - instant)


def percent(fraction: float | None) -> str:
    """`45%`, or nothing."""
    return "" if fraction is None else f"{fraction:.0%}"
