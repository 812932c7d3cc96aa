"""What the pool says of itself: the answers to QUERY that need nothing but memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...transport.messages import STATES
from .hosts import HostSession, Lease
from .rows import COMPLETED, FAILED, QUEUED, RUNNING
from .step import Step

if TYPE_CHECKING:
    from .pool import Pool

_SHOWN_STATES = {"away": "suspect"}


def status_report(pool: Pool, step: Step) -> dict[str, Any]:
    """The answer to `status`."""
    lanes = pool.queue.lanes
    settings = pool.settings
    unserved = sorted(
        lane.type for lane in lanes.by_number.values() if lane.counts[QUEUED] and not any(pool.hosts.serving(lane.type))
    )
    return {
        "supervisor": {
            "name": settings.name,
            "epoch": pool.epoch,
            "started_at": pool.started_at,
            "uptime": step.now - pool.started,
            **settings.about,
        },
        "hosts": [_host(pool, host, step) for host in pool.hosts.by_owner.values()],
        "tasks": {state.value: lanes.total(code) for code, state in enumerate(STATES)},
        "queue": {
            "unfinished": pool.queue.unfinished(),
            "max_size": settings.max_size,
            "depth_warning": pool.depth_warned,
            "in_memory": lanes.in_memory,
        },
        "unserved": unserved,
        "notes": [f"no host serves {type}" for type in unserved]
        + [f"{path} is paused" for path, node in sorted(lanes.nodes.items()) if node.paused],
    }


def _host(pool: Pool, host: HostSession, step: Step) -> dict[str, Any]:
    return {
        "name": host.name,
        "state": _SHOWN_STATES.get(host.state, host.state),
        "slots": sum(count for _, count in host.offer.slots),
        "running": sum(1 for lease in pool.queue.leases.values() if lease.pool.host is host),
        "serve": sorted(host.offer.serve),
        "machine": host.machine,
        "pid": host.facts.get("pid"),
        "since": host.joined_at,
        "silent": max(0.0, step.now - host.heard),
    }


def hosts_report(pool: Pool, step: Step) -> dict[str, Any]:
    """The answer to `hosts`: each with what it offers and runs."""
    running: dict[int, list[Lease]] = {}
    for lease in pool.queue.leases.values():
        running.setdefault(lease.pool.host.owner, []).append(lease)
    return {
        "hosts": [
            {
                **_host(pool, host, step),
                "levels": host.levels,
                "types": sorted(host.offer.types),
                "any": host.offer.any,
                "isolation": host.facts.get("isolation"),
                "failed": host.facts.get("failed", {}),
                "tasks": [_lease(lease) for lease in running.get(host.owner, [])],
            }
            for host in pool.hosts.by_owner.values()
        ]
    }


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


def types_report(pool: Pool, _step: Step) -> dict[str, Any]:
    """The answer to `types`: every type that is configured, offered or has tasks."""
    lanes = pool.queue.lanes
    types = set(lanes.by_type) | set(pool.settings.policies.nodes)
    for host in pool.hosts.by_owner.values():
        if host.alive():
            types |= {name.removesuffix(".*") for name in host.offer.types}
    listed: list[dict[str, Any]] = []
    for type in sorted(types):
        lane = lanes.by_type.get(type)
        counts = lane.counts if lane else [0] * len(STATES)
        node = lanes.nodes.get(type)
        listed.append(
            {
                "type": type,
                "queued": counts[QUEUED],
                "running": counts[RUNNING],
                "completed": counts[COMPLETED],
                "failed": counts[FAILED],
                "hosts": sorted(host.name for host in pool.hosts.serving(type)),
                "paused": bool(node and node.paused),
                "max_concurrent": pool.settings.policies.max_concurrent(type),
            }
        )
    return {"types": listed}
