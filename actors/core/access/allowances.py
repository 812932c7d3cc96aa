"""What one identity of a guarded pool may take of it: tasks unfinished, tasks and bytes a second, sessions, and
mistakes.

So one client's flood is its own affair. What is unfinished is kept with the session that sent it, so that a restart
forgives nothing and counts nothing; the rest is of the supervisor's own time. Nothing here is asked where nothing is
proved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..effects import Senders
from ..step import Peer, Step
from ..unfit import Unfit
from .identities import ANYBODY, Identity

UNFINISHED_SHARE: Final = 0.5
"""Of the queue's size: the rest is for others."""
TASKS_PER_SECOND: Final = 20_000.0
BYTES_PER_SECOND: Final = 32.0 * 1024 * 1024
BURST_SECONDS: Final = 5.0
"""So much of both may be sent at once by who was silent before."""
SESSIONS_PER_SECOND: Final = 5.0
"""That clients and observers begin: a week's are kept. A shell loop makes one a command."""
SESSIONS_AT_ONCE: Final = 20_000
MISTAKES_MAX: Final = 10
MISTAKES_SECONDS: Final = 60.0
"""More than `MISTAKES_MAX` within this time, and nothing more is heard for as long."""
_IDENTITIES_MAX: Final = 10_000
_BOUND: Final = ("client",)
"""Roles that are bounded; an admin may do worse than send much."""


class _Flow:
    """What may be sent and begun now: it fills as time passes, and one submission may take it below nothing."""

    __slots__ = ("at", "bytes", "sessions", "tasks")

    def __init__(self, now: float) -> None:
        self.at, self.tasks, self.bytes = now, TASKS_PER_SECOND * BURST_SECONDS, BYTES_PER_SECOND * BURST_SECONDS
        self.sessions: float = SESSIONS_AT_ONCE

    def fill(self, now: float) -> None:
        passed, self.at = now - self.at, now
        self.tasks = min(self.tasks + passed * TASKS_PER_SECOND, TASKS_PER_SECOND * BURST_SECONDS)
        self.bytes = min(self.bytes + passed * BYTES_PER_SECOND, BYTES_PER_SECOND * BURST_SECONDS)
        self.sessions = min(self.sessions + passed * SESSIONS_PER_SECOND, SESSIONS_AT_ONCE)

    def wait(self) -> float:
        """Seconds until something may be sent; 0: now."""
        return max(0.0, -self.tasks / TASKS_PER_SECOND, -self.bytes / BYTES_PER_SECOND)


