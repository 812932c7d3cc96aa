"""Slots as their host sees them: the face of `slot_news` (what goes in and comes out), `slot_process` (children:
isolation `process` and `thread`) and `slot_inline` (threads of this process).
"""

from __future__ import annotations

from .slot_inline import InlineSlot
from .slot_news import Slot, SlotNews, SlotSpec, SlotTask
from .slot_process import ProcessSlot, ThreadSlots

__all__ = ["InlineSlot", "ProcessSlot", "Slot", "SlotNews", "SlotSpec", "SlotTask", "ThreadSlots"]
