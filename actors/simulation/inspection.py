"""Whole looks at a world: what memory, store and the history of commits say must be one and the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ...transport.messages import STATES
from ..core.effects import Agenda, Fetch, Refill
from ..core.invariants import check_at_rest, check_invariants
from ..core.pool import Pool
from ..core.rows import COLUMNS, COMPLETED, FINAL, QUEUED, RUNNING, SCHEDULED
from .client import SimulatedClient
from .disk import SimulatedDisk
from .host import SimulatedHost
from .oracle import Oracle, Violation
from .supervisor import SimulatedSupervisor

_ALL: int = 1_000_000
_DUE = COLUMNS.index("due")
_COUNTS = ("attempt", "failures", "crashes", "losses", "releases")
_COMPARED = ("lane", "priority", "place", "state", "session", "fence", *_COUNTS)


def inspect(supervisor: SimulatedSupervisor, hosts: Sequence[SimulatedHost], oracle: Oracle) -> None:
    """What must hold between any two turns.

    Raises:
        AssertionError: It does not.
    """
    pool = supervisor.pool
    if pool is not None:
        check_invariants(pool)
        _check_store(supervisor.disk, oracle)
        _check_checkpoints(pool, supervisor.disk, oracle)
        _check_windows(pool, supervisor.disk)
        _check_schedules(pool, supervisor.disk)
        _check_leases(pool, oracle)
    if (wrong := oracle.miscounted() or oracle.doubled()) is not None:
        raise Violation(wrong)
    for host in hosts:
        if host.core is not None:
            host.core.check_invariants()


def _check_store(disk: SimulatedDisk, oracle: Oracle) -> None:
    """The store holds what the commits said."""
    unfinished = tuple(oracle.unfinished())
    rows = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in disk.read(Fetch(unfinished, "inspection"))}
    for id in unfinished:
        known = oracle.tasks[id]
        row = rows.get(id)
        if row is None:
            raise Violation(f"task {id} is not in the store")
        for name in _COMPARED:
            if row[name] != getattr(known, name):
                raise Violation(f"task {id} has {name} {row[name]} in the store, {getattr(known, name)} by the commits")
    if (wrong := oracle.history.due_times.wrong_in_store(rows)) is not None:
        raise Violation(wrong)


def _check_checkpoints(pool: Pool, disk: SimulatedDisk, oracle: Oracle) -> None:
    """Memory knows which tasks have one, the store holds the latest, and neither more than that."""
    known = oracle.history.checkpoints
    if pool.queue.checkpoints != known.keys():
        raise Violation(f"memory knows checkpoints of {sorted(pool.queue.checkpoints)}, the commits {sorted(known)}")
    if (stored := disk.checkpoints(list(oracle.tasks))) != known:
        raise Violation(f"the store holds the checkpoints {stored}, by the commits {known}")


def _check_windows(pool: Pool, disk: SimulatedDisk) -> None:
    """Every window is the exact beginning of its lane's order."""
    for lane in pool.queue.lanes.by_number.values():
        stored = [row[0] for row in disk.read(Refill(lane.number, None, _ALL))]
        held = [row.id for row in lane.window.rows()]
        standing = [id for id in stored if id not in pool.queue.declines]
        if held != standing[: len(held)]:
            raise Violation(f"{lane} holds {held[:8]}, its order is {standing[:8]}")
        if len(stored) != lane.counts[QUEUED]:
            raise Violation(f"{lane} counts {lane.counts[QUEUED]} queued tasks, the store holds {len(stored)}")


def _check_schedules(pool: Pool, disk: SimulatedDisk) -> None:
    """Each schedule is the exact beginning of its order, with the due times of the store."""
    for relative, schedule in pool.queue.schedules.items():
        stored = [(row[_DUE], row[0]) for row in disk.read(Agenda(relative, None, _ALL))]
        rows = pool.queue.rows.values()
        held = sorted((row.due, row.id) for row in rows if row.state == SCHEDULED and row.relative == relative)
        known = stored if schedule.horizon is None else [key for key in stored if key <= schedule.horizon]
        if held != known:
            raise Violation(f"memory holds {held[:8]} of what is scheduled, its order is {known[:8]}")


def _check_leases(pool: Pool, oracle: Oracle) -> None:
    """One host holds each running task, the same in memory and in the store."""
    live = {id: lease for id, lease in pool.queue.leases.items() if not lease.stopping}
    running = {id for ids in oracle.history.running.values() for id in ids}
    if live.keys() != running:
        raise Violation(f"leases and running tasks differ: {sorted(live.keys() ^ running)[:8]}")
    for id, lease in live.items():
        known = oracle.tasks[id]
        if (lease.row.fence, lease.row.owner, lease.pool.host.owner) != (known.fence, known.owner, known.owner):
            raise Violation(f"task {id} is held by {lease.pool.host.name} under {lease.row.fence}, stored is {known}")
        if known.state != RUNNING:
            raise Violation(f"task {id} is held and {STATES[known.state]}")


