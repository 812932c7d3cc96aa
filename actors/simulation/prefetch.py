"""Guarantee 4: there is no prefetch. A host is given as many tasks as it has said that it can run, and more of those
alone that were measured to take next to no time, where nothing limits them.

What was said is what the supervisor has heard (`Hearing`), what is held and how long tasks took is what is committed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from ...config.policy import Limits, PolicyTree, parents
from ..core.effects import Persist
from ..core.rows import COMPLETED, RUNNING
from .history import History

_FAST_SECONDS: Final = 0.002
_MEASURED_MIN: Final = 20
_SLOW_SHARE_MAX: Final = 0.1
"""A twentieth is right; but the core forgets what is long past, and this does not."""

Capacities = Callable[[int], Mapping[str, int]]
"""How many tasks each slot pool of a host session can run, as it has said at last."""


class Prefetch:
    """Of one supervisor process, which has measured nothing when it begins."""

    def __init__(self) -> None:
        self._ended: Counter[str] = Counter()  # by type
        self._slow: Counter[str] = Counter()

    def restarted(self) -> None:
        """A supervisor begins."""
        self._ended.clear()
        self._slow.clear()

    def committed(
        self, turn: Iterable[Persist], history: History, policies: PolicyTree, said: Capacities
    ) -> str | None:
        """A turn is on disk; what is wrong with it. `policies`: what nodes set now."""
        granted: dict[tuple[int, str], list[int]] = {}
        for persist in turn:
            self._measured(persist, history)
            for fence, _attempt, owner, _at, id in persist.claims:
                known = history.tasks.get(id)
                if known is not None and (known.state, known.fence) == (RUNNING, fence):
                    slots = slots_of(history.lanes[known.lane], said(owner))
                    granted.setdefault((owner, slots), []).append(id)
        for (owner, slots), ids in granted.items():
            slow = [id for id in ids if not self._may_wait(history.tasks[id].lane, history, policies)]
            capacity = said(owner)
            held = sum(
                history.tasks[id].owner == owner
                for lane, running in history.running.items()
                if slots_of(history.lanes[lane], capacity) == slots
                for id in running
            )
            # At best the slow ones were granted first.
            if slow and (before := held - len(ids)) + len(slow) > capacity.get(slots, 0):
                return f"host {owner} can run {capacity}, holds {before} tasks of {slots!r}, and was given {slow}"
        return None

    def _measured(self, persist: Persist, history: History) -> None:
        for state, _finish, at, started, *_, id, _fence in persist.finishes:
            if state == COMPLETED and started is not None and (known := history.tasks.get(id)) is not None:
                type = history.lanes[known.lane]
                self._ended[type] += 1
                self._slow[type] += at - started > _FAST_SECONDS

    def _may_wait(self, lane: int, history: History, policies: PolicyTree) -> bool:
        """Whether tasks of a lane may be given to a host that has no free slot for them."""
        type = history.lanes[lane]
        if history.needs[lane] or any(policies.limits(node) != Limits() for node in history.nodes_of(lane)):
            return False
        return self._ended[type] >= _MEASURED_MIN and self._slow[type] <= _SLOW_SHARE_MAX * self._ended[type]


def slots_of(type: str, slots: Mapping[str, int]) -> str:
    """Which of a host's slot pools a type uses: that of the nearest node above it, else the one of all."""
    path: Sequence[str] = parents(type)
    return next((node for node in reversed(path) if node in slots), "")
