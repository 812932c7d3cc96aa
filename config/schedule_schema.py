"""`schedules:` in a configuration: tasks that the pool sends by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ..workers import values
from ..workers.errors import TaskRefused
from .kinds import Amounts, Count, DurationOrNone, TenantName, TypePath
from .schedules import NAME_PATTERN, OPTIONS, Plan, timing
from .section import Section, problem

PARAMS_BYTES_MAX = 16 * 1024


def schedule_name(value: Any) -> str:
    """The name of a schedule.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, str) or not NAME_PATTERN.match(value):
        message = "is not the name of a schedule; write at most 64 letters, digits, _, . or -"
        raise ValueError(message)
    return value


ScheduleName = Annotated[str, BeforeValidator(schedule_name)]


class ScheduleSettings(Section):
    """`schedules: NAME:` a task that is sent again and again."""

    type: TypePath = Field(description="The type of its tasks.")
    params: Any = Field(default=None, description="Their params.")
    cron: str | None = Field(
        default=None, description="When: minute, hour, day of month, month, day of week, as in crontab."
    )
    every: DurationOrNone = Field(default=None, description="Or how often: 30s, 5m, 1d; counted from 1970 in UTC.")
    zone: str = Field(default="UTC", description="Whose clock `cron` means, such as Europe/Berlin.")
    catch_up: Literal["none", "last", "all"] = Field(
        default="last", description="What is sent for instants that were missed; all: the latest hundred at most."
    )
    priority: int = Field(default=5, ge=-(2**31) + 1, le=2**31 - 1, description="Of its tasks; larger runs first.")
    timeout: DurationOrNone = Field(default=None, description="How long one attempt may run.")
    max_attempts: Count | None = Field(default=None, description="Failures until a task is failed for good.")
    tags: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(
        default_factory=list, max_length=32, description="Names to find its tasks by."
    )
    tenant: TenantName | None = Field(default=None, description="Whose tasks they are.")
    requires: Amounts = Field(default_factory=dict, description="What a host must offer beside a slot.")

    @model_validator(mode="after")
    def _sound(self) -> ScheduleSettings:
        try:
            self.plan()
        except ValueError as error:
            name, _, text = str(error).partition(": ")
            raise problem(name, text) from None
        except TaskRefused as error:
            raise problem("params", f"cannot travel ({error}); write texts, numbers, lists and mappings") from None
        if self.tenant == "*":
            raise problem("tenant", "is one tenant, not all of them; write its name")
        return self

    def plan(self) -> Plan:
        """What the supervisor is told.

        Raises:
            ValueError, TaskRefused: Something in it is wrong.
        """
        when = timing(self.cron, self.every, self.zone)
        options = {name: value for name in OPTIONS if (value := getattr(self, name))}
        params = values.pack(self.params, limit=PARAMS_BYTES_MAX)
        return Plan(self.type, params, when, self.catch_up, self.priority, options or None)


def plans(schedules: Mapping[str, ScheduleSettings]) -> dict[str, Plan]:
    """All of them by name."""
    return {name: one.plan() for name, one in schedules.items()}
