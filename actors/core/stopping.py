"""How a task that must stop is made to: ask, terminate, kill, each with its time; and what is reported then. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from math import inf
from typing import Any, Final

from ...transport.messages import Outcome, Returned
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


_GRACE: Final = {  # seconds from asking to SIGTERM, and to SIGKILL
    Why.TIMEOUT: (2.0, 5.0),
    Why.CANCELLED: (2.0, 5.0),
    Why.STALE: (0.0, 2.0),  # it runs elsewhere by now
    Why.DRAIN: (0.0, 1.0),  # it had all of `drain_timeout`
    Why.CUT_OFF: (2.0, 5.0),
}


class Stopping:
    """One task's way to its end.

    Attributes:
        why: The reason.
        stage: What was done so far.
        next_at: When the next thing is to be done; `inf`: nothing.
    """

    __slots__ = ("_kill_after", "_since", "_terminate_after", "next_at", "stage", "why")

    def __init__(self, why: Why, within: float | None = None) -> None:
        self.why = why
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
        return self.why in (Why.TIMEOUT, Why.CANCELLED, Why.STALE)

    def report(
        self, task: SlotTask, duration: float, slot: int, *, started: bool, told: Mapping[str, Any] | None = None
    ) -> list[Any]:
        """The item of RESULTS or of RELEASE (see `counts`) that says how it ended; `told` is what else is known."""
        id, fence = task[0], task[1]
        if self.why is Why.TIMEOUT:
            detail = {**(told or {}), "cause": "timeout", "message": f"ran longer than {task[7]:g} s"}
            return [id, fence, Outcome.TIMEOUT, b"", duration, slot, detail]
        if self.why in (Why.CANCELLED, Why.STALE):
            return [id, fence, Outcome.CANCELLED, b"", duration, slot, None]
        if self.why is Why.DRAIN:
            return [id, fence, Returned.DRAIN, 0.0, "the host leaves", started]
        return [
            id,
            fence,
            Returned.NEIGHBOUR,
            0.0,
            "stopped by its host, which was cut off from the supervisor",
            started,
        ]
