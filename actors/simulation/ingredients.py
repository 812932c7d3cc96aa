"""What a world may have beside the common work and the misfortune, each by name, and what a world makes of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from random import Random
from typing import Any, Final

from ...config.changes import Change
from ...config.limits import Rate
from ...config.policy import PolicyTree
from ...config.schedules import Plan, Timing
from ...transport.messages import GiveBack, Hello, Message, Results
from ..core.clients.reloads import Configuration
from ..core.settings import PoolSettings
from .client import SimulatedClient

INGREDIENTS: Final = {
    "schedules": "the pool sends tasks by itself, and people pause that",
    "edits": "people give tasks that have not begun another priority or another type",
    "reloads": "the configuration is read again, with lower limits and with the former ones",
    "declines": "hosts with an odd number take one task in five from nobody",
    "forgetting": "what has ended is kept for seconds",
    "bulk": "clients send much at a time, which keeps the supervisor busy, and ask questions without end",
    "keys": "tasks have keys, and their senders say what becomes of a second one",
    "cache": "results answer for tasks with the same params, and people clear them",
    "stutter": "hosts with an odd number name everything twice that they hold or report",
    "expiry": "tasks are of no use any more if they have not begun by some instant",
    "hangups": "a supervisor's process that ends closes its connections, and who can be reached notices",
    "stubborn": "slots that are told to end do not, one time in two, until they are killed",
    "crowd": "the queue is small, and full",
    "drains": "people have hosts drain, and stay after all",
    "regrets": "people cancel what they have only just sent",
    "filters": "people cancel, run again, edit and delete all tasks that filters name",
}
SCHEDULES: Final = {
    "tick": Plan("a", b"\x01", Timing(every=3.0), "all"),
    "tock": Plan("b.one", b"\x01", Timing(every=7.0), "last", 2),
}
KEPT_SECONDS: Final = 3.0
SIZE, CROWD_SIZE = 500, 40
"""How many unfinished tasks a queue takes, and a small one."""
_SHARE: Final = 0.35
_ORDER_CHANCE: Final = 0.2
_ORDERED: Final = ("edits", "reloads", "schedules", "drains", "bulk", "cache", "filters", "regrets")
_HOSTS: Final = 4
_STAY_CHANCE: Final = 0.7
_DECLINED: Final = 5
_KEYS: Final = ("red", "blue")
_NAMED_SHARE: Final = 0.4
_EXPIRING_SHARE: Final = 0.3
_CHATTERER: Final = "client-0"
BYTE_SECONDS: Final = 10e-6
"""What a byte costs a supervisor whose clients send in bulk."""


def drawn(seed: int) -> frozenset[str]:
    """Each seed has some, each from a source of its own, so that a new one changes only histories that have it."""
    return frozenset(name for name in INGREDIENTS if Random(f"{name} {seed}").random() < _SHARE)


def declines(host: int, id: int) -> bool:
    """Whether a host never takes a task; a host with an even number takes all."""
    return host % 2 == 1 and id % _DECLINED == 0


def said_twice(message: Message) -> Message:
    """A host's message that names its grants twice, if it names any."""
    if isinstance(message, Hello):
        named = {name: 2 * message.offer[name] for name in ("running", "finished")}
        return replace(message, offer={**message.offer, **named})
    return replace(message, items=2 * message.items) if isinstance(message, Results | GiveBack) else message


def configurations(
    policies: PolicyTree, tighter: PolicyTree, schedules: dict[str, Plan], size: int
) -> list[Configuration]:
    """What is read in turn: lower limits, and the former ones again."""
    change = [Change("b", "max_concurrent", 2, 1, "")]
    return [
        Configuration(PoolSettings(policies=tree, max_size=size, schedules=schedules), change)
        for tree in (tighter, policies)
    ]


def tighter(nodes: dict[str, dict[str, Any]], defaults: dict[str, Any], tenants: dict[str, Any]) -> PolicyTree:
    """A tree with lower limits."""
    more = {**nodes, "b": {"max_concurrent": 1}, "d": {**nodes["d"], "rate": Rate(6, 6.0)}}
    return PolicyTree(more, defaults, tenants)


