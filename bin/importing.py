"""Looks whether what a configuration names can be imported: in a process of its own, never in the one that asks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Final

from ..config.policy import nearest
from ..config.schema import Settings
from ..workers.code_place import search_paths
from ..workers.source import Environment

_SECONDS_MAX: Final = 60.0
_PACKAGE: Final = __name__.split(".")[0]
_CHILD: Final = f"""
import json, os, sys
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the code prints while it is imported is not the answer
from {_PACKAGE}.workers.registry import load_all
from {_PACKAGE}.workers.source import Source
asked = json.load(sys.stdin)
sources = {{type: Source(*parts) for type, parts in asked["sources"].items()}}
json.dump(load_all((), sources, asked["paths"]).failed, answer)
answer.flush()
os._exit(0)
"""


def failures(settings: Settings) -> list[str]:
    """What cannot be run of interpreters, classes and commands that are named, one line each, with file and line."""
    return _without_interpreter(settings) + _not_loaded(settings)


def _without_interpreter(settings: Settings) -> list[str]:
    named = {"defaults.python": (str(settings.source or "configuration"), settings.defaults.python)}
    for type, values in settings.nodes.items():
        named[f"workers.{type}.python"] = settings.place(type, "python"), values.get("python")
    found: list[str] = []
    for key, (place, python) in named.items():
        interpreter = Environment(str(python.absolute())).interpreter() if python is not None else ""
        if interpreter and shutil.which(interpreter) is None:
            cure = "name an interpreter or a virtualenv's folder"
            found.append(f"{place}: {key}: {interpreter} is not a program; {cure}")
    return found


def _not_loaded(settings: Settings) -> list[str]:
    """Of classes and commands. The class of a node with an interpreter of its own is left out: its code lives there."""
    environments = settings.environments("process")
    named = {type: source for type, source in settings.sources().items() if not nearest(environments, type).python}
    if not named:
        return []
    asked = json.dumps({"sources": named, "paths": search_paths((), os.environ, os.curdir)})
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD],
            input=asked, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return [f"{settings.source or 'configuration'}: the classes took longer than {_SECONDS_MAX:.0f}s to import"]
    if child.returncode != 0 or not child.stdout:
        last = (child.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return [f"{settings.source or 'configuration'}: a process that imports the classes died: {last}"]
    failed: dict[str, str] = json.loads(child.stdout)
    return [_line(settings, type, reason) for type, reason in failed.items()]


def _line(settings: Settings, type: str, reason: str) -> str:
    if type in settings.host.function_sources():
        return f"{settings.source or 'configuration'}: {reason}"
    name = "command" if "command" in settings.nodes.get(type, {}) else "class"
    place = settings.place(type, "code" if name == "class" else name)
    return f"{place}: workers.{type}.{name} cannot be run: {reason}"
