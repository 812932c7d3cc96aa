"""What a caller asks of its client's conversation. Each holds its own answer, for the thread that waits for it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from ..workers.errors import PoolBusy
from .block import Block, End, Waiter
from .messages import TAILS_MAX, Admin, Cancel, Query
from .parcel import Parcel

PUSHED_MAX: Final = 1000
"""Parcels of lines that wait for a slow reader; older ones are lost."""


class Request:
    """A question or an order, answered by REPLY.

    Attributes:
        message: What to ask; its request number is filled in.
        reply: (ok, value) when answered.
        withdrawn: Whether the asker has given up.
        waiters: Who waits for it.
        before: How the tasks that are to run once more had ended when that was said.
    """

    __slots__ = ("before", "message", "reply", "waiters", "withdrawn")

    def __init__(self, message: Cancel | Query | Admin) -> None:
        self.message = message
        self.before: dict[int, End | None] = {}
        self.reply: tuple[bool, dict[str, Any]] | None = None
        self.withdrawn = False
        self.waiters: list[Waiter] = []


class Lookup:
    """A task by its id, whoever sent it.

    Attributes:
        id: The task.
        block: Where its news arrive, with `offset`; None until known.
        found: Whether the pool has told its state (or that it knows no such task).
        waiters: Who waits for it.
    """

    __slots__ = ("block", "found", "id", "offset", "waiters")

    def __init__(self, id: int) -> None:
        self.id, self.offset = id, 0
        self.block: Block | None = None
        self.found = False
        self.waiters: list[Waiter] = []


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Nobody waits for these submissions any more: do not send or repeat them."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """End the session when everything is acknowledged, at the latest after `patience` seconds."""

    patience: float


class Listener:
    """Where pushed lines of one task arrive. Written by the connection's actor, read by one other thread.

    Attributes:
        id: The task.
        items: (attempt, number of the first line, lines, when), the latest `PUSHED_MAX`.
        over: Nobody reads them any more.
        waiters: Who waits for them.
    """

    __slots__ = ("_refused", "id", "items", "over", "waiters")

    def __init__(self, id: int) -> None:
        self.id = id
        self.items: deque[tuple[int, int, list[str], float]] = deque(maxlen=PUSHED_MAX)
        self.over = self._refused = False
        self.waiters: list[Waiter] = []

    def has_news(self) -> bool:
        """Whether lines have come.

        Raises:
            PoolBusy: None ever will: the client listens to as many tasks as it may.
        """
        if self._refused:
            raise PoolBusy(f"this client listens to {TAILS_MAX} tasks already, and no pool passes on more to one")
        return bool(self.items)

    def refuse(self) -> None:
        """It is one too many."""
        self._refused = True
        for waiter in tuple(self.waiters):
            waiter.wake()

    def take(self, attempt: int, number: int, lines: list[str], at: float) -> None:
        """Lines have come."""
        self.items.append((attempt, number, lines, at))
        for waiter in tuple(self.waiters):
            waiter.wake()


Command = Parcel | Request | Lookup | Listener | Withdraw | Finish
