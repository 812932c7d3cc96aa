"""A flow that the pool has, by its number: how far it is, to cancel it, to have it tried again."""

from __future__ import annotations

from typing import Any

from ..workers.errors import TaskUnknown
from .connection import Connections
from .handle import IDS_MAX, cancel
from .messages import Admin, Query


class StoredFlow:
    """A flow of the pool, whoever sent it. Each call asks the pool.

    Attributes:
        id: Its number: that of its first task.
    """

    def __init__(self, connections: Connections, id: int) -> None:
        self._connections, self.id = connections, id

    def show(self) -> dict[str, Any]:
        """How far it is.

        Returns:
            `id`, `name`, `state` (open, running, given up, completed, failed), `sent_at`, `ended_at`, `total`, how many
            ended as `completed`, `failed`, `cancelled` or `quarantined`, `ids` [[first, count], ...] of its tasks, and
            of all of them `counts` {state: count} and `types` {type: {state: count}}.

        Raises:
            TaskUnknown: The pool has no such flow (any more).
        """
        shown: dict[str, Any] = {}
        start: int | None = 0
        while start is not None:
            query = Query(0, "flow", {"id": self.id, "start": start})
            page = self._connections.current().request(query, TaskUnknown)["flow"]
            start = page["next"]
            shown = added(shown, page)
        return shown

    def graph(self) -> dict[str, Any]:
        """What comes after what in it, if it is small enough to be looked at.

        Returns:
            `flow`: as `Client.flows` shows it; `tasks` [{id, type, state, attempt, host, started_at, ended_at, error,
            progress}], or None of more than 200, or of more than 2,000 edges; `edges` [[task, the one it comes after,
            on_failure, met], ...]; `others` [[id, state], ...]: of those among these that do not belong to the flow.

        Raises:
            TaskUnknown: The pool has no such flow (any more).
        """
        return self._connections.current().request(Query(0, "graph", {"id": self.id}), TaskUnknown)

    def cancel(self) -> int:
        """End every task of it that has not ended, last ones first, so that nothing begins meanwhile; how many."""
        ids = [id for span in reversed(self._spans()) for id in reversed(span)]
        return len(cancel(self._connections.current(), ids))

    def retry(self) -> int:
        """Go on from where it failed: what failed runs again, and what was cancelled waits for it; how many tasks."""
        ids = [id for span in self._spans() for id in span]
        connection = self._connections.current()
        retried = 0
        for start in range(0, len(ids), IDS_MAX):
            order = Admin(0, "retry", {"ids": ids[start : start + IDS_MAX]})
            retried += len(connection.request(order)["retried"])
        return retried

    def _spans(self) -> list[range]:
        return [range(first, first + count) for first, count in self.show()["ids"]]

    def __repr__(self) -> str:
        return f"<StoredFlow {self.id}>"


def added(shown: dict[str, Any], page: dict[str, Any]) -> dict[str, Any]:
    """What is known of a flow, with the next page of its counts."""
    types = dict(shown.get("types", {}))
    for type, counts in page["types"].items():
        types[type] = _sum(types.get(type, {}), counts)
    counts = _sum(shown.get("counts", {}), page["counts"])
    return {**{name: value for name, value in page.items() if name != "next"}, "counts": counts, "types": types}


def _sum(counts: dict[str, int], more: dict[str, int]) -> dict[str, int]:
    return counts | {state: counts.get(state, 0) + count for state, count in more.items()}
