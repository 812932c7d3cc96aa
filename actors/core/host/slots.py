"""A host's slots: which there are, which lives, what each has in hand. Pure.

A slot runs `width` tasks at a time; those it was fed beyond that wait behind them in its process.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from enum import IntEnum
from itertools import islice
from math import inf
from typing import Any, Final

from ....workers.source import Environment
from ..restarts import Restarts
from .consumption import FREE, Consumption, bounds
from .environments import Environments
from .host_effects import CloseSlot, Confine, HostEffect, Key, Kill, Measure, Serve, SlotTask, Spawn
from .output import Heard
from .stopping import Stopping, Why

BLOCKED_SECONDS: Final = 0.005
"""A slot whose task runs longer than this gets nothing to wait behind it while another slot can take it."""

UNBEGUN_MAX: Final = 2
"""Deaths of processes before a task began that it is not blamed for: else it would be run, and kill, for ever."""


class SlotState(IntEnum):
    """Where a slot's process is."""

    DOWN = 0  # to be started when its time comes
    STARTING = 1
    READY = 2


class Slot:
    """One slot.

    Attributes:
        number: Names it for good; a slot that is started again keeps it.
        pool: The slot pool that it belongs to.
        environment: Where its process lives and how it runs tasks.
        width: How many tasks it runs at a time.
        retiring: It gets nothing new, ends when it is empty and is not started again.
        fresh: It was only started to hear what can be run of the code as it is now; it never gets a task.
        outdated: It runs what is served no more: it gets nothing new, and is replaced when it is empty.
        idle_since: When it became empty.
        worn: Its process said that it should be replaced: it gets nothing new, and ends when it is empty.
        killed: We ended its process; nobody is to blame.
        tasks: In hand, in the order in which they were fed; the first `width` run.
        starts: When those that run began.
        bounds: What its processes are held to.
        watched: Of those that run under limits or must report progress: what they have used.
        stopping: Those that must stop.
        output: What tasks in hand wrote, by id.
        next: A task that waits for the slot to be empty, because it must run without neighbours.
        reserved: One such task waits or runs: nothing else is fed.
        due: When `SlotTable.tick` must look at it.
        start_failed: Why its process could not be started when it was tried last, or "".
    """

    __slots__ = (
        "bounds",
        "due",
        "environment",
        "fresh",
        "idle_since",
        "killed",
        "next",
        "number",
        "outdated",
        "output",
        "pool",
        "reserved",
        "restarts",
        "retiring",
        "start_failed",
        "starts",
        "state",
        "stopping",
        "tasks",
        "watched",
        "width",
        "worn",
    )

    def __init__(self, number: int, pool: str, width: int, environment: Environment) -> None:
        self.number, self.pool, self.width, self.environment = number, pool, width, environment
        self.restarts = Restarts()
        self.retiring = self.fresh = False
        self.idle_since = 0.0
        self.start_failed = ""
        self.clear(SlotState.STARTING)

    def clear(self, state: SlotState) -> None:
        """Begin anew, with empty hands."""
        self.state = state
        self.tasks: dict[Key, SlotTask] = {}
        self.starts: dict[Key, float] = {}
        self.bounds = FREE
        self.watched: dict[Key, Consumption] = {}
        self.stopping: dict[Key, Stopping] = {}
        self.output: dict[int, Heard] = {}
        self.next: SlotTask | None = None
        self.reserved = self.killed = self.worn = self.outdated = False
        self.due = inf

    def __repr__(self) -> str:
        return f"<Slot {self.number} pool={self.pool!r} {self.state.name.lower()} {len(self.tasks)}/{self.width}>"

    def measured(self) -> bool:
        """Whether what a task uses can be told, because it has a process of its own."""
        return self.environment.isolation == "process" and self.width == 1

    def lives(self) -> bool:
        """Whether it counts as capacity."""
        return self.state is SlotState.READY and not (self.retiring or self.killed or self.leaves())

    def holds(self) -> bool:
        """Whether it takes nothing now, and what it has in hand has its place all the same."""
        waits = self.state is SlotState.STARTING or self.leaves()
        return bool(self.tasks) and waits and not (self.retiring or self.killed)

    def leaves(self) -> bool:
        """Whether another one takes its place as soon as it is empty."""
        return self.worn or self.outdated

    def idle(self) -> bool:
        """Whether it is ready and has nothing in hand."""
        return self.takes() and not self.tasks

    def takes(self) -> bool:
        """Whether tasks may be fed to it."""
        return self.lives() and not self.reserved

    def load(self) -> int:
        """Tasks in hand, less those that it can run at a time: below zero there is room."""
        return len(self.tasks) - self.width

    def blocked(self, now: float) -> bool:
        """Whether a task fed now would wait, and behind tasks that are not of the quick kind."""
        return self.load() >= 0 and now - max(self.starts.values(), default=now) > BLOCKED_SECONDS

    def settle(self, now: float) -> None:
        """After `tasks` changed: note which ones run from now on, and when to look again."""
        if self.state is not SlotState.READY:  # they wait for its process
            return
        if not self.tasks:
            self.idle_since = now
        if self.width == 1:  # the common case, and the hot path
            head = next(iter(self.tasks), None)
            if head is None:
                self.starts = {}
            elif head not in self.starts:
                self.starts = {head: now}
        else:
            starts = self.starts
            self.starts = {key: starts.get(key, now) for key in islice(self.tasks, self.width)}
        self._watch(now)
        for key, stopping in self.stopping.items():
            if key in self.starts:
                stopping.begin(now)
        self.schedule()

    def _watch(self, now: float) -> None:
        """Begin to watch those that have begun to run and are to be watched, and cease with those that have ended."""
        if self.watched:
            self.watched = {key: one for key, one in self.watched.items() if key in self.starts}
        for key in self.starts:
            extra = self.tasks[key][11]
            if extra is not None and key not in self.watched:
                watched = Consumption(extra, now, measured=self.measured())
                if watched.due() < inf:
                    self.watched[key] = watched

    def schedule(self) -> None:
        """Recompute `due`."""
        due = inf
        for key, since in self.starts.items():
            timeout = self.tasks[key][7]
            if timeout is not None and key not in self.stopping:
                due = min(due, since + timeout)
        for stopping in self.stopping.values():
            due = min(due, stopping.next_at)
        for key, watched in self.watched.items():
            if key not in self.stopping:
                due = min(due, watched.due())
        self.due = due

    def overdue(self, now: float) -> list[tuple[Key, Stopping]]:
        """Tasks that have run longer than their timeout, or were silent too long, and were not yet asked to stop."""
        found = [
            (key, Stopping(Why.TIMEOUT))
            for key, since in self.starts.items()
            if (timeout := self.tasks[key][7]) is not None and since + timeout <= now and key not in self.stopping
        ]
        for key, watched in self.watched.items():
            silent = watched.silent(now)
            if silent is not None and key not in self.stopping and all(key != late for late, _ in found):
                found.append((key, silent))
        return found

    def unmeasured(self, now: float) -> list[HostEffect]:
        """Ask for the figures of what runs under limits, where they are due."""
        asked: list[HostEffect] = []
        for key, watched in self.watched.items():
            if watched.measure_at <= now:
                watched.asked(now)
                if key not in self.stopping:
                    asked.append(Measure(self.number, *key, watched.memory()))
        return asked

    def confined(self) -> list[HostEffect]:
        """Hold the processes to what the tasks in hand may use, where that has changed."""
        wanted = bounds(self.tasks.values()) if self.measured() else FREE
        if wanted == self.bounds:
            return []
        self.bounds = wanted
        return [Confine(self.number, *wanted)]

    def heard(self, lines: Iterable[tuple[int, str]], followed: Container[Key]) -> None:
        """Keep the last of what the tasks in hand write; more of those that somebody listens to."""
        keys = {key[0]: key for key in self.tasks}
        for id, text in lines:
            if (key := keys.get(id)) is not None:
                if (heard := self.output.get(id)) is None:
                    heard = self.output[id] = Heard()
                heard.add(text, followed=key in followed)

    def begun(self, exited: Mapping[str, Any]) -> list[Key]:
        """Which of the tasks in hand ran when the process died, by its own notes."""
        return [(id, fence) for id, fence in exited["started"] if (id, fence) in self.tasks]

    def culprit(self, exited: Mapping[str, Any], suspects: Mapping[int, int]) -> Key | None:
        """The task to blame for the process's death: the only one that ran. What had not begun has done nothing, but if
        processes die too often with it alone in hand it is what they die of, as under a limit that the code exceeds.
        """
        if self.killed or self.state is not SlotState.READY:
            return None
        if not exited["started"] and len(self.tasks) == 1:
            key = next(iter(self.tasks))
            return key if suspects.get(key[0], 0) >= UNBEGUN_MAX else None
        begun = self.begun(exited)
        return begun[0] if len(begun) == 1 else None


