"""What tests of the pool have in common: reading what was said, and writing reports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from workerhost.transport.messages import (
    Events,
    Message,
    Tasks,
)

HOST, CLIENT = b"h", b"c"
EPOCH = 1 << 40
QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED, QUARANTINED, SCHEDULED = 2, 3, 4, 5, 6, 7, 1


def granted(said: dict[bytes, list[Message]], host: bytes = HOST) -> list[tuple[int, int, int]]:
    """(id, fence, attempt) of the tasks that a host was given."""
    return [
        (task[0], task[1], task[2])
        for message in said.get(host, [])
        if isinstance(message, Tasks)
        for _, tasks in message.groups
        for task in tasks
    ]


def ended(said: dict[bytes, list[Message]], peer: bytes = CLIENT) -> list[tuple[int, int]]:
    """(id, state) of the ends that a client was told."""
    return [(e[0], e[2]) for m in said.get(peer, []) if isinstance(m, Events) for e in m.finished]


def pass_time(world: Any, seconds: float, step: float) -> None:
    """Time passes in large steps for those who are here."""
    world.pool.hosts.lost_after = world.pool.sessions.lost_after = 1e9
    world.pool.settings = replace(world.pool.settings, heartbeat=1e9, lost_after=1e9)
    world.wait(seconds, step)


def completed(id: int, fence: int, duration: float = 0.1) -> list[Any]:
    return [id, fence, 0, b"value", duration, 0, None]


def failed(id: int, fence: int, **detail: Any) -> list[Any]:
    return [id, fence, 1, b"", 0.1, 0, {"error_type": "ValueError", "message": "no", "retry": True, **detail}]


def crashed(id: int, fence: int) -> list[Any]:
    return [id, fence, 3, b"", 0.1, 0, {"signal": 11}]
