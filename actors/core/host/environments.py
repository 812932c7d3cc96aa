"""The environments of a host: which one a type belongs to, which slots it uses, and what each can run. Pure.

An environment is an interpreter, an isolation and a concurrency. Environments whose slots are processes with one task
at a time share the host's slots; every other one has slots of its own. What the host offers is the union of what each
environment said after loading its code, less what does not belong to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Final

from ....config.policy import parents
from ....transport.messages import SLOTS_MAX
from ....workers.source import Environment
from ..restarts import Restarts
from .verdicts import Offer, within

_TYPES_MAX: Final = 10_000
"""Types whose environment is remembered; a supervisor that names more of them is asked for nothing but time."""


class Environments:
    """What each environment of a host is for, and what became of it.

    Attributes:
        base: That of all types that no node says otherwise for.
        nodes: What the nodes say, {type: environment}, where it may differ from the node above.
    """

    def __init__(self, base: Environment, nodes: Mapping[str, Environment] | None = None) -> None:
        self.base = base
        self.nodes = dict(nodes or {})
        self._known: dict[str, Environment] = {}
        self._offers: dict[Environment, Offer] = {}
        self._restarts: dict[Environment, Restarts] = {}
        self._due: dict[Environment, float] = {}

    def renew(self, base: Environment, nodes: Mapping[str, Environment]) -> None:
        """Others from now on; of those that stay, what they can run is believed until a new slot says otherwise."""
        self.base, self.nodes = base, dict(nodes)
        self._known.clear()
        for known in (self._offers, self._restarts, self._due):
            for environment in [environment for environment in known if environment not in self.all()]:
                del known[environment]

    def of(self, type: str) -> Environment:
        """Where tasks of a type (or of the slot pool "") run."""
        if not self.nodes:
            return self.base
        known = self._known.get(type)
        if known is None:
            if len(self._known) >= _TYPES_MAX:
                self._known.clear()
            path = next((path for path in reversed(parents(type)) if path in self.nodes), None)
            known = self._known[type] = self.base if path is None else self.nodes[path]
        return known

    def all(self) -> list[Environment]:
        """Each once, the base first."""
        return list(dict.fromkeys((self.base, *self.nodes.values())))

    def shape(self, slots: Mapping[str, int]) -> dict[str, int]:
        """How many tasks at a time: in the slot pools {node or "": count}, and in those that nodes need for themselves,
        which have as many slots as the host. Each slot runs as many as the concurrency of what runs there says.
        """
        shape = {pool: _together(count, self.of(pool)) for pool, count in slots.items()}
        total = sum(slots.values())
        for node in sorted(self.nodes):
            pool = pool_of(node, shape)
            if pool is not None and not self.nodes[node].shares(self.of(pool)):
                shape[node] = _together(total, self.nodes[node])
        return shape

    # What they can run

    def unheard(self) -> list[Environment]:
        """Those that have neither said what they can run nor failed."""
        return [environment for environment in self.all() if environment not in self._offers]

    def heard(self, environment: Environment, ready: Mapping[str, Any]) -> None:
        """A slot has loaded its code and says what it can run."""
        self._due.pop(environment, None)
        mine = {type for type in ready["types"] if self.of(type.removesuffix(".*")) == environment}
        prints, costs = ready["fingerprints"], ready.get("costs", {})
        self._offers[environment] = Offer(
            tuple(sorted(mine)),
            bool(ready["any"]) and environment == self.base,
            self.named(environment, ready["failed"]),
            {type: prints[type] for type in prints if self.of(type) == environment},
            {type: costs[type] for type in costs if self.of(type) == environment},
        )

    def failed(self, environment: Environment, reason: str, now: float, *, again: bool) -> None:
        """A slot could not be started in it: its types are off the offer until one is. `again`: look after a time."""
        if environment.python not in reason:
            reason = f"{environment.python}: {reason}"
        nodes = {node: reason for node, own in self.nodes.items() if own == environment}
        self._offers[environment] = Offer(failed=nodes or {environment.python: reason})
        if again:
            self._due[environment] = now + self._restarts.setdefault(environment, Restarts()).died(now)

    def offer_of(self, environment: Environment) -> Offer | None:
        """What one of them can run; None before it has said so."""
        return self._offers.get(environment)

    def below(self, types: Iterable[str]) -> list[Environment]:
        """Those in which tasks of these types or of types below them run."""
        wanted = tuple(types)
        nodes = [node for node in self.nodes if any(within(node, type) for type in wanted)]
        return list(dict.fromkeys(self.of(type) for type in (*wanted, *nodes))) if wanted else self.all()

    def due(self) -> float:
        """When the next one is to be looked at again; `inf`: none."""
        return min(self._due.values(), default=inf)

    def take_due(self, now: float) -> list[Environment]:
        """Those that are to be looked at again now."""
        due = [environment for environment, at in self._due.items() if at <= now]
        for environment in due:
            del self._due[environment]
        return due

    def offer(self) -> Offer | None:
        """What all of them can run together; None before the first has said so."""
        offers = list(self._offers.values())
        if len(offers) < 2:
            return offers[0] if offers else None
        return Offer(
            tuple(sorted(type for offer in offers for type in offer.types)),
            any(offer.any for offer in offers),
            _joined(offer.failed for offer in offers),
            _joined(offer.fingerprints for offer in offers),
            _joined(offer.costs for offer in offers),
        )

    def named(self, environment: Environment, failed: Mapping[str, str]) -> Mapping[str, str]:
        """What failed, with the interpreter where it is not the host's own: one CODE may be fine in another."""
        if environment == self.base:
            return failed
        where = environment.python or f"isolation {environment.isolation}"
        if environment.concurrency > 1:
            where = environment.python or f"concurrency {environment.concurrency}"
        return {
            what if self.of(what) == environment else f"{what} ({where})": f"{reason} (in {where})"
            if environment.python
            else reason
            for what, reason in failed.items()
        }


def _together(slots: int, environment: Environment) -> int:
    """How many tasks at a time these slots run, as far as a host may offer so many in one slot pool."""
    return min(slots, SLOTS_MAX // environment.concurrency) * environment.concurrency


def pool_of(type: str, pools: Mapping[str, Any]) -> str | None:
    """The slot pool that a type uses: that of the nearest node above it that has one, else "" if there is that one."""
    return next((path for path in (*reversed(parents(type)), "") if path in pools), None)


def _joined(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}
