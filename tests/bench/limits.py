"""What the tree costs: `python tests/bench/limits.py [--rounds N] [--json]`.

The supervisor's core on a real store, without sockets, so that nothing but its own work is measured: processor time of
the same work in turns, with and without what is being asked about, and the medians of their ratios.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workerhost.actors.core.effects import Send
from workerhost.actors.core.pool import Pool
from workerhost.actors.core.settings import PoolSettings
from workerhost.actors.stores.sqlite import SqliteStore
from workerhost.actors.turn import perform
from workerhost.config.limits import Breaker, Rate
from workerhost.config.policy import PolicyTree
from workerhost.transport.messages import Claim, Hello, Message, Results, Submit, Tasks

SLOTS = 500
BATCH = 500
TASKS = 20_000
BLOCKED = 10_000
TRIPS = 400
ONE = "v.p0.e0"
LEAVES = [f"v{m}.p{p}.e{e}" for m in range(10) for p in range(10) for e in range(10)]
EVERY_LIMIT = {"max_concurrent": 10**6, "rate": Rate(1_000_000, 1.0), "breaker": Breaker()}


class Core:
    """A supervisor's core with one client and one host that runs everything at once."""

    def __init__(
        self,
        folder: str,
        nodes: dict[str, dict[str, Any]],
        types: list[str],
        *,
        durability: str = "relaxed",
        **settings: Any,
    ) -> None:
        self.store = SqliteStore(Path(folder, "queue.db"), durability=durability)
        self.now, self.numbers, self.submission = 100.0, {b"c": 0, b"h": 0}, 0
        known = PoolSettings(policies=PolicyTree(nodes), **settings)
        self.pool = Pool(known, self.store.open(), self.now, self.wall, boot=1)
        self._do(self.pool.start(self.now, self.wall))
        self.say(b"c", Hello("client", [1, 1], b"c" * 16, "client"))
        self.say(b"h", Hello("host", [1, 1], b"h" * 16, "host", {"types": types, "slots": {"": SLOTS}}))
        self.say(b"h", Claim({"": SLOTS}))

    @property
    def wall(self) -> float:
        return 1_700_000_000.0 + self.now

    def _do(self, effects: list[Any]) -> list[list[Any]]:
        speech = perform(self.pool, self.store, effects, self.now, self.wall)
        self.pool.next_time(self.now)
        messages = [effect.message for effect in speech if isinstance(effect, Send)]
        return [task for m in messages if isinstance(m, Tasks) for _, tasks in m.groups for task in tasks]

    def say(self, peer: bytes, message: Message) -> list[list[Any]]:
        """One message is one turn; the tasks that were granted in it."""
        self.now += 0.001
        self.numbers[peer] = 0 if isinstance(message, Hello) else self.numbers[peer] + 1
        return self._do(self.pool.handle([(peer, self.numbers[peer], message)], self.now, self.wall))

    def send(self, groups: list[list[Any]], flow: dict[str, Any] | None = None) -> list[list[Any]]:
        self.submission += 1
        return self.say(b"c", Submit(self.submission, self.submission, groups, flow or {}))

    def complete(self, granted: list[list[Any]]) -> list[list[Any]]:
        return self.say(b"h", Results([[task[0], task[1], 0, b"\xc0", 0.01, 0, None] for task in granted]))


def throughput(nodes: dict[str, dict[str, Any]], types: list[str]) -> float:
    """Tasks per second of processor time, sent in batches over these types, granted and completed."""
    with tempfile.TemporaryDirectory(prefix="workerhost-bench-") as folder:
        core = Core(folder, nodes, types)
        share = max(1, BATCH // len(types))
        for type in types:  # each lane has been made once
            core.complete(core.send([[type, 5, None, [b"\xc0"]]]))
        started, done, place = time.process_time(), 0, 0
        while done < TASKS:
            chosen = [types[(place + n) % len(types)] for n in range(BATCH // share)]
            place += len(chosen)
            granted = core.send([[type, 5, None, [b"\xc0"] * share] for type in chosen])
            while granted:
                done += len(granted)
                granted = core.complete(granted)
        seconds = time.process_time() - started
        core.store.close()
        return done / seconds


def claim_latency(blocked: int) -> float:
    """Median milliseconds of processor time from a task's SUBMIT to its TASKS, while others of a node wait."""
    with tempfile.TemporaryDirectory(prefix="workerhost-bench-") as folder:
        core = Core(folder, {"b": {"max_concurrent": 1}}, ["b.one", "w.one"])
        for _ in range(blocked // BATCH):
            core.send([["b.one", 9, None, [b"\xc0"] * BATCH]])
        trips: list[float] = []
        for _ in range(TRIPS):
            started = time.process_time()
            granted = core.send([["w.one", 5, None, [b"\xc0"]]])
            trips.append(1e3 * (time.process_time() - started))
            mine = [task for task in granted if task[3] == 5]
            assert len(mine) == 1, "the task was not granted"
            core.complete(mine)
        core.store.close()
        return statistics.median(trips)


def compared(rounds: int, plain: Callable[[], float], other: Callable[[], float]) -> tuple[float, float, float]:
    """(median of the plain, of the other, of other / plain), measured in turns."""
    pairs = [(plain(), other()) for _ in range(rounds)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(b / a for a, b in pairs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="", help="figures with this in their name")
    arguments = parser.parse_args()
    every = {path: EVERY_LIMIT for leaf in LEAVES for path in (leaf.split(".")[0], leaf.rpartition(".")[0], leaf)}
    none: dict[str, dict[str, Any]] = {}
    measured: dict[str, tuple[Callable[[], float], Callable[[], float]]] = {
        "tasks/s: one node -> a tree of 1,110 nodes, tasks of one type": (
            lambda: throughput(none, [ONE]),
            lambda: throughput(every, [ONE]),
        ),
        "tasks/s: no limit -> a limit, a rate and a breaker at each of the three nodes above": (
            lambda: throughput(none, [LEAVES[0]]),
            lambda: throughput(every, [LEAVES[0]]),
        ),
        "tasks/s: 500 types, no limit -> every limit at every node": (
            lambda: throughput(none, LEAVES[:500]),
            lambda: throughput(every, LEAVES[:500]),
        ),
        "tasks/s: one type -> spread over 1,000 types, no limit": (
            lambda: throughput(none, [ONE]),
            lambda: throughput(none, LEAVES),
        ),
        "ms to a claim: none blocked -> 10,000 tasks blocked in another subtree": (
            lambda: claim_latency(0),
            lambda: claim_latency(BLOCKED),
        ),
    }
    figures = {name: compared(arguments.rounds, *pair) for name, pair in measured.items() if arguments.only in name}
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, (plain, other, ratio) in figures.items():
        print(f"{name}: {plain:,.3f} -> {other:,.3f}, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
