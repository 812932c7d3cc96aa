"""What the core must know of the configuration. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Final

from ...config.policy import PolicyTree
from ...config.schedules import Plan
from ...config.watching import UNWATCHED, Watching
from .order.lanes import ROWS_MAX


@dataclass(frozen=True, slots=True)
class Keep:
    """How long ended tasks are kept: seconds, None for ever.

    Attributes:
        completed: Those that completed.
        failed: Those that failed, were cancelled or are in quarantine.
        count: How many ends are kept at most, the latest; None: any number.
    """

    completed: float | None = 7 * 86400.0
    failed: float | None = 30 * 86400.0
    count: int | None = None

    def ends(self) -> bool:
        """Whether anything is ever forgotten."""
        return self != _FOR_EVER

    def shortest(self) -> float:
        """The shorter of the two times."""
        return min(inf if self.completed is None else self.completed, inf if self.failed is None else self.failed)

    def longest(self) -> float:
        """The longer of the two times."""
        return max(inf if self.completed is None else self.completed, inf if self.failed is None else self.failed)


KEEP: Final = Keep()
_FOR_EVER: Final = Keep(None, None, None)


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What the core must know of the configuration.

    Attributes:
        heartbeat: Seconds between heartbeats of a peer.
        lost_after: Seconds of silence after which a host is lost.
        max_size: Unfinished tasks the queue takes.
        fifo: All tasks have one priority: first come, first served.
        ageing: Seconds after which a waiting task counts one priority more; 0: never.
        policies: The tree.
        hosts: Settings by host name or pattern, sent with WELCOME.
        queue_depth_high: Queued tasks above which a warning is due, or None.
        watching: Goals and other alerts.
        schedules: What the pool sends by itself, by name.
        rows_max: Queued tasks that memory holds at most.
        keep: How long ended tasks are kept.
        disk_reserve: Bytes of the database's disk that are to stay free; see `Pool.disk`.
        durable: The queue outlives this supervisor.
        guarded: Connections prove who speaks, so roles are those of identities; see `Identities`.
        about: Facts that `status` shows as they are.
    """

    heartbeat: float = 1.0
    lost_after: float = 5.0
    max_size: int = 1_000_000
    fifo: bool = False
    ageing: float = 0.0
    policies: PolicyTree = field(default_factory=PolicyTree)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    queue_depth_high: int | None = None
    watching: Watching = UNWATCHED
    schedules: Mapping[str, Plan] = field(default_factory=dict[str, Plan])
    rows_max: int = ROWS_MAX
    keep: Keep = KEEP
    disk_reserve: int = 0
    durable: bool = True
    guarded: bool = False
    about: dict[str, Any] = field(default_factory=dict)

    def taking_over(self, read: PoolSettings) -> PoolSettings:
        """These settings, with what counts at once of one that was read again: see `config.changes.LIVE`."""
        return replace(
            self,
            policies=read.policies,
            hosts=read.hosts,
            queue_depth_high=read.queue_depth_high,
            watching=read.watching,
            schedules=read.schedules,
            max_size=read.max_size,
        )
