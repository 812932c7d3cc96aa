"""The client's conversation against the real core of a supervisor, over links that lose, with restarts. No sockets.

Whatever happens, when the trouble is over every task that was handed in exists exactly once and its sender knows its
result.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest

from workerhost.actors.core.effects import Answer, Send
from workerhost.actors.core.pool import Pool
from workerhost.actors.core.settings import PoolSettings
from workerhost.actors.stores.memory import MemoryStore
from workerhost.actors.turn import perform
from workerhost.transport.client_effects import Connect, Disconnect, Effect, Say
from workerhost.transport.commands import Lookup
from workerhost.transport.conversation import Conversation
from workerhost.transport.messages import Claim, Heartbeat, Hello, Message, Results, Tasks, Welcome
from workerhost.transport.parcel import Parcel
from workerhost.transport.terms import Terms

HOST = b"host"


class World:
    """One supervisor, one host that echoes params, one client; messages wait in queues until they are delivered."""

    def __init__(self, seed: int, max_size: int) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.settings = PoolSettings(max_size=max_size)
        self.store = MemoryStore()
        self.links = 0
        self.up: deque[tuple[int, Message]] = deque()
        self.down: deque[tuple[int, Message]] = deque()
        self.host_numbers = [0, 0]
        self.client = Conversation(self.random.randbytes(16), "simulated", self.now)
        self.parcels: list[Parcel] = []
        self.sent = 0
        self.restart()
        self.perform(self.client.start(self.now))

    @property
    def link(self) -> bytes:
        return b"link %d" % self.links

    def restart(self) -> None:
        """The supervisor dies and starts again on what is stored; what was under way is lost."""
        self.up.clear()
        self.down.clear()
        self.pool = Pool(self.settings, self.store.open(), self.now, self.now)
        self.speak(self.pool.start(self.now, self.now))
        offer: dict[str, Any] = {"slots": {"": 20}, "any": True, "running": [], "finished": []}
        self.host_says(Hello("host", [1, 1], b"h" * 16, "echo", offer))

    def speak(self, effects: Any) -> None:
        for effect in perform(self.pool, self.store, effects, self.now, self.now):
            if isinstance(effect, Answer) or not isinstance(effect, Send):
                continue
            if effect.peer == self.link:
                self.down.append((effect.number, effect.message))
            elif effect.peer == HOST:
                self.host_hears(effect.message)

    def host_says(self, message: Message) -> None:
        number = 0
        if not isinstance(message, Hello):
            self.host_numbers[0] += 1
            number = self.host_numbers[0]
        self.speak(self.pool.handle([(HOST, number, message)], self.now, self.now))

    def host_hears(self, message: Message) -> None:
        if isinstance(message, Welcome):
            self.host_numbers[0] = 0
            self.host_says(Claim({"": 20}))
        elif isinstance(message, Tasks):
            tasks = [task for _, tasks in message.groups for task in tasks]
            self.host_says(Results([[task[0], task[1], 0, task[5], 0.5, 0, None] for task in tasks]))

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Say):
                self.up.append((effect.number, effect.message))
            elif isinstance(effect, Connect):
                self.links += 1
                self.up.clear()
                self.down.clear()
            elif isinstance(effect, Disconnect):
                self.up.clear()
                self.down.clear()

    # What may happen.

    def deliver_up(self) -> None:
        if self.up:
            number, message = self.up.popleft()
            self.speak(self.pool.handle([(self.link, number, message)], self.now, self.now))

    def deliver_down(self) -> None:
        if self.down:
            self.perform(self.client.on_message(*self.down.popleft(), self.now))

    def lose(self) -> None:
        queue = self.random.choice((self.up, self.down))
        if queue:
            del queue[self.random.randrange(len(queue))]

    def send(self) -> None:
        count = self.random.choice((1, 1, 1, 3, 40))
        params = [b"%d" % (self.sent + n) for n in range(count)]
        terms = Terms(self.random.choice("ab"), self.random.randrange(3), None, patient=True)
        parcel = Parcel(terms, params, sum(map(len, params)))
        self.parcels.append(parcel)
        self.sent += count
        self.perform(self.client.take([parcel], self.now))

    def look(self) -> None:
        self.perform(self.client.take([Lookup(self.random.randrange(1, 50))], self.now))

    def wait(self) -> None:
        self.now += self.random.choice((0.01, 0.1, 1.0))
        if self.client.wake_at is not None and self.now >= self.client.wake_at:
            self.perform(self.client.tick(self.now))
        self.host_says(Heartbeat(0))

    def step(self) -> None:
        choices = (self.deliver_up, self.deliver_down, self.wait, self.send, self.look, self.lose, self.restart)
        self.random.choices(choices, (30, 30, 10, 8, 2, 2, 0.3))[0]()

    def heal(self) -> None:
        """No more trouble: everything is delivered and time passes."""
        for _ in range(4000):
            while self.up or self.down:
                self.deliver_up()
                self.deliver_down()
            if not self.client.outbox.unanswered and all(part.left == 0 for part in self.blocks()):
                return
            self.wait()

    def blocks(self) -> list[Any]:
        return [part for parcel in self.parcels for part in parcel.block.chain()]

    def stored(self) -> int:
        return sum(self.pool.queue.lanes.total(state) for state in range(8))


@pytest.mark.parametrize("seed", range(60))
def test_every_task_exists_once_and_its_sender_knows_its_result(seed: int) -> None:
    world = World(seed, max_size=(1_000_000, 60, 5)[seed % 3])
    for _ in range(400):
        world.step()
    world.heal()

    params = [b"%d" % n for n in range(world.sent)]
    ends = [end for parcel in world.parcels for part in parcel.block.chain() for end in part.ends]
    assert ends == params, f"seed {seed}"
    ids = [part.first + offset for part in world.blocks() for offset in range(part.count)]
    assert sorted(ids) == list(range(1, world.sent + 1)), f"seed {seed}"
    assert world.stored() == world.sent
