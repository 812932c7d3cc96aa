"""The page of log events: every constant name that is written to a log, found in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from writing import head, table

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("actors", "transport", "workers", "bin")
LEVELS = ("debug", "info", "warning", "error", "critical", "exception")
_INTRODUCTION = """\
Logs are lines of one event each: a constant name, and what it is about as fields. On a terminal they are written for a
person, elsewhere as JSON (`logging: format`). `grep task_quarantined` finds every case; nothing is said per task above
`debug`.
"""


def events() -> str:
    """The whole page."""
    found: dict[str, tuple[str, set[str]]] = {}
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            for name, level, fields in _said(ast.parse(file.read_text(encoding="utf-8"))):
                known = found.setdefault(name, (level, set()))
                known[1].update(fields)
    rows = [
        (f"`{name}`", level, ", ".join(f"`{field}`" for field in sorted(fields)))
        for name, (level, fields) in sorted(found.items())
    ]
    return head("Log events", _INTRODUCTION) + "\n" + table(("event", "level", "fields"), rows)


def _said(tree: ast.Module) -> Iterator[tuple[str, str, list[str]]]:
    """`log.warning("name", field=...)` and the core's `step.note("warning", "name", field=...)`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        words = [word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
        fields = [keyword.arg for keyword in node.keywords if keyword.arg and keyword.arg != "exc_info"]
        if node.func.attr == "note" and len(words) == 2 and words[0] in LEVELS:
            yield words[1], words[0], fields
        elif node.func.attr in LEVELS and len(words) == 1 and "_" in words[0] and words[0].isidentifier():
            yield words[0], node.func.attr, fields
