"""A client's connection: the waiting of the threads that use it.

Threads hand commands over to the actor without waiting, and then sleep until what they asked for is there, until their
time is over, or until the pool has been away for too long.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from ..workers.errors import ConfigError, WorkerHostError
from . import sayable
from .access import Access
from .block import Block, Waiter
from .client_actor import ClientActor
from .clock import now
from .commands import Command, Finish, Lookup, Request, Withdraw
from .conversation import Conversation
from .mailbox import Mailbox
from .messages import Admin, Cancel, Query
from .outcome import denial
from .parcel import Parcel
from .reachability import probe, unreachable
from .waiting import Callee, Knock, waiting

log: Final = logging.getLogger("workerhost.client")

EXIT_SECONDS: Final = 2.0
"""How long an exiting interpreter waits for the acknowledgement of what `send_soon` has handed over."""

OUTSTANDING_MAX: Final = 10_000
"""Tasks of `send_soon` that may wait for their acknowledgement; the next call waits for room."""


class Connection:
    """One process's connection to a pool, for any number of threads.

    Attributes:
        access: How the supervisor is reached.
        timeout: Seconds after which a call gives up on a supervisor that does not answer.
        conversation: The protocol's state; only its plain attributes are read here.
        callee: The same, as a wait wants it.
    """

    _unusable: WorkerHostError | None = None  # why nothing can be met at the address any more
    _actor_thread: int | None = None

    def __init__(self, access: Access, timeout: float, session: bytes | None = None) -> None:
        self.access, self.timeout = access, timeout
        name = f"{socket.gethostname()}:{os.getpid()}"
        self.conversation = Conversation(session or os.urandom(16), name, now(), access.wanted)
        self._commands: deque[Command] = deque()
        self._told = False  # whether the actor knows that there are commands
        self._waiters: set[Waiter] = set()
        self._over = False
        self._pid = os.getpid()
        self.callee = Callee(access, timeout, self.conversation, self._check_over)
        actor = ClientActor.start(self)
        self._ended = actor.actor_stopped
        self._mailbox: Mailbox = actor.actor_inbox  # pyright: ignore[reportAttributeAccessIssue]  # made by its factory
        _open.add(self)  # now that it can be closed
        if self._over:
            _open.discard(self)

    # The actor's side.

    def taken(self) -> list[Command]:
        """The commands that were handed over since the last call."""
        self._actor_thread = threading.get_ident()
        self._told = False  # before looking: what comes after the look tells again
        commands: list[Command] = []
        while self._commands:
            commands.append(self._commands.popleft())
        return commands

    def wake_all(self) -> None:
        """Let every waiting thread look again."""
        for waiter in tuple(self._waiters):
            waiter.wake()

    def unusable(self, error: ConfigError) -> None:
        """Nothing can ever be met at the address; the actor goes."""
        self._unusable = error

    def ended(self) -> None:
        """The actor is gone."""
        self._over = True
        self._actor_thread = None  # another thread may be given its number
        _open.discard(self)
        self.wake_all()

    # The callers' side.

    @property
    def over(self) -> bool:
        """Whether it was closed, or has failed."""
        return self._over

    def _is_here(self) -> bool:
        return threading.get_ident() == self._actor_thread

    @property
    def outstanding(self) -> int:
        """How many tasks were handed over and not answered."""
        waiting = sum(command.block.count for command in self._commands.copy() if isinstance(command, Parcel))
        return waiting + self.conversation.outbox.unanswered

    @property
    def has_room(self) -> bool:
        """Whether one more task may be handed over without waiting. Every `send_soon` asks, so this does not count: a
        command that the actor has not taken yet passes for a task.
        """
        return len(self._commands) + self.conversation.outbox.unanswered < OUTSTANDING_MAX

    def wait_for_room(self) -> None:
        """Wait until `has_room`.

        Raises:
            PoolUnreachable: There was none within the timeout, because no supervisor answers.
        """
        if not self.has_room:
            self.wait(lambda: self.has_room, [self.conversation.outbox.waiters])

    def put(self, command: Command) -> None:
        """Hand a command over, without waiting.

        Raises:
            RuntimeError: The client was closed.
        """
        self._check_over()
        self._commands.append(command)
        if not self._told:
            self._told = True
            self._mailbox.post(None)

    def submitted(self, blocks: Sequence[Block], *, patient: bool, refusals: int) -> None:
        """Wait until submissions that were put are answered; withdraw them when that fails.

        Args:
            blocks: What was put, in order.
            patient: Wait for room in the queue as long as it takes.
            refusals: How often the pool had refused us when the call began.

        Raises:
            PoolUnreachable: No supervisor answered in time.
        """
        try:
            for block in blocks:
                while (part := next((part for part in block.chain() if not part.answered), None)) is not None:
                    told = [part.waiters]
                    answered = partial(getattr, part, "answered")
                    self.wait(answered, told, strict=not patient, refusals=refusals, blocks=blocks)
        except BaseException:
            if not self._over:
                self.put(Withdraw(tuple(blocks)))
            raise

    def request(
        self, message: Query | Admin | Cancel, unknown: type[WorkerHostError] = WorkerHostError
    ) -> dict[str, Any]:
        """Ask something and wait for the reply.

        Args:
            message: What to ask.
            unknown: The error for what the pool does not know.

        Raises:
            PoolUnreachable: No supervisor answered in time.
            PoolRefused: It is not allowed.
            WorkerHostError: The supervisor could not do it; it says why.
            InvalidTask: It cannot be said; the message names the value that is no proper text, or no number of 64 bits.
        """
        sayable.check(message)
        request = Request(message)
        try:
            refusals = self.conversation.refusals
            self.put(request)
            self.wait(lambda: request.reply is not None, [request.waiters], strict=True, refusals=refusals)
        except BaseException:
            request.withdrawn = not self._is_here()  # the actor's own thread could not wait, and means it all the same
            raise
        ok, value = request.reply or (False, {})
        if not ok:
            raise denial(value, unknown)
        return value

    def look_up(self, id: int) -> tuple[Block, int]:
        """The block and offset where news of a task arrive, with its present state.

        Raises:
            PoolUnreachable: No supervisor answered in time.
        """
        lookup = Lookup(id)
        refusals = self.conversation.refusals
        self.put(lookup)
        self.wait(lambda: lookup.found, [lookup.waiters], strict=True, refusals=refusals)
        assert lookup.block is not None
        return lookup.block, lookup.offset

    def wait(
        self,
        done: Callable[[], bool],
        places: Iterable[list[Waiter]],
        *,
        timeout: float | None = None,
        strict: bool = False,
        refusals: int | None = None,
        waiter: Waiter | None = None,
        blocks: Sequence[Block] = (),
    ) -> bool:
        """Sleep until something is the case.

        Args:
            done: Whether it is.
            places: Where news of it are told.
            timeout: How long the caller wants to wait; None: as long as the pool is there.
            strict: The pool must answer within the connection's own timeout, even one that is there.
            refusals: How often the pool had refused us when the call began.
            waiter: What sleeps; else a new one.
            blocks: What may have been stored if the pool does not answer.

        Returns:
            False if `timeout` passed first.

        Raises:
            PoolUnreachable: The pool has been away, or silent, for the connection's timeout.
            PoolRefused: The pool refused this client.
            RuntimeError: The client was closed; or this is its actor's thread, into which a garbage collection may
                bring any code: it would wait for what only it can read.
        """
        if done():
            return True
        if self._is_here():
            raise RuntimeError("a client's own thread cannot wait for its pool")
        waiter = waiter or Waiter()
        places = list(places)
        refusals = self.conversation.refusals if refusals is None else refusals
        steps = waiting(self.callee, done, timeout=timeout, strict=strict, refusals=refusals, blocks=blocks)
        with self.listening(waiter, places):
            answer = ""
            try:
                step = next(steps)
                while True:
                    if isinstance(step, Knock):
                        answer = probe(self.access.address, step.seconds)
                    else:
                        waiter.wait(step.seconds)
                    step = steps.send(answer)
            except StopIteration as ended:
                return ended.value

    @contextmanager
    def listening(self, waiter: Waiter, places: Sequence[list[Waiter]]) -> Generator[None]:
        """Have a waiter woken by what is told at these places, and by what concerns every waiter."""
        self._waiters.add(waiter)
        for place in places:
            place.append(waiter)
        try:
            yield
        finally:
            self._waiters.discard(waiter)
            for place in places:
                place.remove(waiter)

    def _check_over(self) -> None:
        if self._over:
            if self._unusable is not None:
                raise type(self._unusable)(str(self._unusable))
            closed = "this client is closed" if self.conversation.left else "this client failed; see the log of pykka"
            raise RuntimeError(closed)

    def close(self, patience: float) -> bool:
        """End the session when everything is acknowledged, at the latest after `patience` seconds.

        Returns:
            Whether everything was acknowledged. A second call does nothing.
        """
        if self._over or self._pid != os.getpid():
            return True
        self.put(Finish(patience))
        self._ended.wait(patience + 1.0)
        return not self.outstanding

    def fail(self, error: WorkerHostError) -> None:
        """Nobody will ever answer again: whoever waits, and whoever calls from now on, ends with this error."""
        self._unusable = error
        self.let_go(0.0)

    def let_go(self, patience: float = EXIT_SECONDS) -> None:
        """As `close`, without waiting for the end: nobody holds this connection any more."""
        if not self._over and self._pid == os.getpid():
            self.put(Finish(patience))


_open: set[Connection] = set()


@atexit.register
def _close_all() -> None:
    """An exiting interpreter says goodbye while its threads still run."""
    for connection in tuple(_open):
        if not connection.close(EXIT_SECONDS):
            log.error("exit_unacknowledged: tasks of send_soon to %s are not acknowledged", connection.access.address)


class Connections:
    """The connection of each process that uses one client: a forked child opens its own.

    What a child inherits is never touched; it belongs to the parent.
    """

    def __init__(self, access: Access, timeout: float) -> None:
        self.access, self.timeout = access, timeout
        self.closed = False
        self._by_process: dict[int, Connection] = {}
        weakref.finalize(self, _let_go, self._by_process).atexit = False

    def current(self) -> Connection:
        """This process's connection, opened at the first call.

        Raises:
            RuntimeError: The client was closed.
        """
        pid = os.getpid()
        connection = self._by_process.get(pid)
        if connection is None:
            if self.closed:
                raise RuntimeError("this client is closed")
            made = Connection(self.access, self.timeout)
            connection = self._by_process.setdefault(pid, made)
            if connection is not made:  # another thread was quicker
                made.let_go()
        return connection

    def opened(self) -> Connection | None:
        """This process's connection, if there is one."""
        return self._by_process.get(os.getpid())

    def take_over(self, session: bytes) -> None:
        """Have the pool believe that a session is ours, so that whoever had it is not heard any more; and end it.

        Raises:
            PoolUnreachable: No supervisor answered in time.
        """
        connection = Connection(self.access, self.timeout, session)
        try:
            connection.request(Query(0, "status", {}))
        finally:
            connection.close(EXIT_SECONDS)

    def close(self, *, failing: bool = False) -> None:
        """End this process's session.

        Args:
            failing: Something else went wrong before: wait less, and only log what is not acknowledged.

        Raises:
            PoolUnreachable: Tasks of `send_soon` were not acknowledged within the timeout.
        """
        self.closed = True
        connection = self._by_process.get(os.getpid())
        patience = min(self.timeout, EXIT_SECONDS) if failing else self.timeout
        if connection is None or connection.close(patience):
            return
        error = unreachable(self.access.address, patience, f"{connection.outstanding} tasks are not acknowledged")
        if not failing:
            raise error
        log.error("close_unacknowledged: %s", error)


def _let_go(by_process: dict[int, Connection]) -> None:
    for connection in by_process.values():
        connection.let_go()
