"""Tasks that hosts were told to stop although they hold no lease of them: until a host says that one ended, it runs.

So they count as leases do: for the limits of the nodes above their lane, for what they use of the host, for its slots.
Owns them; what a hold of theirs weighs is `tree`'s to say.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Any

from .lane import Lane

Item = tuple[int, int]
"""(id, fence) of a task as a host knows it."""


class Copies:
    """All copies that stop somewhere.

    Attributes:
        by_owner: The lane and the slot pool of each, by the host's owner number and item.
    """

    def __init__(self, hold: Callable[[Lane, int, int], None]) -> None:
        self.by_owner: dict[int, dict[Item, tuple[Lane, Any]]] = {}
        self._hold = hold
        self._spoken: set[tuple[int, Item]] = set()  # of what copies hosts have told the end in this turn

    def begin(self) -> None:
        """A turn begins."""
        self._spoken.clear()

    def offered(self, host: Any, running: Container[Item]) -> None:
        """A host says HELLO and what it runs. Copies among that keep their places until each is judged anew."""
        self.gone(host.owner, running)
        copies = self.by_owner.get(host.owner, {})
        for item, (lane, _) in copies.items():
            copies[item] = lane, (pool := host.pool_of(lane.type))
            pool.held += 1

    def gone(self, owner: int, running: Container[Item] = ()) -> None:
        """A host runs no others than these."""
        copies = self.by_owner.pop(owner, {})
        for copy in [copies.pop(item) for item in list(copies) if item not in running]:
            self._forget(owner, copy)
        if copies:
            self.by_owner[owner] = copies

    def stopped(self, owner: int, items: Iterable[Item]) -> None:
        """A host speaks of tasks that it holds no lease of: they have ended there."""
        copies = self.by_owner.get(owner, {})
        for id, fence in items:
            item = (id, fence)
            self._spoken.add((owner, item))
            self._forget(owner, copies.pop(item, None))
        if not copies:
            self.by_owner.pop(owner, None)

    def stopping(self, lane: Lane, pool: Any, item: Item) -> None:
        """A host was told to stop a task that it holds no lease of, as it may not have any more."""
        owner = pool.host.owner
        copies = self.by_owner.setdefault(owner, {})
        if item not in copies and not self.has_spoken(owner, item):
            copies[item] = lane, pool
            pool.held += 1
            self._hold(lane, owner, 1)
        if not copies:
            del self.by_owner[owner]

    def judge(self, owner: int, item: Item) -> None:
        """Whether a host may run a task is decided anew: what was decided before holds no place for it."""
        copies = self.by_owner.get(owner, {})
        self._forget(owner, copies.pop(item, None))
        if not copies:
            self.by_owner.pop(owner, None)

    def has_spoken(self, owner: int, item: Item) -> bool:
        """Whether a host has told, in this turn, the end of a task that it held no lease of."""
        return (owner, item) in self._spoken

    def _forget(self, owner: int, copy: tuple[Lane, Any] | None) -> None:
        if copy is not None:
            lane, pool = copy
            pool.held -= 1
            self._hold(lane, owner, -1)
