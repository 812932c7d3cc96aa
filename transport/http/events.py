"""The stream that keeps a page up to date: server-sent events, each a newer state of the whole pool.

There is no queue between the pool and a reader. Each reader is at a version of the document; when it has taken one, it
gets the newest. So a slow one skips states instead of gathering them, and one that takes nothing at all is dropped (by
its connection). The pool is asked only while somebody reads, once for all readers.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any, Final

from anyio import to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ...workers.errors import PoolRefused, WorkerHostError
from .contract import Monitor, Pool
from .problems import Problem
from .scene import Document, patch, scene

READERS_MAX: Final = 64
LOOK_SECONDS: Final = 0.4
"""From one question to the pool to the next: with the answer's way to the page a change shows within a second."""

PAUSE_SECONDS: Final = 0.2
"""Between an answer and the next question at least, however slow the pool is."""

QUIET_SECONDS: Final = 10.0
"""After which a comment tells a reader that the connection lives, though nothing has changed."""


class Feed:
    """The newest document, for any number of readers."""

    def __init__(self, pool: Pool, monitor: Monitor) -> None:
        self._pool, self._monitor = pool, monitor
        self._readers = 0
        self._looking: asyncio.Task[None] | None = None
        self._news = asyncio.Event()  # replaced with each version; the old one wakes those that wait
        self._document: Document | None = None
        self._whole = self._change = b""
        self.version = 0

    def enter(self) -> None:
        """A reader comes.

        Raises:
            Problem: There are too many.
        """
        if self._readers >= READERS_MAX:
            raise Problem(503, f"{READERS_MAX} pages are open already; close one", headers={"Retry-After": "5"})
        self._readers += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())

    def leave(self) -> None:
        """A reader goes; with the last one the questions end, and what is known grows old: the next is told anew."""
        self._readers -= 1
        if not self._readers and self._looking is not None:
            self._looking.cancel()
            self._looking = None
            self._document = None
            self._whole = self._change = b""

    async def after(self, version: int) -> tuple[int, bytes]:
        """What a reader who has seen `version` is told next, and the version that it has then. Waits for news."""
        while self.version == version or not self._whole:
            try:
                async with asyncio.timeout(QUIET_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                return version, b": all quiet\n\n"
        return self.version, self._change if version == self.version - 1 and self._change else self._whole

    async def _look(self) -> None:
        """Ask, for as long as somebody reads."""
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                self._renew(await to_thread.run_sync(partial(_asked, self._pool, self._monitor)))
            except Exception as error:  # whatever it is, readers are told, and the next answer may be another
                known = isinstance(error, (WorkerHostError, RuntimeError))
                problem = str(error) if known else f"what the pool says cannot be shown: {error!r}"
                refused = isinstance(error, PoolRefused)
                self._renew({**(self._document or {}), "problem": problem, "refused": refused})
            await asyncio.sleep(max(PAUSE_SECONDS, LOOK_SECONDS - (clock() - began)))

    def _renew(self, newest: Document) -> None:
        changed = patch(self._document, newest) if self._document is not None else newest
        if not changed:
            return
        self._change = b"" if self._document is None else _event("change", changed)
        self._whole = _event("whole", newest)
        self._document = newest
        self.version += 1
        news, self._news = self._news, asyncio.Event()
        news.set()


def _asked(pool: Pool, monitor: Monitor) -> Document:
    """The newest document. Blocks until the pool has answered."""
    return scene(monitor.view(), pool.status(), pool.snapshot())


def _event(name: str, document: Any) -> bytes:
    """In ASCII: some readers take other characters, such as U+2028, for the end of a line, too."""
    return f"event: {name}\ndata: {json.dumps(document, allow_nan=False)}\n\n".encode()


class Stream(Response):
    """The answer to a reader: it lasts until the reader goes, is dropped, or the server ends."""

    media_type = "text/event-stream"

    def __init__(self, feed: Feed) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell the reader until one of both ends."""
        if scope["method"] == "HEAD":  # wants no more than this: it is no reader, and would wait for an end for ever
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
            return
        self._feed.enter()
        telling = asyncio.create_task(self._tell(send))
        try:
            gone = asyncio.create_task(_gone(receive))
            await asyncio.wait((telling, gone), return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
        finally:
            telling.cancel()
            self._feed.leave()
        if telling.done() and not telling.cancelled() and (error := telling.exception()) is not None:
            raise error

    async def _tell(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        version = -1
        body = b"retry: 1000\n\n"
        while True:
            await send({"type": "http.response.body", "body": body, "more_body": True})
            version, body = await self._feed.after(version)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
