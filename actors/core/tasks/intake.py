"""Submissions about which the store must be asked before they can be decided: those with a key, and those that a task
with the same params may answer for.

Such a SUBMIT is put by, and one need (`Consult`) asks for all that is stored under its keys; with that it is decided
whole, in the same turn and transaction: every task of it is new or stands for one that was there before, or the whole
is refused. An ordinary submission never comes here.

A key is the sender's name for a task of a type. It belongs to its latest task for as long as that is unfinished; with
`unique_for` also when that has completed, until its time is over or the task is forgotten. One that ended badly gives
its key free. Names of one identity mean nothing to another.

With `cache`, said by the sender or by the configuration of its type, a task of the same type, owner and params that
was cached, too, answers for a new one: if it is unfinished, or completed so many seconds ago at most. Of each type a
number of results does so, the latest. What an order to clear the cache found answers for nothing. In a flow each task
is its own, and so is one whose params take up results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from ....config.limits import CACHED_MAX, Cache
from ....config.policy import PolicyTree, parents
from ....transport.messages import STATES, Submit
from ..clients.clients import Others
from ..effects import Consult
from ..flows.dependencies import Plan, names_others, wanted
from ..queue import Queue, due_of
from ..reports import shown
from ..rows import COMPLETED, FINAL, QUEUED, RUNNING, SCHEDULED, WAITING, Row
from ..step import Peer, Step
from ..unfit import Unfit
from .submissions import TYPES_MAX

SAME, OTHER, REPLACED = range(3)
"""What became of the params of a task that stands for an older one: they are the same; they are others, and were not
taken; they are that one's now.
"""
_CONSULTING: Final = frozenset(("key", "cache"))
KEPT: Final = 1e18
"""Wall time that never comes."""
_DIGEST_BYTES: Final = 16
_SPARE: Final = 8
"""Beyond its bound a type keeps so small a part less, so that not every new result must let an old one go."""
_OWN: Final = frozenset(("key", "unique_for", "on_conflict", "cache"))
"""Options that are not stored with a task as they came."""
_TAKING_UP: Final = b"+"
"""Begins the digest of params that take up results: only together with these are they what they are."""
CLEARED: Final = "cache_from."
"""Begins the name in `meta` of the highest id whose result answers for nothing; the node's follows."""

Name = tuple[str, str, str]
Print = tuple[str, str, bytes]
"""(owner, type, digest of params)."""


@dataclass(slots=True)
class _Named:
    """The task that bears a key.

    Attributes:
        until: Wall time up to which it does after it has completed.
        group, place: Where its params stand among those that this submission stores; (None, 0): it was there before.
    """

    id: int
    until: float
    digest: bytes
    state: int
    attempt: int
    group: _Group | None = None
    place: int = 0

    def holds(self, wall: float) -> bool:
        """Whether its key is still its own."""
        return holds_key(self.state, self.until, wall)

    def has_started(self) -> bool:
        """Whether its params have been handed to a worker."""
        return self.state >= RUNNING or self.attempt > 0

    def takes_up(self, digest: bytes) -> bool:
        """Whether its params, or others with this digest, take up results: what belongs where is not replaced."""
        return max(len(self.digest), len(digest)) > _DIGEST_BYTES


