"""The page of the configuration, from the schema that checks it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic_core import PydanticUndefined
from writing import head, table

from workerhost.config import schema
from workerhost.config.schema import Section, Settings

_INTRODUCTION = """\
A YAML file, found by `-c FILE`, else `$WORKERHOST_CONFIG`, else `./workerhost.yaml`; every key is optional.
`workerhost config check` finds all that is wrong with one, `workerhost config show TYPE` says what holds for a type and
why. `config/workerhost_config.yaml` in the repository is a sample with every key explained.

A value may hold `${NAME}` from the environment, and `WORKERHOST__QUEUE__MAX_SIZE=1000` overrides `queue.max_size`.
Only `true` and `false` are booleans. Relative paths stand beside the file. Durations are seconds, or
`500ms 30s 5m 2h 1d`; sizes are bytes, or `512K 8G`. An unknown key is an error that names its nearest neighbour.
"""
_PLAIN = {"bool": "true or false", "str": "text", "int": "number", "float": "number", "Any": "any value"}
_WORD = re.compile(r"[A-Z][a-z]+|[a-z]+")


def configuration() -> str:
    """The whole page: a table for each section, in the order in which they nest."""
    parts = [head("Configuration", _INTRODUCTION)]
    for title, section in _sections("", Settings):
        parts.append(f"## {title}\n" if title else "## The file\n")
        parts.append(" ".join((section.__doc__ or "").split("\n\n")[0].split()) + "\n")
        parts.append(table(("key", "value", "default", "what it means"), list(_rows(section))))
    return "\n".join(parts)


def _sections(path: str, section: type[Section], seen: set[type] | None = None) -> Iterator[tuple[str, type[Section]]]:
    seen = set() if seen is None else seen
    if section in seen:
        return
    seen.add(section)
    yield path, section
    for name, field in section.model_fields.items():
        key = field.alias or name
        for below, many in _below(field.annotation):
            inside = f"{path}.{key}" if path else key
            yield from _sections(f"{inside}.NAME" if many else inside, below, seen)


def _below(annotation: Any, *, many: bool = False) -> Iterator[tuple[type[Section], bool]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation, many
        return
    origin: Any = get_origin(annotation)
    for inner in get_args(annotation):
        yield from _below(inner, many=many or origin is dict)


def _rows(section: type[Section]) -> Iterator[tuple[str, str, str, str]]:
    for name, field in section.model_fields.items():
        owner = next(each for each in section.__mro__ if name in getattr(each, "__annotations__", {}))
        kind = _kind(str(owner.__annotations__[name]))
        default: Any = field.default if field.default_factory is None else field.default_factory()  # pyright: ignore[reportCallIssue]
        yield f"`{field.alias or name}`", kind, _shown(default), field.description or ""


def _kind(annotation: str) -> str:
    """What a type's name in the schema says to a reader: `DurationOrNone` is `duration or null`."""
    annotation = re.sub(r"^Annotated\[(\w+),.*", r"\1", annotation)
    if literal := re.search(r"Literal\[([^\]]*)\]", annotation):
        kind = " or ".join(f"`{word}`" for word in re.findall(r"\w+", literal[1]))
        return f"list of {kind}" if annotation.startswith("list") else kind
    if annotation.startswith(("dict[", "list[")):
        inner = annotation[annotation.index("[") + 1 : -1].split(",")[-1].strip()
        return f"{'mapping' if annotation.startswith('dict') else 'list'} of {_kind(inner)}"
    words: list[str] = []
    for part in annotation.split(" | "):
        if part in ("None", "none"):
            words.append("null")
        elif part in _PLAIN:
            words.append(_PLAIN[part])
        elif isinstance(found := getattr(schema, part, None), type) and issubclass(found, Section):
            words.append("section")
        else:
            words.append(" ".join(_WORD.findall(part)).lower().replace(" or none", " or null").replace(" text", ""))
    return " or ".join(words)


def _shown(default: Any) -> str:
    if default is PydanticUndefined or isinstance(default, Section) or default in ({}, [], ()):
        return ""
    if default is None:
        return "`null`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
