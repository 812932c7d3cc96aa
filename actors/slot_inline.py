"""A slot that is a thread of this process, for embedded pools. (Bodies follow; the signatures stand.)"""

from __future__ import annotations

from collections.abc import Sequence

from ..transport.mailbox import Mailbox
from ..workers.registry import Worker
from .slot_news import SlotSpec, SlotTask


class InlineSlot:
    """A thread of this process that runs one task at a time. `terminate` and `kill` only ask. See `slot_news.Slot`.

    `workers` are served beside what `spec` names.
    """

    def __init__(self, number: int, spec: SlotSpec, mailbox: Mailbox, workers: Sequence[Worker] = ()) -> None:
        self.number, self.spec = number, spec

    @property
    def pid(self) -> int: ...

    def start(self) -> None: ...

    def feed(self, tasks: list[SlotTask]) -> None: ...

    def cancel(self, id: int, fence: int) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    def close(self) -> None: ...
