"""The simulated supervisor: the real core and the real store, without an actor around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from random import Random
from typing import Any, Final

from ...transport.codec import Malformed, decode, encode
from ...transport.messages import Accepted, Events, Hello, Message, Recorded, Refused, Rejected, Reply, Results, Submit
from .. import turn
from ..answers import answer
from ..core.access.arrivals import Arrivals, News, Said
from ..core.access.identities import Garbled
from ..core.clients.reloads import Configuration
from ..core.effects import Answer, Note, Persist, Reread, Send
from ..core.pool import Pool
from ..core.settings import PoolSettings
from .audience import Audience
from .breakers import Breakers
from .disk import DiskError, DiskFull, SimulatedDisk
from .ends_told import EndsTold
from .network import Network
from .oracle import Oracle, Violation
from .prefetch import Prefetch
from .selections import Selections
from .timeline import Clock, Timeline
from .vigil import Hearing

_TURN_SECONDS: Final = 0.0005
_READ_SECONDS: Final = 0.02
_BATCH: Final = 256
_IDLE_TURNS_MAX: Final = 500
_NO_ROOM_CHANCE: Final = 0.3
_BOOT: Final = 1


class SimulatedSupervisor:
    """A supervisor process: up, down, stalled, or starting on what its store holds.

    Attributes:
        pool: The core, or None while it is down.
        disk: What its store lies on.
        starts: How often it has started.
        fall_silent: After how many more messages it dies in the middle of speaking; None: it does not.
    """

    def __init__(
        self,
        timeline: Timeline,
        network: Network,
        clock: Clock,
        random: Random,
        settings: PoolSettings,
        oracle: Oracle,
        make_disk: Callable[[Callable[[list[Persist]], None]], SimulatedDisk],
        byte_seconds: float = 0.0,
        hangs_up: bool = False,
    ) -> None:
        self._timeline, self._network, self.clock, self._random = timeline, network, clock, random
        self._settings, self._oracle = settings, oracle
        self.disk = make_disk(self._committed)
        self.hearing = Hearing(timeline, oracle, settings.lost_after, settings.heartbeat)
        self.audience = Audience(timeline)
        self._selections = Selections(oracle)
        self._ends_told = EndsTold(oracle)
        self._breakers, self._prefetch = Breakers(settings.policies), Prefetch()
        self.pool: Pool | None = None
        self.starts = 0
        self.fall_silent: int | None = None
        self._tokens: dict[bytes, bytes] = {}
        self._reported: dict[tuple[bytes, int], list[Any]] = {}
        self._byte_seconds, self._hangs_up = byte_seconds, hangs_up
        self._inbox: list[Said] = []  # what the socket holds
        self._arrivals = self._nobody()
        self._frames: list[bytes] = []  # that were read for the present turn
        self._busy_until = 0.0
        self._turn_set = False
        self._idle = (0, 0)  # (second, turns without news in it)
        self._stalled_until = 0.0
        self._wake = 0
        self._configurations: Iterator[Configuration] | None = None

    def reread(self, configurations: Sequence[Configuration]) -> None:
        """Whoever asks that the configuration be read again gets these, one after the other, again and again."""
        self._configurations = cycle(configurations)

    def start(self) -> None:
        """The process comes up and serves."""
        if self.pool is None:
            self._inbox = []
            self._go_on()

    def _go_on(self) -> None:
        """Serve what the store holds."""
        self.starts += 1
        opening = self.disk.open(_BOOT)
        self._timeline.tell("supervisor", f"starts, epoch {opening.epoch}")
        self._oracle.tuned(self._settings.policies)
        self._breakers.restarted()
        self._prefetch.restarted()
        self.hearing.restarted()
        self.audience.restarted()
        self.pool = Pool(self._settings, opening, self.clock.now(), self.clock.wall(), _BOOT)
        self._turn_set, self._tokens = False, {}
        self._reported, self._arrivals = {}, self._nobody()
        self._network.serve = self._receive
        self._run(self.pool.start(self.clock.now(), self.clock.wall()))
        if self._inbox:
            self._set_turn(_TURN_SECONDS)

    def _make_room(self) -> None:
        """The disk is full. As `SupervisorActor` does, it forgets what it has in memory and goes on from the store over
        the connections that it has, at once or, while there is not even room for that, later.
        """
        self._end("has no room on its disk")
        self.disk.close()
        if self._random.random() < _NO_ROOM_CHANCE:
            self._timeline.after(0.5 + self._random.random() * 5, self.start)
        else:
            self._go_on()

    def kill(self) -> None:
        """The process is gone in the middle of whatever it did."""
        if self._end("is killed"):
            self.disk.kill()
            self._hang_up()

    def power_cut(self) -> None:
        """Its machine goes off, and its disk forgets what was not synced."""
        if self._end("loses its power"):
            self.disk.power_cut()

    def stop(self) -> None:
        """The process leaves as it should."""
        pool = self.pool
        if self._end("leaves") and pool is not None:
            for address in pool.sessions.peers:
                self._network.down(address, encode(Refused("leaving", "the supervisor leaves"), 0))
            self.disk.close()
            self._hang_up()

    def _hang_up(self) -> None:
        """What a process has open its machine closes, and its peers are told."""
        if self._hangs_up:
            self._network.hang_up()

    def _end(self, how: str) -> bool:
        if self.pool is None:
            return False
        self._timeline.tell("supervisor", how)
        self.pool = None
        self.fall_silent = None
        self._wake += 1
        self._network.serve = None
        return True

    def stall(self, seconds: float) -> None:
        """The process stands still, for longer if it does already; what arrives waits."""
        self._stalled_until = max(self._stalled_until, self._timeline.now + seconds)
        self.audience.stands_still(self._stalled_until)
        self.hearing.stands_still(self._stalled_until)

    def jump(self, seconds: float) -> None:
        """The wall clock is set."""
        self.clock.jump += seconds

    # Turns.

    def _receive(self, address: bytes, body: bytes | None) -> None:
        self._inbox.append((address, body))
        self._set_turn(_TURN_SECONDS)

    def _nobody(self) -> Arrivals:
        return Arrivals(self._role_of, self._is_ignored, self._read)

    def _role_of(self, address: bytes) -> str:
        known = self.pool.sessions.peers.get(address) if self.pool is not None else None
        return known.role if known is not None else ""

    def _is_ignored(self, address: bytes) -> bool:
        return self.pool is not None and self.pool.gate.ignores(address, self.clock.now())

    def _read(self, frame: bytes) -> tuple[int, Message | Garbled]:
        self._frames.append(frame)
        try:
            return decode(frame)
        except Malformed:
            return 0, Garbled()

    def _set_turn(self, seconds: float) -> None:
        if not self._turn_set:
            self._turn_set = True
            wait = max(seconds, max(self._stalled_until, self._busy_until) - self._timeline.now)
            self._timeline.after(wait, self._turn, self.starts)

    def _turn(self, start: int) -> None:
        if self.pool is None or start != self.starts:
            return
        self._turn_set = False
        if self._timeline.now < self._stalled_until:
            self._set_turn(0.0)
            return
        batch, self._inbox = self._inbox[:_BATCH], self._inbox[_BATCH:]
        news, took = self._hear(batch)
        now, wall = self.clock.now(), self.clock.wall()
        self._arrivals.ended(now + took * self.clock.rate)
        more, waiting = len(batch) == _BATCH, self._arrivals.waiting()
        self.hearing.batch(self.pool, news, waiting)
        if self._run(self.pool.handle(news, now, wall, more=more, waiting=waiting)):
            self._oracle.turned(self._timeline.now, now, wall)
            if not more:
                self.hearing.check()
        if self._inbox or self._arrivals.next_time() == 0.0:
            self._set_turn(took)

    def _hear(self, batch: list[Said]) -> tuple[list[News], float]:
        """What this turn hears, and how many of the world's seconds it takes."""
        assert self.pool is not None
        self._frames = []
        self.audience.came(batch)
        self._arrivals.add(batch)
        news = self._arrivals.take(self.clock.now())
        took = _TURN_SECONDS + self._byte_seconds * sum(map(len, self._frames))
        self._busy_until = self._timeline.now + took
        self.audience.heard(self._frames, news, took)
        self._check_idle(news)
        self._selections.heard(news)
        for address, number, message in news:
            if message is not None:
                self._timeline.tell(f"{self._network.name(address)} -> supervisor", message)
            if isinstance(message, Hello):
                self._tokens[address] = message.session
            elif isinstance(message, Results):
                self._reported[address, number] = message.items
            elif isinstance(message, Submit) and (token := self._tokens.get(address)) is not None:
                self._oracle.history.names.heard(token, message)
        return news, took

    def _check_idle(self, batch: Sequence[object]) -> None:
        """Guarantee 9, of loops: time alone wakes a supervisor, but not again and again for nothing."""
        second = int(self._timeline.now)
        if second != self._idle[0]:
            self._idle = (second, 0)
        if not batch:
            self._idle = (second, self._idle[1] + 1)
            if self._idle[1] > _IDLE_TURNS_MAX:
                raise Violation(f"the supervisor spins: {self._idle[1]} turns without news within a second")

    def _run(self, effects: list[Any]) -> bool:
        """Do what the core asks for; whether this core lives on."""
        assert self.pool is not None
        try:
            speech = turn.perform(self.pool, self.disk, effects, self.clock.now(), self.clock.wall())
        except DiskFull:
            self._make_room()
            return False
        except DiskError:
            self.kill()
            self._timeline.after(0.5 + self._random.random() * 5, self.start)
            return False
        if (wrong := self._breakers.said(speech, self._oracle.history, self.clock.now())) is not None:
            raise Violation(wrong)
        for effect in speech:
            if not isinstance(effect, Note) and self._dies_speaking():
                return False
            if isinstance(effect, Send):
                self._send(effect)
            elif isinstance(effect, Answer):
                self._answer(effect)
            elif isinstance(effect, Reread) and self._configurations is not None:
                self._timeline.after(_READ_SECONDS, self._reread, self.starts, next(self._configurations))
        self._wake += 1
        due = self.pool.next_time(self.clock.now())
        if (held := self._arrivals.next_time()) is not None:
            due = min(due, held)
        self._timeline.after(self.clock.until(due), self._timer, self._wake)
        return True

    def _reread(self, start: int, read: Configuration) -> None:
        if self.pool is not None and start == self.starts:
            self._oracle.tuned(read.settings.policies)
            self._run(self.pool.reread(read, self.clock.now(), self.clock.wall()))

    def _dies_speaking(self) -> bool:
        if self.fall_silent is None:
            return False
        self.fall_silent -= 1
        if self.fall_silent > 0:
            return False
        self.kill()
        self._timeline.after(self._random.random() * 5, self.start)
        return True

    def _committed(self, turn: list[Persist]) -> None:
        self._oracle.committed(turn, self.pool, self._timeline.now, self.clock.now(), self.clock.wall())
        self._selections.committed(turn)
        self._ends_told.committed(turn)
        self.hearing.committed(turn)
        history = self._oracle.history
        self._breakers.committed(turn, history)
        wrong = self._prefetch.committed(turn, history, self._oracle.policies, self.hearing.capacity)
        if wrong is not None:
            raise Violation(wrong)

    def _timer(self, wake: int) -> None:
        if wake == self._wake and self.pool is not None:
            self._set_turn(0.0)

    def _send(self, effect: Send) -> None:
        message = effect.message
        if isinstance(message, Accepted):
            self._oracle.acknowledged(self._tokens[effect.peer], message.first, message.count, message.others)
        elif isinstance(message, Rejected) and message.code == "conflict":
            self._oracle.rejected(self._tokens[effect.peer], message.submission, self.clock.wall())
        elif isinstance(message, Recorded):
            self._oracle.recorded(self._reported.pop((effect.peer, message.number)), message.stale)
        elif isinstance(message, Reply) and self._oracle.watches:
            self._selections.said(effect.peer, message)
        elif isinstance(message, Events) and self._oracle.watches:
            self._ends_told.said(message)
        self._timeline.tell(f"supervisor -> {self._network.name(effect.peer)}", message)
        if not self._network.down(effect.peer, encode(message, effect.number)):
            self._inbox.append((effect.peer, None))
            self._set_turn(_TURN_SECONDS)

    def _answer(self, effect: Answer) -> None:
        self._send(Send(effect.peer, effect.number, answer(self.disk, effect)))
