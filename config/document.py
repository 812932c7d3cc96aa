"""Reads a YAML text the way YAML 1.2 means it, and remembers on which line each key stands.

Only `true` and `false` are booleans, `010` is ten, `22:30` and `on` are texts; tags, repeated keys and more than one
document are refused. Knows nothing of what the keys mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import yaml

Path = tuple[str | int, ...]
"""Where a value stands: keys, and numbers in lists."""

VALUES_MAX: Final = 100_000
"""Values in one document: aliases can make a small file huge."""

DEPTH_MAX: Final = 32

_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,30}\Z|0x[0-9a-fA-F]{1,16}\Z|0o[0-7]{1,22}\Z")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_CONSTANTS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_PLAIN_TAGS: Final = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))


class DocumentError(Exception):
    """The text cannot be read. `line` counts from 1 (0: unknown), `reason` says what is wrong and what to do."""

    def __init__(self, line: int, reason: str) -> None:
        self.line, self.reason = line, reason
        super().__init__(reason)


class Document(NamedTuple):
    """What a text says, and the line of every key."""

    data: Any
    lines: dict[Path, int]


def scalar(text: str) -> Any:
    """What an unquoted YAML 1.2 scalar means."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.match(text):
        return int(text, 0 if text[:2] in ("0x", "0o") else 10)
    if _FLOAT.match(text):
        return float(text)
    return text


def read(text: str, replace: Callable[[str], str] = str) -> Document:
    """Read one document.

    Args:
        text: The YAML text.
        replace: Applied to every value that is text or an unquoted scalar, before its type is decided; may raise
            `ValueError` with the reason.

    Raises:
        DocumentError: It is no YAML, or uses what is refused here.
    """
    loader: Any = None
    try:
        loader = yaml.BaseLoader(text)
        root: yaml.Node | None = loader.get_single_node()
        return _Builder(replace).build(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise DocumentError(
            mark.line + 1 if mark else 0, f"not valid YAML: {error.problem}{_cure(text, mark)}"
        ) from None
    except yaml.YAMLError as error:
        raise DocumentError(0, f"not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise DocumentError(0, "nested too deeply") from None
    finally:
        if loader is not None:
            loader.dispose()


def _cure(text: str, mark: yaml.Mark | None) -> str:
    """What to do about the mistakes that are made most."""
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "\t" in line:
        return "; indent with spaces, not with a tab"
    if "${" in line:
        return '; between { } write it in quotes: "${NAME}"'
    return ""


class _Builder:
    """Makes plain data of a parsed document."""

    def __init__(self, replace: Callable[[str], str]) -> None:
        self._replace = replace
        self._lines: dict[Path, int] = {}
        self._values = 0

    def build(self, root: yaml.Node | None) -> Document:
        return Document(None if root is None else self._value(root, ()), self._lines)

    def _value(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self._lines.setdefault(path, line)
        self._values += 1
        if self._values > VALUES_MAX or len(path) > DEPTH_MAX:
            raise DocumentError(line, f"more than {VALUES_MAX} values or {DEPTH_MAX} levels")
        if node.tag not in _PLAIN_TAGS:
            raise DocumentError(line, f"the tag {node.tag} is not allowed here; write plain values")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items: list[yaml.Node] = node.value
            return [self._value(item, (*path, n)) for n, item in enumerate(items)]
        return self._scalar(node, line)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        pairs: list[tuple[yaml.Node, yaml.Node]] = node.value
        for key, value in pairs:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise DocumentError(line, "a key must be plain text")
            name: str = key.value
            if name in found:
                raise DocumentError(line, f"the key {name} stands here a second time; remove one")
            self._lines[*path, name] = line
            found[name] = self._value(value, (*path, name))
        return found

    def _scalar(self, node: yaml.Node, line: int) -> Any:
        try:
            text = self._replace(node.value)
        except ValueError as error:
            raise DocumentError(line, str(error)) from None
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        return scalar(text) if plain else text
