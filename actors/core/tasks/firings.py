"""Schedules: what the pool sends by itself, and up to which instant each has been seen to.

An instant fires once: its task and the schedule's `last` are written in one transaction, and only instants after
`last` ever fire. So neither a restart nor a clock that is set back sends for one twice; what was missed meanwhile is
made up for as the plan says. Knows no calendar (`config.schedules` does) and no client: its tasks are of no session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any, Final, cast

from ....config.schedules import NAME_PATTERN, Plan, plan
from ....transport.messages import Admin, Reply
from ..reports import shown
from ..step import Peer, Step
from ..unfit import Unfit
from .submissions import checked

SCHEDULES_MAX: Final = 10_000
PARAMS_BYTES_MAX: Final = 16 * 1024
FIRED_MAX: Final = 1000
"""Tasks that one turn sends at most (and what one schedule makes up for)."""
LISTED_MAX: Final = 1000
CONFIGURED, ORDERED = "config", "client"
_ROUNDING_SECONDS: Final = 0.001
"""Between two clocks a sum is not exact: a turn a moment too early would come again and again."""
_STALE_MAX: Final = 1000
_NO_ROOM: Final = ("queue_full", "disk_full")
_AGAIN_SECONDS: Final = 1.0
"""When there was no room: how long until it is tried again."""

HandIn = Callable[[Step, list[Any]], int]
"""Stores checked groups as tasks of no session, and returns the first id. Raises Unfit: there is no room."""


@dataclass(slots=True, eq=False)
class Schedule:
    """One schedule.

    Attributes:
        name: Its own.
        source: Who says so, `config` or `client`.
        plan: What and when.
        last: The instant up to which it has been seen to.
        paused: It waits for a person.
        task: The latest task it sent, 0: none.
        ran: The latest order to send one (session's token, request, task): one that is asked once more, because its
            answer was lost, is answered from it. None: there was none.
        next: When it is looked at next: at the instant that comes, `inf`: never.
    """

    name: str
    source: str
    plan: Plan
    last: float
    paused: bool = False
    task: int = 0
    ran: tuple[bytes, int, int] | None = None
    next: float = inf

    def row(self) -> tuple[Any, ...]:
        """As the store keeps it."""
        return self.name, self.source, self.plan.written(), self.last, self.paused, self.task, self.ran


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stored schedule that cannot be understood here and now: of a zone, perhaps, that this machine does not know.
    It sends nothing, is shown with the reason, and stays until it is set anew or removed.
    """

    source: str
    written: dict[str, Any]
    last: float
    paused: bool
    task: int
    reason: str


class Firings:
    """All schedules of a pool.

    Args:
        stored: Rows of the store (see `Persist.schedules`).
        configured: What the configuration wants.
        hand_in: See there.
    """

    def __init__(self, stored: Iterable[tuple[Any, ...]], configured: Mapping[str, Plan], hand_in: HandIn) -> None:
        self._hand_in = hand_in
        self._all: dict[str, Schedule] = {}
        self._heap: list[tuple[float, str]] = []
        self._ahead = 0.0  # of the wall clock before `now`
        self._held_until = -inf
        self._unreadable: dict[str, Unreadable] = {}
        self._configured: Mapping[str, Plan] = configured
        for name, source, written, last, paused, task, ran in stored:
            try:
                self._all[name] = Schedule(name, source, plan(written), last, bool(paused), task, ran)
            except ValueError as error:
                self._unreadable[name] = Unreadable(source, written, last, bool(paused), task, str(error))

    def start(self, step: Step) -> None:
        """Compare what is stored with the configuration, and see what comes next."""
        self._ahead = step.wall - step.now
        for name, unreadable in self._unreadable.items():
            step.note("error", "schedule_unreadable", name=name, reason=unreadable.reason)
        for schedule in self._all.values():
            self._wind(schedule)
        self.configure(step, self._configured)

    def configure(self, step: Step, configured: Mapping[str, Plan]) -> None:
        """What the configuration says by now: it also takes over names that clients have used."""
        self._configured = configured
        for schedule in [one for one in self._all.values() if one.source == CONFIGURED]:
            if schedule.name not in configured:
                self._forget(step, schedule.name)
        for name in [name for name, one in self._unreadable.items() if one.source == CONFIGURED]:
            if name not in configured:
                self._forget(step, name)
        for name, wanted in configured.items():
            self._set(step, name, CONFIGURED, wanted)

    def _set(self, step: Step, name: str, source: str, wanted: Plan) -> Schedule:
        """A schedule is as wanted from now on. Other instants count from now, the same ones go on."""
        known = self._all.get(name)
        self._unreadable.pop(name, None)
        if known is None:
            known = self._all[name] = Schedule(name, source, wanted, step.wall)
        elif (known.source, known.plan) == (source, wanted):
            return known
        else:
            if known.plan.timing != wanted.timing:
                known.last = max(known.last, step.wall)
            known.source, known.plan = source, wanted
        self._wind(known)
        step.persist.schedules.append(known.row())
        return known

    def _wind(self, schedule: Schedule) -> None:
        schedule.next = inf if schedule.paused else schedule.plan.timing.after(schedule.last)
        if schedule.next < inf:
            heappush(self._heap, (schedule.next, schedule.name))
        if len(self._heap) > 2 * len(self._all) + _STALE_MAX:
            self._heap = [(one.next, name) for name, one in self._all.items() if one.next < inf]
            heapify(self._heap)

    def _forget(self, step: Step, name: str) -> None:
        self._all.pop(name, None)  # what is left of it in the heap is skipped
        self._unreadable.pop(name, None)
        step.persist.forgotten_schedules.append(name)

    # Time.

    def next_time(self) -> float:
        """When the next one is due, by `now`."""
        return max(self._heap[0][0] - self._ahead + _ROUNDING_SECONDS, self._held_until) if self._heap else inf

    def wake(self, step: Step) -> None:
        """Send what is due, a bounded number; the rest in the next turn."""
        self._ahead = step.wall - step.now
        if not self._heap or self._heap[0][0] > step.wall or step.now < self._held_until:
            return
        room = FIRED_MAX
        while self._heap and self._heap[0][0] <= step.wall and room > 0:
            due, name = self._heap[0]
            schedule = self._all.get(name)
            if schedule is None or schedule.next != due:
                heappop(self._heap)
                continue
            try:
                room -= 1 + self._fire(step, schedule)
            except Unfit as unfit:
                if unfit.code in _NO_ROOM:
                    if self._held_until < step.now - 2 * _AGAIN_SECONDS:
                        step.note("warning", "schedule_held", name=name, reason=unfit.reason)
                    self._held_until = step.now + _AGAIN_SECONDS
                    return
                self._leave_out(step, schedule, unfit.reason)
                step.persist.schedules.append(schedule.row())
            heappop(self._heap)
            self._wind(schedule)
            if schedule.next <= step.wall:  # there was room for a part: those behind it have their turn
                schedule.next = step.wall + _AGAIN_SECONDS
                heappush(self._heap, (schedule.next, name))

    def _fire(self, step: Step, schedule: Schedule) -> int:
        """Send for the instants that are due, and have seen to all of them, or to the first alone if there is no room
        for more; how many tasks that were.

        Raises:
            Unfit: There is no room; nothing has changed.
        """
        instants = schedule.plan.due(schedule.last, step.wall)
        if instants:
            try:
                schedule.task = self._send(step, schedule.plan, len(instants))
            except Unfit as unfit:
                if unfit.code not in _NO_ROOM or len(instants) == 1:
                    raise
                del instants[1:]
                schedule.task = self._send(step, schedule.plan, 1)
            schedule.last = instants[-1]
        else:
            self._leave_out(step, schedule, "it was missed, and catch_up is none")
        step.persist.schedules.append(schedule.row())
        return len(instants)

    def _leave_out(self, step: Step, schedule: Schedule, reason: str) -> None:
        schedule.last = max(schedule.last, step.wall)
        step.note("warning", "schedule_missed", name=schedule.name, instant=schedule.next, reason=reason)

    def _send(self, step: Step, wanted: Plan, count: int) -> int:
        """Hand in so many tasks; the id of the last."""
        options = None if wanted.options is None else dict(wanted.options)
        return self._hand_in(step, [[wanted.type, wanted.priority, options, [wanted.params] * count]]) + count - 1

    # What a person asks and orders.

    def verbs(self) -> dict[str, Callable[[Step, Peer, Admin], None]]:
        """Orders about schedules."""
        return {
            "schedule": self._ordered(self._schedule),
            "unschedule": self._ordered(self._unschedule),
            "pause_schedule": self._ordered(lambda step, arguments: self._pause(step, arguments, paused=True)),
            "resume_schedule": self._ordered(lambda step, arguments: self._pause(step, arguments, paused=False)),
            "run_schedule": self._run,
        }

    def listed(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """QUERY `schedules`: a page in the order of names, after one."""
        after = str(arguments.get("after") or "")
        limit = arguments.get("limit", LISTED_MAX)
        limit = limit if type(limit) is int and 0 < limit < LISTED_MAX else LISTED_MAX
        names = sorted(name for name in (*self._all, *self._unreadable) if name > after)
        return {
            "schedules": [self._view(name) for name in names[:limit]],
            "next": names[limit - 1] if len(names) > limit else None,
        }

    def _view(self, name: str) -> dict[str, Any]:
        return _view(self._all[name]) if name in self._all else _view_of_unreadable(name, self._unreadable[name])

    def _ordered(self, order: Callable[[Step, dict[str, Any]], dict[str, Any]]) -> Callable[[Step, Peer, Admin], None]:
        def obey(step: Step, peer: Peer, message: Admin) -> None:
            try:
                told = order(step, message.arguments)
            except Unfit as unfit:
                value = {"code": unfit.code, "reason": unfit.reason, "path": unfit.path}
                step.say(peer, Reply(message.request, False, value))
            else:
                step.say(peer, Reply(message.request, True, {"schedule": told}))

        return obey

    def _schedule(self, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
        name: Any = arguments["name"]
        if not isinstance(name, str) or not NAME_PATTERN.match(name):
            raise Unfit("invalid", f"name {shown(name)} is not at most 64 letters, digits, _, . or -", "name")
        try:
            wanted = plan(arguments["plan"])
        except ValueError as error:
            raise Unfit("invalid", str(error), str(error).partition(":")[0]) from None
        checked([[wanted.type, wanted.priority, cast("Any", wanted.options), [wanted.params]]])
        if len(wanted.params) > PARAMS_BYTES_MAX:
            reason = f"params of {len(wanted.params)} bytes; those of a schedule have at most {PARAMS_BYTES_MAX}"
            raise Unfit("too_large", reason, "params")
        known = self._all.get(name) or self._unreadable.get(name)
        if known is not None and known.source == CONFIGURED:
            raise Unfit("conflict", f"schedule {name} is that of the configuration; change it there", "name")
        if known is None and len(self._all) + len(self._unreadable) >= SCHEDULES_MAX:
            raise Unfit("invalid", f"the pool has {SCHEDULES_MAX} schedules, and keeps no more", "name")
        return _view(self._set(step, name, ORDERED, wanted))

    def _unschedule(self, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
        name: Any = arguments["name"]
        unreadable = self._unreadable.get(name) if isinstance(name, str) else None
        source = unreadable.source if unreadable is not None else self._named(arguments).source
        if source == CONFIGURED:
            reason = f"schedule {name} is that of the configuration; remove it there, or pause it"
            raise Unfit("conflict", reason, "name")
        told = self._view(name)
        self._forget(step, name)
        return told

    def _pause(self, step: Step, arguments: dict[str, Any], *, paused: bool) -> dict[str, Any]:
        """What falls into a pause is not made up for."""
        schedule = self._named(arguments)
        if schedule.paused != paused:
            schedule.paused = paused
            if not paused:
                schedule.last = max(schedule.last, step.wall)
            self._wind(schedule)
            step.persist.schedules.append(schedule.row())
        return _view(schedule)

    def _run(self, step: Step, peer: Peer, message: Admin) -> None:
        """Send a task of it now, beside its instants; asked once more, say which one that was."""
        order = (peer.session.token, message.request)
        try:
            schedule = self._named(message.arguments)
            if schedule.ran is None or schedule.ran[:2] != order:
                schedule.task = self._send(step, schedule.plan, 1)
                schedule.ran = (*order, schedule.task)
                step.persist.schedules.append(schedule.row())
        except Unfit as unfit:
            value: dict[str, Any] = {"code": unfit.code, "reason": unfit.reason, "path": unfit.path}
            step.say(peer, Reply(message.request, False, value))
            return
        step.say(peer, Reply(message.request, True, {"schedule": _view(schedule), "task": schedule.ran[2]}))

    def _named(self, arguments: dict[str, Any]) -> Schedule:
        name: Any = arguments["name"]
        found = self._all.get(name) if isinstance(name, str) else None
        if found is None and isinstance(name, str) and name in self._unreadable:
            reason = f"schedule {name} cannot be read here: {self._unreadable[name].reason}; set it anew, or remove it"
            raise Unfit("conflict", reason, "name")
        if found is None:
            raise Unfit("unknown", f"the pool has no schedule {shown(name)}", "name")
        return found


def _view(schedule: Schedule) -> dict[str, Any]:
    """What is told of a schedule; its params may be private, and large."""
    return {
        "name": schedule.name,
        "source": schedule.source,
        **_public(schedule.plan.written()),
        "paused": schedule.paused,
        "next": None if schedule.next == inf else schedule.next,
        "last": schedule.last,
        "task": schedule.task or None,
        "error": None,
    }


def _view_of_unreadable(name: str, one: Unreadable) -> dict[str, Any]:
    """The same of one that cannot be understood, as it is written."""
    return {
        "name": name,
        "source": one.source,
        **_public(one.written),
        "paused": one.paused,
        "next": None,
        "last": one.last,
        "task": one.task or None,
        "error": one.reason,
    }


def _public(written: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in written.items() if name != "params"}