class Orders:
    """What people order in a world with these ingredients, drawn from a source of its own."""

    def __init__(self, seed: int, ingredients: Collection[str]) -> None:
        self._random = Random(f"orders {seed}")
        self._kinds = [kind for kind in _ORDERED if kind in ingredients]

    def given(self, client: SimulatedClient, known: list[int], types: list[str], tenants: list[str]) -> bool:
        """Let a client order something now and then; whether it did."""
        random = self._random
        if not self._kinds or random.random() >= _ORDER_CHANCE:
            return False
        kind = random.choice(self._kinds)
        if kind == "reloads":
            client.order("reload_config")
        elif kind == "schedules":
            client.order(random.choice(("pause_schedule", "resume_schedule")), name=random.choice(sorted(SCHEDULES)))
        elif kind == "drains":
            client.order("drain", host=f"host-{random.randrange(_HOSTS)}", undo=random.random() < _STAY_CHANCE)
        elif kind == "bulk":
            self._crowd(client, types)
        elif kind == "cache":
            client.order("clear_cache", type=random.choice(("", "b", *types)))
        elif kind == "filters":
            verb = random.choice(("cancel", "retry", "delete", "edit"))
            change = {"priority": random.randint(1, 3)} if verb == "edit" else {}
            client.order(verb, where=self._where(client, known, types, tenants), **change)
        elif kind == "regrets":
            client.cancel(known[-random.randint(1, 9) :])
        elif known:
            latest = known[-40:]
            ids = random.sample(latest, min(4, len(latest)))
            change: dict[str, Any] = {"priority": random.randint(1, 3)}
            if random.random() < 0.5:
                change = {"type": random.choice(types)}
            client.order("edit", ids=ids, **change)
        return True

    def _where(self, client: SimulatedClient, known: list[int], types: list[str], tenants: list[str]) -> dict[str, Any]:
        """One or two filters."""
        random = self._random
        filters: dict[str, Any] = {
            "type": random.choice(types),
            "tenant": random.choice(tenants),
            "tag": "short",
            "error": "no",
            "sent_before": client.clock.wall() - random.uniform(0.0, 10.0),
        }
        if known:
            filters["ids"] = random.sample(known, min(6, len(known)))
        return {name: filters[name] for name in random.sample(sorted(filters), random.randint(1, 2))}

    def _crowd(self, client: SimulatedClient, types: list[str]) -> None:
        """One says short words without end, the others much at a time."""
        random = self._random
        if client.name == _CHATTERER:
            client.chatter(random.randint(20, 200), random.uniform(0.005, 0.04))
            return
        for _ in range(random.randint(3, 12)):
            priority, count, size = random.randint(1, 3), random.randint(1, 2), random.randint(300, 1500)
            client.send(random.choice(types), priority, count, None, [b"\x01" * size] * count)


class Expiry:
    """Tasks that are to begin within seconds, drawn from a source of its own."""

    def __init__(self, seed: int, ingredients: Collection[str]) -> None:
        self._random = Random(f"instants {seed}")
        self._share = _EXPIRING_SHARE if "expiry" in ingredients else 0.0

    def given(self, options: dict[str, Any] | None, wall: float) -> dict[str, Any] | None:
        """Options of some tasks that are sent now."""
        random = self._random
        if random.random() >= self._share:
            return options
        return {**(options or {}), "expires": wall + random.uniform(0.2, 6.0)}


class Naming:
    """Tasks for which older ones may answer, drawn from a source of its own."""

    def __init__(self, seed: int, ingredients: Collection[str]) -> None:
        self._random = Random(f"names {seed}")
        self._kinds = [kind for kind in ("keys", "cache") if kind in ingredients]

    def given(
        self, options: dict[str, Any] | None, count: int
    ) -> tuple[dict[str, Any] | None, list[bytes] | None, list[str] | None]:
        """Options, params and keys of some tasks."""
        random = self._random
        if not self._kinds or random.random() >= _NAMED_SHARE:
            return options, None, None
        params = [random.choice((b"\x01", b"\x02")) for _ in range(count)]
        if random.choice(self._kinds) == "cache":
            return {**(options or {}), "cache": random.choice((1.0, 5.0, 60.0))}, params, None
        more: dict[str, Any] = {}
        if unique_for := random.choice((None, None, 2.0, 20.0, "kept")):
            more["unique_for"] = unique_for
        if (conflict := random.choice(("return", "return", "replace", "refuse"))) != "return":
            more["on_conflict"] = conflict
        return {**(options or {}), **more}, params, [random.choice(_KEYS) for _ in range(count)]
