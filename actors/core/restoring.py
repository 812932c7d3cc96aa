"""Going on from the store: lanes and their counts, hosts, and what ran when the last supervisor ended."""

from __future__ import annotations

from .hosts.hosts import ORDERS, Hosts, HostSession, SlotPool
from .opening import Opening
from .queue import Queue
from .rows import FINAL, Row


def restore(queue: Queue, hosts: Hosts, opening: Opening, boot: int, now: float, wall: float) -> None:
    """Take over what the store holds. What ran, runs on for one full period of grace until its host says HELLO."""
    _restore_lanes(queue, opening, boot, now, wall)
    hosts.last_owner = opening.meta.get("last_owner", 0)
    hosts.told_before = opening.meta.get("lost_after_ms", 0) / 1000
    for owner, token, name, machine, joined_at, left_at, state, identity in opening.hosts:
        hosts.remember(owner, token, identity)
        if left_at is None:
            host = HostSession(owner, token, name, machine, joined_at, now, "away", identity=identity)
            host.drains, host.patience = ORDERS.get(state), hosts.told_before
            host.pools[""] = SlotPool(host, "")
            hosts.add(host)
    for columns in opening.running:
        row = Row(*columns)
        host = hosts.by_owner.get(row.owner)
        if host is None:  # its session ended before the restart and the row was never taken back
            host = HostSession(row.owner, b"", f"host {row.owner}", "", 0.0, heard=now, state="away")
            host.pools[""] = SlotPool(host, "")
            hosts.by_owner[row.owner] = host
        queue.lease_again(row, host.pools[""], now)
    queue.checkpoints.update(opening.checkpoints)


def _restore_lanes(queue: Queue, opening: Opening, boot: int, now: float, wall: float) -> None:
    lanes = queue.lanes
    lanes.tree.restore(opening, boot, now, wall)
    for number, type, tenant, requirements in opening.lanes:
        lanes.restore(number, type, tenant, requirements)
    for number, state, count in opening.tallies:
        lane = lanes.by_number[number]
        lane.counts[state] = lane.stored[state] = count
        lanes.totals[state] += count
        queue.unfinished_count += 0 if state in FINAL else count
    lanes.emptied = {lane: now for lane in lanes.by_number.values() if lane.is_unused()}
    lanes.statistics.unfinished_before = queue.unfinished_count
