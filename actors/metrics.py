"""The page `/metrics`: a snapshot in the text format of Prometheus. Knows no pool and no HTTP.

Lines are written here and not by prometheus-client, which takes 130 ms for a thousand nodes (measured); that library
tells of the monitor's own process. Numbers of a type are its own without what lies below it, so that sums over `type`
are those of the pool. Labels are bounded: what is one type too many counts as `(other)`. What was told of a counter is
remembered: it must not fall as long as the supervisor is the same, or Prometheus takes it for one that began anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from .core.hosts.hosts import SHOWN_ALIVE

LABELS_MAX: Final = 1000
"""Types, and hosts, with lines of their own."""
OTHER: Final = "(other)"
"""Not a name that a type can have."""
_UNFINISHED: Final = ("queued", "scheduled", "waiting", "running")
_ENDS: Final = ("completed", "failed", "cancelled", "quarantined")
_COUNTERS: Final = {
    "sent": ("tasks_sent_total", "Tasks handed in."),
    "hits": ("cache_hits_total", "Tasks handed in that an older one answers for, by `cache`."),
    "attempts": ("attempts_total", "Attempts that ran until they completed or failed."),
    "seconds": ("attempt_seconds_total", "How long these attempts ran."),
    "retried": ("attempts_retried_total", "Attempts that failed and whose task is tried again."),
    "rescued": ("attempts_rescued_total", "Attempts taken back from hosts that were lost."),
    "released": ("attempts_released_total", "Attempts handed back, which count against nobody."),
    "grants": ("first_attempts_total", "Tasks whose first attempt began."),
    "waited": ("wait_seconds_total", "How long these tasks had waited."),
}
_HOST_COUNTERS: Final = {
    "attempts": ("host_attempts_total", "Attempts that ran on a host until they completed or failed."),
    "seconds": ("host_attempt_seconds_total", "How long these attempts ran."),
    "completed": ("host_tasks_completed_total", "Tasks that completed on a host."),
    "rescued": ("host_attempts_rescued_total", "Attempts taken back from a host."),
}
_SUMMED: Final = (*_UNFINISHED, *_ENDS, *_COUNTERS)
_DIGITS: Final = 3
"""Of seconds. What is less, in a difference of two sums, is how they were rounded."""
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Line = tuple[str, float]
"""Labels as they are written, and a value."""


class Family(NamedTuple):
    """One metric."""

    name: str
    kind: str
    help: str
    lines: Sequence[Line]


class Metrics:
    """Makes the page of one pool."""

    def __init__(self) -> None:
        self._epoch = 0
        self._told: dict[str, dict[str, float]] = {}  # what counters of types stood at, by labels, for each family
        self._own = CollectorRegistry(auto_describe=False)
        ProcessCollector(namespace="workerhost_monitor", registry=self._own)

    def page(self, snapshot: Mapping[str, Any], *, heard: bool) -> bytes:
        """The page.

        Args:
            snapshot: The latest; empty before the first.
            heard: Whether the supervisor answers.
        """
        families = [Family("up", "gauge", "Whether the supervisor answers the monitor.", [("", float(heard))])]
        if snapshot:
            if snapshot["epoch"] != self._epoch:
                self._epoch, self._told = snapshot["epoch"], {}
            types = map(self._never_less, _types(snapshot))
            families += [*_pool(snapshot), *types, *_hosts(snapshot["hosts"]), *_watched(snapshot)]
        text = "".join(map(_written, families))
        return text.encode() + generate_latest(self._own)

    def _never_less(self, family: Family) -> Family:
        """A counter is at least what it was. What is left of a node without those below it may come out smaller: sums
        of fractions are not exact, and which types are too many changes.
        """
        if family.kind != "counter":
            return family
        told = self._told.get(family.name, {})
        lines = [(labels, max(value, told.get(labels, 0))) for labels, value in family.lines]
        self._told[family.name] = dict(lines)
        return family._replace(lines=lines)


def _written(family: Family) -> str:
    name = f"workerhost_{family.name}"
    suffixed = family.kind == "histogram"
    head = f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n"
    if suffixed:
        return head + "".join([f"{name}{labels} {value}\n" for labels, value in family.lines])
    return head + "".join(
        [f"{name}{{{labels}}} {value}\n" if labels else f"{name} {value}\n" for labels, value in family.lines]
    )


def label(value: str) -> str:
    """A label's value as it is written between quotes."""
    return value.translate(_ESCAPES)


def _pool(snapshot: Mapping[str, Any]) -> Iterator[Family]:
    yield Family("supervisor_uptime_seconds", "gauge", "Since the supervisor started.", [("", snapshot["uptime"])])
    stored = [(f'state="{state}"', count) for state, count in snapshot["tasks"].items()]
    yield Family("stored_tasks", "gauge", "Tasks that the database holds, ended ones too, by state.", stored)


