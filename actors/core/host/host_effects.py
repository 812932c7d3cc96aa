"""What the host's core asks for, in the order in which it must be done. Plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ....transport.messages import Message
from ....workers.source import Environment, Source
from ..effects import Note
from .verdicts import Brief

Key = tuple[int, int]
"""(id, fence): one grant of a task."""

SlotTask = tuple[
    int, int, str, int, int, int, float, float | None, str | None, tuple[str, ...], bytes, dict[str, Any] | None
]
"""(id, fence, type, attempt, failures, priority, sent_at, timeout in seconds or None, key, tags, params,
extra). `extra` holds what only some attempts have, see `slot_news.SlotTask`."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a fresh link to the supervisor; what the old one still delivers is dropped."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the link, if there is one. `flush`: what was said last must still leave."""

    flush: bool = False


@dataclass(frozen=True, slots=True)
class Say:
    """Send a message with its number in the session."""

    number: int
    message: Message


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the process (or threads) of a slot.

    `width`: how many tasks it runs at a time. `environment`: where; None: where tasks run that nothing is said for.
    `fresh`: it loads the code that is on the disk now, not that which is served (see `Serve`).
    """

    slot: int
    width: int
    environment: Environment | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class LoadAnew:
    """Slots that are started from now on load from the disk. `sources`: the classes that the supervisor has named and
    this host accepts, by type, beside what its own configuration says.
    """

    sources: dict[str, Source]


@dataclass(frozen=True, slots=True)
class Serve:
    """The code that a fresh slot has loaded is that of all slots of its environment which are started from now on."""

    slot: int


@dataclass(frozen=True, slots=True)
class Confine:
    """From now on all processes of a slot together may use no more than this, where the system can see to that;
    `inf`: any number. What grows slowly enough to be seen in time is stopped by the figures of `Measure`.
    """

    slot: int
    memory: float
    processes: float


@dataclass(frozen=True, slots=True)
class Feed:
    """Hand tasks to a slot, to be run in this order."""

    slot: int
    tasks: list[SlotTask]


@dataclass(frozen=True, slots=True)
class CancelSlot:
    """Ask one attempt to stop (`self.cancelled` becomes true)."""

    slot: int
    id: int
    fence: int


@dataclass(frozen=True, slots=True)
class Terminate:
    """Send SIGTERM to the slot's process group."""

    slot: int


@dataclass(frozen=True, slots=True)
class Kill:
    """Send SIGKILL to the slot's process group."""

    slot: int


@dataclass(frozen=True, slots=True)
class Measure:
    """Tell what the slot's process and all below it use, while this attempt runs. The figures are news of the slot.
    Up to `enough` bytes of memory it need not be exact: pages that processes share may be counted for each.
    """

    slot: int
    id: int
    fence: int
    enough: float


@dataclass(frozen=True, slots=True)
class CloseSlot:
    """Let the slot end by itself: it gets no more tasks."""

    slot: int


@dataclass(frozen=True, slots=True)
class Guide:
    """Tell the level actors what holds now."""

    brief: Brief


@dataclass(frozen=True, slots=True)
class Leave:
    """The host is done. `error` is None or why it cannot be a host of this pool."""

    error: str | None = None


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """Read the host's own configuration again; `HostCore.on_code` is told if it says to run something else."""


HostEffect = (
    Connect
    | Disconnect
    | Say
    | Spawn
    | Confine
    | Feed
    | CancelSlot
    | Terminate
    | Kill
    | Measure
    | CloseSlot
    | Guide
    | Leave
    | ReadAgain
    | LoadAnew
    | Serve
    | Note
)


def key_of(item: list[Any] | SlotTask) -> Key:
    """The grant that a task or an item of RESULTS, PROGRESS or GIVEBACK belongs to."""
    return item[0], item[1]
