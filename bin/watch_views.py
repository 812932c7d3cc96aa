"""What `status` says of goals and alerts, as lines of text. Reads replies, asks nothing."""

from __future__ import annotations

from typing import Any

from .tables import span, wrapped

_INDENT = 12


def lines(reply: dict[str, Any], now: float) -> list[str]:
    """When the queue is empty, each goal, each alert that is raised."""
    found: list[str] = []
    if (empty_in := reply.get("empty_in")) is not None:
        found += wrapped("empty in", f"about {span(empty_in)} at the rate of the last five minutes", indent=_INDENT)
    for goal in reply.get("objectives", []):
        value = "not known yet" if goal["value"] is None else f"now {_value(goal)}"
        how = {True: "met", False: "MISSED", None: "unknown"}[goal["met"]]
        found += wrapped(how, f"{goal['text']}; {value}", indent=_INDENT)
    for alert in reply.get("alerts", []):
        found += wrapped("ALERT", f"{alert['text']}, for {span(max(0.0, now - alert['since']))}", indent=_INDENT)
    return found


def _value(goal: dict[str, Any]) -> str:
    from ..config.watching import METRICS, written  # not for `--help`

    return written(goal["name"], goal["value"]) if goal["name"] in METRICS else str(goal["value"])
