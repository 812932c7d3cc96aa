"""The supervisor's brain: messages and time go in, effects come out.

It reads no clock, socket or database. `handle` takes a batch of messages, `feed` the rows that a need asked for, and
both return the effects of one step in the order in which they must be done. What happens to a task is decided in
`queue`, who gets it in `dispatch`; here sessions begin and end, and every message finds its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from ...config.policy import TYPE_PATTERN, PolicyTree, parents
from ...transport.messages import (
    PROTOCOL_VERSION,
    Accepted,
    Admin,
    Alive,
    Bye,
    Cancel,
    Claim,
    Drain,
    Events,
    GiveBack,
    Heartbeat,
    Hello,
    Message,
    Progress,
    Query,
    Recorded,
    Refused,
    Rejected,
    Reply,
    Results,
    Stop,
    Submit,
    Tree,
    Watch,
    Welcome,
)
from .clients import Clients, ClientSession
from .dispatch import dispatch
from .effects import Agenda, Effect, Ends, Fetch, Need, Refill, Replay, Resume
from .hosts import DECLINES_MAX, Hosts, HostSession, SlotPool
from .lanes import Choice
from .offers import Offer, leases_of, offer_of
from .opening import Opening
from .queue import Late, Queue
from .report import hosts_report, status_report, types_report
from .rows import FINAL, QUEUED, RUNNING, Row
from .step import Peer, Step
from .submissions import Unfit, checked

ANNOUNCE_SECONDS: Final = 0.25
"""A client learns that its task runs when it has run this long: short tasks are not worth a message."""
_JUMP_SECONDS: Final = 1.0
_GONE_KEPT_SECONDS: Final = 24 * 3600.0
_ID_MAX: Final = 2**63 - 1
_FROM_HOSTS: Final = (Claim, Results, Progress, GiveBack)
_FROM_CLIENTS: Final = (Submit, Watch, Cancel, Query, Admin)


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What the core must know of the configuration.

    Attributes:
        name: The pool's name.
        heartbeat: Seconds between heartbeats of a peer.
        lost_after: Seconds of silence after which a host is lost.
        max_size: Unfinished tasks the queue takes.
        policies: The tree.
        hosts: Settings by host name or pattern, sent with WELCOME.
        queue_depth_high: Queued tasks above which a warning is due, or None.
        about: Facts that `status` shows as they are.
    """

    name: str = "workerhost"
    heartbeat: float = 1.0
    lost_after: float = 5.0
    max_size: int = 1_000_000
    policies: PolicyTree = field(default_factory=PolicyTree)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    queue_depth_high: int | None = None
    about: dict[str, Any] = field(default_factory=dict[str, Any])


