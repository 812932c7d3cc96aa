"""What the dashboard shows, as one document: what the pool says now beside what the monitor keeps over time.

Pure. A newer document is told to a page as a merge patch (RFC 7396) of the one before, so that a quiet pool of a
thousand nodes costs a few bytes a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from .. import documents

Document = dict[str, Any]


def scene(view: Mapping[str, Any], status: Mapping[str, Any], snapshot: Mapping[str, Any]) -> Document:
    """The document.

    Args:
        view: `Monitor.view`.
        status: The reply to `status`.
        snapshot: The reply to `snapshot`.
    """
    hosts: Document = {}
    for host in snapshot["hosts"]:
        if host["name"] not in hosts:  # the first one lives, others of its name are gone
            shown = {name: value for name, value in host.items() if name not in _COUNTED}
            tasks = {str(task["id"]): task for task in host["tasks"]}
            hosts[host["name"]] = {**shown, "silent": round(host["silent"]), "tasks": tasks}
    windows: Document = view.get("windows") or {}
    document: Document = {
        "supervisor": {name: value for name, value in status["supervisor"].items() if name != "uptime"},
        "queue": {name: value for name, value in status["queue"].items() if name in _OF_THE_QUEUE},
        "notes": status["notes"],
        "tasks": snapshot["tasks"],
        "pool": _present(snapshot["pool"]),
        "nodes": {name: _present(node) for name, node in snapshot["nodes"].items()},
        "nodes_left_out": snapshot["nodes_left_out"],
        "hosts": hosts,
        "windows": {
            name: _rounded({part: windows[name][part] for part in _OF_A_WINDOW}) for name in _WINDOWS if name in windows
        },
        "problem": view.get("problem", ""),
        **({"tenants": status["tenants"]} if "tenants" in status else {}),
        **{name: snapshot[name] for name in ("objectives", "alerts", "empty_in") if snapshot.get(name) is not None},
    }
    return documents.plain_data(document)


_COUNTED = frozenset({"attempts", "seconds", "causes", "retried", "rescued", "released", "completed"})
_OF_THE_QUEUE = frozenset({"max_size", "disk_low"})
_WINDOWS = ("1m", "1h")
_OF_A_WINDOW = ("pool", "nodes")
_OF_A_NODE = ("queued", "scheduled", "waiting", "running", "oldest", "hosts", "limits", "blocks")


def _present(node: Mapping[str, Any]) -> Document:
    """What holds at a node now; what was counted there, windows tell."""
    return {name: node[name] for name in _OF_A_NODE if name in node}


def patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> Document:
    """The merge patch that makes `after` of `before`; empty when they are equal. None stands for what is gone."""
    changed: Document = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            if inner := patch(cast("Document", old), cast("Document", value)):
                changed[name] = inner
        elif old != value or (name not in before and value is not None):
            changed[name] = value
    return changed


def _rounded(value: Any) -> Any:
    """Figures with as many digits as anybody looks at, so that noise behind them is no change."""
    if isinstance(value, float):
        return float(f"{value:.3g}")
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in cast("Document", value).items()}
    return value
