"""A line now and then about what the pool has done: who reads a night's log in the morning sees how the night went."""

from __future__ import annotations

from typing import Final

from ..hosts.hosts import Hosts
from ..queue import Queue
from ..rows import QUEUED, RUNNING, SCHEDULED
from ..statistics import POOL, Figures
from ..step import Step

DIGEST_SECONDS: Final = 600.0
"""Between two lines; a night has some fifty. A pool in which nothing happens says nothing."""
_COUNTED: Final = ("sent", "completed", "failed", "cancelled", "quarantined", "retried", "rescued")
_NOTHING: Final = Figures()


class Digest:
    """What has happened since the last line.

    Args:
        queue: Looked at.
        hosts: Looked at.
        now: When the pool began.
    """

    def __init__(self, queue: Queue, hosts: Hosts, now: float) -> None:
        self._queue, self._hosts = queue, hosts
        self._due = now + DIGEST_SECONDS
        self._before = self._counts()

    def next_time(self) -> float:
        """When the next line is due."""
        return self._due

    def wake(self, step: Step) -> None:
        """Write the line if its time has come and there is something to say."""
        if step.now < self._due:
            return
        self._due = step.now + DIGEST_SECONDS
        counts, before = self._counts(), self._before
        self._before = counts
        if counts == before:
            return
        changed = {name: counts[name] - before[name] for name in _COUNTED if counts[name] != before[name]}
        lanes = self._queue.lanes
        step.note(
            "info",
            "pool_digest",
            **changed,
            queued=lanes.total(QUEUED),
            scheduled=lanes.total(SCHEDULED),
            running=lanes.total(RUNNING),
            hosts=sum(host.alive() for host in self._hosts.by_owner.values()),
            seconds=DIGEST_SECONDS,
        )

    def _counts(self) -> dict[str, int]:
        figures = self._queue.lanes.statistics.nodes.get(POOL, _NOTHING)
        return {name: getattr(figures, name) for name in _COUNTED}
