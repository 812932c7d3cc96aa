"""Taking an earlier session of a client's over, so that nothing more of it counts.

A process that was killed may have said something that the supervisor has not heard yet. Who goes on with its work ends
its session first: what the supervisor hears of it from then on is refused, so what is stored by then is all there is.
"""

from __future__ import annotations

from .client import Client


def session_of(client: Client) -> str:
    """What names the session of a client, for whoever may have to take it over.

    Raises:
        RuntimeError: The client was closed.
    """
    return client._connections.current().conversation.session.hex()  # pyright: ignore[reportPrivateUsage]


def take_over(client: Client, session: str) -> None:
    """End the session that `session_of` has named; returns when the pool has heard that.

    Raises:
        ValueError: It names none.
        PoolUnreachable: No supervisor answered in time.
    """
    token = bytes.fromhex(session)
    if len(token) != len(client._connections.current().conversation.session):  # pyright: ignore[reportPrivateUsage]
        raise ValueError(f"{session!r} names no session")
    client._connections.take_over(token)  # pyright: ignore[reportPrivateUsage]
