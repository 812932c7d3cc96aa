"""Where unfinished tasks were when they last said so, for their next attempts.

The bodies lie in the store; memory knows which tasks have one. A checkpoint is believed only with the fence of the live
lease, outlives failures, crashes, losses, releases and restarts, and goes when its task ends for good.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..hosts.hosts import HostSession
from ..queue import Queue
from ..reports import checkpoint
from ..step import Step


class Checkpoints:
    """Which tasks have one is in `Queue.checkpoints`, because a grant must say so."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue

    def heard(self, step: Step, host: HostSession, items: Iterable[Any]) -> None:
        """A host says where tasks are. The latest counts; one of no live lease changes nothing.

        Raises:
            ValueError, TypeError: An item is malformed; those before it count.
        """
        for item in items:
            id, fence, body = checkpoint(item)
            lease = self.queue.leases.get(id)
            if lease is None or lease.row.fence != fence or lease.pool.host is not host or lease.stopping:
                continue
            self.queue.checkpoints.add(id)
            step.persist.checkpoints.append((body, id, fence))

    def settle(self, step: Step) -> None:
        """Forget those of tasks that have ended for good in this step."""
        known = self.queue.checkpoints
        if known and step.persist.finishes:
            ended = known.intersection([finish[9] for finish in step.persist.finishes])
            known -= ended
            step.persist.cleared += sorted(ended)
