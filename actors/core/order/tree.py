"""The tree above the lanes: what each node allows, who waits for which node, and when that is looked at again.

A grant needs room at every node above it and, where limits by host exist, on the host. A lane that finds none is parked
at the node that said no, and no host looks at it again until that may have changed: a lease below the node ended, its
window slid, its quota was reset, its breaker lets a task try. So what is blocked costs nobody else anything, and
nothing is asked again and again. All counts come from live leases and from grants: nobody has to give anything back.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from heapq import heappop, heappush
from math import inf
from typing import Any, Final

from ....config.limits import Breaker
from ....config.policy import Limits, PolicyTree, parents, tenant_node, tenant_of
from ..opening import Opening
from ..policies.breakers import Guard
from ..policies.nodes import Block, Node, Pause
from ..policies.rates import RING, RateRow
from ..step import Step
from .choices import Choices
from .copies import Copies
from .lane import Lane
from .stock import Stock
from .tenants import Tenant
from .window import Key

_SOONEST: Final = 0.001  # seconds until a parked lane is looked at again, at the least
_ESCALATED_MIN: Final = 2  # open nodes below one, before they can be more than half of it


class Tree:
    """All nodes in use.

    Attributes:
        policies: What nodes set.
        nodes: By path.
        tenants: What counts the limits of a tenant, by `tenant_node`.
        stocks: What is used of the counts that hosts offer, by owner number.
        copies: What hosts were told to stop and hold no lease of.
        unsure: Whether more may run than is known, see `StillStopping`: nothing below limits of leases is granted then.
        retuned: Whether settings changed since the start: then more leases may live than a limit allows by now.
    """

    def __init__(self, policies: PolicyTree, choices: Choices) -> None:
        self.policies = policies
        self.nodes: dict[str, Node] = {}
        self.tenants: dict[str, Node] = {}
        self.stocks: dict[int, Stock] = {}
        self.copies = Copies(self.hold)
        self.retuned = self.unsure = False
        self._choices = choices
        self._boot = 0
        self._below: dict[str, list[Lane]] = {}
        self._parked: dict[Node, list[Lane]] = {}
        self._alarms: list[tuple[float, str, Node]] = []
        self._short: dict[Stock, None] = {}  # those that keep something for somebody
        self._spent: dict[Node, None] = {}  # those whose rate or quota has to be written
        self._forgotten: list[str] = []  # tenants of which nothing has to be stored any more
        choices.by_host = _by_host(policies)

    def restore(self, opening: Opening, boot: int, now: float, wall: float) -> None:
        """Go on from the store: what is stopped, and what was granted of rates and quotas. Before any lane."""
        self._boot = boot
        for path, until, reason in opening.pauses:
            node = self.node(path)
            node.paused = Pause(until, reason)
            self._watch_pause(node, now, wall)
        rows: dict[str, list[RateRow]] = {}
        for path, *columns in opening.rates:
            rows.setdefault(path, []).append(RateRow(*columns))
        for path, known in rows.items():
            if self._limited(path) and (rate := self.node(path).rate) is not None:
                rate.restore(known, now, wall)
            if tenant_of(path) is not None:
                self._let_go(path, now)
        for path, start, used in opening.quotas:
            if self._limited(path) and (meter := self.node(path).meter) is not None:
                meter.restore(start, used, now)

    def node(self, path: str) -> Node:
        """A node, or what counts for a tenant, made when it is first asked for."""
        nodes = self.nodes if tenant_of(path) is None else self.tenants
        node = nodes.get(path)
        if node is None:
            node = nodes[path] = Node(path, *self._settings(path), self._boot)
        return node

    def all_nodes(self) -> list[Node]:
        """Those of types and of tenants."""
        return [*self.nodes.values(), *self.tenants.values()]

    def _settings(self, path: str) -> tuple[Limits, Breaker | None]:
        """What a node, or a tenant, is tuned to."""
        breaker = self.policies.effective(path).breaker if tenant_of(path) is None else None
        return self.policies.limits(path), breaker

    def _limited(self, path: str) -> bool:
        """Whether a node, or a tenant, has limits: what was stored of one that has none any more makes no node."""
        return self.policies.limits(path) != Limits()

    def below(self, path: str) -> list[Lane]:
        """The lanes of a node and of what lies below it."""
        return self._below.get(path, [])

    def plant(self, lane: Lane) -> None:
        """A lane is new below its nodes."""
        for node in self._chain(lane):
            self._below.setdefault(node.type, []).append(lane)
        self._bind(lane)

    def uproot(self, gone: set[Lane], tenants: Iterable[Tenant], now: float) -> None:
        """Lanes are there no more, and tenants without any."""
        for path in {node.type for lane in gone for node in self._chain(lane)}:
            self._below[path] = [lane for lane in self._below[path] if lane not in gone]
        for node, lanes in list(self._parked.items()):
            self._parked[node] = [lane for lane in lanes if lane not in gone]
        for path in [tenant_node(tenant.name) for tenant in tenants if tenant.name]:
            self._let_go(path, now)

    def _let_go(self, path: str, now: float) -> None:
        """Forget a tenant without lanes, when nothing that its rate has counted is in the window any more."""
        if self._below.get(path):
            return
        node = self.tenants.get(path)
        if node is not None and node.rate is not None and (when := node.rate.forgets_at(now)) > now:
            self._set_alarm(node, when)
            return
        if node is not None:
            node.alarm = inf
            self._parked.pop(node, None)
            del self.tenants[path]
        self._below.pop(path, None)
        self._forgotten.append(path)

    def _chain(self, lane: Lane) -> list[Node]:
        """The nodes above a lane, the tenant's limits among them, its own type last."""
        tenant = [self.node(tenant_node(lane.tenant.name))] if lane.tenant.name else []
        return [*tenant, *(self.node(path) for path in parents(lane.type))]

    def _bind(self, lane: Lane) -> None:
        chain = self._chain(lane)
        lane.policy = self.policies.effective(lane.type)
        lane.require(lane.policy.requires)
        lane.bounds = [node for node in chain if node.binds()]
        lane.counted = [node for node in chain if node.counts()]
        lane.spending = [node for node in chain if node.spends()]
        lane.guarded = [node for node in chain if node.guard is not None]

    def _rebind(self, node: Node) -> None:
        for lane in self._below.get(node.type, ()):
            lane.bounds = [node for node in self._chain(lane) if node.binds()]

    def retune(self, policies: PolicyTree) -> None:
        """Another tree from now on: limits and policies change, counts stay, and what was blocked is looked at anew.

        A lowered limit waits for leases to end.
        """
        self.policies, self.retuned = policies, True
        for node in self.all_nodes():
            node.tune(*self._settings(node.type))
            node.held = 0
            node.held_on.clear()
        for stock in self.stocks.values():
            stock.recount()
        for lane in {lane.number: lane for lanes in self._below.values() for lane in lanes}.values():
            self._bind(lane)
            for owner, count in lane.held.items():
                for node in lane.counted:
                    node.hold(owner, count)
                if lane.needs:
                    self.stock(owner).hold(lane.needs, count)
        self._look_at_all_again()
        self._choices.divide(_by_host(policies))

    # Stopping a node.

    def pause(self, step: Step, path: str, reason: str = "") -> None:
        """Stop a node until `resume`: its subtree is granted nothing more, what runs goes on. Durable."""
        self._stop(step, path, Pause(None, reason))

    def sleep(self, step: Step, path: str, until: float, reason: str) -> None:
        """Stop a node until an instant of the wall clock; a pause or a longer sleep stays as it is. Durable."""
        paused = self.node(path).paused
        if paused is None or (paused.until is not None and paused.until < until):
            self._stop(step, path, Pause(until, reason))

    def resume(self, step: Step, path: str) -> None:
        """Let a node go on, whatever stopped it: a pause, a sleep, its breaker."""
        node = self.node(path)
        if node.guard is not None and node.guard.open_until is not None:
            self._close(step, node, node.guard)
        self._end_pause(step, node)

    def _end_pause(self, step: Step, node: Node) -> None:
        node.paused = None
        step.persist.pauses.append((node.type, False, None, ""))
        self._rebind(node)
        self._unpark(node)

    def _stop(self, step: Step, path: str, pause: Pause) -> None:
        node = self.node(path)
        node.paused = pause
        step.persist.pauses.append((path, True, pause.until, pause.reason))
        self._rebind(node)
        self._watch_pause(node, step.now, step.wall)

    def _watch_pause(self, node: Node, now: float, wall: float) -> None:
        if node.paused is not None and node.paused.until is not None:
            self._set_alarm(node, max(now + _SOONEST, now + node.paused.until - wall))

    # Granting.

    def room(self, lane: Lane, count: int, pool: Any, step: Step, aside: Key | None = None) -> int:
        """How many of `count` may be granted now; a lane without room is parked where that was said.

        What one host's limit or one host's cost says keeps the lane from the hosts that choose with it alone. `aside`:
        where the task stands, if it is not the lane's first.
        """
        cost = pool.host.offer.cost(lane.type) if lane.spending else 1
        for node in lane.bounds:
            count = node.room(count, cost, step.now, step.wall)
            if count == 0:
                if node.is_dear(cost, step.now, step.wall):
                    pool.choice.park(lane, node)  # hosts where it costs less may have room
                else:
                    lane.parked = True
                    self._parked.setdefault(node, []).append(lane)
                self._set_alarm(node, max(step.now + _SOONEST, node.until(cost, step.now, step.wall)))
                return 0
        if self.unsure and lane.counted:
            lane.parked = True
            self._parked.setdefault(lane.counted[0], []).append(lane)
            return 0
        if self._choices.by_host:
            for node in lane.counted:
                room = node.room_on(pool.host.owner)
                if room is not None and room < count:
                    count = room
                    if count == 0:
                        pool.choice.park(lane, node)
                        return 0
        return self._in_stock(lane, count, pool, step, aside) if lane.needs else count

    def _in_stock(self, lane: Lane, count: int, pool: Any, step: Step, aside: Key | None) -> int:
        """How many of `count` the host has enough for; if none, the first waits for its turn there."""
        stock = self.stock(pool.host.owner)
        key = aside or lane.front()
        if key is None:
            return 0
        count = stock.room(lane, count, key, step.now, step.wall)
        if count == 0:
            pool.choice.park(lane, stock)
            if aside is None:
                stock.wait(lane, key, pool)
                self._short[stock] = None
        return count

    def stock(self, owner: int) -> Stock:
        """What is used of a host."""
        stock = self.stocks.get(owner)
        if stock is None:
            stock = self.stocks[owner] = Stock()
        return stock

    def offered(self, host: Any, running: Container[tuple[int, int]]) -> None:
        """A host says HELLO: what it offers, and the tasks (id, fence) that it runs."""
        self.copies.offered(host, running)
        counts = host.offer.counts()
        if counts or host.owner in self.stocks:
            self.stock(host.owner).offered(host, counts)

    def gone(self, owner: int) -> None:
        """A host is lost or has left, and holds nothing."""
        self.copies.gone(owner)
        if (stock := self.stocks.pop(owner, None)) is not None:
            self._short.pop(stock, None)

    def sure(self) -> None:
        """What runs is known."""
        self.unsure = False
        self._look_at_all_again()

    def tidy(self, step: Step) -> bool:
        """What hosts keep for tasks that have begun elsewhere or ended is for others; whether there was any."""
        changed = False
        for stock in list(self._short):
            if stock.tidy(step.now, step.wall):
                stock.look_again()
                changed = True
            if not stock.waits():
                del self._short[stock]
        return changed

    def granted(self, step: Step, lane: Lane, pool: Any, count: int, last: int) -> None:
        """Leases began; `last` is the latest of them."""
        self.hold(lane, pool.host.owner, count)
        if lane.spending:
            cost = pool.host.offer.cost(lane.type)
            for node in lane.spending:
                node.took(count, cost, step.now, step.wall)
                self._spent[node] = None
        for node in lane.guarded:
            if node.guard is not None and node.guard.open_until is not None:
                node.guard.probe = last

    def hold(self, lane: Lane, owner: int, count: int) -> None:
        """Leases of a host began, or ended, with a negative count."""
        held = lane.held.get(owner, 0) + count
        if held:
            lane.held[owner] = held
        else:
            del lane.held[owner]
        for node in lane.counted:
            node.hold(owner, count)
            if count < 0:
                self._unpark(node)
                if node.limits.per_host is not None:
                    self._choices.unpark(node, owner)
        if lane.needs:
            stock = self.stock(owner)
            stock.hold(lane.needs, count)
            if count < 0:
                stock.look_again()

    def let_go(self, lane: Lane, owner: int, id: int) -> None:
        """One lease ended otherwise than by completing."""
        self.hold(lane, owner, -1)
        for node in lane.guarded:
            if node.guard is not None and node.guard.let_go(id):
                self._unpark(node)

    def takes_back(self, lane: Lane, owner: int) -> bool:
        """Whether a lease that was given up may live on under its first host."""
        if lane.needs and not self.stock(owner).fits(lane):
            return False
        return all(node.takes_back(owner) for node in lane.counted)

    # Breakers.

    def completed(self, step: Step, lane: Lane, count: int, leases: Container[int]) -> None:
        """Attempts of a guarded lane completed; those that hold a lease now are in `leases`."""
        for node in lane.guarded:
            guard = node.guard
            if guard is None:
                continue
            if guard.open_until is None:
                guard.counted(step.now, count, 0)
            elif guard.probe is not None and guard.probe not in leases:  # whatever else ends it says so first
                self._close(step, node, guard)

    def _close(self, step: Step, node: Node, guard: Guard) -> None:
        guard.close()
        step.note("info", "breaker_closed", type=node.type)
        self._rebind(node)
        self._unpark(node)

    def failed(self, step: Step, lane: Lane, id: int) -> None:
        """An attempt of a guarded lane failed or crashed."""
        for node in reversed(lane.guarded):
            guard = node.guard
            if guard is None:
                continue
            if guard.open_until is None:
                guard.counted(step.now, 1, 1)
                if guard.too_many(step.now):
                    self._open(step, node, guard.share())
            elif guard.tried(id):
                self._open(step, node, f"task {id} tried and failed")

    def _open(self, step: Step, node: Node, why: str) -> None:
        if node.guard is None:
            return
        wait = node.guard.open(step.now, why)
        step.note("warning", "breaker_opened", type=node.type, reason=why, seconds=wait)
        self._rebind(node)
        self._escalate(step, node.type.rpartition(".")[0])

    def _escalate(self, step: Step, path: str) -> None:
        """What lies directly below a node fails: when that is more than half of what is active, so does the node."""
        above = self.nodes.get(path)
        if above is None or above.guard is None or above.guard.open_until is not None:
            return
        active = [
            node.guard
            for node in self.nodes.values()
            if node.type.rpartition(".")[0] == path and node.guard is not None and node.guard.active(step.now)
        ]
        opened = sum(guard.open_until is not None for guard in active)
        if opened >= _ESCALATED_MIN and 2 * opened > len(active):
            self._open(step, above, f"{opened} of {len(active)} below it fail")

    # Waiting.

    def wake(self, step: Step) -> None:
        """Look again at what time may have freed."""
        while self._alarms and self._alarms[0][0] <= step.now:
            when, _, node = heappop(self._alarms)
            if when != node.alarm:
                continue
            node.alarm = inf
            if node.paused is not None and not node.asleep(step.wall):
                step.note("info", "type_woke", type=node.type)
                self._end_pause(step, node)
            self._watch_pause(node, step.now, step.wall)
            self._unpark(node)
            if tenant_of(node.type) is not None:
                self._let_go(node.type, step.now)
            if node.meter is not None:
                self._choices.unpark(node)

    def next_time(self) -> float:
        """When `wake` has something to do; `inf`: never."""
        while self._alarms and self._alarms[0][0] != self._alarms[0][2].alarm:
            heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else inf

    def clock_jumped(self, step: Step) -> None:
        """The wall clock was set: what waits for an instant of it waits for another time."""
        self._look_at_all_again()
        for node in self.nodes.values():
            self._watch_pause(node, step.now, step.wall)

    def _set_alarm(self, node: Node, when: float) -> None:
        """An earlier alarm stays: then the node is looked at, and what still blocks it sets the next."""
        if when < node.alarm:
            node.alarm = when
            heappush(self._alarms, (when, node.type, node))

    def _unpark(self, node: Node) -> None:
        for lane in self._parked.pop(node, ()):
            lane.parked = False
            self._choices.offer(lane)

    def _look_at_all_again(self) -> None:
        for node in list(self._parked):
            self._unpark(node)
        self._choices.unpark_all()

    # Telling.

    def blocks(
        self, lane: Lane, now: float, wall: float, *, cost: int = 1, owner: int | None = None, told: bool = True
    ) -> Iterable[Block]:
        """All that keeps tasks of a lane from being granted now; see `Node.blocks`."""
        found = [block for node in lane.bounds for block in node.blocks(now, wall, cost=cost, owner=owner, told=told)]
        if self.unsure and lane.counted:
            text = "a host that is not back since the supervisor's start may still stop cancelled tasks"
            found.append(Block(lane.counted[0].type, "max_concurrent", text, None))
        return found

    def write(self, step: Step) -> None:
        """Have the store keep what was granted of rates and quotas in this step, and nothing of who is forgotten."""
        step.persist.forgotten_rates += self._forgotten
        self._forgotten.clear()
        for node in self._spent:
            if node.rate is not None:
                row = node.rate.latest()
                step.persist.rates.append((node.type, row.number % RING, *row))
            if node.meter is not None:
                step.persist.quotas.append((node.type, node.meter.start, node.meter.used))
        self._spent.clear()


def _by_host(policies: PolicyTree) -> bool:
    return any(values.get("per_host") is not None for values in policies.nodes.values())
