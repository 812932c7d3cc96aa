"""Who listens to what tasks write: hosts are told which attempts, and what they say is passed on. Nothing is kept.

Without a listener nothing of this crosses the network.
"""

from __future__ import annotations

from collections.abc import Iterable

from ....transport.messages import TAILS_MAX, Events, Listen, Output, Tail
from ..effects import Fetch
from ..queue import Queue
from ..reports import output
from ..sessions import ID_MAX
from ..step import Peer, Step
from .hosts import HostSession


class Tails:
    """All listeners, and what hosts were told of them."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._listeners: dict[int, dict[Peer, None]] = {}
        self._told: dict[HostSession, tuple[Peer, list[tuple[int, int]]]] = {}
        self._anew: set[int] = set()  # tasks of which somebody has heard nothing yet

    def ask(self, step: Step, peer: Peer, message: Tail) -> None:
        """A client wants to listen to these tasks. Those that others sent are unknown to it.

        Raises:
            ValueError: They are too many, or no numbers.
        """
        ids = message.ids
        if len(ids) > TAILS_MAX or not all(type(id) is int and 0 < id <= ID_MAX for id in ids):
            raise ValueError(f"a list of at most {TAILS_MAX} numbers of tasks is needed")
        if peer.owner is None:
            self.listen(peer, ids)
        else:
            step.needs.append(Fetch(tuple(dict.fromkeys(ids)), "listen", (peer,), peer.owner))

    def listen(self, peer: Peer, ids: Iterable[int]) -> None:
        """It listens to these from now on, and to no others."""
        ids = tuple(ids)
        before = {id for id, peers in self._listeners.items() if peer in peers}
        self.gone(peer)
        for id in ids:
            self._listeners.setdefault(id, {})[peer] = None
        named = set(ids)
        if not named < before:  # what is new for it; or it asks once more for the same
            self._anew |= named - before or named

    def gone(self, peer: Peer) -> None:
        """A client listens no more."""
        for id in [id for id, peers in self._listeners.items() if peer in peers]:
            del self._listeners[id][peer]
            if not self._listeners[id]:
                del self._listeners[id]

    def heard(self, step: Step, host: HostSession, message: Output) -> None:
        """What tasks wrote goes to those who listen, if it is of the live lease.

        Raises:
            ValueError, TypeError: An item is malformed.
        """
        for item in message.items:
            id, fence, number, lines = output(item)
            lease = self._queue.leases.get(id)
            if lease is None or lease.row.fence != fence or lease.pool.host is not host:
                continue
            for peer in self._listeners.get(id, ()):
                step.say(peer, Events([], [], [], [[id, lease.row.attempt, number, lines, step.wall]]))

    def settle(self, step: Step) -> None:
        """Tell hosts which of their attempts are listened to, where that has changed."""
        if not self._listeners and not self._told:
            return
        wanted: dict[HostSession, list[tuple[int, int]]] = {}
        for id in self._listeners:
            lease = self._queue.leases.get(id)
            if lease is not None:
                wanted.setdefault(lease.pool.host, []).append((id, lease.row.fence))
        for host in list(self._told):
            if host not in wanted:
                peer, _ = self._told.pop(host)
                if host.peer is peer:
                    step.say(peer, Listen([]))
        for host, keys in wanted.items():
            told = (host.peer, keys)
            if host.peer is not None and (self._told.get(host) != told or any(id in self._anew for id, _ in keys)):
                self._told[host] = (host.peer, keys)
                step.say(host.peer, Listen([[id, fence, id in self._anew] for id, fence in keys]))
        self._anew.clear()
