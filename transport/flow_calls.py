"""What a client does with flows: write one down, look one up, list them."""

from __future__ import annotations

from typing import Any, Final, overload

from .connection import Connections
from .flow import Flow
from .messages import Query
from .stored_flow import StoredFlow

PAGE: Final = 1000


class FlowCalls:
    """The part of a `Client` that is about flows."""

    _connections: Connections

    @overload
    def flow(self, flow: str = "") -> Flow: ...
    @overload
    def flow(self, flow: int) -> StoredFlow: ...
    def flow(self, flow: str | int = "") -> Flow | StoredFlow:
        """A new flow of this name, to be written down; or, by its number, one that the pool has.

            with client.flow("nightly") as flow:
                parts = [flow.send("video.part", {"number": n}) for n in range(10)]
                flow.send("video.join", {"parts": parts})   # their results; it comes after all of them
            flow.wait()

        It is handed in when the block is left, all of it or, if that raises, nothing. Nothing of it runs before.
        """
        return Flow(self._connections, flow) if isinstance(flow, str) else StoredFlow(self._connections, flow)

    def flows(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """Flows of the pool, newest first, at most `limit`; see `StoredFlow.show`."""
        found: list[dict[str, Any]] = []
        before: int | None = None
        while len(found) < limit:
            reply = self.flows_page(limit=min(PAGE, limit - len(found)), before=before)
            found += reply["flows"]
            before = reply.get("next")
            if before is None:
                break
        return found

    def flows_page(self, *, limit: int = 100, before: int | None = None) -> dict[str, Any]:
        """`flows`, newest first, at most `limit` (1 to 1000) of them, those with numbers below `before`; and `next`:
        the `before` to go on with, or None at the end.
        """
        asked = {"limit": limit} | ({} if before is None else {"before": before})
        return self._connections.current().request(Query(0, "flows", asked))
