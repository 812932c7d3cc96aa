"""What still stops somewhere while nobody here knows it: a restart forgets which cancelled tasks hosts have not ended.

Such a task has a final state, so no lease tells of it; only its host can, when it says HELLO. Until then limits could
be exceeded by what others are granted in its place. So the store knows whether there is such a task at all, and a
supervisor that starts with one grants nothing below limits of leases before all hosts have come back or are lost.
"""

from __future__ import annotations

from .hosts.hosts import Hosts
from .opening import Opening
from .queue import Queue
from .step import Step


class StillStopping:
    """Keeps, over a restart, whether anything stops."""

    def __init__(self, queue: Queue, hosts: Hosts, opening: Opening) -> None:
        self._queue, self._hosts = queue, hosts
        self._stored = queue.lanes.tree.unsure = bool(opening.meta.get("stopping"))

    def begin(self) -> None:
        """A turn begins: whether all hosts have said by now what they run, and what of that is to stop was read."""
        tree = self._queue.lanes.tree
        if tree.unsure and not any(host.state == "away" for host in self._hosts.by_owner.values()):
            tree.sure()

    def settle(self, step: Step) -> None:
        """A step ends: what it has someone stop counts after a restart, too."""
        tree = self._queue.lanes.tree
        stops = tree.unsure or self._queue.stopping > 0 or bool(tree.copies.by_owner)
        if stops != self._stored:
            self._stored = stops
            step.persist.meta["stopping"] = int(stops)
