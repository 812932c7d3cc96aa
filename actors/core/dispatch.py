"""Who gets what: free slots are filled, least loaded host first, each from the best lane it may take from.

Order is (priority, place) within what the claiming host may run now (guarantee 4); tenants take turns at equal
priority. What exceeds the free slots is the margin of a lane that is measured to be fast; the best lane is never passed
over for want of a slot, so a margin never overtakes.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import Any, Final

from ...transport.messages import CHECKPOINT_BYTES_MAX, RESULT_BYTES_MAX, Tasks
from .hosts.hosts import HostSession, SlotPool
from .order.declines import Declined
from .order.lane import Lane
from .queue import EXPIRED, Queue, is_too_late
from .rows import QUEUED, RUNNING, Row
from .statistics import queued_since
from .step import Step
from .tasks.endings import LOSSES_ALONE

_CHUNK: Final = 32
"""Grants at a time to one of several hosts that compete for a fast lane."""
_TURN_TASKS: Final = 4000
_TURN_BYTES: Final = 16 * 1024 * 1024
"""Grants of one turn, so that it stays short and its messages small; the next follows at once."""
_MESSAGE_BYTES: Final = 2 * 1024 * 1024
_UNKNOWN_BYTES: Final = 1024 * 1024
_TASK_BYTES: Final = 48
_options: Final = attrgetter("options")
_EXTRA_BYTES: Final = 32 * 132  # as many tags as a task may have


def dispatch(queue: Queue, step: Step) -> bool:
    """Grant what can be granted now; True if more can be, but not in this turn, so that it stays short."""
    queue.lanes.tree.tidy(step)
    contenders: list[tuple[float, int, str, SlotPool]] = []
    left = _Left(mixed=queue.company.is_mixed(step.now, queue.unfinished_count))
    for choice in queue.lanes.choices.by_key.values():
        lane = choice.best()
        if lane is not None or queue.declines:
            contenders += [
                _contender(pool)
                for pool in choice.pools
                if pool.capacity and pool.held < pool.capacity + (_margin(lane, pool, left) if lane else 0)
            ]
    heapify(contenders)
    granted: dict[HostSession, dict[str, list[list[Any]]]] = {}
    while contenders and not left.out():
        pool = heappop(contenders)[3]
        if _grant(queue, step, pool, granted.setdefault(pool.host, {}), left, alone=not contenders):
            heappush(contenders, _contender(pool))
    for host, groups in granted.items():
        _send(step, host, groups)
    return queue.lanes.tree.tidy(step) or left.out()


class _Left:
    """What one turn may still grant."""

    __slots__ = ("bytes", "mixed", "tasks")

    def __init__(self, *, mixed: bool) -> None:
        self.tasks, self.bytes = _TURN_TASKS, _TURN_BYTES
        self.mixed = mixed  # somebody waits for a few tasks beside another's many

    def out(self) -> bool:
        """Whether the turn has granted enough."""
        return self.tasks <= 0 or self.bytes <= 0


def _margin(lane: Lane, pool: SlotPool, left: _Left) -> int:
    """Grants beyond the free slots."""
    margin = lane.margin(pool.capacity)
    return min(margin, int(pool.host.ahead.tasks)) if margin and left.mixed else margin


def _contender(pool: SlotPool) -> tuple[float, int, str, SlotPool]:
    return pool.held / pool.capacity, pool.host.owner, pool.name, pool


def _grant(
    queue: Queue, step: Step, pool: SlotPool, groups: dict[str, list[list[Any]]], left: _Left, *, alone: bool
) -> bool:
    """Give a slot pool the next tasks of the best lane, or of one after the other if it competes with none.

    Whether it may get more.
    """
    choice, lanes = pool.choice, queue.lanes
    while choice is not None:
        if queue.declines and (aside := _grant_declined(queue, step, pool, groups, left)) is not False:
            return bool(aside)
        if (lane := choice.best()) is None:
            return False
        if (head := lane.window.head()) is None:
            return False  # its next task is on its way from the store
        margin = _margin(lane, pool, left)
        room = min(pool.capacity + margin - pool.held, left.tasks)
        if room <= 0:
            return False
        if head.params is None or (queue.declines and queue.declines.best(pool)):
            room = min(room, 1)  # a large one: count after each; or one that stands aside may be the next
        elif queue.checkpoints:
            room = min(room, _CHUNK)
        if not alone:
            room = min(room, _CHUNK if margin else 1)
        rows: list[Row] = []
        if lane.bounds or lane.needs:
            if not (room := lanes.tree.room(lane, room, pool, step)):
                continue
        elif head.params is not None and not (queue.checkpoints or queue.declines):
            rows = choice.run(_room(pool, left.tasks if alone else room, left))
        if not rows:
            rows = lane.window.take(*choice.stretch(room))
        lanes.in_memory -= len(rows)
        if living := _living(queue, step, rows):
            _give(queue, step, pool, living, groups, left)
        if not rows or not alone or queue.declines or left.out():
            return bool(rows)
    return False


def _room(pool: SlotPool, most: int, left: _Left) -> Callable[[Lane, int], int]:
    """How many of at most so many tasks a slot pool still takes, see `Choice.run`."""
    free = pool.capacity - pool.held

    def room(lane: Lane, taken: int) -> int:
        return min(most, free if taken < free else free + _margin(lane, pool, left)) - taken

    return room


def _living(queue: Queue, step: Step, rows: list[Row]) -> list[Row]:
    """Those that may still be started; the others end here."""
    if not any(map(_options, rows)):
        return rows
    living: list[Row] = []
    for row in rows:
        if row.options and is_too_late(row, step.wall):
            queue.rows.pop(row.id, None)
            queue.finish(step, row, "expire", EXPIRED)
        else:
            living.append(row)
    return living


def _give(
    queue: Queue,
    step: Step,
    pool: SlotPool,
    rows: list[Row],
    groups: dict[str, list[list[Any]]],
    left: _Left,
    declined: Declined | None = None,
) -> None:
    """Give a slot pool these tasks, which stand in no window any more."""
    lanes, wall, plain = queue.lanes, step.wall, not queue.checkpoints
    queue.grant(step, pool, rows, declined)
    pool.held += len(rows)
    left.tasks -= len(rows)
    by_lane = lanes.apart(rows)
    lanes.touched.update(by_lane)
    for lane, alike in by_lane.items():
        tasks = groups.get(lane.type)
        if tasks is None:
            tasks = groups[lane.type] = []
        for row in alike:
            params = row.params
            if plain and row.options is None and params is not None and not (row.failures or row.losses):
                left.bytes -= len(params)
                tasks.append([row.id, row.fence, row.attempt, row.priority, row.sent_at, params, None])
            else:
                tasks.append(_item(queue, step, row, left))
        count = len(alike)
        counts = lane.counts
        counts[QUEUED] -= count
        counts[RUNNING] += count
        if declined is None:
            # The clock may have been set back meanwhile.
            lane.account.granted([max(0.0, wall - queued_since(row)) for row in alike if row.attempt == 1])
        lanes.tree.granted(step, lane, pool, count, alike[-1].id)
        lanes.tenants.served(lane.tenant)


def _grant_declined(
    queue: Queue, step: Step, pool: SlotPool, groups: dict[str, list[list[Any]]], left: _Left
) -> bool | None:
    """Give a slot pool a task that another host declined, if that comes before what is first in the lanes.

    Whether it did; None: such a task is first, and waits for a free slot, so nothing may be shipped ahead of it.
    """
    choice, lanes = pool.choice, queue.lanes
    while choice is not None and (found := queue.declines.best(pool)) is not None:
        lane, row = found
        first = choice.best()
        front = None if first is None else first.front()
        if first is not None and front is not None and first.turn(front) < lane.turn(lane.window.key(row)):
            return False
        if pool.held >= pool.capacity:
            return None
        if (lane.bounds or lane.needs) and not lanes.tree.room(lane, 1, pool, step, lane.window.key(row)):
            continue
        declined = queue.declines.of(row.id)
        _give(queue, step, pool, [queue.take_out(row)], groups, left, declined)
        return True
    return False


def _item(queue: Queue, step: Step, row: Row, left: _Left) -> list[Any]:
    """A granted task as TASKS has it; params and checkpoints that memory does not hold are read when it is sent."""
    extra = _extra(row, row.options)
    params = row.params
    left.bytes -= _UNKNOWN_BYTES if params is None else len(params)
    if row.options and "splice" in row.options:
        step.spliced[row.id] = row.options["splice"]
        left.bytes -= _UNKNOWN_BYTES
        params = None
    if params is None:
        step.unloaded.append(row.id)
    if queue.checkpoints and row.id in queue.checkpoints:
        extra = {**(extra or {}), "checkpoint": None}
        step.resumed.append(row.id)
        left.bytes -= CHECKPOINT_BYTES_MAX
    return [row.id, row.fence, row.attempt, row.priority, row.sent_at, params, extra]


def _extra(row: Row, options: dict[str, Any] | None) -> dict[str, Any] | None:
    """What only some tasks have."""
    if options is None and not row.failures and row.losses < LOSSES_ALONE:
        return None
    extra: dict[str, Any] = {}
    if row.failures:
        extra["failures"] = row.failures
    if row.losses >= LOSSES_ALONE:
        extra["alone"] = True
    for key in ("tags", "timeout", "key"):
        if options and key in options:
            extra[key] = options[key]
    return extra or None


def _send(step: Step, host: HostSession, groups: dict[str, list[list[Any]]]) -> None:
    """TASKS for one host, split so that no frame grows too large."""
    if host.peer is None:
        return  # its leases stay; HELLO reconciles
    message: list[Any] = []
    size = 0
    for type, tasks in groups.items():
        start = 0
        for index, task in enumerate(tasks):
            unknown = RESULT_BYTES_MAX if task[0] in step.spliced else _UNKNOWN_BYTES
            size += _TASK_BYTES + (unknown if task[5] is None else len(task[5]))
            if task[6] is not None:
                size += _EXTRA_BYTES + (CHECKPOINT_BYTES_MAX if "checkpoint" in task[6] else 0)
            if size > _MESSAGE_BYTES:
                message.append([type, tasks[start : index + 1]])
                step.say(host.peer, Tasks(message))
                message, size, start = [], 0, index + 1
        if start < len(tasks):
            message.append([type, tasks[start:]])
    if message:
        step.say(host.peer, Tasks(message))
