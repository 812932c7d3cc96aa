"""The simulated supervisor: the real core and the real store, without an actor around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from ...transport.codec import Malformed, decode, encode
from ...transport.messages import Message, Reply
from ..core.effects import Answer, Need, Note, Persist, Send
from ..core.opening import Opening
from ..core.pool import Pool
from ..core.settings import PoolSettings
from ..stores.contract import Store
from ..turn import perform
from .network import Network
from .timeline import Clock, Timeline

_TURN_SECONDS = 0.0005
_BATCH = 256


class DiskError(Exception):
    """The simulated disk did not take a commit."""


class WatchedStore:
    """A store that tells what was committed, and fails when it is told to.

    Attributes:
        fail_commits: How many of the next commits fail.
    """

    def __init__(self, store: Store, committed: Callable[[list[Persist]], None]) -> None:
        self._store, self._committed = store, committed
        self._turn: list[Persist] = []
        self.fail_commits = 0

    @property
    def durable(self) -> bool:
        """See `Store`."""
        return self._store.durable

    def open(self) -> Opening:
        """See `Store`."""
        return self._store.open()

    def read(self, need: Need) -> list[Any]:
        """See `Store`."""
        return self._store.read(need)

    def params(self, ids: Sequence[int]) -> dict[int, bytes]:
        """See `Store`."""
        return self._store.params(ids)

    def rollback(self) -> None:
        """See `Store`."""
        self._store.rollback()

    def show(self, id: int) -> dict[str, Any] | None:
        """See `Store`."""
        return self._store.show(id)

    def tasks(
        self, *, state: int | None, type: str | None, tag: str | None, limit: int, before: int | None
    ) -> tuple[list[dict[str, Any]], int | None]:
        """See `Store`."""
        return self._store.tasks(state=state, type=type, tag=tag, limit=limit, before=before)

    def close(self) -> None:
        """See `Store`."""
        self._store.close()

    def begin(self) -> None:
        """See `Store`."""
        self._turn = []
        self._store.begin()

    def apply(self, persist: Persist) -> None:
        """See `Store`."""
        self._store.apply(persist)
        self._turn.append(persist)

    def commit(self) -> None:
        """See `Store`.

        Raises:
            DiskError: It was told to fail.
        """
        if self.fail_commits:
            self.fail_commits -= 1
            raise DiskError("no space left on device")
        self._store.commit()
        self._committed(self._turn)
        self._turn = []


class SimulatedSupervisor:
    """A supervisor process: up, down, stalled, or starting on what its store holds.

    Attributes:
        pool: The core, or None while it is down.
        starts: How often it has started.
    """

    def __init__(
        self,
        timeline: Timeline,
        network: Network,
        clock: Clock,
        random: Random,
        settings: PoolSettings,
        store: Store,
        committed: Callable[[list[Persist]], None],
    ) -> None:
        self._timeline, self._network, self.clock, self._random = timeline, network, clock, random
        self._settings = settings
        self.store = WatchedStore(store, committed)
        self.pool: Pool | None = None
        self.starts = 0
        self.notes: list[Note] = []
        self._inbox: list[tuple[bytes, int, Message | None]] = []
        self._turn_set = False
        self._stalled_until = 0.0
        self._wake = 0

    def start(self) -> None:
        """The process comes up and serves."""
        if self.pool is not None:
            return
        self.starts += 1
        opening = self.store.open()
        self.pool = Pool(self._settings, opening, self.clock.now(), self.clock.wall(), boot=1)
        self._inbox, self._turn_set = [], False
        self._network.serve = self._receive
        self._run(self.pool.start(self.clock.now(), self.clock.wall()))

    def crash(self) -> None:
        """The process is gone in the middle of whatever it did."""
        if self.pool is None:
            return
        self.pool = None
        self._wake += 1
        self._network.serve = None
        self.store.rollback()
        self.store.close()

    def stall(self, seconds: float) -> None:
        """The process stands still; what arrives waits."""
        self._stalled_until = self._timeline.now + seconds

    def jump(self, seconds: float) -> None:
        """The wall clock is set."""
        self.clock.jump += seconds

    def _receive(self, address: bytes, body: bytes | None) -> None:
        if body is None:
            self._inbox.append((address, 0, None))
        else:
            try:
                number, message = decode(body)
            except Malformed:
                return
            self._inbox.append((address, number, message))
        self._set_turn(_TURN_SECONDS)

    def _set_turn(self, seconds: float) -> None:
        if not self._turn_set:
            self._turn_set = True
            wait = max(seconds, self._stalled_until - self._timeline.now)
            self._timeline.after(wait, self._turn, self.starts)

    def _turn(self, start: int) -> None:
        if self.pool is None or start != self.starts:
            return
        self._turn_set = False
        if self._timeline.now < self._stalled_until:
            self._set_turn(0.0)
            return
        batch, self._inbox = self._inbox[:_BATCH], self._inbox[_BATCH:]
        self._run(self.pool.handle(batch, self.clock.now(), self.clock.wall()))
        if self._inbox:
            self._set_turn(_TURN_SECONDS)

    def _run(self, effects: list[Any]) -> None:
        assert self.pool is not None
        try:
            speech = perform(self.pool, self.store, effects, self.clock.now(), self.clock.wall())
        except DiskError:
            self.crash()
            self._timeline.after(0.5, self.start)
            return
        for effect in speech:
            if isinstance(effect, Note):
                self.notes.append(effect)
            elif isinstance(effect, Send):
                self._send(effect.peer, encode(effect.message, effect.number))
            else:
                self._answer(effect)
        self._wake += 1
        self._timeline.after(self.clock.until(self.pool.next_time(self.clock.now())), self._timer, self._wake)

    def _timer(self, wake: int) -> None:
        if wake == self._wake and self.pool is not None:
            self._set_turn(0.0)

    def _send(self, peer: bytes, body: bytes) -> None:
        if not self._network.down(peer, body):
            self._inbox.append((peer, 0, None))
            self._set_turn(_TURN_SECONDS)

    def _answer(self, effect: Answer) -> None:
        task = self.store.show(effect.arguments["id"])
        reply = Reply(effect.request, task is not None, {"task": task} if task else {"code": "unknown", "reason": ""})
        self._send(effect.peer, encode(reply, effect.number))
