"""Taking an earlier session of a client's over, so that nothing more of it counts.

A process that was killed may have said something that the supervisor has not heard yet. Who goes on with its work ends
its session first: what the supervisor hears of it from then on is refused, so what is stored by then is all there is.
How much that is can be told when it was handed in one submission at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Unpack

from ..workers.errors import QueueFull
from .client import Client
from .connection import Connection
from .outbox import LETTER_TASKS_MAX, PAUSE_MAX, PAUSE_MIN
from .outcome import raise_refusal
from .parcel import Parcel, parcels
from .terms import Sending, Terms, terms


class Submissions:
    """Hands tasks in with one SUBMIT at a time, each stored whole or not at all.

    Whoever writes down what each will bring, before it leaves, knows after any end how far it came. Of `send_many`
    several may be under way, and a full queue takes in any part of them.
    """

    def __init__(self, connection: Connection, terms: Terms) -> None:
        self._connection, self._terms = connection, terms
        self._room = LETTER_TASKS_MAX  # how many tasks may fit into a queue that was full a moment ago

    def pack(self, params: Iterable[Any]) -> Parcel:
        """What the next SUBMIT brings: the first of these (there must be one), as many as fit into it.

        Raises:
            InvalidTask: Params that cannot travel; a note says which of them.
            TooLarge: Params above the limit.
        """
        return next(parcels(self._terms, params, self._room))

    def store(self, parcel: Parcel) -> list[range] | None:
        """Hand in what was packed. Returns when it is on disk, with the ids.

        None: the queue has no room for it and nothing was stored. That was waited for a while, and what is packed next
        is smaller.

        Raises:
            TaskRefused, DiskFull, PoolUnreachable, PoolRefused: As `Client.send`.
        """
        connection, block = self._connection, parcel.block
        refusals = connection.conversation.refusals
        connection.put(parcel)
        connection.submitted([block], patient=True, refusals=refusals)
        try:
            raise_refusal(block)
        except QueueFull as full:
            self._room = max(1, block.count // 2)
            pause = min(max(full.retry_after, PAUSE_MIN), PAUSE_MAX)
            connection.wait(lambda: False, (), timeout=pause, refusals=refusals)
            return None
        self._room = min(2 * self._room, LETTER_TASKS_MAX)
        return block.ids()


class ResumableClient(Client):
    """A `Client` whose work another process goes on with when it ends too early."""

    def session(self) -> str:
        """What names this client's session, for whoever may have to take it over.

        Raises:
            RuntimeError: The client was closed.
        """
        return self._connections.current().conversation.session.hex()

    def submissions(self, type: str, **sending: Unpack[Sending]) -> Submissions:
        """For tasks of which must be known, after any end, how many are stored.

        Args:
            type: Of all of them.
            **sending: As for `send`; when the queue is full they wait in any case.

        Raises:
            InvalidTask: One of these is wrong.
            RuntimeError: The client was closed.
        """
        return Submissions(self._connections.current(), terms(type, **sending)._replace(patient=False))

    def take_over(self, session: str) -> None:
        """End the session of another client, which `session` has named there: what it says from then on counts no more.

        Returns when the pool has heard that.

        Raises:
            ValueError: It names none.
            PoolUnreachable: No supervisor answered in time.
        """
        token = bytes.fromhex(session)
        if len(token) != len(self._connections.current().conversation.session):
            raise ValueError(f"{session!r} names no session")
        self._connections.take_over(token)
