"""Supervision as data: of each kind of child whether, how soon and how often it is started again. Pure.

Everything that keeps something alive follows these rules: level actors below a host, slots of a host, processes below
`up`. One child at a time (one_for_one): the first restart is at once, the next ones wait longer and longer, what
stayed up for a minute starts afresh, and what dies too often is the failure of whoever keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Final

_BASE_SECONDS: Final = 0.2
_CAP_SECONDS: Final = 30.0
_HEALTHY_SECONDS: Final = 60.0
_DOUBLINGS_MAX: Final = 30  # beyond it the cap has long decided


class Restart(Enum):
    """When a child that has ended is started again."""

    PERMANENT = "always"
    TRANSIENT = "unless it ended well"
    TEMPORARY = "never"


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How one kind of child is kept.

    Attributes:
        restart: See `Restart`.
        start_seconds: One that does not say by then that it has started did not start.
        shutdown_seconds: What it may take to end when it is told to; then it is ended. 0: nobody waits for it.
        deaths_max: Deaths, each before a minute in health, that are borne; one more is its keeper's failure.
    """

    restart: Restart
    start_seconds: float = inf
    shutdown_seconds: float = 0.0
    deaths_max: float = inf


LEVEL: Final = ChildSpec(Restart.PERMANENT, start_seconds=1.0, deaths_max=5)
"""A level actor. Whoever starts one waits for it, and its own owner survives that wait."""

SLOT: Final = ChildSpec(Restart.PERMANENT)
"""A slot's process: what ends it is nearly always a task, and that is counted as the task's crash."""

PROCESS_DEATHS_MAX: Final = 20
"""Of a process that `up` keeps: some six minutes of trying, for what ails a machine at night often passes."""


class Restarts:
    """The recent deaths of one child.

    Attributes:
        spec: How it is kept.
        deaths: How many there were since it last lived for a minute.
    """

    __slots__ = ("_up_since", "deaths", "spec")

    def __init__(self, spec: ChildSpec = SLOT) -> None:
        self.spec = spec
        self.deaths = 0
        self._up_since = 0.0

    def ended(self, now: float, *, well: bool) -> float | None:
        """Count an end; returns how many seconds to wait before the restart, None: it is not started again.

        Args:
            now: Monotonic seconds.
            well: Whether it ended as it should.
        """
        if self.spec.restart is Restart.TEMPORARY or (well and self.spec.restart is Restart.TRANSIENT):
            return None
        return self.died(now)

    def died(self, now: float) -> float:
        """Count a death; returns how many seconds to wait before the restart."""
        if self.deaths and now - self._up_since > _HEALTHY_SECONDS:
            self.deaths = 0
        self.deaths += 1
        delay = 0.0
        if self.deaths > 1:
            delay = min(_CAP_SECONDS, _BASE_SECONDS * 2.0 ** min(self.deaths - 2, _DOUBLINGS_MAX))
        self._up_since = now + delay
        return delay

    def too_many(self) -> bool:
        """Whether restarting does not help, so that the one above must decide."""
        return self.deaths > self.spec.deaths_max
