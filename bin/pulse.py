"""What `top` knows of a pool after each look: counts as the pool says them, rates from what changed between looks.

Pure: replies and instants in, a `Sight` out. How it is drawn is `top_screen`'s business.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ..transport.documents import GONE
from .tables import span

RATE_SECONDS: Final = 10.0
"""Rates are those of the last so many seconds: long enough to read, short enough to see a change."""
TREND_SECONDS: Final = 60.0
"""Over which a queue is said to grow or to empty."""
_TREND_SECONDS_MIN: Final = 5.0
_LOOKS_MAX: Final = 600
_ALWAYS_SHOWN: Final = ("paused", "asleep", "breaker")
"""What stops a node is worth a word even while nothing waits there; a limit that is reached stops nobody then."""


@dataclass(slots=True)
class Node:
    """One node of the tree with all that lies below it.

    Attributes:
        type: Its path.
        oldest: Seconds that its longest waiting task waits; None: none does.
        done: Completed tasks a second.
        failing: Tasks a second that ended as failed or quarantined.
        share: Of what ended within `TREND_SECONDS`, the part that failed; None: nothing ended.
        stops: What keeps its tasks, in a few words; empty: nothing.
    """

    type: str
    queued: int = 0
    running: int = 0
    oldest: float | None = None
    done: float = 0.0
    failing: float = 0.0
    share: float | None = None
    stops: str = ""

    def busy(self) -> bool:
        """Whether there is anything to see."""
        return bool(self.queued or self.running or self.done or self.failing or self.stops)


@dataclass(slots=True)
class Sight:
    """The pool at one moment.

    Attributes:
        at: By the wall clock.
        about: The supervisor, as `status` has it.
        tasks: Their number by state.
        pool: The whole as one node.
        nodes: The tree, parents before what lies below them.
        left_out: Nodes that the pool did not tell of, because there are so many.
        hosts: As the snapshot has them, by name, and last those that are gone.
        notes: What is odd.
        outlook: When the queue will be empty, or that it grows; empty: nothing can be said.
    """

    at: float
    about: dict[str, Any]
    tasks: dict[str, int]
    pool: Node
    nodes: list[Node]
    left_out: int
    hosts: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    outlook: str = ""


@dataclass(frozen=True, slots=True)
class _Look:
    at: float
    epoch: int
    waiting: int
    ended: dict[str, tuple[int, int]]  # by node, "" for the pool: completed, failed since the supervisor's start

    def rates(self, name: str, earlier: _Look) -> tuple[float, float]:
        """What completed and failed at a node, a second, since an earlier look."""
        seconds = self.at - earlier.at
        if seconds <= 0:
            return 0.0, 0.0
        (completed, failed), (completed_before, failed_before) = self.ended[name], earlier.ended.get(name, (0, 0))
        return max(0, completed - completed_before) / seconds, max(0, failed - failed_before) / seconds


class Pulse:
    """Remembers the last looks, which is all that rates need."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque(maxlen=_LOOKS_MAX)

    def look(self, status: dict[str, Any], snapshot: dict[str, Any]) -> Sight:
        """What the pool answered just now to these two queries."""
        pool, nodes = snapshot["pool"], snapshot["nodes"]
        look = _Look(
            snapshot["at"],
            snapshot["epoch"],
            sum(pool[state] for state in ("queued", "scheduled", "waiting")),
            {name: _ended(numbers) for name, numbers in (("", pool), *nodes.items())},
        )
        looks = self._looks
        if looks and (looks[-1].epoch != look.epoch or looks[-1].at >= look.at):
            looks.clear()  # a supervisor that was started again counts anew
        looks.append(look)
        while look.at - looks[0].at > TREND_SECONDS:
            looks.popleft()
        wall = snapshot["wall"]
        names = sorted(nodes, key=lambda name: name.split("."))
        inner = {name.rpartition(".")[0] for name in names}
        return Sight(
            at=wall,
            about={**status["supervisor"], "uptime": snapshot["uptime"]},
            tasks=snapshot["tasks"],
            pool=self._node("", pool, wall),
            nodes=_without_chains([self._node(name, nodes[name], wall, leaf=name not in inner) for name in names]),
            left_out=snapshot["nodes_left_out"],
            hosts=sorted(snapshot["hosts"], key=lambda host: (host["state"] in GONE, host["name"], host["owner"])),
            notes=list(status.get("notes", ())),
            outlook=self._outlook(),
        )

    def _node(self, name: str, numbers: dict[str, Any], wall: float, *, leaf: bool = False) -> Node:
        look = self._looks[-1]
        done, failing = look.rates(name, next(one for one in self._looks if look.at - one.at <= RATE_SECONDS))
        of_late = look.rates(name, self._looks[0])
        oldest = numbers["oldest"]
        return Node(
            type=name,
            queued=numbers["queued"],
            running=numbers["running"],
            oldest=None if oldest is None else max(0.0, wall - oldest),
            done=done,
            failing=failing,
            share=of_late[1] / sum(of_late) if any(of_late) else None,
            stops=_stops(numbers, wall, leaf=leaf) if name else "",
        )

    def _outlook(self) -> str:
        """What becomes of the queue if it goes on like this."""
        first, last = self._looks[0], self._looks[-1]
        seconds = last.at - first.at
        if not last.waiting or seconds < _TREND_SECONDS_MIN:
            return ""
        recent = next(one for one in self._looks if last.at - one.at <= RATE_SECONDS)
        less = min(_fall(first, last), _fall(recent, last))  # what has come to a halt since is not said to go on
        if less > 0:
            return f"empty in about {span(last.waiting / less)}"
        return f"growing by {-less:,.1f}/s" if less < 0 else "not getting shorter"


