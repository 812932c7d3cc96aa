"""Makes up a `send` line for a type, from the source of the worker that serves it. Reads code, never runs it."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_VALUES: Final = {"str": "=hello", "int": ":=1", "float": ":=1.5", "bool": ":=true", "list": ":=[]", "dict": ":={}"}


def best(types: Sequence[str], codes: Sequence[str]) -> str:
    """`TYPE key=value ...` for the type whose params are known best, as a shell reads it."""
    found = [line for code in codes for line in _lines(code) if line[0] in types]
    found.sort(key=lambda words: len(words) == 1)  # one with params shows more; else the first in the file
    return " ".join(shlex.quote(word) for word in (found[0] if found else [types[0]]))


def _lines(code: str) -> Iterator[list[str]]:
    """Words for every function of CODE that is a worker and whose params can all be made up."""
    try:
        file = _file(code)
        tree = ast.parse(file.read_bytes()) if file else None
    except (OSError, SyntaxError, ValueError, ImportError):
        return
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            type = next((found for found in map(_type, node.decorator_list) if found), None)
            params = _params(node.args)
            if type and params is not None:
                yield [type, *params]


def _file(code: str) -> Path | None:
    place = code.rpartition(":")[0] or code
    if place.endswith(".py"):
        return Path(place)
    if "." in place:  # to find it, Python would have to run the packages around it
        return None
    spec = find_spec(place)
    return Path(spec.origin) if spec and spec.origin else None


def _type(decorator: ast.expr) -> str | None:
    """The type in `@worker("text.length")`."""
    if not isinstance(decorator, ast.Call) or len(decorator.args) != 1:
        return None
    name = decorator.func.attr if isinstance(decorator.func, ast.Attribute) else getattr(decorator.func, "id", "")
    value = decorator.args[0]
    if name == "worker" and isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    return None


def _params(arguments: ast.arguments) -> list[str] | None:
    """`key=value` for every argument without default, or None where one cannot be made up."""
    plain = [*arguments.posonlyargs, *arguments.args]
    needed = plain[: len(plain) - len(arguments.defaults)]
    needed += [a for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None]
    words: list[str] = []
    for argument in needed:
        annotation = argument.annotation
        if isinstance(annotation, ast.Subscript):
            annotation = annotation.value
        name = annotation.id if isinstance(annotation, ast.Name) else "str" if annotation is None else ""
        if name not in _VALUES:
            return None
        words.append(argument.arg + _VALUES[name])
    return words
