"""What runs a type on a host with this configuration, in what, and which line of the file says so. Reads no file."""

from __future__ import annotations

from typing import Any, Final

from .policy import nearest, parents
from .schema import Settings

BUILT_IN: Final = "built in"


def execution(settings: Settings, type: str) -> dict[str, tuple[Any, str]]:
    """What a host of its own runs a type by.

    Returns:
        Setting -> (its value or None, where that is from: a node, `host`, `defaults` or `built in`). A command, which
        runs its own type and nothing below it: `isolation`, `command`, `cwd`. Everything else: `isolation`, `class`
        (None: a host looks in its CODE), `python` (None: the host's own), `concurrency`.
    """
    sources, environments = settings.sources(), settings.environments(settings.isolation())
    source = sources.get(type)
    if source is not None and source.command:
        found = {"isolation": "command", "command": list(source.command), "cwd": source.folder}
        return {name: (value, type) for name, value in found.items()}
    environment = nearest(environments, type)
    within = [path for path in reversed(parents(type)) if nearest(environments, path) == environment]
    owner = next((path for path in within if path in sources and sources[path].code), None)
    said = _said(settings, type)
    settled = {"isolation": environment.isolation, "python": environment.python, "concurrency": environment.concurrency}
    return {
        "class": (None, BUILT_IN) if owner is None else (sources[owner].code, owner),
        **{
            name: (value or None, next((place for place, values in said if values.get(name) == value), BUILT_IN))
            for name, value in settled.items()
        },
    }


def _said(settings: Settings, type: str) -> list[tuple[str, dict[str, Any]]]:
    """(place, what it says of an environment) of all that may hold for a type, the nearest first."""
    found: list[tuple[str, dict[str, Any]]] = []
    for path in reversed(parents(type)):
        values = settings.nodes.get(path, {})
        if values.get("command"):
            break
        found.append((path, values))
    found += [("host", {"isolation": settings.host.isolation}), ("defaults", settings.defaults.values())]
    return [
        (place, {**values, "python": str(values["python"].absolute())} if values.get("python") else values)
        for place, values in found
    ]
