"""A slot that is a thread of this process, for embedded pools: nowhere else does a process of ours run task code."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from math import inf
from time import monotonic
from typing import Any

from ..transport.mailbox import Mailbox
from ..workers.registry import Worker, load_all, offer_of
from ..workers.slots import BLOCKED_SECONDS, Slots
from .slot_exit import never_started
from .slot_news import SlotNews, SlotSpec, SlotTask
from .slot_spawner import spawner

_loading = threading.Lock()
"""Held while a slot loads its code: the slots share this process's modules, and a module that another one is still
importing would seem to have no worker in it.
"""


class InlineSlot:
    """A thread of this process that runs one task at a time. `terminate` and `kill` can only ask. See `slot_news.Slot`.

    Args:
        number: Its number in the news.
        spec: What it runs, beside `workers`.
        mailbox: Where its news go.
        workers: Classes and functions to be served as they are.
    """

    def __init__(self, number: int, spec: SlotSpec, mailbox: Mailbox, workers: Sequence[Worker] = ()) -> None:
        self.number, self.spec = number, spec
        self._mailbox, self._workers = mailbox, tuple(workers)
        self._lock = threading.Lock()
        self._slots: Slots | None = None
        self._early: list[SlotTask] = []
        self._closed = False
        self._relief_due = inf

    @property
    def pid(self) -> int:
        """This process."""
        return os.getpid()

    def start(self) -> None:
        """Start the thread; it loads the workers first. `ready` follows, or `exited`."""
        try:
            threading.Thread(target=self._run, name=f"slot {self.number}", daemon=True).start()
        except RuntimeError as error:
            self._mailbox.post(SlotNews(self.number, exited=never_started(error)))

    def feed(self, tasks: list[SlotTask]) -> None:
        """Hand over tasks, in order. Before `ready` they wait."""
        with self._lock:
            if self._slots is None:
                self._early += tasks
                return
        behind = len(tasks) > 1 or self._slots.busy()
        self._slots.feed(tasks)
        if behind:
            self._relieve_later(BLOCKED_SECONDS)

    def cancel(self, id: int, fence: int) -> None:
        """Ask one task to end, see `slot_news.Slot`."""
        if self._slots is not None:
            self._slots.cancel(id, fence)

    def terminate(self) -> None:
        """Ask what runs to end."""
        if self._slots is not None:
            self._slots.cancel_all()

    def kill(self) -> None:
        """Ask what runs to end: a thread cannot be killed."""
        self.terminate()

    def confine(self, memory: float, processes: float) -> None:
        """A thread cannot be held to anything."""

    def measure(self, id: int, fence: int, enough: float) -> None:
        """Of a thread nobody can tell what it uses."""

    def close(self) -> None:
        """Let the thread end after its present task; `exited` follows."""
        with self._lock:
            self._closed = True
            slots = self._slots
        if slots is not None:
            slots.stop()

    def _run(self) -> None:
        exited: dict[str, Any] = {"signal": None, "exit_code": 0, "cause": "stopped", "started": []}
        exited.update(memory=0, message="its thread ended")
        try:
            self._work()
        except BaseException as error:  # nobody above would hear it
            exited = never_started(error)
        self._mailbox.post(SlotNews(self.number, exited=exited))

    def _work(self) -> None:
        offer = offer_of(self._workers)
        with _loading:
            offer.join(load_all(self.spec.code, self.spec.sources, self.spec.paths))
        slots = Slots(offer, self.number, self._emit, lambda: self._relieve_later(0))
        self._mailbox.post(SlotNews(self.number, ready=slots.offer()))
        with self._lock:
            early, self._early = self._early, []
            if early:
                slots.feed(early)  # before the actor finds the slots: two that feed at a time would lose tasks
            self._slots = slots
            if self._closed:
                slots.stop()
        if len(early) > 1:
            self._relieve_later(BLOCKED_SECONDS)
        slots.work()

    def _emit(self, progress: list[Any], results: list[Any], returned: list[Any], checkpoints: list[Any]) -> None:
        news = SlotNews(self.number, progress=progress, results=results, returned=returned, checkpoints=checkpoints)
        self._mailbox.post(news)

    def _relieve_later(self, seconds: float) -> None:
        """There is no second thread to look at the time, so the spawner's timer does, as long as there is need."""
        due = monotonic() + seconds
        if due < self._relief_due:
            self._relief_due = due
            spawner().later(seconds, self._relieve)

    def _relieve(self) -> None:
        self._relief_due = inf
        if self._slots is not None:
            wait = self._slots.relieve()
            if wait is not None:
                self._relieve_later(wait)
