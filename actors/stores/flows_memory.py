"""Flows and edges in the store that survives nothing; the twin of `flows`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from heapq import nsmallest
from operator import itemgetter
from typing import Any, Final

from ..core.effects import DEPENDENTS_READ, Persist
from ..core.flows.edges import Awaited, Dependents, EdgeNeed, Gathered, Unmet
from ..core.rows import COMPLETED
from .flow_views import COUNTED_ROWS_MAX, flow_view
from .record import LANE, PARAMS, RESULT, STATE, Record

Put = Callable[[dict[Any, Any], Any, Any], None]
Drop = Callable[[dict[Any, Any], Any], None]
_NONE: Final[dict[int, tuple[int, int]]] = {}


class MemoryFlows:
    """What `flow`, `flow_part` and `edge` are in a file. Changes are undone by those who made them.

    Args:
        put: Sets a key of a dict, and remembers how to undo that.
        drop: Removes one.
        tasks: All tasks.
        lanes: All lanes, their types at 1.
    """

    def __init__(
        self, put: Put, drop: Drop, tasks: dict[int, Record], lanes: dict[int, tuple[int, str, str, str]]
    ) -> None:
        self._put, self._drop, self._tasks, self._lanes = put, drop, tasks, lanes
        self._flows: dict[int, tuple[Any, ...]] = {}
        self._parts: dict[int, dict[int, tuple[int, int, int]]] = {}
        self._to: dict[int, dict[int, tuple[int, int]]] = {}  # after -> task -> (policy, met)
        self._of: dict[int, dict[int, tuple[int, int]]] = {}  # task -> after -> the same
        self._open: dict[int, int] = {}  # task -> how many are open

    def write(self, persist: Persist) -> None:
        """Apply what a step changed of flows and edges, and forget those of pruned tasks."""
        for row in persist.flows:
            self._put(self._flows, row[0], row)
        for flow, start, first, count in persist.flow_parts:
            self._put_in(self._parts, flow, start, (start, first, count))
        for after, task, policy in persist.edges:
            if task not in self._to.get(after, _NONE):
                self._set(after, task, (policy, 0))
                self._put(self._open, task, self._open.get(task, 0) + 1)
        for after, task in persist.met:
            self._meet(after, task)
        for task in persist.freed:
            for after, (_, met) in list(self._of.get(task, _NONE).items()):
                if not met:
                    self._meet(after, task)
        for id, _ in persist.prunes:
            for after in list(self._of.get(id, _NONE)):
                self._drop_from(self._to, after, id)
                self._drop_from(self._of, id, after)
            for table in (self._open, self._parts, self._flows):
                if id in table:
                    self._drop(table, id)

    def _set(self, after: int, task: int, edge: tuple[int, int]) -> None:
        self._put_in(self._to, after, task, edge)
        self._put_in(self._of, task, after, edge)

    def _put_in(self, table: dict[int, dict[Any, Any]], key: int, inner: int, value: Any) -> None:
        if key not in table:
            self._put(table, key, {})
        self._put(table[key], inner, value)

    def _drop_from(self, table: dict[int, dict[Any, Any]], key: int, inner: int) -> None:
        self._drop(table[key], inner)
        if not table[key]:
            self._drop(table, key)

    def _meet(self, after: int, task: int) -> None:
        edge = self._to.get(after, _NONE).get(task)
        if edge is not None and not edge[1]:
            self._set(after, task, (edge[0], 1))
            self._put(self._open, task, self._open[task] - 1)

    # --- reading

    def _state(self, id: int) -> int | None:
        record = self._tasks.get(id)
        return None if record is None else record[STATE]

    def _size(self, id: int, column: int) -> int:
        return len(self._tasks[id][column] or b"") if id in self._tasks else 0

    def unfinished(self) -> list[Any]:
        """The flows that have not ended, with their parts."""
        return [self._with_parts(row) for _, row in sorted(self._flows.items()) if row[-1] is None]

    def is_needed(self, id: int) -> bool:
        """Whether a task comes after it that has not completed: it may need its result, or when it is run once more.
        See `EndedAfter`.
        """
        first = nsmallest(DEPENDENTS_READ + 1, self._to.get(id, _NONE))
        states = [state for state in map(self._state, first) if state is not None]
        return len(states) > DEPENDENTS_READ or any(state != COMPLETED for state in states)

    def come_after(self, id: int) -> int:
        """How many tasks come after it, whatever became of them."""
        return len(self._to.get(id, _NONE))

    def needed_by(self, id: int, most: int) -> tuple[int, ...]:
        """Those, at most so many."""
        later = sorted(task for task in self._to.get(id, _NONE) if self._state(task) not in (None, COMPLETED))
        return tuple(later[:most])

    def read(self, need: EdgeNeed, row: Callable[[int], tuple[Any, ...] | None]) -> list[Any]:
        """Rows for a need; `row` gives the columns of a task."""
        if isinstance(need, Dependents):
            return self._dependents(need, row)
        if isinstance(need, Unmet):
            return [
                (columns, self._unmet(task, need.count)) for task in need.tasks if (columns := row(task)) is not None
            ]
        if isinstance(need, Gathered):
            there = [(columns, task, ids) for task, ids in need.tasks if (columns := row(task)) is not None]
            return [
                (columns, self._size(task, PARAMS) + sum(self._size(id, RESULT) for id in ids))
                for columns, task, ids in there
            ]
        if isinstance(need, Awaited):
            edges = sorted((after, task) for after, tasks in self._to.items() for task in tasks)
            following = [edge for edge in edges if edge > need.cursor][: need.count]
            return [(after, task, self._to[after][task][1], self._state(after)) for after, task in following]
        return [self._with_parts(self._flows[flow]) for flow in need.flows if flow in self._flows]

    def _unmet(self, task: int, count: int) -> list[tuple[int, int, int | None]]:
        open = [(after, policy) for after, (policy, met) in sorted(self._of.get(task, _NONE).items()) if not met]
        return [(after, policy, self._state(after)) for after, policy in open[:count]]

    def _with_parts(self, row: tuple[Any, ...]) -> Any:
        return row, [part for _, part in sorted(self._parts.get(row[0], {}).items())]

    def _dependents(self, need: Dependents, row: Callable[[int], tuple[Any, ...] | None]) -> list[Any]:
        found: list[Any] = []
        seen: set[int] = set()
        for after, _ in need.ends:
            behind = need.cursor[1] if after == need.cursor[0] else 0
            for task, (policy, met) in sorted(self._to.get(after, _NONE).items()):
                if met or task <= behind:
                    continue
                if len(found) == need.count:
                    return found
                columns = None if task in seen else row(task)
                seen.add(task)
                open = min(self._open.get(task, 0), need.count + 1) if columns is not None else 0
                found.append((after, task, policy, open, columns))
        return found

    # --- for people

    def flows(self, before: int, limit: int, mine: Callable[[int], bool]) -> tuple[list[dict[str, Any]], int | None]:
        """Flows, newest first; `mine` tells of a session whether its tasks may be seen."""
        latest = [self._flows[flow] for flow in sorted(self._flows, reverse=True) if flow < before][:limit]
        return [flow_view(row) for row in latest if mine(row[2])], latest[-1][0] if len(latest) == limit else None

    def flow(self, flow: int, start: int, mine: Callable[[int], bool]) -> dict[str, Any] | None:
        """One flow, with how many of its tasks are in each state."""
        row = self._flows.get(flow)
        if row is None or not mine(row[2]):
            return None
        _, parts = self._with_parts(row)
        ids = [first + place for _, first, count in parts for place in range(count)][start : start + COUNTED_ROWS_MAX]
        there = [self._tasks[id] for id in ids if id in self._tasks]
        counts = Counter((self._lanes[record[LANE]][1], record[STATE]) for record in there)
        return flow_view(row, parts, counts, start + len(ids))

    def flow_of(self, task: int) -> int | None:
        """The flow that a task belongs to."""
        parts = ((flow, part) for flow, of_it in self._parts.items() for part in of_it.values())
        return next((flow for flow, (_, first, count) in parts if first <= task < first + count), None)

    def members(self, flow: int, before: int | None) -> Iterator[int]:
        """The ids of a flow's tasks below `before`, the newest first."""
        for _, first, count in sorted(self._parts.get(flow, {}).values(), key=itemgetter(1), reverse=True):
            end = first + count if before is None else min(first + count, before)
            yield from (id for id in range(end - 1, first - 1, -1) if id in self._tasks)

    def after(self, task: int, limit: int) -> list[tuple[int, int, int, int | None]]:
        """What a task comes after: (id, policy, met, its state)."""
        edges = sorted((after, edge) for after, edge in self._of.get(task, _NONE).items() if after > 0)
        return [(after, policy, met, self._state(after)) for after, (policy, met) in edges[:limit]]


