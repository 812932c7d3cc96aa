"""The kinds of values a configuration is written in: types, slots, addresses and more. Each says what it takes.

Every parser takes what YAML, JSON or a dict can hold and raises `ValueError` with a text that says what would be right.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, cast

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationInfo, WithJsonSchema

from . import limits
from .durations import seconds
from .policy import TENANT_PATTERN, TYPE_PATTERN
from .resources import resources
from .sizes import size

SLOTS_MAX: Final = 4096
"""Slots of one pool on one host: each may be a process."""

_INVITATION: Final = re.compile(r"workerhost-invite:[A-Za-z0-9_=-]+\Z")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_HOST_PATTERN: Final = re.compile(r"[A-Za-z0-9_.*?\[\]!-]{1,64}\Z")
_CODE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*\Z")
_AGEING: Final = re.compile(r"([0-9]{1,6}) per ([0-9.]+(?:ms|s|m|h|d)?)\Z")
AGEING_SECONDS_MIN: Final = 1.0
_TCP: Final = re.compile(r"tcp://(\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9_.*-]+):([0-9]{1,5}|\*)\Z")
_WEB: Final = re.compile(r"[A-Za-z0-9_.:%\[\]-]+:([0-9]{1,5})\Z")


def _seconds_or_none(value: Any) -> float | None:
    return None if value is None else seconds(value)


def _size_or_none(value: Any) -> int | None:
    return None if value is None else size(value)


def _cut_off(value: Any) -> float | None:
    """Seconds to go on alone; None is how `stop` is kept (see `Policy.cut_off`)."""
    return None if value is None or value == "stop" else seconds(value)


def type_path(value: Any) -> str:
    """A task type: one to three parts with dots between.

    Raises:
        ValueError: It is not one.
    """
    if not isinstance(value, str) or not TYPE_PATTERN.match(value):
        message = "is not a type; write one to three parts such as video.youtube.channel (letters, digits, _ and -)"
        raise ValueError(message)
    return value


def _types(value: Any) -> list[str]:
    items = cast("list[Any]", value) if isinstance(value, (list, tuple)) else [value]
    return [type_path(item) for item in items]


def slots(value: Any) -> dict[str, int]:
    """Slots by pool: a number is the pool "" that all types share, a mapping gives a pool to each type it names.

    Raises:
        ValueError: It is neither, or a number is not from 1 to `SLOTS_MAX`.
    """
    pools = cast("dict[str, Any]", value) if isinstance(value, dict) else {"": value}
    for pool, count in pools.items():
        if pool != "":
            type_path(pool)
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= SLOTS_MAX:
            message = f"is not a number of slots; write 4, or {{video: 4, audio: 2}} (each from 1 to {SLOTS_MAX})"
            raise ValueError(message)
    if not pools:
        message = "names no slot; write 4, or {video: 4, audio: 2}"
        raise ValueError(message)
    return dict(pools)


def address(value: Any) -> str:
    """Where a pool is met: `tcp://ADDRESS:PORT` or `ipc://PATH`.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, str):
        found = _TCP.match(value)
        if found and (found[2] == "*" or int(found[2]) <= 65535):
            return value
        if value.startswith("ipc://") and len(value) > len("ipc://"):
            return value
    message = "is not an address; write tcp://127.0.0.1:7470 or ipc:///run/workerhost.sock"
    raise ValueError(message)


def pool_address(value: Any) -> str:
    """What a host joins: an address, or the line that `workerhost invite` prints.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, str) and _INVITATION.match(value):
        return value
    return address(value)


def web_address(value: Any) -> str:
    """Where pages are served: ADDRESS:PORT.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, str) or not (found := _WEB.match(value)) or int(found[1]) > 65535:
        message = "is not ADDRESS:PORT; write 127.0.0.1:7471, [::1]:7471, or null for none"
        raise ValueError(message)
    return value


def host_name(value: Any) -> str:
    """A host's name.

    Raises:
        ValueError: It is not one.
    """
    if not isinstance(value, str) or not _HOST_NAME.match(value):
        message = "is not a host name; write at most 64 letters, digits, _, . or - (numbers in quotes)"
        raise ValueError(message)
    return value


def host_pattern(value: str) -> str:
    """A host's name or a pattern of names (`gpu-*`).

    Raises:
        ValueError: It is neither.
    """
    if not _HOST_PATTERN.match(value):
        message = "is not a host's name or pattern; write gpu-1 or gpu-*"
        raise ValueError(message)
    return value


def tenant(value: Any) -> str:
    """The name of a tenant, or `*` for each that is not named.

    Raises:
        ValueError: It is neither.
    """
    if not isinstance(value, str) or (value != "*" and not TENANT_PATTERN.match(value)):
        message = "is not the name of a tenant; write at most 64 letters, digits, _ . @ : or - (or * for all others)"
        raise ValueError(message)
    return value


def _code(value: Any) -> str:
    if not isinstance(value, str) or not _CODE.match(value):
        message = "is not a class; write my.module:Class"
        raise ValueError(message)
    return value


def ageing(value: Any) -> float | None:
    """Seconds after which a waiting task counts one priority more, from `1 per 10m`; None: never.

    Raises:
        ValueError: It is not understood.
    """
    if value is None:
        return None
    found = _AGEING.match(value) if isinstance(value, str) else None
    try:
        period = seconds(found[2]) / int(found[1]) if found else 0.0
    except (ValueError, ZeroDivisionError):
        period = 0.0
    if period < AGEING_SECONDS_MIN:
        message = "is no ageing; write 1 per 10m (one priority for each ten minutes of waiting), at most 1 per 1s"
        raise ValueError(message)
    return period


