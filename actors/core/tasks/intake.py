"""Submissions about which the store must be asked before they can be decided: those with a key, and those that a task
with the same params may answer for.

Such a SUBMIT is put by, and one need (`Consult`) asks for all that is stored under its keys; with that it is decided
whole, in the same turn and transaction: every task of it is new or stands for one that was there before, or the whole
is refused. An ordinary submission never comes here.

A key is the sender's name for a task of a type. It belongs to its latest task for as long as that is unfinished; with
`unique_for` also when that has completed, until its time is over or the task is forgotten. One that ended badly gives
its key free. Names of one identity mean nothing to another.

With `cache` a task of the same type, owner and params, sent with `cache` too, answers for a new one: if it is
unfinished, or completed so many seconds ago at most. What an order to clear the cache found answers for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from ....config.policy import parents
from ....transport.messages import STATES, Submit
from ..clients.clients import Others
from ..effects import Consult
from ..queue import Queue
from ..reports import shown
from ..rows import COMPLETED, FINAL, RUNNING, Row
from ..step import Peer, Step
from ..unfit import Unfit

SAME, OTHER, REPLACED = range(3)
"""What became of the params of a task that stands for an older one: they are the same; they are others, and were not
taken; they are that one's now.
"""
_CONSULTING: Final = frozenset(("key", "cache"))
_KEPT: Final = 1e18
"""Wall time that never comes."""
_DIGEST_BYTES: Final = 16
_OWN: Final = frozenset(("key", "unique_for", "on_conflict", "cache"))
_CLEARED: Final = "cache_from."
"""Options that are not stored with a task as they came."""

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


@dataclass(slots=True)
class _Group:
    """New tasks that have all but params and key in common."""

    type: str
    priority: int
    options: dict[str, Any] | None
    numbered: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    keys: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class Verdict:
    """What a submission comes to, before anything has changed.

    Attributes:
        first: The id of its first task; the others follow, those that stand for older ones included.
        count: How many tasks it holds.
        others: Those that stand for older ones.
        stored: How many are new.
        hits: How many of each type an older one answers for, by `cache`.
    """

    first: int
    count: int
    others: list[list[int]] = field(default_factory=list[list[int]])
    stored: int = 0
    groups: list[_Group] = field(default_factory=list["_Group"])
    keys: dict[Name, tuple[int, str, str, str, float, bytes]] = field(
        default_factory=dict[Name, tuple[int, str, str, str, float, bytes]]
    )
    replacements: dict[int, tuple[bytes, bytes, int]] = field(default_factory=dict[int, tuple[bytes, bytes, int]])
    cached: list[tuple[int, str, str, bytes]] = field(default_factory=list[tuple[int, str, str, bytes]])
    hits: Counter[str] = field(default_factory=Counter[str])


class Intake:
    """The one way for a SUBMIT that must know of the store first."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._cleared: dict[str, int] = {}  # node -> the highest id whose result answers for nothing

    def restore(self, meta: Mapping[str, int]) -> None:
        """Go on from the store."""
        self._cleared = {name.removeprefix(_CLEARED): id for name, id in meta.items() if name.startswith(_CLEARED)}

    def clear(self, step: Step, node: str) -> None:
        """What was sent up to now answers for nothing: tasks of a node and below it, or all ("")."""
        self._cleared[node] = step.persist.meta[_CLEARED + node] = self._queue.last_id

    def _clear_id(self, type: str) -> int:
        return max((self._cleared.get(node, 0) for node in ("", *parents(type))), default=0)

    def need(self, peer: Peer, message: Submit, context: Any) -> Consult | None:
        """What must be read before a submission, already checked, can be decided; None: nothing."""
        if not any(group[2] and not _CONSULTING.isdisjoint(group[2]) for group in message.groups):
            return None
        owner = peer.owner or ""
        names = {(owner, group[0], key): None for group in message.groups for key in _keys(group[2])}
        prints = {
            (owner, type, digest_of(params)): None
            for type, _, options, batch in message.groups
            if options and "cache" in options
            for params in batch
        }
        return Consult(tuple(names), (), "submit", context, peer.owner, tuple(prints))

    def judge(self, groups: Sequence[Any], need: Consult, rows: Sequence[Any], wall: float) -> Verdict:
        """Decide a submission whole. Changes nothing.

        Args:
            groups: As SUBMIT has them, checked.
            need: What was asked for.
            rows: What was found.
            wall: Seconds since the epoch.

        Raises:
            Unfit: One of its keys is in use, and it asks to be refused then.
        """
        named: dict[Name | Print, _Named] = {}
        for asked, until, digest, columns in rows:
            row = Row(*columns)
            named[asked] = _Named(row.id, until, digest, row.state, row.attempt)
        verdict = Verdict(self._queue.last_id + 1, sum(len(group[3]) for group in groups))
        id = verdict.first
        for type, priority, options, batch in groups:
            group = _Group(type, priority, _stored(options))
            verdict.groups.append(group)
            if keys := _keys(options):
                _judge_named(verdict, group, options, zip(range(id, id + len(batch)), keys, batch, strict=True), named,
                             need.owner or "", wall)  # fmt: skip
            elif options and "cache" in options:
                since = wall - options["cache"]
                _judge_cached(verdict, group, zip(range(id, id + len(batch)), batch, strict=True), named,
                              need.owner or "", since, self._clear_id(type))  # fmt: skip
            else:
                group.numbered += enumerate(batch, id)
            id += len(batch)
            verdict.stored += len(group.numbered)
        return verdict

    def take_in(self, step: Step, session: int, verdict: Verdict) -> Others:
        """Store what is new. The numbers of those that stand for older ones stay unused."""
        queue = self._queue
        queue.last_id += verdict.count
        step.persist.meta["last_id"] = queue.last_id
        for group in verdict.groups:
            if group.numbered:
                queue.store(step, session, group.type, group.priority, group.options, group.numbered, group.keys)
        step.persist.keys += verdict.keys.values()
        step.persist.cached += verdict.cached
        queue.hits.update(verdict.hits)
        for params, digest, id in verdict.replacements.values():
            queue.replace(id, params)
            step.persist.replacements.append((params, digest, id))
        return verdict.others or None


