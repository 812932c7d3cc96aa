"""The page of the Python interface, from the names of the package's face and their docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from enum import Enum
from importlib import import_module
from types import FunctionType
from typing import Any

from writing import docstring, head

import workerhost

_INTRODUCTION = """\
Everything that `from workerhost import ...` gives, what its objects give, and `workerhost.testing`.
"""
_GROUPS = (
    ("Workers", ("worker", "BaseWorker", "Task", "Result", "Fail", "Release")),
    ("Clients", ("Client", "Handle", "Batch", "TaskState", "transport.told:Progress", "transport.tail:Line")),
    (
        "Flows",
        ("transport.flow:Flow", "transport.flow_draft:FlowNode", "transport.stored_flow:StoredFlow"),
    ),
    ("Embedded", ("WorkerHost",)),
    ("asyncio", ("AsyncClient", "AsyncHandle", "AsyncBatch")),
)
"""A name with a module is not imported by who uses it: an object of the face gives it."""
_TESTS = ("Tests", ("testing:Pool",))
_GIVEN = ("Handle", "Batch", "AsyncHandle", "AsyncBatch", "Flow", "FlowNode", "StoredFlow", "Progress", "Line")
"""Classes whose objects others make: what they are made of is nothing to a reader."""
_OWN_USE = "for this package's own use"
_AS_OTHERS = re.compile(r"As `(\w+)\.(\w+)`\.\Z")


def python_face() -> str:
    """The whole page: what is in no group comes behind them, errors in the order in which they inherit."""
    parts = [head("Python", _INTRODUCTION)]
    names = list(workerhost._FACE)  # pyright: ignore[reportPrivateUsage]  # the list of what the face gives
    errors = [name for name in names if _is_error(getattr(workerhost, name)) and name not in _GROUPS[0][1]]
    grouped = {name for _, group in _GROUPS for name in group} | set(errors)
    others = tuple(name for name in names if name not in grouped)
    for title, group in (*_GROUPS, ("More", others), _TESTS, ("Errors", tuple(errors))):
        parts.append(f"## {title}\n")
        for name in group:
            parts += _described(name)
    return "\n".join(parts)


def _found(name: str) -> Any:
    module, _, inside = name.rpartition(":")
    return getattr(import_module(f"workerhost.{module}") if module else workerhost, inside)


def _is_error(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, BaseException)


def _described(path: str) -> Iterator[str]:
    thing, name = _found(path), path.rpartition(":")[2]
    yield f"### {'testing.' if path.startswith('testing:') else ''}{name}\n"
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
    if name not in _GIVEN:
        yield f"```text\n{_signature(name, thing)}\n```\n"
    yield described
    if isinstance(thing, type):
        if thing.__init__.__doc__ and "__init__" in vars(thing):
            yield docstring(inspect.cleandoc(thing.__init__.__doc__))
        yield from _members(name, thing)


def _members(owner: str, thing: type) -> Iterator[str]:
    """What its objects give: its own members, then those of the classes of this package that it inherits from.

    Those that are as another class's are one paragraph at the end.
    """
    alike: dict[str, list[str]] = {}
    seen: set[str] = set()
    for base in thing.__mro__:
        if base.__module__.partition(".")[0] != "workerhost":
            continue
        for name, member in vars(base).items():
            text = inspect.getdoc(member) or ""
            if name.startswith("_") or name in seen or not _is_shown(member):
                continue
            seen.add(name)
            if not text or _OWN_USE in text:
                continue
            if (other := _AS_OTHERS.match(text)) and other[2] == name:
                alike.setdefault(other[1], []).append(name)
                continue
            shown = f"{owner}.{name}" if isinstance(member, property) else _signature(f"{owner}.{name}", member)
            yield f"**`{shown}`**\n"
            yield docstring(text)
    for other, names in alike.items():
        yield f"As those of `{other}`: {_listed(names)}.\n"


def _is_shown(member: Any) -> bool:
    return isinstance(member, property | FunctionType | classmethod)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


class _Text:
    """An annotation, which the source has as a text: shown as it stands there."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _signature(name: str, thing: Any) -> str:
    found = inspect.signature(getattr(thing, "__func__", thing))  # a classmethod is not called here
    parameters = [
        each.replace(annotation=_Text(each.annotation)) if isinstance(each.annotation, str) else each
        for each in found.parameters.values()
        if each.name not in ("self", "cls")
    ]
    returned = found.return_annotation
    text = str(found.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    text = re.sub(r"<object object at 0x[0-9a-f]+>|<factory>", "...", text)
    return f"{name}{text} -> {returned}" if isinstance(returned, str) and returned != "None" else f"{name}{text}"
