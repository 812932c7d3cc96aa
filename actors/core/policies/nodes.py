"""Nodes of the tree as the core counts them: what each allows now, and why not more.

They know nothing of who waits for that (`lanes` does), and no limit knows of another: a grant needs room at each.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from ....config.limits import Breaker
from ....config.policy import Limits
from .breakers import Guard
from .quotas import Meter
from .rates import SlidingRate


class Pause(NamedTuple):
    """A node grants nothing.

    Attributes:
        until: When that ends by itself, by the wall clock; None: when a person says so.
        reason: For people; empty if nobody gave one.
    """

    until: float | None = None
    reason: str = ""


class Block(NamedTuple):
    """What keeps tasks of a node from being granted now.

    Attributes:
        node: Whose limit it is.
        code: `paused`, `asleep`, `max_concurrent`, `per_host`, `rate`, `quota` or `breaker`.
        text: The same in words.
        until: When it ends at the latest if nothing else changes, by the wall clock; None: by an event, not by time.
    """

    node: str
    code: str
    text: str
    until: float | None


class Node:
    """One node of the tree as the core counts it.

    Attributes:
        type: Its path.
        limits: Its own.
        held: Live leases in its subtree, stopping ones included, counted where it has a limit of them.
        held_on: The same by host (its owner number), where it has `per_host`.
        paused: Whether and until when a person or a service has stopped it.
        rate, meter, guard: What counts its rate, its quota and its failures, where it has them.
        alarm: When its lanes are looked at again although nothing happened, by `now`; `inf`: never.
    """

    __slots__ = ("alarm", "boot", "guard", "held", "held_on", "limits", "meter", "paused", "rate", "type")

    def __init__(self, type: str, limits: Limits, breaker: Breaker | None, boot: int = 0) -> None:
        self.type, self.boot = type, boot
        self.held = 0
        self.held_on: dict[int, int] = {}
        self.paused: Pause | None = None
        self.rate: SlidingRate | None = None
        self.meter: Meter | None = None
        self.guard: Guard | None = None
        self.alarm = inf
        self.tune(limits, breaker)

    def tune(self, limits: Limits, breaker: Breaker | None) -> None:
        """Other settings from now on. What was counted stays counted as far as it still means something."""
        self.limits = limits
        if limits.rate is None:
            self.rate = None
        elif self.rate is None:
            self.rate = SlidingRate(limits.rate, self.boot)
        else:
            self.rate.rate = limits.rate
        if limits.quota is None:
            self.meter = None
        elif self.meter is None:
            self.meter = Meter(limits.quota)
        else:
            self.meter.tuned(limits.quota)
        if breaker is None:
            self.guard = None
        elif self.guard is None:
            self.guard = Guard(breaker)
        else:
            self.guard.breaker = breaker

    def counts(self) -> bool:
        """Whether leases of its subtree have to be counted here."""
        return self.limits.max_concurrent is not None or self.limits.per_host is not None

    def spends(self) -> bool:
        """Whether grants of its subtree have to be counted here."""
        return self.rate is not None or self.meter is not None

    def binds(self) -> bool:
        """Whether it may say no at present."""
        opened = self.guard is not None and self.guard.open_until is not None
        return self.counts() or self.spends() or self.paused is not None or opened

    def hold(self, owner: int, count: int) -> None:
        """Leases of its subtree began on a host, or ended, with a negative count."""
        self.held += count
        if self.limits.per_host is not None:
            held = self.held_on.get(owner, 0) + count
            if held:
                self.held_on[owner] = held
            else:
                del self.held_on[owner]

    def takes_back(self, owner: int) -> bool:
        """Whether a lease that was given up may live on: it was paid for when it was granted."""
        most, each = self.limits.max_concurrent, self.limits.per_host
        return (most is None or self.held < most) and (each is None or self.held_on.get(owner, 0) < each)

    def asleep(self, wall: float) -> bool:
        """Whether it is stopped, by whoever."""
        return self.paused is not None and (self.paused.until is None or wall < self.paused.until)

    def room(self, count: int, cost: int, now: float, wall: float) -> int:
        """How many of `count` grants of this cost it allows now, whatever the host."""
        if self.paused is not None and self.asleep(wall):
            return 0
        if (most := self.limits.max_concurrent) is not None:
            count = min(count, max(0, most - self.held))
        if self.guard is not None and (probes := self.guard.room(now)) is not None:
            count = min(count, probes)
        if self.rate is not None and count:
            count = min(count, self.rate.room(now))
        if self.meter is not None and count:
            count = min(count, self.meter.room(cost, now, wall))
        return count

    def is_dear(self, cost: int, now: float, wall: float) -> bool:
        """Whether it has no room for a grant of this cost, but for one that costs less."""
        return cost > 1 and self.room(1, cost, now, wall) == 0 and self.room(1, 1, now, wall) == 1

    def room_on(self, owner: int) -> int | None:
        """How many more leases it allows on a host; None: any number."""
        each = self.limits.per_host
        return None if each is None else max(0, each - self.held_on.get(owner, 0))

    def took(self, count: int, cost: int, now: float, wall: float) -> None:
        """Grants were made."""
        if self.rate is not None:
            self.rate.took(count, now, wall)
        if self.meter is not None:
            self.meter.took(count * cost)

    def until(self, cost: int, now: float, wall: float) -> float:
        """When a grant that it does not allow now may be allowed without news, by `now`; `inf`: only by news."""
        if self.paused is not None and self.asleep(wall):
            return inf if self.paused.until is None else now + self.paused.until - wall
        if self.limits.max_concurrent is not None and self.held >= self.limits.max_concurrent:
            return inf
        latest = now
        if self.guard is not None and self.guard.room(now) == 0:
            latest = inf if self.guard.probe is not None else self.guard.open_until or now
        if self.rate is not None and not self.rate.room(now):
            latest = max(latest, self.rate.until(now))
        if self.meter is not None and not self.meter.room(cost, now, wall):
            latest = max(latest, self.meter.until(now, wall))
        return latest

    def blocks(
        self, now: float, wall: float, *, cost: int = 1, owner: int | None = None, told: bool = True
    ) -> list[Block]:
        """Why a task of this node cannot be granted now; empty: nothing here keeps it.

        Args:
            now: The time, by the clock that never jumps.
            wall: The same by the wall clock.
            cost: Units of the quota that the task costs.
            owner: A host, to be asked about its own limit too.
            told: With which task stopped it, or tries it, and what that said: not everybody may know.
        """
        type, limits = self.type, self.limits
        found: list[Block] = []
        if self.paused is not None and self.asleep(wall):
            until, reason = self.paused if told else (self.paused.until, "")
            how = "paused" if until is None else "asleep"
            found.append(Block(type, how, f"{type} is {how}{': ' if reason else ''}{reason}", until))
        if limits.max_concurrent is not None and self.held >= limits.max_concurrent:
            text = f"{type} runs {self.held} tasks, {limits.max_concurrent} at a time are allowed"
            found.append(Block(type, "max_concurrent", text, None))
        if owner is not None and self.room_on(owner) == 0:
            text = f"{type} runs {self.held_on[owner]} tasks on this host, {limits.per_host} at a time are allowed"
            found.append(Block(type, "per_host", text, None))
        if self.rate is not None and not self.rate.room(now):
            text = f"{type} has started {self.rate.used(now)} tasks of late, its rate is {self.rate.rate.written()}"
            found.append(Block(type, "rate", text, wall + self.rate.until(now) - now))
        if self.meter is not None and not self.meter.room(cost, now, wall):
            quota = self.meter.quota
            text = f"{type} has used {self.meter.used} of {quota.limit} units, its quota per {quota.per}"
            if cost > 1:
                text += f"; a task costs {cost}"
            if cost > quota.limit:
                text += ": it can never run, raise the quota"
            found.append(Block(type, "quota", text, wall + self.meter.until(now, wall) - now))
        if self.guard is not None and self.guard.room(now) == 0:
            found.append(self._broken(self.guard, now, wall, told=told))
        return found

    def _broken(self, guard: Guard, now: float, wall: float, *, told: bool) -> Block:
        often = f"{self.type} fails too often{f' ({guard.why})' if told else ''}"
        if guard.probe is not None:
            text = f"{often}; {f'task {guard.probe}' if told else 'a task'} tries whether it works again"
            return Block(self.type, "breaker", text, None)
        text = f"{often}; one task may try again after a while"
        return Block(self.type, "breaker", text, wall + (guard.open_until or now) - now)