def _judge_named(
    verdict: Verdict,
    group: _Group,
    options: dict[str, Any],
    tasks: Any,
    named: dict[Name | Print, _Named],
    owner: str,
    wall: float,
) -> None:
    conflict = options.get("on_conflict", "return")
    until = _until(options.get("unique_for"), wall)
    for id, key, params in tasks:
        name = owner, group.type, key
        digest = digest_of(params)
        old = named.get(name)
        if old is None or not old.holds(wall):
            named[name] = _Named(id, until, digest, 0, 0, group, len(group.numbered))
            group.numbered.append((id, params))
            group.keys.append(key)
            verdict.keys[name] = id, owner, group.type, key, until, digest
            continue
        if conflict == "refuse":
            reason = f"key {shown(key)} of {group.type} is that of task {old.id}, which is {STATES[old.state]}"
            raise Unfit("conflict", reason, "key")
        how = SAME if old.digest == digest else OTHER
        if how == OTHER and conflict == "replace" and not old.has_started():
            how = REPLACED
            old.digest = digest
            if old.group is not None:
                old.group.numbered[old.place] = old.id, params
                verdict.keys[name] = (*verdict.keys[name][:-1], digest)
            else:
                verdict.replacements[old.id] = params, digest, old.id
        verdict.others.append([id - verdict.first, old.id, how])


def _judge_cached(
    verdict: Verdict,
    group: _Group,
    tasks: Any,
    named: dict[Name | Print, _Named],
    owner: str,
    since: float,
    cleared: int,
) -> None:
    for id, params in tasks:
        print = owner, group.type, digest_of(params)
        old = named.get(print)
        # Of a task that has completed `until` says when.
        if old is None or old.id <= cleared or not old.holds(since):
            named[print] = _Named(id, 0.0, print[2], 0, 0)
            group.numbered.append((id, params))
            verdict.cached.append((id, *print))
        else:
            verdict.others.append([id - verdict.first, old.id, SAME])
            verdict.hits[group.type] += 1


def holds_key(state: int, until: float, wall: float) -> bool:
    """Whether a task in this state, whose key was given until then, has it still."""
    return state not in FINAL or (state == COMPLETED and until > wall)


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


def _until(unique_for: Any, wall: float) -> float:
    return 0.0 if unique_for is None else _KEPT if unique_for == "kept" else wall + unique_for
