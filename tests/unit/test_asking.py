"""Actors ask only whom they have started themselves, and never without a bound: two that ask each other stand still."""

from __future__ import annotations

import ast
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workerhost.actors import supervisor

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("actors", "bin", "config", "transport", "workers")
DOWNWARD = {
    ("actors/levels.py", "Subtree._start"),  # the actor it started in the line before
    ("actors/supervisor.py", "Supervisor.start"),  # the same
}
"""Where an actor is asked. Whoever adds a place makes sure that it asks downward."""


def asks(source: str) -> Iterator[tuple[str, int, bool]]:
    """(class and function, line, whether it is bounded) of everything that waits for an actor's answer."""

    def look(node: ast.AST, where: str) -> Iterator[tuple[str, int, bool]]:
        for child in ast.iter_child_nodes(node):
            name = getattr(child, "name", "") if isinstance(child, ast.ClassDef | ast.FunctionDef) else ""
            if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
                if child.func.attr == "ask":
                    yield where, child.lineno, any(keyword.arg == "timeout" for keyword in child.keywords)
                elif child.func.attr == "proxy":
                    yield where, child.lineno, False  # each use of a proxy is an ask
            yield from look(child, ".".join(filter(None, (where, name))))

    return look(ast.parse(source), "")


def test_nobody_is_asked_upward_or_without_a_bound() -> None:
    found: set[tuple[str, str]] = set()
    for path in (p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py")):
        source = path.read_text()
        if "import pykka" not in source:
            continue
        for where, line, bounded in asks(source):
            assert bounded, f"{path.relative_to(ROOT)}:{line}: an ask without a timeout"
            found.add((str(path.relative_to(ROOT)), where))
    assert found == DOWNWARD


def test_the_check_finds_what_it_looks_for() -> None:
    source = """\
class A:
    def f(self):
        self.owner.ask(1)
        self.child.ask(2, timeout=3)
        self.child.proxy().x.get()
"""
    assert list(asks(source)) == [("A.f", 3, False), ("A.f", 4, True), ("A.f", 5, False)]


def test_a_supervisor_that_takes_long_to_open_its_database_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    connect = sqlite3.connect

    def slow(*arguments: Any, **more: Any) -> Any:
        time.sleep(0.2)  # sleeps: the file is a slow one, several times as long as an answer is waited for
        return connect(*arguments, **more)

    monkeypatch.setattr(sqlite3, "connect", slow)
    monkeypatch.setattr(supervisor, "_START_GLANCE_SECONDS", 0.05)
    settings = supervisor.SupervisorSettings(address="tcp://127.0.0.1:0", database=tmp_path / "tasks.db")
    running = supervisor.Supervisor.start(settings)
    running.stop()
