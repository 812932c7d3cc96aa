"""What TREE and the slots' offer mean on a host: the policy of each type, and the level actors' brief. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf
from typing import Any, Final, NamedTuple

from ....config.policy import parents
from .host_effects import Guide, HostEffect, SlotTask
from .verdicts import Brief, Offer


class NodePolicy(NamedTuple):
    """What a host must know of a type.

    Attributes:
        timeout: Seconds an attempt may run, or None.
        cut_off: Seconds to go on without the supervisor, or None: stop before the lease ends.
        extra: What a slot and those that watch it must know (`SlotTask`): `no_progress_timeout` in seconds, `limits`.
    """

    timeout: float | None = None
    cut_off: float | None = 3600.0
    extra: dict[str, Any] | None = None


_NONE: Final = NodePolicy()


class Guidance:
    """The tree as the supervisor sent it, and what the level actors were last told.

    Attributes:
        brief: What they were told.
    """

    def __init__(self, effects: list[HostEffect]) -> None:
        self.brief = Brief()
        self._effects = effects
        self._guide: Guide | None = None
        self._guide_at = 0
        self._nodes: dict[str, NodePolicy] = {}
        self._types: dict[str, NodePolicy] = {}  # what was asked for, nodes and types below them
        self._cut_offs: list[float | None] = []
        self._anew = True

    def on_welcome(self) -> None:
        """A session begins: its first TREE replaces the old one, later ones add to it."""
        self._anew = True

    def on_tree(self, nodes: Mapping[str, Mapping[str, Any]]) -> None:
        """The supervisor named nodes in use here.

        Raises:
            ValueError, TypeError, AttributeError: It is not of the right form; then nothing was changed.
        """
        policies = {type: _policy(values) for type, values in nodes.items()}
        self._nodes = policies if self._anew else self._nodes | policies
        self._anew = False
        self._types = {}
        self._cut_offs = list({policy.cut_off for policy in self._nodes.values()})
        self._tell(replace(self.brief, nodes=tuple(self._nodes)))

    def on_offer(self, offer: Offer) -> None:
        """The slots can run something else than before."""
        self._tell(replace(self.brief, offer=offer))

    def on_drain(self, draining: bool) -> None:
        """The host begins or ceases to drain."""
        self._tell(replace(self.brief, draining=draining))

    def on_activity(self, in_hand: Iterable[SlotTask]) -> None:
        """How much of what runs; looked at once a heartbeat, because nobody sees it sooner."""
        running: dict[str, int] = {}
        for task in in_hand:
            running[task[2]] = running.get(task[2], 0) + 1
        self._tell(replace(self.brief, running=running))

    def _tell(self, brief: Brief) -> None:
        """The latest brief says everything: however many TREEs a turn brings, the level actors are told once."""
        if brief == self.brief:
            return
        self.brief = brief
        at = self._guide_at
        if at < len(self._effects) and self._effects[at] is self._guide:
            self._effects[at] = self._guide = Guide(brief)
        else:
            self._guide, self._guide_at = Guide(brief), len(self._effects)
            self._effects.append(self._guide)

    def policy(self, type: str) -> NodePolicy:
        """What holds for a type: its own node's, or that of the nearest one above it."""
        known = self._types.get(type)
        if known is None:
            nodes = self._nodes
            known = next((nodes[path] for path in reversed(parents(type)) if path in nodes), _NONE)
            self._types[type] = known
        return known

    def next_cut_off(self, alone: float, stop_after: float) -> float:
        """The shortest time alone that means something to a node and is longer than `alone`; `inf` if there is none."""
        soonest = inf
        for limit in self._cut_offs:
            until = stop_after if limit is None else limit
            if alone < until < soonest:
                soonest = until
        return soonest


def _policy(values: Mapping[str, Any]) -> NodePolicy:
    timeout, cut_off = values.get("timeout"), values.get("cut_off", _NONE.cut_off)
    return NodePolicy(
        None if timeout is None else float(timeout),
        None if cut_off is None or cut_off == "stop" else float(cut_off),
        _extra(values),
    )


def _extra(values: Mapping[str, Any]) -> dict[str, Any] | None:
    extra: dict[str, Any] = {}
    if (patience := values.get("no_progress_timeout")) is not None:
        extra["no_progress_timeout"] = float(patience)
    if limits := values.get("limits"):
        extra["limits"] = {str(name): float(value) for name, value in limits.items() if value is not None}
    return extra or None
