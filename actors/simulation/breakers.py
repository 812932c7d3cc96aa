"""Breakers, by what the supervisor has said of them and by what the commits tell of attempts.

A node of which too much fails says so and stops; while it is stopped nothing of it begins, and then one task at a time.
Whether too much has failed is counted here with a margin, because the core may count together what ended together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ...config.limits import Breaker
from ...config.policy import PolicyTree, parents
from ..core.effects import Note, Persist
from ..core.rows import COMPLETED, RUNNING
from .history import History

_BAD: Final = ("exception", "timeout", "result_too_large", "crash")
"""Causes of what ended that speak against its node."""
_MARGIN: Final = 0.12
"""Part of the window."""
_EARLY_SECONDS: Final = 0.001


@dataclass(slots=True)
class _Opened:
    """A node that takes nothing: until when, by the supervisor's own clock, and the task that tries it since."""

    until: float
    probe: tuple[int, int] | None = None


@dataclass(slots=True)
class _Turn:
    """What a turn has written: grants (id, fence, type), and ends of attempts (type, whether it failed)."""

    grants: list[tuple[int, int, str]] = field(default_factory=list[tuple[int, int, str]])
    ends: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])


class Breakers:
    """Of one supervisor process: it begins with all of them closed.

    Args:
        policies: What nodes set.
    """

    def __init__(self, policies: PolicyTree) -> None:
        self._policies = policies
        self._open: dict[str, _Opened] = {}
        self._ends: dict[str, deque[tuple[float, bool]]] = {}
        self._turn = _Turn()

    def restarted(self) -> None:
        """A supervisor begins."""
        self._open, self._ends, self._turn = {}, {}, _Turn()

    def committed(self, turn: Iterable[Persist], history: History) -> None:
        """A turn is on disk; it is judged when it has been heard what the supervisor says of it."""
        self._turn = written = _Turn()

        def add(id: int, outcome: str | None, *, good: bool = False) -> None:
            known = history.tasks.get(id)
            if known is not None and (good or outcome in _BAD):
                written.ends.append((history.lanes[known.lane], not good))

        for persist in turn:
            for id, _attempt, _fence, _owner, _slot, _started, _ended, outcome, _detail in persist.attempts:
                add(id, outcome)
            for state, *_, detail, _failures, _crashes, id, _fence in persist.finishes:
                add(id, detail["cause"] if detail and "cause" in detail else None, good=state == COMPLETED)
            for fence, *_, id in persist.claims:
                if (known := history.tasks.get(id)) is not None:
                    written.grants.append((id, fence, history.lanes[known.lane]))

    def said(self, speech: Iterable[object], history: History, own: float) -> str | None:
        """What the supervisor says after a turn; what is wrong with the turn."""
        turn, self._turn = self._turn, _Turn()
        changed: set[str] = set()
        for note in speech:
            if isinstance(note, Note) and note.event in ("breaker_opened", "breaker_closed"):
                self._heard(note.event, note.fields, own)
                changed.add(note.fields["type"])
        for id, fence, type in turn.grants:
            for node in parents(type):
                opened = self._open.get(node)
                if opened is not None and node not in changed and (wrong := _is_wrong(opened, id, history, own)):
                    return f"{wrong}, the breaker of {node} is open"
                if opened is not None:
                    opened.probe = id, fence
        return self._counted(turn, changed, own)

    def _heard(self, event: str, fields: Mapping[str, Any], own: float) -> None:
        node = fields["type"]
        self._ends.pop(node, None)
        self._open.pop(node, None)
        if event == "breaker_opened":
            self._open[node] = _Opened(own + fields["seconds"])

    def _counted(self, turn: _Turn, changed: set[str], own: float) -> str | None:
        failing: set[str] = set()
        for type, bad in turn.ends:
            for node in parents(type):
                if node in self._open or self._policies.effective(node).breaker is None or (bad and node in changed):
                    continue
                self._ends.setdefault(node, deque()).append((own, bad))
                if bad:
                    failing.add(node)
        for node in failing:
            breaker = self._policies.effective(node).breaker
            if breaker is not None and self._is_too_much(node, breaker, own):
                return f"the breaker of {node} is closed, {list(self._ends[node])[-10:]} have ended by {own}"
        return None

    def _is_too_much(self, node: str, breaker: Breaker, own: float) -> bool:
        """Whether so much has failed that the breaker must open, whatever of a part of its window is counted.

        Some that completed may not be counted: that their lease was given up, or that they closed it.
        """
        ends, length = self._ends[node], breaker.window
        while ends and ends[0][0] < own - length * (1 + _MARGIN):
            ends.popleft()
        failed = sum(bad for at, bad in ends if at > own - length * (1 - _MARGIN))
        return failed >= breaker.at_least and failed >= breaker.failures * len(ends)


def _is_wrong(opened: _Opened, id: int, history: History, own: float) -> str | None:
    """Whether a task of an open node may begin."""
    if own < opened.until - _EARLY_SECONDS:
        return f"task {id} was granted {opened.until - own:.3f} s too early"
    if opened.probe is not None:
        probe, fence = opened.probe
        known = history.tasks.get(probe)
        if known is not None and (known.state, known.fence) == (RUNNING, fence):
            return f"task {id} was granted while task {probe} tries"
    return None
