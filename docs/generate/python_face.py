"""The page of the Python interface, from the names of the package's face and their docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any

from writing import docstring, head

import workerhost

_INTRODUCTION = "Everything that `from workerhost import ...` gives.\n"
_GROUPS = (
    ("Workers", ("worker", "BaseWorker", "Task", "Result", "Fail", "Release")),
    ("Clients", ("Client", "Handle", "Batch", "TaskState")),
    ("Embedded", ("WorkerHost",)),
)


def python_face() -> str:
    """The whole page: what is in no group comes last, errors in the order in which they inherit."""
    parts = [head("Python", _INTRODUCTION)]
    names = list(workerhost._FACE)  # pyright: ignore[reportPrivateUsage]  # the list of what the face gives
    errors = [name for name in names if _is_error(getattr(workerhost, name)) and name not in _GROUPS[0][1]]
    grouped = {name for _, group in _GROUPS for name in group} | set(errors)
    others = tuple(name for name in names if name not in grouped)
    for title, group in (*_GROUPS, ("More", others), ("Errors", tuple(errors))):
        if group:
            parts.append(f"## {title}\n")
            for name in group:
                parts += _described(name, getattr(workerhost, name))
    return "\n".join(parts)


def _is_error(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, BaseException)


def _described(name: str, thing: Any) -> Iterator[str]:
    yield f"### {name}\n"
    described = docstring(inspect.getdoc(thing) or "")
    if isinstance(thing, type) and issubclass(thing, Enum):
        yield described
        yield ", ".join(f"`{member.value}`" for member in thing) + "\n"
        return
    if _is_error(thing):
        base = thing.__mro__[1].__name__
        yield f"*a {base}*\n" if base != "Exception" else ""
        yield described
        return
    yield f"```text\n{_signature(name, thing)}\n```\n"
    yield described
    if isinstance(thing, type):
        if thing.__init__.__doc__ and "__init__" in vars(thing):
            yield docstring(inspect.cleandoc(thing.__init__.__doc__))
        for below, member in vars(thing).items():
            if not below.startswith("_"):
                yield from _member(name, below, member)


def _member(owner: str, name: str, member: Any) -> Iterator[str]:
    if isinstance(member, property):
        text = inspect.getdoc(member) or ""
        if text:
            yield f"**`{owner}.{name}`**\n"
            yield docstring(text)
    elif inspect.isfunction(member) and member.__doc__:
        yield f"**`{_signature(f'{owner}.{name}', member)}`**\n"
        yield docstring(inspect.getdoc(member) or "")


def _signature(name: str, thing: Any) -> str:
    text = str(inspect.signature(thing))
    text = re.sub(r"\((self|cls)(, )?", "(", text)
    text = re.sub(r"<object object at 0x[0-9a-f]+>|<factory>", "...", text)
    text = re.sub(r"'([^']+)'", r"\1", text)  # annotations are written as texts; a default of '' stays
    return name + text.removesuffix(" -> None")
