"""What must be true of a pool after every step, whatever has happened. Tests ask; nothing else does."""

from __future__ import annotations

from collections import Counter

from .policies.nodes import Node
from .pool import Pool
from .rows import FINAL, QUEUED, RUNNING, SCHEDULED
from .statistics import POOL


def check_invariants(pool: Pool) -> None:
    """Look at everything that memory holds.

    Raises:
        AssertionError: What is wrong, with the numbers.
    """
    _check_windows(pool)
    _check_leases(pool)
    _check_sessions(pool)
    _check_statistics(pool)


def _check_statistics(pool: Pool) -> None:
    statistics = pool.queue.lanes.statistics
    statistics.settle()
    all_of_it, times = statistics.nodes[POOL], statistics.times[POOL]
    ended = sum(getattr(all_of_it, name) for name in ("completed", "failed", "cancelled", "quarantined"))
    left = statistics.unfinished_before + all_of_it.sent - ended
    assert left == pool.queue.unfinished_count, f"{left} tasks are left, {pool.queue.unfinished_count} are unfinished"
    assert sum(times.durations) == all_of_it.attempts, "the times of some attempts are not known"
    assert sum(times.waits) == all_of_it.grants, "the waits of some tasks are not known"
    for name in ("sent", "hits", "attempts", "grants", "retried", "rescued", "released"):
        tops = sum(getattr(figures, name) for path, figures in statistics.nodes.items() if path and "." not in path)
        assert tops == getattr(all_of_it, name), f"{name} of the nodes and of the pool differ"


def _check_windows(pool: Pool) -> None:
    queue = pool.queue
    in_windows: set[int] = set()
    for lane in queue.lanes.by_number.values():
        rows = lane.window.rows()
        keys = [lane.window.key(row) for row in rows]
        assert keys == sorted(keys), f"{lane} is out of order"
        assert len(rows) == lane.window.size, f"{lane} counts {lane.window.size} of {len(rows)} rows"
        assert all(count >= 0 for count in lane.counts), f"{lane} counts {lane.counts}"
        if lane.window.horizon is None:
            assert lane.beyond() == 0 or lane.filling, f"{lane} knows no horizon and {lane.beyond()} rows behind it"
        else:
            assert not keys or keys[-1] <= lane.window.horizon, f"{lane} holds a row behind its horizon"
        in_windows |= {row.id for row in rows}
    sizes = sum(lane.window.size for lane in queue.lanes.by_number.values())
    assert queue.lanes.in_memory == sizes, f"{queue.lanes.in_memory} rows counted, {sizes} in windows"
    assert sizes <= max(queue.lanes.rows_max, len(queue.lanes.by_number)), f"{sizes} rows are over the budget"
    scheduled = {id for id, row in queue.rows.items() if row.state == SCHEDULED}
    known = set(queue.rows)
    aside = {id for id in known if id in queue.declines}
    places = in_windows | scheduled | aside
    assert known == places, f"rows {sorted(known ^ places)} are in one place only"
    assert not aside & in_windows, f"rows {sorted(aside & in_windows)} stand aside and in line"
    assert len(aside) == len(queue.declines), "what stands aside is not known"
    for lane in queue.lanes.by_number.values():
        count = sum(row.lane == lane.number for id, row in queue.rows.items() if id in aside)
        assert lane.aside == count, f"{lane} counts {lane.aside} of {count} that stand aside"
    assert sum(schedule.size for schedule in queue.schedules.values()) == len(scheduled), "schedules miscount"


def _check_leases(pool: Pool) -> None:
    queue = pool.queue
    running: Counter[int] = Counter()
    for number, lease in queue.leases.items():
        assert number == lease.row.id
        assert number not in queue.rows, f"task {number} is granted and waits"
        assert lease.row.fence <= queue.fence, f"task {number} has a fence from the future"
        if lease.stopping:
            assert lease.row.state in FINAL, f"task {number} is stopping in state {lease.row.state}"
        else:
            assert lease.row.state == RUNNING, f"task {number} is granted in state {lease.row.state}"
            running[lease.lane.number] += 1
        assert lease.pool.host.alive(), (
            f"task {number} is held by {lease.pool.host.name}, which is {lease.pool.host.state}"
        )
    for lane in queue.lanes.by_number.values():
        assert lane.counts[RUNNING] == running[lane.number], f"{lane} counts {lane.counts[RUNNING]} running"
    held = Counter(id(lease.pool) for lease in queue.leases.values())
    held.update(id(slots) for copies in queue.lanes.tree.copies.by_owner.values() for _, slots in copies.values())
    for host in pool.hosts.by_owner.values():
        for slots in host.pools.values():
            assert slots.held == held[id(slots)], f"{host.name} counts {slots.held} of {held[id(slots)]} leases"
    _check_nodes(pool)
    _check_stocks(pool)


