"""Results as they come, in an event loop: `map`, in the order of the params, and `as_completed`; see `stream.py`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, TypeVar

from ..workers.errors import WorkerHostError
from .async_handle import AsyncHandle
from .async_waiting import LoopWaiter, cancel, submitted, wait
from .block import Block
from .clock import now
from .commands import Withdraw
from .connection import Connection, Connections
from .handle import IDS_MAX
from .outcome import error_of, value_of
from .parcel import Parcel, parcels
from .stream import ABANDON_SECONDS, CHUNKS, LINGER
from .terms import Terms

Value = TypeVar("Value")
Item = TypeVar("Item")


async def parcels_of(
    terms: Terms, params: Iterable[Any] | AsyncIterable[Any], chunk: int, linger: float | None = None
) -> AsyncGenerator[Parcel]:
    """As `parcel.parcels`, of params that may come from an asynchronous source; the loop has its turn after each.

    Raises:
        InvalidTask, TooLarge: Params that cannot travel.
    """
    if not isinstance(params, AsyncIterable):
        for parcel in parcels(terms, params, chunk, linger):
            yield parcel
            await asyncio.sleep(0)
        return
    begun = 0
    async with aclosing(_together(params, chunk, linger)) as groups:
        async for group in groups:
            for parcel in parcels(terms, group, chunk, begun=begun):
                yield parcel
            begun += len(group)


async def _together(source: AsyncIterable[Item], count: int, linger: float | None) -> AsyncGenerator[list[Item]]:
    """Items in groups of `count`; of fewer when the source lets wait longer than `linger` seconds."""
    items = aiter(source)
    group: list[Item] = []
    coming: asyncio.Future[Item] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(items))
            done, _ = await asyncio.wait([coming], timeout=linger if group else None)
            if done:
                try:
                    group.append(coming.result())
                except StopAsyncIteration:
                    break
                coming = None
            if group and (not done or len(group) >= count):
                yield group
                group = []
        if group:
            yield group
    finally:
        if coming is not None and coming.cancel():
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await coming


class AsyncMapping:
    """Sends params as room in the buffer appears and gives the values back in order; see `stream.Mapping`.

    A task of the loop of its own sends, so that values are given while a source is slow.
    """

    def __init__(
        self,
        connections: Connections,
        terms: Terms,
        params: Iterable[Any] | AsyncIterable[Any],
        buffersize: int,
        *,
        return_exceptions: bool,
    ) -> None:
        self._connections, self._connection, self._patient = connections, connections.current(), terms.patient
        self._room, self._return_exceptions = buffersize, return_exceptions
        self._source = parcels_of(terms, params, max(1, buffersize // CHUNKS), LINGER)
        self._blocks: deque[Block] = deque()
        self._changed = asyncio.Event()

    async def values(self) -> AsyncGenerator[Any]:
        """The values. What has not ended when this is left early is cancelled."""
        block: Block | None = None
        sending = asyncio.ensure_future(self._send())
        sending.add_done_callback(lambda _: self._changed.set())
        try:
            while self._blocks or not sending.done():
                if not self._blocks:
                    await self._changed.wait()
                    self._changed.clear()
                    continue
                block = self._blocks.popleft()
                async for value in self._take(block):
                    yield value
                block = None
            sending.result()
        finally:
            sending.cancel()
            try:
                await asyncio.gather(sending, return_exceptions=True)
            finally:
                rest = [*([block] if block is not None else []), *self._blocks]
                if rest:
                    await self._abandon(rest)

    async def _send(self) -> None:
        async with aclosing(self._source) as source:
            async for parcel in source:
                while self._room < parcel.block.count:
                    self._changed.clear()
                    await self._changed.wait()
                self._room -= parcel.block.count
                self._connection.put(parcel)
                self._blocks.append(parcel.block)
                self._changed.set()

    async def _take(self, head: Block) -> AsyncIterator[Any]:
        connection = self._connection
        await submitted(connection, [head], patient=self._patient, refusals=connection.conversation.refusals)
        for block in head.chain():
            for offset in range(block.count):
                if block.ends[offset] is None:
                    await wait(connection, partial(_has_ended, block, offset), [block.waiters])
                end = block.ends[offset]
                assert end is not None
                self._room += 1
                self._changed.set()
                id = block.id(offset)
                yield value_of(id, end) if isinstance(end, bytes) or not self._return_exceptions else error_of(id, end)

    async def _abandon(self, blocks: list[Block]) -> None:
        connection = self._connection
        until = now() + ABANDON_SECONDS
        try:
            with suppress(WorkerHostError, RuntimeError):
                for block in blocks:
                    if not block.answered and connection.conversation.away_since is None:
                        answered = partial(getattr, block, "answered")
                        await wait(connection, answered, [block.waiters], timeout=until - now())
        finally:  # who cancels this, too, does not want to wait, but cancels what was sent all the same
            with suppress(WorkerHostError, RuntimeError):
                connection.put(Withdraw(tuple(blocks)))
                if connection.conversation.away_since is None:
                    known = [part for block in blocks for part in block.chain() if part.first]
                    await cancel(connection, [id for part in known for id in part.unfinished()], IDS_MAX)


async def as_completed(
    connection: Connection, handles: Iterable[AsyncHandle[Value]], timeout: float | None
) -> AsyncGenerator[AsyncHandle[Value]]:
    """Handles as their tasks end, each once; those that have ended first.

    Raises:
        TimeoutError: They did not all end in time.
        PoolUnreachable: The pool was away for the client's timeout.
    """
    deadline = None if timeout is None else now() + timeout
    pending: dict[Block, dict[int, AsyncHandle[Value]]] = {}
    for handle in handles:
        block, offset = await handle.place()
        pending.setdefault(block, {}).setdefault(offset, handle)
    waiter = LoopWaiter()
    ended = waiter.ended = deque()
    for block in pending:
        block.waiters.append(waiter)
    try:
        for block, wanted in pending.items():
            for offset in [offset for offset in wanted if block.ends[offset] is not None]:
                yield wanted.pop(offset)
        total = left = sum(map(len, pending.values()))
        while left:
            seconds = None if deadline is None else deadline - now()
            if not await wait(connection, lambda: bool(ended), (), timeout=seconds, waiter=waiter):
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
