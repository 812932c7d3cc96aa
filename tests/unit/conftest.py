"""A pool without sockets and threads: the real core and the in-memory store, told the time by the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from workerhost.actors.core.effects import Answer, Note, Send
from workerhost.actors.core.invariants import check_invariants
from workerhost.actors.core.pool import Pool
from workerhost.actors.core.settings import PoolSettings
from workerhost.actors.stores.memory import MemoryStore
from workerhost.actors.turn import perform
from workerhost.config.policy import PolicyTree
from workerhost.transport.messages import Alive, Claim, Heartbeat, Hello, Message, Submit, Watch

WALL = 1_700_000_000.0


class PoolAtHand:
    """One supervisor's core between two test lines; `say` is one turn and returns what it said, by peer."""

    def __init__(self, settings: PoolSettings | None = None, store: MemoryStore | None = None) -> None:
        self.settings = settings or PoolSettings()
        self.store = store or MemoryStore()
        self.now, self.jump, self.boot = 100.0, 0.0, 1
        self.numbers: dict[bytes, int] = {}
        self.silent: set[bytes] = set()
        self.notes: list[str] = []
        self.answers: list[Answer] = []
        self.start()

    @property
    def wall(self) -> float:
        return WALL + self.now + self.jump

    def start(self) -> None:
        """A supervisor starts on the store as it is."""
        self.numbers.clear()
        self.pool = Pool(self.settings, self.store.open(), self.now, self.wall, self.boot)
        self._turn(self.pool.start(self.now, self.wall))

    def _turn(self, effects: Any) -> dict[bytes, list[Message]]:
        said: dict[bytes, list[Message]] = {}
        for effect in perform(self.pool, self.store, effects, self.now, self.wall):
            if isinstance(effect, Send):
                said.setdefault(effect.peer, []).append(effect.message)
            elif isinstance(effect, Note):
                self.notes.append(effect.event)
            elif isinstance(effect, Answer):
                said.setdefault(effect.peer, [])
                self.answers.append(effect)
        check_invariants(self.pool)
        self.pool.next_time(self.now)
        return said

    def say(self, peer: bytes, *messages: Message) -> dict[bytes, list[Message]]:
        """Messages of one peer arrive in one batch."""
        batch: list[tuple[bytes, int, Message | None]] = []
        for message in messages:
            self.numbers[peer] = 0 if isinstance(message, Hello) else self.numbers[peer] + 1
            batch.append((peer, self.numbers[peer], message))
        return self.hear(batch)

    def hear(self, batch: list[tuple[bytes, int, Message | None]]) -> dict[bytes, list[Message]]:
        """Messages of several peers arrive in one batch, numbered by the caller."""
        return self._turn(self.pool.handle(batch, self.now, self.wall))

    def close(self, peer: bytes) -> dict[bytes, list[Message]]:
        """A peer's connection closed."""
        return self._turn(self.pool.handle([(peer, 0, None)], self.now, self.wall))

    def wait(self, seconds: float, step: float = 0.5) -> dict[bytes, list[Message]]:
        """Time passes in small steps, and every peer that is not `silent` sends its heartbeats; what else was said."""
        said: dict[bytes, list[Message]] = {}
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(end, self.now + step)
            living = [peer for peer in self.pool.sessions.peers if peer not in self.silent]
            turns = [self.say(peer, Heartbeat(0)) for peer in living]
            for turn in (*turns, self._turn(self.pool.handle([], self.now, self.wall))):
                for peer, messages in turn.items():
                    said.setdefault(peer, []).extend(m for m in messages if not isinstance(m, Alive))
        return {peer: messages for peer, messages in said.items() if messages}

    def host(self, peer: bytes = b"h", *types: str, slots: int = 1, **offer: Any) -> dict[bytes, list[Message]]:
        """A host joins and claims; what was said."""
        offer = {"types": list(types) or ["a"], "slots": {"": slots}, "running": [], "finished": [], **offer}
        name = offer.pop("name", peer.decode())
        session = offer.pop("session", (peer * 16)[:16])
        self.say(peer, Hello("host", [1, 1], session, name, offer))
        return self.say(
            peer, Claim(dict.fromkeys(offer["slots"], slots) if len(offer["slots"]) == 1 else offer["slots"])
        )

    def client(self, peer: bytes = b"c") -> dict[bytes, list[Message]]:
        """A client connects and watches."""
        self.say(peer, Hello("client", [1, 1], (peer * 16)[:16], "client"))
        return self.say(peer, Watch(0, 100))

    def send(
        self, type: str = "a", count: int = 1, priority: int = 5, peer: bytes = b"c", **options: Any
    ) -> dict[bytes, list[Message]]:
        """A client that knows its submissions hands in tasks."""
        self.submission = getattr(self, "submission", 0) + 1
        params = [b"%d" % n for n in range(count)]
        return self.say(peer, Submit(self.submission, 1, [[type, priority, options or None, params]]))

    def state(self, id: int) -> str:
        """A task's state as the store has it."""
        task = self.store.show(id)
        assert task is not None
        return task["state"]


@pytest.fixture
def pool() -> PoolAtHand:
    """A pool with one connected client and no host."""
    world = PoolAtHand()
    world.client()
    return world


@pytest.fixture
def pool_with() -> Callable[..., PoolAtHand]:
    """Makes such a pool with other settings, or with `nodes` of the tree."""

    def make(nodes: dict[str, dict[str, Any]] | None = None, **settings: Any) -> PoolAtHand:
        base = PoolSettings(policies=PolicyTree(nodes)) if nodes else PoolSettings()
        world = PoolAtHand(replace(base, **settings))
        world.client()
        return world

    return make
