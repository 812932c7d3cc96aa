"""Waiting makes tasks more urgent: one priority for each full period of the wall clock since they were sent.

All tasks age alike, so which of two goes first never changes: what decides is their priority less the number of the
period in which they were sent, and nothing has to be sorted again. A task is overtaken only by what was sent within
(difference of priorities + 1) periods after it.
"""

from __future__ import annotations


def level_of(priority: int, sent_at: float, period: float) -> int:
    """What a task stands by in its lane, the larger first; `period` in seconds, 0: it does not age.

    Stores sort by the same formula (`stores/line.py`).
    """
    return priority - int(sent_at / period) if period else priority
