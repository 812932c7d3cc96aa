"""What a host thinks of a node of the tree: may tasks of it run here, and if not, why. Pure.

A `Brief` is all a level actor is ever told. Each level gets its part of it, so an actor that was restarted knows
everything again from one message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

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
        nodes: The nodes of this part, {type: policy}.
        offer: What the slots can run; None until one is ready.
        running: Tasks in hand, {type: count}, without zeros.
        draining: Whether the host takes nothing new.
    """

    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    offer: Offer | None = None
    running: Mapping[str, int] = field(default_factory=dict[str, int])
    draining: bool = False

    def part(self, type: str) -> Brief:
        """What concerns a node and its subtree."""
        return Brief(
            {node: policy for node, policy in self.nodes.items() if within(node, type)},
            self.offer,
            {running: count for running, count in self.running.items() if within(running, type)},
            self.draining,
        )


def within(type: str, node: str) -> bool:
    """Whether a type is a node or lies in its subtree."""
    return type == node or type.startswith(node + ".")


def verdict(type: str, brief: Brief) -> Verdict:
    """The state of one node on this host."""
    if brief.draining:
        return DRAINING, ""
    offer = brief.offer
    if offer is None:
        return STARTING, "its workers are being loaded"
    if type in offer.failed:
        return FAILED, offer.failed[type]
    if not _served(type, offer):
        return FAILED, "; ".join(offer.failed.values()) or "no worker here runs it"
    return (BUSY if any(within(running, type) for running in brief.running) else IDLE), ""


def _served(type: str, offer: Offer) -> bool:
    """By a worker of its own, one without type, one above that looks at what lies below it, or only below."""
    asked = {f"{path}.*" for path in parents(type)}
    return offer.any or any(within(worker, type) or worker in asked for worker in offer.types)
