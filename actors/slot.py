"""Slots as their host sees them. The face of four files: `slot_news` (what goes in and comes out), `slot_process` (children:
isolation `process` and `thread`), `slot_inline` (threads of this process), `slot_spawner` (starts the children).
"""

from __future__ import annotations

from .slot_inline import InlineSlot
from .slot_news import Slot, SlotNews, SlotSpec, SlotTask
from .slot_process import ProcessSlot, ThreadSlots

__all__ = ["InlineSlot", "ProcessSlot", "Slot", "SlotNews", "SlotSpec", "SlotTask", "ThreadSlots"]
