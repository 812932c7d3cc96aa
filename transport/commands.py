"""What a caller asks of its client's conversation. Each holds its own answer, for the thread that waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .block import Block, Waiter
from .messages import Admin, Cancel, Query
from .parcel import Parcel


class Request:
    """A question or an order, answered by REPLY.

    Attributes:
        message: What to ask; its request number is filled in.
        reply: (ok, value) when answered.
        withdrawn: Whether the asker has given up.
        waiters: Who waits for it.
    """

    __slots__ = ("message", "reply", "waiters", "withdrawn")

    def __init__(self, message: Cancel | Query | Admin) -> None:
        self.message = message
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


Command = Parcel | Request | Lookup | Withdraw | Finish
