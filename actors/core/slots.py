"""The host's slots: which lives, what each has in hand, what runs too long, what died with what. Pure.

A slot runs `width` tasks at a time; those it was fed beyond that wait behind them in its process. Every task in hand leaves
in exactly one of two ways: as an item of `results` (the attempt ended) or of `returned` (given back, nothing counted).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from heapq import heapify, heapreplace
from itertools import islice
from math import inf
from typing import Any, Final, Protocol

from ...transport.messages import Outcome, Returned
from .effects import Note
from .host_effects import CancelSlot, CloseSlot, Feed, HostEffect, Key, Kill, SlotTask, Spawn, Terminate, key_of
from .restarts import Restarts
from .stopping import Stage, Stopping, Why

BLOCKED_SECONDS: Final = 0.005
"""A slot whose task runs longer than this gets nothing to wait behind it while another slot can take it."""
_SUSPECTS_MAX: Final = 1000
_TIMEOUT: Final = 7  # where a SlotTask keeps its timeout


class SlotState(IntEnum):
    """Where a slot's process is."""

    DOWN = 0  # to be started when its time comes
    STARTING = 1
    READY = 2


class SlotNews(Protocol):
    """What a slot tells, see `slot_news.SlotNews`; `ready` is not for this table."""

    slot: int
    results: list[Any]
    progress: list[Any]
    returned: list[Any]
    exited: dict[str, Any] | None


class Slot:
    """One slot.

    Attributes:
        number: Names it for good; a slot that is started again keeps it.
        pool: The slot pool that it belongs to.
        width: How many tasks it runs at a time.
        retiring: It gets nothing new, ends when it is empty and is not started again.
        killed: We ended its process; nobody is to blame.
        tasks: In hand, in the order in which they were fed; the first `width` run.
        starts: When those that run began.
        stopping: Those that must stop.
        next: A task that waits for the slot to be empty, because it must run without neighbours.
        reserved: One such task waits or runs: nothing else is fed.
        due: When `SlotTable.tick` must look at it.
    """

    __slots__ = (
        "due", "killed", "next", "number", "pool", "reserved", "restarts", "retiring", "starts", "state", "stopping", "tasks",
        "width",
    )  # fmt: skip

    def __init__(self, number: int, pool: str, width: int) -> None:
        self.number, self.pool, self.width = number, pool, width
        self.restarts = Restarts()
        self.retiring = False
        self.clear(SlotState.STARTING)

    def clear(self, state: SlotState) -> None:
        """Begin anew, with empty hands."""
        self.state = state
        self.tasks: dict[Key, SlotTask] = {}
        self.starts: dict[Key, float] = {}
        self.stopping: dict[Key, Stopping] = {}
        self.next: SlotTask | None = None
        self.reserved = self.killed = False
        self.due = inf

    def __repr__(self) -> str:
        return f"<Slot {self.number} pool={self.pool!r} {self.state.name.lower()} {len(self.tasks)}/{self.width}>"

    def lives(self) -> bool:
        """Whether it counts as capacity."""
        return self.state is SlotState.READY and not self.retiring and not self.killed

    def blocked(self, now: float) -> bool:
        """Whether a task fed now would wait, behind tasks that are not of the quick kind."""
        return len(self.tasks) >= self.width and now - max(self.starts.values(), default=now) > BLOCKED_SECONDS

    def settle(self, now: float) -> None:
        """After `tasks` changed: note which ones run from now on, and when to look again."""
        if self.width == 1:  # the common case, and the hot path
            head = next(iter(self.tasks), None)
            if head is None:
                self.starts = {}
            elif head not in self.starts:
                self.starts = {head: now}
        else:
            starts = self.starts
            self.starts = {key: starts.get(key, now) for key in islice(self.tasks, self.width)}
        for key, stopping in self.stopping.items():
            if key in self.starts:
                stopping.begin(now)
        self.schedule()

    def schedule(self) -> None:
        """Recompute `due`."""
        due = inf
        for key, since in self.starts.items():
            timeout = self.tasks[key][_TIMEOUT]
            if timeout is not None and key not in self.stopping:
                due = min(due, since + timeout)
        for stopping in self.stopping.values():
            due = min(due, stopping.next_at)
        self.due = due


