"""The two clocks. Everything that waits or expires goes by `now`; `wall` is for display and for times people give.

No other module of the package reads a clock of its own, and nothing in `actors/core` reads one at all.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_PROCESS: Final = 1 + secrets.randbelow((1 << 60) - 1)

if hasattr(time, "CLOCK_BOOTTIME"):

    def now() -> float:
        """Seconds since the machine started, sleep included. Never jumps: leases, timeouts and backoff go by it."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:  # macOS and Windows have no clock that counts a suspended machine's sleep

    def now() -> float:
        """Seconds on a clock that never jumps: leases, timeouts and backoff go by it."""
        return time.monotonic()


def boot() -> int:
    """A number of this run of the machine (60 bits, not 0): within one `now` goes on, and files keep what was written.

    Only Linux numbers its runs. Elsewhere it is a number of this process, which does not outlive a run: that two
    processes were of the same one goes unseen there. The time at which the machine started would not do: systems
    compute it from the wall clock, and it moves when that is set.
    """
    try:
        return int(_BOOT_ID.read_text().replace("-", "")[:15], 16) or _PROCESS
    except (OSError, ValueError):
        return _PROCESS


def wall() -> float:
    """Seconds since the epoch (UTC). May jump when the machine's clock is set."""
    return time.time()
