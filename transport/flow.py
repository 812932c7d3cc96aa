"""A flow and its pool: handed in when its `with` block is left, waited for, cancelled."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from ..workers.errors import WorkerHostError
from .block import Block
from .connection import Connections
from .flow_draft import Draft, stored_backwards
from .handle import Batch, cancel
from .outcome import raise_refusal
from .stored_flow import StoredFlow


class Flow(Draft):
    """Tasks that are handed in as one: all of them, or none; see `Client.flow`."""

    def __init__(self, connections: Connections, name: str) -> None:
        super().__init__(name)
        self._connections = connections

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.submit()

    def submit(self) -> StoredFlow:
        """Hand it in, all of it or nothing. Leaving the `with` block does so.

        Raises:
            InvalidTask: Its tasks wait for each other in a circle, which the message names; or it has none.
            TaskRefused, PoolBusy, PoolUnreachable, PoolRefused: As `Client.send`; nothing of it will run.
        """
        connection = self._connections.current()
        blocks: list[Block] = []
        try:
            for part in self.ready():
                if blocks:
                    part.flow["of"] = blocks[0].first
                blocks.append(part.block)
                refusals = connection.conversation.refusals
                connection.put(part)
                connection.submitted([part.block], patient=False, refusals=refusals)
                raise_refusal(part.block)
        except Exception:
            # What was stored never runs: it is cancelled now rather than given up by the pool later.
            if (ids := stored_backwards(blocks)) and connection.conversation.away_since is None:
                with suppress(WorkerHostError):
                    cancel(connection, ids)
            raise
        self._batch = Batch[Any](self._connections, connection, blocks)
        return self._stored()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until every task has ended, in whatever way; False if `timeout` (seconds) passed first."""
        return self.tasks.wait(timeout)

    def show(self) -> dict[str, Any]:
        """How far it is, asked of the pool; see `StoredFlow.show`."""
        return self._stored().show()

    def retry(self) -> int:
        """Go on from where it failed; see `StoredFlow.retry`."""
        return self._stored().retry()

    def _stored(self) -> StoredFlow:
        return StoredFlow(self._connections, self.id)

    def cancel(self) -> int:
        """End every task that has not ended; how many those were."""
        return len(cancel(self._connections.current(), self.ids_backwards()))
