"""Who was heard when, and what runs where: the guarantees about time, which no commit can tell alone.

A host may be given up for silence, for a connection that stayed closed, or because its name came back with a new
process, and for nothing else; for silence and a closed connection it must be, in time. Two copies of a task whose node
says `cut_off: stop` never run at a time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...config.policy import PolicyTree
from ...transport.messages import Claim, Hello
from ..core.access.arrivals import News
from ..core.effects import Persist
from ..core.hosts.hosts import SUSPECT_SECONDS
from ..core.pool import Pool
from .oracle import Oracle, Violation
from .timeline import Timeline

_TOLERANCE: Final = 0.94
"""Clocks differ in their rates, and a turn takes a moment."""
_SLACK_SECONDS: Final = 0.3
_STALLS_MAX: Final = 100
_NONE: Final = -1
"""Number of a message after which no other is believed."""


class Hearing:
    """What a supervisor has heard of its hosts, by the world's time, and how long each may be silent.

    Time in which the supervisor itself stands still is nobody's silence.
    """

    def __init__(self, timeline: Timeline, oracle: Oracle, lost_after: float, heartbeat: float) -> None:
        self._timeline, self._oracle = timeline, oracle
        self._lost_after, self._heartbeat = lost_after, heartbeat
        self._heard: dict[bytes, float] = {}
        self._closed: dict[bytes, float] = {}
        self._started = 0.0
        self._greeted: dict[str, set[bytes]] = {}
        self._tokens: dict[bytes, bytes] = {}  # by address
        self._address: dict[bytes, bytes] = {}  # the latest, by token
        self._greeting: dict[bytes, int] = {}
        self._still: deque[tuple[float, float]] = deque(maxlen=_STALLS_MAX)  # when it stood still: from, until
        self._owners: dict[int, tuple[bytes, str]] = {}  # token and name of host sessions
        self._watched: dict[bytes, float] = {}  # who has said anything at all, and has not been silent for too long
        self._capacity: dict[bytes, dict[str, int]] = {}  # what each has said that it can run
        self._cut: dict[bytes, float] = {}  # whose connection closed, and has not been away for too long

    def restarted(self) -> None:
        """A supervisor begins: everyone has a full period of grace."""
        self._heard, self._closed, self._greeted = {}, {}, {}
        self._tokens, self._address, self._greeting = {}, {}, {}
        self._started = self._timeline.now
        self._watched, self._cut = {token: self._started for token, _ in self._owners.values()}, {}
        self._capacity = {}

    def stands_still(self, until: float) -> None:
        """The supervisor hears nobody until then."""
        now = self._timeline.now
        if self._still and now < self._still[-1][1]:
            self._still[-1] = self._still[-1][0], max(until, self._still[-1][1])
        else:
            self._still.append((now, until))

    def _stood_still(self, since: float, *, surely: bool = False) -> float:
        """For how long it stood still; `surely`: and must have noticed that it did."""
        now, whole = self._timeline.now, 0.0
        for first, last in self._still:
            length = min(now, last) - max(since, first)
            if not surely:
                whole += max(0.0, length)
            elif length > 2.1 * self._heartbeat:  # until its next heartbeat it would have waited anyhow
                whole += length - 1.05 * self._heartbeat
        return whole

    def batch(self, pool: Pool, batch: Iterable[News], waiting: Iterable[bytes] = ()) -> None:
        """Messages that the supervisor is about to heed; of who is `waiting` something has come that is heard later."""
        now = self._timeline.now
        self._greeted = {}
        seen: dict[bytes, int] = {}
        for address, number, message in batch:
            if isinstance(message, Hello):
                if message.role == "host":
                    self._watched[message.session] = now
                self._greeted.setdefault(message.name, set()).add(message.session)
                greeting = message.offer.get("greeting", 0)
                if message.role != "host" or greeting <= self._greeting.get(message.session, 0):
                    continue
                self._greeting[message.session] = greeting
                self._heard[message.session] = now
                self._tokens[address], self._address[message.session] = message.session, address
                self._closed.pop(message.session, None)
                self._cut.pop(message.session, None)
                self._capacity[message.session] = dict.fromkeys(message.offer["slots"], 0)
                continue
            token = self._tokens.get(address)
            peer = pool.sessions.peers.get(address)
            if message is None:
                if token is not None and self._address[token] == address:
                    self._closed[token] = now
                    self._capacity[token] = {}
                    if peer is not None and seen.get(address) != _NONE:
                        self._cut[token] = now
                continue
            if token is not None:
                self._watched[token] = now
            if peer is None or peer.role != "host":
                continue
            if number == seen.get(address, peer.seen) + 1:  # the numbering has no gap: it is believed
                seen[address] = number
                self._heard[peer.session.token] = now
                if isinstance(message, Claim) and token is not None and self._address[token] == address:
                    self._capacity[token] |= dict.fromkeys(message.capacity, 0) if message.leaving else message.capacity
            else:
                seen[address] = _NONE
        for address in waiting:
            if (token := self._tokens.get(address)) is not None:
                self._watched[token] = now

    def capacity(self, owner: int) -> Mapping[str, int]:
        """How many tasks each slot pool of a host session can run, as it has said at last."""
        return self._capacity.get(self._owners.get(owner, (b"", ""))[0], {})

    def committed(self, turn: Iterable[Persist]) -> None:
        """A turn is on disk.

        Raises:
            Violation: It gives a host up too early.
        """
        for persist in turn:
            for owner, token, name, _, _, _, state, _ in persist.hosts:
                self._owners[owner] = token, name
                if state == "lost":
                    self._lost(token, name)

    def _lost(self, token: bytes, name: str) -> None:
        """The supervisor gave a host up."""
        self._greeting.pop(token, None)  # should it come back, it is new
        if self._greeted.get(name, {token}) - {token}:
            return
        now = self._timeline.now
        since = max(self._started, self._heard.get(token, 0.0))
        silent = now - since - self._stood_still(since, surely=True)
        if silent >= self._lost_after * _TOLERANCE:
            return
        closed = self._closed.get(token)
        if closed is not None and now - closed - self._stood_still(closed, surely=True) >= SUSPECT_SECONDS * _TOLERANCE:
            return
        raise Violation(f"{name} was given up after {silent:.3f} s of silence, {self._lost_after:g} s are its right")

    def check(self) -> None:
        """A turn has heard all that had come.

        Raises:
            Violation: A host that has been silent, or away, for too long holds a task still.
        """
        silent = self._over(self._watched, self._lost_after / _TOLERANCE + _SLACK_SECONDS)
        away = self._over(self._cut, SUSPECT_SECONDS / _TOLERANCE + _SLACK_SECONDS)
        if not silent and not away:
            return
        for id, owner, cut_off in self._oracle.held():
            token, name = self._owners.get(owner, (b"", ""))
            if token in silent or (token in away and cut_off is not None):
                raise Violation(f"task {id} is held by {name}, which has been silent or away for too long")

    def _over(self, since: dict[bytes, float], most: float) -> set[bytes]:
        """Whose time is over; they are told once: who says nothing is granted nothing."""
        now, over = self._timeline.now, set[bytes]()
        for token, latest in since.items():
            first = max(self._started, latest)
            if now - first > most and now - first - self._stood_still(first) > most:
                over.add(token)
        for token in over:
            del since[token]
        return over


@dataclass(slots=True)
class Execution:
    """One task that runs in a slot."""

    host: str
    fence: int
    run: int | None


class Executions:
    """What runs where, now."""

    def __init__(self, timeline: Timeline, oracle: Oracle, policies: PolicyTree) -> None:
        self._timeline, self._oracle, self._policies = timeline, oracle, policies
        self._live: dict[int, list[Execution]] = {}
        self._stood_still: dict[str, float] = {}
        self._offered: dict[str, Mapping[str, int]] = {}
        self.count = 0
        self._begun: Counter[int] = Counter()

    def began(self, host: str, task: tuple[Any, ...]) -> None:
        """A slot begins a task.

        Raises:
            Violation: It was never granted, brings another checkpoint than the latest, or a copy runs that must not.
        """
        id, fence, type = task[0], task[1], task[2]
        extra: dict[str, Any] = task[11] or {}
        self._oracle.began(id, fence, extra.get("checkpoint"))
        self.count += 1
        self._begun[id] += 1
        run, granted = self._oracle.history.grants.get((id, fence), (None, 0.0))
        live = self._live.setdefault(id, [])
        if run is not None and self._policies.effective(type).cut_off is None and not self._excused(host, granted):
            for other in live:
                _, when = self._oracle.history.grants.get((id, other.fence), (None, 0.0))
                if other.run == run and not self._excused(other.host, when):
                    raise Violation(f"task {id} ({type}) begins on {host} while a copy runs on {other.host}")
        live.append(Execution(host, fence, run))
        self._check_stock(host)
        self._check_limits(id)

    def story(self, id: int) -> tuple[int, int]:
        """How often a task has begun, and in how many run-throughs."""
        known = self._oracle.tasks.get(id)
        return self._begun[id], 0 if known is None else known.runs

    def offers(self, host: str, counts: Mapping[str, int]) -> None:
        """What a host offers."""
        self._offered[host] = counts

    def _check_stock(self, host: str) -> None:
        """What really runs on a host needs no more than it offers; what another history granted nobody can know of."""
        used: Counter[str] = Counter()
        for id, live in self._live.items():
            for execution in live:
                if execution.host == host:
                    if execution.run is None:
                        return
                    used.update(self._oracle.needs(id))
        offered = self._offered.get(host, {})
        over = {name: count for name, count in used.items() if count > offered.get(name, 0)}
        if over:
            raise Violation(f"what runs on {host} uses {over}, it offers {dict(offered)}")

    def _check_limits(self, begun: int) -> None:
        """Where a task has begun no more run than may; what another history granted nobody can know of."""
        live = [(execution, id) for id, executions in self._live.items() for execution in executions]
        if any(execution.run is None for execution, _ in live):
            return
        running = [(execution.host, (id, execution.fence)) for execution, id in live]
        excess = self._oracle.side_by_side.excess(self._oracle.history, begun, running)
        if excess is not None:
            raise Violation(excess)

    def ended(self, host: str, id: int, fence: int) -> None:
        """It runs no more (no matter if that was known)."""
        live = [e for e in self._live.get(id, []) if (e.host, e.fence) != (host, fence)]
        if live:
            self._live[id] = live
        else:
            self._live.pop(id, None)

    def all_ended(self, host: str) -> None:
        """The host's process and its slots are gone."""
        for id in list(self._live):
            self._live[id] = [execution for execution in self._live[id] if execution.host != host]
            if not self._live[id]:
                del self._live[id]

    def stood_still(self, host: str, *, still: bool) -> None:
        """A host's process is stopped, or goes on: what it held until then it could not stop in time."""
        self._stood_still[host] = float("inf") if still else self._timeline.now

    def another_history(self) -> None:
        """The store was put back in time: what runs belongs to no grant that anybody knows."""
        for live in self._live.values():
            for execution in live:
                execution.run = None

    def live(self) -> dict[int, list[Execution]]:
        """What runs."""
        return self._live

    def _excused(self, host: str, granted: float) -> bool:
        return self._stood_still.get(host, -1.0) >= granted
