"""What a part of the pool is, for which time itself is news."""

from __future__ import annotations

from typing import Protocol

from .step import Step


class Timed(Protocol):
    """A part that is called in every turn, and says when it must be at the latest."""

    def wake(self, step: Step) -> None:
        """Do what time has brought; quick where that is nothing."""
        ...

    def next_time(self) -> float:
        """When `wake` has something to do, by `now`; `inf`: never."""
        ...