def _fall(earlier: _Look, later: _Look) -> float:
    """By how many tasks a second the queue gets shorter."""
    seconds = later.at - earlier.at
    return (earlier.waiting - later.waiting) / seconds if seconds > 0 else 0.0


def _ended(numbers: dict[str, Any]) -> tuple[int, int]:
    return numbers["completed"], numbers["failed"] + numbers["quarantined"]


def _without_chains(nodes: list[Node]) -> list[Node]:
    """Without nodes that have nothing but one node below them and say nothing of their own."""
    below: dict[str, list[Node]] = {}
    for node in nodes:
        below.setdefault(node.type.rpartition(".")[0], []).append(node)

    def passes_on(node: Node) -> bool:
        children = below.get(node.type, ())
        return len(children) == 1 and not node.stops and _alike(node, children[0])

    return [node for node in nodes if not passes_on(node)]


def _alike(one: Node, other: Node) -> bool:
    return replace(one, type="", stops="") == replace(other, type="", stops="")


def _stops(numbers: dict[str, Any], wall: float, *, leaf: bool) -> str:
    """What keeps the tasks of a node, in a few words."""
    limits = numbers["limits"]
    words = [
        _WORDS.get(block["code"], "stopped").format(
            **{name: limits.get(name) for name in ("max_concurrent", "per_host", "rate", "quota")},
            wait=_wait(block.get("until"), wall),
        )
        for block in numbers["blocks"]
        if numbers["queued"] or block["code"] in _ALWAYS_SHOWN
    ]
    if numbers["queued"] and not numbers["hosts"] and leaf:
        words.append("no host")
    return ", ".join(word.strip() for word in words)


def _wait(until: float | None, wall: float) -> str:
    return "" if until is None else f"for {span(max(0.0, until - wall))}"


_WORDS: Final = {
    "paused": "paused",
    "asleep": "sleeps {wait}",
    "max_concurrent": "at most {max_concurrent}",
    "per_host": "at most {per_host} a host",
    "rate": "rate {rate}",
    "quota": "quota {quota} {wait}",
    "breaker": "breaker {wait}",
}
