"""What clients ask for: tasks handed in, watched, cancelled, retried, and questions about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from ....transport.messages import (
    STATES,
    Accepted,
    Admin,
    Cancel,
    Events,
    Query,
    Rejected,
    Reply,
    Stop,
    Submit,
    Watch,
)
from ..access.allowances import Allowances
from ..effects import Consult, Ends, Fetch, Matching
from ..flows.dependencies import Plan, names_others, wanted
from ..flows.edges import Unmet
from ..flows.flows import Flows
from ..flows.waits import WAITS_SHOWN, waits_for
from ..hosts.hosts import HostSession
from ..hosts.membership import Membership
from ..order.empties import EMPTY_SECONDS
from ..queue import Queue
from ..reports import shown
from ..room import RETRY_SECONDS, Room
from ..rows import COLUMNS, FINAL, WAITING, Row
from ..sessions import ID_MAX, Sessions, ids_given
from ..step import Peer, Step
from ..tasks.clearing import Clearing
from ..tasks.endings import Endings
from ..tasks.firings import Firings
from ..tasks.intake import Asked, Intake
from ..tasks.retries import Retries
from ..tasks.submissions import LANES_EACH_MAX, LANES_MAX, TYPES_EACH_MAX, TYPES_MAX, checked, lane_key
from ..telling.placement import lacks, required
from ..telling.why import Why
from ..unfit import Unfit
from ..where import mean
from .clients import OTHER_BYTES, SUBMISSION_BYTES, Clients, ClientSession, Others, Submission, parted

_SUBMISSIONS_MAX: Final = 20_000
_OTHERS_MAX: Final = 1_000_000
"""Tasks of one session's kept submissions that stand for older ones: each costs memory, and time at every HELLO."""
_OTHERS_LONG: Final = 10_000
"""With so many of them submissions are forgotten at once: a client that has sent all it had raises `below` no more."""
_FORGET_TOGETHER: Final = 64
"""Submissions that are forgotten at a time: each time costs two more pages of the database."""
_NO_SUCH_TASK: Final = {"code": "unknown", "reason": "the pool has no such task"}
_STATE: Final = COLUMNS.index("state")
_RETRY_AFTER: Final = {"queue_full": 1.0, "disk_full": RETRY_SECONDS}


