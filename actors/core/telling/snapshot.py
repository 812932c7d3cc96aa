"""The answer to QUERY `snapshot`: the whole pool at a glance, with counters, from memory. Changes nothing of it.

Numbers of a node are those of its whole subtree. What could be many (nodes, hosts, what runs on a host) is listed up
to a bound, so that the answer stays small and is made in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from ....config.policy import parents
from ....transport.messages import STATES
from ..hosts.hosts import Hosts, HostSession, Lease
from ..order.lane import Lane
from ..policies.nodes import Node
from ..queue import Queue
from ..room import Room
from ..rows import QUEUED, RUNNING, SCHEDULED, WAITING
from ..statistics import BOUNDS, POOL, Figures
from ..step import Step
from .serving import Serving
from .watch import Watch

NODES_MAX: Final = 2000
"""Nodes in one answer; who comes first is what has most to do."""
_HOSTS_MAX: Final = 1000
_TASKS_MAX: Final = 64  # of one host
_ALL_TASKS_MAX: Final = 2000
_TROUBLED_MAX: Final = 20
_CAPACITY_MAX: Final = 1_000_000
_NO_FIGURES: Final = Figures()


@lru_cache(maxsize=20_000)
def _path(type: str) -> tuple[str, ...]:
    return (POOL, *parents(type))


class _Depth:
    """What stands at one node now."""

    __slots__ = ("oldest", "queued", "running", "scheduled", "waiting")

    def __init__(self) -> None:
        self.queued = self.scheduled = self.waiting = self.running = 0
        self.oldest: float | None = None

    def add(self, lane: Lane, oldest: float | None) -> None:
        counts = lane.counts
        self.queued += counts[QUEUED]
        self.running += counts[RUNNING]
        self.scheduled += counts[SCHEDULED]
        self.waiting += counts[WAITING]
        if oldest is not None and (self.oldest is None or oldest < self.oldest):
            self.oldest = oldest


_NO_DEPTH: Final = _Depth()


class Snapshot:
    """Makes the answers.

    Args:
        queue: Looked at.
        hosts: Looked at.
        room: Looked at.
        max_size: Unfinished tasks that the queue takes, now.
        watch: Goals and alerts.
        epoch: The supervisor's; with another one all counters began anew.
        started: When the supervisor started, by `now`.
    """

    def __init__(
        self,
        queue: Queue,
        hosts: Hosts,
        room: Room,
        max_size: Callable[[], int],
        watch: Watch,
        epoch: int,
        started: float,
    ) -> None:
        self._watch = watch
        self._queue, self._hosts, self._room, self._max_size = queue, hosts, room, max_size
        self._epoch, self._started = epoch, started
        self._serving = Serving(hosts)

    def answer(self, step: Step, *, told: bool) -> dict[str, Any]:
        """The value of REPLY, as docs/protocol.md has it. `told`: with what runs, and what tasks said of a service."""
        lanes = self._queue.lanes
        self._queue.lanes.statistics.settle()
        depths = self._depths()
        served = self._serving.counts(lanes.tree)
        listed = self._listed(served, depths)
        return {
            "at": step.now,
            "wall": step.wall,
            "epoch": self._epoch,
            "uptime": step.now - self._started,
            "tasks": {state.value: lanes.total(code) for code, state in enumerate(STATES)},
            "queue": {
                "unfinished": self._queue.unfinished_count,
                "max_size": self._max_size(),
                "disk_low": self._room.low,
            },
            "bounds": list(BOUNDS),
            "pool": self._numbers(POOL, depths),
            "nodes": {name: self._node(name, depths, served, step, told=told) for name in listed},
            "nodes_left_out": len(served) - len(listed),
            "hosts": self._listed_hosts(step, told=told),
            **self._watch.told(step),
        }

    def _depths(self) -> dict[str, _Depth]:
        """By node, the pool's own included."""
        depths: dict[str, _Depth] = {POOL: _Depth()}
        for lane in self._queue.lanes.by_number.values():
            counts = lane.counts
            if not (counts[QUEUED] or counts[RUNNING] or counts[SCHEDULED] or counts[WAITING]):
                continue
            oldest = lane.window.oldest() if counts[QUEUED] else None
            for name in _path(lane.type):
                depth = depths.get(name)
                if depth is None:
                    depth = depths[name] = _Depth()
                depth.add(lane, oldest)
        return depths

    def _listed(self, names: Collection[str], depths: dict[str, _Depth]) -> Collection[str]:
        if len(names) <= NODES_MAX:
            return names
        nodes = self._queue.lanes.statistics.nodes

        def weight(name: str) -> tuple[int, int, int]:
            depth = depths.get(name, _NO_DEPTH)
            return depth.running, depth.queued, nodes.get(name, _NO_FIGURES).attempts

        return sorted(sorted(names, key=weight, reverse=True)[:NODES_MAX])

    def _numbers(self, name: str, depths: dict[str, _Depth]) -> dict[str, Any]:
        statistics = self._queue.lanes.statistics
        depth = depths.get(name) or _NO_DEPTH
        figures = statistics.nodes.get(name, _NO_FIGURES)
        numbers: dict[str, Any] = {
            "queued": depth.queued,
            "scheduled": depth.scheduled,
            "waiting": depth.waiting,
            "running": depth.running,
            "oldest": depth.oldest,
        }
        numbers |= figures.shown()
        if (times := statistics.times.get(name)) is not None:
            numbers["durations"], numbers["waits"] = times.durations, times.waits
        return numbers

    def _node(
        self, name: str, depths: dict[str, _Depth], served: dict[str, int], step: Step, *, told: bool
    ) -> dict[str, Any]:
        numbers = self._numbers(name, depths)
        numbers["hosts"] = served.get(name, 0)
        node = self._queue.lanes.tree.nodes.get(name)
        numbers["limits"] = _limits(node, step, told=told) if node is not None else {}
        blocks = node.blocks(step.now, step.wall, told=told) if node is not None and node.binds() else ()
        numbers["blocks"] = [block._asdict() for block in blocks]
        return numbers

    def _listed_hosts(self, step: Step, *, told: bool) -> list[dict[str, Any]]:
        """Those that live, and the latest of those that are gone."""
        hosts = sorted(self._hosts.by_owner.values(), key=lambda host: (not host.alive(), -host.owner))[:_HOSTS_MAX]
        left = _ALL_TASKS_MAX if told else 0
        listed: list[dict[str, Any]] = []
        for host in hosts:
            tasks = [_lease(lease) for lease in islice(host.leases.values(), min(_TASKS_MAX, left))]
            left -= len(tasks)
            listed.append(_host(host, tasks, step))
        return listed