def _written_ageing(period: float | None) -> str | None:
    return None if period is None else f"1 per {period:.15g}s"


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _path(value: Any, info: ValidationInfo) -> Path:
    """A path; relative ones stand beside the configuration file (`context["folder"]`)."""
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        message = "is not a path; write it as text"
        raise ValueError(message)
    return _folder(info) / Path(value).expanduser()


def _folder(info: ValidationInfo) -> Path:
    context: dict[str, Path] = info.context or {}
    return context.get("folder", Path())


def _command(value: Any, info: ValidationInfo) -> list[str]:
    """A program and its arguments; a program that is a relative path stands beside the configuration file."""
    words = cast("list[Any]", value) if isinstance(value, (list, tuple)) else []
    if not words or not all(isinstance(word, str) and "\0" not in word for word in words) or not words[0]:
        message = "is not a command; write a list of texts: [./envs/old/bin/python, report.py]"
        raise ValueError(message)
    program = Path(words[0]).expanduser()
    beside = program.name != words[0]  # else it is a name, to be found in PATH
    return [str(_folder(info) / program) if beside else words[0], *words[1:]]


_DURATION_SCHEMA: Final = WithJsonSchema(
    {"type": ["number", "string"], "exclusiveMinimum": 0, "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?$"}
)
_SLOTS_SCHEMA: Final = WithJsonSchema(
    {
        "type": ["integer", "object"],
        "minimum": 1,
        "maximum": SLOTS_MAX,
        "additionalProperties": {"type": "integer", "minimum": 1, "maximum": SLOTS_MAX},
    }
)

Duration = Annotated[float, BeforeValidator(seconds), _DURATION_SCHEMA]
DurationOrNone = Annotated[
    float | None,
    BeforeValidator(_seconds_or_none),
    WithJsonSchema({"type": ["number", "string", "null"], "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?$"}),
]
SizeOrNone = Annotated[
    int | None,
    BeforeValidator(_size_or_none),
    WithJsonSchema({"type": ["integer", "string", "null"], "minimum": 1, "pattern": r"^[0-9]+(\.[0-9]+)?[KMGT]?$"}),
]
CutOff = Annotated[
    float | None,
    BeforeValidator(_cut_off),
    WithJsonSchema({"type": ["number", "string"], "pattern": r"^(stop|[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?)$"}),
]
RateText = Annotated[
    limits.Rate,
    BeforeValidator(limits.rate),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+ */ *(s|min|h|day)$"}),
]
QuotaText = Annotated[
    limits.Quota,
    BeforeValidator(limits.quota),
    WithJsonSchema(
        {
            "type": ["string", "object"],
            "pattern": r"^[0-9]+ */ *(hour|day|month)$",
            "properties": {
                "limit": {"type": "integer", "minimum": 1},
                "per": {"enum": ["hour", "day", "month"]},
                "resets": {"type": "string", "pattern": r"^[0-9]{1,2}:[0-9]{2}$"},
                "zone": {"type": "string"},
            },
            "required": ["limit"],
            "additionalProperties": False,
        }
    ),
]
BreakerOrOff = Annotated[
    limits.Breaker | None,
    BeforeValidator(limits.breaker),
    WithJsonSchema(
        {
            "type": ["string", "object"],
            "pattern": "^off$",
            "properties": {
                "failures": {"type": ["string", "number"]},
                "window": {"type": ["string", "number"]},
                "at_least": {"type": "integer", "minimum": 1},
                "cool_off": {"type": ["string", "number"]},
            },
            "additionalProperties": False,
        }
    ),
]
CacheOrOff = Annotated[
    limits.Cache | None,
    BeforeValidator(limits.cache),
    WithJsonSchema(
        {
            "type": ["string", "object"],
            "pattern": "^off$",
            "properties": {
                "ttl": {"type": ["string", "number"]},
                "count": {"type": "integer", "minimum": 1, "maximum": limits.CACHED_MAX},
            },
            "required": ["ttl"],
            "additionalProperties": False,
        }
    ),
]
TypePath = Annotated[str, BeforeValidator(type_path)]
Types = Annotated[
    list[str],
    BeforeValidator(_types),
    WithJsonSchema({"type": ["array", "string"], "items": {"type": "string"}}),
]
Amounts = Annotated[
    dict[str, int | str],
    BeforeValidator(resources),
    WithJsonSchema({"type": ["object", "string"], "additionalProperties": {"type": ["integer", "string"]}}),
]
Ageing = Annotated[
    float | None,
    BeforeValidator(ageing),
    PlainSerializer(_written_ageing),
    WithJsonSchema({"type": ["string", "null"], "pattern": r"^[0-9]+ per [0-9]+(\.[0-9]+)?(ms|s|m|h|d)?$"}),
]
TenantName = Annotated[str, BeforeValidator(tenant)]
Slots = Annotated[dict[str, int], BeforeValidator(slots), _SLOTS_SCHEMA]
Address = Annotated[str, BeforeValidator(address)]
WebAddress = Annotated[
    str, BeforeValidator(web_address), WithJsonSchema({"type": "string", "pattern": r"^\S+:[0-9]{1,5}$"})
]
PoolAddress = Annotated[str, BeforeValidator(pool_address)]
HostName = Annotated[str, BeforeValidator(host_name)]
HostPattern = Annotated[str, BeforeValidator(host_pattern)]
Code = Annotated[str, BeforeValidator(_code)]
Upper = BeforeValidator(_upper)
Command = Annotated[
    list[str],
    BeforeValidator(_command),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1}),
]
FilePath = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string"})]
Concurrency = Annotated[int, Field(ge=1, le=SLOTS_MAX)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
