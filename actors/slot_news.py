"""What goes into a slot and what comes out of it, whatever its isolation. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..workers.source import Environment, Source

SlotTask = tuple[
    int, int, str, int, int, int, float, float | None, str | None, tuple[str, ...], bytes, dict[str, Any] | None
]
"""(id, fence, type, attempt, failures, priority, sent_at, seconds until the deadline or None, key, tags, params,
extra).

`extra` is None or a dict of what only some attempts have: `checkpoint` (packed, what an earlier attempt saved).
"""


@dataclass(frozen=True, slots=True)
class SlotSpec:
    """What a slot runs.

    Attributes:
        code: CODEs as of the command line, see `workers.registry.load`.
        sources: Type -> its class or command, from the host's own configuration, or accepted from the supervisor's.
        paths: Folders for `sys.path`, see `workers.code_place.search_paths`.
        environment: Where it lives and how it runs.
        nodes: Node -> whether its tasks run here, see `registry.Offer.keep`.
        watched: Whether it says which files its code was imported from.
        kept: The code that it loads, see `kept_code.loaded`; None: what is on the disk, and `ready` says what that was.
        threads: How many tasks run at a time in one child, where its environment lets several.
    """

    code: tuple[str, ...] = ()
    sources: dict[str, Source] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    environment: Environment = field(default_factory=Environment)
    nodes: dict[str, bool] = field(default_factory=dict)
    threads: int = 1
    watched: bool = False
    kept: Mapping[str, list[Any]] | None = None


@dataclass(slots=True)
class SlotNews:
    """What happened in a slot, in the order of these fields; an item of the mailbox's batches.

    Attributes:
        slot: The slot's number.
        ready: Once: what it can run, `registry.Offer.plain()`; `files` and `kept` where they were asked for. In the
            place of `kept` its host puts `other`: whether it has loaded other code than is served.
        progress: Items of PROGRESS: [id, fence, fraction, note], the latest of each task.
        checkpoints: Items of CHECKPOINT: [id, fence, body], the latest of each task.
        results: Items of RESULTS: [id, fence, outcome, body, duration, slot, detail].
        returned: Items of GIVEBACK: [id, fence, Returned code, after, note, started].
        lines: What tasks wrote to stdout and stderr: (id or 0, text), bounded per line and per task.
        exited: Last: the process is gone. `signal` and `exit_code` (one is None), `cause` (`crash`, `start_failed`,
            `protocol_error`), `started` ([[id, fence], ...] of all that ran), `memory` (peak bytes), `message`.
        worn: Once: why the process should be replaced when it is idle.
        usage: What the process and all below it use, when it was asked for: `core.host.consumption.Usage` by name.
    """

    slot: int
    ready: dict[str, Any] | None = None
    progress: list[Any] = field(default_factory=list)
    checkpoints: list[Any] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    returned: list[Any] = field(default_factory=list)
    lines: list[tuple[int, str]] = field(default_factory=list)
    exited: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    worn: str = ""


class Slot(Protocol):
    """One place where tasks run. All methods are called in the thread of the actor that owns it; none waits for a task.

    Several tasks may be fed at a time: they run one after the other (isolation `thread`: `spec.threads` at a time).
    Those that stand behind one that takes longer than 5 ms come back as `returned`, UNSTARTED.
    """

    number: int
    spec: SlotSpec

    @property
    def pid(self) -> int:
        """The process in which tasks run."""
        ...

    def start(self) -> None:
        """Begin; `ready` follows, or `exited`."""
        ...

    def feed(self, tasks: list[SlotTask]) -> None:
        """Hand over tasks, in order. Before `ready` they wait."""
        ...

    def cancel(self, id: int, fence: int) -> None:
        """Ask one task to end: `self.cancelled` is True from now on, an `async def` is cancelled; one that waits is
        reported as CANCELLED without having begun.
        """
        ...

    def terminate(self) -> None:
        """SIGTERM to the process group: the task's `finally` and `cleanup` still run, then the process ends."""
        ...

    def kill(self) -> None:
        """SIGKILL to the process group."""
        ...

    def confine(self, memory: float, processes: float) -> None:
        """What its processes may use together from now on, where the system can see to that; `inf`: any number.
        See `core.host.host_effects.Confine`.
        """
        ...

    def measure(self, id: int, fence: int, enough: float) -> None:
        """Tell what the process uses while this task runs; `usage` follows, where that can be told.
        See `core.host.host_effects.Measure`.
        """
        ...

    def close(self) -> None:
        """Let it end; what it has not begun is not run."""
        ...