class SlotTable:
    """All slots of a host.

    Attributes:
        slots: By number.
        results: Ended attempts, items of RESULTS, for the host to take.
        returned: Tasks given back, items of RELEASE, for the host to take.
        progress: The latest progress of each task in hand.
        fresh: What of it nobody has been told yet.
        suspects: Ids that ran when a process died with none to blame: they run alone from now on, so that it will be known.
    """

    def __init__(self, isolation: str, effects: list[HostEffect]) -> None:
        self.isolation = isolation
        self.slots: dict[int, Slot] = {}
        self.results: list[Any] = []
        self.returned: list[Any] = []
        self.progress: dict[Key, list[Any]] = {}
        self.fresh: dict[Key, list[Any]] = {}
        self.suspects: dict[int, None] = {}
        self._effects = effects
        self._feeds: dict[int, list[SlotTask]] = {}
        self._pools: dict[str, list[Slot]] = {}
        self._last_number = 0

    # What it is made of

    def shape(self, pools: Mapping[str, int]) -> None:
        """Have so many slots in each pool: start those that are missing, retire those that are too many."""
        if self.isolation == "thread":
            missing = [(pool, count) for pool, count in pools.items() if count]
        else:
            missing = [(pool, 1) for pool, count in pools.items() for _ in range(count)]
        surplus: list[Slot] = []
        for slot in self.slots.values():
            if (slot.pool, slot.width) in missing and not slot.retiring:
                missing.remove((slot.pool, slot.width))
            elif not slot.retiring:
                surplus.append(slot)
        for slot in surplus:  # a slot can change its pool, because all run the same code
            pool = next((pool for pool, width in missing if width == slot.width), None)
            if pool is None:
                self._retire(slot)
            else:
                missing.remove((pool, slot.width))
                slot.pool = pool
        for pool, width in missing:
            self._add(pool, width)
        self._group()

    def _add(self, pool: str, width: int) -> None:
        self._last_number += 1
        self.slots[self._last_number] = Slot(self._last_number, pool, width)
        self._effects.append(Spawn(self._last_number, width))

    def _retire(self, slot: Slot) -> None:
        slot.retiring = True
        if slot.state is SlotState.DOWN:
            del self.slots[slot.number]
        elif not slot.tasks and slot.next is None:
            self._effects.append(CloseSlot(slot.number))

    def _group(self) -> None:
        self._pools = {}
        for slot in self.slots.values():
            if not slot.retiring:
                self._pools.setdefault(slot.pool, []).append(slot)

    def close(self) -> None:
        """Retire every slot."""
        for slot in list(self.slots.values()):
            self._retire(slot)
        self._group()

    def capacity(self) -> dict[str, int]:
        """How many tasks can run at a time now, by pool."""
        capacity = dict.fromkeys(self._pools, 0)
        for slot in self.slots.values():
            if slot.lives():
                capacity[slot.pool] += slot.width if not slot.reserved else len(slot.tasks) + (slot.next is not None)
        return capacity

    def in_hand(self) -> Iterable[SlotTask]:
        """Every task that is with a slot, or waits to be alone in one."""
        for slot in self.slots.values():
            yield from slot.tasks.values()
            if slot.next is not None:
                yield slot.next

    def idle(self) -> bool:
        """Whether nothing is in hand."""
        return not any(slot.tasks or slot.next for slot in self.slots.values())

    # Tasks go in

    def place(self, pool: str, tasks: Iterable[SlotTask], now: float) -> None:
        """Hand tasks, best first, to the least loaded slots of a pool; given back if no slot there lives."""
        slots = [slot for slot in self._pools.get(pool, ()) if slot.lives() and not slot.reserved]
        if not slots:
            for task in tasks:
                self._give_back(task, Returned.UNSTARTED, "no slot is ready")
            return
        self._spread([slot for slot in slots if not slot.blocked(now)] or slots, tasks, now)

    def _spread(self, slots: list[Slot], tasks: Iterable[SlotTask], now: float) -> None:
        """Each task to the slot that is least loaded by then."""
        load = [(len(slot.tasks) - slot.width, slot.number) for slot in slots]
        heapify(load)
        feeds: dict[int, list[SlotTask]] = {}
        for task in tasks:
            count, number = load[0]
            heapreplace(load, (count + 1, number))
            feeds.setdefault(number, []).append(task)
        for number, fed in feeds.items():
            slot = self.slots[number]
            slot.tasks.update([((task[0], task[1]), task) for task in fed])
            self._feeds.setdefault(number, []).extend(fed)
            slot.settle(now)

    def place_alone(self, pool: str, task: SlotTask, now: float) -> None:
        """Hand a task to a slot where nothing else runs beside it; given back for a second if each is reserved already."""
        slots = [slot for slot in self._pools.get(pool, ()) if slot.lives() and not slot.reserved]
        if not slots:
            self._give_back(task, Returned.UNSTARTED, "no slot is free of neighbours", after=1.0)
            return
        slot = min(slots, key=lambda slot: len(slot.tasks) - slot.width)
        slot.reserved = True
        slot.next = task
        self._advance(slot, now)

    def feeds(self) -> None:
        """Ask for what was placed to be fed: one frame per slot and batch."""
        for number, tasks in self._feeds.items():
            self._effects.append(Feed(number, tasks))
        self._feeds = {}

    # News comes out

    def ready(self, number: int) -> None:
        """A slot has loaded its code."""
        slot = self.slots.get(number)
        if slot is not None and slot.state is SlotState.STARTING:
            slot.state = SlotState.READY

    def news(self, news: SlotNews, now: float) -> None:
        """Whatever else a slot told."""
        slot = self.slots.get(news.slot)
        if slot is None or slot.state is SlotState.DOWN:
            return
        if news.results:
            self._ended(slot, news.results, now)
        for item in news.progress:
            key = key_of(item)
            if key in slot.tasks:
                self.progress[key] = self.fresh[key] = item
        if news.returned:
            self._came_back(slot, news.returned, now)
        if news.exited is not None:
            self._exited(slot, news.exited, now)

    def _ended(self, slot: Slot, items: list[Any], now: float) -> None:
        tasks, stopping, progress, append = slot.tasks, slot.stopping, self.progress, self.results.append
        for item in items:
            key = (item[0], item[1])
            task = tasks.pop(key, None)
            if task is None:
                continue
            if progress:
                self._forget_progress(key)
            stop = stopping.pop(key, None) if stopping else None
            if stop is None or (item[2] == Outcome.COMPLETED and stop.accepts_result()):
                append(item)
            else:
                self._stopped(slot, task, stop, item[4])
        slot.settle(now)
        self._advance(slot, now)

    def _came_back(self, slot: Slot, items: list[Any], now: float) -> None:
        again: list[SlotTask] = []
        for item in items:
            key = key_of(item)
            task = slot.tasks.pop(key, None)
            if task is None:
                continue
            self._forget_progress(key)
            stop = slot.stopping.pop(key, None)
            if stop is not None:
                self._stopped(slot, task, stop, 0.0)
            elif item[2] == Returned.UNSTARTED:
                again.append(task)
            else:
                self.returned.append(item)
        slot.settle(now)
        self._advance(slot, now)
        if again:
            self._place_again(slot, again, now)

    def _place_again(self, slot: Slot, tasks: list[SlotTask], now: float) -> None:
        """What stood behind a long task goes to a slot that moves, else back to the supervisor."""
        others = [
            other
            for other in self._pools.get(slot.pool, ())
            if other is not slot and other.lives() and not other.reserved and not other.blocked(now)
        ]
        if others:
            self._spread(others, tasks, now)
        else:
            for task in tasks:
                self._give_back(task, Returned.UNSTARTED, "its slot was blocked")

    def _exited(self, slot: Slot, exited: dict[str, Any], now: float) -> None:
        """The process is gone: one task may be to blame, the others come back, the slot is started again."""
        self._feeds.pop(slot.number, None)
        culprit = None if slot.killed else _culprit(slot, exited)
        for key, task in slot.tasks.items():
            self._forget_progress(key)
            stop = slot.stopping.get(key)
            duration = now - slot.starts[key] if key in slot.starts else 0.0
            if stop is not None:
                self._stopped(slot, task, stop, duration)
            elif key == culprit:
                self.results.append([*key, Outcome.CRASHED, b"", duration, slot.number, _crash(exited)])
            else:
                self._give_back(task, Returned.NEIGHBOUR, "its slot's process ended", started=key in slot.starts)
                if culprit is None and not slot.killed and key in slot.starts:
                    self._suspect(task[0])
        if slot.next is not None:
            self._give_back(slot.next, Returned.UNSTARTED, "its slot's process ended")
        self._start_again(slot, exited, culprit, now)

    def _start_again(self, slot: Slot, exited: dict[str, Any], culprit: Key | None, now: float) -> None:
        quiet = not slot.killed and (slot.state is not SlotState.READY or not slot.tasks)  # no task explains this death
        delay = slot.restarts.died(now) if quiet and not slot.retiring else 0.0
        if not slot.killed and not slot.retiring:
            event = "slot_died" if slot.state is SlotState.READY else "slot_failed_to_start"
            what = {"task": culprit[0]} if culprit is not None else {}
            fields = {"slot": slot.number, **what, **_crash(exited), "restart_in": round(delay, 1)}
            self._effects.append(Note("warning", event, fields))
        if slot.retiring:
            del self.slots[slot.number]
            return
        slot.clear(SlotState.DOWN if delay else SlotState.STARTING)
        if delay:
            slot.due = now + delay
        else:
            self._effects.append(Spawn(slot.number, slot.width))

    def _suspect(self, id: int) -> None:
        self.suspects[id] = None
        if len(self.suspects) > _SUSPECTS_MAX:
            del self.suspects[next(iter(self.suspects))]

    def _advance(self, slot: Slot, now: float) -> None:
        """A slot may have become empty."""
        if slot.tasks:
            if slot.stopping:
                self._kill_if_hopeless(slot)
            return
        if slot.next is not None:
            task, slot.next = slot.next, None
            self._spread([slot], [task], now)
        elif slot.killed:  # its task ended in time, but a process that got SIGTERM is no good any more
            self._effects.append(Kill(slot.number))
        elif slot.retiring:
            self._effects.append(CloseSlot(slot.number))
        else:
            slot.reserved = False

    def _forget_progress(self, key: Key) -> None:
        self.progress.pop(key, None)
        self.fresh.pop(key, None)

    def _give_back(
        self, task: SlotTask, code: Returned, note: str, *, after: float = 0.0, started: bool = False
    ) -> None:
        self.returned.append([task[0], task[1], code, after, note, started])

    # Stopping

    def stop(self, wanted: Callable[[SlotTask], bool], why: Why, now: float, *, within: float | None = None) -> None:
        """Stop the tasks in hand that are wanted: ask, then terminate, then kill.

        Args:
            wanted: Which ones.
            why: The reason; it decides what is reported.
            now: The time.
            within: Seconds until the process is killed; None: the reason's own.
        """
        for slot in self.slots.values():
            if slot.next is not None and wanted(slot.next):
                self._stopped(slot, slot.next, Stopping(why), 0.0)
                slot.next = None
                slot.reserved = bool(slot.tasks)
            keys = [key for key, task in slot.tasks.items() if wanted(task) and key not in slot.stopping]
            for key in keys:
                self._ask(slot, key, Stopping(why, within), now)
            if keys:
                slot.schedule()

    def _ask(self, slot: Slot, key: Key, stopping: Stopping, now: float) -> None:
        if fed := self._feeds.pop(slot.number, None):  # asking before the task is there would be in vain
            self._effects.append(Feed(slot.number, fed))
        slot.stopping[key] = stopping
        self._effects.append(CancelSlot(slot.number, *key))
        if key in slot.starts or stopping.at_once():
            stopping.begin(now)

    def tick(self, now: float) -> None:
        """Timeouts, the next step with those that do not stop, and slots whose time to start again has come."""
        for slot in list(self.slots.values()):
            if slot.due > now:
                continue
            if slot.state is SlotState.DOWN:
                slot.clear(SlotState.STARTING)
                self._effects.append(Spawn(slot.number, slot.width))
                continue
            for key, since in slot.starts.items():
                timeout = slot.tasks[key][_TIMEOUT]
                if timeout is not None and since + timeout <= now and key not in slot.stopping:
                    self._ask(slot, key, Stopping(Why.TIMEOUT), now)
            for key, stopping in list(slot.stopping.items()):
                if stopping.next_at <= now:
                    self._press(slot, key, stopping, now)
            slot.schedule()

    def _press(self, slot: Slot, key: Key, stopping: Stopping, now: float) -> None:
        """The next step with a task that was asked to stop and has not."""
        stopping.advance(now)
        if self.isolation == "process":
            slot.killed = True
            self._effects.append(Kill(slot.number) if stopping.stage is Stage.KILL else Terminate(slot.number))
            if stopping.stage is Stage.KILL:
                fields = {"slot": slot.number, "task": key[0], "why": stopping.why.value}
                self._effects.append(Note("info", "slot_killed", fields))
            return
        stopping.give_up()
        fields = {"slot": slot.number, "task": key[0], "why": stopping.why.value, "isolation": self.isolation}
        self._effects.append(Note("warning", "task_does_not_stop", fields))
        if self.isolation == "thread" and not slot.retiring:
            self._replace(slot)
        self._kill_if_hopeless(slot)

    def _replace(self, slot: Slot) -> None:
        """One task of a shared process cannot be killed alone: its neighbours finish there, new tasks go elsewhere."""
        slot.retiring = True
        self._add(slot.pool, slot.width)
        self._group()

    def _kill_if_hopeless(self, slot: Slot) -> None:
        """Kill a shared process when nothing runs in it but tasks that do not stop."""
        if self.isolation != "thread" or slot.killed or not slot.retiring:
            return
        if all(key in slot.stopping and slot.stopping[key].stage is Stage.GIVEN_UP for key in slot.starts):
            slot.killed = True
            self._effects.append(Kill(slot.number))

    def _stopped(self, slot: Slot, task: SlotTask, stopping: Stopping, duration: float) -> None:
        """A task that had to stop has ended, one way or the other."""
        started = duration > 0 or key_of(task) in slot.starts
        report = stopping.report(task, duration, slot.number, started=started)
        (self.results if stopping.counts() else self.returned).append(report)

    def due(self) -> float:
        """When `tick` has something to do; `inf` if never."""
        return min((slot.due for slot in self.slots.values()), default=inf)

    def abandon(self) -> None:
        """The host leaves now: kill every slot and give back what is in hand."""
        for slot in self.slots.values():
            for key, task in slot.tasks.items():
                self._give_back(task, Returned.DRAIN, "the host leaves", started=key in slot.starts)
            if slot.next is not None:
                self._give_back(slot.next, Returned.DRAIN, "the host leaves")
            if slot.state is not SlotState.DOWN:
                self._effects.append(Kill(slot.number))
        self.slots, self._pools, self._feeds = {}, {}, {}


def _culprit(slot: Slot, exited: dict[str, Any]) -> Key | None:
    """The task to blame for a death: the only one that ran, or the only one there was."""
    running = exited.get("running")
    key = (running[0], running[1]) if running else None
    if key in slot.tasks:
        return key
    return next(iter(slot.tasks)) if len(slot.tasks) == 1 else None


def _crash(exited: dict[str, Any]) -> dict[str, Any]:
    names = ("cause", "message", "signal", "exit_code", "memory")
    return {name: exited[name] for name in names if exited.get(name) is not None}
