"""Why a task does not run now: the very objects that grant, asked instead of told. Changes nothing.

An explanation holds reasons, each `{code, text, until}` (`until`: the instant from which it may be different, or None),
and what each host that is here says to the task. It has no reason exactly when the next claim would take the task.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ..hosts.hosts import Hosts, HostSession, SlotPool
from ..order.choices import Choice
from ..order.declines import Declined
from ..order.lane import Lane
from ..order.tenants import Tenant
from ..order.tree import Tree
from ..order.window import Key
from ..policies.nodes import Block
from ..queue import Queue
from ..rows import FINAL, QUEUED, RUNNING, SCHEDULED, Row
from .placement import lacks, required, shortage, unmet

_HOSTS_MAX: Final = 100
"""Hosts that are named one by one; who has more of them sees the first, those that serve the type before the others."""
_SAID_NO: Final = "is not asked again: no worker there took it, or enough others were asked"
_NO_START: Final = "cannot start its slots"
_MEND: Final = "mend that there: the host tries again by itself"
_JOIN: Final = "start one: workerhost host --join ADDRESS CODE"


class _Said(NamedTuple):
    """What one host says to a task: why it takes none of its lane, and which limits keep it from this host alone."""

    host: HostSession
    refusal: str | None
    pool: SlotPool | None
    blocks: list[Block]

    def takes(self) -> bool:
        return self.refusal is None and not self.blocks

    def text(self) -> str:
        refusal = [] if self.refusal is None else [self.refusal]
        return "; ".join([*refusal, *(block.text for block in self.blocks)]) or "could take it"


class Why:
    """Explains tasks that have not ended."""

    def __init__(self, queue: Queue, hosts: Hosts) -> None:
        self._queue, self._hosts = queue, hosts

    def explain(self, row: Row, now: float, wall: float, *, told: bool = True) -> dict[str, Any]:
        """What keeps a task from running, or from ending.

        Args:
            row: The task as the store has it; what memory knows counts for more.
            now: The time, by the clock that never jumps.
            wall: The same by the wall clock.
            told: With what other tasks said of a service.

        Returns:
            `reasons`, `hosts` [{name, says}] and `ahead` (tasks that stand before it, None if that is not known).
        """
        row = self._queue.current(row)
        lease = self._queue.leases.get(row.id)
        if lease is not None and lease.stopping:
            text = f"it was cancelled and still stops on {lease.pool.host.name}; its slot counts until it is free"
            return _explanation([_reason("stopping", text)])
        if row.state in FINAL:
            return _explanation([])
        if row.state == RUNNING and lease is not None:
            return _explanation([_reason("running", _running(lease.pool.host))])
        if row.state == SCHEDULED:
            return _explanation([_reason("scheduled", _scheduled(row), row.due)])
        return self._queued(row, now, wall, told=told) if row.state == QUEUED else _explanation([])

    def _queued(self, row: Row, now: float, wall: float, *, told: bool) -> dict[str, Any]:
        lane = self._queue.lanes.by_number[row.lane]
        tree = self._queue.lanes.tree
        blocks = list(tree.blocks(lane, now, wall, told=told))
        reasons = [_reason(block.code, block.text, block.until) for block in blocks]
        declined = self._queue.declines.of(row.id)
        known = {(block.node, block.code) for block in blocks}
        said = [
            _Said(host, text, pool, _own_blocks(tree, lane, host, known, now, wall) if pool is not None else [])
            for host, text, pool in self._asked(lane, declined, now, wall)
        ]
        said.sort(key=lambda one: (not one.takes(), one.pool is None, one.host.owner))
        takers = [one.pool for one in said if one.takes() and one.pool is not None]
        bounded = [one for one in said if one.blocks and one.refusal != _SAID_NO]
        bounded.sort(key=lambda one: one.refusal is not None)  # first who has a slot for it
        if not takers and declined is not None and all(host.owner in declined.by for host in self._serving(lane)):
            reasons.append(_reason("declined", f"{declined.reason()}; it waits for another host, or for new code"))
        elif not takers and bounded:
            first = bounded[0]
            reasons += [
                _reason(block.code, f"no host may take it now; {first.host.name}: {block.text}", block.until)
                for block in first.blocks
            ]
        elif not takers:
            reasons.append(self._nobody(lane, now, wall))
        ahead = self._ahead(lane, row, takers)
        if takers and not reasons and ahead:
            reasons.append(_reason("order", f"{ahead} that stand before it go first: by priority, then first come"))
        hosts = [{"name": one.host.name, "says": one.text()} for one in said[:_HOSTS_MAX]]
        return {"reasons": reasons, "hosts": hosts, "ahead": ahead}

    def _serving(self, lane: Lane) -> list[HostSession]:
        return [host for host in self._hosts.by_owner.values() if host.alive() and host.offer.serves(lane.type)]

    def _asked(
        self, lane: Lane, declined: Declined | None, now: float, wall: float
    ) -> list[tuple[HostSession, str | None, SlotPool | None]]:
        """Each host that is here, why it takes no task of this lane now (None: it would), and the slots asked."""
        found: list[tuple[HostSession, str | None, SlotPool | None]] = []
        for host in self._hosts.by_owner.values():
            if host.alive():
                pool = host.pool_of(lane.type) if host.offer.serves(lane.type) and host.pools else None
                said_no = declined is not None and host.owner in declined.by
                refusal = _SAID_NO if said_no else _refusal(host, lane, pool) or self._shortage(host, lane, now, wall)
                found.append((host, refusal, pool))
        return found

    def _nobody(self, lane: Lane, now: float, wall: float) -> dict[str, Any]:
        """No host would take it now: in one sentence why."""
        alive = [host for host in self._hosts.by_owner.values() if host.alive()]
        if not alive:
            return _reason("no_host", f"no host has joined; {_JOIN}")
        serving = self._serving(lane)
        if serving and (miss := unmet(serving, lane)) is not None:
            text = f"no host that serves {lane.type} offers what it requires ({required(lane)})"
            return _reason("not_offered", f"{text}; the nearest, {miss.host.name}, {miss.text()}")
        lame = [text for host in alive if (text := _lame(host, lane)) is not None]
        if lame and not any(host.pool_of(lane.type).capacity for host in serving if host.pools):
            which = f"the hosts that serve {lane.type}" if serving else f"the hosts that may serve {lane.type}"
            return _reason("start_failed", f"no slot of {which} can be started; {lame[0]}; {_MEND}")
        if not serving:
            failed = sorted({f"{code}: {why}" for host in alive for code, why in host.facts.get("failed", {}).items()})
            broken = f"; code that could not be loaded: {'; '.join(failed[:3])}" if failed else ""
            return _reason("not_served", f"none of {len(alive)} hosts serves {lane.type}{broken}")
        short = [text for host in serving if (text := self._short_of(host, lane, now, wall)) is not None]
        if short:
            return _reason("resources", f"no host has free what it requires ({required(lane)}); {short[0]}")
        return _reason(
            "hosts_busy", f"none of the {len(serving)} hosts that serve {lane.type} has a free slot for it now"
        )

    def _short_of(self, host: HostSession, lane: Lane, now: float, wall: float) -> str | None:
        """What keeps a lane from a host that offers enough and has a slot for it; None: something else."""
        pool = host.pool_of(lane.type) if host.pools else None
        if lacks(host, lane) or _refusal(host, lane, pool) is not None:
            return None
        text = self._shortage(host, lane, now, wall)
        return None if text is None else f"{host.name} {text}"

    def _shortage(self, host: HostSession, lane: Lane, now: float, wall: float) -> str | None:
        stock = self._queue.lanes.tree.stocks.get(host.owner) if lane.needs else None
        return None if stock is None else shortage(stock, lane, now, wall)

    def _ahead(self, lane: Lane, row: Row, takers: list[SlotPool]) -> int | None:
        """How many queued tasks the hosts that could take it would take before it; None if memory cannot tell."""
        if self._queue.rows.get(row.id) is not row:
            return None  # behind the horizon: it is known only that more than a window stands before it
        choices = {id(pool.choice): pool.choice for pool in takers if pool.choice is not None}
        before = [_before(self._queue, choice, lane, lane.window.key(row)) for choice in choices.values()]
        return min(before) if before else _in_lane(lane, lane.window.key(row))


def _before(queue: Queue, choice: Choice, lane: Lane, key: Key) -> int:
    """Tasks that a host of this choice takes before the one that stands at `key` of a lane.

    Of its own tenant those in line before it; of each other tenant those of a higher priority, and at its own priority
    as many as take turns with it until it is its own tenant's turn.
    """
    of: dict[Tenant, list[Lane]] = {lane.tenant: []}
    for other in queue.lanes.by_number.values():
        if other is lane or (other.counts[QUEUED] and choice.may_take(other)):
            of.setdefault(other.tenant, []).append(other)
    first = (key[0], -1)
    own = sum(_in_lane(other, key) for other in of[lane.tenant])
    rank = own - sum(_in_lane(other, first) for other in of[lane.tenant])  # among its tenant's of its priority
    before = own
    for tenant, lanes in of.items():
        if tenant is not lane.tenant:
            higher = sum(_in_lane(other, first) for other in lanes)
            equal = sum(_in_lane(other, (key[0] + 1, -1)) for other in lanes) - higher
            ahead = tenant.turn < lane.tenant.turn or (tenant.turn == lane.tenant.turn and _first(lanes, key))
            before += higher + min(equal, rank + ahead)
    return before


def _first(lanes: list[Lane], key: Key) -> bool:
    """Whether tenants that were served at the same time (never) go before a key: then it is first come."""
    return any((front := lane.front()) is not None and front < key for lane in lanes)


def _in_lane(lane: Lane, key: Key) -> int:
    """Tasks of a lane before a key, those in memory at least."""
    return lane.window.before(key)


def _own_blocks(
    tree: Tree, lane: Lane, host: HostSession, known: set[tuple[str, str]], now: float, wall: float
) -> list[Block]:
    """What keeps a lane from this host beside what keeps it from all: its own share, and what the task costs there."""
    blocks = tree.blocks(lane, now, wall, cost=host.offer.cost(lane.type), owner=host.owner)
    return [block for block in blocks if (block.node, block.code) not in known]


def _refusal(host: HostSession, lane: Lane, pool: SlotPool | None) -> str | None:
    """Why a host takes no task of a lane now; None: it would."""
    offer, type = host.offer, lane.type
    if host.state == "draining":
        return "drains: it takes nothing new"
    if host.state == "away" or host.peer is None:
        return "is not connected at the moment"
    if pool is None:
        return _not_served(host, type)
    if found := lacks(host, lane):
        return f"offers {', '.join(found)}"
    if pool.capacity == 0:
        state, note = (*host.levels.get(type, ("", "")), "", "")[:2]
        if pool.name in host.start_failed:
            return f"{_NO_START}: {host.start_failed[pool.name]}"
        return f"has no slot that is ready{f': {note}' if state == 'failed' and note else ''}"
    if pool.held >= pool.capacity + lane.margin(pool.capacity):
        which = f" for {pool.name}" if pool.name else ""
        return f"is full: {pool.held} of {pool.capacity} slots{which} are taken"
    state, note = (*host.levels.get(type, ("", "")), "", "")[:2]
    if state == "failed" and type not in offer.types:
        return f"cannot run it: {note}" if note else "cannot run it"
    return None


def _lame(host: HostSession, lane: Lane) -> str | None:
    """Why no slot of a host can be started for a lane that it serves, or may: none has yet said what there is."""
    offer, type = host.offer, lane.type
    unknown = offer.wants(type) and not (offer.types or offer.any)
    if not (host.pools and host.state == "joined" and (offer.serves(type) or unknown)):
        return None
    pool = host.pool_of(type)
    failed = None if pool.capacity or lacks(host, lane) else host.start_failed.get(pool.name)
    return None if failed is None else f"{host.name}: {failed}"


def _not_served(host: HostSession, type: str) -> str:
    offer = host.offer
    if not (offer.types or offer.any) and host.start_failed:
        return f"{_NO_START}: {next(iter(host.start_failed.values()))}"
    if type in offer.declined:
        return "said that no worker there is for it; it is asked again when it has joined anew"
    failed = host.facts.get("failed", {})
    broken = next((why for code, why in failed.items() if code == type or type.startswith(code + ".")), None)
    if broken is not None:
        return f"could not load its worker: {broken}"
    if not offer.has(type):
        return "has no worker for it"
    return "does not serve it (its `serve` and `not`)"


def _running(host: HostSession) -> str:
    where = f"it runs on {host.name}"
    if host.state in ("suspect", "away"):
        return f"{where}, whose connection is lost: it has a moment to come back, then the task is rescued"
    return where


def _scheduled(row: Row) -> str:
    if row.failures:
        return f"it failed {row.failures} times and waits for its next try"
    if row.releases:
        return f"it was given back {row.releases} times and waits before it is offered again"
    return "it was sent for later"


def _reason(code: str, text: str, until: float | None = None) -> dict[str, Any]:
    return {"code": code, "text": text, "until": until}


def _explanation(reasons: list[dict[str, Any]]) -> dict[str, Any]:
    return {"reasons": reasons, "hosts": [], "ahead": None}
