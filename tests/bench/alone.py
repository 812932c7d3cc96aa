"""The supervisor's core and store without processes and sockets: `python alone.py '{"queued": 1000000}'`.

What it costs to hold ten million tasks, a thousand hosts or a thousand types is measured here, in a process of its own,
so that its memory tells something. Messages are encoded and decoded as on a link, turns are committed to a real file
with full durability; hosts answer at once. Prints one JSON line.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil

from workerhost.actors.core.effects import Send
from workerhost.actors.core.pool import Pool
from workerhost.actors.core.settings import PoolSettings
from workerhost.actors.stores.sqlite import SqliteStore
from workerhost.actors.turn import perform
from workerhost.transport.codec import decode, encode
from workerhost.transport.messages import Claim, Heartbeat, Hello, Message, Results, Tasks

MAX_SIZE: Final = 20_000_000
BATCH: Final = 256
PARAMS: Final = "84a470617468b82f7372762f6c6962726172792f66696c6d2e6d7034a56672616d6501"
_CLAIM: Final = 20_000
_SECONDS: Final = 0.003  # that a task says it took: long enough that nothing is shipped ahead of free slots

_ROWS: Final = f"""
with recursive n(i) as (select :first union all select i + 1 from n where i < :last)
insert into task(id, lane, priority, place, state, session, fence, attempt, failures, crashes, losses, releases,
    sent_at, relative, owner, params, finish, ended_at, started_at, slot, result)
select i, 1 + i % :types, 5, i, :state, 1, :done, :done, 0, 0, 0, 0, :now, 0, :done, x'{PARAMS}',
    iif(:done, i, null), iif(:done, :now, null), iif(:done, :now, null), iif(:done, 1, null), iif(:done, x'c0', null)
from n
"""


def build(path: Path, *, queued: int, finished: int, types: int) -> None:
    """Fill a new database, in SQL alone: the rows are those that the pool would have written."""
    store = SqliteStore(path)
    store.open()
    store.close()
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in ("synchronous = off", "journal_mode = off", "locking_mode = exclusive"):
        database.execute(f"pragma {pragma}")
    database.execute("begin")
    for lane in range(1, types + 1):
        database.execute("insert into lane values (?, ?, '', '')", (lane, f"bench.t{lane}"))
    for state, first, count in ((4, 1, finished), (2, finished + 1, queued)):
        if count:
            names = {"first": first, "last": first + count - 1, "state": state, "done": int(state == 4)}
            database.execute(_ROWS, {**names, "types": types, "now": time.time()})
    database.execute(
        "insert or replace into meta values ('last_id', ?), ('last_finish', ?)", (queued + finished, finished)
    )
    database.execute("insert into tally select lane, state, count(*) from task group by lane, state")
    database.execute("commit")
    database.execute("pragma journal_mode = wal")
    database.close()


class Bench:
    """A supervisor without an actor, and hosts that are messages."""

    def __init__(self, path: Path, hosts: int, types: int, slots: int) -> None:
        self._started = time.perf_counter()
        self.now = 100.0
        self.store = SqliteStore(path)
        self.pool = Pool(PoolSettings(max_size=MAX_SIZE), self.store.open(), self.now, time.time())
        self.perform(self.pool.start(self.now, time.time()))
        self.numbers: dict[bytes, int] = {}
        self.results: list[tuple[bytes, bytes]] = []
        self.granted = 0
        self.first_grant = 0.0
        for number in range(hosts):
            self._join(b"%016d" % number, types, slots)

    def _join(self, name: bytes, types: int, slots: int) -> None:
        offer = {"types": [f"bench.t{type}" for type in range(1, types + 1)], "slots": {"": slots}}
        self.numbers[name] = 0
        self.turn([(name, encode(Hello("host", [1, 1], name, name.decode(), offer), 0))])
        self.turn([(name, self.say(name, Claim({"": slots})))])

    def say(self, name: bytes, message: Message) -> bytes:
        """A host's next message, as it travels."""
        self.numbers[name] += 1
        return encode(message, self.numbers[name])

    def turn(self, frames: list[tuple[bytes, bytes]]) -> None:
        """One turn of the supervisor; hosts run what they get at once."""
        batch = [(peer, *decode(body)) for peer, body in frames]
        self.perform(self.pool.handle(batch, self.now, time.time()))
        self.pool.next_time(self.now)

    def perform(self, effects: list[Any]) -> None:
        """Commit, then speak."""
        for effect in perform(self.pool, self.store, effects, self.now, time.time()):
            if isinstance(effect, Send):
                body = encode(effect.message, effect.number)
                if isinstance(effect.message, Tasks):
                    self._run(effect.peer, body)

    def _run(self, peer: bytes, body: bytes) -> None:
        _, message = decode(body)
        assert isinstance(message, Tasks)
        if not self.granted:
            self.first_grant = time.perf_counter() - self._started
        items = [[task[0], task[1], 0, b"\xc0", _SECONDS, 0, None] for _, tasks in message.groups for task in tasks]
        self.granted += len(items)
        self.results.append((peer, self.say(peer, Results(items))))

    def claim(self, count: int) -> float:
        """Seconds per task that is granted, run in no time, and recorded."""
        started, until = time.perf_counter(), self.granted + count
        begun = self.granted
        while self.granted < until and self.results:
            frames, self.results = self.results[:BATCH], self.results[BATCH:]
            self.now += 0.01
            self.turn(frames)
        return (time.perf_counter() - started) / (self.granted - begun)

    def hold(self, count: int) -> None:
        """Grant so many tasks, of which none ends."""
        while (before := self.granted) < count:
            self.now += 0.01
            self.turn([])
            self.results.clear()
            if self.granted == before:
                message = f"the hosts have slots for {before:,} tasks, not for {count:,}"
                raise RuntimeError(message)

    def idle(self, seconds: int) -> float:
        """Share of one core that so many hosts cost which only say that they live."""
        started = time.process_time()
        for _ in range(seconds):
            frames = [(name, self.say(name, Heartbeat(0))) for name in self.numbers]
            for batch in _batches(frames):
                self.now += 1 / max(1, len(frames) // BATCH)
                self.turn(batch)
        return (time.process_time() - started) / seconds


def _batches(frames: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(frames), BATCH):
        yield frames[start : start + BATCH]


def main(
    queued: int = _CLAIM,
    finished: int = 0,
    hosts: int = 1,
    types: int = 1,
    slots: int = 1000,
    idle: int = 0,
    held: int = 0,
) -> None:
    """Build, claim, be idle, and print what that took; with `held`, only grant, and print what that weighs."""
    with tempfile.TemporaryDirectory(prefix="workerhost-bench-") as folder:
        path = Path(folder, "queue.db")
        build(path, queued=queued, finished=finished, types=types)
        bench = Bench(path, hosts, types, slots)
        bench.hold(held)
        memory = psutil.Process().memory_info().rss
        if held:
            print(json.dumps({"memory": memory}))
            bench.store.close()
            return
        bench.claim(min(2000, queued // 10))
        began, before = time.process_time(), bench.granted
        seconds = bench.claim(min(_CLAIM, queued * 8 // 10))
        processor = (time.process_time() - began) / (bench.granted - before)
        print(
            json.dumps(
                {
                    "claims_per_second": 1 / seconds,
                    "processor": processor,
                    "first_grant": bench.first_grant,
                    "memory": memory,
                    "memory_after": psutil.Process().memory_info().rss,
                    "idle_share": bench.idle(idle) if idle else None,
                }
            )
        )
        bench.store.close()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
