"""The client for programs with an event loop: the words of `Client`, awaited.

Owns what the public calls look like; questions and orders are in `async_orders.py`, waiting in `async_waiting.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing, suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from ..workers.errors import WorkerHostError
from ..workers.task import Task
from .async_flow import AsyncFlowCalls
from .async_handle import AsyncBatch, AsyncHandle, Place
from .async_orders import AsyncOrders
from .async_stream import AsyncMapping, as_completed, parcels_of
from .async_waiting import close, submitted, wait
from .block import Block
from .client import PARCELS_AHEAD, access_to, type_of, wanted
from .commands import Withdraw
from .connection import Connection, Connections
from .outcome import raise_refusal
from .parcel import single
from .reachability import unreachable
from .terms import Sending, terms

if TYPE_CHECKING:
    from ..workers.registry import WorkerFunction

Value = TypeVar("Value")


class AsyncClient(AsyncOrders, AsyncFlowCalls):
    """A sender's access to a pool, for coroutines. Use it in an `async with` block.

    Nothing is connected before the first call, and tasks outlive their client. It holds to no loop: several may use
    it. A coroutine that is cancelled while it waits for a task leaves the task alone.

    Args:
        address: As for `Client`.
        timeout: Seconds after which any call gives up on a pool that does not answer.

    Raises:
        ConfigError: The address is malformed, or this machine has no identity for it.
    """

    def __init__(self, address: str | None = None, *, timeout: float = 30.0) -> None:
        access = access_to(address, timeout)
        self.address = access.address
        self.timeout = timeout
        self._connections = Connections(access, timeout)
        self._place = Place(self._connections)

    # Sending.

    @overload
    async def send(self, type: Task[Value], **sending: Unpack[Sending]) -> AsyncHandle[Value]: ...
    @overload
    async def send(self, type: str, params: Any = None, **sending: Unpack[Sending]) -> AsyncHandle[Any]: ...
    async def send(self, type: str | Task[Any], params: Any = None, **sending: Unpack[Sending]) -> AsyncHandle[Any]:
        """Hand in a task. Returns when it is on disk, never earlier. Arguments and errors are those of `Client.send`.

        Whoever cancels it does not learn whether the task was stored.
        """
        type, params = wanted(type, params)
        agreed = terms(type, **sending)
        parcel = single(agreed, params)
        connection = self._connections.current()
        refusals = connection.conversation.refusals
        connection.put(parcel)
        await submitted(connection, [parcel.block], patient=agreed.patient, refusals=refusals)
        raise_refusal(parcel.block)
        return AsyncHandle(self._place, connection, parcel.block, 0)

    @overload
    async def send_soon(self, type: Task[Value], **sending: Unpack[Sending]) -> AsyncHandle[Value]: ...
    @overload
    async def send_soon(self, type: str, params: Any = None, **sending: Unpack[Sending]) -> AsyncHandle[Any]: ...
    async def send_soon(
        self, type: str | Task[Any], params: Any = None, **sending: Unpack[Sending]
    ) -> AsyncHandle[Any]:
        """Hand in a task without waiting for the acknowledgement, unless 10,000 tasks wait for theirs.

        `await handle.stored()` waits for it and gives the number; it and `result` raise what `send` would have raised.

        Raises:
            TaskRefused: It cannot be sent as it is; nothing was.
            PoolUnreachable: There was no room within the timeout, because no supervisor answers.
        """
        type, params = wanted(type, params)
        parcel = single(terms(type, **sending), params)
        connection = self._connections.current()
        if not connection.has_room:
            await wait(connection, lambda: connection.has_room, [connection.conversation.outbox.waiters])
        connection.put(parcel)
        return AsyncHandle(self._place, connection, parcel.block, 0)

    @overload
    async def send_many(
        self,
        type: WorkerFunction[..., Any, Value],
        params: Iterable[Any] | AsyncIterable[Any],
        *,
        chunk: int = 1000,
        **sending: Unpack[Sending],
    ) -> AsyncBatch[Value]: ...
    @overload
    async def send_many(
        self,
        type: str,
        params: Iterable[Any] | AsyncIterable[Any],
        *,
        chunk: int = 1000,
        **sending: Unpack[Sending],
    ) -> AsyncBatch[Any]: ...
    async def send_many(
        self,
        type: Any,
        params: Iterable[Any] | AsyncIterable[Any],
        *,
        chunk: int = 1000,
        **sending: Unpack[Sending],
    ) -> AsyncBatch[Any]:
        """Hand in one task for each of the params, which may come from an asynchronous source too.

        Returns when all are on disk. The params of a list or tuple are checked before the first is sent; for the rest
        see `Client.send_many`.

        Raises:
            TaskRefused, PoolBusy, PoolUnreachable, PoolRefused: As `send`.
        """
        if chunk < 1:
            raise ValueError(f"chunk={chunk!r}: it must be at least 1")
        agreed = terms(type_of(type), **sending)
        connection = self._connections.current()
        refusals = connection.conversation.refusals
        answers = partial(submitted, connection, refusals=refusals)
        blocks: list[Block] = []
        answered = 0
        try:
            async with aclosing(parcels_of(agreed, params, chunk)) as source:
                ready = [parcel async for parcel in source] if isinstance(params, list | tuple) else None
                async for parcel in source if ready is None else _each(ready):
                    connection.put(parcel)
                    blocks.append(parcel.block)
                    if len(blocks) - answered > PARCELS_AHEAD:
                        await answers(blocks[answered : answered + 1], patient=agreed.patient)
                        raise_refusal(blocks[answered])
                        answered += 1
            await answers(blocks[answered:], patient=agreed.patient)
            for block in blocks[answered:]:
                raise_refusal(block)
        except Exception as error:
            await self._say_what_was_stored(connection, blocks, error)
            raise
        return AsyncBatch(self._place, connection, [part for block in blocks for part in block.chain()])

    async def _say_what_was_stored(self, connection: Connection, blocks: list[Block], error: Exception) -> None:
        """A batch stopped half-way: what is under way is waited for, so that the note is true; if the pool is away,
        it is given up.
        """
        under_way = [block for block in blocks if not block.answered]
        if connection.conversation.away_since is None:
            with suppress(WorkerHostError):
                await submitted(connection, under_way, patient=False, refusals=connection.conversation.refusals)
        elif under_way and not connection.over:
            connection.put(Withdraw(tuple(under_way)))
        stored = AsyncBatch(self._place, connection, [p for block in blocks for p in block.chain() if p.first])
        if len(stored):
            ranges = ", ".join(f"{ids.start} to {ids.stop - 1}" for ids in stored.ids())
            error.add_note(f"{len(stored)} tasks of this batch were stored and will run: {ranges}")

    # Results.

    @overload
    def map(
        self,
        type: WorkerFunction[..., Any, Value],
        params: Iterable[Any] | AsyncIterable[Any],
        *,
        buffersize: int = 1000,
        **sending: Unpack[Sending],
    ) -> AsyncGenerator[Value]: ...
    @overload
    def map(
        self,
        type: str | WorkerFunction[..., Any, Any],
        params: Iterable[Any] | AsyncIterable[Any],
        *,
        buffersize: int = 1000,
        return_exceptions: bool = False,
        **sending: Unpack[Sending],
    ) -> AsyncGenerator[Any]: ...
    def map(
        self,
        type: Any,
        params: Iterable[Any] | AsyncIterable[Any],
        *,
        buffersize: int = 1000,
        return_exceptions: bool = False,
        **sending: Unpack[Sending],
    ) -> AsyncGenerator[Any]:
        """Send a task for each of the params and give back the values in their order: `async for value in ...`.

        The first step sends. At most `buffersize` tasks are out at a time, so an endless source will do. The first
        error is raised and, however it is left early, what has not ended is cancelled (use `contextlib.aclosing` to
        have that done when the block ends). Arguments are those of `Client.map`.
        """
        if buffersize < 1:
            raise ValueError(f"buffersize={buffersize!r}: it must be at least 1")
        agreed = terms(type_of(type), **sending)
        mapping = AsyncMapping(self._connections, agreed, params, buffersize, return_exceptions=return_exceptions)
        return mapping.values()

    def as_completed(
        self, handles: Iterable[AsyncHandle[Value]], *, timeout: float | None = None
    ) -> AsyncGenerator[AsyncHandle[Value]]:
        """Handles (or a batch) as their tasks end, each once.

        Raises:
            TimeoutError: They had not all ended after `timeout` seconds.
            PoolUnreachable: The pool was away for the client's timeout.
        """
        return as_completed(self._connections.current(), handles, timeout)

    # The end.

    async def close(self) -> None:
        """End the session; tasks go on. Waits until everything of `send_soon` is acknowledged.

        Raises:
            PoolUnreachable: Not everything was acknowledged within the timeout.
        """
        connection = self._connections.opened()
        self._connections.closed = True
        if connection is None or await close(connection, self.timeout):
            return
        finding = f"{connection.outstanding} tasks are not acknowledged"
        raise unreachable(self.address, self.timeout, finding)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.close()
        elif (connection := self._connections.opened()) is not None:
            self._connections.closed = True
            connection.let_go()

    def __repr__(self) -> str:
        return f"<AsyncClient of {self.address}>"


async def _each(items: Iterable[Value]) -> AsyncIterator[Value]:
    for item in items:
        yield item