class Requests:
    """Every message of clients about tasks.

    Args:
        allowances: What one identity may take.
        room: Whether there is room for new tasks on the disk.
        max_size: Unfinished tasks that the queue takes.
        reports: What the pool says of itself, by the name of the query, given a step and `told`: whether what the tasks
            of others are and said may be known.
        flows: What comes after what.
    """

    def __init__(
        self,
        queue: Queue,
        endings: Endings,
        clients: Clients,
        membership: Membership,
        sessions: Sessions,
        room: Room,
        allowances: Allowances,
        max_size: int,
        reports: dict[str, Callable[..., dict[str, Any]]],
        flows: Flows,
    ) -> None:
        self.queue, self.endings = queue, endings
        self.clients, self.membership, self.sessions = clients, membership, sessions
        self.room, self.allowances, self.max_size, self.reports = room, allowances, max_size, reports
        self.flows = flows
        self.intake = Intake(queue)
        self.retries = Retries(queue, flows, self._check_more)
        self.clearing = Clearing(self.intake)
        self.why = Why(queue, membership.hosts)

    def submit(self, step: Step, peer: Peer, message: Submit) -> None:
        """Tasks handed in: stored once, however often the same submission comes.

        Raises:
            ValueError: The submission's number is not positive.
        """
        number = message.submission
        if not 0 < number <= ID_MAX:
            raise ValueError("a submission's number is positive")
        try:
            count, checksum = checked(message.groups)
            need = self.intake.need(peer, message, count, checksum)
        except Unfit as unfit:
            self._reject(step, peer, number, unfit)
            return
        if need is not None:
            step.needs.append(need)
        else:
            self._take_in(step, peer, message, count, checksum)

    def consulted(self, step: Step, need: Consult, rows: list[Any]) -> None:
        """What the store knows about a submission that was put by, or about tasks to run once more."""
        if need.purpose == "again":
            self.retries.consulted(step, need, rows)
            return
        if need.purpose == "clear":
            self.clearing.consulted(step, need, rows)
            return
        asked: Asked = need.context
        peer, message = asked.peer, asked.message
        if self.sessions.peers.get(peer.address) is not peer:
            return  # it is repeated to whoever knows its session by then
        states = {columns[0]: columns[_STATE] for named, _, _, columns in rows if isinstance(named, int)}
        if message.submission in peer.session.submissions or self._are_known(step, peer, message, need.ids, states):
            self._take_in(step, peer, message, asked.count, asked.checksum, (need, rows), states)

    def _take_in(
        self,
        step: Step,
        peer: Peer,
        message: Submit,
        count: int,
        checksum: int,
        consulted: tuple[Consult, list[Any]] | None = None,
        states: dict[int, int] | None = None,
    ) -> None:
        """Store a submission that is well-formed, whole, or say why not.

        Args:
            step: The step.
            peer: The client.
            message: What it hands in.
            count: How many tasks.
            checksum: Of them all.
            consulted: What was needed of the store, and what was found.
            states: Of the tasks that those come after; None: not looked up yet.
        """
        client: ClientSession = peer.session
        number = message.submission
        verdict = None
        below = min(message.below, number)
        if below - client.below >= (1 if client.others >= _OTHERS_LONG else _FORGET_TOGETHER):
            self._forget_below(step, client, below)
        try:
            if _was_stored(client, number, count, checksum):
                self._accept(step, peer, number, client.answer(number))
                return
            plan: Plan | None = None
            if message.flow or names_others(message.groups):
                if states is None and (ids := wanted(message.groups)):
                    self._fetch(step, peer, tuple(ids), "after", (message, count, checksum))
                    return
                self._check_room(message, count, peer.owner)
                plan = self.flows.plan(peer, message, count, step)
            if consulted is not None:
                groups = message.groups if plan is None else plan.groups
                verdict = self.intake.judge(groups, *consulted, step.wall)
                _check_others(client, verdict.others)
            more = 0 if verdict is None else OTHER_BYTES * len(verdict.others)
            self.clients.check_kept(client.identity, SUBMISSION_BYTES + more)
            stored = count if verdict is None else verdict.stored
            self._check_room(message, stored, peer.owner)
            self.allowances.check(peer, (group[3] for group in message.groups), stored, step.now)
        except Unfit as unfit:
            self._reject(step, peer, number, unfit)
            return
        self.queue.lanes.begin(peer.owner or "")
        others: Others = None
        if verdict is None:
            first = self.queue.submit(step, client.number, message.groups if plan is None else plan.groups)
        else:
            first, others = verdict.first, self.intake.take_in(step, client.number, verdict, plan)
        if plan is not None:
            self.flows.stored(step, plan, message.flow, count, states or {})
        self.allowances.sent(peer, client.number, stored)
        answer = (first, count, checksum, others)
        self.clients.keep(client, number, answer)
        step.persist.submissions.append((client.number, number, *answer))
        self._accept(step, peer, number, answer, {} if verdict is None else verdict.known)
        self._introduce_types(step)

    def hand_in(self, step: Step, groups: Sequence[Any]) -> int:
        """Store tasks of the pool's own, already checked; they are of no session. The id of the first.

        Raises:
            Unfit: There is no room.
        """
        self._check_room(Submit(0, 0, list(groups)), sum(len(group[3]) for group in groups))
        self.queue.lanes.begin()
        first = self.queue.submit(step, 0, groups)
        self._introduce_types(step)
        return first

    def _introduce_types(self, step: Step) -> None:
        for type in self.queue.lanes.new:
            for host in self.membership.hosts.serving(type):
                self.membership.send_tree(step, host, [type])

    def _forget_below(self, step: Step, client: ClientSession, below: int) -> None:
        """Submissions under a number are acknowledged and will not be repeated."""
        self.clients.forget_below(client, below)
        step.persist.forgotten.append((client.number, below))
        step.persist.sessions.append(client.row(step.wall))

    def _accept(
        self, step: Step, peer: Peer, number: int, answer: Submission, known: dict[int, int] | None = None
    ) -> None:
        """Say what a submission's tasks are called; of those that stand for others the peer is told from now on.
        `known`: the states of these; None: they must be looked up.
        """
        first, count, _, others = answer
        if others is None:
            step.say(peer, Accepted(number, first, count))
            return
        step.say(peer, Accepted(number, first, count, others))
        if known is None:
            ids = tuple(dict.fromkeys(id for _, id, _ in others))
            step.needs.append(Fetch(ids, "watch", (peer, ids), peer.owner))
        else:
            self._watch_from_now(step, peer, list(known), known)

    def _reject(self, step: Step, peer: Peer, number: int, unfit: Unfit) -> None:
        retry_after = unfit.retry_after or _RETRY_AFTER.get(unfit.code, 0.0)
        step.say(peer, Rejected(number, unfit.code, unfit.reason, unfit.path, retry_after))

    def looked_up(self, step: Step, need: Fetch, rows: dict[int, Row]) -> None:
        """The tasks that handed in ones come after are known."""
        peer, (message, count, checksum) = need.context
        states = {id: row.state for id, row in rows.items()}
        if self._are_known(step, peer, message, need.ids, states):
            self._take_in(step, peer, message, count, checksum, states=states)

    def _are_known(
        self, step: Step, peer: Peer, message: Submit, ids: Sequence[int], states: Mapping[int, int]
    ) -> bool:
        """Whether all tasks are there that others are to come after; else the submission is refused."""
        unknown = next((id for id in ids if id not in states), None)
        if unknown is not None:
            reason = f"after: the pool has no task {unknown}"
            step.say(peer, Rejected(message.submission, "invalid", reason, "after"))
        return unknown is None

    def _check_room(self, message: Submit, count: int, owner: str | None = None) -> None:
        self._check_size(count)
        self._check_lanes(message, owner)
        for type, _, options, _ in message.groups:
            if options and options.get("require_host"):
                self._check_hosts(type, options)

    def _check_size(self, count: int) -> None:
        if self.room.low:
            raise Unfit("disk_full", self.room.reason())
        if self.queue.unfinished_count + self.retries.promised + count > self.max_size:
            reason = f"the queue holds {self.queue.unfinished_count} unfinished tasks of at most {self.max_size}"
            raise Unfit("queue_full", reason)

    def _check_more(self, peer: Peer, count: int) -> None:
        """Whether there is room for so many tasks that run once more, in the pool and in the share of who orders it."""
        self._check_size(count)
        self.allowances.check_again(peer, count)

    def _check_hosts(self, type: str, options: dict[str, Any]) -> None:
        serving = list(self.membership.hosts.serving(type))
        if not serving:
            raise Unfit("no_host", f"no joined host serves {type}", "type")
        lane = self.queue.lanes.like(lane_key(type, options)[0])
        if all(lacks(host, lane) for host in serving):
            raise Unfit("no_host", f"no joined host that serves {type} offers {required(lane)}", "requires")

    def _check_lanes(self, message: Submit, owner: str | None) -> None:
        lanes = self.queue.lanes
        if types := len({group[0] for group in message.groups} - lanes.by_type.keys()):
            if len(lanes.by_type) + types > TYPES_MAX:
                reason = f"the pool knows {len(lanes.by_type)} types already, of at most {TYPES_MAX}"
                raise Unfit("invalid", reason, "type")
            if owner and lanes.types_made[owner] + types > TYPES_EACH_MAX:
                reason = f"{lanes.types_made[owner]} types are this identity's making, of at most {TYPES_EACH_MAX}"
                raise Unfit("invalid", reason, "type")
        made = lanes.made[owner] if owner else 0
        if max(len(lanes.by_key), made + LANES_MAX - LANES_EACH_MAX) + len(message.groups) <= LANES_MAX:
            return
        new = {lane_key(type, options or {})[0] for type, _, options, _ in message.groups} - lanes.by_key.keys()
        if len(lanes.by_key) + len(new) > LANES_MAX:
            reason = f"the pool has {LANES_MAX} lanes (of a type, a tenant and requirements), and keeps no more"
            raise Unfit("invalid", reason, "tenant" if any(key[1] for key in new) else "requires")
        if made + len(new) > LANES_EACH_MAX:
            reason = f"{made} lanes (of a type, a tenant and requirements) are this identity's making"
            raise Unfit("quota", f"{reason}, of at most {LANES_EACH_MAX}", "tenant", retry_after=EMPTY_SECONDS)

    def watch(self, step: Step, peer: Peer, message: Watch) -> None:
        """What the client has consumed, and single tasks that it wants to hear of."""
        self.clients.watch(step, peer.session, message.after, message.credit)
        if message.ids:
            self._fetch(step, peer, ids_given(message.ids), "watch", tuple(message.ids))

    def watched(self, step: Step, need: Fetch, rows: dict[int, Row]) -> None:
        """What a client asked about by id: ends come from the store, the rest is said as it is."""
        peer, ids = need.context
        self._watch_from_now(step, peer, ids, {row.id: row.state for row in rows.values()})

    def _watch_from_now(self, step: Step, peer: Peer, ids: Sequence[int], known: Mapping[int, int]) -> None:
        """A client hears of these tasks from now on; `known`: the states of those that are there."""
        ended = dict.fromkeys(id for id, state in known.items() if state in FINAL)
        if ended:
            self.clients.ask(peer, ended)
        self.clients.tell_of(peer, (id for id in known if id not in ended))
        states = [[id, known[id]] for id in ids if id in known and id not in ended]
        progress = [
            [id, *lease.progress]
            for id, _ in states
            if (lease := self.queue.leases.get(id)) is not None and lease.progress is not None
        ]
        states += [[id, -1] for id in ids if id not in known]
        if states:
            step.say(peer, Events([], progress, states))

    def told_ends(self, step: Step, need: Ends, rows: list[Any]) -> None:
        """The ends of tasks that a client asked about by id."""
        peer = self.sessions.peers.get(need.peer)
        if peer is not None:
            # finish 0: they are not the next of this session's own, whose numbers the client counts
            for part in parted([[id, 0, state, body, detail] for id, _finish, state, body, detail in rows]):
                step.say(peer, Events(part))
            if again := tuple(set(need.ids) - {row[0] for row in rows}):  # retried by hand since it was looked up
                self._fetch(step, peer, again, "watch", again)

    def cancel(self, step: Step, peer: Peer, message: Cancel) -> None:
        """End tasks; the store knows those that memory does not."""
        step.needs.append(Fetch(ids_given(message.ids), "cancel", (peer, message.request, {}), peer.owner))

    def cancel_where(self, step: Step, peer: Peer, message: Admin) -> None:
        """The same by filters."""
        mean(step, peer, message, "cancel", set(range(len(STATES))) - FINAL)

    def cancelled(self, step: Step, need: Fetch | Matching, rows: dict[int, Row]) -> None:
        """The rows of tasks to cancel are known: end them, and have those that run stopped."""
        peer, request, reply = need.context
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
        step.say(peer, Reply(request, True, {"cancelled": cancelled, **reply}))

    def query(self, step: Step, peer: Peer, message: Query, firings: Firings) -> None:
        """Answer from memory, that of `firings` too, or have the store answer after the commit."""
        what, request = message.what, message.request
        if what in self.reports:
            step.say(peer, Reply(request, True, self.reports[what](step, told=peer.owner is None)))
        elif what == "schedules":
            step.say(peer, Reply(request, True, firings.listed(message.arguments)))
        elif what == "show" and peer.owner is not None:
            self._fetch(step, peer, ids_given([message.arguments["id"]]), "show", request)
        elif what == "audit" and peer.owner is not None:
            reason = "a client may not see who else joined or ordered what"
            step.say(peer, Reply(request, False, {"code": "forbidden", "reason": reason}))
        elif what in ("flows", "flow", "audit"):
            step.answer(peer, request, what, message.arguments, {})
        elif what in ("show", "tasks", "graph"):
            ids = (message.arguments["id"],) if what == "show" else self.queue.leases
            step.answer(peer, request, what, message.arguments, self._progress(ids))
        elif what == "why":
            self._fetch(step, peer, ids_given([message.arguments["id"]]), "why", request)
        else:
            step.say(peer, Reply(request, False, {"code": "invalid", "reason": f"no query {shown(what)}"}))

    def _progress(self, ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        leases = self.queue.leases
        return {
            id: {"progress": list(lease.progress)}
            for id in ids
            if (lease := leases.get(id)) is not None and lease.progress is not None
        }

    def _fetch(self, step: Step, peer: Peer, ids: tuple[int, ...], purpose: str, context: Any) -> None:
        """Ask for the rows of tasks that the peer may know of: what others sent is unknown to a client."""
        step.needs.append(Fetch(ids, purpose, (peer, context), peer.owner))

    def shown(self, step: Step, need: Fetch, rows: dict[int, Row]) -> None:
        """Whether a client may see the task that it asks about is known."""
        peer, request = need.context
        for id in rows:
            step.answer(peer, request, "show", {"id": id}, self._progress([id]))
        if not rows:
            step.say(peer, Reply(request, False, _NO_SUCH_TASK))

    def explained(self, step: Step, need: Fetch, rows: dict[int, Row]) -> None:
        """The row of a task that somebody asks about is known: why it does not run. The store adds its story."""
        peer, request = need.context
        for row in rows.values():
            if row.state == WAITING:
                step.needs.append(Unmet((row.id,), WAITS_SHOWN, "why", (peer, request)))
            else:
                explained = self.why.explain(row, step.now, step.wall, told=peer.owner is None)
                step.answer(peer, request, "why", {"id": row.id}, {row.id: explained})
        if not rows:
            step.say(peer, Reply(request, False, _NO_SUCH_TASK))

    def unmet(self, step: Step, need: Unmet, rows: list[Any]) -> None:
        """What tasks still wait for is known: one that somebody asks about, or those to run once more."""
        if need.purpose == "again":
            self.retries.unmet(step, need, rows)
            return
        peer, request = need.context
        for columns, edges in rows:
            step.answer(peer, request, "why", {"id": columns[0]}, {columns[0]: waits_for(edges)})

    def unblock(self, step: Step, peer: Peer, message: Admin) -> None:
        """Let tasks run that wait for others."""
        self._fetch(step, peer, ids_given(message.arguments["ids"]), "unblock", message.request)

    def unblocked(self, step: Step, need: Fetch, rows: dict[int, Row]) -> None:
        """The rows of tasks that shall wait no longer are known."""
        peer, request = need.context
        free = [row.id for row in rows.values() if self.flows.free(step, row)]
        step.say(peer, Reply(request, True, {"unblocked": free}))


def _was_stored(client: ClientSession, number: int, count: int, checksum: int) -> bool:
    """Whether a submission is the repetition of one that is kept."""
    known = client.submissions.get(number)
    if known is not None:
        if known[1:3] != (count, checksum):
            raise Unfit("conflict", f"submission {number} was sent before with other tasks")
        return True
    if len(client.submissions) >= _SUBMISSIONS_MAX:
        raise Unfit("invalid", f"{_SUBMISSIONS_MAX} submissions are kept; raise `below`", "below")
    if number < client.below:
        reason = f"submission {number} was answered, or its session is forgotten; its tasks may exist"
        raise Unfit("forgotten", reason)
    return False


def _check_others(client: ClientSession, others: list[list[int]]) -> None:
    if others and len(others) + client.others > _OTHERS_MAX:
        reason = f"{_OTHERS_MAX} tasks that stand for older ones are kept; raise `below`"
        raise Unfit("invalid", reason, "below")