def _types(snapshot: Mapping[str, Any]) -> Iterator[Family]:
    own = _own_numbers(snapshot)
    labels = {name: f'type="{label(name)}"' for name in own}
    unfinished = [(f'{labels[t]},state="{s}"', n[s]) for t, n in own.items() for s in _UNFINISHED]
    yield Family("tasks", "gauge", "Unfinished tasks by state.", unfinished)
    ends = [(f'{labels[t]},state="{s}"', n[s]) for t, n in own.items() for s in _ENDS]
    yield Family("tasks_ended_total", "counter", "Tasks that ended, by how.", ends)
    for key, (name, text) in _COUNTERS.items():
        lines = [(labels[t], round(n[key], _DIGITS)) for t, n in own.items()]
        yield Family(name, "counter", text, lines)
    causes = [(f'{labels[t]},cause="{label(c)}"', count) for t, n in own.items() for c, count in n["causes"].items()]
    yield Family("attempts_failed_total", "counter", "Attempts that failed, by cause.", causes)
    nodes = {name: snapshot["nodes"][name] for name in own if name in snapshot["nodes"]}
    wall = snapshot["wall"]
    oldest = [(labels[t], max(0.0, wall - n["oldest"]) if n["oldest"] else 0.0) for t, n in nodes.items()]
    yield Family("oldest_wait_seconds", "gauge", "How long the queued task waits that waits longest.", oldest)
    yield Family(
        "type_hosts",
        "gauge",
        "Hosts that take tasks of a type or below it.",
        [(labels[t], n["hosts"]) for t, n in nodes.items()],
    )
    blocked = [(labels[t], float(bool(n["blocks"]))) for t, n in nodes.items()]
    yield Family("type_blocked", "gauge", "Whether something keeps tasks of a type from starting.", blocked)
    yield from _times(snapshot)


def _own_numbers(snapshot: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each type's numbers without what lies below it; what is left of the pool, and of too many types, is `other`."""
    nodes: Mapping[str, Any] = snapshot["nodes"]
    own: dict[str, dict[str, Any]] = {OTHER: _copy(snapshot["pool"])}
    for name in sorted(nodes)[:LABELS_MAX]:
        own[name] = _copy(nodes[name])
        above = name.rpartition(".")[0]
        _less(own[above if above in own else OTHER], nodes[name])
    return own


def _copy(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: numbers.get(key, 0) for key in _SUMMED}, "causes": dict(numbers["causes"])}


def _less(own: dict[str, Any], below: Mapping[str, Any]) -> None:
    for key in _SUMMED:
        if value := below.get(key):
            own[key] -= value
    causes = own["causes"]
    for cause, count in below["causes"].items():
        causes[cause] = max(0, causes.get(cause, 0) - count)


def _times(snapshot: Mapping[str, Any]) -> Iterator[Family]:
    """Histograms, of the first parts of types alone: at every node they would be megabytes."""
    bounds = snapshot["bounds"]
    medias = {name: n for name, n in sorted(snapshot["nodes"].items())[:LABELS_MAX] if "durations" in n}
    for name, key, total, text in (
        ("attempt_duration_seconds", "durations", "seconds", "How long attempts ran."),
        ("wait_duration_seconds", "waits", "waited", "How long tasks waited for their first attempt."),
    ):
        lines: list[Line] = []
        for media, numbers in medias.items():
            lines += _histogram(f'media="{label(media)}"', bounds, numbers[key], numbers[total])
        yield Family(name, "histogram", text, lines)


def _histogram(labels: str, bounds: list[float], buckets: list[float], total: float) -> list[Line]:
    lines: list[Line] = []
    count = 0.0
    for bound, found in zip([*map(str, bounds), "+Inf"], buckets, strict=False):
        count += found
        lines.append((f'_bucket{{{labels},le="{bound}"}}', count))
    return [*lines, (f"_sum{{{labels}}}", total), (f"_count{{{labels}}}", count)]


def _hosts(found: list[Any]) -> Iterator[Family]:
    hosts = {host["name"]: host for host in found if host["state"] in SHOWN_ALIVE}
    named = {f'host="{label(name)}"': hosts[name] for name in sorted(hosts)[:LABELS_MAX]}
    yield Family("hosts", "gauge", "Hosts that live.", [("", len(hosts))])
    yield Family("host_slots", "gauge", "Slots of a host.", [(name, host["slots"]) for name, host in named.items()])
    running = [(name, host["running"]) for name, host in named.items()]
    yield Family("host_running", "gauge", "Tasks that a host holds.", running)
    for key, (name, text) in _HOST_COUNTERS.items():
        yield Family(name, "counter", text, [(labels, host[key]) for labels, host in named.items()])
    failed = [(labels, sum(host["causes"].values())) for labels, host in named.items()]
    yield Family("host_attempts_failed_total", "counter", "Attempts that failed on a host.", failed)


def _watched(snapshot: Mapping[str, Any]) -> Iterator[Family]:
    raised = snapshot.get("alerts", ())
    alerts = {f'metric="{label(a["metric"])}",type="{label(a["node"])}"': 1.0 for a in raised}  # one metric, two bounds
    if alerts:
        yield Family("alert", "gauge", "Alerts that are raised.", list(alerts.items()))
    goals = [
        (f'objective="{label(o["name"])}"', float(o["met"]))
        for o in snapshot.get("objectives", ())
        if o["met"] is not None
    ]
    if goals:
        yield Family("objective_met", "gauge", "Whether an objective is met.", goals)
