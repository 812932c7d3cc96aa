"""Hands on the queue: tasks that nobody runs get another priority, or another type.

A running task is left as it is: what its host was told cannot be taken back, only cancelled.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ....config.policy import TYPE_PATTERN
from ....transport.messages import Admin, Reply
from ..effects import Fetch, Matching
from ..flows.flows import Flows
from ..hosts.membership import Membership
from ..queue import Queue
from ..reports import shown
from ..rows import QUEUED, SCHEDULED, Row
from ..step import Peer, Step
from ..where import mean
from .submissions import LANES_MAX, PRIORITY_BOUND, TYPES_MAX

_BOUND: Final = ("key",)
"""Options that mean something by the type under which a task was sent: it stays there."""


class _Change(NamedTuple):
    """What becomes of each task; None: stays as it is."""

    priority: int | None
    type: str | None


class Edits:
    """The verb `edit` of ADMIN."""

    def __init__(self, queue: Queue, membership: Membership, flows: Flows) -> None:
        self._queue, self._membership, self._flows = queue, membership, flows

    def ask(self, step: Step, peer: Peer, message: Admin) -> None:
        """Change tasks that are queued or scheduled; the store knows those that memory does not."""
        change = _Change(message.arguments.get("priority"), message.arguments.get("type"))
        if problem := self._problem(change):
            step.say(peer, Reply(message.request, False, {"code": "invalid", "reason": problem}))
            return
        mean(step, peer, message, "edit", (SCHEDULED, QUEUED), change)

    def _problem(self, change: _Change) -> str | None:
        if change == (None, None):
            return "name what is to change: a priority, or a type"
        priority = change.priority
        if priority is not None and (type(priority) is not int or not -PRIORITY_BOUND <= priority < PRIORITY_BOUND):
            return f"priority {shown(priority)} is not a whole number of 32 bits"
        if priority is not None and self._queue.fifo:
            return "the queue is first in, first out: it has no priorities"
        if change.type is not None and (type(change.type) is not str or not TYPE_PATTERN.match(change.type)):
            return f"{shown(change.type)} is not a type"
        lanes = self._queue.lanes.by_type
        if change.type is not None and change.type not in lanes and len(lanes) >= TYPES_MAX:
            return f"the pool knows {len(lanes)} types already, of at most {TYPES_MAX}"
        return None

    def fetched(self, step: Step, need: Fetch | Matching, rows: dict[int, Row]) -> None:
        """The rows of tasks to change are known."""
        peer, request, reply, change = need.context
        self._queue.lanes.begin()
        edited = [row.id for row in rows.values() if self._edit(step, self._queue.current(row), change)]
        for type in self._queue.lanes.new:
            for host in self._membership.hosts.serving(type):
                self._membership.send_tree(step, host, [type])
        if edited:
            changed = {name: value for name, value in change._asdict().items() if value is not None}
            step.note("info", "tasks_edited", tasks=len(edited), **changed)
        step.say(peer, Reply(request, True, {"edited": edited, **reply}))

    def _edit(self, step: Step, row: Row, change: _Change) -> bool:
        if row.state not in (QUEUED, SCHEDULED):
            return False
        lane = self._queue.lanes.by_number[row.lane]
        if change.type is not None and change.type != lane.type:
            if row.attempt or self._flows.binds(row) or any(name in (row.options or {}) for name in _BOUND):
                return False
            lanes, key = self._queue.lanes, (change.type, lane.tenant.name, lane.requirements)
            if key not in lanes.by_key and len(lanes.by_key) >= LANES_MAX:
                return False
            lane = lanes.of(key, step)
        priority = row.priority if change.priority is None else change.priority
        if (lane.number, priority) != (row.lane, row.priority):
            self._queue.edit(step, row, lane, priority)
        return True
