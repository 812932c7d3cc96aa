"""When scheduled tasks may begin: never before their time by the clock that their time was meant by.

What was asked for as an instant goes by the wall clock, wherever that is set to. What was asked for as a delay, and
every wait before a further try, goes by the clock that never jumps, so its end is remembered by that one here: the core
keeps it by the wall clock, which it has to move with every jump.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from ...config.policy import Retry
from ..core.effects import Persist
from ..core.rows import COLUMNS, QUEUED, SCHEDULED, WAITING
from .timeline import OWN_START

_DUE, _RELATIVE, _OPTIONS = (COLUMNS.index(name) for name in ("due", "relative", "options"))
_ROUNDING_SECONDS: Final = 0.005
_UNSEEN_SECONDS: Final = 1.0
"""Two clocks that drift apart are only brought together again when they are so far apart."""

_FAR_SECONDS: Final = 60.0
_LATE_SECONDS: Final = 0.5
"""For how long what is not in memory may take to come there when its time has come."""


class Moment(NamedTuple):
    """An instant by the world's time, by the supervisor's own clock and by its wall clock."""

    now: float
    own: float
    wall: float


@dataclass(frozen=True, slots=True)
class Due:
    """When a scheduled task is due.

    Attributes:
        at: As the store must have it, by the wall clock.
        relative: Whether it goes by the supervisor's own clock.
        ripe: Its time by that clock.
        since: When it was scheduled.
    """

    at: float
    relative: bool
    ripe: float
    since: Moment

    def is_early(self, moment: Moment) -> bool:
        """Whether its time has surely not come."""
        if not self.relative:
            return moment.wall < self.at
        return moment.own + self._unsure(moment) < self.ripe

    def is_over(self, moment: Moment) -> bool:
        """Whether its time has surely come."""
        if not self.relative:
            return moment.wall >= self.at
        return moment.own - self._unsure(moment) >= self.ripe

    def _unsure(self, moment: Moment) -> float:
        """By how many seconds the supervisor may be wrong whose own clock and wall clock drift apart."""
        drift = abs(moment.own - OWN_START - moment.now)
        since = abs(moment.own - self.since.own - (moment.now - self.since.now))
        return min(_UNSEEN_SECONDS, drift) + since + _ROUNDING_SECONDS


@dataclass(slots=True)
class DueTimes:
    """Of one history.

    Attributes:
        scheduled: When each scheduled task is due.
        wishes: What tasks were sent with that wait for others first: (delay, at), as far as they asked for any.
        over: Since when, by the supervisor's own clock, each is scheduled still although its time has come.
    """

    scheduled: dict[int, Due] = field(default_factory=dict[int, Due])
    wishes: dict[int, tuple[float, float]] = field(default_factory=dict[int, tuple[float, float]])
    over: dict[int, float] = field(default_factory=dict[int, float])

    def copied(self) -> DueTimes:
        """One that does not change with this."""
        return DueTimes(dict(self.scheduled), dict(self.wishes))

    def committed(
        self,
        persist: Persist,
        states: Callable[[int], tuple[int, int] | None],
        failing: Callable[[int], tuple[Retry, int]],
        moment: Moment,
    ) -> str | None:
        """A step is on disk; what is wrong with it.

        Args:
            persist: What it wrote.
            states: How a task stood before the step gave anything back, its state first.
            failing: How a task's failures are tried again, and how many there were before this step.
            moment: When.
        """
        for seconds in persist.shifts:
            for id, due in self.scheduled.items():
                if due.relative:
                    self.scheduled[id] = replace(due, at=due.at + seconds)
        for row in persist.tasks:
            if (wrong := self._inserted(row, moment)) is not None:
                return wrong
        waiting = {id for *_, id, _ in persist.returns if (states(id) or (None,))[0] == WAITING}
        for state, _place, at, relative, _attempt, failures, *_, id, _fence in persist.returns:
            told = at, bool(relative)
            if id in self.scheduled:
                wrong = self._fell_due(id, state, moment)
            elif id in waiting:
                waiting.discard(id)  # it may fall due in the same step
                wrong = self._was_let_go(id, state, told, moment)
            else:
                wrong = self._was_put_off(id, state, told, failures, failing, moment)
            if wrong is not None:
                return wrong
        for *_, id, _ in persist.finishes:
            self.scheduled.pop(id, None)
        for id, _ in persist.prunes:
            self.wishes.pop(id, None)
        return None

    def _inserted(self, row: tuple[Any, ...], moment: Moment) -> str | None:
        """A task is sent: it is queued, or scheduled for the time that it was sent for."""
        id, state = row[0], row[4]
        options: dict[str, Any] = row[_OPTIONS] or {}
        if "delay" in options or "at" in options:
            self.wishes[id] = options.get("delay") or 0.0, options.get("at") or 0.0
        if state == WAITING:
            return None
        return self._was_let_go(id, state, (row[_DUE], bool(row[_RELATIVE])), moment)

    def _was_let_go(self, id: int, state: int, told: tuple[float | None, bool], moment: Moment) -> str | None:
        delay, at = self.wishes.get(id, (0.0, 0.0))
        wanted: tuple[float | None, bool] = (None, False)
        if delay:
            wanted = moment.wall + delay, True
        elif at > moment.wall:
            wanted = at, False
        if told != wanted or state != (QUEUED if wanted[0] is None else SCHEDULED):
            return f"task {id} was sent for {wanted}, it is {state} and due {told}"
        if wanted[0] is not None:
            self.scheduled[id] = Due(*wanted, moment.own + delay, moment)
        return None

    def _fell_due(self, id: int, state: int, moment: Moment) -> str | None:
        due = self.scheduled.pop(id)
        if state != QUEUED:
            return f"task {id} was scheduled and is scheduled again"
        return f"task {id} falls due at {moment} and not before {due}" if due.is_early(moment) else None

    def _was_put_off(
        self,
        id: int,
        state: int,
        told: tuple[float | None, bool],
        failures: int,
        failing: Callable[[int], tuple[Retry, int]],
        moment: Moment,
    ) -> str | None:
        """An attempt has ended, or was never made: the next one waits if this one failed, as long as it must."""
        retry, before = failing(id)
        at, relative = told
        if state == QUEUED:
            return f"task {id} failed and does not wait" if failures > before else None
        if at is None or not relative:
            return f"task {id} is scheduled for {told}, its wait is no delay"
        wait = at - moment.wall
        if failures > before and not _is_backoff(retry, failures, wait):
            return f"task {id} waits for {wait:.3f} s after failure {failures}, {retry} says otherwise"
        self.scheduled[id] = Due(at, True, moment.own + wait, moment)
        return None

    def looked_at(self, moment: Moment) -> str | None:
        """The supervisor has looked at what is due; which task it has left for too long, if one."""
        over = self.over
        self.over = {id: over.get(id, moment.own) for id, due in self.scheduled.items() if due.is_over(moment)}
        late = (id for id, since in self.over.items() if moment.own - since > _LATE_SECONDS)
        return next((f"task {id} is scheduled still, its time has come: {self.scheduled[id]}" for id in late), None)

    def for_another_day(self, wall: float) -> list[int]:
        """Tasks that wait for an instant which the wall clock, as it was set, reaches long after all is at rest."""
        return [id for id, due in self.scheduled.items() if not due.relative and due.at > wall + _FAR_SECONDS]

    def wrong_in_store(self, rows: Mapping[int, Mapping[str, Any]]) -> str | None:
        """Which scheduled task the store has for another time than the commits, if it has one."""
        for id, due in self.scheduled.items():
            row = rows.get(id)
            if row is not None and (row["due"], bool(row["relative"])) != (due.at, due.relative):
                return f"task {id} is due {row['due']} ({row['relative']}) in the store, {due} by the commits"
        return None


def _is_backoff(retry: Retry, failures: int, wait: float) -> bool:
    """Whether a wait is what a policy says, give or take its jitter."""
    grown = {"exponential": 2.0 ** (failures - 1), "linear": failures, "fixed": 1.0}[retry.backoff]
    mean = min(retry.base * grown, retry.cap)
    return abs(wait - mean) <= mean * retry.jitter + _ROUNDING_SECONDS
