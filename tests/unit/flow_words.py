"""What tests of flows have in common: handing them in, and ending their tasks."""

from __future__ import annotations

from typing import Any

from unit.pool_words import CLIENT, HOST, completed, failed  # pyright: ignore[reportMissingImports]

from workerhost.transport.messages import Query, Results, Submit

NIL = b"\xc0"
WHOLE = {"name": "nightly"}
WAITING = 0


def flow(pool: Any, *groups: list[Any], submission: int = 101, **said: Any) -> Any:
    """A client hands in a flow, or a part of one; what it was told."""
    return pool.say(CLIENT, Submit(submission, 1, list(groups), {**WHOLE, **said}))


def group(*params: bytes, type: str = "a", **options: Any) -> list[Any]:
    return [type, 5, options or None, list(params or (b"x",))]


def lease(pool: Any, id: int) -> Any:
    return pool.pool.queue.leases[id].row.fence


def finish(pool: Any, id: int, body: bytes = b"value") -> Any:
    item = completed(id, lease(pool, id))
    item[3] = body
    return pool.say(HOST, Results([item]))


def fail(pool: Any, id: int) -> Any:
    return pool.say(HOST, Results([failed(id, lease(pool, id), retry=False)]))


def states(pool: Any, *ids: int) -> list[str]:
    return [pool.state(id) for id in ids]


def reasons(pool: Any, id: int) -> list[str]:
    """What `why` says of a task."""
    pool.say(CLIENT, Query(1, "why", {"id": id}))
    return [reason["text"] for reason in pool.answers[-1].live[id]["reasons"]]
