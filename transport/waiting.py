"""How long to wait for a pool: what ends a wait, whoever waits and in whatever way.

Owns the rules of a wait, as steps. It never sleeps and never opens a socket: who takes the steps does, a thread
(`connection.py`) or a coroutine (`async_waiting.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Final, NamedTuple

from ..workers.errors import PoolBusy, PoolRefused
from .access import Access
from .block import Block
from .clock import now
from .conversation import Conversation
from .reachability import NO_IDENTITY, SILENT, UNKNOWN_HERE, unreachable

PROBE_SECONDS_MAX: Final = 0.25
"""How long to knock at a silent address; taken from the end of the caller's timeout, not added to it."""

MAYBE_STORED: Final = "; the task was sent but not acknowledged, so it may have been stored"


class Sleep(NamedTuple):
    """Sleep until woken, at most so many seconds."""

    seconds: float


class Knock(NamedTuple):
    """Find out what is met at the address (see `reachability.probe`) within so many seconds, and hand it in."""

    seconds: float


Steps = Generator[Sleep | Knock, str, bool]
"""What to do next; `Knock` is answered with what was found, `Sleep` with anything."""


class Callee(NamedTuple):
    """Whom a wait is for.

    Attributes:
        access: How the supervisor is reached.
        timeout: Seconds after which a call gives up on it.
        conversation: Where news of it are.
        check: Raises when the connection is over.
    """

    access: Access
    timeout: float
    conversation: Conversation
    check: Callable[[], None]


def waiting(
    callee: Callee,
    done: Callable[[], bool],
    *,
    timeout: float | None,
    strict: bool,
    refusals: int,
    blocks: Sequence[Block],
) -> Steps:
    """Wait until something is the case; see `Connection.wait` for the arguments.

    Returns:
        False if `timeout` passed first.

    Raises:
        PoolUnreachable: The pool has been away, or silent, for the connection's timeout.
        PoolRefused: The pool refused this client.
        PoolBusy: It refused it for now.
        RuntimeError: The client was closed.
    """
    conversation, access = callee.conversation, callee.access
    began = now()
    finding, denials = "", access.denials
    while not done():
        callee.check()
        if conversation.refusals != refusals:
            told = f"the supervisor at {access.address} refused this client: {conversation.refusal}"
            raise PoolBusy(told) if conversation.refusal_code == "quota" else PoolRefused(told)
        moment = now()
        if timeout is not None and moment >= began + timeout:
            return False
        patience = _patience(callee, began, strict=strict)
        denied = access.denials != denials and conversation.away_since is not None
        if denied or moment >= patience:
            finding = SILENT if denied else finding
            if conversation.away_since is None:
                finding = "it is there and alive but does not answer this; see `workerhost status`"
            raise _unreachable(callee, finding or (yield Knock(0.05)), blocks)
        until = patience if timeout is None else min(patience, began + timeout)
        reserve = min(PROBE_SECONDS_MAX, callee.timeout / 4)
        if conversation.away_since is not None and not finding and until == patience:
            if moment >= patience - reserve:
                finding = yield Knock(0.8 * (patience - moment))
                continue
            until -= reserve
        yield Sleep(until - moment)
    return True


def _patience(callee: Callee, began: float, *, strict: bool) -> float:
    """When a wait that began then must end because the pool is silent; while it is there, when to look again."""
    away_since = callee.conversation.away_since
    if strict:
        return began + callee.timeout
    return (now() if away_since is None else max(away_since, began)) + callee.timeout


def _unreachable(callee: Callee, finding: str, blocks: Sequence[Block]) -> Exception:
    sent = any(part.transmitted and not part.answered for block in blocks for part in block.chain())
    if finding == SILENT:
        finding = UNKNOWN_HERE if callee.access.guarded() else NO_IDENTITY
    return unreachable(callee.access.address, callee.timeout, finding, note=MAYBE_STORED if sent else "")
