"""The supervisor's brain: messages and time go in, effects come out.

It reads no clock, socket or database. `handle` takes a batch of messages, `feed` the rows that a need asked for, and
both return the effects of one step in the order in which they must be done. What happens to a task is decided in
`queue`, who gets it in `dispatch`, how sessions begin and end in `greetings`; here every message finds its place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from ...transport.messages import (
    Admin,
    Alive,
    Bye,
    Cancel,
    Checkpoint,
    Claim,
    GiveBack,
    Heartbeat,
    Hello,
    Message,
    Output,
    Progress,
    Query,
    Refused,
    Results,
    Submit,
    Tail,
    Watch,
)
from .access.allowances import Allowances
from .access.audit import Audit
from .access.gate import Gate
from .access.identities import Garbled, Identities, Identity, Proved, TurnedAway
from .access.keyring import Keyring
from .backups import Backups
from .clients.clients import Clients
from .clients.greetings import Greetings
from .clients.orders import Orders
from .clients.reloads import Configuration, Reloads
from .clients.requests import Requests
from .dispatch import dispatch
from .effects import (
    Agenda,
    Consult,
    Effect,
    EndedAfter,
    Ends,
    EndsOf,
    Fetch,
    Matching,
    Need,
    Refill,
    Replay,
    Resume,
    SeenAfter,
    Senders,
)
from .flows.edges import Awaited, Dependents, FlowsOf, Gathered, Unmet
from .flows.flows import Flows
from .hosts.hosts import Hosts
from .hosts.membership import Membership
from .hosts.tails import Tails
from .housekeeping import Housekeeping, distrust
from .opening import Opening
from .order.empties import Empties
from .queue import ANNOUNCE_SECONDS, Queue
from .restoring import restore
from .room import Room
from .rows import Row
from .sessions import Sessions
from .settings import PoolSettings
from .step import Peer, Step
from .still_stopping import StillStopping
from .tasks.checkpoints import Checkpoints
from .tasks.edits import Edits
from .tasks.endings import Endings
from .tasks.firings import Firings
from .tasks.removals import Removals
from .telling.digest import Digest
from .telling.report import Report
from .timed import Timed
from .where import answered

_MALFORMED: Final = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)
"""What only a malformed message can cause in a handler."""
_JUMP_SECONDS: Final = 1.0
_ASKED_AGAIN: Final = frozenset(["after", "watch", "listen", "show", "why"])
"""Purposes that concern the session that asked; over its next connection it asks again. Orders are carried out."""
_ALLOWED: Final = {
    "host": (Claim, Results, Progress, GiveBack, Checkpoint, Output),
    "client": (Submit, Watch, Tail, Cancel, Query, Admin),
    "observer": (Watch, Tail, Query),
    "admin": (Submit, Watch, Tail, Cancel, Query, Admin),
}


class Pool:
    """The state of the whole pool and every decision about it."""

    def __init__(self, settings: PoolSettings, opening: Opening, now: float, wall: float, boot: int = 0) -> None:
        """Go on from the store.

        Args:
            settings: See there.
            opening: What the store holds.
            now: Seconds on a clock that runs since the machine started and never jumps.
            wall: Seconds since the epoch.
            boot: A number of this run of the machine, 0 if unknown: within one run, how wall and now differ tells
                whether the wall clock was set while no supervisor ran.
        """
        self.settings = settings
        self.anchor = wall - now  # what relative due times are kept by; see guarantee 10
        self._wall_ahead = self.anchor  # the same at this moment: the wall clock drifts a little before it has jumped
        self.boot = boot
        known = boot != 0 and opening.meta.get("boot") == boot
        self._slept = self.anchor - opening.meta["anchor_ms"] / 1000 if known else 0.0
        meta = opening.meta
        self.queue = Queue(settings, opening.epoch, meta.get("last_id", 0), meta.get("last_finish", 0))
        self.hosts = Hosts(settings.lost_after)
        self.endings = Endings(self.queue, self.hosts)
        self.checkpoints = Checkpoints(self.queue)
        self.tails = Tails(self.queue)
        self.sessions = Sessions(opening.epoch, settings.heartbeat, settings.lost_after, durable=settings.durable)
        self.identities = Identities(settings.guarded, opening.identities, opening.invitations)
        self.allowances = Allowances(settings.max_size, opening.shares, self.identities.known)
        self.audit = Audit(meta.get("last_audit", 0))
        self.gate = Gate(self.identities, self.sessions, self.allowances, self.audit)
        self.clients = Clients()
        rest = (settings.policies, settings.hosts, self.audit)
        self.membership = Membership(self.queue, self.endings, self.hosts, self.clients, self.sessions, *rest)
        self.room = Room(settings.disk_reserve)
        self.backups = Backups(self.sessions)
        self.flows = Flows(self.queue, opening, now)
        others = (self.clients, self.hosts, now, self.flows.holds, opening.leaps, distrust(meta, wall))
        self.housekeeping = Housekeeping(settings.keep, self.queue, *others)
        self.report = Report(settings, self.queue, self.hosts, self.room, opening.epoch, now, wall)
        self.requests = Requests(
            self.queue,
            self.endings,
            self.clients,
            self.membership,
            self.sessions,
            self.room,
            self.allowances,
            settings.max_size,
            self.report.answers,
            self.flows,
        )
        self.firings = Firings(opening.schedules, settings.schedules, self.requests.hand_in)
        self.reloads = Reloads(self.sessions, self.membership, self.report, self.requests, self.firings)
        self.edits = Edits(self.queue, self.membership, self.flows)
        self.removals = Removals(self.housekeeping)
        keyring = Keyring(self.identities)
        powers = (self.backups, self.reloads, keyring, self.gate, self.audit, self.edits, self.removals, self.firings)
        self.orders = Orders(self.queue, self.membership, self.requests, *powers)
        self._expected = self._announced = self._looked = now
        self._more, self._granting = False, True
        restore(self.queue, self.hosts, opening, boot, now, wall)
        self.still_stopping = StillStopping(self.queue, self.hosts, opening)
        self.clients.last_session = meta.get("last_session", 0)
        self.requests.intake.restore(meta)
        self.greetings = Greetings(self.gate, self.sessions, self.membership, self.clients, self.tails)
        # Where a new part takes its place: what it hears, what it reads, what time brings to it.
        self._messages = self._all_messages()
        self._feeds = self._all_feeds()
        self._fetches = self._all_fetches()
        self._timed = self._all_timed(now)

    def _all_messages(self) -> dict[type[Message], Callable[[Step, Peer, int, Any], None]]:
        """What is done about each message, given (step, peer, number, message), once its role allows it."""
        hosts, requests = self.membership, self.requests
        return {
            Claim: lambda _step, peer, _number, message: hosts.claim(peer.session, message),
            Results: hosts.results,
            Progress: lambda step, peer, _number, message: hosts.progress(step, peer.session, message),
            Output: lambda step, peer, _number, message: self.tails.heard(step, peer.session, message),
            Checkpoint: lambda step, peer, _number, message: self.checkpoints.heard(step, peer.session, message.items),
            GiveBack: self._given_back,
            Submit: lambda step, peer, _number, message: requests.submit(step, peer, message),
            Watch: lambda step, peer, _number, message: requests.watch(step, peer, message),
            Cancel: lambda step, peer, _number, message: requests.cancel(step, peer, message),
            Query: lambda step, peer, _number, message: requests.query(step, peer, message, self.firings),
            Tail: lambda step, peer, _number, message: self.tails.ask(step, peer, message),
            Admin: lambda step, peer, _number, message: self.orders.obey(step, peer, message),
        }

    def _all_feeds(self) -> dict[type[Need], Callable[[Step, Any, list[Any]], None]]:
        """What is done with the rows of each need."""
        return {
            Refill: self._refilled,
            Agenda: self._scheduled,
            Fetch: self._fetched,
            Consult: self.requests.consulted,
            Resume: self.greetings.resumed,
            Replay: self.clients.replayed,
            Ends: self.requests.told_ends,
            EndedAfter: self.housekeeping.ended,
            SeenAfter: self.housekeeping.seen,
            Senders: self.allowances.senders,
            Matching: self._matched,
            EndsOf: self.removals.known,
            Awaited: self.flows.walked,
            Dependents: self.flows.resolved,
            Gathered: self.flows.gathered,
            FlowsOf: self.flows.known_again,
            Unmet: self.requests.unmet,
        }

    def _all_fetches(self) -> dict[str, Callable[[Step, Any, dict[int, Row]], None]]:
        """What is done with rows that were fetched, by the purpose."""
        return {
            "late": self.membership.came_late,
            "adopt": self.membership.named,
            "listen": lambda _step, need, rows: self.tails.listen(need.context[0], rows),
            "watch": self.requests.watched,
            "cancel": self.requests.cancelled,
            "why": self.requests.explained,
            "show": self.requests.shown,
            "again": self.requests.retries.fetched,
            "edit": self.edits.fetched,
            "delete": self.removals.fetched,
            "after": self.requests.looked_up,
            "unblock": self.requests.unblocked,
        }

    def _all_timed(self, now: float) -> tuple[Timed, ...]:
        """What time brings something to."""
        digest = Digest(self.queue, self.hosts, now)
        lanes = self.queue.lanes
        kept = self.housekeeping, Empties(lanes), self.audit
        return lanes.tree, *kept, self.flows, self.firings, self.report.watch, digest

    def start(self, now: float, wall: float) -> list[Effect]:
        """The first needs: the heads of all lanes and what falls due first."""
        step = Step(now, wall)
        self._anchored(step, self._slept)
        for lane in self.queue.lanes.by_number.values():
            if lane.beyond() > 0:
                lane.filling = True
                step.needs.append(Refill(lane.number, None, self.queue.lanes.share()))
        step.needs += [schedule.start() for schedule in self.queue.schedules.values()]
        step.needs.append(self.flows.start())
        self.firings.start(step)
        self.hosts.remember_patience(step)
        return step.effects()

    def handle(
        self,
        batch: Iterable[tuple[bytes, int, Message | Proved | Garbled | TurnedAway | None]],
        now: float,
        wall: float,
        *,
        more: bool = False,
        waiting: Collection[bytes] = (),
    ) -> list[Effect]:
        """One batch of messages, and whatever time has brought.

        Args:
            batch: (peer, number, message); a message of None says that the peer's connection closed, `Proved` who
                it is, `Garbled` that it sent what is none, `TurnedAway` who was not let in.
            now: Monotonic seconds.
            wall: Seconds since the epoch.
            more: Whether more news wait already: then nobody is given up for silence yet.
            waiting: Peers of which something has come that is heard later: they are not silent.
        """
        step = Step(now, wall)
        if (stall := now - self._expected) > self.settings.heartbeat:
            self.hosts.stalled(stall)
            for peer in self.sessions.peers.values():
                peer.heard += stall
            step.note("warning", "supervisor_stalled", seconds=round(stall, 3))
        self._granting = True
        self._look_at_clocks(step)
        self.queue.company.unheard = waiting
        self.queue.lanes.tree.copies.begin()
        self.still_stopping.begin()
        self.allowances.begin()
        for address, number, message in batch:
            if message is None:
                self.greetings.closed(address, now)
                self.sessions.identities.pop(address, None)
                self.sessions.ips.pop(address, None)
            elif isinstance(message, Proved):
                self.sessions.identities[address] = message.identity
                if message.ip:
                    self.sessions.ips[address] = message.ip
            elif isinstance(message, Garbled):
                self.gate.mistaken(step, address)
            elif isinstance(message, TurnedAway):
                self.gate.turned_away(step, message)
            elif not self.gate.ignores(address, now):
                self._message(step, address, number, message)
        for address in waiting:
            if (peer := self.sessions.peers.get(address)) is not None and peer.session is not None:
                self._is_here(peer, now)
        self._time(step, more)
        return self._settle(step)

    def feed(self, need: Need, rows: list[Any], now: float, wall: float) -> list[Effect]:
        """The rows that a need of this turn asked for."""
        step = Step(now, wall)
        self._feeds[type(need)](step, need, rows)
        return self._settle(step)

    def outgrown(self, sizes: Mapping[int, int], now: float, wall: float) -> list[Effect]:
        """Tasks granted in this turn, and not told to anybody, of which params and results together are too large.
        Others in their place are granted in the next turn: many large ones are looked at in as many turns.
        """
        step = Step(now, wall)
        self._granting = False
        self.endings.outgrown(step, sizes)
        return self._settle(step)

    def trust(self, own: Iterable[Identity], now: float, wall: float) -> list[Effect]:
        """The identities of the supervisor's own machine, known from its start on."""
        self.identities.trust_all(step := Step(now, wall), own)
        return step.effects()

    def disk(self, free: int, now: float, wall: float) -> list[Effect]:
        """How many bytes are free on the database's disk. Below the reserve no new tasks are taken."""
        step = Step(now, wall)
        self.room.heard(step, free)
        return step.effects()

    def backed_up(self, fault: str | None, size: int, now: float, wall: float) -> list[Effect]:
        """The copy that `Backup` asked for is on the disk, `size` bytes long, or `fault` says why not."""
        step = Step(now, wall)
        self.backups.ended(step, fault, size)
        return step.effects()

    def reread(self, read: Configuration | list[str], now: float, wall: float) -> list[Effect]:
        """The configuration was read again, because `Reread` asked for that; a list says what is wrong with it."""
        step = Step(now, wall)
        self.reloads.ended(step, read)
        return self._settle(step)

    def next_time(self, now: float) -> float:
        """When `handle` must be called at the latest, if nothing comes. `now` is that of the turn that has ended."""
        if self._more or self.clients.owes():
            self._expected = now
            return now
        times = [now + 60.0, *[part.next_time() for part in self._timed]]
        if self.hosts.by_owner or self.sessions.peers:
            times.append(now + self.settings.heartbeat)
        if (due := self.queue.schedules[True].next()) is not None:
            times.append(due - self.anchor)
        if (due := self.queue.schedules[False].next()) is not None:
            times.append(max(now, due - self._wall_ahead))
        if (check := self.hosts.next_check()) is not None:
            times.append(check)
        if self.queue.leases:
            times.append(self._announced + ANNOUNCE_SECONDS)
        self._expected = max(now, min(times))
        return self._expected

    def _settle(self, step: Step) -> list[Effect]:
        """The end of every step: grant, keep the bounds of memory, tell clients, write the counts."""
        self._more = not self._granting or dispatch(self.queue, step)
        self.still_stopping.settle(step)
        self.flows.settle(step)
        self.queue.lanes.tree.write(step)
        self.queue.keep_bounds(step)
        self.allowances.settle(step)
        self.queue.company.settle(step)
        self.clients.tell(step)
        self.checkpoints.settle(step)
        self.tails.settle(step)
        if self.queue.lanes.touched:
            self.queue.lanes.tallies(step)
            self.report.watch.look_at_depth(step)
        for peer, message in step.later:
            if self.sessions.peers.get(peer.address) is peer:
                step.say(peer, message)
        return step.effects()

    def _look_at_clocks(self, step: Step) -> None:
        """Notice a jump of the wall clock before anything of this batch is given a time by it."""
        self._wall_ahead = step.wall - step.now
        jump = self._wall_ahead - self.anchor
        if abs(jump) > _JUMP_SECONDS:
            self.anchor += jump
            self._anchored(step, jump)

    def _time(self, step: Step, more: bool) -> None:
        for part in self._timed:
            part.wake(step)
        self.queue.due(step, self.anchor)
        self.queue.expire(step)
        self.greetings.go_on(step)
        # What waits in the inbox may be the very heartbeats that are missing; but not for ever.
        if not more or step.now - self._looked >= self.settings.lost_after:
            self._looked = step.now
            self._lose_silent(step)
        if step.now - self._announced >= ANNOUNCE_SECONDS:
            self._announced = step.now
            self.queue.announce(step)
            self.hosts.forget_old(step.now)
            self.hosts.remember_patience(step)

    def _lose_silent(self, step: Step) -> None:
        for host in self.hosts.overdue(step.now):
            self.membership.give_up(step, host)
        peers, patience = self.sessions.peers.values(), self.settings.lost_after
        for peer in [peer for peer in peers if peer.role != "host" and step.now - peer.heard > patience]:
            self.greetings.drop(peer)

    def _anchored(self, step: Step, jump: float) -> None:
        """Delays are counted from a new anchor; after a jump of the wall clock their stored times move with it."""
        step.persist.meta["boot"] = self.boot
        step.persist.meta["anchor_ms"] = round(self.anchor * 1000)
        if abs(jump) > _JUMP_SECONDS:
            self.queue.schedules[True].shift(jump)
            self.queue.lanes.tree.clock_jumped(step)
            step.persist.shifts.append(jump)
            self.housekeeping.clock_jumped(step, jump)
            step.note("warning", "clock_jumped", seconds=round(jump, 3))

    def _message(self, step: Step, address: bytes, number: int, message: Message) -> None:
        peer = self.sessions.peers.get(address)
        if isinstance(message, Hello):
            try:
                self.greetings.hello(step, address, message)
            except _MALFORMED as error:
                self.gate.complain(step, address, message, error)
            return
        if peer is None or peer.session is None:
            step.say_first(address, Refused("unknown_session", "say HELLO first"))
            return
        if number != peer.seen + 1:
            self.greetings.drop(peer)
            step.say_first(address, Refused("unknown_session", f"message {peer.seen + 1} was lost"))
            return
        if not self.gate.passes(step, peer):
            self.greetings.drop(peer)
            step.say_first(address, Refused("forbidden", self.gate.why_not(peer)))
            return
        if self.gate.changed(step, peer):
            self.greetings.drop(peer)
            step.say_first(address, Refused("unknown_session", "this identity may do something else by now"))
            return
        peer.seen = number
        peer.heard = step.now
        try:
            self._dispatch(step, peer, number, message)
        except _MALFORMED as error:
            # Each handler checks an item before it changes anything, so what was done before is whole.
            self.greetings.drop(peer)
            self.gate.complain(step, address, message, error)

    def _dispatch(self, step: Step, peer: Peer, number: int, message: Message) -> None:
        allowed = _ALLOWED[peer.role]
        if isinstance(message, Heartbeat):
            step.say(peer, Alive(peer.seen))
            if peer.role == "host":
                self.membership.beat(step, peer.session, message)
        elif isinstance(message, Bye):
            if peer.role == "host":
                self.membership.bye(step, peer, message)
            else:
                self.greetings.drop(peer)
        elif not isinstance(message, allowed):
            if self.gate.forbid(step, peer, message):
                self.greetings.drop(peer)
        else:
            self._is_here(peer, step.now)
            self._messages[type(message)](step, peer, number, message)

    def _is_here(self, peer: Peer, now: float) -> None:
        peer.heard = now
        if peer.role == "host":
            peer.session.heard = now

    def _given_back(self, step: Step, peer: Peer, _number: int, message: GiveBack) -> None:
        self.endings.give_back(step, peer.session, message.items)
        self.membership.heed_unserved(peer.session)

    def _refilled(self, _step: Step, need: Refill, rows: list[Any]) -> None:
        kept = self.queue.lanes.refilled(need, [Row(*columns) for columns in rows], self.queue.declines)
        self.queue.remember(kept)

    def _scheduled(self, _step: Step, need: Agenda, rows: list[Any]) -> None:
        kept = self.queue.schedules[need.relative].refilled(need, [Row(*columns) for columns in rows])
        self.queue.remember(kept)

    def _fetched(self, step: Step, need: Fetch, rows: list[Any]) -> None:
        if need.purpose in _ASKED_AGAIN and self.sessions.peers.get(need.context[0].address) is not need.context[0]:
            return  # its session went on over another connection in this turn, which knows nothing of this
        self._fetches[need.purpose](step, need, {columns[0]: Row(*columns) for columns in rows})

    def _matched(self, step: Step, need: Matching, rows: list[Any]) -> None:
        [(found, following)] = rows
        meant = {columns[0]: Row(*columns) for columns in found}
        if not answered(step, need, meant, following):
            self._fetches[need.purpose](step, need, meant)