def _limits(node: Node, step: Step, *, told: bool) -> dict[str, Any]:
    """What is set on a node itself, and how much of it is used."""
    limits, found = node.limits, dict[str, Any]()
    if limits.max_concurrent is not None:
        found["max_concurrent"] = limits.max_concurrent
        found["held"] = node.held
    if limits.per_host is not None:
        found["per_host"] = limits.per_host
    if node.rate is not None:
        found["rate"] = node.rate.rate.written()
    if node.meter is not None:
        found["quota"] = node.meter.quota.written()
        found["quota_used"] = node.meter.used_at(step.now, step.wall)
    if node.guard is not None:
        found["breaker"] = node.guard.state(step.now)
    if node.paused is not None:
        found["paused"] = {"until": node.paused.until, "reason": node.paused.reason if told else ""}
    return found


def _host(host: HostSession, tasks: list[dict[str, Any]], step: Step) -> dict[str, Any]:
    failed = ((type, state) for type, state in sorted(host.levels.items()) if state[:1] == ["failed"])
    return {
        "name": host.name,
        "owner": host.owner,
        "state": host.shown_state(),
        "machine": host.machine,
        "isolation": host.facts.get("isolation"),
        "slots": min(_CAPACITY_MAX, sum(count for _, count in host.offer.slots)),
        "pools": {name: [pool.capacity, pool.held] for name, pool in host.pools.items()},
        "running": len(host.leases),
        "since": host.joined_at,
        "silent": max(0.0, step.now - host.heard),
        "serve": sorted(host.offer.serve),
        "types": len(host.offer.types),
        "troubled": {type: state[1:2] for type, state in islice(failed, _TROUBLED_MAX)},
        **host.figures.shown(),
        "tasks": tasks,
    }


def _lease(lease: Lease) -> dict[str, Any]:
    fraction, note, _ = lease.progress or (None, "", 0.0)
    return {
        "id": lease.row.id,
        "type": lease.lane.type,
        "attempt": lease.row.attempt,
        "fraction": fraction,
        "note": note,
        "since": lease.row.started_at,
        "stopping": lease.stopping,
    }
