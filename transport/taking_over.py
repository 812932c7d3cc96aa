"""Taking an earlier session of a client's over, so that nothing more of it counts.

A process that was killed may have said something that the supervisor has not heard yet. Who goes on with its work ends
its session first: what the supervisor hears of it from then on is refused, so what is stored by then is all there is.
"""

from __future__ import annotations

from .client import Client


class ResumableClient(Client):
    """A `Client` whose work another process goes on with when it ends too early."""

    def session(self) -> str:
        """What names this client's session, for whoever may have to take it over.

        Raises:
            RuntimeError: The client was closed.
        """
        return self._connections.current().conversation.session.hex()

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
