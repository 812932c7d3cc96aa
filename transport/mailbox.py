"""An actor's inbox that also is its socket: in-process messages, network, pipes and one timer in one thread.

Pykka asks an inbox for `put`, `get` and `empty`. This one waits in `get` for all of its sources together and hands over
what has arrived as one batch, so an actor that talks to the network needs no second thread, no lock and no hand-over.
It owns the waiting and its wake-up, nothing else: sockets and pipes stay with those who attach them.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import zmq
from pykka._envelope import Envelope  # pyright: ignore[reportPrivateUsage]  # the inbox hook hands these over

from .clock import now

BATCH_ITEMS_MAX: Final = 256
"""Items in one batch: many enough that the cost of a turn is shared, few enough that a turn stays short."""

BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of messages after which a link's drain stops, so that 256 large messages never stand in memory at once."""

LOCAL_STREAK_MAX: Final = 256
"""In-process messages in a row after which the other sources are looked at, so that a flood of `tell` starves none."""

POLL_MS_MAX: Final = 3_600_000

Drain = Callable[[], list[Any]]
"""Takes what a readable source has, without blocking; at most about `BATCH_ITEMS_MAX` items."""

Source = zmq.Socket[bytes] | int


class Batch:
    """What arrived together, as an actor receives it. Empty when it was the timer."""

    __slots__ = ("_error", "_items")

    def __init__(self, items: list[Any], error: Exception | None = None) -> None:
        self._items, self._error = items, error

    @property
    def items(self) -> list[Any]:
        """The items in order.

        Raises:
            Exception: Whatever a source's drain raised. It is raised here, where the actor's own failure hooks see it;
                in `get` it would end the thread without them.
        """
        if self._error is not None:
            raise self._error
        return self._items


class Mailbox:
    """A Pykka inbox over many sources. Use it with `_create_actor_inbox = staticmethod(Mailbox)`.

    `put`, `post` and `ring` may be called in any thread, everything else in the actor's own.
    """

    def __init__(self) -> None:
        self._local: deque[Envelope[Any]] = deque()
        self._posted: deque[Any] = deque()
        self._rung: deque[Drain] = deque()
        self._drains: dict[Source, Drain] = {}
        self._waker = _waker()
        self._poller = zmq.Poller()
        self._poller.register(self._waker.fd, zmq.POLLIN)
        self._wake_time: float | None = None
        self._asleep = False  # true while the owner waits, or is about to: then whoever brings something wakes it
        self._streak = 0
        self._turn = 0

    def put(self, envelope: Envelope[Any], /) -> None:
        """Adds an in-process message (`tell`, `ask`). It is received before what the sources bring."""
        self._local.append(envelope)
        if self._asleep:
            self._rouse()

    def post(self, item: Any) -> None:
        """Adds an item to the next batch. Whoever posts keeps it bounded."""
        self._posted.append(item)
        if self._asleep:
            self._rouse()

    def ring(self, drain: Drain) -> None:
        """Asks the owner to call `drain` once for items of the next batch: a source without a file descriptor."""
        self._rung.append(drain)
        if self._asleep:
            self._rouse()

    def attach(self, source: Source, drain: Drain) -> None:
        """From now on, calls `drain` whenever `source` (a ZeroMQ socket or a file descriptor) is readable or closed.

        Attaching it again replaces the drain. Detach a source before it is closed.
        """
        self._drains[source] = drain
        self._poller.register(source, zmq.POLLIN)

    def detach(self, source: Source) -> None:
        """Forgets a source; one that is not attached is no error."""
        if self._drains.pop(source, None) is not None:
            self._poller.unregister(source)

    def wake_at(self, time: float | None) -> None:
        """Sets the one timer: `get` returns an empty batch at `time` (of `clock.now`) unless something comes earlier.

        It rings once and only when nothing else has arrived: what is already there is handled before a deadline.
        """
        self._wake_time = time

    def empty(self) -> bool:
        """Whether no in-process message waits. Pykka empties these, and only these, when an actor stops."""
        return not self._local

    def get(self) -> Envelope[Any]:
        """Waits for the next in-process message or batch."""
        while True:
            if self._local and self._streak < LOCAL_STREAK_MAX:
                self._streak += 1
                return self._local.popleft()
            self._streak = 0
            batch = self._gather()
            if batch is not None:
                return Envelope(batch)

    def _gather(self) -> Batch | None:
        """Waits once, unless something is there, and collects. None: only an in-process message, or a false alarm."""
        self._asleep = True  # before the look into the queues: what comes after that look will wake us
        pending = self._local or self._posted or self._rung
        items: list[Any] = []
        try:
            ready: list[tuple[Any, int]] = self._poller.poll(0 if pending else self._timeout_ms())
            self._asleep = False
            self._take_posted(items)
            self._take_ready(ready, items)
        except Exception as error:  # see Batch.items
            self._asleep = False
            return Batch(items, error)
        if items:
            return Batch(items)
        if self._wake_time is not None and now() >= self._wake_time:
            self._wake_time = None
            return Batch(items)
        return None

    def _take_posted(self, items: list[Any]) -> None:
        while self._posted and len(items) < BATCH_ITEMS_MAX:
            items.append(self._posted.popleft())
        for _ in range(
            len(self._rung)
        ):  # a drain that left something has rung again: its turn comes with the next batch
            if len(items) >= BATCH_ITEMS_MAX:
                break
            items.extend(self._rung.popleft()())

    def _take_ready(self, ready: list[tuple[Any, int]], items: list[Any]) -> None:
        if len(ready) > 1:  # another source comes first each time, so that a busy one cannot starve the others
            self._turn += 1
            first = self._turn % len(ready)
            ready = ready[first:] + ready[:first]
        for source, _ in ready:
            if source == self._waker.fd:
                self._waker.clear()
            elif len(items) < BATCH_ITEMS_MAX:  # what is left stays readable
                drain = self._drains.get(source)
                if drain is not None:
                    items.extend(drain())
        if len(items) > BATCH_ITEMS_MAX:
            self._posted.extendleft(reversed(items[BATCH_ITEMS_MAX:]))
            del items[BATCH_ITEMS_MAX:]

    def _timeout_ms(self) -> int | None:
        if self._wake_time is None:
            return None
        left = self._wake_time - now()
        return 0 if left <= 0 else min(math.ceil(left * 1000), POLL_MS_MAX)

    def _rouse(self) -> None:
        self._asleep = False
        self._waker.wake()


class _Waker(Protocol):
    """Something readable that any thread can make readable."""

    fd: int

    def wake(self) -> None: ...

    def clear(self) -> None: ...


class _EventWaker:
    """One file descriptor (Linux)."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Refs of a stopped actor still hold its mailbox and may write, so it is closed with the last of them.
        weakref.finalize(self, os.close, self.fd).atexit = False

    def wake(self) -> None:
        os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)


class _SocketWaker:
    """A pair of sockets, where there is no eventfd."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self.fd = self._near.fileno()
        weakref.finalize(self, _close_both, self._near, self._far).atexit = False

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes just as well
            self._far.send(b"\0")

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while len(self._near.recv(4096)) == 4096:
                pass


def _close_both(near: socket.socket, far: socket.socket) -> None:
    near.close()
    far.close()


def _waker() -> _Waker:
    return _EventWaker() if hasattr(os, "eventfd") else _SocketWaker()
