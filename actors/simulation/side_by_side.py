"""How many run at a time in fact, in slots: what somebody was told to end runs until its slot has ended.

Limits bound that too. Only what the supervisor cannot know of is beside them: what runs on a host that it has given up,
and what such a host brings back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from ...config.policy import PolicyTree
from ..core.effects import Persist
from .history import History

_OVER: Final = ("lost", "left")

Grant = tuple[int, int]
"""(id, fence)."""


class SideBySide:
    """What counts of what runs.

    Args:
        policies: The widest limits that ever hold.
    """

    def __init__(self, policies: PolicyTree) -> None:
        self._policies = policies
        self._owners: dict[Grant, int] = {}
        self._given_up: set[Grant] = set()
        self._gone: set[int] = set()

    def committed(self, turn: Iterable[Persist]) -> None:
        """A turn is on disk."""
        for persist in turn:
            self._owners.update(((id, fence), owner) for fence, _, owner, _, id in persist.claims)
            self._given_up.update((id, fence) for _, id, fence in persist.adoptions)
            self._given_up.update(
                (id, fence) for id, _, fence, *_, outcome, _ in persist.attempts if outcome == "host lost"
            )
            self._given_up.update(
                (id, fence)
                for *_, detail, _, _, id, fence in persist.finishes
                if detail and detail.get("cause") == "host_lost"
            )
            for owner, *_, state, _ in persist.hosts:
                (self._gone.add if state in _OVER else self._gone.discard)(owner)

    def _counts(self, grant: Grant) -> bool:
        return grant not in self._given_up and self._owners.get(grant) not in self._gone

    def excess(self, history: History, begun: int, live: Iterable[tuple[str, Grant]]) -> str | None:
        """Whether more run than may where a task has begun.

        Args:
            history: What was committed.
            begun: The task.
            live: All that runs (host, grant).
        """
        bound = list(self._bound(history, begun))
        if not bound:
            return None
        running = [(host, id) for host, (id, fence) in live if self._counts((id, fence))]
        below: Counter[str] = Counter()
        on_host: Counter[tuple[str, str]] = Counter()
        for host, id in running:
            nodes = _nodes(history, id)
            below.update(nodes)
            on_host.update((node, host) for node in nodes)
        for node, most, each in bound:
            if most is not None and below[node] > most:
                return f"{below[node]} tasks of {node} run in slots, {most} may"
            crowded = [
                host for (of, host), count in on_host.items() if of == node and each is not None and count > each
            ]
            if crowded:
                return f"more tasks of {node} run in slots of {crowded[0]} than {each}"
        return None

    def _bound(self, history: History, id: int) -> Iterator[tuple[str, int | None, int | None]]:
        """(node, max_concurrent, per_host) of what bounds a task."""
        for node in _nodes(history, id):
            limits = self._policies.limits(node)
            if limits.max_concurrent is not None or limits.per_host is not None:
                yield node, limits.max_concurrent, limits.per_host


def _nodes(history: History, id: int) -> tuple[str, ...]:
    """What may bound a task; nothing if it was forgotten while it still stopped."""
    known = history.tasks.get(id)
    return () if known is None else history.nodes_of(known.lane)
