"""Whether a pool and its nodes can do their work, judged by a snapshot. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ....config.policy import parents

SILENT_SECONDS: Final = 5.0
"""A monitor that has not heard the supervisor for so long is not well."""
_ERRORS_MAX: Final = 0.5
_ATTEMPTS_MIN: Final = 20  # in the last five minutes, before a share of them means anything
_STOPPED: Final = ("paused", "asleep", "quota", "breaker")


def of_monitor(silent: float | None, problem: str) -> dict[str, Any]:
    """Whether the monitor hears the pool.

    Args:
        silent: Seconds since the latest snapshot; None: there was none yet.
        problem: Why the latest question had no answer, or "".
    """
    if silent is not None and silent <= SILENT_SECONDS:
        return {"ok": True, "silent": round(silent, 1)}
    since = "it has not answered yet" if silent is None else f"it has not answered for {silent:.0f} s"
    return {"ok": False, "reason": f"the supervisor: {since}{': ' if problem else ''}{problem}", "silent": silent}


def of_pool(snapshot: Mapping[str, Any], monitor: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the pool takes tasks. `monitor`: what `of_monitor` said."""
    if not monitor["ok"]:
        return dict(monitor)
    queue = snapshot["queue"]
    found: dict[str, Any] = {"ok": True, **queue}
    if queue["disk_low"]:
        return {**found, "ok": False, "reason": "the database's disk is nearly full: no new tasks are taken"}
    if queue["unfinished"] >= queue["max_size"]:
        reason = f"the queue is full: {queue['unfinished']} unfinished tasks of at most {queue['max_size']}"
        return {**found, "ok": False, "reason": reason}
    return found


def of_node(
    snapshot: Mapping[str, Any], type: str, figures: Mapping[str, Any], monitor: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Whether a node can do its work; None: there is no such node.

    Args:
        snapshot: The latest.
        type: The node.
        figures: Its last five minutes (`Growth.shown`).
        monitor: What `of_monitor` said.
    """
    nodes: Mapping[str, Any] = snapshot.get("nodes", {})
    node = nodes.get(type)
    if node is None:
        return None if monitor["ok"] else dict(monitor)
    path = [nodes[name] for name in parents(type) if name in nodes]
    breakers = [one["limits"].get("breaker", "closed") for one in path]
    breaker = next((state for state in ("open", "probing") if state in breakers), "closed")
    found: dict[str, Any] = {
        "ok": True,
        "hosts": node["hosts"],
        "breaker": breaker,
        "success": figures.get("success"),
        "error_rate": figures.get("error_rate"),
        "queued": node["queued"],
        "running": node["running"],
    }
    stopped = [block["text"] for one in path for block in one["blocks"] if block["code"] in _STOPPED]
    errors, attempts = figures.get("error_rate"), figures.get("attempts", 0)
    reason = ""
    if not monitor["ok"]:
        reason = str(monitor["reason"])
    elif not node["hosts"]:
        reason = f"no host serves {type}"
    elif stopped:
        reason = stopped[0]
    elif errors is not None and errors > _ERRORS_MAX and attempts >= _ATTEMPTS_MIN:
        reason = f"{errors:.0%} of the latest {attempts:.0f} attempts failed"
    return {**found, "ok": False, "reason": reason} if reason else found