@dataclass(slots=True)
class _Group:
    """New tasks that have all but params and key in common."""

    type: str
    priority: int
    options: dict[str, Any] | None
    state: int
    numbered: list[tuple[int, bytes]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Asked:
    """A submission that was put by: well-formed, and what must be known of its tasks.

    Attributes:
        ages: Of each group, how many seconds ago a task may have completed to answer for one of it; 0: none does.
        digests: Of each group whose tasks an older one may answer for, those of their params; else none at all.
    """

    peer: Peer
    message: Submit
    count: int
    checksum: int
    ages: list[float]
    digests: list[list[bytes]]


@dataclass(slots=True)
class Verdict:
    """What a submission comes to, before anything has changed.

    Attributes:
        first: The id of its first task; the others follow, those that stand for older ones included.
        count: How many tasks it holds.
        others: Those that stand for older ones.
        known: The states of those older ones.
        stored: How many are new.
        hits: How many of each type an older one answers for, by `cache`.
        fresh: How many of each type answer for others from now on.
    """

    first: int
    count: int
    others: list[list[int]] = field(default_factory=list)
    known: dict[int, int] = field(default_factory=dict)
    stored: int = 0
    groups: list[_Group] = field(default_factory=list)
    keys: dict[Name, tuple[int, str, str, str, float, bytes]] = field(default_factory=dict)
    replacements: dict[int, tuple[bytes, bytes, int]] = field(default_factory=dict)
    cached: list[tuple[int, str, str, bytes]] = field(default_factory=list)
    hits: Counter[str] = field(default_factory=Counter)
    fresh: Counter[str] = field(default_factory=Counter)


class Intake:
    """The one way for a SUBMIT that must know of the store first."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._cleared: dict[str, int] = {}  # node -> the highest id whose result answers for nothing
        self._policies: PolicyTree | None = None  # those of which the next two tell
        self._caching = False
        self._caches: dict[str, Cache | None] = {}
        self._grown: dict[str, int] = {}  # type -> results that came since those beyond its bound went

    def restore(self, meta: Mapping[str, int]) -> None:
        """Go on from the store."""
        self._cleared = {name.removeprefix(CLEARED): id for name, id in meta.items() if name.startswith(CLEARED)}

    def clear(self, step: Step, node: str) -> None:
        """What was sent up to now answers for nothing: tasks of a node and below it, or all ("")."""
        self._cleared[node] = step.persist.meta[CLEARED + node] = self._queue.last_id

    def _clear_id(self, type: str) -> int:
        return max((self._cleared.get(node, 0) for node in ("", *parents(type))), default=0)

    def _look_at_policies(self) -> None:
        policies = self._queue.lanes.tree.policies
        if policies is not self._policies:
            self._policies = policies
            self._caching = any("cache" in values for values in (policies.defaults, *policies.nodes.values()))
            self._caches.clear()

    def _cache_of(self, type: str) -> Cache | None:
        """What the configuration says of a type."""
        if not self._caching or self._policies is None:
            return None
        if type not in self._caches:
            if len(self._caches) >= TYPES_MAX:
                self._caches.clear()
            self._caches[type] = self._policies.effective(type).cache
        return self._caches[type]

    def _age(self, type: str, options: dict[str, Any] | None, *, flow: bool) -> float:
        """How many seconds ago a task may have completed to answer for one of a group; 0: none does."""
        if options:
            if "cache" in options:
                return options["cache"]
            if "key" in options or "results" in options:
                return 0.0
        cache = None if flow else self._cache_of(type)
        return 0.0 if cache is None else cache.ttl

    def need(self, peer: Peer, message: Submit, count: int, checksum: int) -> Consult | None:
        """What must be read before a submission, already checked, can be decided; None: nothing.

        Raises:
            Unfit: A task that must be its own is to be somebody else's.
        """
        self._look_at_policies()
        if not self._caching and not any(group[2] and not _CONSULTING.isdisjoint(group[2]) for group in message.groups):
            return None
        owner = peer.owner or ""
        flow = bool(message.flow)
        names: dict[Name, None] = {}
        prints: dict[Print, None] = {}
        ages: list[float] = []
        digests: list[list[bytes]] = []
        for type, _, options, batch in message.groups:
            keys = _keys(options)
            age = self._age(type, options, flow=flow)
            if flow and (keys or age):
                word = "key" if keys else "cache"
                reason = f"a task of a flow has no {word}: send it before the flow, and let tasks of that come after it"
                raise Unfit("invalid", reason, word)
            made = [] if not keys and not age else list(map(digest_of, batch))
            if keys and options and "results" in options:
                taken_up = repr((options["results"], options.get("after"))).encode()
                made = [_TAKING_UP + digest_of(params + taken_up) for params in batch]
            ages.append(age)
            digests.append(made)
            if keys:
                names |= dict.fromkeys([(owner, type, key) for key in keys])
            elif age:
                prints |= dict.fromkeys([(owner, type, digest) for digest in made])
        if not names and not prints:
            return None
        ids = tuple(wanted(message.groups)) if names_others(message.groups) else ()
        asked = Asked(peer, message, count, checksum, ages, digests)
        return Consult(tuple(names), ids, "submit", asked, peer.owner, tuple(prints))

    def judge(self, groups: Sequence[Any], need: Consult, rows: Sequence[Any], wall: float) -> Verdict:
        """Decide a submission whole. Changes nothing.

        Args:
            groups: As SUBMIT has them, checked, or as they were planned.
            need: What was asked for.
            rows: What was found.
            wall: Seconds since the epoch.

        Raises:
            Unfit: One of its keys is in use, and it asks to be refused then.
        """
        asked: Asked = need.context
        owner = need.owner or ""
        named: dict[Name | Print, _Named] = {}
        for name, until, digest, (id, state, attempt, *_) in rows:
            if not isinstance(name, int):
                named[name] = _Named(id, until, digest, state, attempt)
        verdict = Verdict(self._queue.last_id + 1, asked.count)
        id = verdict.first
        for (type, priority, options, batch), age, digests in zip(groups, asked.ages, asked.digests, strict=True):
            group = _Group(type, priority, _stored(options), _begins_as(options, wall))
            verdict.groups.append(group)
            ids = range(id, id + len(batch))
            if keys := _keys(options):
                _judge_named(verdict, group, options, zip(ids, keys, batch, digests, strict=True), named, owner, wall)
            elif age:
                tasks = zip(ids, batch, digests, strict=True)
                _judge_cached(verdict, group, tasks, named, owner, wall - age, self._clear_id(type))
            else:
                group.numbered += zip(ids, batch, strict=True)
            id += len(batch)
            verdict.stored += len(group.numbered)
        return verdict

    def take_in(self, step: Step, session: int, verdict: Verdict, plan: Plan | None) -> Others:
        """Store what is new. The numbers of those that stand for older ones stay unused."""
        queue = self._queue
        queue.last_id += verdict.count
        step.persist.meta["last_id"] = queue.last_id
        for group in verdict.groups:
            if group.numbered:
                queue.store(step, session, group.type, group.priority, group.options, group.numbered, group.keys)
        step.persist.keys += verdict.keys.values()
        step.persist.cached += verdict.cached
        for type, count in verdict.fresh.items():
            self._keep_bound(step, type, count)
        for type, count in verdict.hits.items():
            queue.lanes.statistics.of(type).answered(count)
        for params, digest, id in verdict.replacements.values():
            queue.replace(id, params)
            step.persist.replacements.append((params, digest, id))
        if plan is not None and verdict.others:
            unused = {verdict.first + position for position, _, _ in verdict.others}
            plan.edges = [edge for edge in plan.edges if edge[1] not in unused]
        return verdict.others or None

    def _keep_bound(self, step: Step, type: str, count: int) -> None:
        """So many more results of a type answer for others: let the oldest go, if they are too many by now."""
        cache = self._cache_of(type)
        most = CACHED_MAX if cache is None else cache.count
        spare = most // _SPARE
        grown = self._grown.get(type, spare) + count  # at first nobody knows how many there are
        if grown > spare:
            grown = 0
            step.persist.bounds.append((type, most - spare))
        self._grown[type] = grown


def _judge_named(
    verdict: Verdict,
    group: _Group,
    options: dict[str, Any],
    tasks: Iterable[tuple[int, str, bytes, bytes]],
    named: dict[Name | Print, _Named],
    owner: str,
    wall: float,
) -> None:
    conflict = options.get("on_conflict", "return")
    until = _until(options.get("unique_for"), wall)
    type, numbered, keys = group.type, group.numbered, group.keys
    for id, key, params, digest in tasks:
        name = owner, type, key
        old = named.get(name)
        if old is None or not old.holds(wall):
            named[name] = _Named(id, until, digest, group.state, 0, group, len(numbered))
            numbered.append((id, params))
            keys.append(key)
            verdict.keys[name] = id, owner, type, key, until, digest
            continue
        if conflict == "refuse":
            reason = f"key {shown(key)} of {type} is that of task {old.id}, which is {STATES[old.state]}"
            raise Unfit("conflict", reason, "key")
        how = SAME if old.digest == digest else OTHER
        if how == OTHER and conflict == "replace" and not old.has_started() and not old.takes_up(digest):
            how = REPLACED
            old.digest = digest
            if old.group is not None:
                old.group.numbered[old.place] = old.id, params
                verdict.keys[name] = (*verdict.keys[name][:-1], digest)
            else:
                verdict.replacements[old.id] = params, digest, old.id
        verdict.others.append([id - verdict.first, old.id, how])
        verdict.known[old.id] = old.state


def _judge_cached(
    verdict: Verdict,
    group: _Group,
    tasks: Iterable[tuple[int, bytes, bytes]],
    named: dict[Name | Print, _Named],
    owner: str,
    since: float,
    cleared: int,
) -> None:
    first, type, hits = verdict.first, group.type, len(verdict.others)
    for id, params, digest in tasks:
        print = owner, type, digest
        old = named.get(print)
        # Of a task that has completed `until` says when.
        if old is None or old.id <= cleared or not holds_key(old.state, old.until, since):
            named[print] = _Named(id, 0.0, digest, group.state, 0)
            group.numbered.append((id, params))
            verdict.cached.append((id, *print))
        else:
            verdict.others.append([id - first, old.id, SAME])
            verdict.known[old.id] = old.state
    if hits := len(verdict.others) - hits:
        verdict.hits[type] += hits
    if group.numbered:
        verdict.fresh[type] += len(group.numbered)


def holds_key(state: int, until: float, wall: float) -> bool:
    """Whether a task in this state, whose key was given until then, has it still."""
    return state not in FINAL or (state == COMPLETED and until > wall)


def digest_again(row: Row) -> bytes:
    """The digest of a task that takes its key back. Where its params take up results it equals no other: of those only
    what is left of them in memory is known.
    """
    if row.options and "splice" in row.options:
        return _TAKING_UP + digest_of(row.params or b"")
    return digest_of(row.params)


def digest_of(params: bytes | None) -> bytes:
    """What tells params apart; nothing equals that of params that memory does not keep."""
    return b"" if params is None else blake2b(params, digest_size=_DIGEST_BYTES).digest()


def _keys(options: dict[str, Any] | None) -> list[str]:
    """The key of each task of a group; none at all where it has none."""
    key: Any = options.get("key") if options else None
    return [] if key is None else [key] if isinstance(key, str) else key


def _stored(options: dict[str, Any] | None) -> dict[str, Any] | None:
    """What is kept of a group's options; the key comes to each task's own."""
    return {name: value for name, value in options.items() if name not in _OWN} or None if options else None


def _begins_as(options: dict[str, Any] | None, wall: float) -> int:
    """The state of a new task, before anybody has granted it."""
    if options and "edges" in options:
        return WAITING
    return QUEUED if due_of(options, wall)[0] is None else SCHEDULED


def _until(unique_for: Any, wall: float) -> float:
    return 0.0 if unique_for is None else KEPT if unique_for == "kept" else wall + unique_for
