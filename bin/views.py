"""What `status`, `hosts` and `types` say to a person, as lines of text. Reads replies, asks nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..transport.documents import GONE
from . import watch_views
from .tables import ago, count, figure, percent, span, table, wrapped

GLANCE_HOSTS: Final = 15
"""Hosts that `status` shows, those with something odd first, and last those that are gone; `hosts` has all."""
RUNNING_MAX: Final = 50
"""Running tasks that `hosts` shows; `ls --state running` has all."""
_CALM: Final = {"joined": 1, "lost": 2, "left": 3}
"""The order of hosts by state; whatever else a state says is odd."""
_NAMES_MAX: Final = 3
_INDENT: Final = 12
_JOIN: Final = "no host has joined: workerhost host --join ADDRESS CODE"


def status(reply: dict[str, Any], now: float) -> list[str]:
    """The pool at a glance."""
    about, queue, found = reply["supervisor"], reply.get("queue", {}), reply["hosts"]
    durable = f"durable: {about.get('durability')}" if about.get("durable") else "NOT durable"
    high = ", higher than it should be" if queue.get("depth_warning") else ""
    uptime, pid, version = span(about.get("uptime")), about.get("pid"), about.get("version")
    facts = {
        "supervisor": f"{about.get('address')}, up {uptime}, pid {pid}, version {version}",
        "queue": f"{durable}, {about.get('database') or 'in memory'}",
        "tasks": counts(reply["tasks"]),
        "unfinished": f"{queue.get('unfinished'):,} of at most {queue.get('max_size'):,}{high}",
        **({"cache": f"{queue['cache_hits']:,} answered by older tasks"} if queue.get("cache_hits") else {}),
        "hosts": _hosts_at_a_glance(found) if found else _JOIN,
    }
    lines = [line for name, text in facts.items() for line in wrapped(name, text, indent=_INDENT)]
    lines += watch_views.lines(reply, now)
    shown = sorted(found, key=lambda host: _CALM.get(host["state"], 0))[:GLANCE_HOSTS]
    lines += ["", *hosts(shown, now)] if shown else []
    if len(found) > len(shown):
        lines.append(f"and {len(found) - len(shown):,} more: workerhost hosts")
    notes = [line for note in reply.get("notes", []) for line in wrapped("note:", note, indent=6)]
    return [*lines, "", *notes] if notes else lines


def counts(tasks: dict[str, int]) -> str:
    """`2 running, 5 queued`: the states that are not empty."""
    return ", ".join(f"{number:,} {state}" for state, number in tasks.items() if number) or "none"


def _hosts_at_a_glance(found: list[dict[str, Any]]) -> str:
    """`3 hosts (2 joined, 1 lost), 6 of 8 slots busy`: who is gone has none."""
    states: dict[str, int] = {}
    for host in found:
        states[host["state"]] = states.get(host["state"], 0) + 1
    living = [host for host in found if host["state"] not in GONE]
    slots, running = sum(host["slots"] for host in living), sum(host["running"] for host in living)
    of_states = ", ".join(f"{number:,} {state}" for state, number in states.items())
    return f"{len(found):,} ({of_states}); {running:,} of {slots:,} slots are busy"


def hosts(found: list[dict[str, Any]], now: float) -> list[str]:
    """A table of hosts."""
    rows = [
        [
            host["name"], host["state"], host["slots"], host["running"], span(ago(host.get("since"), now)),
            _offered(host),
        ]
        for host in found
    ]  # fmt: skip
    last = "TYPES" if any("types" in host for host in found) else "SERVES"
    return table(["HOST", "STATE", "SLOTS", "BUSY", "SINCE", last], rows)


def _offered(host: dict[str, Any]) -> str:
    """Its types, or how many they are where the pool has too many to name them."""
    left_out = host.get("types_left_out", 0)
    return ", ".join(host.get("types") or host.get("serve") or []) or (count(left_out, "type") if left_out else "all")


def host_details(found: list[dict[str, Any]]) -> list[str]:
    """What hosts run, and what is wrong with them."""
    running = [(host["name"], task) for host in found for task in host.get("tasks", [])]
    rows = [
        [name, task["id"], task["type"], percent(task.get("fraction")), task.get("note") or ""]
        for name, task in running[:RUNNING_MAX]
    ]
    lines = ["", *table(["HOST", "TASK", "TYPE", "DONE", "NOTE"], rows)] if rows else []
    if len(running) > RUNNING_MAX:
        lines.append(f"and {len(running) - RUNNING_MAX:,} more: workerhost ls --state running --limit 1000")
    levels = _levels(found)
    lines += ["", *table(["LEVEL", "STATE", "HOSTS", "NOTE"], levels)] if levels else []
    if left_out := sum(host.get("levels_left_out", 0) for host in found):
        lines.append(f"and {count(left_out, 'level')} more")
    broken = [
        line
        for host in found
        for code, why in host.get("failed", {}).items()
        for line in wrapped("", f"{host['name']} cannot run {code}: {why}", indent=0)
    ]
    for host in found:
        for pool, why in host.get("start_failed", {}).items():
            which = f" for {pool}" if pool else ""
            broken += wrapped("", f"{host['name']} cannot start its slots{which}: {why}", indent=0)
    return lines + (["", *broken] if broken else [])


def _levels(found: list[dict[str, Any]]) -> list[list[Any]]:
    """What level actors say, hosts that say the same of a type together."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for host in found:
        for type, (state, note) in host.get("levels", {}).items():
            alike.setdefault((type, state, note), []).append(host["name"])
    return [[type, state, _names(names), note] for (type, state, note), names in sorted(alike.items())]


def types(found: list[dict[str, Any]]) -> list[str]:
    """A table of types, and what is odd about them."""
    figures = ["queued", "running", "completed", "failed"]
    figures += ["cache_hits"] if any(item.get("cache_hits") for item in found) else []
    rows = [
        [
            item["type"] + (" (paused)" if item.get("paused") else ""),
            *(figure(item.get(name, 0)) for name in figures),
            _names(item.get("hosts", [])),
        ]
        for item in found
    ]  # fmt: skip
    notes: dict[str, None] = {}  # each once: a limit of `video` is told by all below it
    for item in found:
        notes.update(dict.fromkeys(_oddities(item)))
    lines = [line for note in notes for line in wrapped("", note, indent=0)]
    names = ["TYPE", *(name.upper().replace("_", " ") for name in figures), "HOSTS"]
    return table(names, rows) + (["", *lines] if lines else [])


def _oddities(item: dict[str, Any]) -> Iterable[str]:
    """What keeps a type's tasks, and where it cannot run."""
    for block in item.get("blocks", []):
        yield block["text"]
    for host, why in item.get("broken", {}).items():
        yield f"{host} cannot run {item['type']}: {why}"
    if len(item.get("code", {})) > 1:
        served = "; ".join(f"{code} on {', '.join(names)}" for code, names in item["code"].items())
        yield f"{item['type']} is served from different code: {served}"


def _names(names: list[str]) -> str:
    """A few names, or how many there are."""
    return ", ".join(names) if len(names) <= _NAMES_MAX else count(len(names), "host")
