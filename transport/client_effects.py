"""What a client's conversation wants done: the effects that its actor performs, in their order."""

from __future__ import annotations

from dataclasses import dataclass

from .messages import Message


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a new link."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the link; `farewell`: when what was said last has left."""

    farewell: bool = False


@dataclass(frozen=True, slots=True)
class Say:
    """Send a message with its number."""

    number: int
    message: Message


@dataclass(frozen=True, slots=True)
class Alarm:
    """Wake every thread that waits for anything: the supervisor refused this client."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The conversation is over."""


Effect = Connect | Disconnect | Say | Alarm | Leave
