"""What hosts offer and tasks require: counts (`gpu=1`, `memory=8G`) and labels (`zone=eu`). Plain data.

What reads as a whole number or as a size is a count, which tasks use up; anything else is a label, which has to be the
same. Nobody needs to declare either: a count that no host offers is one that nobody has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from .sizes import size

NAMES_MAX: Final = 32
"""Counts and labels of one host or one task."""
COUNT_MAX: Final = 2**50

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
_LABEL: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_COUNT: Final = re.compile(r"[0-9]{1,16}\Z")
_SIZE: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?[KMGT]\Z")
_UNITS: Final = (("T", 2**40), ("G", 2**30), ("M", 2**20))

Resources = dict[str, int | str]
Required = Mapping[str, int | str]
"""As people write it: counts as numbers or texts (`8G`), labels as texts."""


def resources(given: Any) -> Resources:
    """Counts and labels from a mapping, or from a text such as `gpu=1,memory=8G,zone=eu`.

    Raises:
        ValueError: It is neither; the message says what would be right.
    """
    if isinstance(given, str):
        parts = [part.partition("=") for part in given.split(",") if part.strip()]
        if any(not sign for _, sign, _ in parts):
            message = "is not understood; write gpu=1,memory=8G,zone=eu"
            raise ValueError(message)
        given = {name.strip(): value.strip() for name, _, value in parts}
    if not isinstance(given, Mapping):
        message = "is not understood; write {gpu: 1, memory: 8G, zone: eu}"
        raise ValueError(message)
    known = cast("Mapping[Any, Any]", given)
    if len(known) > NAMES_MAX:
        message = f"names {len(known)} resources; at most {NAMES_MAX} can be named"
        raise ValueError(message)
    return {_name(name): _value(name, known[name]) for name in sorted(known, key=str)}


def canonical(found: Mapping[str, int | str]) -> str:
    """The one text of equal resources, which `resources` takes."""
    return ",".join(f"{name}={found[name]}" for name in sorted(found))


def written(name: str, value: int | str) -> str:
    """One count or label for people: `memory=8G`."""
    if isinstance(value, int):
        unit, factor = next(((unit, factor) for unit, factor in _UNITS if value and value % factor == 0), ("", 1))
        return f"{name}={value // factor}{unit}"
    return f"{name}={value}"


def _name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.match(name):
        message = f"{str(name)[:40]!r} is not the name of a resource; use up to 32 letters, digits, _ and -"
        raise ValueError(message)
    return name


def _value(name: Any, value: Any) -> int | str:
    if isinstance(value, str):
        if _COUNT.match(value):
            value = int(value)
        elif _SIZE.match(value):
            return size(value)
        elif _LABEL.match(value):
            return value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= COUNT_MAX:
        message = f"{name}: is neither a count from 0 nor a label; write {name}=1, {name}=8G or {name}=eu"
        raise ValueError(message)
    return value
