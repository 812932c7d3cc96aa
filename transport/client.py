"""The client: hands tasks to a pool, gets their results, and asks and orders what a person may.

Owns what the public calls look like; what a person asks and orders is in `orders.py`. The protocol is in
`conversation.py`, threads and waiting in `connection.py`.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack, overload

from ..workers.errors import WorkerHostError
from ..workers.task import Task
from .access import Access
from .block import Block
from .commands import Withdraw
from .connection import Connection, Connections
from .flow_calls import FlowCalls
from .handle import Batch, Handle
from .invitations import is_invitation
from .keys import Home
from .messages import DEFAULT_ADDRESS
from .orders import Orders
from .outcome import raise_refusal
from .parcel import Parcel, parcels, single
from .reachability import checked
from .stream import Mapping, as_completed
from .terms import Sending, terms

if TYPE_CHECKING:
    from ..workers.registry import WorkerFunction

Value = TypeVar("Value")

PARCELS_AHEAD: Final = 10
"""Parcels of one `send_many` that are packed before the first of them is acknowledged."""


class Client(Orders, FlowCalls):
    """A sender's access to a pool. Thread-safe; a forked child opens its own connection; use it in a `with` block.

    Nothing is connected before the first call, and tasks outlive their client.

    Args:
        address: `tcp://HOST:PORT`, `ipc://PATH`, `memory://NAME` or an invitation; else `$WORKERHOST_ADDRESS`, else
            tcp://127.0.0.1:7470.
        timeout: Seconds after which any call gives up on a pool that does not answer. A supervisor that is back sooner
            is not noticed.

    Raises:
        ConfigError: The address is malformed, or this machine has no identity for it.
    """

    def __init__(self, address: str | None = None, *, timeout: float = 30.0) -> None:
        access = access_to(address, timeout)
        self.address = access.address
        self.timeout = timeout
        self._connections = Connections(access, timeout)

    @classmethod
    def observer(cls, address: str | None = None, *, timeout: float = 30.0) -> Self:
        """A client that only looks, such as a monitor's: whatever this machine's identity may do, it changes nothing.

        What would change something raises PoolRefused.
        """
        client = cls(address, timeout=timeout)
        client._connections = Connections(access_to(address, timeout, "observer"), timeout)
        return client

    # Sending.

    @overload
    def send(self, type: Task[Value], **sending: Unpack[Sending]) -> Handle[Value]: ...
    @overload
    def send(self, type: str, params: Any = None, **sending: Unpack[Sending]) -> Handle[Any]: ...
    def send(self, type: str | Task[Any], params: Any = None, **sending: Unpack[Sending]) -> Handle[Any]:
        """Hand in a task. Returns when it is on disk, never earlier.

        Args:
            type: The dotted path that says which worker runs it; or a task of a typed function, `length.task("hi")`,
                which brings its params.
            params: None, bool, int, float, str, bytes, list, dict with text keys, aware datetime; at most 1 MiB packed.
                A handle in them stands for that task's result, and the task comes after it.
            priority: Larger runs first.
            delay: Seconds before it may run.
            at: When it may run, instead of `delay`: an aware datetime, or seconds since the epoch.
            expires: When it is of no use any more, in the same form: not begun by then, it fails.
            timeout: Seconds that one attempt may run.
            max_attempts: Failures until it is final.
            tags: Names to find it by.
            require_host: Refuse it if no joined host serves its type.
            tenant: Whose it is: at equal priority tenants take turns, and a configuration may limit each.
            requires: What its host must offer beside a slot: counts that it uses up while it runs, and labels, as in
                `{"gpu": 1, "memory": "8G", "zone": "eu"}`.
            after: Tasks that must have ended before it runs: handles, batches or numbers, one or several.
            on_failure: What if one of these does not complete: `cancel` it, `run` it all the same, or `wait` for a
                person, who has that one tried again or unblocks this one.
            key: Your name for the task, which no other task of its type bears while it is unfinished; or a function
                that gives it from the params (for many tasks).
            unique_for: How long the key stays taken (seconds from now, or a timedelta), or as long as the pool keeps it
                (`"kept"`), when it has completed, too. A task that ended badly gives its key free.
            on_conflict: What if a task bears the key: `return` that one's handle (whose `existing` says whether its
                params are the same), `replace` its params if it has not started, or `refuse` with KeyConflict.
            cache: A task of the same type with the same params, sent with `cache` too, answers for this one if it is
                unfinished or completed within so many seconds: its handle is returned. None: as the configuration says
                for its type; False: it runs, and answers for no other.
            full: `raise` QueueFull when the queue is full, or `wait` for room as long as the pool is there.

        Raises:
            TaskRefused: It cannot be stored as it is (`InvalidTask`, `TooLarge`, `NoHost`, `KeyConflict`); nothing was.
            PoolBusy: It cannot be stored now (`QueueFull`, `DiskFull`); nothing was.
            PoolUnreachable: No supervisor answered in time.
            PoolRefused: The supervisor refuses this client.
        """
        type, params = wanted(type, params)
        agreed = terms(type, **sending)
        parcel = single(agreed, params)
        connection = self._connections.current()
        refusals = connection.conversation.refusals
        connection.put(parcel)
        connection.submitted([parcel.block], patient=agreed.patient, refusals=refusals)
        raise_refusal(parcel.block)
        return Handle(self._connections, connection, parcel.block, 0)

    @overload
    def send_soon(self, type: Task[Value], **sending: Unpack[Sending]) -> Handle[Value]: ...
    @overload
    def send_soon(self, type: str, params: Any = None, **sending: Unpack[Sending]) -> Handle[Any]: ...
    def send_soon(self, type: str | Task[Any], params: Any = None, **sending: Unpack[Sending]) -> Handle[Any]:
        """Hand in a task without waiting; tasks that wait together travel together.

        The handle's `id` waits for the acknowledgement; it and `result` raise what `send` would have raised. Closing
        the client waits until everything is acknowledged. At most 10,000 tasks may be unacknowledged; then it waits
        for room.

        Raises:
            TaskRefused: It cannot be sent as it is; nothing was.
            PoolUnreachable: There was no room within the timeout, because no supervisor answers.
        """
        type, params = wanted(type, params)
        parcel = single(terms(type, **sending), params)
        connection = self._connections.current()
        connection.wait_for_room()
        connection.put(parcel)
        return Handle(self._connections, connection, parcel.block, 0)

    @overload
    def send_many(
        self,
        type: WorkerFunction[..., Any, Value],
        params: Iterable[Any],
        *,
        chunk: int = 1000,
        **sending: Unpack[Sending],
    ) -> Batch[Value]: ...
    @overload
    def send_many(
        self, type: str, params: Iterable[Any], *, chunk: int = 1000, **sending: Unpack[Sending]
    ) -> Batch[Any]: ...
    def send_many(
        self, type: Any, params: Iterable[Any], *, chunk: int = 1000, **sending: Unpack[Sending]
    ) -> Batch[Any]:
        """Hand in one task for each of the params. Returns when all are on disk. A typed function may stand for a type.

        The params of a list or tuple are checked before the first is sent. Those of an iterator are sent as they come,
        at most `chunk` at a time, and so is a batch that meets a full queue: when an error stops it half-way, a note on
        the error says which tasks were stored before; they run. `full="wait"` avoids that.

        Raises:
            TaskRefused, PoolBusy, PoolUnreachable, PoolRefused: As `send`.
        """
        if chunk < 1:
            raise ValueError(f"chunk={chunk!r}: it must be at least 1")
        agreed = terms(type_of(type), **sending)
        source: Iterable[Parcel] = parcels(agreed, params, chunk)
        if isinstance(params, list | tuple):
            source = list(source)
        connection = self._connections.current()
        refusals = connection.conversation.refusals
        blocks: list[Block] = []
        answered = 0
        try:
            for parcel in source:
                connection.put(parcel)
                blocks.append(parcel.block)
                if len(blocks) - answered > PARCELS_AHEAD:
                    connection.submitted(blocks[answered : answered + 1], patient=agreed.patient, refusals=refusals)
                    raise_refusal(blocks[answered])
                    answered += 1
            connection.submitted(blocks[answered:], patient=agreed.patient, refusals=refusals)
            for block in blocks[answered:]:
                raise_refusal(block)
        except Exception as error:
            self._say_what_was_stored(connection, blocks, error)
            raise
        return Batch(self._connections, connection, [part for block in blocks for part in block.chain()])

    def _say_what_was_stored(self, connection: Connection, blocks: list[Block], error: Exception) -> None:
        """A batch stopped half-way: what is under way is waited for, so that the note is true; if the pool is away,
        it is given up.
        """
        under_way = [block for block in blocks if not block.answered]
        if connection.conversation.away_since is None:
            with suppress(WorkerHostError):
                connection.submitted(under_way, patient=False, refusals=connection.conversation.refusals)
        elif under_way and not connection.over:
            connection.put(Withdraw(tuple(under_way)))
        stored = Batch(self._connections, connection, [p for block in blocks for p in block.chain() if p.first])
        if len(stored):
            ranges = ", ".join(f"{ids.start} to {ids.stop - 1}" for ids in stored.ids())
            error.add_note(f"{len(stored)} tasks of this batch were stored and will run: {ranges}")

    # Results.

    @overload
    def map(
        self,
        type: WorkerFunction[..., Any, Value],
        params: Iterable[Any],
        *,
        buffersize: int = 1000,
        **sending: Unpack[Sending],
    ) -> Generator[Value]: ...
    @overload
    def map(
        self,
        type: str | WorkerFunction[..., Any, Any],
        params: Iterable[Any],
        *,
        buffersize: int = 1000,
        return_exceptions: bool = False,
        **sending: Unpack[Sending],
    ) -> Generator[Any]: ...
    def map(
        self,
        type: Any,
        params: Iterable[Any],
        *,
        buffersize: int = 1000,
        return_exceptions: bool = False,
        **sending: Unpack[Sending],
    ) -> Generator[Any]:
        """Send a task for each of the params and give back the values in their order, as they come.

        At most `buffersize` tasks are out at a time, so an endless iterator will do. As with `Executor.map`, the first
        error is raised and, however it is left early, what has not ended is cancelled.

        Args:
            type: The task type, or a typed function.
            params: One task for each.
            buffersize: Most tasks sent whose values have not been taken.
            return_exceptions: Give errors of tasks as values, and go on.
            **sending: As for `send`.
        """
        if buffersize < 1:
            raise ValueError(f"buffersize={buffersize!r}: it must be at least 1")
        agreed = terms(type_of(type), **sending)
        mapping = Mapping(self._connections, agreed, params, buffersize, return_exceptions=return_exceptions)
        return mapping.begin()

    def as_completed(
        self, handles: Iterable[Handle[Value]], *, timeout: float | None = None
    ) -> Iterator[Handle[Value]]:
        """Handles (or a batch) as their tasks end, each once.

        Raises:
            TimeoutError: They had not all ended after `timeout` seconds.
            PoolUnreachable: The pool was away for the client's timeout.
        """
        return as_completed(self._connections.current(), handles, timeout)

    # The end.

    def settle(self) -> None:
        """Wait until the pool has answered everything of `send_soon` (for this package's own use).

        Raises:
            PoolUnreachable: The pool was away for the timeout.
        """
        self.status()  # commands keep their order: whatever was sent before this is counted by now
        connection = self._connections.current()
        connection.wait(lambda: not connection.outstanding, [connection.conversation.outbox.waiters])

    def fail(self, error: WorkerHostError) -> None:
        """Its pool is gone for good: every call ends with this error from now on (for this package's own use)."""
        if (connection := self._connections.opened()) is not None:
            connection.fail(error)

    def close(self) -> None:
        """End the session; tasks go on. Waits until everything of `send_soon` is acknowledged.

        Raises:
            PoolUnreachable: Not everything was acknowledged within the timeout.
        """
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connections.close(failing=error is not None)

    def __repr__(self) -> str:
        return f"<Client of {self.address}>"


def access_to(address: str | None, timeout: float, wanted: str = "client") -> Access:
    """How a client reaches a pool.

    Args:
        address: As for `Client`.
        timeout: Checked here too.
        wanted: See `Access`.

    Raises:
        ConfigError: The address is malformed, or this machine has no identity for it.
    """
    if not 0 < timeout <= 1e9:
        raise ValueError(f"timeout={timeout!r}: it must be seconds above 0")
    target = address or os.environ.get("WORKERHOST_ADDRESS") or DEFAULT_ADDRESS
    return Access(target if is_invitation(target) else checked(target), wanted, Home.of(os.environ))


def wanted(type: str | Task[Any], params: Any) -> tuple[str, Any]:
    """The type and the params of a task that is sent."""
    if not isinstance(type, Task):
        return type, params
    if params is not None:
        raise TypeError("a task brings its params: send(length.task(...)), or send(type, params)")
    return type.type, type.params


def type_of(type: Any) -> Any:
    """The type, for which a typed function may stand."""
    return type if isinstance(type, str) else getattr(type, "type", type)
