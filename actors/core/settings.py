"""What the core must know of the configuration. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...config.policy import PolicyTree
from .lanes import ROWS_MAX


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What the core must know of the configuration.

    Attributes:
        name: The pool's name.
        heartbeat: Seconds between heartbeats of a peer.
        lost_after: Seconds of silence after which a host is lost.
        max_size: Unfinished tasks the queue takes.
        fifo: All tasks have one priority: first come, first served.
        policies: The tree.
        hosts: Settings by host name or pattern, sent with WELCOME.
        queue_depth_high: Queued tasks above which a warning is due, or None.
        rows_max: Queued tasks that memory holds at most.
        disk_reserve: Bytes of the database's disk that are to stay free; see `Pool.disk`.
        about: Facts that `status` shows as they are.
    """

    name: str = "workerhost"
    heartbeat: float = 1.0
    lost_after: float = 5.0
    max_size: int = 1_000_000
    fifo: bool = False
    policies: PolicyTree = field(default_factory=PolicyTree)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    queue_depth_high: int | None = None
    rows_max: int = ROWS_MAX
    disk_reserve: int = 0
    about: dict[str, Any] = field(default_factory=dict[str, Any])
