"""Waiting for what nobody signals: what another process, another thread or the pool does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_SECONDS = 30.0
"""For what has no bound of its own. A machine that is busy with other tests is slow, not broken."""
PAUSE_SECONDS = 0.01

Value = TypeVar("Value")


def until(
    look: Callable[[], Value],
    what: str,
    seconds: float = PATIENCE_SECONDS,
    *,
    show: Callable[[], object] | None = None,
) -> Value:
    """Wait until `look` returns something true, and return it. The one way in which these tests wait by looking.

    Args:
        look: What is looked at.
        what: What is waited for, as a failure names it: "the host joins".
        seconds: How long at most.
        show: What a failure shows besides, as it is by then: the log of whoever should have done it.
    """
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() >= end:
            more = f"\n{show()}" if show else ""
            raise AssertionError(f"not within {seconds:g} s: {what} (last: {found!r}){more}")
        time.sleep(PAUSE_SECONDS)  # sleeps: between two looks, without taking a processor from what is waited for
    return found
