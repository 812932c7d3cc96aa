"""Who was heard when, and what runs where: the guarantees about time, which no commit can tell alone.

A host may be given up for silence, for a connection that stayed closed, or because its name came back with a new
process, and for nothing else. Two copies of a task whose node says `cut_off: stop` never run at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...config.policy import PolicyTree
from ...transport.messages import Hello
from ..core.access.arrivals import News
from ..core.hosts.hosts import SUSPECT_SECONDS
from ..core.pool import Pool
from .oracle import Oracle, Violation
from .timeline import Timeline

_TOLERANCE: Final = 0.94
"""Clocks differ in their rates, and a turn takes a moment."""


class Hearing:
    """What a supervisor has heard of its hosts, by the world's time."""

    def __init__(self, timeline: Timeline, lost_after: float) -> None:
        self._timeline = timeline
        self._lost_after = lost_after
        self._heard: dict[bytes, float] = {}
        self._closed: dict[bytes, float] = {}
        self._started = 0.0
        self._greeted: dict[str, set[bytes]] = {}
        self._tokens: dict[bytes, bytes] = {}  # by address
        self._address: dict[bytes, bytes] = {}  # the latest, by token
        self._greeting: dict[bytes, int] = {}

    def restarted(self) -> None:
        """A supervisor begins: everyone has a full period of grace."""
        self._heard, self._closed, self._greeted = {}, {}, {}
        self._tokens, self._address, self._greeting = {}, {}, {}
        self._started = self._timeline.now

    def batch(self, pool: Pool, batch: Iterable[News]) -> None:
        """Messages that the supervisor is about to heed."""
        now = self._timeline.now
        self._greeted = {}
        seen: dict[bytes, int] = {}
        for address, number, message in batch:
            if isinstance(message, Hello):
                self._greeted.setdefault(message.name, set()).add(message.session)
                greeting = message.offer.get("greeting", 0)
                if message.role != "host" or greeting <= self._greeting.get(message.session, 0):
                    continue
                self._greeting[message.session] = greeting
                self._heard[message.session] = now
                self._tokens[address], self._address[message.session] = message.session, address
                self._closed.pop(message.session, None)
                continue
            token = self._tokens.get(address)
            peer = pool.sessions.peers.get(address)
            if message is None:
                if token is not None and self._address[token] == address:
                    self._closed[token] = now
            elif peer is None or peer.role != "host":
                continue
            elif number == seen.get(address, peer.seen) + 1:  # the numbering has no gap: it is believed
                seen[address] = number
                self._heard[peer.session.token] = now
            else:
                seen[address] = -1

    def lost(self, token: bytes, name: str) -> None:
        """The supervisor gave a host up.

        Raises:
            Violation: Too early.
        """
        self._greeting.pop(token, None)  # should it come back, it is new
        if self._greeted.get(name, {token}) - {token}:
            return
        now = self._timeline.now
        silent = now - max(self._started, self._heard.get(token, 0.0))
        if silent >= self._lost_after * _TOLERANCE:
            return
        if (closed := self._closed.get(token)) is not None and now - closed >= SUSPECT_SECONDS * _TOLERANCE:
            return
        raise Violation(f"{name} was given up after {silent:.3f} s of silence, {self._lost_after:g} s are its right")


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
