"""Whether the database's disk has room for new tasks. What was accepted goes on either way: completions are stored."""

from __future__ import annotations

from typing import Final

from .step import Step

RETRY_SECONDS: Final = 5.0
"""When a client that was refused may try again."""

_ENOUGH: Final = 1.25  # of the reserve: room that comes and goes around it is not worth a word each time


class Room:
    """What the shell last said of the disk.

    Attributes:
        low: Less than the reserve is free, and has been until a quarter more is.
    """

    def __init__(self, reserve: int) -> None:
        self._reserve = reserve
        self.low = False

    def heard(self, step: Step, free: int) -> None:
        """So many bytes are free."""
        if not self.low and free < self._reserve:
            self.low = True
            step.note("warning", "disk_low", free=free, reserve=self._reserve)
        elif self.low and free >= self._reserve * _ENOUGH:
            self.low = False
            step.note("info", "disk_has_room", free=free, reserve=self._reserve)

    def reason(self) -> str:
        """Why nothing new is taken."""
        return (
            f"the disk of the supervisor's database has less than {max(1, self._reserve >> 20)} MiB free; "
            "free some: what was accepted goes on, and new tasks are taken again when there is room"
        )