class Roster:
    """Which slots there are, by pool.

    Attributes:
        environments: Where tasks of a slot pool run; `thread` is one slot per pool, as wide as the pool.
        slots: By number.
        changed: Whether `capacity` may have changed since somebody set this to False.
        closed: Whether every slot was retired for good.
    """

    def __init__(self, environments: Environments, effects: list[HostEffect]) -> None:
        self.environments = environments
        self.slots: dict[int, Slot] = {}
        self.changed = True
        self._effects = effects
        self._names: tuple[str, ...] = ()
        self._pools: dict[str, list[Slot]] = {}
        self._last_number = 0
        self.closed = False

    def shape(self, pools: Mapping[str, int]) -> None:
        """Have so many slots in each pool: start those that are missing, retire those that are too many."""
        self._names = tuple(pools)
        missing = [(pool, width) for pool, count in pools.items() for width in self._widths(pool, count)]
        surplus: list[Slot] = []
        for slot in self.slots.values():
            if slot.retiring:
                continue
            if (slot.pool, slot.width) in missing:
                missing.remove((slot.pool, slot.width))
            else:
                surplus.append(slot)
        for slot in surplus:  # a slot can change its pool, where both run the same code
            fitting = (pool for pool, width in missing if width == slot.width and self._fits(slot, pool))
            pool = next(fitting, None)
            if pool is None:
                self._retire(slot)
            else:
                missing.remove((pool, slot.width))
                slot.pool = pool
        for pool, width in missing:
            self._add(pool, width, self.environments.of(pool))
        self._group()

    def _widths(self, pool: str, count: int) -> list[int]:
        """How many tasks at a time each slot of a pool runs, so that together they run `count`."""
        environment = self.environments.of(pool)
        if environment.isolation == "thread":
            return [count] if count else []
        each = environment.concurrency
        return [each] * (count // each) + ([count % each] if count % each else [])

    def _fits(self, slot: Slot, pool: str) -> bool:
        return slot.environment.shares(self.environments.of(pool))

    def _add(self, pool: str, width: int, environment: Environment, *, fresh: bool = False) -> Slot:
        self._last_number += 1
        slot = self.slots[self._last_number] = Slot(self._last_number, pool, width, environment)
        slot.fresh = fresh
        self._spawn(slot)
        return slot

    def _spawn(self, slot: Slot) -> None:
        own = None if slot.environment == self.environments.base else slot.environment
        self._effects.append(Spawn(slot.number, slot.width, own, slot.fresh))

    def check(self, environment: Environment, *, fresh: bool = False) -> int:
        """Start a slot beside those that count, which ends when it has said what an environment can run; its number.

        `fresh`: of the code as it is on the disk now, which is not served before `serve` says so.
        """
        slot = self._add("", 1, environment, fresh=fresh)
        slot.retiring = True
        return slot.number

    def drop(self, number: int) -> None:
        """Nobody waits any more for what a slot that `check` started has to say: it may never end by itself."""
        self.slots[number].killed = True
        self._effects.append(Kill(number))

    def started(self, environment: Environment) -> bool:
        """Whether there is a slot of an environment that runs what is served there."""
        return any(slot.environment == environment and not slot.outdated for slot in self.slots.values())

    def tells(self, environment: Environment) -> bool:
        """Whether a slot of an environment has said what can be run of what is served there, or is about to."""
        slots = (slot for slot in self.slots.values() if slot.environment == environment and not slot.outdated)
        starting = SlotState.STARTING  # a fresh one may be about to speak, and for new code alone
        return any(not slot.retiring or (slot.state is starting and not slot.fresh) for slot in slots)

    def awaits(self, environment: Environment, but: int) -> bool:
        """Whether a slot of an environment, another than this one, is on its way."""
        others = (slot for number, slot in self.slots.items() if number != but)
        return any(slot.state is SlotState.STARTING and slot.environment == environment for slot in others)

    def newest(self) -> int:
        """The number of the slot that was made last."""
        return self._last_number

    def renew(self, environments: Container[Environment], newest: float = inf) -> None:
        """Slots of these environments run what is served no more, and those of environments that there are no longer,
        but for those that were made after the one with the number `newest`.

        Each is replaced when it is empty, so that no code and no memory is there twice. Only a process in which many
        tasks run is replaced at once and ends when it is empty: it would never be, or keep all of them waiting.
        """
        left = self.environments.all()
        for slot in list(self.slots.values()):
            stays = slot.environment in left and slot.environment not in environments
            if slot.number > newest or slot.state is SlotState.DOWN or stays:
                continue
            if slot.retiring:  # what it is about to say of its code is not true any more
                slot.outdated |= slot.state is SlotState.STARTING
                continue
            self.changed = slot.outdated = True
            if (not slot.tasks and slot.next is None) or not slot.environment.replaceable():
                self.replace(slot)

    def serve(self, slot: Slot) -> None:
        """What a fresh slot has loaded is the code of its environment from now on."""
        self._effects.append(Serve(slot.number))
        self.renew((slot.environment,))

    def replace(self, slot: Slot) -> None:
        """Start another slot in place of one that ends when it is empty."""
        self._retire(slot)
        self._add(slot.pool, slot.width, self._place_of(slot))
        self._group()

    def _place_of(self, slot: Slot) -> Environment:
        """The environment of a slot, or that of its pool if it is there no more."""
        there = slot.environment in self.environments.all()
        return slot.environment if there else self.environments.of(slot.pool)

    def _retire(self, slot: Slot) -> None:
        slot.retiring = True
        if slot.state is SlotState.DOWN:
            del self.slots[slot.number]
        elif not slot.tasks and slot.next is None:
            self._effects.append(CloseSlot(slot.number))

    def _group(self) -> None:
        self.changed = True
        self._pools = {}
        for slot in self.slots.values():
            if not slot.retiring:
                self._pools.setdefault(slot.pool, []).append(slot)

    def taking(self, pool: str, environment: Environment) -> list[Slot]:
        """The slots of a pool to which tasks of an environment may be fed."""
        return [slot for slot in self._pools.get(pool, ()) if slot.takes() and slot.environment == environment]

    def change(self, pool: str, environment: Environment, count: int) -> list[Slot]:
        """Replace at most so many idle slots of a pool by ones of this environment, those idle longest first.

        Returns:
            The new ones, in which tasks wait until they are ready.
        """
        idle = [slot for slot in self._pools.get(pool, ()) if slot.idle() and slot.environment != environment]
        changed: list[Slot] = []
        for slot in sorted(idle, key=lambda slot: slot.idle_since)[:count]:
            self._retire(slot)
            changed.append(self._add(pool, slot.width, environment))
        if changed:
            self._group()
        return changed

    def starting(self, pool: str, environment: Environment) -> list[Slot]:
        """The slots of a pool that are being started in this environment, with tasks that wait for that."""
        return [
            slot
            for slot in self._pools.get(pool, ())
            if slot.state is SlotState.STARTING
            and slot.environment == environment
            and slot.tasks
            and not (slot.reserved or slot.leaves())
        ]

    def ready(self, number: int, now: float = 0.0, *, other: bool = False) -> None:
        """A slot has loaded its code; what waited for that runs. `other`: it is not the code that is served."""
        slot = self.slots.get(number)
        if slot is not None and slot.state is SlotState.STARTING:
            slot.state = SlotState.READY
            slot.start_failed = ""
            slot.settle(now)
            self.changed = True
            slot.outdated |= other
            if slot.retiring and not slot.tasks:
                self._effects.append(CloseSlot(slot.number))
            elif slot.outdated and not slot.tasks and slot.next is None:
                self.replace(slot)

    def close(self) -> None:
        """Retire every slot, for good."""
        self.closed = True
        for slot in [slot for slot in self.slots.values() if not slot.retiring or slot.killed]:
            self._retire(slot)
        self._group()

    def capacity(self) -> dict[str, int]:
        """How many tasks can run at a time now, by pool."""
        capacity = dict.fromkeys(self._names, 0)
        for slot in self.slots.values():
            if slot.lives():
                full = len(slot.tasks) + (slot.next is not None)
                capacity[slot.pool] += min(full, slot.width) if slot.reserved else slot.width
            elif slot.holds():
                capacity[slot.pool] += min(len(slot.tasks), slot.width)
        return capacity

    def start_failed(self) -> dict[str, str]:
        """Slot pools with slots that count and whose process cannot be started, and why the first of them cannot."""
        failed: dict[str, str] = {}
        for slot in self.slots.values():
            if slot.start_failed and not slot.retiring:
                failed.setdefault(slot.pool, slot.start_failed)
        return failed

    def in_hand(self) -> Iterable[SlotTask]:
        """Every task that is with a slot, or waits to be alone in one."""
        for slot in self.slots.values():
            yield from slot.tasks.values()
            if slot.next is not None:
                yield slot.next

    def idle(self) -> bool:
        """Whether nothing is in hand."""
        return not any(slot.tasks or slot.next for slot in self.slots.values())
