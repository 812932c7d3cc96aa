"""What a host thinks of a node of the tree: may tasks of it run here, and if not, why. Pure.

A `Brief` is all a level actor is ever told. Each level gets its part of it, so an actor that was restarted knows
everything again from one message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ....config.policy import parents

STARTING: Final = "starting"
IDLE: Final = "idle"
BUSY: Final = "busy"
DRAINING: Final = "draining"
FAILED: Final = "failed"

Verdict = tuple[str, str]
"""(state, note for people)."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the slots' code can run, as the slots said after loading it.

    Attributes:
        types: Types with a worker of their own; `video.*` is one that also looks at what lies below `video`.
        any: Whether there are workers without type, which are asked about each task.
        failed: What could not be loaded (CODE, or the type that the configuration gives a class) -> why, with file and
            line.
        fingerprints: Type -> fingerprint of its worker's code.
        costs: Type -> units of the quota that a task costs, where it is not one.
    """

    types: tuple[str, ...] = ()
    any: bool = False
    failed: Mapping[str, str] = field(default_factory=dict[str, str])
    fingerprints: Mapping[str, str] = field(default_factory=dict[str, str])
    costs: Mapping[str, int] = field(default_factory=dict[str, int])

    def same_service(self, other: Offer) -> bool:
        """Whether both run the same code for the same types, so that the supervisor need not hear of the change."""
        mine = (self.types, self.any, self.failed.keys(), self.fingerprints, self.costs)
        return mine == (other.types, other.any, other.failed.keys(), other.fingerprints, other.costs)


@dataclass(frozen=True, slots=True)
class Brief:
    """All that a part of the tree must know.

    Attributes:
        nodes: The nodes of this part, in the order in which they became known: the first ones get actors.
        offer: What the slots can run; None until one is ready.
        running: Tasks in hand, {type: count}, without zeros.
        draining: Whether the host takes nothing new.
    """

    nodes: tuple[str, ...] = ()
    offer: Offer | None = None
    running: Mapping[str, int] = field(default_factory=dict[str, int])
    draining: bool = False

    def parts(self, depth: int) -> dict[str, Brief]:
        """What concerns each node of that many parts and its subtree; whoever has many children divides it once."""
        nodes: dict[str, list[str]] = {}
        for type in self.nodes:
            if (node := _cut(type, depth)) is not None:
                nodes.setdefault(node, []).append(type)
        running: dict[str, dict[str, int]] = {}
        for type, count in self.running.items():
            if (node := _cut(type, depth)) is not None:
                running.setdefault(node, {})[type] = count
        return {
            node: Brief(tuple(part), self.offer, running.get(node, {}), self.draining) for node, part in nodes.items()
        }


def _cut(type: str, depth: int) -> str | None:
    """The first `depth` parts of a type; None if it has fewer."""
    path = type.split(".", depth)
    return ".".join(path[:depth]) if len(path) >= depth else None


def within(type: str, node: str) -> bool:
    """Whether a type is a node or lies in its subtree."""
    return type == node or type.startswith(node + ".")


def verdict(type: str, brief: Brief) -> Verdict:
    """The state of one node on this host."""
    return verdicts((type,), brief)[type]


def verdicts(types: Iterable[str], brief: Brief) -> dict[str, Verdict]:
    """The states of many nodes: what is served and what runs is looked through once for all of them."""
    if brief.draining:
        return dict.fromkeys(types, (DRAINING, ""))
    offer = brief.offer
    if offer is None:
        return dict.fromkeys(types, (STARTING, "its workers are being loaded"))
    serving: set[str] = set() if offer.any else {path for worker in offer.types for path in parents(worker)}
    busy = {path for running in brief.running for path in parents(running)}
    unserved = "; ".join(offer.failed.values()) or "no worker here runs it"
    found: dict[str, Verdict] = {}
    for type in types:
        if type in offer.failed:
            found[type] = FAILED, offer.failed[type]
        elif not (offer.any or _served(type, serving)):
            found[type] = FAILED, unserved
        else:
            found[type] = (BUSY if type in busy else IDLE), ""
    return found


def _served(type: str, serving: set[str]) -> bool:
    """By a worker of its own, one above that looks at what lies below it, or only below."""
    return type in serving or any(f"{path}.*" in serving for path in parents(type))
