"""What may be forgotten, and when: ended tasks, sessions of clients, sessions of hosts. In small steps.

The rule for an ended task: it is kept for the time that its state is given (`Keep`), and no longer than it is among the
last `count` ends; numbers that no end was given (`Opening.leaps`) are not counted. Its lease, if a host still has to
stop it, and a connected client that has not been told of the end yet hold it longer, and so does a task that comes
after it and has not completed: even one that ended badly may be run once more, and then takes its result. A client's
session is forgotten a week after its last word, and what it repeats after that is refused; a known client's not before
its tasks, since it alone says whose they are. A host's session is forgotten when nothing that names it is kept.

A pass walks over everything in the order of sessions and of ends, a slice a turn, with pauses between; what is young
is skipped without being read. It decides only; the store reads and deletes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Final

from .clients.clients import FRESH_SECONDS, SESSION_SECONDS, Clients
from .effects import EndedAfter, SeenAfter
from .hosts.hosts import Hosts
from .queue import Queue
from .rows import COMPLETED
from .sessions import ID_MAX
from .settings import Keep
from .step import Step

_PAUSE_SECONDS: Final = 0.01  # between two slices: a turn in between finds the store idle
_SLICE_MIN: Final = 100
_SLICE_MAX: Final = 2000
_SLICE_BYTES: Final = 1024 * 1024
"""Params and results that one slice frees: the pages of a large one are read to be freed."""
_PASS_SECONDS: Final = 60.0
_PASS_SECONDS_MIN: Final = 1.0
_REST: Final = 10  # a pass rests at least so many times as long as it took
_SESSIONS_SECONDS: Final = 3600.0
_SEEN_MAX: Final = 500
_JUMP_SECONDS: Final = 3600.0
_DISTRUST_SECONDS: Final = 86400.0
"""After the wall clock was set forward by `_JUMP_SECONDS` nothing is too old for so long: it may have been an error."""


def distrust(meta: Mapping[str, int], wall: float) -> float | None:
    """For how many seconds a wall clock that was set before this process began is not to be trusted yet; None: it is.

    The store knows the end of that time by the wall clock itself, which goes on where the machine is started again.
    """
    until = meta.get("trusted_ms", 0) / 1000
    return min(max(0.0, until - wall), _DISTRUST_SECONDS) if until else None


class Housekeeping:
    """One pass over ended tasks after the other; over sessions once an hour. What `holds` says is not forgotten.

    Args:
        distrusted: See `distrust`.
    """

    def __init__(
        self,
        keep: Keep,
        queue: Queue,
        clients: Clients,
        hosts: Hosts,
        now: float,
        holds: Callable[[int], bool],
        leaps: Sequence[tuple[int, int]] = (),
        distrusted: float | None = None,
    ) -> None:
        self._keep, self._holds, self._leaps = keep, holds, leaps
        self._queue, self._clients, self._hosts = queue, clients, hosts
        self._ends = _Walk(now if keep.ends() else inf)
        self._seen = {"session": _Walk(now), "host": _Walk(now)}
        self._finish = queue.last_finish  # as of the slice before
        self._trusted = now + (distrusted or 0.0)
        self._marked = distrusted is not None  # whether the store knows of it

    def clock_jumped(self, step: Step, seconds: float) -> None:
        """The wall clock was set. Nothing is older for that, in whatever process goes on from the store."""
        if seconds > _JUMP_SECONDS:
            self._trusted, self._marked = step.now + _DISTRUST_SECONDS, True
        if self._marked:
            step.persist.meta["trusted_ms"] = round((step.wall + self._trusted - step.now) * 1000)

    def next_time(self) -> float:
        """When `wake` has something to do."""
        return min(self._ends.due, *(walk.due for walk in self._seen.values()))

    def wake(self, step: Step) -> None:
        """Ask for the next slice of what is due: one of each kind at a time."""
        if self._marked and step.now >= self._trusted:
            self._marked = False
            step.persist.meta["trusted_ms"] = 0
        if step.now >= self._ends.due:
            # A slice grows with what has ended since the one before, so that no load outruns it.
            ended, self._finish = self._queue.last_finish - self._finish, self._queue.last_finish
            count = max(_SLICE_MIN, min(2 * ended, _SLICE_MAX))
            step.needs.append(EndedAfter(self._ends.session, self._ends.number, count))
            self._ends.due = inf  # until the rows have come, within this turn
        for kind, walk in self._seen.items():
            if step.now >= walk.due:
                step.needs.append(SeenAfter(kind, walk.number, _SEEN_MAX))
                walk.due = inf

    # Ended tasks.

    def ended(self, step: Step, need: EndedAfter, rows: Sequence[tuple[Any, ...]]) -> None:
        """Ended tasks in the order of sessions and ends: forget those whose time has come."""
        walk = self._ends
        walk.pause(step.now)
        too_many = self._too_many()
        young = -1  # the session whose further ends are all too young
        freed = 0
        for session, finish, id, lane_number, state, ended_at, size, needed in rows:
            if freed >= _SLICE_BYTES:
                break
            walk.session, walk.number = session, finish
            if session == young or needed:
                continue
            if finish > too_many and not self._old(step, state, ended_at):
                if step.wall - ended_at < self._keep.shortest():
                    young = session
                continue
            if self.lets_go(id, session, finish):
                self.forget(step, id, finish, lane_number, state)
                freed += size
        else:
            if len(rows) < need.count:
                walk.rest(step.now, self._interval())
                return  # to begin anew
        if walk.session == young:
            walk.number = ID_MAX

    def lets_go(self, id: int, session: int, finish: int) -> bool:
        """Whether nobody here needs an ended task any more, however young it is."""
        return not (id in self._queue.leases or self._holds(id) or self._clients.waits_for(session, finish))

    def forget(self, step: Step, id: int, finish: int, lane_number: int, state: int) -> None:
        """Forget an ended task, with all that is kept of it."""
        step.persist.prunes.append((id, finish))
        lanes = self._queue.lanes
        lane = lanes.by_number[lane_number]
        lane.counts[state] -= 1
        lanes.touched.add(lane)

    def _old(self, step: Step, state: int, ended_at: float) -> bool:
        seconds = self._keep.completed if state == COMPLETED else self._keep.failed
        return seconds is not None and step.now >= self._trusted and step.wall - ended_at >= seconds

    def _too_many(self) -> int:
        """The `finish` number up to which there are too many ends."""
        if self._keep.count is None:
            return -1
        number = self._queue.last_finish - self._keep.count
        for last, skipped in reversed(self._leaps):
            if number >= last:
                break
            number -= skipped
        return number

    def _interval(self) -> float:
        if self._keep.count is not None:
            return _PASS_SECONDS_MIN
        return max(_PASS_SECONDS_MIN, min(self._keep.shortest() / 10, _PASS_SECONDS))

    # Sessions.

    def seen(self, step: Step, need: SeenAfter, rows: Sequence[tuple[Any, ...]]) -> None:
        """Sessions in the order of their numbers; see `SeenAfter`."""
        forget = self._forget_session if need.kind == "session" else self._forget_host
        walk = self._seen[need.kind]
        walk.pause(step.now)
        for number, seen_at, *needed in rows:
            walk.number = number
            if seen_at is None or step.now < self._trusted:
                continue
            if forget(step, number, step.wall - seen_at, *needed):
                break  # one a slice: it may have thousands of submissions
        else:
            if len(rows) < need.count:
                walk.rest(step.now, _SESSIONS_SECONDS)

    def _forget_session(self, step: Step, number: int, silent: float, needed: bool) -> bool:
        client = self._clients.by_number.get(number)
        if client is not None:
            if silent > FRESH_SECONDS:
                step.persist.sessions.append(client.row(step.wall))
        elif needed or number == self._clients.last_session:  # the last number is never given again
            return False
        elif silent > SESSION_SECONDS:
            step.persist.forgotten_sessions.append(number)
            return True
        return False

    def _forget_host(self, step: Step, owner: int, gone: float) -> bool:
        if gone <= self._keep.longest() or owner in self._hosts.by_owner or owner == self._hosts.last_owner:
            return False
        step.persist.forgotten_hosts.append(owner)
        return True


class _Walk:
    """Where a pass is, and when it goes on."""

    __slots__ = ("_began", "due", "number", "session")

    def __init__(self, now: float) -> None:
        self.session = self.number = 0
        self.due = self._began = now + _PASS_SECONDS_MIN

    def pause(self, now: float) -> None:
        """Go on soon: there may be more."""
        self.due = now + _PAUSE_SECONDS

    def rest(self, now: float, seconds: float) -> None:
        """The pass is over; the next begins at the first again."""
        self.due = self._began = now + max(seconds, _REST * (now - self._began))
        self.session = self.number = 0