class MemoryFlowReads:
    """What people and TASKS need of flows: the half of `MemoryStore` that only reads them."""

    _flows: MemoryFlows
    _tasks: dict[int, Record]
    _sessions: dict[int, tuple[int, bytes, str, float, int, str]]

    def _owns(self, session: int, owner: str | None) -> bool:
        """Whether this identity sent what a session sent; None: somebody who may see all."""
        known = self._sessions.get(session)
        return owner is None or (known is not None and known[-1] == owner)

    def results(self, ids: Sequence[int]) -> dict[int, bytes]:
        """The results of completed tasks. See `Store.results`."""
        return {id: self._tasks[id][RESULT] for id in ids if id in self._tasks and self._tasks[id][RESULT] is not None}

    def flows(self, *, before: int, limit: int, owner: str | None = None) -> tuple[list[dict[str, Any]], int | None]:
        """Flows, newest first. See `Store.flows`."""
        return self._flows.flows(before, limit, lambda session: self._owns(session, owner))

    def flow(self, flow: int, *, start: int = 0, owner: str | None = None) -> dict[str, Any] | None:
        """One flow, with how many of its tasks are in each state. See `Store.flow`."""
        return self._flows.flow(flow, start, lambda session: self._owns(session, owner))

    def flow_of(self, task: int) -> int | None:
        """The flow that a task belongs to. See `Store.flow_of`."""
        return self._flows.flow_of(task)

    def after(self, task: int, limit: int) -> list[tuple[int, int, int, int | None]]:
        """What a task comes after. See `Store.after`."""
        return self._flows.after(task, limit)
