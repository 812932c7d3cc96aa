"""Flows for programs with an event loop; what each does is said in `flow.py` and `stored_flow.py`."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import Any, Self, overload

from ..workers.errors import TaskUnknown, WorkerHostError
from .async_handle import AsyncBatch, Place
from .async_waiting import cancel, request, submitted
from .block import Block
from .connection import Connections
from .flow_calls import PAGE
from .flow_draft import Draft, stored_backwards
from .handle import IDS_MAX
from .messages import Admin, Query
from .outcome import raise_refusal
from .stored_flow import added


class AsyncStoredFlow:
    """As `StoredFlow`."""

    def __init__(self, connections: Connections, id: int) -> None:
        self._connections, self.id = connections, id

    async def show(self) -> dict[str, Any]:
        """As `StoredFlow.show`."""
        shown: dict[str, Any] = {}
        start: int | None = 0
        while start is not None:
            query = Query(0, "flow", {"id": self.id, "start": start})
            page = (await request(self._connections.current(), query, TaskUnknown))["flow"]
            start = page["next"]
            shown = added(shown, page)
        return shown

    async def graph(self) -> dict[str, Any]:
        """As `StoredFlow.graph`."""
        return await request(self._connections.current(), Query(0, "graph", {"id": self.id}), TaskUnknown)

    async def cancel(self) -> int:
        """As `StoredFlow.cancel`."""
        ids = [id for span in reversed(await self._spans()) for id in reversed(span)]
        return len(await cancel(self._connections.current(), ids, IDS_MAX))

    async def retry(self) -> int:
        """As `StoredFlow.retry`."""
        ids = [id for span in await self._spans() for id in span]
        retried = 0
        for start in range(0, len(ids), IDS_MAX):
            order = Admin(0, "retry", {"ids": ids[start : start + IDS_MAX]})
            retried += len((await request(self._connections.current(), order))["retried"])
        return retried

    async def _spans(self) -> list[range]:
        return [range(first, first + count) for first, count in (await self.show())["ids"]]

    def __repr__(self) -> str:
        return f"<AsyncStoredFlow {self.id}>"


class AsyncFlow(Draft):
    """As `Flow`, in an `async with` block; its nodes' handles are an `AsyncClient`'s."""

    def __init__(self, place: Place, name: str) -> None:
        super().__init__(name)
        self._place = place

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.submit()

    async def submit(self) -> AsyncStoredFlow:
        """As `Flow.submit`."""
        connection = self._place.connections.current()
        blocks: list[Block] = []
        try:
            for part in self.ready():
                if blocks:
                    part.flow["of"] = blocks[0].first
                blocks.append(part.block)
                refusals = connection.conversation.refusals
                connection.put(part)
                await submitted(connection, [part.block], patient=False, refusals=refusals)
                raise_refusal(part.block)
        except Exception:
            if (ids := stored_backwards(blocks)) and connection.conversation.away_since is None:
                with suppress(WorkerHostError):
                    await cancel(connection, ids, IDS_MAX)
            raise
        self._batch = AsyncBatch[Any](self._place, connection, blocks)
        return self._stored()

    async def wait(self, timeout: float | None = None) -> bool:
        """As `Flow.wait`."""
        return await self.tasks.wait(timeout)

    async def show(self) -> dict[str, Any]:
        """As `Flow.show`."""
        return await self._stored().show()

    async def retry(self) -> int:
        """As `Flow.retry`."""
        return await self._stored().retry()

    def _stored(self) -> AsyncStoredFlow:
        return AsyncStoredFlow(self._place.connections, self.id)

    async def cancel(self) -> int:
        """As `Flow.cancel`."""
        return len(await cancel(self._place.connections.current(), self.ids_backwards(), IDS_MAX))


class AsyncFlowCalls:
    """The part of an `AsyncClient` that is about flows."""

    _connections: Connections
    _place: Place

    @overload
    def flow(self, flow: str = "") -> AsyncFlow: ...
    @overload
    def flow(self, flow: int) -> AsyncStoredFlow: ...
    def flow(self, flow: str | int = "") -> AsyncFlow | AsyncStoredFlow:
        """As `Client.flow`; what it gives is awaited."""
        return AsyncFlow(self._place, flow) if isinstance(flow, str) else AsyncStoredFlow(self._connections, flow)

    async def flows(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """As `Client.flows`."""
        found: list[dict[str, Any]] = []
        before: int | None = None
        while len(found) < limit:
            reply = await self.flows_page(limit=min(PAGE, limit - len(found)), before=before)
            found += reply["flows"]
            before = reply.get("next")
            if before is None:
                break
        return found

    async def flows_page(self, *, limit: int = 100, before: int | None = None) -> dict[str, Any]:
        """As `Client.flows_page`."""
        asked = {"limit": limit} | ({} if before is None else {"before": before})
        return await request(self._connections.current(), Query(0, "flows", asked))
