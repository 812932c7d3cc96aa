"""What goes into a host's slots and what comes out: placing tasks, stopping them, surviving the deaths of slots. Pure.

Every task in hand leaves in exactly one of two ways: the attempt ended (`Outbox.results`), or it was given back with
nothing counted (`Outbox.returned`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heapify, heapreplace
from math import inf
from operator import attrgetter, itemgetter
from typing import Any, Final, Protocol

from ....transport.messages import Outcome, Returned
from ....workers.source import Environment
from ..effects import Note
from .consumption import FREE, Usage
from .environments import Environments
from .host_effects import CancelSlot, CloseSlot, Feed, HostEffect, Key, Kill, SlotTask, Terminate, key_of
from .outbox import Outbox
from .output import Listening
from .slots import Roster, Slot, SlotState
from .stopping import Stage, Stopping, Why

_EXTRA: Final = itemgetter(11)
_due: Final = attrgetter("due")
_SUSPECTS_MAX: Final = 1000
_NOTE_LENGTH_MAX: Final = 1024


class SlotNews(Protocol):
    """What a slot tells, see `slot_news.SlotNews`."""

    slot: int
    ready: dict[str, Any] | None
    results: list[Any]
    progress: list[Any]
    checkpoints: list[Any]
    returned: list[Any]
    lines: list[tuple[int, str]]
    exited: dict[str, Any] | None
    usage: dict[str, Any] | None
    worn: str


class SlotTable(Roster):
    """All slots of a host and all tasks in hand.

    Attributes:
        suspects: Ids that ran, or were about to, when a process died with none to blame -> how often they had not
            begun. They run alone from now on, so that the one that kills its process will be known.
        listening: Whose output somebody wants to hear.
    """

    def __init__(self, environments: Environments, outbox: Outbox, effects: list[HostEffect]) -> None:
        super().__init__(environments, effects)
        self.suspects: dict[int, int] = {}
        self.listening = Listening()
        self._outbox = outbox
        self._feeds: dict[int, list[SlotTask]] = {}

    # What tasks write

    def _over(self, slot: Slot, key: Key, *, completed: bool = False) -> dict[str, Any]:
        """An attempt is in hand no more, however it left: what was kept while it was is done with.

        Args:
            slot: Where it was.
            key: Which one.
            completed: Whether its result counts, so that no attempt follows.

        Returns:
            `output` for its detail: the last that its task wrote.
        """
        self._outbox.ended(key, completed=completed)
        heard = slot.output.pop(key[0], None)
        self.listening.ended(key, heard)
        return {} if heard is None else {"output": heard.kept()}

    def listen(self, now: float) -> list[Any]:
        """Items of OUTPUT: what is new of the attempts that somebody listens to."""
        listening = self.listening
        if listening.falls_due(now):
            for slot in self.slots.values():
                for key in slot.tasks.keys() & listening.wanted.keys():
                    listening.say(key, slot.output.get(key[0]))
        items, listening.items = listening.items, []
        return items

    # Tasks go in

    def place(self, pool: str, tasks: Sequence[SlotTask], now: float, environment: Environment | None = None) -> None:
        """Hand tasks of one environment (None: the pool's own), best first, to the least loaded slots of a pool.

        Where all that are of this environment are in a long task, or there is none, idle ones of another are replaced.
        Given back if nothing helps.
        """
        environment = self.environments.of(pool) if environment is None else environment
        slots = self.taking(pool, environment)
        ways = [slot for slot in slots if not slot.blocked(now)] or self.change(pool, environment, len(tasks))
        if ways := ways or slots or self.starting(pool, environment):
            self._spread(ways, tasks, now)
            return
        for task in tasks:
            self._give_back(task, Returned.NEIGHBOUR, "its slot was replaced")

    def _spread(self, slots: list[Slot], tasks: Iterable[SlotTask], now: float) -> None:
        """Each task to the slot that is least loaded by then."""
        load = [(slot.load(), slot.number) for slot in slots]
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

    def place_alone(self, pool: str, task: SlotTask, now: float, environment: Environment | None = None) -> None:
        """Hand a task to a slot where nothing else runs beside it; given back for a second if each has such a task."""
        environment = self.environments.of(pool) if environment is None else environment
        slots = self.taking(pool, environment)
        if not any(slot.idle() for slot in slots):
            slots = self.change(pool, environment, 1) or slots
        if not slots:
            self._give_back(task, Returned.NEIGHBOUR, "no slot is free of neighbours", after=1.0)
            return
        slot = min(slots, key=Slot.load)
        slot.reserved = True
        slot.next = task
        self._advance(slot, now)

    def feed(self) -> None:
        """Ask for what was placed to be fed: one frame per slot and batch."""
        for number, tasks in self._feeds.items():
            self._feed(self.slots[number], tasks)
        self._feeds = {}

    def _feed(self, slot: Slot, tasks: list[SlotTask]) -> None:
        if slot.bounds is not FREE or any(map(_EXTRA, tasks)):
            self._effects.extend(slot.confined())
        self._effects.append(Feed(slot.number, tasks))

    # News comes out

    def news(self, news: SlotNews, now: float) -> None:
        """What a slot told."""
        slot = self.slots.get(news.slot)
        if slot is None or slot.state is SlotState.DOWN:
            return
        if news.ready is not None:
            self.ready(news.slot, now, other=news.ready.get("other", False))
        if news.lines:
            slot.heard(news.lines, self.listening.wanted)
            self.listening.heard()
        for item in news.checkpoints:
            if (key := key_of(item)) in slot.tasks:
                self._outbox.save(item)
                if key in slot.watched:
                    slot.watched[key].heard(now)
        if news.worn:
            self._worn(slot, news.worn)
        if news.usage is not None:
            self._used(slot, Usage(**news.usage), now)
        if news.results and slot.tasks:
            self._ended(slot, news.results, now)
        for item in news.progress:
            if (key := key_of(item)) in slot.tasks:
                self._outbox.report(item)
                if key in slot.watched:
                    slot.watched[key].heard(now)
        if news.returned and slot.tasks:
            self._came_back(slot, news.returned, now)
        if news.exited is not None:
            self._exited(slot, news.exited, now)

    def _worn(self, slot: Slot, reason: str) -> None:
        """A process is not what it was: another one takes its place when it is empty."""
        if slot.lives():
            self.changed = slot.worn = True
            self._effects.append(Note("info", "slot_replaced", {"slot": slot.number, "reason": reason}))
            if not slot.tasks and slot.next is None:
                self._effects.append(CloseSlot(slot.number))

    def _used(self, slot: Slot, usage: Usage, now: float) -> None:
        """What an attempt under limits uses: beyond them it is stopped."""
        key = (usage.id, usage.fence)
        watched = slot.watched.get(key)
        if watched is not None and key not in slot.stopping and (stopping := watched.judge(usage)) is not None:
            fields = {"slot": slot.number, "task": usage.id, "limit": stopping.why.value, "reason": stopping.message}
            self._effects.append(Note("warning", "limit_exceeded", fields))
            self._ask(slot, key, stopping, now)
            slot.schedule()

    def _ended(self, slot: Slot, items: list[Any], now: float) -> None:
        tasks, stopping, append = slot.tasks, slot.stopping, self._outbox.results.append
        watched = bool(self._outbox.progress or self._outbox.checkpoints or self.listening.wanted)
        for item in items:
            key = (item[0], item[1])
            task = tasks.pop(key, None)
            if task is None:
                continue
            stop = stopping.pop(key, None) if stopping else None
            completed = item[2] == Outcome.COMPLETED
            if stop is None or (completed and stop.accepts_result()):
                if (watched or slot.output) and (said := self._over(slot, key, completed=completed)):
                    item[6] = {**said, **(item[6] or {})}
                append(item)
            else:
                self._stopped(slot, task, stop, item[4])
        self._settled(slot, now)

    def _came_back(self, slot: Slot, items: list[Any], now: float) -> None:
        again: list[SlotTask] = []
        for item in items:
            key = key_of(item)
            task = slot.tasks.pop(key, None)
            if task is None:
                continue
            stop = slot.stopping.pop(key, None)
            if stop is not None:
                self._stopped(slot, task, stop, 0.0)
                continue
            said = self._over(slot, key)
            if item[2] == Returned.UNSTARTED:
                again.append(task)
            else:
                self._give_back(
                    task, item[2], str(item[4])[:_NOTE_LENGTH_MAX], after=item[3], started=item[5], told=said
                )
        self._settled(slot, now)
        if again:
            self._place_again(slot, again, now)

    def _settled(self, slot: Slot, now: float) -> None:
        """Some of its tasks have ended."""
        slot.settle(now)
        if slot.bounds is not FREE and slot.tasks:  # without any, what an earlier one left running stays within them
            self._effects.extend(slot.confined())
        self._advance(slot, now)

    def _place_again(self, slot: Slot, tasks: list[SlotTask], now: float) -> None:
        """What stood behind a long task goes to a slot that moves, else back to the supervisor."""
        ways = self.taking(slot.pool, slot.environment)
        ways = [other for other in ways if other is not slot and not other.blocked(now)]
        if ways := ways or self.change(slot.pool, slot.environment, len(tasks)):
            self._spread(ways, tasks, now)
            return
        for task in tasks:
            self._give_back(task, Returned.UNSTARTED, "its slot was blocked")

    def _exited(self, slot: Slot, exited: dict[str, Any], now: float) -> None:
        """The process is gone: one task may be to blame, the others come back, the slot is started again."""
        self.changed = True
        self._feeds.pop(slot.number, None)
        culprit, begun = slot.culprit(exited, self.suspects), slot.begun(exited)
        for key, task in slot.tasks.items():
            stop = slot.stopping.get(key)
            duration = now - slot.starts[key] if key in slot.starts else 0.0
            if stop is not None:
                self._stopped(slot, task, stop, duration, exited)
            elif key == culprit:
                detail = {**_told(exited), **self._over(slot, key)}
                if key not in begun:
                    detail["message"] = f"{detail.get('message', '')}; the task had not begun"
                self._outbox.results.append([*key, Outcome.CRASHED, b"", duration, slot.number, detail])
            else:
                note = "its slot's process ended"
                told = {**_told(exited), **self._over(slot, key), "cause": "neighbour"}
                told.pop("message", None)
                started = key in slot.starts and bool(exited["started"])
                self._give_back(task, Returned.NEIGHBOUR, note, started=started, told=told)
                if culprit is None and not slot.killed and key in slot.starts:
                    if key in begun:
                        self._suspect(task[0])
                    elif not exited["started"]:
                        self._suspect(task[0], unbegun=1)
        if slot.next is not None:
            self._give_back(slot.next, Returned.NEIGHBOUR, "its slot's process ended")
        self._start_again(slot, exited, culprit, now)

    def _start_again(self, slot: Slot, exited: dict[str, Any], culprit: Key | None, now: float) -> None:
        if slot.retiring:
            del self.slots[slot.number]
            return
        started, unexplained = slot.state is SlotState.READY, culprit is None and not slot.begun(exited)
        expected = slot.killed or (slot.worn and not slot.tasks)
        delay = slot.restarts.died(now) if not expected and (unexplained or not started) else 0.0
        if not expected:
            fields = {"slot": slot.number, **_told(exited), "restart_in": delay}
            if culprit is not None:
                fields["task"] = culprit[0]
            self._effects.append(Note("warning", "slot_died" if started else "slot_failed_to_start", fields))
        slot.clear(SlotState.DOWN if delay else SlotState.STARTING)
        # one that broke keeps no slot from others
        environment = self._place_of(slot) if started else self.environments.of(slot.pool)
        if not started and not expected and environment == slot.environment:
            slot.start_failed = str(exited.get("message", ""))[:_NOTE_LENGTH_MAX]
        slot.environment = environment
        if delay:
            slot.due = now + delay
        else:
            self._spawn(slot)

    def _suspect(self, id: int, unbegun: int = 0) -> None:
        self.suspects[id] = self.suspects.pop(id, 0) + unbegun
        if len(self.suspects) > _SUSPECTS_MAX:
            del self.suspects[next(iter(self.suspects))]

    def _advance(self, slot: Slot, now: float) -> None:
        """A slot may have become empty."""
        self.changed |= slot.reserved
        if slot.tasks:
            if slot.stopping:
                self._kill_if_hopeless(slot)
        elif slot.next is not None:
            task, slot.next = slot.next, None
            self._spread([slot], [task], now)
        elif slot.killed:  # its task ended in time, but a process that got SIGTERM is no good any more
            self._effects.append(Kill(slot.number))
        elif slot.retiring or slot.worn:
            self._effects.append(CloseSlot(slot.number))
        else:
            slot.reserved = False
            if slot.outdated:
                self.replace(slot)

    def _give_back(
        self,
        task: SlotTask,
        code: Returned,
        note: str,
        *,
        after: float = 0.0,
        started: bool = False,
        told: dict[str, Any] | None = None,
    ) -> None:
        """Say that a task is not done here; `told` is what is known of its attempt, if that had begun."""
        more = [told] if told and started else []
        self._outbox.returned.append([task[0], task[1], code, after, note, started, *more])

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
                slot.reserved = False
                self.changed = True
            keys = [key for key, task in slot.tasks.items() if key not in slot.stopping and wanted(task)]
            for key in keys:
                self._ask(slot, key, Stopping(why, within), now)
            if keys:
                slot.schedule()

    def finish(self, now: float) -> None:
        """There is no more time: what is in hand is stopped, and no slot is started again."""
        self.stop(lambda _: True, Why.DRAIN, now)
        self.close()

    def _ask(self, slot: Slot, key: Key, stopping: Stopping, now: float) -> None:
        if fed := self._feeds.pop(slot.number, None):  # asking before the task is there would be in vain
            self._feed(slot, fed)
        slot.stopping[key] = stopping
        self._effects.append(CancelSlot(slot.number, *key))
        if key in slot.starts or stopping.at_once():
            stopping.begin(now)

    def tick(self, now: float) -> None:
        """Timeouts, the next step with those that do not stop, and slots whose time to start again has come."""
        for slot in [slot for slot in self.slots.values() if slot.due <= now]:
            if slot.state is SlotState.DOWN:
                slot.clear(SlotState.STARTING)
                self._spawn(slot)
                continue
            for key, stopping in slot.overdue(now):
                self._ask(slot, key, stopping, now)
            self._effects.extend(slot.unmeasured(now))
            for key, stopping in slot.stopping.items():
                if stopping.next_at <= now:
                    self._press(slot, key, stopping, now)
            slot.schedule()

    def _press(self, slot: Slot, key: Key, stopping: Stopping, now: float) -> None:
        """The next step with a task that was asked to stop and has not."""
        stopping.advance(now)
        fields = {"slot": slot.number, "task": key[0], "why": stopping.why.value}
        if slot.environment.replaceable():
            fresh = not slot.killed
            self.changed = slot.killed = True
            if stopping.stage is Stage.KILL:
                self._effects.append(Kill(slot.number))
                self._effects.append(Note("info", "slot_killed", fields))
            elif fresh:
                self._effects.append(Terminate(slot.number))
            return
        stopping.give_up()
        isolation = slot.environment.isolation
        self._effects.append(Note("warning", "task_does_not_stop", {**fields, "isolation": isolation}))
        if isolation != "inline":
            if not slot.retiring:  # it cannot be killed alone: its neighbours finish there, new tasks go elsewhere
                self.replace(slot)
            self._kill_if_hopeless(slot)

    def _kill_if_hopeless(self, slot: Slot) -> None:
        """Kill a shared process when nothing runs in it but tasks that do not stop."""
        if slot.environment.isolation == "inline" or slot.environment.replaceable() or slot.killed or not slot.retiring:
            return
        if all(key in slot.stopping and slot.stopping[key].stage is Stage.GIVEN_UP for key in slot.starts):
            self.changed = slot.killed = True
            self._effects.append(Kill(slot.number))

    def _stopped(
        self, slot: Slot, task: SlotTask, stopping: Stopping, duration: float, exited: Mapping[str, Any] | None = None
    ) -> None:
        """A task that had to stop has ended, one way or the other; `exited` if its process has too."""
        started = duration > 0 or key_of(task) in slot.starts
        told = {**_told(exited or {}), **self._over(slot, key_of(task))}
        report = stopping.report(task, duration, slot.number, started=started, told=told)
        (self._outbox.results if stopping.counts() else self._outbox.returned).append(report)

    def due(self) -> float:
        """When `tick` has something to do; `inf` if never."""
        return min(map(_due, self.slots.values()), default=inf)

    def abandon(self) -> None:
        """The host leaves now: kill every slot and give back what is in hand."""
        self._feeds = {}
        for slot in self.slots.values():
            for key, task in slot.tasks.items():
                started, told = key in slot.starts, self._over(slot, key)
                self._give_back(task, Returned.DRAIN, "the host leaves", started=started, told=told)
            if slot.next is not None:
                self._give_back(slot.next, Returned.DRAIN, "the host leaves")
            down = slot.state is SlotState.DOWN
            slot.clear(slot.state)
            slot.killed = True
            if not down:
                self._effects.append(Kill(slot.number))
        self.close()

    def check_invariants(self) -> None:
        """What must hold between any two calls.

        Raises:
            AssertionError: It does not.
        """
        owed = [*map(key_of, self.in_hand()), *self._outbox.keys()]
        assert len(owed) == len(set(owed)), "a grant is owed exactly once"
        for slot in self.slots.values():
            assert slot.starts.keys() <= slot.tasks.keys(), slot
            assert slot.stopping.keys() <= slot.tasks.keys(), slot
            if slot.state is SlotState.READY:
                assert len(slot.starts) == min(len(slot.tasks), slot.width), slot


def _told(exited: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a process's end."""
    names = ("cause", "message", "signal", "exit_code", "memory")
    return {name: exited[name] for name in names if exited.get(name) is not None}
