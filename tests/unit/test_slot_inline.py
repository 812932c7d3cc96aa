"""`actors.slot_inline`: what was fed before the slot was ready, beside what is fed just then; a thread that ends."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from queue import Queue
from typing import Any

import pytest

from workerhost.actors.slot import InlineSlot, SlotNews, SlotSpec
from workerhost.workers import values
from workerhost.workers.registry import worker
from workerhost.workers.slots import Slots
from workerhost.workers.source import Environment

SECONDS = 10.0
OVERLAP_SECONDS = 0.2
"""So long the first to feed waits for a second one, who must not come."""


@worker("nothing")
def nothing() -> None: ...


def task(id: int, priority: int) -> Any:
    return (id, 7, "nothing", 1, 0, priority, 0.0, None, None, (), values.pack(None), None)


class Inbox:
    """What a slot needs of a mailbox."""

    def __init__(self) -> None:
        self.news: Queue[SlotNews] = Queue()
        self.post = self.news.put


def test_what_was_fed_early_is_lined_up_before_the_actor_can_feed_more(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, overlapped = threading.Event(), threading.Event()
    fed: list[int] = []

    class Watched(Slots):
        """Slots that let a second feed come in while the first has not ended, if anything lets it."""

        def feed(self, items: Sequence[Any]) -> None:
            if begun.is_set():
                overlapped.set()
            else:
                begun.set()
                fed.append(-1 if overlapped.wait(OVERLAP_SECONDS) else len(items))
            super().feed(items)

    monkeypatch.setattr("workerhost.actors.slot_inline.Slots", Watched)
    inbox: Any = Inbox()
    slot = InlineSlot(4, SlotSpec(environment=Environment(isolation="inline")), inbox, [nothing])
    slot.feed([task(1, 5), task(2, 9)])
    slot.start()
    try:
        assert begun.wait(SECONDS)
        slot.feed([task(3, 1), task(4, 7)])
        ended: set[int] = set()
        while len(ended) < 4:
            news = inbox.news.get(timeout=SECONDS)
            ended.update(item[0] for item in (*news.results, *news.returned))
        assert fed == [2], "the actor's feed entered while the slot's own had not ended"
    finally:
        slot.close()


def refuse(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


MESSAGES = {
    "its code": "<built-in function repr> is no worker: a subclass of BaseWorker or a function with @worker is",
    "its thread": "RuntimeError: can't start new thread",
    "the loop": "RuntimeError: can't start new thread",
}


@pytest.mark.parametrize("what", MESSAGES)
def test_whatever_ends_its_thread_is_told(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox: Any = Inbox()
    slot = InlineSlot(4, SlotSpec(environment=Environment(isolation="inline")), inbox, [nothing])
    if what == "its code":
        slot = InlineSlot(4, slot.spec, inbox, [repr])
    elif what == "its thread":
        monkeypatch.setattr(threading.Thread, "start", refuse)
    else:
        monkeypatch.setattr(Slots, "work", refuse)
    slot.start()
    while (exited := inbox.news.get(timeout=SECONDS).exited) is None:
        pass
    assert exited["cause"] == "start_failed"
    assert exited["message"] == MESSAGES[what]
