"""What a test of slots needs of a host: it owns the mailbox, waits for news, keeps what came."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workerhost.actors.slot import ProcessSlot, SlotNews, SlotSpec
from workerhost.transport.clock import now
from workerhost.transport.mailbox import Mailbox
from workerhost.workers import values

SECONDS = 10.0


class Host:
    """What an actor does with slots: owns the mailbox, waits for news, keeps what came."""

    def __init__(self, folder: Path, tasks: str) -> None:
        (folder / "code").mkdir()
        self.code = folder / "code" / "slot_tasks.py"
        self.code.write_text(tasks)
        self.spec = SlotSpec(code=(str(self.code),), paths=(str(self.code.parent),))
        self.mailbox = Mailbox()
        self.slots: list[Any] = []
        self.forget()

    def forget(self) -> None:
        self.news = SlotNews(0)

    def start(self, kind: Any = ProcessSlot, spec: SlotSpec | None = None, **more: Any) -> Any:
        slot = kind(len(self.slots), spec or self.spec, self.mailbox, **more)
        self.slots.append(slot)
        slot.start()
        return slot

    def ready(self, kind: Any = ProcessSlot, spec: SlotSpec | None = None, **more: Any) -> Any:
        slot = self.start(kind, spec, **more)
        self.until(lambda news: news.ready is not None)
        self.offer = self.news.ready
        self.until(lambda news: bool(news.lines) or kind is not ProcessSlot)
        self.forget()
        return slot

    def until(self, enough: Callable[[SlotNews], bool]) -> SlotNews:
        deadline = now() + SECONDS
        while not enough(self.news):
            if now() > deadline:
                pytest.fail(f"only {self.news}")
            self.mailbox.wake_at(deadline)
            batch: Any = self.mailbox.get().message
            for item in batch.items:
                self.news.ready = item.ready or self.news.ready
                self.news.exited = item.exited or self.news.exited
                self.news.worn = item.worn or self.news.worn
                self.news.usage = item.usage or self.news.usage
                for name in ("progress", "results", "returned", "lines"):
                    getattr(self.news, name).extend(getattr(item, name))
        return self.news

    def results(self, count: int = 1) -> list[Any]:
        return self.until(lambda news: len(news.results) >= count).results

    def exited(self) -> dict[str, Any]:
        exited = self.until(lambda news: news.exited is not None).exited
        assert exited is not None
        return exited

    def close(self) -> None:
        for slot in self.slots:
            slot.close()
            slot.kill()
        while any(slot.pid != os.getpid() and is_there(slot.pid) for slot in self.slots):
            self.until(lambda news: news.exited is not None)
            self.forget()


def is_there(pid: int) -> bool:
    return pid > 0 and Path(f"/proc/{pid}").exists()


def task(type: str, params: Any = None, id: int = 1) -> tuple[Any, ...]:
    return (id, 7, type, 1, 0, 5, 0.0, None, None, (), values.pack(params), None)


class Death:
    """Watches a process that need not be ours."""

    def __init__(self, pid: int) -> None:
        self._number = os.pidfd_open(pid)

    def wait(self) -> bool:
        poller = select.poll()
        poller.register(self._number, select.POLLIN)
        dead = bool(poller.poll(SECONDS * 1000))
        os.close(self._number)
        return dead
