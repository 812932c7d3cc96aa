"""What a configuration that is right may still mean otherwise than it reads. No file, no import of anybody's code."""

from __future__ import annotations

from typing import Any, Final

from .policy import parents
from .schema import Settings

_COUNTED: Final = ("max_concurrent", "per_host")


def advice(settings: Settings) -> list[str]:
    """One line for each limit that is larger than one above it, which is the one that counts then."""
    found: list[str] = []
    for path, values in settings.nodes.items():
        for above in parents(path)[:-1]:
            for name in (*_COUNTED, "rate"):
                mine, theirs = values.get(name), settings.nodes.get(above, {}).get(name)
                if mine is not None and theirs is not None and _size(mine) > _size(theirs):
                    text = f"({_written(mine)}) is larger than that of {above} ({_written(theirs)}), which counts"
                    found.append(f"{settings.place(path, name)}: workers.{path}.{name} {text}")
    return found


def _size(value: Any) -> float:
    return value if isinstance(value, int) else value.count / value.seconds


def _written(value: Any) -> str:
    return str(value) if isinstance(value, int) else value.written()
