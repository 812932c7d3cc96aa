"""A host's side of its session: connecting, HELLO, the numbers of messages, heartbeats, and coming back. Pure.

It never gives up. A link that brought trouble is closed and a fresh one opened; each HELLO names the same session, and
what the supervisor makes of it is told by its answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Final

from ....transport.messages import Bye, Heartbeat, Hello, Message, Refused, Welcome
from ..effects import Note
from .host_effects import Connect, Disconnect, HostEffect, Say

_BACKOFF_MIN: Final = 0.2
_BACKOFF_MAX: Final = 5.0
_CLOSED_MAX: Final = 1.0  # where somebody takes connections and closes them
_PATIENCE: Final = 4.0
"""For the answer to HELLO. A link that waits reconnects by itself meanwhile, and to close one on which HELLO is only
late makes the host suspect before it has joined: at 20 % loss one frame in a hundred takes longer than 1 s, and one in
three thousand longer than this (TCP says it again after 0.2, 0.6, 1.4 and 3 s).
"""
_NAME_TAKEN_SECONDS: Final = 1.0
_JITTER: Final = 0.2


class Phase(Enum):
    """Where the host stands with its supervisor."""

    APART = "apart"  # no link; one is opened when the time comes
    GREETING = "greeting"  # HELLO is said
    JOINED = "joined"
    OVER = "over"


class Joining:
    """Where a host stands with its supervisor, and how it gets there.

    Attributes:
        phase: See `Phase`.
        seen: Number of the last message received in this session.
        heartbeat: Seconds between heartbeats, as WELCOME said.
        lost_after: Seconds of silence until either side gives the other up.
        heard: When the supervisor was last heard.
        confirmed: When we sent the latest word that was answered; our leases last until `lost_after` later at least.
            `inf`: never.
    """

    def __init__(self, effects: list[HostEffect], greeting: Callable[[], Hello], address: str, spread: float) -> None:
        """See the class.

        Args:
            effects: Where to put what must be done.
            greeting: Makes the HELLO of the moment.
            address: The supervisor's, for people.
            spread: 0 to 1, this host's own: it spreads the waiting of many hosts.
        """
        self._effects, self._greeting, self._address = effects, greeting, address
        self._spread = 1 + _JITTER * (spread - 0.5)
        self.phase = Phase.APART
        self.seen = self._sent = 0
        self.heartbeat, self.lost_after = 1.0, 5.0
        self.heard, self.confirmed = 0.0, inf
        self._failures = 0  # since a session last proved good
        self._said_unreachable = False
        self._refusal = ""
        self._greeted_at = 0.0
        self._next = inf  # APART: connect, GREETING: give up waiting, JOINED: heartbeat
        self._beats: deque[tuple[int, float]] = deque()  # heartbeats not yet answered: (number, when)

    def connect(self, now: float) -> None:
        """Open a fresh link and say HELLO."""
        self.phase = Phase.GREETING
        self._greeted_at = now
        self._next = now + _PATIENCE
        self._effects.append(Connect())
        self._effects.append(Say(0, self._greeting()))

    def renew(self, now: float) -> None:
        """Say HELLO anew, because what it says has changed."""
        if self.phase in (Phase.GREETING, Phase.JOINED):
            self._effects.append(Disconnect())
        if self.phase is not Phase.OVER:
            self.connect(now)

    def say(self, message: Message) -> int:
        """Send a message of the session; returns its number."""
        self._sent += 1
        self._effects.append(Say(self._sent, message))
        return self._sent

    def welcomed(self, welcome: Welcome, now: float) -> None:
        """The session is open; numbers start anew on both sides."""
        self.phase = Phase.JOINED
        self.seen = self._sent = 0
        self.heartbeat, self.lost_after = welcome.heartbeat, welcome.lost_after
        self.heard = now
        self.confirmed = self._greeted_at
        self._next = self._greeted_at + self.heartbeat  # at once after a late answer: cut-offs go by what is confirmed
        self._beats.clear()
        self._said_unreachable = False
        self._refusal = ""

    def accepts(self, number: int, now: float) -> bool:
        """Take note of a message of the session; False if it is not the one that must follow."""
        if number != self.seen + 1:
            return False
        self.seen = number
        self.heard = now
        return True

    def answered(self, seen: int) -> None:
        """ALIVE: all our messages up to `seen` had arrived when it was sent."""
        while self._beats and self._beats[0][0] <= seen:
            self.confirmed = self._beats.popleft()[1]
            self._failures = 0

    def refused(self, refused: Refused, now: float) -> str | None:
        """HELLO or a message was refused; returns why the host must leave, or None if it tries again."""
        if refused.code in ("version", "forbidden"):
            return f"{self._address} refused this host ({refused.code}): {refused.reason}"
        if refused.code == "unknown_session":
            self.lose(refused.reason, now)
            return None
        if refused.code == "enrolled":  # the pool knows us from now on: say HELLO as ourselves
            self.lose(refused.reason, now, 0.0)
            return None
        if refused.reason != self._refusal and refused.code != "leaving":
            self._refusal = refused.reason
            self._note("warning", "host_refused", code=refused.code, reason=refused.reason)
        wait = _NAME_TAKEN_SECONDS if refused.code == "name_taken" else max(_BACKOFF_MIN, self._backoff())
        self.lose(refused.reason, now, wait)
        return None

    def lose(self, why: str, now: float, wait: float | None = None) -> None:
        """The session, or the attempt at one, is over.

        Args:
            why: For people.
            now: The time.
            wait: Seconds until the next attempt; None: by backoff, the first time at once.
        """
        if self.phase is Phase.OVER:
            return
        if self.phase is Phase.JOINED:
            self._note("warning", "supervisor_lost", reason=why)
        if self.phase is not Phase.APART:
            self._effects.append(Disconnect())
        wait = self._backoff() if wait is None else wait
        self.phase = Phase.APART
        self._failures += 1
        if wait <= 0:
            self.connect(now)
        else:
            self._next = now + wait

    def closed(self, now: float) -> None:
        """The connection is gone: whoever is there now does not know this session before it hears HELLO.

        The link itself waits for somebody to be there, so that neither many failures before nor a supervisor that
        crashes again and again is a reason to be long.
        """
        if self.phase is Phase.JOINED:
            self.lose("the connection closed", now, min(_BACKOFF_MIN, self._backoff()))
        elif self.phase is Phase.GREETING:  # the HELLO may be lost with it
            self.lose("the connection closed", now, min(_CLOSED_MAX, max(_BACKOFF_MIN, self._backoff())))

    def leave(self) -> None:
        """Say goodbye, if anybody listens, and stop trying."""
        if self.phase is Phase.JOINED:
            self.say(Bye("the host leaves"))
            self._effects.append(Disconnect(flush=True))
        elif self.phase is Phase.GREETING:
            self._effects.append(Disconnect())
        self.phase = Phase.OVER
        self._next = inf

    def stalled(self, seconds: float) -> None:
        """This process itself stood still: the supervisor's silence during that time does not count."""
        self.heard += seconds

    def tick(self, now: float) -> None:
        """Silence, patience at an end, and the time to connect."""
        if self.phase is Phase.JOINED:
            if now >= self.heard + self.lost_after:
                self.lose(f"nothing heard for {self.lost_after:g} s", now)
        elif self.phase is Phase.GREETING and now >= self._next:
            self.unreachable("no answer", now, 0.0)
        elif self.phase is Phase.APART and now >= self._next:
            self.connect(now)

    def unreachable(self, why: str, now: float, wait: float | None = None) -> None:
        """HELLO could not be said or was not answered. Said once, then tried in silence."""
        if not self._said_unreachable:
            self._said_unreachable = True
            self._note("warning", "supervisor_unreachable", reason=why, hint="is it running? trying on")
        self.lose(why, now, max(_BACKOFF_MIN, self._backoff()) if wait is None else wait)

    def beat_due(self, now: float) -> bool:
        """Whether a heartbeat is due."""
        return self.phase is Phase.JOINED and now >= self._next

    def beat(self, levels: dict[str, list[str]], now: float) -> None:
        """Send a heartbeat, due or not."""
        self._beats.append((self.say(Heartbeat(self.seen, levels)), now))
        self._next = max(min(self._next, now) + self.heartbeat, now + self.heartbeat / 2)  # no burst after a stall

    def asked(self) -> int:
        """The number of the latest heartbeat, 0 if there is none that was not answered."""
        return self._beats[-1][0] if self._beats else 0

    def due(self) -> float:
        """When `tick` or a heartbeat has something to do; `inf` if never."""
        if self.phase is Phase.JOINED:
            return min(self._next, self.heard + self.lost_after)
        return self._next

    def _exponent(self) -> int:
        return min(self._failures, 5)

    def _backoff(self) -> float:
        """Nothing the first time, then longer and longer."""
        if not self._failures:
            return 0.0
        return min(_BACKOFF_MAX, _BACKOFF_MIN * 2 ** (self._exponent() - 1)) * self._spread

    def _note(self, level: str, event: str, **fields: object) -> None:
        self._effects.append(Note(level, event, {"address": self._address, **fields}))
