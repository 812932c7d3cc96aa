"""What differs between two configurations, setting by setting, and what must be started again before it counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

from .policy import tenant_node

LIVE: Final = ("queue.max_size", "schedules.", "monitoring.alerts.", "monitoring.objectives.")
"""Settings outside the tree that a supervisor takes over while it runs."""
_TOLD: Final = ".notify"
"""How settings end that are the monitor's business: who is told of alerts. It reads its file only when it starts."""
_CODE: Final = ("class", "command", "cwd", "python", "isolation", "concurrency")
"""What only a host executes: it reads its own file again for that."""
_ABSENT: Final = object()
"""What is not there: null is a value, and may mean something else than what holds by default."""

_NOTHING: Final[tuple[tuple[str, Any]]] = (("", {}),)
"""The settings of an entry that has none."""


class Change(NamedTuple):
    """One setting that is not what it was.

    Attributes:
        node: A type, `tenant NAME`, `defaults`, `hosts.NAME`, or "" for what stands outside the tree.
        setting: Its name; outside the tree with its section, as in `pool.bind`; "" for an entry that sets nothing.
        old, new: Its values as plain data; None: null, or not set.
        needs: "" for what counts at once; `hosts`: those that have this file, or accept its classes, load
            anew; `restart`: nothing happens before the supervisor, or with `host.` the host, is started again.
    """

    node: str
    setting: str
    old: Any
    new: Any
    needs: str


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """How one `Settings.document` differs from another, in the order of the new one; what is gone comes last."""
    before, after = dict(_flat(old)), dict(_flat(new))
    keys = [*after, *(key for key in before if key not in after)]
    return [
        Change(*key, before.get(key), after.get(key), _needs(*key))
        for key in keys
        if before.get(key, _ABSENT) != after.get(key, _ABSENT)
    ]


def _needs(node: str, setting: str) -> str:
    if node:
        return "hosts" if setting in _CODE else ""
    if setting == "host.accept":
        return "hosts"
    return "" if setting.startswith(LIVE) and not setting.endswith(_TOLD) else "restart"


def _flat(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], Any]]:
    """((node, setting), value) of everything. An entry that sets nothing is something, too: it stands before a `*`."""
    for section, values in document.items():
        if section in ("workers", "tenants"):
            of = tenant_node if section == "tenants" else str
            for path, node in values.items():
                yield from (((of(path), name), value) for name, value in dict(_settings(node)).items() or _NOTHING)
        elif section == "hosts":
            for host, entry in values.items():
                yield from (((f"hosts.{host}", name), value) for name, value in entry.items() or _NOTHING)
        elif section == "defaults":
            yield from (((section, name), value) for name, value in _settings(values))
        else:
            yield from ((("", name), value) for name, value in _settings({section: values}))


def _settings(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of settings, those of a mapping one by one."""
    for name, value in values.items():
        if isinstance(value, dict) and name != "slots":
            yield from _settings(cast("dict[str, Any]", value), f"{before}{name}.")
        else:
            yield f"{before}{name}", value