class Pool:
    """The state of the whole pool and every decision about it."""

    def __init__(self, settings: PoolSettings, opening: Opening, now: float, wall: float) -> None:
        self.settings = settings
        self.epoch = opening.epoch
        self.started = now
        self.started_at = wall
        self.anchor = wall - now  # what relative due times are kept by; see guarantee 10
        self.queue = Queue(
            settings.policies, opening.epoch, opening.meta.get("last_id", 0), opening.meta.get("last_finish", 0)
        )
        self.hosts = Hosts(settings.lost_after)
        self.clients = Clients()
        self.peers: dict[bytes, Peer] = {}
        self.depth_warned = False
        self._expected = now
        self._announced = now
        self._restore(opening, now)

    def _restore(self, opening: Opening, now: float) -> None:
        """Go on from the store: what ran, runs on for one full period of grace until its host says HELLO."""
        self.hosts.last_owner = opening.meta.get("last_owner", 0)
        self.clients.last_session = opening.meta.get("last_session", 0)
        lanes = self.queue.lanes
        for number, type, _tenant, _requirements in opening.lanes:
            lanes.restore(number, type)
        for number, state, count in opening.tallies:
            lane = lanes.by_number[number]
            lane.counts[state] = lane.stored[state] = count
        for path in opening.pauses:
            lanes.pause(path, True)
        for owner, token, name, machine, joined_at, left_at, _state in opening.hosts:
            if left_at is None:
                host = HostSession(owner, token, name, machine, joined_at, heard=now, state="away")
                host.pools[""] = SlotPool(host, "")
                self.hosts.add(host)
        for columns in opening.running:
            row = Row(*columns)
            host = self.hosts.by_owner.get(row.owner)
            if host is None:  # its session ended before the restart and the row was never taken back
                host = HostSession(row.owner, b"", f"host {row.owner}", "", 0.0, heard=now, state="away")
                host.pools[""] = SlotPool(host, "")
                self.hosts.by_owner[row.owner] = host
            self.queue.lease_again(row, host.pools[""], now)

    def start(self, now: float, wall: float) -> list[Effect]:
        """The first needs: the heads of all lanes and what falls due first."""
        step = Step(now, wall)
        for lane in self.queue.lanes.by_number.values():
            if lane.beyond() > 0:
                lane.filling = True
                step.needs.append(Refill(lane.number, None, self.queue.lanes.share()))
        step.needs += [schedule.start() for schedule in self.queue.schedules.values()]
        return step.effects()

    # News.

    def handle(self, batch: Iterable[tuple[bytes, int, Message | None]], now: float, wall: float) -> list[Effect]:
        """One batch of messages, and whatever time has brought.

        Args:
            batch: (peer, number, message); a message of None says that the peer's connection closed.
            now: Monotonic seconds.
            wall: Seconds since the epoch.
        """
        step = Step(now, wall)
        if (stall := now - self._expected) > self.settings.heartbeat:
            self.hosts.stalled(stall)
            step.note("warning", "supervisor_stalled", seconds=round(stall, 3))
        for address, number, message in batch:
            if message is None:
                self._closed(address, now)
            else:
                self._message(step, address, number, message)
        self._time(step)
        return self._settle(step)

    def feed(self, need: Need, rows: list[Any], now: float, wall: float) -> list[Effect]:
        """The rows that a need of this turn asked for."""
        step = Step(now, wall)
        if isinstance(need, Refill):
            kept = self.queue.lanes.refilled(need, [Row(*columns) for columns in rows])
            self.queue.rows.update((row.id, row) for row in kept)
        elif isinstance(need, Agenda):
            scheduled = [Row(*columns) for columns in rows]
            self.queue.schedules[need.relative].refilled(need, scheduled)
            self.queue.rows.update((row.id, row) for row in scheduled)
        elif isinstance(need, Fetch):
            self._fetched(step, need, {columns[0]: Row(*columns) for columns in rows})
        elif isinstance(need, Resume):
            self._resumed(step, need, rows)
        elif isinstance(need, Replay):
            self.clients.replayed(step, need, rows)
        else:
            self._told_ends(step, need, rows)
        return self._settle(step)

    def next_time(self, now: float) -> float:
        """When `handle` must be called at the latest, by `now`, if nothing comes."""
        times = [now + 60.0]
        if self.hosts.by_owner or self.peers:
            times.append(now + self.settings.heartbeat)
        if (due := self.queue.schedules[True].next()) is not None:
            times.append(due - self.anchor)
        if (due := self.queue.schedules[False].next()) is not None:
            times.append(now + max(0.0, due - now - self.anchor))
        if (check := self.hosts.next_check()) is not None:
            times.append(check)
        if self.queue.leases:
            times.append(self._announced + ANNOUNCE_SECONDS)
        self._expected = max(now, min(times))
        return self._expected

    def _settle(self, step: Step) -> list[Effect]:
        """The end of every step: grant, keep the bounds of memory, tell clients, write the counts."""
        dispatch(self.queue, step)
        self.queue.keep_bounds(step)
        self.clients.tell(step)
        self._watch_depth(step)
        self.queue.lanes.tallies(step)
        return step.effects()

    # Time.

    def _time(self, step: Step) -> None:
        jump = step.wall - step.now - self.anchor
        if abs(jump) > _JUMP_SECONDS:
            self.anchor += jump
            self.queue.schedules[True].shift(jump)
            step.persist.shifts.append(jump)
            step.note("warning", "clock_jumped", seconds=round(jump, 3))
        self.queue.due(step, self.anchor)
        for host in self.hosts.overdue(step.now):
            self._lose(step, host)
        silent = [p for p in self.peers.values() if p.role != "host" and step.now - p.heard > self.settings.lost_after]
        for peer in silent:
            self._drop(peer)
        if step.now - self._announced >= ANNOUNCE_SECONDS:
            self._announced = step.now
            self._announce(step)

    def _announce(self, step: Step) -> None:
        """Tell clients which of their tasks run for long enough to be worth a word."""
        told: dict[int, list[Any]] = {}
        for lease in self.queue.leases.values():
            if not lease.announced and not lease.stopping and step.now - lease.granted >= ANNOUNCE_SECONDS / 2:
                lease.announced = True
                told.setdefault(lease.row.session, []).append([lease.row.id, RUNNING])
        for session, changes in told.items():
            step.changes.setdefault(session, []).extend(changes)
        for host in [h for h in self.hosts.by_owner.values() if not h.alive()]:
            if step.now - host.heard > _GONE_KEPT_SECONDS:
                self.hosts.forget(host)

    def _lose(self, step: Step, host: HostSession) -> None:
        host.state = "lost"
        rescued = self.queue.rescue(step, host, lost=True)
        self._host_gone(step, host)
        step.note("warning", "host_lost", host=host.name, rescued=rescued)

    def _host_gone(self, step: Step, host: HostSession) -> None:
        if host.peer is not None:
            self.peers.pop(host.peer.address, None)
            host.peer = None
        self._leave_choices(host)
        step.persist.hosts.append(
            (host.owner, host.token, host.name, host.machine, host.joined_at, step.wall, host.state)
        )

    # Sessions.

    def _message(self, step: Step, address: bytes, number: int, message: Message) -> None:
        if isinstance(message, Hello):
            self._hello(step, address, message)
            return
        peer = self.peers.get(address)
        if peer is None:
            step.say_first(address, Refused("unknown_session", "say HELLO first"))
            return
        if number != peer.seen + 1:
            self._drop(peer)
            step.say_first(address, Refused("unknown_session", f"message {peer.seen + 1} was lost"))
            return
        peer.seen = number
        peer.heard = step.now
        try:
            self._dispatch(step, peer, number, message)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
            # Of a kind that only a malformed message can cause; what it changed before is whole, item by item.
            self._drop(peer)
            step.say_first(address, Refused("forbidden", f"malformed {type(message).__name__}: {error}"))
            step.note("warning", "message_malformed", role=peer.role, kind=type(message).__name__, error=str(error))

    def _dispatch(self, step: Step, peer: Peer, number: int, message: Message) -> None:
        allowed = _FROM_HOSTS if peer.role == "host" else _FROM_CLIENTS
        if isinstance(message, Heartbeat):
            step.say(peer, Alive(peer.seen))
            if peer.role == "host":
                host: HostSession = peer.session
                host.heard, host.gone_at = step.now, None
                host.levels.update(message.levels)
        elif isinstance(message, Bye):
            self._bye(step, peer, message)
        elif not isinstance(message, allowed):
            step.note("warning", "message_forbidden", role=peer.role, kind=type(message).__name__)
        elif isinstance(message, Results):
            peer.session.heard = step.now
            self._results(step, peer, number, message)
        elif isinstance(message, Submit):
            self._submit(step, peer, message)
        elif isinstance(message, Watch):
            self._watch(step, peer, message)
        elif isinstance(message, Progress):
            self._progress(step, peer.session, message)
        elif isinstance(message, Claim):
            self._claim(peer.session, message)
        elif isinstance(message, GiveBack):
            self.queue.give_back(step, peer.session, message.items)
            self._heed_declines(peer.session)
        elif isinstance(message, Cancel):
            self._cancel(step, peer, message)
        elif isinstance(message, Query):
            self._query(step, peer, message)
        elif isinstance(message, Admin):
            self._admin(step, peer, message)

    def _hello(self, step: Step, address: bytes, hello: Hello) -> None:
        low, high = (*hello.versions, 0, 0)[:2]
        if not low <= PROTOCOL_VERSION <= high:
            reason = f"this supervisor speaks protocol {PROTOCOL_VERSION}, the peer {low} to {high}"
            step.say_first(address, Refused("version", reason))
            return
        if hello.role == "host":
            try:
                self._host_hello(step, address, hello, offer_of(hello.offer))
            except ValueError as error:
                step.say_first(address, Refused("forbidden", str(error)))
        elif hello.role in ("client", "observer", "admin"):
            step.needs.append(Resume(address, hello.session))
            self.peers[address] = Peer(address, hello.role, None, step.now)
            self.peers[address].session = ClientSession(0, hello.session, hello.name)
        else:
            step.say_first(address, Refused("forbidden", f"no role {hello.role!r}"))

    def _resumed(self, step: Step, need: Resume, rows: list[Any]) -> None:
        """What the store knows of a client session: it is welcome, and repeated submissions will be recognised."""
        peer = self.peers.get(need.peer)
        if peer is None:
            return
        old = self.clients.by_token.get(need.token)
        if old is not None and old.peer is not None and old.peer is not peer:
            self._drop(old.peer)
        client: ClientSession = peer.session
        if rows:
            client.number = rows[0][0]
            client.submissions = {n: (first, count, checksum) for n, first, count, checksum in rows[0][1]}
        else:
            self.clients.last_session = client.number = self.clients.last_session + 1
        step.persist.sessions.append((client.number, client.token, client.name, step.wall))
        client.peer = peer
        self.clients.add(client)
        step.say_first(peer.address, self._welcome(client.name, {}))

    def _welcome(self, name: str, settings: dict[str, Any]) -> Welcome:
        return Welcome(PROTOCOL_VERSION, name, self.epoch, self.settings.heartbeat, self.settings.lost_after, settings)

    def _host_hello(self, step: Step, address: bytes, hello: Hello, offer: Offer) -> None:
        running, finished = leases_of(hello.offer, "running"), leases_of(hello.offer, "finished")
        host = self.hosts.by_token.get(hello.session)
        if host is not None and not host.alive():
            self.hosts.forget(host)
            host = None
        if host is None:
            host = self._new_host(step, address, hello)
            if host is None:
                return
        elif host.peer is not None and host.peer.address != address:
            self.peers.pop(host.peer.address, None)
        host.peer = self.peers[address] = Peer(address, "host", host, step.now)
        host.state = "draining" if host.state == "draining" else "joined"
        host.heard, host.gone_at, host.facts = step.now, None, hello.offer
        self._leave_choices(host)
        self._renew_pools(host, offer)
        self._reconcile(step, host, running, finished)
        settings = next((s for p, s in self.settings.hosts.items() if fnmatchcase(host.name, p)), {})
        step.persist.hosts.append((host.owner, host.token, host.name, host.machine, host.joined_at, None, host.state))
        step.say_first(address, self._welcome(host.name, settings))
        host.tree = set()
        self._send_tree(step, host, self._types_of(host))
        step.note("info", "host_joined", host=host.name, owner=host.owner, slots=dict(offer.slots))

    def _new_host(self, step: Step, address: bytes, hello: Hello) -> HostSession | None:
        name = hello.name or "host"
        holder = self.hosts.named(name)
        if holder is not None and hello.offer.get("named"):
            if (
                holder.peer is not None
                and holder.gone_at is None
                and step.now - holder.heard < 2 * self.settings.heartbeat
            ):
                step.say_first(address, Refused("name_taken", f"another host named {name!r} is joined"))
                return None
            self._lose(step, holder)  # the name has come back with a new process: the old one is no more
        self.hosts.last_owner += 1
        host = HostSession(
            self.hosts.last_owner,
            hello.session,
            self.hosts.free_name(name),
            str(hello.offer.get("machine", "")),
            joined_at=step.wall,
            heard=step.now,
        )
        self.hosts.add(host)
        return host

    def _renew_pools(self, host: HostSession, offer: Offer) -> None:
        """The slot pools of a host that says HELLO; capacity comes with its CLAIM, leases stay where they are."""
        host.offer = offer
        host.pools = {name: SlotPool(host, name) for name, _ in offer.slots}
        for lease in self.queue.leases.values():
            if lease.pool.host is host:
                lease.pool = host.pool_of(lease.lane.type)
                lease.pool.held += 1
        self._join_choices(host)

    def _reconcile(
        self, step: Step, host: HostSession, running: list[tuple[int, int]], finished: list[tuple[int, int]]
    ) -> None:
        """HELLO names what runs and what ended unreported: current fences are adopted, others stopped, the rest queued."""
        self.queue.rescue(step, host, lost=False, keep=frozenset([*running, *finished]))
        unknown: list[tuple[int, int]] = []
        stop: list[list[int]] = []
        for id, fence in running:
            lease = self.queue.leases.get(id)
            if lease is None or lease.row.fence != fence or lease.pool.host is not host:
                unknown.append((id, fence))
            elif lease.stopping:
                stop.append([id, fence])
        if unknown:
            ids = tuple(id for id, _ in unknown if 0 < id <= _ID_MAX)
            step.needs.append(Fetch(ids, "adopt", (host, unknown)))
        if stop and host.peer:
            step.say(host.peer, Stop(stop))

    def _types_of(self, host: HostSession) -> set[str]:
        types = {name.removesuffix(".*") for name in host.offer.types}
        types |= {lane.type for lane in self.queue.lanes.by_number.values() if host.offer.serves(lane.type)}
        return types | {path for path in self.settings.policies.nodes if host.offer.serves(path)}

    def _send_tree(self, step: Step, host: HostSession, types: Iterable[str]) -> None:
        """TREE: the nodes in use on a host that it does not know yet, parents included."""
        new = {path for type in types if TYPE_PATTERN.match(type) for path in parents(type)} - host.tree
        if not new or host.peer is None:
            return
        host.tree |= new
        nodes: dict[str, dict[str, Any]] = {}
        for path in sorted(new):
            policy = self.settings.policies.effective(path)
            nodes[path] = {
                "timeout": policy.timeout,
                "cut_off": "stop" if policy.cut_off is None else policy.cut_off,
                "isolation": policy.isolation,
                "class": policy.code,
            }
        step.say(host.peer, Tree(nodes))

    def _bye(self, step: Step, peer: Peer, message: Bye) -> None:
        if peer.role != "host":
            self._drop(peer)
            return
        host: HostSession = peer.session
        host.state = "left"
        released = self.queue.rescue(step, host, lost=False)
        self._host_gone(step, host)
        step.note("info", "host_left", host=host.name, reason=message.reason, released=released)

    def _closed(self, address: bytes, now: float) -> None:
        """A connection closed: suspicion for a host, the end for a client's session here (it may come back)."""
        peer = self.peers.get(address)
        if peer is None:
            return
        if peer.role == "host":
            host: HostSession = peer.session
            if host.state == "joined":
                host.state = "suspect"
            host.gone_at = now
            self.peers.pop(address, None)
            host.peer = None
            for pool in host.pools.values():
                pool.capacity = 0
        else:
            self._drop(peer)

    def _drop(self, peer: Peer) -> None:
        """A session's connection is no longer believed; the peer says HELLO again. A host's leases stay."""
        self.peers.pop(peer.address, None)
        if peer.role == "host":
            host: HostSession = peer.session
            if host.peer is peer:
                host.peer = None
                for pool in host.pools.values():
                    pool.capacity = 0
        else:
            self.clients.gone(peer)

    # Hosts.

    def _join_choices(self, host: HostSession) -> None:
        self._leave_choices(host)
        lanes, offer = self.queue.lanes, host.offer
        for pool in host.pools.values():
            key = (offer, pool.name)
            choice = lanes.choices.get(key)
            if choice is None:

                def serves(type: str, name: str = pool.name) -> bool:
                    return offer.slot_pool(type) == name and offer.serves(type)

                choice = lanes.choices[key] = Choice(key, serves, lanes.by_number.values())
            choice.pools.append(pool)
            pool.choice = choice

    def _heed_declines(self, host: HostSession) -> None:
        """A type that a session declined too often is not offered to it again."""
        for type in [type for type, count in host.declines.items() if count >= DECLINES_MAX]:
            del host.declines[type]
            host.offer = host.offer.without(type)
            self._join_choices(host)

    def _leave_choices(self, host: HostSession) -> None:
        for pool in host.pools.values():
            if (choice := pool.choice) is not None:
                choice.pools.remove(pool)
                pool.choice = None
                if not choice.pools:
                    del self.queue.lanes.choices[choice.key]

    def _claim(self, host: HostSession, claim: Claim) -> None:
        for name, count in claim.capacity.items():
            if name in host.pools:
                host.pools[name].capacity = 0 if host.state == "draining" else max(0, int(count))

    def _results(self, step: Step, peer: Peer, number: int, message: Results) -> None:
        late = Late(peer.session, number)
        peer.session.declines.clear()
        self.queue.results(step, late, message.items)
        ids = tuple({item[0] for item in late.items if isinstance(item[0], int) and 0 < item[0] <= _ID_MAX})
        if ids:
            step.needs.append(Fetch(ids, "late", late))
        else:
            step.say(peer, Recorded(number, [[item[0], item[1]] for item in late.items]))

    def _progress(self, step: Step, host: HostSession, message: Progress) -> None:
        told: dict[int, list[Any]] = {}
        for id, fence, fraction, note in message.items:
            lease = self.queue.leases.get(id)
            if lease is not None and lease.row.fence == fence and lease.pool.host is host and not lease.stopping:
                lease.progress = (float(fraction), str(note)[:1024], step.wall)
                told.setdefault(lease.row.session, []).append([id, *lease.progress])
                lease.announced = True
                for peer in self.clients.watchers.get(id, ()):
                    if peer.session.number != lease.row.session:
                        step.say(peer, Events([], [[id, *lease.progress]], [[id, RUNNING]]))
        for session, items in told.items():
            client = self.clients.by_number.get(session)
            if client is not None and client.peer is not None and client.watching:
                step.say(client.peer, Events([], items, [[item[0], RUNNING] for item in items]))

    # Clients.

    def _submit(self, step: Step, peer: Peer, message: Submit) -> None:
        client: ClientSession = peer.session
        number = message.submission
        if not 0 < number <= _ID_MAX:
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
            retry_after = 1.0 if unfit.code == "queue_full" else 0.0
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
            for host in self.hosts.serving(type):
                self._send_tree(step, host, [type])

    def _check_room(self, message: Submit, count: int) -> None:
        if self.queue.unfinished() + count > self.settings.max_size:
            reason = f"the queue holds {self.queue.unfinished()} unfinished tasks of at most {self.settings.max_size}"
            raise Unfit("queue_full", reason)
        for type, _, options, _ in message.groups:
            if options and options.get("require_host") and not any(self.hosts.serving(type)):
                raise Unfit("no_host", f"no joined host serves {type}", "type")

    def _watch(self, step: Step, peer: Peer, message: Watch) -> None:
        self.clients.watch(step, peer.session, message.after, message.credit)
        if message.ids:
            ids = tuple(id for id in message.ids if 0 < id <= _ID_MAX)
            for id in ids:
                self.clients.watchers.setdefault(id, set()).add(peer)
            step.needs.append(Fetch(ids, "watch", (peer, tuple(message.ids))))

    def _told_ends(self, step: Step, need: Ends, rows: list[Any]) -> None:
        peer = self.peers.get(need.peer)
        if peer is not None:
            for id, _finish, state, body, detail in rows:
                step.say(peer, Events([[id, 0, state, body, detail]]))

    def _cancel(self, step: Step, peer: Peer, message: Cancel) -> None:
        ids = tuple(dict.fromkeys(id for id in message.ids if 0 < id <= _ID_MAX))
        step.needs.append(Fetch(ids, "cancel", (peer, message.request)))

    def _query(self, step: Step, peer: Peer, message: Query) -> None:
        what, request = message.what, message.request
        if what == "status":
            step.say(peer, Reply(request, True, status_report(self, step)))
        elif what == "hosts":
            step.say(peer, Reply(request, True, hosts_report(self, step)))
        elif what == "types":
            step.say(peer, Reply(request, True, types_report(self)))
        elif what in ("show", "tasks"):
            live = {
                lease.row.id: {"progress": list(lease.progress)}
                for lease in self.queue.leases.values()
                if lease.progress is not None
            }
            step.answer(peer, request, what, message.arguments, live)
        else:
            step.say(peer, Reply(request, False, {"code": "invalid", "reason": f"no query {what!r}"}))

    def _admin(self, step: Step, peer: Peer, message: Admin) -> None:
        request, arguments = message.request, message.arguments
        if message.verb == "retry":
            ids = tuple(dict.fromkeys(id for id in arguments["ids"] if 0 < id <= _ID_MAX))
            step.needs.append(Fetch(ids, "again", (peer, request)))
        elif message.verb in ("pause", "resume"):
            type, paused = arguments["type"], message.verb == "pause"
            if TYPE_PATTERN.match(type) is None:
                step.say(peer, Reply(request, False, {"code": "invalid", "reason": f"{type!r} is not a type"}))
                return
            self.queue.lanes.pause(type, paused)
            step.persist.pauses.append((type, paused))
            step.note("info", f"type_{message.verb}d", type=type)
            step.say(peer, Reply(request, True, {"type": type, "paused": paused}))
        elif message.verb == "drain":
            self._drain(step, peer, request, str(arguments["host"]), bool(arguments.get("undo")))
        else:
            step.say(peer, Reply(request, False, {"code": "invalid", "reason": f"no verb {message.verb!r}"}))

    def _drain(self, step: Step, peer: Peer, request: int, name: str, undo: bool) -> None:
        host = self.hosts.named(name)
        if host is None or host.peer is None:
            step.say(peer, Reply(request, False, {"code": "unknown", "reason": f"no host named {name!r} is joined"}))
            return
        host.state = "joined" if undo else "draining"
        if not undo:
            for pool in host.pools.values():
                pool.capacity = 0
        step.say(host.peer, Drain(undo))
        step.say(peer, Reply(request, True, {"host": name, "draining": not undo}))

    # What was asked of the store.

    def _fetched(self, step: Step, need: Fetch, rows: dict[int, Row]) -> None:
        if need.purpose == "late":
            late: Late = need.context
            self.queue.late_results(step, late, rows)
            if late.host.peer is not None:
                step.say(late.host.peer, Recorded(late.number, late.stale))
        elif need.purpose == "adopt":
            host, unknown = need.context
            stop = [
                [id, fence]
                for id, fence in unknown
                if id not in rows or not self.queue.adopt(step, host, rows[id], fence)
            ]
            if stop and host.peer is not None:
                step.say(host.peer, Stop(stop))
        elif need.purpose == "watch":
            self._watched(step, *need.context, rows)
        elif need.purpose == "cancel":
            self._cancelled(step, *need.context, rows)
        elif need.purpose == "again":
            peer, request = need.context
            retried = [row.id for row in rows.values() if self.queue.again(step, row)]
            step.say(peer, Reply(request, True, {"retried": retried}))

    def _watched(self, step: Step, peer: Peer, ids: tuple[int, ...], rows: dict[int, Row]) -> None:
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

    def _cancelled(self, step: Step, peer: Peer, request: int, rows: dict[int, Row]) -> None:
        cancelled: list[int] = []
        stop: dict[HostSession, list[Any]] = {}
        for row in rows.values():
            if row.state in FINAL:
                continue
            lease = self.queue.cancel(step, row)
            cancelled.append(row.id)
            if lease is not None:
                stop.setdefault(lease.pool.host, []).append([row.id, lease.row.fence])
        for host, items in stop.items():
            if host.peer is not None:
                step.say(host.peer, Stop(items))
        step.say(peer, Reply(request, True, {"cancelled": cancelled}))

    # Warnings.

    def _watch_depth(self, step: Step) -> None:
        """The seed's one alert: raised once above the threshold, cleared once at four fifths of it."""
        high = self.settings.queue_depth_high
        if high is None or not self.queue.lanes.touched:
            return
        depth = self.queue.lanes.total(QUEUED)
        if depth > high and not self.depth_warned:
            self.depth_warned = True
            step.note("warning", "queue_depth_high", queued=depth, threshold=high)
        elif self.depth_warned and depth <= high * 0.8:
            self.depth_warned = False
            step.note("info", "queue_depth_normal", queued=depth, threshold=high)
