"""What a configuration says to a supervisor."""

from __future__ import annotations

from pathlib import Path

from ..config.schema import Settings
from .core.settings import Keep
from .supervisor import SupervisorSettings


def supervisor_settings(settings: Settings, address: str, database: Path | None) -> SupervisorSettings:
    """What a configuration says to a supervisor."""
    return SupervisorSettings(
        address=address,
        database=database,
        durability=settings.queue.durability,
        fifo=settings.queue.type == "fifo",
        heartbeat=settings.pool.heartbeat,
        lost_after=settings.pool.lost_after,
        max_size=settings.queue.max_size,
        policies=settings.policies(),
        hosts=settings.host_entries(),
        queue_depth_high=settings.queue_depth_high(),
        keep=Keep(**settings.queue.keep.model_dump()),
        document=settings.document(),
    )
