"""What one attempt may use and how long it may be silent, and whether it did. Pure.

The host's core asks for figures while an attempt under limits runs (`Measure`); they come back with the slot's news and
are judged here. Limits hold in process slots, where an attempt has a process of its own; the time without progress
holds everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Final, NamedTuple

from ....config.sizes import size_text
from .host_effects import SlotTask
from .stopping import Stopping, Why

MEASURE_SECONDS: Final = 0.1
"""Between two looks at an attempt under limits: what it can do meanwhile is how far it can go beyond them."""


class Usage(NamedTuple):
    """Figures of a slot's process and all below it.

    Attributes:
        id: Of the task that ran when they were asked for.
        fence: Its fence.
        memory: Bytes of memory, now.
        processes: Processes below the slot's own, now.
        cpu: Seconds of processor time, since the slot's process started.
        output: Bytes written to stdout and stderr, since the slot's process started.
        refused: Processes and threads that the system refused because of the limit, since the slot's process started.
    """

    id: int
    fence: int
    memory: int
    processes: int
    cpu: float
    output: int
    refused: int = 0


class Bounds(NamedTuple):
    """What all processes of a slot may use together, whichever of the tasks in hand runs.

    Attributes:
        memory: Bytes; `inf`: any number.
        processes: Below the slot's own; `inf`: any number.
    """

    memory: float
    processes: float


FREE: Final = Bounds(inf, inf)


def bounds(tasks: Iterable[SlotTask]) -> Bounds:
    """The widest limits of these tasks: which one runs at a moment only the slot knows."""
    limits: list[Mapping[str, Any]] = [(task[11] and task[11].get("limits")) or {} for task in tasks]
    widest = (max((each.get(name, inf) for each in limits), default=inf) for name in Bounds._fields)
    found = Bounds(*widest)
    return FREE if found == FREE else found


class Consumption:
    """Of one attempt that runs under limits, or must report progress now and then.

    Attributes:
        measure_at: When figures are due; `inf`: never.
        patience: Seconds that may pass without progress; `inf`: any number.
    """

    __slots__ = ("_base", "_heard", "_limits", "measure_at", "patience")

    def __init__(self, extra: Mapping[str, Any], now: float, *, measured: bool) -> None:
        self._limits: Mapping[str, Any] = (measured and extra.get("limits")) or {}
        self.patience: float = extra.get("no_progress_timeout") or inf
        self._heard = now
        self._base: Usage | None = None
        self.measure_at = now if self._limits else inf

    def due(self) -> float:
        """When something is to be done, unless progress is heard."""
        return min(self.measure_at, self._heard + self.patience)

    def memory(self) -> float:
        """Bytes that it may use; `inf`: any number."""
        return float(self._limits.get("memory", inf))

    def heard(self, now: float) -> None:
        """It reported progress."""
        self._heard = now

    def asked(self, now: float) -> None:
        """Figures were asked for."""
        self.measure_at = now + MEASURE_SECONDS

    def silent(self, now: float) -> Stopping | None:
        """Why it must stop, if it was silent for too long."""
        if self._heard + self.patience > now:
            return None
        return Stopping(Why.NO_PROGRESS, message=f"reported no progress for {self.patience:g} s")

    def judge(self, usage: Usage) -> Stopping | None:
        """Why it must stop, if it has used too much. The first figures are those of its start."""
        base = self._base
        if base is None:
            self._base = base = usage
        limits = self._limits
        if usage.memory > limits.get("memory", inf):
            text = f"used {size_text(usage.memory)} of memory; its limit is {size_text(limits['memory'])}"
            return Stopping(Why.MEMORY, message=text)
        if usage.processes > limits.get("processes", inf):
            text = f"had {usage.processes} processes; its limit is {limits['processes']:g}"
            return Stopping(Why.PROCESSES, message=text)
        if usage.refused > base.refused:
            text = f"was refused more processes and threads; its limit is {limits.get('processes', inf):g} processes"
            return Stopping(Why.PROCESSES, message=text)
        if (written := usage.output - base.output) > limits.get("output", inf):
            text = f"wrote {size_text(written)}; its limit is {size_text(limits['output'])}"
            return Stopping(Why.OUTPUT, message=text)
        if (cpu := usage.cpu - base.cpu) > limits.get("cpu", inf):
            return Stopping(Why.CPU, message=f"used {cpu:.1f} s of processor time; its limit is {limits['cpu']:g} s")
        return None
