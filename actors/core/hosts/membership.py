"""Hosts come and go: how they are welcomed, what they are told, what becomes of what they hold.

HELLO names what runs and what ended unreported, so that a host that comes back, or finds another supervisor, loses
nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, Final, cast

from ....config.policy import TYPE_PATTERN, PolicyTree, parents
from ....transport.messages import (
    Bye,
    Claim,
    Drain,
    Events,
    Heartbeat,
    Hello,
    Progress,
    Recorded,
    Refused,
    Reload,
    Reply,
    Reread,
    Results,
    Stop,
    Tree,
)
from ..access.audit import Audit
from ..access.identities import ANYBODY
from ..clients.clients import Clients
from ..effects import Fetch
from ..host.verdicts import within
from ..queue import Queue
from ..reports import progress as checked_progress
from ..reports import shown
from ..rows import RUNNING, Row
from ..sessions import ID_MAX, Sessions
from ..step import Peer, Step
from ..tasks.endings import Endings, Late
from ..tasks.submissions import TYPES_MAX
from .guiding import guidance, told_types
from .hosts import Hosts, HostSession, SlotPool
from .offers import Offer, leases_of

NAME_MAX: Final = 255
_LEVELS_MAX: Final = 3 * TYPES_MAX  # as many nodes as types may have
_LEVEL_MAX: Final = 200  # characters
_TREE_NODES: Final = 1000
_FAILED_MAX: Final = 100
_TYPES_MAX: Final = 5000
_FINGERPRINT_MAX: Final = 64
_REASON_MAX: Final = 1024


class Membership:
    """The hosts of a pool, and every message of theirs.

    Args:
        policies: What nodes set; sent down as TREE.
        entries: Settings by host name or pattern; sent with WELCOME.
    """

    def __init__(
        self,
        queue: Queue,
        endings: Endings,
        hosts: Hosts,
        clients: Clients,
        sessions: Sessions,
        policies: PolicyTree,
        entries: Mapping[str, dict[str, Any]],
        audit: Audit,
    ) -> None:
        self._audit = audit
        self.queue, self.endings = queue, endings
        self.hosts, self.clients, self.sessions = hosts, clients, sessions
        self.policies, self.entries = policies, entries

    def is_old(self, hello: Hello) -> bool:
        """Whether a host has said this HELLO or a later one before: it came twice or late, and is not true any more."""
        host = self.hosts.by_token.get(hello.session)
        number: Any = hello.offer.get("greeting")
        return host is not None and host.alive() and isinstance(number, int) and number <= host.greeting

    def hello(self, step: Step, address: bytes, hello: Hello, offer: Offer) -> None:
        """A host joins, or comes back with the same session.

        Raises:
            ValueError: What it says of its tasks is of the wrong form.
        """
        running, finished = leases_of(hello.offer, "running"), leases_of(hello.offer, "finished")
        host, identity = self.hosts.by_token.get(hello.session), self.sessions.identities.get(address, ANYBODY)
        if host is not None and not host.is_of(identity):
            step.say_first(address, Refused("forbidden", "this session belongs to another identity"))
            return
        if host is not None and not host.alive():
            self.hosts.forget(host)
            host = None
        if host is None:
            host = self._new_host(step, address, hello, identity)
            if host is None:
                return
        elif host.peer is not None and host.peer.address != address:
            self.sessions.peers.pop(host.peer.address, None)
        if host.state == "away":  # another may have taken its name while no supervisor ran
            host.name = self.hosts.free_name(host.name)
        host.identity = identity or host.identity
        host.peer = self.sessions.peer(address, "host", host, step.now)
        host.state = "draining" if host.state == "draining" or host.drains else "joined"
        known: Mapping[str, str] = host.facts.get("fingerprints", {})
        host.heard, host.gone_at, host.facts = step.now, None, _facts(hello.offer)
        number: Any = hello.offer.get("greeting")
        host.greeting = number if isinstance(number, int) else 0
        host.levels = {}  # it tells all of them again
        self._leave_choices(host)
        self._renew_pools(host, offer, frozenset(running))
        self.queue.declines.hello(host.owner)
        settings = _entry(self.entries, host.name)
        step.persist.hosts.append(host.row())
        step.say_first(address, self.sessions.welcome(host.name, settings))
        if host.drains is not None:  # it may not have heard it: a connection that breaks loses what was said
            step.say(host.peer, Drain(undo=not host.drains))
        self._reconcile(step, host, running, finished)
        host.tree = set()
        for type, fingerprint in host.facts["fingerprints"].items():
            if known.get(type) != fingerprint:
                below = [f"{type}.*"] if f"{type}.*" in offer.types else []
                step.persist.code += [(host.owner, path, step.wall, fingerprint) for path in (type, *below)]
        self.send_tree(step, host, self._types_of(host))
        told: dict[str, Any] = {"host": host.name, "owner": host.owner, "slots": dict(offer.slots)}
        self._audit.tell(step, host.identity, "info", "host_joined", **told)

    def _new_host(self, step: Step, address: bytes, hello: Hello, identity: str) -> HostSession | None:
        name = hello.name[:NAME_MAX] or "host"
        holder = self.hosts.named(name)
        if holder is not None and hello.offer.get("named"):
            speaks = holder.peer is not None and holder.gone_at is None
            if not holder.is_of(identity) or (speaks and step.now - holder.heard < 2 * self.sessions.heartbeat):
                step.say_first(address, Refused("name_taken", f"another host named {shown(name)} is joined"))
                return None
            self.give_up(step, holder, "its name has come back with a new process")
            if holder.alive():
                holder.name = self.hosts.free_name(name)
                step.persist.hosts.append(holder.row())
        self.hosts.last_owner += 1
        host = HostSession(
            self.hosts.last_owner,
            hello.session,
            self.hosts.free_name(name),
            str(hello.offer.get("machine", ""))[:NAME_MAX],
            joined_at=step.wall,
            heard=step.now,
            identity=identity,
        )
        self.hosts.add(host)
        return host

    def _renew_pools(self, host: HostSession, offer: Offer, running: Collection[tuple[int, int]]) -> None:
        """The slot pools of a host that says HELLO; capacity comes with its CLAIM, leases stay where they are."""
        host.offer = offer
        host.pools = {name: SlotPool(host, name) for name, _ in offer.slots}
        for lease in host.leases.values():
            lease.pool = host.pool_of(lease.lane.type)
            lease.pool.held += 1
        self.queue.lanes.tree.offered(host, running)
        self._join_choices(host)

    def _reconcile(
        self, step: Step, host: HostSession, running: list[tuple[int, int]], finished: list[tuple[int, int]]
    ) -> None:
        """Current fences are adopted, others stopped; what HELLO does not name is queued again."""
        keep = frozenset([*running, *finished])
        self.endings.rescue(step, host, "its host came back and did not name it", lost=False, keep=keep)
        unknown: list[tuple[int, int]] = []
        stop: list[list[int]] = []
        for id, fence in running:
            lease = self.queue.leases.get(id)
            if lease is None or lease.row.fence != fence or lease.pool.host is not host:
                unknown.append((id, fence))
            elif lease.stopping:
                stop.append([id, fence])
        if unknown:
            ids = tuple(id for id, _ in unknown if 0 < id <= ID_MAX)
            step.needs.append(Fetch(ids, "adopt", (host, host.greeting, unknown)))
        if stop and host.peer:
            step.say(host.peer, Stop(stop))

    def _types_of(self, host: HostSession) -> set[str]:
        types = {name.removesuffix(".*") for name in host.offer.types}
        types |= {lane.type for lane in self.queue.lanes.by_number.values() if host.offer.serves(lane.type)}
        failed: Mapping[str, str] = host.facts.get("failed", {})  # shown as failed, which an absent one is not
        if host.offer.accept:  # one that could not be loaded may have gone while it was away
            types |= {type for type in failed if host.offer.wants(type)}
        return types | told_types(self.policies, host.offer, failed)

    def send_tree(self, step: Step, host: HostSession, types: Iterable[str]) -> None:
        """TREE: the nodes in use on a host that it does not know yet, parents included."""
        new = {path for type in types if TYPE_PATTERN.match(type) for path in parents(type)} - host.tree
        if not new or host.peer is None:
            return
        host.tree |= new
        paths = sorted(new)
        for start in range(0, len(paths), _TREE_NODES):
            some = paths[start : start + _TREE_NODES]
            step.say(host.peer, Tree({path: guidance(self.policies, path, host.offer) for path in some}))

    def retune(self, step: Step, policies: PolicyTree, entries: Mapping[str, dict[str, Any]]) -> None:
        """Other settings from now on: hosts hear of their nodes, read their own file again for what only they execute,
        and those whose entry has changed are greeted anew, because WELCOME carries it.
        """
        before, self.policies, self.entries = self.entries, policies, entries
        for host in [host for host in self.hosts.by_owner.values() if host.peer is not None]:
            if (peer := host.peer) is None:
                continue
            step.say(peer, Reread())  # first: TREE may have it say HELLO, and what follows that in this session is lost
            known, host.tree = host.tree, set()
            self.send_tree(step, host, known | self._types_of(host))
            if _entry(before, host.name) != _entry(entries, host.name):
                self.sessions.peers.pop(peer.address, None)
                host.peer = None
                for pool in host.pools.values():
                    pool.capacity = 0
                step.say_first(peer.address, Refused("unknown_session", "its settings have changed"))

    def beat(self, step: Step, host: HostSession, message: Heartbeat) -> None:
        """A host lives, and says how its levels are.

        Raises:
            ValueError, TypeError: They are too many, or none; what was known of them stays.
        """
        host.heard, host.gone_at, host.patience = step.now, None, 0.0
        if message.levels:
            levels = host.levels | _levels(message.levels)
            if len(levels) > _LEVELS_MAX:
                raise ValueError(f"more than {_LEVELS_MAX} levels")
            host.levels = levels
        if host.offer.declined:
            self.recovered(host, message.levels)

    def claim(self, host: HostSession, claim: Claim) -> None:
        """How many tasks each slot pool of a host can run now, why not more, and whether it is about to leave."""
        host.patience = 0.0
        host.start_failed = _reasons(claim.start_failed, host.pools)
        if claim.leaving and host.state == "joined":
            host.state = "draining"
        for name, count in claim.capacity.items():
            if name in host.pools:
                most = dict(host.offer.slots)[name]
                host.pools[name].capacity = 0 if host.state == "draining" else max(0, min(count, most))

    def results(self, step: Step, peer: Peer, number: int, message: Results) -> None:
        """Ended attempts; RECORDED follows, after a look into the store for those of no live lease, and after the next
        tasks: a slot is waiting for those.
        """
        peer.session.ahead.heard(behind=peer.address in self.queue.company.unheard)
        late = Late(peer.session, number, peer)
        self.endings.results(step, late, message.items)
        ids = tuple({item[0] for item in late.items})
        if ids:
            self.queue.lanes.tree.copies.stopped(peer.session.owner, [item[:2] for item in late.items])
            step.needs.append(Fetch(ids, "late", late))
        else:
            step.later.append((peer, Recorded(number, [])))

    def came_late(self, step: Step, need: Fetch, rows: dict[int, Row]) -> None:
        """The tasks of ends that match no live lease are known."""
        late: Late = need.context
        self.endings.late_results(step, late, rows)
        step.later.append((late.peer, Recorded(late.number, late.stale)))

    def named(self, step: Step, need: Fetch, rows: dict[int, Row]) -> None:
        """The tasks are known that a host says it runs and holds no lease of: each is its own again, or stopped."""
        host, greeting, unknown = need.context
        if greeting != host.greeting:
            return  # it has said another HELLO in this turn, which counts
        stop: list[list[int]] = []
        for id, fence in unknown:
            row = rows.get(id)
            self.queue.lanes.tree.copies.judge(host.owner, (id, fence))
            if row is None or not self.endings.adopt(step, host, row, fence):
                stop.append([id, fence])
                if row is not None:
                    self._stopping(host, row, fence)
        if stop and host.peer is not None:
            step.say(host.peer, Stop(stop))

    def _stopping(self, host: HostSession, row: Row, fence: int) -> None:
        """A host is told to stop a task that it says it runs and holds no lease of. Only of what it may run it can be
        believed: else it could keep others from what is none of its business.
        """
        lane = self.queue.lanes.by_number[row.lane]
        if host.alive() and host.offer.wants(lane.type):
            self.queue.lanes.tree.copies.stopping(lane, host.pool_of(lane.type), (row.id, fence))

    def progress(self, step: Step, host: HostSession, message: Progress) -> None:
        """Pass progress on to those who watch; it is never stored."""
        told: dict[int, list[Any]] = {}
        for item in message.items:
            id, fence, fraction, note = checked_progress(item)
            lease = self.queue.leases.get(id)
            if lease is not None and lease.row.fence == fence and lease.pool.host is host and not lease.stopping:
                lease.progress = (fraction, note, step.wall)
                told.setdefault(lease.row.session, []).append([id, *lease.progress])
                lease.announced = True
                for peer in self.clients.watchers.get(id, ()):
                    if peer.session.number != lease.row.session:
                        step.say(peer, Events([], [[id, *lease.progress]], [[id, RUNNING]]))
        for session, items in told.items():
            client = self.clients.by_number.get(session)
            if client is not None and client.peer is not None and client.watching:
                step.say(client.peer, Events([], items, [[item[0], RUNNING] for item in items]))

    def closed(self, peer: Peer, now: float) -> None:
        """The connection of a host closed: it has a moment to come back."""
        host: HostSession = peer.session
        host.gone_at = now
        self.sessions.peers.pop(peer.address, None)
        self.unheard(peer)

    def unheard(self, peer: Peer) -> None:
        """A host is not heard over this connection any more: it is suspect and claims nothing; its leases stay."""
        host: HostSession = peer.session
        if host.peer is peer:
            host.peer = None
            if host.state == "joined":
                host.state = "suspect"
            for pool in host.pools.values():
                pool.capacity = 0

    def give_up(self, step: Step, host: HostSession, why: str = "") -> None:
        """A host is overdue, or `why` says what else tells that it is gone. Before it was silent for long enough it may
        live, cut off: then what must never run twice (`cut_off: stop`) waits until its lease ends, because its host
        stops it before that.
        """
        leases = host.leases.values()
        keep = frozenset((lease.row.id, lease.row.fence) for lease in leases if lease.lane.policy.cut_off is None)
        silent = f"no word came from it for {step.now - host.heard:.0f} s"
        reason = why or (silent if host.gone_at is None else "its connection closed and it did not come back")
        if not keep or step.now - host.heard >= self.hosts.patience(host):
            self.lose(step, host, reason)
            return
        host.gone_at = None  # from here on its silence alone counts
        if host.peer is not None:  # if it is not gone after all, it says HELLO
            self.sessions.peers.pop(host.peer.address, None)
            self.unheard(host.peer)
        rescued = self.endings.rescue(step, host, reason, lost=True, keep=keep)
        told: dict[str, Any] = {"host": host.name, "rescued": rescued, "waiting": len(keep)}
        self._audit.say(step, host.identity, "warning", "host_gone", **told)

    def lose(self, step: Step, host: HostSession, reason: str) -> None:
        """A host is given up: its tasks are rescued."""
        host.state = "lost"
        rescued = self.endings.rescue(step, host, reason, lost=True)
        self._host_gone(step, host)
        told: dict[str, Any] = {"host": host.name, "reason": reason, "rescued": rescued}
        self._audit.say(step, host.identity, "warning", "host_lost", **told)

    def bye(self, step: Step, peer: Peer, message: Bye) -> None:
        """A host leaves on purpose; what it still holds is queued again at once."""
        host: HostSession = peer.session
        host.state = "left"
        released = self.endings.rescue(step, host, "its host left and said nothing of it", lost=False)
        self._host_gone(step, host)
        told: dict[str, Any] = {"host": host.name, "reason": message.reason[:NAME_MAX], "released": released}
        self._audit.say(step, host.identity, "info", "host_left", **told)

    def _host_gone(self, step: Step, host: HostSession) -> None:
        if host.peer is not None:
            self.sessions.peers.pop(host.peer.address, None)
            host.peer = None
        self._leave_choices(host)
        self.queue.lanes.tree.gone(host.owner)
        self.queue.declines.gone(host.owner)
        host.facts, host.levels, host.start_failed = {}, {}, {}
        step.persist.hosts.append(host.row(left_at=step.wall))

    def drain(self, step: Step, peer: Peer, request: int, name: str, undo: bool) -> None:
        """A person asks a host to finish and leave, or to stay after all."""
        host = self.hosts.named(name)
        if host is None or host.peer is None:
            step.say(
                peer, Reply(request, False, {"code": "unknown", "reason": f"no host named {shown(name)} is joined"})
            )
            return
        host.state, host.drains = "joined" if undo else "draining", not undo
        if not undo:
            for pool in host.pools.values():
                pool.capacity = 0
        step.persist.hosts.append(host.row())
        step.say(host.peer, Drain(undo))
        step.say(peer, Reply(request, True, {"host": name, "draining": not undo}))

    def reload(self, step: Step, order: int, name: str | None, type: str | None) -> list[str]:
        """Have hosts (of this name, or that serve this type, or all) serve the code that is on their disk now."""
        hosts = [host for host in self.hosts.by_owner.values() if host.peer is not None and host.alive()]
        if name is not None:
            hosts = [host for host in hosts if host.name == name]
        if type is not None:
            hosts = [host for host in hosts if any(within(one, type) for one in self._types_of(host))]
        for host in hosts:
            if host.peer is not None:
                step.say(host.peer, Reload(order, [] if type is None else [type]))
        return [host.name for host in hosts]

    def _join_choices(self, host: HostSession) -> None:
        for pool in host.pools.values():
            self.queue.lanes.choices.join(pool)

    def heed_unserved(self, host: HostSession) -> None:
        """A type that no worker of a host is for is not offered to that session again."""
        while host.unserved:
            host.offer = host.offer.without(host.unserved.pop())
            self._join_choices(host)

    def recovered(self, host: HostSession, levels: Mapping[str, list[str]]) -> None:
        """A node of a host's that had failed is well again: what lies there may be offered to it."""
        for type in host.offer.declined & levels.keys():
            if levels[type][:1] != ["failed"]:
                host.offer = host.offer.again(type)
                self._join_choices(host)

    def _leave_choices(self, host: HostSession) -> None:
        for pool in host.pools.values():
            self.queue.lanes.choices.leave(pool)