class Allowances:
    """The bounds of every identity.

    Attributes:
        ignored: Identities that are not heard, and until when.
    """

    def __init__(
        self, max_size: int, shares: Iterable[tuple[int, str, int]] = (), known: Mapping[str, Identity] | None = None
    ) -> None:
        """Go on from the store.

        Args:
            max_size: Unfinished tasks that the queue takes.
            shares: What each session has unfinished (session, identity, count).
            known: Who has which key.
        """
        self._known: Mapping[str, Identity] = known if known is not None else {}
        self._unfinished_max = _share_of(max_size)
        self._flows: dict[str, _Flow] = {}
        self._unfinished: dict[str, int] = {}
        self._by_session: dict[int, list[Any]] = {}  # session -> [identity, how many of its tasks are unfinished]
        self._changed: set[int] = set()  # sessions whose share is not written down yet
        self._promised: Counter[str] = Counter()  # what was let in to run once more in this turn and does not count yet
        for session, identity, count in shares:
            self._by_session[session] = [identity, count]
            self._unfinished[identity] = self._unfinished.get(identity, 0) + count
        self._mistakes: dict[str, list[float]] = {}  # the latest, by identity
        self.ignored: dict[str, float] = {}

    def resize(self, max_size: int) -> None:
        """The queue takes so many unfinished tasks from now on."""
        self._unfinished_max = _share_of(max_size)

    def check(self, peer: Peer, params: Iterable[list[bytes]], count: int, now: float) -> None:
        """Whether a submission may be taken; what it takes of the flow is taken.

        Args:
            peer: Who sends.
            params: Of each group; those of tasks that others answer for, too.
            count: How many tasks are new.
            now: The instant.

        Raises:
            Unfit: Not now.
        """
        self.check_share(peer, count)
        if not peer.identity or peer.role not in _BOUND:
            return
        flow = self._flow_of(peer.identity, now)
        if wait := flow.wait():
            reason = (
                f"this identity sends faster than {TASKS_PER_SECOND:.0f} tasks or {BYTES_PER_SECOND:.0f} bytes a second"
            )
            raise Unfit("quota", reason, retry_after=wait)
        for batch in params:
            flow.tasks -= len(batch)
            flow.bytes -= sum(map(len, batch))

    def begin(self) -> None:
        """A turn begins: what was to run once more does, or will not."""
        self._promised.clear()

    def check_again(self, peer: Peer, count: int) -> None:
        """Whether so many of its tasks may run once more for somebody; they count from now on.

        Raises:
            Unfit: Not now.
        """
        self.check_share(peer, count)
        if peer.identity and peer.role in _BOUND:
            self._promised[peer.identity] += count

    def check_share(self, peer: Peer, count: int) -> None:
        """Whether somebody may have so many more unfinished tasks.

        Raises:
            Unfit: Not now.
        """
        if not peer.identity or peer.role not in _BOUND:
            return
        unfinished = self._unfinished.get(peer.identity, 0) + self._promised[peer.identity]
        if unfinished + count > self._unfinished_max:
            most = self._unfinished_max
            reason = f"this identity has {unfinished} unfinished tasks of at most {most}"
            raise Unfit("queue_full", reason)

    def check_new(self, peer: Peer, now: float) -> None:
        """Whether a new session of an identity may begin; it is taken of what may.

        Raises:
            Unfit: Not now.
        """
        if not peer.identity or peer.role == "admin":
            return
        flow = self._flow_of(peer.identity, now)
        if flow.sessions < 1.0:
            reason = (
                f"this identity begins sessions faster than {SESSIONS_PER_SECOND:.0f} a second, "
                f"and has begun {SESSIONS_AT_ONCE} at once: do more in each, or try again in a second"
            )
            raise Unfit("quota", reason)
        flow.sessions -= 1.0

    def _flow_of(self, identity: str, now: float) -> _Flow:
        flow = self._flows.get(identity)
        if flow is None:
            if len(self._flows) >= _IDENTITIES_MAX:
                self._flows.clear()  # all of them start anew: that is lenient, and cannot go on for ever
            flow = self._flows[identity] = _Flow(now)
        flow.fill(now)
        return flow

    def sent(self, peer: Peer, session: int, count: int) -> None:
        """Tasks of a session are stored."""
        if peer.identity and peer.role in _BOUND:
            self._grow(session, peer.identity, count)

    def _grow(self, session: int, identity: str, count: int) -> None:
        self._by_session.setdefault(session, [identity, 0])[1] += count
        self._unfinished[identity] = self._unfinished.get(identity, 0) + count
        self._changed.add(session)

    def _run_again(self, session: int, identity: str, count: int) -> None:
        self._promised[identity] = max(0, self._promised[identity] - count)
        self._grow(session, identity, count)

    def senders(self, _step: Step, need: Senders, rows: Iterable[tuple[int, str]]) -> None:
        """Whose the sessions are of which tasks run once more, though nothing of them was unfinished."""
        for session, identity in rows:
            known = self._known.get(identity)
            if known is not None and known.role in _BOUND:
                self._run_again(session, identity, dict(need.context)[session])

    def settle(self, step: Step) -> None:
        """Tasks have ended, were sent, or run once more: shares are written down once a step."""
        if step.again and self._known:
            self._count_again(step)
        if not self._by_session:
            return
        for session in step.ends.keys() & self._by_session.keys():
            identity, left = held = self._by_session[session]
            ended = min(left, len(step.ends[session]))
            held[1] -= ended
            self._changed.add(session)
            self._unfinished[identity] -= ended
            if not held[1]:
                del self._by_session[session]
            if not self._unfinished[identity]:
                del self._unfinished[identity]
        if self._changed:
            for session in self._changed:
                identity, left = self._by_session.get(session) or (ANYBODY, 0)
                step.persist.shares.append((session, identity, left))
            self._changed.clear()

    def _count_again(self, step: Step) -> None:
        """What runs once more is unfinished again, and its sender's, whoever ordered it."""
        for session in step.again.keys() & self._by_session.keys():
            self._run_again(session, self._by_session[session][0], step.again[session])
        if others := sorted(step.again.keys() - self._by_session.keys()):
            step.needs.append(Senders(tuple(others), [(session, step.again[session]) for session in others]))

    def mistake(self, identity: str, now: float) -> bool:
        """Somebody sent what nobody should; whether it is not heard any more now."""
        latest = self._mistakes.setdefault(identity, [])
        latest.append(now)
        if len(latest) <= MISTAKES_MAX:
            return False
        if latest.pop(0) < now - MISTAKES_SECONDS:
            return False
        del self._mistakes[identity]
        self.ignored[identity] = now + MISTAKES_SECONDS
        return True

    def ignores(self, identity: str, now: float) -> bool:
        """Whether an identity is not heard at present."""
        until = self.ignored.get(identity)
        if until is None or now < until:
            return until is not None
        del self.ignored[identity]
        return False


def _share_of(max_size: int) -> int:
    """How many tasks one identity may have unfinished in a queue of this size."""
    return max(1, int(max_size * UNFINISHED_SHARE))
