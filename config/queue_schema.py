"""What a configuration may say under `queue:`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .kinds import Ageing, Count, DurationOrNone, FilePath
from .section import Section, problem


class KeepSettings(Section):
    """`queue: keep:` how long tasks that have ended can still be looked at, and their results be fetched."""

    completed: DurationOrNone = Field(default=7 * 86400.0, description="Those that completed; null: for ever.")
    failed: DurationOrNone = Field(
        default=30 * 86400.0, description="Those that failed, were cancelled or quarantined; null: for ever."
    )
    count: Count | None = Field(
        default=None, description="At most so many, the latest; null: any number, 100000 if the queue is in memory."
    )


class QueueSettings(Section):
    """`queue:` the order of tasks, how many may wait, and where they are kept."""

    type: Literal["priority", "fifo"] = Field(
        default="priority", description="`priority`: larger first, then first come; `fifo`: first come."
    )
    max_size: Count = Field(
        default=1_000_000, description="Unfinished tasks; a send beyond it is refused with QueueFull."
    )
    persistence: Literal["sqlite", "memory"] = Field(
        default="sqlite", description="`memory` forgets everything when the supervisor ends."
    )
    database: FilePath | None = Field(
        default=None, description="The queue's file; tasks.db beside this file if absent."
    )
    durability: Literal["full", "relaxed"] = Field(
        default="full",
        description="`full`: acknowledged means on disk; `relaxed`: a power cut may lose the last moments.",
    )

    ageing: Ageing = Field(
        default=None,
        description="How waiting makes tasks more urgent: `1 per 10m` is one priority for each ten minutes; null: not.",
    )
    keep: KeepSettings = KeepSettings()

    @model_validator(mode="after")
    def _one_place(self) -> QueueSettings:
        if self.persistence == "memory" and self.database is not None:
            raise problem("database", "is of no use with `persistence: memory`; remove one of the two")
        if self.type == "fifo" and self.ageing is not None:
            raise problem("ageing", "is of no use with `type: fifo`, which knows no priority; remove one of the two")
        return self
