"""What a slot's process and all below it use, as /proc says. Decides nothing, and tells nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, thread_time
from typing import Any, Final

from ..workers.processes import Family, Process, memory_shared_out, process
from ..workers.program import is_guard
from .slot_spawner import spawner

COUNTERS: Final = "/proc/vmstat"
_PICTURE_SECONDS: Final = 0.05
"""How long a picture of all processes serves: several slots are often measured at a time."""

_RESTS: Final = 10
"""Times the processor time of a look that pass before the next one: a walk through many GiB of memory takes seconds."""

_picture: tuple[float, Family] = (0.0, Family())


def measure(pid: int, enough: float) -> dict[str, Any] | None:
    """`memory`, `processes` and `cpu` of `core.host.consumption.Usage`; None if they cannot be told.

    Args:
        pid: Of the slot's process.
        enough: Up to so many bytes, memory that processes share may be counted for each of them.
    """
    own = process(pid)
    if own is None:
        return None
    below = [one for one in _family().below(pid) if one.state != "Z"]
    everyone = [own, *below]
    memory = sum(one.resident for one in everyone)
    if memory > enough and below:
        # What one that ends meanwhile has shared is counted for it and once more for the others: hence the second look.
        memory = min(_shared_out(everyone), _shared_out(everyone))
    guarded = any(is_guard(one.pid) for one in below if one.parent == pid)  # by a shell of ours, not the task's
    return {"memory": memory, "processes": len(below) - guarded, "cpu": sum(one.cpu for one in everyone)}


class Gauge:
    """Looks at what one slot uses, in a thread that may take its time. One look at a time, and a rest after each."""

    def __init__(self) -> None:
        self._looking = False
        self._rests_until = 0.0

    def look(self, pid: int, enough: float, tell: Callable[[dict[str, Any]], object]) -> None:
        """Have `measure` done, unless it is too early for that; `tell` is called in the thread that does it."""
        if not self._looking and monotonic() >= self._rests_until:
            self._looking = True
            spawner().look(lambda: self._look(pid, enough, tell))

    def _look(self, pid: int, enough: float, tell: Callable[[dict[str, Any]], object]) -> None:
        begun = thread_time()
        try:
            figures = measure(pid, enough)
        finally:
            self._rests_until = monotonic() + _RESTS * (thread_time() - begun)
            self._looking = False
        if figures is not None:
            tell(figures)


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it was started; 0 where it does not tell."""
    try:
        with open(COUNTERS, "rb") as file:  # noqa: PTH123 -- read whenever a slot starts
            return next((int(line.split()[1]) for line in file if line.startswith(b"oom_kill ")), 0)
    except OSError:
        return 0


def _shared_out(everyone: list[Process]) -> int:
    total = 0
    for one in everyone:
        exact = memory_shared_out(one.pid)
        total += one.resident if exact is None else exact
    return total


def _family() -> Family:
    global _picture  # noqa: PLW0603 -- one picture for all slots of this process is the point
    if monotonic() - _picture[0] > _PICTURE_SECONDS:
        _picture = (monotonic(), Family())
    return _picture[1]
