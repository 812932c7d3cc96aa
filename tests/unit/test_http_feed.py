"""The stream of a pool's state: whatever the pool answers, readers hear of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

from starlette.types import Message

from workerhost.transport.http.contract import Monitor, Pool
from workerhost.transport.http.events import Feed, Stream, _event  # pyright: ignore[reportPrivateUsage]
from workerhost.transport.http.scene import scene
from workerhost.workers.errors import WorkerHostError


class OfAnotherVersion:
    """A pool whose answers lack what is shown."""

    def __init__(self) -> None:
        self.asked = 0

    def status(self) -> dict[str, Any]:
        self.asked += 1
        if self.asked > 1:
            raise WorkerHostError("another one")
        return {}

    def snapshot(self) -> dict[str, Any]:
        return {"hosts": []}

    def view(self) -> dict[str, Any]:
        return {}


class Dying:
    """A pool that answers once, and a monitor that keeps what it saw."""

    def __init__(self) -> None:
        self.lives = True

    def status(self) -> dict[str, Any]:
        if not self.lives:
            raise WorkerHostError("nobody answers")
        return {"supervisor": {}, "queue": {}, "notes": []}

    def snapshot(self) -> dict[str, Any]:
        return {"hosts": [], "tasks": {}, "pool": {}, "nodes": {}, "nodes_left_out": 0}

    def view(self) -> dict[str, Any]:
        return {}


def test_a_page_is_sent_the_windows_that_it_shows() -> None:
    figures = {"per_second": 1.23456}
    window = {"pool": figures, "nodes": {"a": figures}, "hosts": {"h": figures}}
    pool = Dying()
    shown = scene({"windows": dict.fromkeys(("1m", "5m", "1h"), window)}, pool.status(), pool.snapshot())
    read = {"pool": {"per_second": 1.23}, "nodes": {"a": {"per_second": 1.23}}}
    assert shown["windows"] == {"1m": read, "1h": read}


def test_a_reader_that_comes_later_is_not_told_what_the_last_one_saw() -> None:
    dying = Dying()
    feed = Feed(cast("Pool", dying), cast("Monitor", dying))

    async def told() -> tuple[bytes, bytes]:
        async with asyncio.timeout(5):
            feed.enter()
            _, before = await feed.after(-1)
            feed.leave()
            dying.lives = False
            feed.enter()
            _, after = await feed.after(-1)
            feed.leave()
        return before, after

    before, after = asyncio.run(told())
    assert b'"problem": ""' in before
    assert after.startswith(b"event: whole")
    assert b"nobody answers" in after


def test_an_answer_that_cannot_be_shown_is_told_to_readers_and_asked_for_again() -> None:
    strange = OfAnotherVersion()
    feed = Feed(cast("Pool", strange), cast("Monitor", strange))

    async def told() -> list[bytes]:
        feed.enter()
        async with asyncio.timeout(5):
            version, first = await feed.after(-1)
            _, second = await feed.after(version)
        feed.leave()
        return [first, second]

    first, second = asyncio.run(told())
    assert first.startswith(b"event: whole")
    assert b"cannot be shown: KeyError" in first
    assert b"another one" in second


def test_an_event_is_two_lines_whatever_its_texts_hold() -> None:
    text = "one\u2028two\u2029three\x85four\r\nfive \u00e9"
    event = _event("whole", {"text": text})
    assert event.isascii()
    name, data = event.decode().removesuffix("\n\n").split("\n")
    assert name == "event: whole"
    assert json.loads(data.removeprefix("data: ")) == {"text": text}


def test_who_asks_for_the_head_of_the_stream_alone_is_answered_at_once() -> None:
    strange = OfAnotherVersion()
    feed = Feed(cast("Pool", strange), cast("Monitor", strange))
    sent: list[Message] = []

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    async def ask() -> None:
        async with asyncio.timeout(5):
            await Stream(feed)({"type": "http", "method": "HEAD"}, never, send)

    asyncio.run(ask())
    start, body = sent
    assert start["status"] == 200
    assert (b"content-type", b"text/event-stream; charset=utf-8") in start["headers"]
    assert body == {"type": "http.response.body", "body": b""}
    assert strange.asked == 0
