"""How coroutines wait for a pool: the counterpart of what `connection.py` does for threads.

The connection and its actor's thread are the same as a `Client`'s: heartbeats go on while an event loop is busy with a
program's own work, in-memory pools are reached alike, and no loop watches a socket (ZeroMQ's edge-triggered descriptor
loses wake-ups there). What the actor tells crosses into the loop once per batch (`call_soon_threadsafe`). No call takes
a thread; only knocking at a silent address, just before an error, borrows one of the loop's for 0.2 s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from ..workers.errors import WorkerHostError
from . import sayable
from .block import Block, Waiter
from .commands import Finish, Lookup, Request, Withdraw
from .connection import Connection
from .messages import Admin, Cancel, Query
from .outcome import denial
from .reachability import probe
from .waiting import Knock, waiting


class LoopWaiter(Waiter):
    """A coroutine that waits for news. Made and used in its event loop, woken from anywhere."""

    __slots__ = ("_event", "_loop", "_woken")

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._woken = False  # so that a flood of news is one call into the loop

    def wake(self) -> None:
        """Let it go on (any thread)."""
        if not self._woken:
            self._woken = True
            _call(self._loop, self._event.set)

    async def sleep(self, seconds: float | None) -> None:
        """Sleep until woken, or until `seconds` passed."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()
        self._woken = False  # before the caller looks again: what comes after the look wakes again


class EndsOfBlock(Waiter):
    """Wakes, of all coroutines that wait for one task of a block each, those whose task has ended: `gather` over a
    batch would wake each of them at every news otherwise.

    Attributes:
        waiting: Who waits, by offset.
    """

    __slots__ = ("_loop", "_woken", "waiting")

    def __init__(self) -> None:
        super().__init__()
        self.ended = deque()
        self.waiting: dict[int, list[Waiter]] = {}
        self._loop = asyncio.get_running_loop()
        self._woken = False

    def wake(self) -> None:
        """Something has ended (any thread)."""
        if not self._woken and self.ended:
            self._woken = True
            _call(self._loop, self._tell)

    def _tell(self) -> None:
        self._woken = False
        while self.ended:
            for offset in self.ended.popleft()[1]:
                for waiter in self.waiting.get(offset, ()):
                    waiter.wake()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:  # the loop is closed, and nobody waits there any more
        return


async def wait(
    connection: Connection,
    done: Callable[[], bool],
    places: Sequence[list[Waiter]],
    *,
    timeout: float | None = None,
    strict: bool = False,
    refusals: int | None = None,
    waiter: LoopWaiter | None = None,
    blocks: Sequence[Block] = (),
) -> bool:
    """As `Connection.wait`. Cancelling it leaves everything as it is."""
    if done():
        return True
    waiter = waiter or LoopWaiter()
    refusals = connection.conversation.refusals if refusals is None else refusals
    steps = waiting(connection.callee, done, timeout=timeout, strict=strict, refusals=refusals, blocks=blocks)
    with connection.listening(waiter, places):
        answer = ""
        try:
            step = next(steps)
            while True:
                if isinstance(step, Knock):
                    answer = await asyncio.to_thread(probe, connection.access.address, step.seconds)
                else:
                    await waiter.sleep(step.seconds)
                step = steps.send(answer)
        except StopIteration as ended:
            return ended.value


class Ends:
    """The coroutines that wait for single tasks, by block and loop. Used by event loops only."""

    def __init__(self) -> None:
        self._by_block: dict[tuple[Block, asyncio.AbstractEventLoop], EndsOfBlock] = {}

    async def wait(self, connection: Connection, block: Block, offset: int, timeout: float | None) -> bool:
        """Wait until one task has ended; False if `timeout` (seconds) passed first.

        Raises:
            PoolUnreachable: The pool was away for the connection's timeout.
        """
        if block.ends[offset] is not None:
            return True
        done = partial(_has_ended, block, offset)
        if block.count == 1:
            return await wait(connection, done, [block.waiters], timeout=timeout)
        key = (block, asyncio.get_running_loop())
        ends = self._by_block.get(key)
        if ends is None:
            ends = self._by_block[key] = EndsOfBlock()
            block.waiters.append(ends)
        try:
            return await wait(connection, done, [ends.waiting.setdefault(offset, [])], timeout=timeout)
        finally:
            if not ends.waiting.get(offset):
                ends.waiting.pop(offset, None)
            if not ends.waiting and self._by_block.pop(key, None) is not None:
                block.waiters.remove(ends)


def _has_ended(block: Block, offset: int) -> bool:
    return block.ends[offset] is not None


async def submitted(connection: Connection, blocks: Sequence[Block], *, patient: bool, refusals: int) -> None:
    """As `Connection.submitted`: whoever cancels it has given up, so what was not sent yet is withdrawn."""
    try:
        for block in blocks:
            while (part := next((part for part in block.chain() if not part.answered), None)) is not None:
                answered = partial(getattr, part, "answered")
                await wait(connection, answered, [part.waiters], strict=not patient, refusals=refusals, blocks=blocks)
    except BaseException:
        if not connection.over:
            connection.put(Withdraw(tuple(blocks)))
        raise


async def request(
    connection: Connection, message: Query | Admin | Cancel, unknown: type[WorkerHostError] = WorkerHostError
) -> dict[str, Any]:
    """As `Connection.request`."""
    sayable.check(message)
    asked = Request(message)
    try:
        refusals = connection.conversation.refusals
        connection.put(asked)
        await wait(connection, lambda: asked.reply is not None, [asked.waiters], strict=True, refusals=refusals)
    except BaseException:
        asked.withdrawn = True
        raise
    ok, value = asked.reply or (False, {})
    if not ok:
        raise denial(value, unknown)
    return value


async def look_up(connection: Connection, id: int) -> tuple[Block, int]:
    """As `Connection.look_up`."""
    lookup = Lookup(id)
    refusals = connection.conversation.refusals
    connection.put(lookup)
    await wait(connection, lambda: lookup.found, [lookup.waiters], strict=True, refusals=refusals)
    assert lookup.block is not None
    return lookup.block, lookup.offset


async def close(connection: Connection, patience: float) -> bool:
    """As `Connection.close`."""
    if connection.over:
        return True
    waiter = LoopWaiter()
    with connection.listening(waiter, ()):
        connection.put(Finish(patience))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience + 1.0
        while not connection.over and (left := deadline - loop.time()) > 0:
            await waiter.sleep(left)
    return not connection.outstanding


async def cancel(connection: Connection, ids: Iterable[int], at_once: int) -> list[int]:
    """End tasks, `at_once` with each message; those that had not ended before."""
    wanted = list(ids)
    cancelled: list[int] = []
    for start in range(0, len(wanted), at_once):
        cancelled += (await request(connection, Cancel(0, wanted[start : start + at_once])))["cancelled"]
    return cancelled
