"""What clients ask for: tasks handed in, watched, cancelled, retried, and questions about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...transport.messages import Accepted, Admin, Cancel, Events, Query, Rejected, Reply, Stop, Submit, Watch
from .clients import Clients, ClientSession
from .effects import Ends, Fetch
from .endings import Endings
from .hosts import HostSession
from .membership import Membership
from .queue import Queue
from .room import RETRY_SECONDS, Room
from .rows import FINAL, Row
from .sessions import ID_MAX, Sessions
from .step import Peer, Step
from .submissions import Unfit, checked

_RETRY_AFTER: Final = {"queue_full": 1.0, "disk_full": RETRY_SECONDS}


class Requests:
    """Every message of clients about tasks.

    Args:
        room: Whether there is room for new tasks on the disk.
        max_size: Unfinished tasks that the queue takes.
        reports: What the pool says of itself, by the name of the query.
    """

    def __init__(
        self,
        queue: Queue,
        endings: Endings,
        clients: Clients,
        membership: Membership,
        sessions: Sessions,
        room: Room,
        max_size: int,
        reports: dict[str, Callable[[Step], dict[str, Any]]],
    ) -> None:
        self.queue, self.endings = queue, endings
        self.clients, self.membership, self.sessions = clients, membership, sessions
        self.room, self.max_size, self.reports = room, max_size, reports

    def submit(self, step: Step, peer: Peer, message: Submit) -> None:
        """Tasks handed in: stored once, however often the same submission comes.

        Raises:
            ValueError: The submission's number is not positive.
        """
        client: ClientSession = peer.session
        number = message.submission
        if not 0 < number <= ID_MAX:
            raise ValueError("a submission's number is positive")
        try:
            count, checksum = checked(message.groups)
            known = client.submissions.get(number)
            if known is not None:
                if known[1:] != (count, checksum):
                    raise Unfit("conflict", f"submission {number} was sent before with other tasks")
                step.say(peer, Accepted(number, known[0], known[1]))
                return
            if number < client.below:
                raise Unfit("forgotten", f"submission {number} was acknowledged and forgotten")
            self._check_room(message, count)
        except Unfit as unfit:
            retry_after = _RETRY_AFTER.get(unfit.code, 0.0)
            step.say(peer, Rejected(number, unfit.code, unfit.reason, unfit.path, retry_after))
            return
        known_types = set(self.queue.lanes.by_type)
        first = self.queue.submit(step, client.number, message.groups)
        client.submissions[number] = (first, count, checksum)
        step.persist.submissions.append((client.number, number, first, count, checksum))
        if message.below > client.below:
            client.below = message.below
            for old in [n for n in client.submissions if n < message.below]:
                del client.submissions[old]
            step.persist.forgotten.append((client.number, message.below))
        step.say(peer, Accepted(number, first, count))
        for type in {group[0] for group in message.groups} - known_types:
            for host in self.membership.hosts.serving(type):
                self.membership.send_tree(step, host, [type])

    def _check_room(self, message: Submit, count: int) -> None:
        if self.room.low:
            raise Unfit("disk_full", self.room.reason())
        if self.queue.unfinished() + count > self.max_size:
            reason = f"the queue holds {self.queue.unfinished()} unfinished tasks of at most {self.max_size}"
            raise Unfit("queue_full", reason)
        for type, _, options, _ in message.groups:
            if options and options.get("require_host") and not any(self.membership.hosts.serving(type)):
                raise Unfit("no_host", f"no joined host serves {type}", "type")

    def watch(self, step: Step, peer: Peer, message: Watch) -> None:
        """What the client has consumed, and single tasks that it wants to hear of."""
        self.clients.watch(step, peer.session, message.after, message.credit)
        if message.ids:
            ids = tuple(id for id in message.ids if 0 < id <= ID_MAX)
            for id in ids:
                self.clients.watchers.setdefault(id, set()).add(peer)
            step.needs.append(Fetch(ids, "watch", (peer, tuple(message.ids))))

    def watched(self, step: Step, peer: Peer, ids: tuple[int, ...], rows: dict[int, Row]) -> None:
        """What a client asked about by id: ends come from the store, the rest is said as it is."""
        ended = tuple(row.id for row in rows.values() if row.state in FINAL)
        if ended:
            step.needs.append(Ends(peer.address, ended))
        for id in {*ended, *(id for id in ids if id not in rows)}:
            if peers := self.clients.watchers.get(id):
                peers.discard(peer)
                if not peers:
                    del self.clients.watchers[id]
        states = [[id, rows[id].state] for id in ids if id in rows and id not in ended]
        progress = [
            [id, *lease.progress]
            for id, _ in states
            if (lease := self.queue.leases.get(id)) is not None and lease.progress is not None
        ]
        states += [[id, -1] for id in ids if id not in rows]
        if states:
            step.say(peer, Events([], progress, states))

    def told_ends(self, step: Step, need: Ends, rows: list[Any]) -> None:
        """The ends of tasks that a client asked about by id."""
        peer = self.sessions.peers.get(need.peer)
        if peer is not None:
            for id, _finish, state, body, detail in rows:
                step.say(peer, Events([[id, 0, state, body, detail]]))

    def cancel(self, step: Step, peer: Peer, message: Cancel) -> None:
        """End tasks; the store knows those that memory does not."""
        ids = tuple(dict.fromkeys(id for id in message.ids if 0 < id <= ID_MAX))
        step.needs.append(Fetch(ids, "cancel", (peer, message.request)))

    def cancelled(self, step: Step, peer: Peer, request: int, rows: dict[int, Row]) -> None:
        """The rows of tasks to cancel are known: end them, and have those that run stopped."""
        cancelled: list[int] = []
        stop: dict[HostSession, list[Any]] = {}
        for row in rows.values():
            if row.state in FINAL:
                continue
            lease = self.endings.cancel(step, row)
            cancelled.append(row.id)
            if lease is not None:
                stop.setdefault(lease.pool.host, []).append([row.id, lease.row.fence])
        for host, items in stop.items():
            if host.peer is not None:
                step.say(host.peer, Stop(items))
        step.say(peer, Reply(request, True, {"cancelled": cancelled}))

    def query(self, step: Step, peer: Peer, message: Query) -> None:
        """Answer from memory, or have the store answer after the commit."""
        what, request = message.what, message.request
        if what in self.reports:
            step.say(peer, Reply(request, True, self.reports[what](step)))
        elif what in ("show", "tasks"):
            live = {
                lease.row.id: {"progress": list(lease.progress)}
                for lease in self.queue.leases.values()
                if lease.progress is not None
            }
            step.answer(peer, request, what, message.arguments, live)
        else:
            step.say(peer, Reply(request, False, {"code": "invalid", "reason": f"no query {what!r}"}))

    def retry(self, step: Step, peer: Peer, message: Admin) -> None:
        """Run final tasks once more."""
        ids = tuple(dict.fromkeys(id for id in message.arguments["ids"] if 0 < id <= ID_MAX))
        step.needs.append(Fetch(ids, "again", (peer, message.request)))
