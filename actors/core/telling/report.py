"""What the pool says of itself: the answers to QUERY that need nothing but memory."""

from __future__ import annotations

from collections.abc import Callable, Collection
from heapq import nsmallest
from itertools import islice
from typing import Any

from ....config.policy import tenant_node
from ....transport.messages import STATES
from ..hosts.hosts import Hosts, HostSession, Lease
from ..policies.nodes import Block
from ..queue import Queue
from ..room import Room
from ..rows import COMPLETED, FAILED, QUEUED, RUNNING
from ..settings import PoolSettings
from ..statistics import POOL
from ..step import Step
from .placement import required, unmet
from .snapshot import Snapshot
from .watch import Watch

_LISTED_MAX = 100  # types that nobody serves; who has more of them has seen enough
_TYPES_MAX = 20_000  # of all hosts; a message holds several times as many of usual length
_LEVELS_MAX = 10_000  # of all hosts
_LEVELS_EACH_MAX = 1000
_TASKS_MAX = 200  # of each host
_STOPPED = ("paused", "asleep", "quota", "breaker")
_NAME = "workerhost"
_INSECURE = "whoever reaches this pool over the network may do everything; start it with --network, not --insecure"


class Report:
    """Looks at everything and changes nothing of it.

    Attributes:
        answers: By the name of the query.
        settings: Those in effect.
        watch: Goals and alerts.
    """

    def __init__(
        self,
        settings: PoolSettings,
        queue: Queue,
        hosts: Hosts,
        room: Room,
        epoch: int,
        started: float,
        started_at: float,
    ) -> None:
        self.settings, self._queue, self._hosts, self._room = settings, queue, hosts, room
        self._epoch, self._started, self._started_at = epoch, started, started_at
        self.watch = Watch(queue, hosts, settings.watching, settings.queue_depth_high, started)
        self.answers: dict[str, Callable[..., dict[str, Any]]] = {
            "status": self.status,
            "hosts": self.hosts,
            "types": self.types,
            "snapshot": Snapshot(queue, hosts, room, self._max_size, self.watch, epoch, started).answer,
        }

    def _max_size(self) -> int:
        return self.settings.max_size  # which a reload may change

    def status(self, step: Step, *, told: bool) -> dict[str, Any]:
        """The pool at a glance. `told`: with what others' tasks said, and those of `hosts` and `types` too."""
        lanes, settings, room = self._queue.lanes, self.settings, self._room_for_types()
        waiting = {lane.type for lane in lanes.by_number.values() if lane.counts[QUEUED]}
        unserved = sorted(islice((type for type in waiting if not any(self._hosts.serving(type))), _LISTED_MAX))
        return {
            "supervisor": {
                "name": _NAME,
                "epoch": self._epoch,
                "started_at": self._started_at,
                "uptime": step.now - self._started,
                **settings.about,
            },
            "hosts": [self._host(host, step, room) for host in self._hosts.by_owner.values()],
            "tasks": {state.value: lanes.total(code) for code, state in enumerate(STATES)},
            "queue": {
                "unfinished": self._queue.unfinished_count,
                "max_size": settings.max_size,
                "depth_warning": self.watch.deep_since is not None,
                "disk_low": self._room.low,
                "in_memory": lanes.in_memory,
                "cache_hits": lanes.statistics.nodes[POOL].hits,
            },
            "unserved": unserved,
            **self._tenants(step),
            **self.watch.told(step),
            "notes": ([_INSECURE] if settings.about.get("secured") == "insecure" else [])
            + ([self._room.reason()] if self._room.low else [])
            + [f"no host serves {type}" for type in unserved]
            + self._declined(told=told)
            + self._not_offered()
            + [block.text for block in self._stopped(step, told=told)],
        }

    def _tenants(self, step: Step) -> dict[str, Any]:
        """Who shares the pool, and what keeps each; nothing where nobody names a tenant."""
        lanes = self._queue.lanes
        if not any(lanes.tenants.by_name):
            return {}
        counts = {name: [0, 0] for name in sorted(islice(lanes.tenants.by_name, _LISTED_MAX))}
        for lane in lanes.by_number.values():
            if (sums := counts.get(lane.tenant.name)) is not None:
                sums[0] += lane.counts[QUEUED]
                sums[1] += lane.counts[RUNNING]
        told: list[dict[str, Any]] = []
        for name, (queued, running) in counts.items():
            node = lanes.tree.tenants.get(tenant_node(name))
            limits = lanes.tree.policies.limits(tenant_node(name))
            told.append(
                {
                    "tenant": name,
                    "queued": queued,
                    "running": running,
                    "max_concurrent": limits.max_concurrent,
                    "rate": limits.rate and limits.rate.written(),
                    "blocks": [block._asdict() for block in node.blocks(step.now, step.wall)] if node else [],
                }
            )
        return {"tenants": told}

    def _declined(self, *, told: bool) -> list[str]:
        """The types of which tasks wait because every host that serves them declined those."""
        notes: list[str] = []
        for lane, by, count, first in self._queue.declines.waiting():
            if all(host.owner in by for host in self._hosts.serving(lane.type)):
                waiting = f"{count} of {lane.type} wait for another host or new code"
                notes.append(f"{waiting}; {first.reason()}" if told else waiting)
        return notes[:_LISTED_MAX]

    def _not_offered(self) -> list[str]:
        """The lanes whose tasks wait because no host that serves them offers what they require."""
        notes: list[str] = []
        for lane in self._queue.lanes.by_number.values():
            if len(notes) < _LISTED_MAX and lane.counts[QUEUED] and (lane.needs or lane.labels):
                miss = unmet(self._hosts.serving(lane.type), lane)
                if miss is not None:
                    waiting = f"{lane.counts[QUEUED]} of {lane.type} wait for a host that offers {required(lane)}"
                    notes.append(f"{waiting}; the nearest, {miss.host.name}, {miss.text()}")
        return notes

    def hosts(self, step: Step, *, told: bool) -> dict[str, Any]:
        """Each host with what it offers and runs."""
        room = self._room_for_types()
        living = [host for host in self._hosts.by_owner.values() if host.alive()]  # others have no levels
        levels = min(_LEVELS_EACH_MAX, _share([len(host.levels) for host in living], _LEVELS_MAX))
        running: dict[int, list[Lease]] = {}
        for lease in self._queue.leases.values():
            running.setdefault(lease.pool.host.owner, []).append(lease)
        return {
            "hosts": [
                {
                    **self._host(host, step, room),
                    **_shown(host.levels, levels),
                    "any": host.offer.any,
                    "isolation": host.facts.get("isolation"),
                    "failed": host.facts.get("failed", {}),
                    "start_failed": host.start_failed,
                    "reload": host.facts.get("reload", {}),
                    "tasks": [_lease(lease) for lease in running.get(host.owner, [])[:_TASKS_MAX]] if told else [],
                }
                for host in self._hosts.by_owner.values()
            ]
        }

    def _stopped(self, step: Step, *, told: bool) -> list[Block]:
        """The nodes that grant nothing at present, for another reason than that they are busy."""
        return [
            block
            for _, node in sorted(self._queue.lanes.tree.nodes.items())
            for block in node.blocks(step.now, step.wall, told=told)
            if block.code in _STOPPED
        ]

    def types(self, step: Step, *, told: bool) -> dict[str, Any]:
        """Every type that is configured, offered or has tasks."""
        lanes, policies = self._queue.lanes, self._queue.lanes.tree.policies
        types = set(lanes.by_type) | set(policies.nodes)
        for host in self._hosts.by_owner.values():
            if host.alive():
                types |= {name.removesuffix(".*") for name in host.offer.types}
        listed: list[dict[str, Any]] = []
        for type in sorted(types):
            counts = lanes.counts(type)
            node, limits = lanes.tree.nodes.get(type), policies.limits(type)
            listed.append(
                {
                    "type": type,
                    "queued": counts[QUEUED],
                    "running": counts[RUNNING],
                    "completed": counts[COMPLETED],
                    "failed": counts[FAILED],
                    "cache_hits": lanes.statistics.hits(type),
                    "hosts": sorted(host.name for host in self._hosts.serving(type)),
                    "broken": {
                        host.name: host.facts["failed"][type]
                        for host in self._hosts.by_owner.values()
                        if host.alive() and type in host.facts.get("failed", {})
                    },
                    "code": self._code(type),
                    "paused": bool(node and node.paused),
                    "max_concurrent": limits.max_concurrent,
                    "per_host": limits.per_host,
                    "rate": limits.rate and limits.rate.written(),
                    "quota": limits.quota and limits.quota.written(),
                    "quota_used": node.meter.used_at(step.now, step.wall) if node and node.meter else None,
                    "breaker": node.guard.state(step.now) if node and node.guard else None,
                    "blocks": [b._asdict() for b in node.blocks(step.now, step.wall, told=told)] if node else [],
                }
            )
        return {"types": listed}

    def _code(self, type: str) -> dict[str, list[str]]:
        """Fingerprint of a type's code -> the hosts that serve this."""
        served: dict[str, list[str]] = {}
        for host in self._hosts.by_owner.values():
            if host.alive() and (fingerprint := host.facts.get("fingerprints", {}).get(type)):
                served.setdefault(fingerprint, []).append(host.name)
        return {fingerprint: sorted(names) for fingerprint, names in sorted(served.items())}

    def _room_for_types(self) -> tuple[int, int]:
        """How many types an answer names of each host that is gone, and of each that lives: those come first."""
        hosts = self._hosts.by_owner.values()
        if sum(len(host.offer.types) for host in hosts) <= _TYPES_MAX:
            return _TYPES_MAX, _TYPES_MAX
        return 0, _share([len(host.offer.types) for host in hosts if host.alive()], _TYPES_MAX)

    def _host(self, host: HostSession, step: Step, room: tuple[int, int]) -> dict[str, Any]:
        types = nsmallest(room[host.alive()], host.offer.types)
        left_out = len(host.offer.types) - len(types)
        return {
            "name": host.name,
            "state": host.shown_state(),
            "slots": sum(count for _, count in host.offer.slots),
            "running": len(host.leases),
            "serve": sorted(host.offer.serve),
            "types": types,
            **({"types_left_out": left_out} if left_out else {}),
            "machine": host.machine,
            "pid": host.facts.get("pid"),
            "since": host.joined_at,
            "silent": max(0.0, step.now - host.heard),
            **self._resources(host),
        }

    def _resources(self, host: HostSession) -> dict[str, Any]:
        """What it offers and what is used of that; nothing where it offers nothing."""
        if not host.offer.resources:
            return {}
        stock = self._queue.lanes.tree.stocks.get(host.owner)
        used = {name: stock.used.get(name, 0) if stock else 0 for name in host.offer.counts()}
        return {"resources": dict(host.offer.resources), "in_use": used}


def _share(sizes: Collection[int], most: int) -> int:
    """How many of each may be named, so that it is about `most` in all; at least one of each."""
    return most if sum(sizes) <= most else max(1, most // len(sizes))


def _shown(levels: dict[str, list[str]], most: int) -> dict[str, Any]:
    """So many levels of a host, those first that have failed, and how many more there are."""
    if len(levels) <= most:
        return {"levels": levels}
    failed_first = sorted(levels.items(), key=lambda item: item[1][:1] != ["failed"])
    return {"levels": dict(failed_first[:most]), "levels_left_out": len(levels) - most}


def _lease(lease: Lease) -> dict[str, Any]:
    fraction, note, _ = lease.progress or (None, "", 0.0)
    return {
        "id": lease.row.id,
        "type": lease.lane.type,
        "fraction": fraction,
        "note": note,
        "since": lease.row.started_at,
        "stopping": lease.stopping,
    }
