"""The queue in memory does not grow with what it has forgotten. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from unit.conftest import PoolAtHand  # pyright: ignore[reportMissingImports]
from unit.flow_words import finish, flow, group  # pyright: ignore[reportMissingImports]
from unit.pool_words import CLIENT, HOST  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.effects import Where
from workerhost.actors.core.settings import Keep, PoolSettings
from workerhost.actors.stores.memory import MemoryStore
from workerhost.actors.stores.order import Order
from workerhost.transport.messages import Query


def held(thing: Any) -> int:
    """How many things something holds, at any depth, without what an `Order` has not cleared away yet."""
    if isinstance(thing, Order):
        return 1 + len(thing)
    if isinstance(thing, Mapping):
        return 1 + sum(map(held, cast("Mapping[Any, Any]", thing).values()))
    if isinstance(thing, list | tuple | set):
        return 1 + sum(map(held, cast("list[Any]", thing)))
    return 1 + held(vars(thing)) if type(thing).__module__.startswith("workerhost.actors.stores") else 1


def test_what_is_forgotten_leaves_nothing_behind() -> None:
    for ageing in (0.0, 5.0):
        pool = PoolAtHand(PoolSettings(keep=Keep(completed=1.0, failed=1.0), ageing=ageing), MemoryStore(ageing))
        pool.client()
        pool.host(HOST, "a", slots=100)
        sizes: list[dict[str, int]] = []
        for round in range(6):
            first = pool.pool.queue.last_id + 1
            name = f"round {round}"
            pool.send("a", priority=round, tags=[name], delay=0.2)
            pool.send("a", after=[first])
            pool.send("a", key=name)
            flow(pool, group(), group(within=[0]), group(within=[0, 1]), submission=1000 + round)
            pool.say(CLIENT, Query(1, "tasks", {"tag": f"never {round}"}))
            pool.store.tasks(Where(tag=f"never {round}"), 5)
            pool.wait(1.0)
            for id in range(first, first + 6):
                finish(pool, id)
            pool.wait(5.0)
            assert pool.store.tasks(Where(), 5)[0] == []
            pool.store._submissions.clear()  # pyright: ignore[reportPrivateUsage]  # they go with their session
            sizes.append({name: held(value) for name, value in vars(pool.store).items()})
        assert sizes[-1] == sizes[2]
