"""Host sessions: who has joined, what each offers, what it holds, and whether it still lives.

Liveness goes by `now` and by silence alone: a host that has not been heard for `lost_after` is lost, however long its
tasks run. A closed connection makes it suspect: it has a short grace to come back with the same session.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from ..access.identities import ANYBODY
from ..order.choices import Choice
from ..order.company import Ahead
from ..order.declines import Declined
from ..order.lane import Lane
from ..rows import Row
from ..statistics import Figures
from ..step import Peer, Step
from .offers import Offer

SUSPECT_SECONDS: Final = 1.0
_GONE_SECONDS: Final = 24 * 3600.0
_GONE_MAX: Final = 1000
_TOKENS_MAX: Final = 10_000

SHOWN_ALIVE: Final = ("joined", "suspect", "draining")
"""What people are shown as the state of a host that lives; see `HostSession.shown_state`."""
_ORDERED: Final = {None: "joined", True: "draining", False: "staying"}
ORDERS: Final = {stored: drains for drains, stored in _ORDERED.items()}
"""Whether a host was ordered to drain, by the state with which the store keeps one that lives."""


class SlotPool:
    """Slots of one host that share a count: all of them (name ""), or those for one subtree.

    Attributes:
        capacity: Tasks that it can run at a time, by its last CLAIM.
        held: Leases, granted and not yet ended, stopping ones included, and what else it was told to stop and runs.
        choice: The lanes it may take from.
    """

    __slots__ = ("capacity", "choice", "held", "host", "name")

    def __init__(self, host: HostSession, name: str) -> None:
        self.host, self.name = host, name
        self.capacity = self.held = 0
        self.choice: Choice | None = None


@dataclass(slots=True, eq=False)
class Lease:
    """A granted task: it belongs to one host session until that is lost.

    Attributes:
        progress: (fraction, note, wall time) as last reported.
        stopping: It was cancelled; the lease only waits for the host to confirm, and still counts.
        announced: Its client was told that it runs.
        declined: What is known of its declines before this grant.
    """

    row: Row
    lane: Lane
    pool: SlotPool
    granted: float
    progress: tuple[float, str, float] | None = None
    stopping: bool = False
    announced: bool = False
    declined: Declined | None = None


@dataclass(slots=True, eq=False)
class HostSession:
    """One process that offers slots, from its first HELLO until it leaves or is lost.

    Attributes:
        owner: Its number in the store; rows name it.
        token: What it says in HELLO, as long as its process lives.
        state: `joined`, `suspect` (not heard over any connection), `away` (known from before a restart), `draining`,
            `lost`, `left`.
        heard: When it was last heard, by `now`.
        gone_at: When its connection closed, by `now`, or None.
        facts: What else its HELLO said (pid, isolation, ...), for people.
        levels: Its level actors, {type: [state, note]}.
        start_failed: Its slot pools with slots whose process cannot be started, and why, by its last CLAIM.
        unserved: Types that it has just said no worker of its is for.
        leases: What it holds, by task.
        tree: The nodes that it was told of.
        greeting: Number of its latest HELLO.
        patience: The `lost_after` that another supervisor told it, until it has said something that follows WELCOME.
        drains: Whether a person's latest order was to drain, or to stay after all; None: there was none.
        figures: What is counted of attempts here.
        ahead: What it gets beyond its free slots while somebody waits for a few tasks.
        identity: The public key that its connection proved, or "" where nothing is proved.
    """

    owner: int
    token: bytes
    name: str
    machine: str
    joined_at: float
    heard: float
    state: str = "joined"
    peer: Peer | None = None
    gone_at: float | None = None
    offer: Offer = field(default_factory=Offer)
    facts: dict[str, Any] = field(default_factory=dict)
    pools: dict[str, SlotPool] = field(default_factory=dict)
    levels: dict[str, list[str]] = field(default_factory=dict)
    start_failed: dict[str, str] = field(default_factory=dict)
    unserved: set[str] = field(default_factory=set)
    leases: dict[int, Lease] = field(default_factory=dict)
    tree: set[str] = field(default_factory=set)
    greeting: int = 0
    patience: float = 0.0
    drains: bool | None = None
    figures: Figures = field(default_factory=Figures)
    identity: str = ANYBODY
    ahead: Ahead = field(default_factory=Ahead)

    def row(self, left_at: float | None = None) -> tuple[Any, ...]:
        """As the store keeps it: of one that lives, what it was ordered."""
        known = (self.owner, self.token, self.name, self.machine, self.joined_at)
        return (*known, left_at, _ORDERED[self.drains] if self.alive() else self.state, self.identity)

    def is_of(self, identity: str) -> bool:
        """Whether this identity may speak for it; who opened it where nothing was proved is anybody."""
        return ANYBODY in (self.identity, identity) or self.identity == identity

    def alive(self) -> bool:
        """Whether its leases still hold."""
        return self.state in ("joined", "suspect", "away", "draining")

    def serves_now(self) -> bool:
        """Whether it takes new tasks, as soon as it is heard; one that is away has not said what it offers."""
        return self.state in ("joined", "suspect")

    def shown_state(self) -> str:
        """Its state for people: whether it was a restart that nobody has heard it since is all the same to them."""
        return "suspect" if self.state == "away" else self.state

    def pool_of(self, type: str) -> SlotPool:
        """The slots that a type uses here (some, for a type that this host no longer takes)."""
        name = self.offer.slot_pool(type)
        return next(iter(self.pools.values())) if name is None else self.pools[name]


class Hosts:
    """All host sessions of this supervisor, by owner number."""

    def __init__(self, lost_after: float) -> None:
        self.lost_after = lost_after
        self.told_before = 0.0  # the longest by which any goes, as it is stored
        self.by_owner: dict[int, HostSession] = {}
        self.by_token: dict[bytes, HostSession] = {}
        self.last_owner = 0
        self._tokens: dict[int, tuple[bytes, str]] = {}  # and identities, of the latest sessions, gone ones included

    def add(self, host: HostSession) -> None:
        """A session is known from now on."""
        self.by_owner[host.owner] = self.by_token[host.token] = host
        self.remember(host.owner, host.token, host.identity)

    def remember(self, owner: int, token: bytes, identity: str) -> None:
        """What a session said in HELLO is known for longer than the session lives, for `held`."""
        self._tokens[owner] = token, identity
        if len(self._tokens) > _TOKENS_MAX:
            del self._tokens[next(iter(self._tokens))]

    def held(self, host: HostSession, owner: int) -> bool:
        """Whether a task's last owner is this host, or an earlier session of the same process, which was lost."""
        token, identity = self._tokens.get(owner, (None, ANYBODY))
        return owner == host.owner or (token == host.token and host.is_of(identity))

    def forget(self, host: HostSession) -> None:
        """Nobody asks about this session any more."""
        del self.by_owner[host.owner]
        self.by_token.pop(host.token, None)

    def forget_old(self, now: float) -> None:
        """Those that are gone are listed for a day, the latest thousand of them."""
        gone = [host for host in self.by_owner.values() if not host.alive()]
        for place, host in enumerate(gone):
            if now - host.heard > _GONE_SECONDS or place < len(gone) - _GONE_MAX:
                self.forget(host)

    def named(self, name: str) -> HostSession | None:
        """The session that holds a name now."""
        return next((host for host in self.by_owner.values() if host.name == name and host.alive()), None)

    def free_name(self, name: str) -> str:
        """The name, or with a number behind it if it is taken."""
        taken = {host.name for host in self.by_owner.values() if host.alive() and host.state != "away"}
        if name not in taken:
            return name
        return next(f"{name}-{n}" for n in range(2, len(taken) + 3) if f"{name}-{n}" not in taken)

    def grace(self) -> float:
        """Seconds that a host whose connection closed has to come back."""
        return min(SUSPECT_SECONDS, self.lost_after)

    def patience(self, host: HostSession) -> float:
        """Seconds of silence after which a host is lost: not before it has given up by itself what never runs twice."""
        return max(self.lost_after, host.patience)

    def remember_patience(self, step: Step) -> None:
        """Keep, over a restart with another `lost_after`, the longest that any host goes by."""
        longest = max([self.lost_after, *(host.patience for host in self.by_owner.values() if host.alive())])
        if longest != self.told_before:
            self.told_before = longest
            step.persist.meta["lost_after_ms"] = round(longest * 1000)

    def overdue(self, now: float) -> list[HostSession]:
        """Those that are lost by now: silent for `lost_after`, or closed and not back within the grace."""
        return [
            host
            for host in self.by_owner.values()
            if host.alive()
            and (
                now - host.heard >= self.patience(host)
                or (host.gone_at is not None and now - host.gone_at >= self.grace())
            )
        ]

    def stalled(self, seconds: float) -> None:
        """The supervisor itself stood still: nobody's silence during that time counts."""
        for host in self.by_owner.values():
            host.heard += seconds
            if host.gone_at is not None:
                host.gone_at += seconds

    def next_check(self) -> float | None:
        """When the next host may be lost, if nothing is heard."""
        living = [host for host in self.by_owner.values() if host.alive()]
        silent = [host.heard + self.patience(host) for host in living]
        closed = [host.gone_at + self.grace() for host in living if host.gone_at is not None]
        return min([*silent, *closed], default=None)

    def serving(self, type: str) -> Iterable[HostSession]:
        """Joined hosts that take tasks of a type."""
        return (host for host in self.by_owner.values() if host.serves_now() and host.offer.serves(type))
