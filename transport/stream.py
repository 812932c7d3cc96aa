"""Results as they come: `map`, in the order of the params, and `as_completed`, in the order in which tasks end."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from ..workers.errors import WorkerHostError
from .block import Block, Waiter
from .clock import now
from .commands import Withdraw
from .connection import Connection, Connections
from .handle import Handle, cancel
from .outcome import error_of, value_of
from .parcel import Parcel, parcels
from .terms import Terms

Value = TypeVar("Value")

CHUNKS: Final = 4
"""Into how many submissions a full buffer is cut: while one is read, the others run."""

LINGER: Final = 0.005
"""Seconds that params wait for company when their source is slow."""

ABANDON_SECONDS: Final = 1.0
"""How long leaving a `map` early waits for the ids of what was sent last, in order to cancel it."""


class Mapping:
    """Sends params as room in the buffer appears and gives the values back in order.

    Args:
        connections: Where to send. They are held: a client that nobody else holds is not closed before the last value.
        terms: What the tasks have in common.
        params: May be endless.
        buffersize: Most tasks sent whose values have not been taken.
        return_exceptions: Give errors of tasks as values instead of raising them.
    """

    def __init__(
        self, connections: Connections, terms: Terms, params: Iterable[Any], buffersize: int, *, return_exceptions: bool
    ) -> None:
        self._connections, self._connection, self._patient = connections, connections.current(), terms.patient
        self._chunk = max(1, buffersize // CHUNKS)
        self._room, self._return_exceptions = buffersize, return_exceptions
        self._parcels: Iterator[Parcel] | None = parcels(terms, params, self._chunk, LINGER)
        self._blocks: deque[Block] = deque()

    def fill(self) -> None:
        """Send until the buffer is full, or a value can be taken and the source is slow.

        Raises:
            TaskRefused: Params that cannot travel.
        """
        began = now()
        while self._parcels is not None and self._room >= self._chunk:
            parcel = next(self._parcels, None)
            if parcel is None:
                self._parcels = None
                return
            self._room -= parcel.block.count
            self._connection.put(parcel)
            self._blocks.append(parcel.block)
            if now() - began > LINGER and not self._blocks[0].left:
                return

    def begin(self) -> Generator[Any]:
        """Send the first of them; the values.

        Raises:
            TaskRefused: Params that cannot travel. What was sent before them is cancelled, as in `values`.
        """
        try:
            self.fill()
        except BaseException:
            self._abandon(list(self._blocks), new=True)
            raise
        return self.values()

    def values(self) -> Generator[Any]:
        """The values. What has not ended when this is left early is cancelled, as with `Executor.map`."""
        block: Block | None = None
        try:
            while self._blocks:
                block = self._blocks.popleft()
                yield from self._take(block)
                block = None
                self.fill()
        finally:
            rest = [*([block] if block is not None else []), *self._blocks]
            if rest:
                self._abandon(rest)

    def _take(self, head: Block) -> Iterator[Any]:
        connection = self._connection
        connection.submitted([head], patient=self._patient, refusals=connection.conversation.refusals)
        for block in head.chain():
            for offset in range(block.count):
                if block.ends[offset] is None:
                    connection.wait(partial(_has_ended, block, offset), [block.waiters])
                end = block.ends[offset]
                assert end is not None
                self._room += 1
                id = block.id(offset)
                yield value_of(id, end) if isinstance(end, bytes) or not self._return_exceptions else error_of(id, end)

    def _abandon(self, blocks: list[Block], *, new: bool = False) -> None:
        """Cancel what has not ended, if the pool is there; who leaves early does not want to hear that it is not.

        Args:
            blocks: What was sent.
            new: The connection may be so new that the pool has not been heard yet: it may be there all the same.
        """
        connection = self._connection
        until = now() + ABANDON_SECONDS
        with suppress(WorkerHostError, RuntimeError):
            for block in blocks:
                if not block.answered and (new or connection.conversation.away_since is None):
                    answered = partial(getattr, block, "answered")
                    connection.wait(answered, [block.waiters], timeout=until - now())
        with suppress(WorkerHostError, RuntimeError):
            connection.put(Withdraw(tuple(blocks)))
            if connection.conversation.away_since is None:
                known = [part for block in blocks for part in block.chain() if part.first]
                cancel(connection, [id for part in known for id in part.unfinished()])


def as_completed(
    connection: Connection, handles: Iterable[Handle[Value]], timeout: float | None
) -> Iterator[Handle[Value]]:
    """Handles as their tasks end, each once; those that have ended first.

    Raises:
        TimeoutError: They did not all end in time.
        PoolUnreachable: The pool was away for the client's timeout.
    """
    deadline = None if timeout is None else now() + timeout
    pending: dict[Block, dict[int, Handle[Value]]] = {}
    for handle in handles:
        block, offset = handle.place()
        pending.setdefault(block, {}).setdefault(offset, handle)
    waiter = Waiter()
    ended = waiter.ended = deque()
    for block in pending:
        block.waiters.append(waiter)
    try:
        for block, wanted in pending.items():
            ready = [offset for offset in wanted if block.ends[offset] is not None]
            yield from [wanted.pop(offset) for offset in ready]
        total = left = sum(map(len, pending.values()))
        while left:
            seconds = None if deadline is None else deadline - now()
            if not connection.wait(lambda: bool(ended), (), timeout=seconds, waiter=waiter):
                raise TimeoutError(f"{left} of {total} tasks have not ended within {timeout:g} s; they go on")
            while ended:
                block, offsets = ended.popleft()
                for handle in [pending[block].pop(offset) for offset in offsets if offset in pending[block]]:
                    left -= 1
                    yield handle
    finally:
        for block in pending:
            block.waiters.remove(waiter)


def _has_ended(block: Block, offset: int) -> bool:
    return block.ends[offset] is not None
