"""The page of the configuration, from the schema that checks it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, cast, get_args, get_origin

from pydantic_core import PydanticUndefined
from writing import head, table

from workerhost.config import schema
from workerhost.config.limits import CACHED_MAX, Breaker, Quota
from workerhost.config.schema import Section, Settings

_INTRODUCTION = """\
A YAML file, found by `-c FILE`, else `$WORKERHOST_CONFIG`, else `./workerhost.yaml`; every key is optional.
`workerhost config check` finds all that is wrong with one, `workerhost config show TYPE` says what holds for a type and
why. `config/workerhost_config.yaml` in the repository is a sample with every key explained.

A value may hold `${NAME}` from the environment, and `WORKERHOST__QUEUE__MAX_SIZE=1000` overrides `queue.max_size`.
Only `true` and `false` are booleans. Relative paths stand beside the file. Durations are seconds, or
`500ms 30s 5m 2h 1d`; sizes are bytes, or `512K 8G`. An unknown key is an error that names its nearest neighbour.
"""
_COLUMNS = ("key", "value", "default", "what it means")
_MORE = {"monitoring.alerts": "Such as `queue_depth_above: 1000`; [here](metrics.md) is every METRIC.\n"}
_INSIDE = (
    (
        "breaker",
        "`breaker:` when a node is stopped because too many of its tasks fail; `off`: never.",
        (
            ("failures", "share", Breaker().written()["failures"], "Share of attempts from which on it opens."),
            ("window", "duration", Breaker().window, "Over which attempts are counted."),
            ("at_least", "count", Breaker().at_least, "Of so many; a share of fewer means nothing."),
            ("cool_off", "duration", Breaker().cool_off, "Until the first probe; longer after each that fails."),
        ),
    ),
    (
        "quota",
        "`quota:` what a service allows from one reset to the next. `10000/day` is `{limit: 10000, per: day}`.",
        (
            (
                "limit",
                "count",
                PydanticUndefined,
                "Units; a task uses as many as its worker says (`quota_cost`), or one.",
            ),
            ("per", "`hour` or `day` or `month`", Quota(1).per, "From reset to reset."),
            ("resets", "time of day", "00:00", "Of an hour only the minute counts; a month's is on its first day."),
            ("zone", "time zone", Quota(1).zone, "Whose clock that is: Europe/Berlin."),
        ),
    ),
    (
        "cache",
        "`cache:` whose results answer for further tasks of their type with the same params.",
        (
            ("ttl", "duration", PydanticUndefined, "How long, from when they completed."),
            ("count", "count", CACHED_MAX, "How many of each type; the oldest go first."),
        ),
    ),
)
"""Keys of mappings that are no sections: (key, what it is, (name, value, default, what it means) of each)."""
_PLAIN = {"bool": "true or false", "str": "text", "int": "number", "float": "number", "Any": "any value"}
_TIMES = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_UNITS = {"duration": _TIMES, "cut off": _TIMES, "size": (("G", 2**30), ("M", 2**20), ("K", 2**10))}
_WORD = re.compile(r"[A-Z][a-z]+|[a-z]+")


def configuration() -> str:
    """The whole page: a table for each section, in the order in which they nest."""
    parts = [head("Configuration", _INTRODUCTION)]
    for title, section in _sections("", Settings):
        parts.append(f"## {title}\n" if title else "## The file\n")
        parts += [" ".join(each.split()) + "\n" for each in (section.__doc__ or "").split("\n\n")]
        if title in _MORE:
            parts.append(_MORE[title])
        parts.append(table(_COLUMNS, list(_rows(section))))
    for key, text, rows in _INSIDE:
        parts.append(f"## {key}\n\n{text}\n")
        parts.append(
            table(_COLUMNS, [(f"`{name}`", kind, _shown(value, kind), what) for name, kind, value, what in rows])
        )
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
        yield f"`{field.alias or name}`", kind, _shown(default, kind), field.description or ""


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


def _shown(default: Any, kind: str) -> str:
    """A default as a file would say it."""
    if default is PydanticUndefined or isinstance(default, Section) or default in ({}, [], ()):
        return ""
    if default is None:
        return "`null`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, list):
        return f"`[{', '.join(map(str, cast('list[Any]', default)))}]`"
    if isinstance(default, int | float):
        return f"`{_number(default, _UNITS.get(kind.removesuffix(' or null'), ()))}`"
    return f"`{default}`"


def _number(value: float, units: Sequence[tuple[str, int]]) -> str:
    """With the largest unit of which it is a multiple."""
    name, size = next(((name, size) for name, size in units if not value % size), ("", 1))
    return f"{value / size:.12g}{name}"
