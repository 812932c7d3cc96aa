"""What a slot's process and all below it use, as /proc says. Decides nothing, and tells nothing where there is none."""

from __future__ import annotations

from time import monotonic
from typing import Any, Final

from ..workers.processes import Family, Process, memory_shared_out, process

COUNTERS: Final = "/proc/vmstat"
_PICTURE_SECONDS: Final = 0.05
"""How long a picture of all processes serves: several slots are often measured at a time."""

_picture: tuple[float, Family] = (0.0, Family())


def measure(pid: int, enough: float) -> dict[str, Any] | None:
    """`memory`, `processes` and `cpu` of `core.consumption.Usage`; None if they cannot be told.

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
    return {"memory": memory, "processes": len(below), "cpu": sum(one.cpu for one in everyone)}


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
