"""One HTTP connection: uvicorn's, with a bound on how long its other end may take to ask.

Owns the time in which a request's head must have come, and which connection gives way when all places are taken. What a
request means, its body, and how long an answer takes are not known here.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS: Final = 10.0
"""From the connection, or from the first byte after an answer, until a request's head has come whole."""


class PatientConnection(H11Protocol):
    """A connection that ends when it asks nothing, and gives way to a new one when it has asked nothing for longest.

    Attributes:
        silent_since: Since when it asks nothing, unless it is being answered (the loop's clock).
    """

    silent_since = 0.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # as uvicorn's own
        """Somebody is there and may ask."""
        super().connection_made(transport)
        self.silent_since = self.loop.time()
        self._wait()
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """A request, or a part of one."""
        if self._timer is None and not self.is_answered():
            self._wait()
        super().data_received(data)
        if self.is_answered():
            self._wait_no_more()

    def on_response_complete(self) -> None:
        """An answer is out. Uvicorn waits for the next request's first byte, then we do for the others."""
        self.silent_since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._wait_no_more()
        super().connection_lost(exc)

    def is_answered(self) -> bool:
        """Whether a request has come and its answer is not out yet."""
        return self.cycle is not None and not self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]  # it is None at first

    def _wait(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._wait_no_more()
        self.transport.abort()

    def _make_room(self) -> None:
        """Uvicorn answers 503 to all when there are so many: those that ask nothing must not bring that about."""
        limit = self.limit_concurrency
        while limit is not None and len(self.connections) >= limit:
            all_of_them = cast("set[PatientConnection]", self.connections)
            silent = [one for one in all_of_them if one is not self and not one.is_answered()]
            if not silent:
                return
            oldest = min(silent, key=lambda one: one.silent_since)
            self.connections.discard(oldest)
            oldest.transport.abort()
