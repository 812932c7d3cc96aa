"""One HTTP connection: uvicorn's, with bounds on how long its other end may take to ask, and take nothing of an answer.

Owns the time in which a request's head must have come, the time for which an answer is held ready for who takes nothing
of it, and which connection gives way when all places are taken. What a request means, its body, and how long an answer
takes are not known here.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS: Final = 10.0
"""From the connection, or from the first byte after an answer, until a request's head has come whole."""

STALL_SECONDS: Final = 20.0
"""After which one that takes nothing of its answer, though more is ready than fits on the way, is dropped."""


class PatientConnection(H11Protocol):
    """A connection that ends when it asks or takes nothing, and gives way to a new one when it has done so for longest.

    Attributes:
        silent_since: Since when it asks nothing, or takes too little of its answer (the loop's clock).
    """

    silent_since = 0.0
    _timer: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

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

    def pause_writing(self) -> None:
        """The answer is made faster than it is taken."""
        super().pause_writing()
        self.silent_since = self.loop.time()
        self._hold_ready()

    def resume_writing(self) -> None:
        """Most of what was ready has been taken."""
        self._hold_no_more()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._wait_no_more()
        self._hold_no_more()
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

    def _hold_ready(self) -> None:
        self._stall = self.loop.call_later(STALL_SECONDS, self._look, self.transport.get_write_buffer_size())

    def _hold_no_more(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _look(self, before: int) -> None:
        """Whether it has taken something since so much was ready."""
        if self.transport.get_write_buffer_size() < before:
            self._hold_ready()
        else:
            self.transport.abort()

    def _make_room(self) -> None:
        """Uvicorn answers 503 to all when there are so many: who asks nothing, or takes no answer, must not bring that
        about.
        """
        limit = self.limit_concurrency
        while limit is not None and len(self.connections) >= limit:
            all_of_them = cast("set[PatientConnection]", self.connections)
            others = [one for one in all_of_them if one is not self]
            silent = [one for one in others if one.flow.write_paused or not one.is_answered()]
            if not silent:
                return
            oldest = min(silent, key=lambda one: (one.is_answered(), one.silent_since))
            self.connections.discard(oldest)
            oldest.transport.abort()
