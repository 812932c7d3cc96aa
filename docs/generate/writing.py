"""How the generated pages are written: tables, headings, docstrings. Knows Markdown and nothing of WorkerHost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_LISTS = ("Args", "Attributes", "Raises")
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields):$")


def head(title: str, text: str) -> str:
    """The beginning of a generated page."""
    return f"# {title}\n\n<!-- Written by bin/docs from the code: edit that. -->\n\n{text}"


def cell(text: str) -> str:
    """A text as it may stand in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with these titles."""
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    lines += [f"| {' | '.join(cell(text) for text in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def docstring(text: str) -> str:
    """A docstring in Google's form as Markdown: its sections become lists, but for those that are sentences."""
    parts: list[str] = []
    paragraph: list[str] = []
    section = ""
    for line in [*text.expandtabs().splitlines(), ""]:
        found = _SECTION.match(line)
        if found:
            parts.append(f"*{found[1]}*\n")
            section = found[1]
        elif not line.strip():
            if paragraph:
                parts.append(_listed(paragraph) if section in _LISTS else _told(paragraph, inside=bool(section)))
            paragraph = []
            section = ""
        else:
            paragraph.append(line)
    return "\n".join(parts)


def _told(lines: Sequence[str], *, inside: bool) -> str:
    """A paragraph; `inside` a section, whose inset it does not keep."""
    return "\n".join(line.strip() if inside else line for line in lines) + "\n"


def _listed(lines: Sequence[str]) -> str:
    """`name: what it is` with continued lines, as a list."""
    inset = len(lines[0]) - len(lines[0].lstrip())
    items: list[str] = []
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if depth <= inset or not items:
            name, colon, what = line.strip().partition(": ")
            items.append(f"- `{name}`: {what}" if colon else f"- {line.strip()}")
        else:
            items[-1] += " " + line.strip()
    return "\n".join(items) + "\n"
