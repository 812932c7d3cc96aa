"""What comes after what, as the commits tell it: nothing runs before what it comes after has ended as it should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..core.effects import Persist
from ..core.flows.edges import RUN, WHOLE
from ..core.rows import CANCELLED, COMPLETED, FAILED, FINAL, QUARANTINED, WAITING

_ENDS: Final = COMPLETED, FAILED, CANCELLED, QUARANTINED
_HELPLESS: Final = {None, *FINAL} - {COMPLETED}
"""States of what a task comes after in which only a person can help it; None: that one is gone."""


@dataclass(slots=True)
class Dependents:
    """Edges and flows of one history.

    Attributes:
        edges: By the task that comes after others: {other: policy} of those that hold it back, and of those that do not
            any more.
        met: The latter.
        stages: Of flows.
        ended: The latest end of each task, which a retry does not undo.
        counts: How many tasks of each flow are in which final state, as its row says.
        members: Which ids they have: [(first, how many), ...] of each flow.
    """

    edges: dict[int, dict[int, int]] = field(default_factory=dict)
    met: set[tuple[int, int]] = field(default_factory=set)
    stages: dict[int, int] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)
    counts: dict[int, tuple[int, ...]] = field(default_factory=dict)
    members: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def copied(self) -> Dependents:
        """One that does not change with this."""
        edges = {task: dict(others) for task, others in self.edges.items()}
        members = {flow: list(parts) for flow, parts in self.members.items()}
        return Dependents(edges, set(self.met), dict(self.stages), dict(self.ended), dict(self.counts), members)

    def committed(self, persist: Persist, states: Mapping[int, int]) -> str | None:
        """A step is on disk; what is wrong with it.

        Args:
            persist: What it wrote.
            states: Of all tasks, as they are now.
        """
        self.ended.update((finish[9], finish[0]) for finish in persist.finishes)
        self.stages.update((row[0], row[5]) for row in persist.flows)
        self.counts.update((row[0], row[6:10]) for row in persist.flows)
        for flow, _, first, count in persist.flow_parts:
            self.members.setdefault(flow, []).append((first, count))
        for after, task, policy in persist.edges:
            self.edges.setdefault(task, {}).setdefault(after, policy)
            if states.get(task) != WAITING:
                return f"task {task} comes after {after} and does not wait"
        for after, task in persist.met:
            # What has ended, as the tasks of a flow that is given up have, is not let go.
            if states.get(task) not in FINAL and (wrong := self._is_unjust(after, task)) is not None:
                return wrong
            self.met.add((after, task))
        for task in persist.freed:
            self.met.update((after, task) for after in self.edges.get(task, ()))
        for *_, id, _fence in persist.returns:
            if open := self.open(id):
                return f"task {id} does not wait for {open[0]} any more, which has not ended as it should"
        return None

    def _is_unjust(self, after: int, task: int) -> str | None:
        if task not in self.edges or after not in self.edges[task]:
            return f"task {task} never came after {after}"
        if after < 0:
            return None if self.stages.get(-after) == WHOLE else f"task {task} was let go before its flow was whole"
        end = self.ended.get(after)
        if end == COMPLETED or end is None or self.edges[task][after] == RUN:
            return None if end is not None else f"task {task} was let go by {after}, which never ended"
        return f"task {task} was let go by {after}, which ended badly"

    def open(self, task: int) -> list[int]:
        """What holds a task back."""
        return [after for after in self.edges.get(task, ()) if (after, task) not in self.met]

    def miscounted(self, states: Mapping[int, int]) -> str | None:
        """Which flow says something else of its tasks than they are, if one does; where some are forgotten none can."""
        for flow, said in self.counts.items():
            ids = [id for first, count in self.members[flow] for id in range(first, first + count)]
            there = Counter(states.get(id) for id in ids)
            if not there[None] and said != (found := tuple(there[state] for state in _ENDS)):
                return f"flow {flow} says that {said} of its tasks are {_ENDS}, and {found} are"
        return None

    def stuck(self, states: Mapping[int, int]) -> set[int]:
        """Waiting tasks that only a person can help: what they come after ended badly, or is stuck itself."""
        found: set[int] = set()
        waiting: list[tuple[int, Any]] = [(task, self.open(task)) for task in self.edges if states.get(task) == WAITING]
        grown = True
        while grown:
            more = {
                task
                for task, others in waiting
                if task not in found
                and any(after in found or (after > 0 and states.get(after) in _HELPLESS) for after in others)
            }
            grown = bool(more)
            found |= more
        return found