def _entry(entries: Mapping[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """What is set for a host of this name."""
    none: dict[str, Any] = {}
    return next((settings for pattern, settings in entries.items() if fnmatchcase(name, pattern)), none)


def _reasons(given: Mapping[str, Any], pools: Collection[str]) -> dict[str, str]:
    """Why slots of some of these slot pools cannot be started, for people."""
    if not all(isinstance(why, str) for why in given.values()):
        raise TypeError("why slots cannot be started is a text")
    return {name: given[name][:_REASON_MAX] for name in pools if given.get(name)}


def _levels(given: Mapping[str, list[Any]]) -> dict[str, list[str]]:
    """How levels of a host are, as it says it, cut to what is shown."""
    if not all(isinstance(text, str) for state in given.values() for text in state):
        raise TypeError("how a level is must be told in texts")
    return {type[:_LEVEL_MAX]: [text[:_LEVEL_MAX] for text in state[:2]] for type, state in given.items()}


def _reload(given: Any) -> dict[str, Any]:
    """What became of the last reload, as a host says it; nonsense is left out."""
    told = cast("dict[Any, Any]", given) if isinstance(given, dict) else {}
    number, changed, failed = told.get("number"), told.get("changed"), told.get("failed")
    if not isinstance(number, int) or not 0 <= number < 2**63:
        return {}
    changes = cast("dict[Any, Any]", changed) if isinstance(changed, dict) else {}
    reasons = cast("dict[Any, Any]", failed) if isinstance(failed, dict) else {}
    return {
        "order": number,
        "changed": {
            str(type)[:NAME_MAX]: [str(text)[:_FINGERPRINT_MAX] for text in cast("list[Any]", prints)[:2]]
            for type, prints in islice(changes.items(), _FAILED_MAX)
            if isinstance(prints, list)
        },
        "failed": {str(what)[:NAME_MAX]: str(why)[:2000] for what, why in islice(reasons.items(), _FAILED_MAX)},
    }


def _fingerprints(given: Any) -> dict[str, str]:
    """Type -> what tells its worker's code from others, as a host says it; nonsense is left out."""
    known = cast("dict[Any, Any]", given) if isinstance(given, dict) else {}
    return {
        type: text[:_FINGERPRINT_MAX]
        for type, text in islice(known.items(), _TYPES_MAX)
        if isinstance(type, str) and TYPE_PATTERN.match(type) and isinstance(text, str) and text
    }


def _facts(offer: dict[str, Any]) -> dict[str, Any]:
    """What a HELLO says for people, cut to what is shown."""
    pid, isolation, failed = offer.get("pid"), offer.get("isolation"), offer.get("failed")
    known = cast("dict[Any, Any]", failed) if isinstance(failed, dict) else {}
    return {
        "pid": pid if isinstance(pid, int) and 0 <= pid < 2**32 else None,
        "isolation": str(isolation)[:NAME_MAX],
        "fingerprints": _fingerprints(offer.get("fingerprints")),
        "reload": _reload(offer.get("reload")),
        "failed": {str(code)[:NAME_MAX]: str(why)[:2000] for code, why in list(known.items())[:_FAILED_MAX]},
    }
