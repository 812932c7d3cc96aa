"""The two clocks. Everything that waits or expires goes by `now`; `wall` is for display and for times people give.

No other module of the package reads a clock of its own, and nothing in `actors/core` reads one at all.
"""

from __future__ import annotations

import time
from pathlib import Path

if hasattr(time, "CLOCK_BOOTTIME"):

    def now() -> float:
        """Seconds since the machine started, sleep included. Never jumps: leases, timeouts and backoff go by it."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:  # macOS and Windows have no clock that counts a suspended machine's sleep

    def now() -> float:
        """Seconds on a clock that never jumps: leases, timeouts and backoff go by it."""
        return time.monotonic()


def boot() -> int:
    """A number of this run of the machine (63 bits), 0 where it cannot be known: `now` starts anew with each."""
    try:
        return int(Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", "")[:15], 16)
    except (OSError, ValueError):
        return 0


def wall() -> float:
    """Seconds since the epoch (UTC). May jump when the machine's clock is set."""
    return time.time()
