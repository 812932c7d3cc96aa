"""Where an actor's time goes: a profile of its thread, from its first turn to its last, written when it ends.

Costs nothing unless it was asked for. Profiling makes the thread about half as fast, so shares are to be read, not
rates.
"""

from __future__ import annotations

import cProfile
from pathlib import Path

from .log import Log

log = Log("profile")


class Profile:
    """A profile of the thread that makes it, until it ends.

    Args:
        path: The file that `end` writes, for `pstats` and what reads its format.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._profiler: cProfile.Profile | None = cProfile.Profile()
        self._profiler.enable()

    def end(self) -> None:
        """Stop and write the file (once; later calls do nothing). Call it in the same thread."""
        profiler, self._profiler = self._profiler, None
        if profiler is None:
            return
        profiler.disable()
        try:
            profiler.dump_stats(self._path)
        except OSError as error:
            log.error("profile_not_written", path=str(self._path), error=str(error))
        else:
            log.info("profile_written", path=str(self._path))
