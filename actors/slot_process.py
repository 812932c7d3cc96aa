"""A slot that is a child process: starting it, feeding it, hearing of it, ending it. No thread of its own.

(Bodies follow; the signatures stand.)
"""

from __future__ import annotations

from ..transport.mailbox import Mailbox
from .slot_news import SlotSpec, SlotTask


class ProcessSlot:
    """One child process that runs one task at a time. See `slot_news.Slot`."""

    def __init__(self, number: int, spec: SlotSpec, mailbox: Mailbox) -> None:
        self.number, self.spec = number, spec

    @property
    def pid(self) -> int: ...

    def start(self) -> None: ...

    def feed(self, tasks: list[SlotTask]) -> None: ...

    def cancel(self, id: int, fence: int) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    def close(self) -> None: ...


class ThreadSlots(ProcessSlot):
    """One child process with `spec.threads` threads: `number` is that of the whole, it takes `spec.threads` tasks at a
    time.
    """
