"""What the HTTP application needs from others: what a monitor keeps over time, and what a client asks and orders.

Protocols only. The application calls them from its own threads, several at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, Unpack

from ..changes import Where
from ..handle import Handle
from ..stored_flow import StoredFlow


class Monitor(Protocol):
    """What is known of a pool without asking it. Every call answers at once, from memory, and never raises.

    What is returned is not changed afterwards: a newer state is another object.
    """

    def metrics(self, *, compressed: bool = False) -> bytes:
        """The page `/metrics`, in the text format of Prometheus; or that, compressed with gzip."""
        ...

    def health(self) -> dict[str, Any]:
        """Whether the monitor lives and hears the pool: `ok` (bool) and, where it is false, `reason` (text); more for
        people may stand beside them.
        """
        ...

    def ready(self) -> dict[str, Any]:
        """Whether the pool takes tasks: as `health`."""
        ...

    def worker_health(self, type: str) -> dict[str, Any] | None:
        """Whether a node of the tree can do its work: as `health`, with its `hosts`, `breaker` and `success`; None: no
        such node.
        """
        ...

    def view(self) -> dict[str, Any]:
        """The pool as it is.

        Returns:
            `heard`: the instant of the latest snapshot, None before the first; `problem`: why nothing newer is heard,
            or ""; `snapshot`: the latest, empty before the first; `windows`: {"1m", "5m", "1h": {`pool`: figures,
            `nodes`: {type: figures}, `hosts`: {name: figures}}}, nodes and hosts only where something happened,
            figures being `completed`, `failed`, `hits` (counts in the window; hits: answers of the cache),
            `per_second` (ends), `success` (0 to 1), `duration`, `duration_p95`, `wait`, `wait_p95` (seconds), each
            None where nothing is known; `objectives`: [{name, text, target, value, met}]; `alerts`: [{metric, node,
            text, since}]; `empty_in`: seconds until nothing is queued at this rate, or None; `oldest`: seconds that
            the longest waiting task waits, or None.
        """
        ...

    def history(self, seconds: float) -> dict[str, Any]:
        """The pool over the last `seconds`, for charts: columns of equal length, oldest first, 1,000 points at most.

        Returns:
            `step` (seconds between points), `at` (instants), `completed`, `failed` (per second), `queued`, `running`,
            `duration_p95` (seconds; None where no task ended).
        """
        ...


class Pool(Protocol):
    """The calls of a `Client` that the application makes; what each means and raises is said there."""

    def send(self, type: str, params: Any = None, **sending: Any) -> Handle[Any]: ...  # noqa: D102
    def status(self) -> dict[str, Any]: ...  # noqa: D102
    def snapshot(self) -> dict[str, Any]: ...  # noqa: D102
    def hosts(self) -> list[dict[str, Any]]: ...  # noqa: D102
    def types(self) -> list[dict[str, Any]]: ...  # noqa: D102
    def page(self, *, limit: int = 100, before: int | None = None, **where: Unpack[Where]) -> dict[str, Any]: ...  # noqa: D102
    def show(self, id: int) -> dict[str, Any]: ...  # noqa: D102
    def why(self, id: int) -> dict[str, Any]: ...  # noqa: D102
    def tail(self, task: int, *, follow: bool = False) -> Iterable[Any]: ...  # noqa: D102
    def cancel(self, tasks: list[int]) -> list[int]: ...  # noqa: D102
    def retry(self, tasks: list[int]) -> list[int]: ...  # noqa: D102
    def delete(self, tasks: list[int]) -> list[int]: ...  # noqa: D102
    def unblock(self, tasks: list[int]) -> list[int]: ...  # noqa: D102
    def flow(self, flow: int) -> StoredFlow: ...  # noqa: D102
    def flows_page(self, *, limit: int = 100, before: int | None = None) -> dict[str, Any]: ...  # noqa: D102
    def schedules_page(self, *, after: str = "", limit: int = 1000) -> dict[str, Any]: ...  # noqa: D102
    def pause_schedule(self, name: str) -> None: ...  # noqa: D102
    def resume_schedule(self, name: str) -> None: ...  # noqa: D102
    def run_schedule(self, name: str) -> int: ...  # noqa: D102
    def pause(self, type: str) -> None: ...  # noqa: D102
    def resume(self, type: str) -> None: ...  # noqa: D102
    def drain(self, host: str, *, undo: bool = False) -> None: ...  # noqa: D102
