"""The page of log events: every constant name that is written to a log, found in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from writing import head, table

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("actors", "transport", "workers", "bin")
LEVELS = ("debug", "info", "warning", "error", "critical", "exception")
_INTRODUCTION = """\
Logs are lines of one event each: a constant name, and what it is about as fields. On a terminal they are written for a
person, elsewhere as JSON (`logging: format`). `grep task_quarantined` finds every case. Of a task that goes well
nothing is said above `debug`, but what it prints: `task_output`, a line each.
"""
_WORDS = ("note", "_note", "Note", "tell", "say", "_write")
"""Calls that are given a level, and behind it a name."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Said(NamedTuple):
    """One place that writes to the log."""

    name: str
    levels: list[str]
    fields: set[str]


def events() -> str:
    """The whole page."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            for said in _said(ast.parse(file.read_text(encoding="utf-8"))):
                levels, fields = found.setdefault(said.name, (set(), set()))
                levels.update(said.levels)
                fields.update(said.fields)
    rows = [
        (f"`{name}`", " or ".join(sorted(levels, key=LEVELS.index)), ", ".join(f"`{one}`" for one in sorted(fields)))
        for name, (levels, fields) in sorted(found.items())
    ]
    return head("Log events", _INTRODUCTION) + "\n" + table(("event", "level", "fields"), rows)


def _said(tree: ast.Module) -> Iterator[Said]:
    """`log.warning("name", field=...)`, and words such as the core's `step.note("warning", "name", field=...)`."""
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    added = {function.name: _added(function) for function in functions if function.name in _WORDS}
    for function in functions:
        known = _variables(function)
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            word = _word(call)
            fields = _fields(call, known) | added.get(word, set())
            if word in LEVELS and len(call.args) == 1:
                for name in _texts(call.args[0]):
                    if "_" in name and name.isidentifier():
                        yield Said(name, [word], fields)
            elif word in _WORDS:
                for level, event in zip(call.args, call.args[1:], strict=False):
                    levels = _texts(level)
                    if levels and set(levels) <= set(LEVELS):
                        yield from (Said(name, levels, fields) for name in _names(event))


def _word(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _texts(node: ast.expr) -> list[str]:
    """What a text may be: one, or one of two; nothing of a variable."""
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _names(node: ast.expr) -> list[str]:
    """What the name of an event may be.

    Raises:
        ValueError: It is put together of parts, so that nobody finds it who looks for it.
    """
    if isinstance(node, ast.JoinedStr):
        message = f"{ast.unparse(node)}: write the names of events out, with `if` and `else` between them"
        raise ValueError(message)
    return _texts(node)


def _fields(call: ast.Call, known: Mapping[str, set[str]]) -> set[str]:
    """The names of the fields, as far as the function that says them shows them."""
    found = {keyword.arg for keyword in call.keywords if keyword.arg}
    rest = [keyword.value for keyword in call.keywords if keyword.arg is None]
    return (found | _keys([*rest, *call.args[2:]], known)) - {"exc_info"}


def _keys(nodes: Iterable[ast.expr | None], known: Mapping[str, set[str]]) -> set[str]:
    """The keys of mappings that are written out."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Dict):
            found |= {key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
            found |= _keys([value for key, value in zip(node.keys, node.values, strict=True) if key is None], known)
        elif isinstance(node, ast.IfExp):
            found |= _keys([node.body, node.orelse], known)
        elif isinstance(node, ast.BinOp):
            found |= _keys([node.left, node.right], known)
        elif isinstance(node, ast.Name):
            found |= known.get(node.id, set())
    return found


def _variables(function: Function) -> dict[str, set[str]]:
    """Of each variable of a function the keys that it gets there."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, set()).update(_keys([node.value], found))
                elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
                    found.setdefault(target.value.id, set()).update(_texts(target.slice))
    return found


def _added(function: Function) -> set[str]:
    """What a word of this file adds to the fields that it is given."""
    known = _variables(function)
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and _word(node) in _WORDS]
    return {field for call in calls for field in _fields(call, known)}
