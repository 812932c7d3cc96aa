"""How a task that must stop is made to: ask, terminate, kill, each with its time; and what is reported then. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from math import inf
from typing import Any, Final

from ....transport.messages import Outcome, Returned
from .host_effects import SlotTask


class Stage(IntEnum):
    """What was done so far."""

    WAITS = 0  # asked, but it has not begun to run: its times have not begun either
    ASK = 1
    TERMINATE = 2
    KILL = 3
    GIVEN_UP = 4  # where it runs it cannot be killed alone


class Why(Enum):
    """Why a task must stop."""

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    STALE = "stale"
    DRAIN = "drain"
    CUT_OFF = "cut_off"
    NO_PROGRESS = "no_progress"
    MEMORY = "oom"
    PROCESSES = "processes"
    CPU = "cpu"
    OUTPUT = "output"


_OUTCOMES: Final = {  # of the reasons that count as an attempt that ended; the cause is the reason's own name
    Why.TIMEOUT: Outcome.TIMEOUT,
    Why.NO_PROGRESS: Outcome.TIMEOUT,
    Why.MEMORY: Outcome.CRASHED,
    Why.PROCESSES: Outcome.FAILED,
    Why.CPU: Outcome.FAILED,
    Why.OUTPUT: Outcome.FAILED,
    Why.CANCELLED: Outcome.CANCELLED,
    Why.STALE: Outcome.CANCELLED,
}


_RELEASES: Final = {  # of the others: the task is given back, and this is said of it
    Why.DRAIN: (Returned.DRAIN, "the host leaves"),
    Why.CUT_OFF: (Returned.NEIGHBOUR, "stopped by its host, which was cut off from the supervisor"),
}


_GRACE: Final = {  # seconds from asking to SIGTERM, and to SIGKILL
    Why.TIMEOUT: (2.0, 5.0),
    Why.CANCELLED: (2.0, 5.0),
    Why.STALE: (0.0, 2.0),  # it runs elsewhere by now
    Why.DRAIN: (0.0, 1.0),  # it had all of `drain_timeout`
    Why.CUT_OFF: (2.0, 5.0),
    Why.NO_PROGRESS: (2.0, 5.0),
    Why.CPU: (2.0, 5.0),
    Why.OUTPUT: (0.0, 2.0),
    Why.MEMORY: (0.0, 0.0),  # it takes more while we wait
    Why.PROCESSES: (0.0, 0.0),
}


class Stopping:
    """One task's way to its end.

    Attributes:
        why: The reason.
        stage: What was done so far.
        message: What is reported; "": that it ran longer than its timeout.
        next_at: When the next thing is to be done; `inf`: nothing.
    """

    __slots__ = ("_kill_after", "_since", "_terminate_after", "message", "next_at", "stage", "why")

    def __init__(self, why: Why, within: float | None = None, message: str = "") -> None:
        self.why = why
        self.message = message
        self._terminate_after, self._kill_after = _GRACE[why] if within is None else (within / 2, within)
        self._since = 0.0
        self.stage = Stage.WAITS
        self.next_at = inf

    def __repr__(self) -> str:
        return f"<Stopping {self.why.value} {self.stage.name} next_at={self.next_at}>"

    def begin(self, now: float) -> None:
        """It runs, so its times begin; does nothing if they have."""
        if self.stage is Stage.WAITS:
            self.stage = Stage.ASK
            self._since = now
            self.next_at = now + self._terminate_after

    def advance(self, now: float) -> None:
        """The next stage is done now."""
        late = now - self._since >= self._kill_after
        if self.stage is Stage.ASK and not late:
            self.stage = Stage.TERMINATE
            self.next_at = self._since + self._kill_after
        else:
            self.stage = Stage.KILL
            self.next_at = inf

    def give_up(self) -> None:
        """It cannot be killed alone."""
        self.stage = Stage.GIVEN_UP
        self.next_at = inf

    def at_once(self) -> bool:
        """Whether the times begin even while the task still waits behind others."""
        return self.why in (Why.STALE, Why.DRAIN, Why.CUT_OFF)

    def accepts_result(self) -> bool:
        """Whether a result that comes all the same counts. After a timeout or a cancel it may be half a result."""
        return self.why in (Why.DRAIN, Why.CUT_OFF)

    def counts(self) -> bool:
        """Whether the end is reported as an attempt that ended (RESULTS), not as a task given back."""
        return self.why in _OUTCOMES

    def report(
        self, task: SlotTask, duration: float, slot: int, *, started: bool, told: Mapping[str, Any] | None = None
    ) -> list[Any]:
        """The item of RESULTS or of GIVEBACK (see `counts`) that says how it ended; `told` is what else is known.

        How the process ended is in `told`; that we ended it, and why, is what is said of it.
        """
        id, fence = task[0], task[1]
        outcome = _OUTCOMES.get(self.why)
        if outcome == Outcome.CANCELLED:
            return [id, fence, outcome, b"", duration, slot, None]
        if outcome is not None:
            message = self.message or f"ran longer than {task[7]:g} s"
            detail = {**(told or {}), "cause": self.why.value, "message": message}
            return [id, fence, outcome, b"", duration, slot, detail]
        code, note = _RELEASES[self.why]
        detail = {**(told or {}), "cause": self.why.value}
        detail.pop("message", None)  # how we ended it is no news
        return [id, fence, code, 0.0, note, started, *([detail] if started else [])]