def unanswered(clients: Sequence[SimulatedClient]) -> str | None:
    """Who waits for an answer, if anybody does."""
    return next((f"{client.name} waits for an answer" for client in clients if client.unanswered()), None)


def restlessness(clients: Sequence[SimulatedClient], oracle: Oracle, stuck: Collection[int] = ()) -> str | None:
    """What still waits for something; None when everything has ended and was told, but for what is stuck."""
    if unfinished := [id for id in oracle.unfinished() if id not in stuck]:
        return f"tasks {unfinished[:10]} have not ended"
    if (waiting := unanswered(clients)) is not None:
        return waiting
    for client in clients:
        for block in client.blocks:
            if block.left and (untold := set(block.unfinished()) - oracle.history.pruned - set(stuck)):
                return f"{client.name} was not told how {sorted(untold)[:5]} ended"
    return None


def inspect_at_rest(
    supervisor: SimulatedSupervisor, hosts: Sequence[SimulatedHost], clients: Sequence[SimulatedClient], oracle: Oracle
) -> None:
    """What must hold when everything has ended.

    Raises:
        AssertionError: Something was lost or doubled, told wrongly, or left over.
    """
    pool = supervisor.pool
    assert pool is not None
    check_at_rest(pool)
    _check_accepted(clients, oracle)
    _check_ends(supervisor.disk, clients, oracle)
    _check_leaks(pool, hosts, clients)


def _check_accepted(clients: Sequence[SimulatedClient], oracle: Oracle) -> None:
    """What was acknowledged is stored; what is stored was acknowledged, but to clients that died before."""
    accepted = [id for client in clients for id in (*client.past, *client.accepted())]
    if len(accepted) != len(set(accepted)):
        raise Violation("two submissions were given the same task")
    if missing := set(accepted) - oracle.tasks.keys() - oracle.lost - oracle.history.pruned:
        raise Violation(f"acknowledged and not stored: {sorted(missing)[:10]}")
    interrupted = {token for client in clients for token in client.interrupted}
    sessions = {session for session, token in oracle.history.sessions.items() if token in interrupted}
    sessions.add(0)  # the pool's own, of schedules
    surplus = [id for id in oracle.tasks.keys() - set(accepted) if oracle.tasks[id].session not in sessions]
    if surplus:
        raise Violation(f"stored and not acknowledged: {sorted(surplus)[:10]}")


def _check_ends(disk: SimulatedDisk, clients: Sequence[SimulatedClient], oracle: Oracle) -> None:
    for id, known in oracle.tasks.items():
        shown = disk.show(id)
        if shown is None or shown["state"] != STATES[known.state] or known.state not in FINAL:
            raise Violation(
                f"task {id} is {shown and shown['state']} in the store, {STATES[known.state]} by the commits"
            )
        if known.ends != known.runs:
            raise Violation(f"task {id} has ended {known.ends} times in {known.runs} run-throughs")
    for client in clients:
        for block in client.blocks:
            for offset, end in enumerate(block.ends):
                id = block.id(offset)
                told = (COMPLETED, end) if isinstance(end, bytes) else (end or (-9, b""))[:2]
                if block.refused or (known := oracle.tasks.get(id)) is None:
                    continue
                undone = oracle.rewound and told not in [outcome[1:] for outcome in known.outcomes]
                if offset in block.others and (known.runs > 1 or undone):
                    continue  # it is another's: of those a client hears until they end, and not that they run again
                if told != (stored := known.outcomes[-1][1:]):
                    raise Violation(f"{client.name} was told that task {id} ended as {told}, stored is {stored}")


def _check_leaks(pool: Pool, hosts: Sequence[SimulatedHost], clients: Sequence[SimulatedClient]) -> None:
    for host in hosts:
        core = host.core
        if core is not None and (left := [*core.slots.in_hand(), *core.outbox.keys(), *core.outbox.progress]):
            raise Violation(f"{host.name} still holds {left[:3]}")
    for client in clients:
        if client.talk is not None and (client.talk.outbox.flying or client.talk.outbox.unanswered):
            raise Violation(f"{client.name} still has letters under way")
    nodes = len(hosts) + len(clients)
    if len(pool.sessions.peers) > nodes or len(pool.clients.by_number) > len(clients):
        raise Violation(
            f"{len(pool.sessions.peers)} sessions of {nodes} nodes, {len(pool.clients.by_number)} of clients"
        )
    if pool.clients.watchers:
        raise Violation(f"watched for nobody: {sorted(pool.clients.watchers)[:5]}")
    if held := [node.type for node in pool.queue.lanes.tree.all_nodes() if node.held]:
        raise Violation(f"limits count leases that are none: {held}")
