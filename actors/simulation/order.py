"""Guarantee 4: no task begins on a host before another that stood before it and might have begun there as well.

By priority, then by whose turn it is, then by place. Whether there was room for the other is counted here from the
commits, and where they do not tell all, there was none: what is said to be stopping counts, and so does what a host may
keep for tasks that wait for much of it; where it is not known what still stops, there is no room below limits at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...config.policy import PolicyTree
from ..core.hosts.hosts import HostSession
from ..core.order.ageing import level_of
from ..core.pool import Pool
from .due_times import Moment
from .history import History, Known
from .promises import Promises

Standing = tuple[int, int, int]
_Held = tuple[int, int]
"""(lane, owner) of what uses a slot."""


@dataclass(slots=True)
class _Step:
    """A step that grants, and what is in use meanwhile: counted when it begins, and grant by grant.

    Attributes:
        history: All else that it has changed is known.
        policies: What nodes set.
        pool: Who granted.
        moment: When.
        below: Tasks below each node.
        on_host: The same by host (its owner).
        stock: Of the counts of each host (owner, name).
        granted: Of `below`, what this step has granted.
        units: Of their quotas, the same.
        heads: The first level of each lane whose tasks use up counts, when the step began.
    """

    history: History
    policies: PolicyTree
    pool: Pool
    moment: Moment
    below: Counter[str] = field(default_factory=Counter[str])
    on_host: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])
    stock: Counter[tuple[int, str]] = field(default_factory=Counter[tuple[int, str]])
    granted: Counter[str] = field(default_factory=Counter[str])
    units: Counter[str] = field(default_factory=Counter[str])
    heads: dict[int, int] = field(default_factory=dict[int, int])

    def use(self, lane: int, owner: int) -> None:
        """One more task of a lane is on a host."""
        for node in self.history.nodes_of(lane):
            self.below[node] += 1
            self.on_host[node, owner] += 1
        for name, need in self.history.needs[lane].items():
            self.stock[owner, name] += need

    def kept(self, lane: int, level: int, name: str) -> int:
        """What a host may keep of a count for tasks of other lanes that go before this, or came before it."""
        needs = self.history.needs
        return sum(needs[other].get(name, 0) for other, head in self.heads.items() if other != lane and head <= level)


class Order:
    """Who was to be first, of one supervisor process.

    Args:
        ageing: Seconds after which a waiting task counts one priority more; 0: never.
        promises: What was granted of late.
    """

    def __init__(self, ageing: float, promises: Promises) -> None:
        self._ageing, self._promises = ageing, promises
        self._turns: dict[str, int] = {}  # when each tenant was last served, counted in grants of this process
        self._unseen: dict[tuple[int, int], _Held] = {}  # what no commit tells of: it was to stop, and may run still
        self._cancelled: dict[tuple[int, int], _Held] = {}  # in this turn

    def restarted(self) -> None:
        """A supervisor begins, to which all are equal."""
        self._turns, self._unseen, self._cancelled = {}, {}, {}

    def cancelled(self, id: int, known: Known) -> None:
        """A task that ran is cancelled: it uses its slot until its host has said that it stopped."""
        self._cancelled[id, known.fence] = known.lane, known.owner

    def turn_ended(self, pool: Pool) -> None:
        """A turn is over."""
        self._unseen, self._cancelled = dict(_unseen(pool)), {}

    def step_begins(self, history: History, policies: PolicyTree, pool: Pool, moment: Moment) -> None:
        """A step grants; see `_Step`."""
        step = self._step = _Step(history, policies, pool, moment)
        for lane, ids in history.running.items():
            for id in ids:
                step.use(lane, history.tasks[id].owner)
        for lane, owner in {**self._unseen, **self._cancelled, **dict(_unseen(pool))}.values():
            if lane in history.lanes:
                step.use(lane, owner)
        for lane, ids in history.queued.items():
            if ids and history.needs[lane]:
                step.heads[lane] = min(self._standing(history.tasks[id])[0] for id in ids)

    def granted(self, id: int, known: Known) -> str | None:
        """The step has granted a task, which runs from now on; what is wrong with that."""
        step, lane = self._step, known.lane
        wrong = self._overtaken(id, known)
        step.use(lane, known.owner)
        cost = step.pool.hosts.by_owner[known.owner].offer.cost(step.history.lanes[lane])
        for node in step.history.nodes_of(lane):
            step.granted[node] += 1
            step.units[node] += cost
        self._turns[step.history.tenants[lane]] = max(self._turns.values(), default=0) + 1
        return wrong

    def _overtaken(self, id: int, granted: Known) -> str | None:
        pool, tasks = self._step.pool, self._step.history.tasks
        host, lanes = pool.hosts.by_owner[granted.owner], pool.queue.lanes.by_number
        slots = host.offer.slot_pool(lanes[granted.lane].type)
        key = self._standing(granted)
        for number, ids in self._step.history.queued.items():
            lane = lanes[number]
            if (
                not ids
                or not host.offer.serves(lane.type)
                or host.offer.slot_pool(lane.type) != slots
                or not host.offer.meets(lane.needs, lane.labels)
            ):
                continue
            earlier = [(before, other) for other in ids if (before := self._standing(tasks[other])) < key]
            earlier = [one for one in earlier if granted.owner not in pool.queue.declined_by(one[1])]  # it was asked
            if earlier:
                (level, *_), other = min(earlier)
                if number == granted.lane or self._has_room(number, level, host):
                    return f"task {id} was granted to {host.name} before task {other}"
        return None

    def _standing(self, known: Known) -> Standing:
        level = level_of(known.priority, known.sent_at, self._ageing)
        return -level, self._turns.get(self._step.history.tenants[known.lane], 0), known.place

    def _has_room(self, lane: int, level: int, host: HostSession) -> bool:
        """Whether one more task of a lane, which stands at a level, may surely begin on a host."""
        step, owner = self._step, host.owner
        nodes = step.history.nodes_of(lane)
        if step.history.pauses.stopping(nodes, step.moment.wall) is not None:
            return False
        guards = (node.guard for node in step.pool.queue.lanes.by_number[lane].guarded)
        if any(guard is not None and guard.open_until is not None for guard in guards):
            return False
        cost = host.offer.cost(step.history.lanes[lane])
        unsure = step.pool.queue.lanes.tree.unsure
        for node in nodes:
            limits = step.policies.limits(node)
            if limits.max_concurrent is not None and (unsure or step.below[node] >= limits.max_concurrent):
                return False
            if limits.per_host is not None and (unsure or step.on_host[node, owner] >= limits.per_host):
                return False
            if not self._promises.surely_allow(node, step.granted[node], step.units[node] + cost, step.moment.own):
                return False
        offered = host.offer.counts()
        return all(
            offered.get(name, 0) - step.stock[owner, name] - step.kept(lane, level, name) >= need
            for name, need in step.history.needs[lane].items()
        )


def _unseen(pool: Pool) -> Iterator[tuple[tuple[int, int], _Held]]:
    """What stops on hosts as far as the core knows: (id, fence), and where."""
    for id, lease in pool.queue.leases.items():
        if lease.stopping:
            yield (id, lease.row.fence), (lease.lane.number, lease.pool.host.owner)
    for owner, copies in pool.queue.lanes.tree.copies.by_owner.items():
        for key, (lane, _) in copies.items():
            yield key, (lane.number, owner)
