"""A real `Client` in a simulated world: where it would wait, the world goes on instead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from ...transport.access import Access
from ...transport.block import Block, Waiter
from ...transport.client_effects import Effect, Leave
from ...transport.commands import Command, Finish
from ...transport.connection import Connection, Connections
from ...transport.keys import Home
from ...transport.taking_over import ResumableClient
from ...transport.waiting import Callee
from ...workers.errors import PoolUnreachable
from .client import SimulatedClient
from .timeline import Timeline

CALL_SECONDS: Final = 3600.0
"""How long, in the world's time, the pool may take to answer a call: a lost message is noticed by a heartbeat."""

WAIT_SECONDS: Final = 86400.0
"""How long, in the world's time, a task is waited for when its caller names no time."""


class InnerNode(SimulatedClient):
    """The client's end of the network, which takes commands as a client's actor does."""

    def take(self, command: Command) -> None:
        """Hand a command to the conversation."""
        if self.talk is not None:
            self._do(self.talk.take([command], self.clock.now()))

    def _do(self, effects: list[Effect]) -> None:
        super()._do([effect for effect in effects if not isinstance(effect, Leave)])


class InnerConnection(Connection):
    """A connection without a thread. Whoever waits lets the world take its steps."""

    def __init__(self, node: InnerNode, timeline: Timeline) -> None:
        assert node.talk is not None
        self.access, self.timeout = Access("memory://testing", "client", Home.of({})), CALL_SECONDS
        self.conversation = node.talk
        self.callee = Callee(self.access, self.timeout, self.conversation, self._check_over)
        self._node, self._timeline = node, timeline
        self._commands = deque[Command]()  # stays empty
        self._waiters: set[Waiter] = set()
        self._over = False

    def put(self, command: Command) -> None:
        """Hand a command over."""
        self._check_over()
        self._node.take(command)

    def wait(
        self,
        done: Callable[[], bool],
        places: Iterable[list[Waiter]],  # noqa: ARG002  # nobody has to be woken
        *,
        timeout: float | None = None,
        strict: bool = False,
        refusals: int | None = None,  # noqa: ARG002  # nobody has to be woken
        waiter: Waiter | None = None,  # noqa: ARG002  # nobody has to be woken
        blocks: Sequence[Block] = (),  # noqa: ARG002  # nobody has to be woken
    ) -> bool:
        """Let the world go on until something is the case.

        Returns:
            False if `timeout` passed first, in the world's time.

        Raises:
            PoolUnreachable: The supervisor did not answer a call; it is not started again, perhaps.
            TimeoutError: Nobody named a time, and a day has passed.
        """
        limit = CALL_SECONDS if strict else WAIT_SECONDS if timeout is None else timeout
        until = self._timeline.now + limit
        while not done():
            self._check_over()
            if not self._timeline.step_until(until):
                if strict:
                    raise PoolUnreachable(f"the pool's supervisor has not answered within {limit:g} s of its time")
                if timeout is None:
                    raise TimeoutError(
                        "nothing ended within a day of the pool's time; `pool.client.why(id)` says what a task waits"
                        " for, and `timeout=` waits longer"
                    )
                return False
        return True

    def close(self, patience: float) -> bool:
        """End the session."""
        if not self._over:
            self._node.take(Finish(patience))
            self._over = True
        return True

    def let_go(self, patience: float = 0.0) -> None:
        """As `close`."""
        self.close(patience)


class InnerConnections(Connections):
    """The one connection of a client in a simulated world."""

    def __init__(self, connection: InnerConnection) -> None:
        super().__init__(connection.access, connection.timeout)
        self._connection = connection

    def current(self) -> Connection:
        """That connection.

        Raises:
            RuntimeError: The pool was left.
        """
        if self.closed:
            raise RuntimeError("this pool was left")
        return self._connection

    def take_over(self, session: bytes) -> None:
        """Nobody else is in this world who might have had it."""

    def opened(self) -> Connection | None:
        """That connection."""
        return self._connection

    def close(self, *, failing: bool = False) -> None:  # noqa: ARG002  # there is nothing to wait for
        """End the session."""
        self.closed = True
        self._connection.close(0.0)


class InnerClient(ResumableClient):
    """A client of a pool in a simulated world. All its words are there; times are the world's."""

    def __init__(self, connection: InnerConnection) -> None:
        self.address, self.timeout = connection.access.address, connection.timeout
        self._connections: Any = InnerConnections(connection)