def _check_stocks(pool: Pool) -> None:
    held: dict[int, Counter[str]] = {}
    for lease in pool.queue.leases.values():
        held.setdefault(lease.pool.host.owner, Counter()).update(lease.lane.needs)
    for owner, copies in pool.queue.lanes.tree.copies.by_owner.items():
        for lane, _ in copies.values():
            held.setdefault(owner, Counter()).update(lane.needs)
    for owner, stock in pool.queue.lanes.tree.stocks.items():
        used = Counter(stock.used)
        used.subtract(held.pop(owner, Counter()))
        assert not any(used.values()), f"host {owner} counts {stock.used}, which is {used} too much"
    assert not any(any(counts.values()) for counts in held.values()), f"leases use what nobody counts: {held}"


def _check_nodes(pool: Pool) -> None:
    queue = pool.queue
    below: Counter[Node] = Counter()
    on_host: Counter[tuple[Node, int]] = Counter()
    by_lane: Counter[tuple[int, int]] = Counter()
    for lease in queue.leases.values():
        owner = lease.pool.host.owner
        by_lane[lease.lane.number, owner] += 1
        for node in lease.lane.counted:
            below[node] += 1
            on_host[node, owner] += 1
    granted, granted_on = below.copy(), on_host.copy()
    for owner, copies in queue.lanes.tree.copies.by_owner.items():
        for lane, _ in copies.values():
            by_lane[lane.number, owner] += 1
            for node in lane.counted:
                below[node] += 1
                on_host[node, owner] += 1
    for lane in queue.lanes.by_number.values():
        held = {owner: count for (number, owner), count in by_lane.items() if number == lane.number}
        assert lane.held == held, f"{lane} counts {lane.held} of {held} leases"
    for node in queue.lanes.tree.all_nodes():
        if node.guard is not None and node.guard.probe is not None:
            probe = queue.leases.get(node.guard.probe)
            assert probe is not None, f"{node.type} waits for task {node.guard.probe}, which does not run"
            assert node in probe.lane.guarded, f"{node.type} waits for a task of {probe.lane.type}"
        limits = node.limits
        if node.counts():
            assert node.held == below[node], f"{node.type} counts {node.held} of {below[node]} leases"
        if limits.max_concurrent is not None and not queue.lanes.tree.retuned:
            assert granted[node] <= limits.max_concurrent, (
                f"{node.type} runs {granted[node]} of {limits.max_concurrent}"
            )
        for owner, count in node.held_on.items() if limits.per_host is not None else ():
            assert count == on_host[node, owner], f"{node.type} counts {count} of {on_host[node, owner]} on a host"
            most = count if queue.lanes.tree.retuned else limits.per_host or 0
            runs = granted_on[node, owner]
            assert runs <= most, f"{node.type} runs {runs} of {limits.per_host} on a host"


def _check_sessions(pool: Pool) -> None:
    for address, peer in pool.sessions.peers.items():
        assert peer.address == address
        assert peer.session is not None
    for host in pool.hosts.by_owner.values():
        if host.peer is not None:
            assert pool.sessions.peers.get(host.peer.address) is host.peer, f"{host.name} speaks by a dropped session"
    kept: Counter[str] = Counter()
    for client in pool.clients.by_number.values():
        if client.submissions:
            kept[client.identity] += client.kept_bytes()
    assert kept == pool.clients.kept_bytes, f"sessions keep {kept} bytes, {pool.clients.kept_bytes} are counted"


def check_at_rest(pool: Pool) -> None:
    """The same, and that a drained pool holds nothing at all.

    Raises:
        AssertionError: Something has leaked.
    """
    check_invariants(pool)
    assert not pool.queue.rows, f"rows left: {sorted(pool.queue.rows)[:10]}"
    assert not pool.queue.leases, f"leases left: {sorted(pool.queue.leases)[:10]}"
    assert pool.queue.lanes.total(QUEUED) == 0
