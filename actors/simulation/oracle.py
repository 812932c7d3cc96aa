"""What must be true of every history: a model of the store, fed with each commit, that knows the guarantees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from ...config.policy import PolicyTree, Retry
from ...config.resources import resources
from ...transport.messages import Outcome
from ..core.effects import Persist
from ..core.pool import Pool
from ..core.rows import CANCELLED, COMPLETED, FAILED, FINAL, QUEUED, RUNNING, SCHEDULED, WAITING
from ..core.tasks.endings import LOSSES_ALONE, RELEASE_LIMIT
from .due_times import Moment
from .history import LATER, History, Known
from .order import Order
from .promises import Promises, instants_missed
from .side_by_side import SideBySide

_COUNTED: Final = {
    "exception": "failures",
    "timeout": "failures",
    "result_too_large": "failures",
    "crash": "crashes",
    "host lost": "losses",
}
"""Which counter an ended attempt raises, by its outcome."""


class Violation(AssertionError):
    """A guarantee was broken."""


class Oracle:
    """Checks every commit as it is made.

    Attributes:
        history: What the commits have told.
        executed: (id, fence) of every attempt that began on some host.
        highest_fence: Of every grant in every history, those included that a restore or a power cut undid.
        rewound: Whether a restore or a power cut has undone anything.
        lost: Tasks that such a thing undid although they may have been acknowledged.
        side_by_side: What counts of what runs in fact.
        watches: Whether it knows of the commits, so that what is said can be compared with them.
        policies: What nodes set now.
    """

    watches: ClassVar[bool] = True

    def __init__(self, policies: PolicyTree, costs: Mapping[str, int], ageing: float = 0.0) -> None:
        self.policies = policies
        self._promises = Promises(policies, costs)
        self._order = Order(ageing, self._promises)
        self.side_by_side = SideBySide(policies)
        self.history = History()
        self.executed: set[tuple[int, int]] = set()
        self.highest_fence = 0
        self.lost: set[int] = set()
        self.rewound = False
        self._never_again: set[int] = set()
        self._resumes: dict[tuple[int, int], tuple[bytes | None, ...]] = {}  # grant -> checkpoints that it may bring
        self._core: Pool | None = None
        self._counted: set[tuple[int, int]] = set()  # grants that failed or crashed, as this core has told

    def tuned(self, policies: PolicyTree) -> None:
        """Nodes set something else from now on: the supervisor has begun, or has read its configuration again."""
        self.policies = policies
        self._promises.tuned(policies)

    @property
    def tasks(self) -> dict[int, Known]:
        """All tasks ever stored."""
        return self.history.tasks

    def remember(self) -> History:
        """Something to come back to."""
        return self.history.copied()

    def rewind(self, history: History) -> None:
        """The store was put back to what it was then."""
        self.rewound = True
        self._promises.forget()
        self.lost |= (self.tasks.keys() | self.history.pruned) - history.tasks.keys() - history.pruned
        self.history = history.copied()

    def restored(self, history: History, void: int) -> None:
        """The store was replaced by a copy of then: nothing runs, the fence of what was granted is `void`, no number is
        given again.
        """
        self._never_again |= (self.tasks.keys() | self.history.pruned) - history.tasks.keys()
        self.rewind(history)
        for id, known in self.tasks.items():
            if known.state not in FINAL:
                known.fence, known.owner = void if known.fence else 0, 0
            if known.state == RUNNING:
                self.history.move(id, QUEUED)

    def began(self, id: int, fence: int, checkpoint: bytes | None) -> None:
        """A host began an attempt, with this checkpoint.

        Raises:
            Violation: It is not the latest that was recorded when the task was granted.
        """
        self.executed.add((id, fence))
        recorded = self._resumes.get((id, fence), (None,))
        _must(checkpoint in recorded, f"task {id} goes on from {checkpoint}, recorded was {recorded}")

    # Commits.

    def committed(self, turn: list[Persist], pool: Pool | None, now: float, own: float, wall: float) -> None:
        """A turn is on disk.

        Args:
            turn: What it wrote.
            pool: The core that decided it.
            now: The world's time.
            own: The supervisor's.
            wall: Its wall clock.

        Raises:
            Violation: It broke a guarantee.
        """
        if pool is not self._core:  # who was served when, and what was told, is remembered by a core alone
            self._core, self._counted = pool, set()
            self._order.restarted()
        moment = Moment(now, own, wall)
        self.side_by_side.committed(turn)
        for persist in turn:
            history = self.history
            history.lanes.update((lane, type) for lane, type, *_ in persist.lanes)
            history.tenants.update((lane, tenant) for lane, _, tenant, _ in persist.lanes)
            history.needs.update((lane, self._needs(type, text)) for lane, type, _, text in persist.lanes)
            history.sessions.update((session, token) for session, token, *_ in persist.sessions)
            self._inserted(persist)
            wrong = history.names.committed(persist, history.sessions, self._how_it_stands, wall)
            _must(wrong is None, str(wrong))
            self._saved(persist)
            self._adopted(persist)
            self._edited(persist)
            wrong = history.due_times.committed(persist, self._how_it_stands, self._failing, moment)
            _must(wrong is None, str(wrong))
            self._returned(persist)
            self._finished(persist, wall)
            self._cleared(persist)
            self._retried(persist, wall)
            wrong = history.dependents.committed(persist, {id: known.state for id, known in self.tasks.items()})
            _must(wrong is None, str(wrong))
            history.pauses.committed(persist)
            self._claimed(persist, pool, moment)
            wrong = instants_missed(persist, history.schedules, history.lanes, wall)
            _must(wrong is None, str(wrong))
            broken = self._promises.committed(persist, self._lane_of, own)
            _must(broken is None, str(broken))
            self._check_limits(persist)
            self._pruned(persist)
        if pool is not None:
            self._order.turn_ended(pool)

    def _inserted(self, persist: Persist) -> None:
        for row in persist.tasks:
            id, lane, priority, place, state, session = row[:6]
            _must(id not in self.tasks, f"task {id} was stored twice")
            _must(id not in self.history.pruned, f"task {id} has the number of one that was forgotten")
            _must(id not in self._never_again, f"task {id} has the number of one that was lost")
            options: dict[str, Any] = row[17] or {}
            policy = self.policies.effective(self.history.lanes[lane])
            failures_max = options.get("max_attempts") or policy.retry.max_attempts
            expires = options.get("expires")
            self.tasks[id] = Known(lane, priority, place, -1, session, failures_max, row[12], expires)
            self.history.move(id, state)

    def _saved(self, persist: Persist) -> None:
        """A simulated attempt saves its own fence."""
        for body, id, fence in persist.checkpoints:
            known = self.tasks[id]
            _must(known.state == RUNNING, f"task {id} has a checkpoint in state {known.state}")
            _must(known.fence == fence, f"task {id} has a checkpoint of fence {fence}, stored is {known.fence}")
            _must(body == b"%d" % fence, f"task {id} has the checkpoint of another attempt under fence {fence}")
            self.history.checkpoints[id] = body

    def _cleared(self, persist: Persist) -> None:
        for id in persist.cleared:
            _must(self.tasks[id].state in FINAL, f"task {id} lost its checkpoint before its end")
            del self.history.checkpoints[id]
            if (grant := (id, self.tasks[id].fence)) in self._resumes:  # cancelled, maybe in the turn of its grant
                self._resumes[grant] += (None,)
        for finish in persist.finishes:
            _must(finish[9] not in self.history.checkpoints, f"task {finish[9]} ended and kept its checkpoint")

    def _adopted(self, persist: Persist) -> None:
        for owner, id, fence in persist.adoptions:
            known = self.tasks[id]
            _must(known.state == QUEUED, f"task {id} was adopted in state {known.state}")
            _must(known.fence == fence, f"task {id} was adopted with fence {fence}, stored is {known.fence}")
            _must((id, fence) in self.history.grants, f"task {id} was adopted with a fence of another history")
            known.owner = owner
            self.history.move(id, RUNNING)

    def _edited(self, persist: Persist) -> None:
        for lane, priority, id, fence in persist.edits:
            known = self.tasks[id]
            _must(known.state in (QUEUED, SCHEDULED), f"task {id} was edited in state {known.state}")
            _must(known.fence == fence, f"task {id} was edited with fence {fence}, stored is {known.fence}")
            state = known.state
            self.history.move(id, -1)
            known.lane, known.priority = lane, priority
            self.history.move(id, state)

    def _returned(self, persist: Persist) -> None:
        ended: dict[int, list[str]] = {}
        for id, _attempt, fence, _owner, _slot, _started, _ended, outcome, detail in persist.attempts:
            counter = _COUNTED.get(outcome, "")
            if outcome == "released" and detail and detail.get("reason") == LATER:
                counter = "releases"
            ended.setdefault(id, []).append(counter)
            if counter in ("failures", "crashes"):
                _must((id, fence) not in self._counted, f"task {id} has two ends of one grant among its {counter}")
                self._counted.add((id, fence))
        for state, place, _due, _relative, attempt, *counts, _owner, id, fence in persist.returns:
            failures, crashes, losses, releases = counts
            known = self.tasks[id]
            _must(known.state not in FINAL, f"task {id} came back from its end")
            _must(known.fence == fence, f"task {id} came back with fence {fence}, stored is {known.fence}")
            counted = ended.pop(id, [])  # it may come back twice in a step: scheduled, and due at once
            for name, count in zip(("failures", "crashes", "losses", "releases"), counts, strict=True):
                expected = getattr(known, name) + counted.count(name)
                _must(count == expected, f"task {id} came back with {count} {name}, it had {expected}")
            _must(attempt in (known.attempt, known.attempt - 1), f"task {id} came back as attempt {attempt}")
            known.place, known.attempt = place, attempt
            known.failures, known.crashes, known.losses, known.releases = failures, crashes, losses, releases
            self._check_bounds(id, known)
            self.history.move(id, state)

    def _finished(self, persist: Persist, wall: float) -> None:
        for state, finish, _at, _started, _slot, body, detail, failures, crashes, id, fence in persist.finishes:
            known = self.tasks[id]
            _must(known.state not in FINAL, f"task {id} ended twice in one run-through")
            _must(known.fence == fence, f"task {id} ended with fence {fence}, stored is {known.fence}")
            _must(finish > self.history.last_finish, f"finish {finish} follows {self.history.last_finish}")
            self.history.last_finish = finish
            more = (failures - known.failures, crashes - known.crashes)
            _must(more in ((0, 0), (1, 0), (0, 1)), f"task {id} ended with {failures} failures and {crashes} crashes")
            if state == FAILED and detail and detail.get("cause") == "expired":
                _must(known.attempt == 0, f"task {id} had begun and ended as expired")
                _must(known.is_too_late(wall), f"task {id} ended as expired before its time")
            if state == COMPLETED:
                _must(more == (0, 0), f"task {id} completed and counted something")
                _must((id, fence) in self.executed, f"task {id} completed under fence {fence} and never ran so")
                _must(body == b"%d" % fence, f"task {id} completed with the result of another attempt")
            if state == CANCELLED and known.state == RUNNING:
                self._order.cancelled(id, known)
            known.failures, known.crashes = failures, crashes
            self._check_bounds(id, known)
            known.ends += 1
            known.outcomes += ((finish, state, body),)
            _must(known.ends == known.runs, f"task {id} ended {known.ends} times in {known.runs} run-throughs")
            self.history.move(id, state)
        for losses, releases, id, _fence in persist.setbacks:
            known = self.tasks[id]
            more = (losses - known.losses, releases - known.releases)
            _must(more in ((0, 0), (1, 0), (0, 1)), f"task {id} ended with {losses} losses and {releases} releases")

    def _retried(self, persist: Persist, wall: float) -> None:
        for fence, id in persist.retries:
            known = self.tasks[id]
            _must(known.state in FINAL, f"task {id} was run again before its end")
            self._check_fence(id, fence)
            known.fence = fence
            known.failures = known.crashes = known.losses = known.releases = 0
            known.runs += 1
            self.history.move(id, QUEUED)
        for options, id, fence in persist.options:
            known = self.tasks[id]
            _must(known.fence == fence, f"task {id} has other options with fence {fence}, stored is {known.fence}")
            _must(known.is_too_late(wall), f"task {id} has other options, which nobody ordered")
            known.expires = (options or {}).get("expires")
        for _, id in persist.retries:
            _must(not self.tasks[id].is_too_late(wall), f"task {id} was run again, only to expire")
        for id in persist.waits:
            _must(self.tasks[id].state == QUEUED, f"task {id} waits again in state {self.tasks[id].state}")
            self.history.move(id, WAITING)

    def _claimed(self, persist: Persist, pool: Pool | None, moment: Moment) -> None:
        now, _, wall = moment
        if pool is not None and persist.claims:
            self._order.step_begins(self.history, self.policies, pool, moment)
        for fence, attempt, owner, _at, id in persist.claims:
            known = self.tasks[id]
            _must(known.state == QUEUED, f"task {id} was granted in state {known.state}")
            self._check_fence(id, fence)
            _must(not known.is_too_late(wall), f"task {id} was granted after it had expired")
            stopped = self.history.pauses.stopping(self.history.nodes_of(known.lane), wall)
            _must(stopped is None, f"task {id} was granted, {stopped} is paused")
            _must(attempt == known.attempt + 1, f"task {id} was granted as attempt {attempt} after {known.attempt}")
            known.fence, known.attempt, known.owner = fence, attempt, owner
            self.history.move(id, RUNNING)
            self.history.grants[id, fence] = (known.runs, now)
            self._resumes[id, fence] = (self.history.checkpoints.get(id),)
            if pool is not None:
                overtaken = self._order.granted(id, known)
                _must(overtaken is None, str(overtaken))
                self._check_stock(owner, pool)

    def _pruned(self, persist: Persist) -> None:
        for id, _finish in persist.prunes:
            known = self.tasks[id]
            _must(known.state in FINAL, f"task {id} was forgotten in state {known.state}")
            self.history.pruned.add(id)
            del self.tasks[id]

    def _check_fence(self, id: int, fence: int) -> None:
        """A fence is never given twice, not even when the store was put back in time."""
        _must(fence > self.highest_fence, f"task {id} was given fence {fence} after {self.highest_fence}")
        self.highest_fence = fence

    def _check_bounds(self, id: int, known: Known) -> None:
        limit = self.policies.effective(self.history.lanes[known.lane]).crash_limit
        _must(known.failures <= known.failures_max, f"task {id} failed {known.failures} times")
        _must(known.crashes <= limit, f"task {id} crashed {known.crashes} times")
        _must(known.losses <= LOSSES_ALONE, f"task {id} lost {known.losses} hosts")
        _must(known.releases < RELEASE_LIMIT, f"task {id} was released {known.releases} times")

    def _check_stock(self, owner: int, pool: Pool) -> None:
        """No host is given tasks that together need more than it offers."""
        offered = pool.hosts.by_owner[owner].offer.counts()
        for name, count in self.used(owner).items():
            _must(count <= offered.get(name, 0), f"host {owner} has tasks for {name}={count} and offers {offered}")

    def used(self, owner: int) -> Counter[str]:
        """What the tasks that run on a host, by the commits, need of it."""
        used: Counter[str] = Counter()
        for lane, ids in self.history.running.items():
            if needs := self.history.needs[lane]:
                for id in ids:
                    used.update(needs if self.tasks[id].owner == owner else {})
        return used

    def needs(self, id: int) -> dict[str, int]:
        """What a task uses up of its host."""
        known = self.tasks.get(id)
        return {} if known is None else self.history.needs[known.lane]

    def _needs(self, type: str, requirements: str) -> dict[str, int]:
        both = {**self.policies.effective(type).requires, **resources(requirements)}
        return {name: value for name, value in both.items() if isinstance(value, int)}

    def _lane_of(self, id: int) -> tuple[str, tuple[str, ...]]:
        lane = self.tasks[id].lane
        return self.history.lanes[lane], self.history.nodes_of(lane)

    def _check_limits(self, persist: Persist) -> None:
        """Where something began, no more runs than may: a limit that was lowered waits for what runs to end."""
        begun = {id for *_, id in persist.claims} | {id for _, id, _ in persist.adoptions}
        grown = {node for id in begun for node in self.history.nodes_of(self.tasks[id].lane)}
        held: Counter[str] = Counter()
        on_host: Counter[tuple[str, int]] = Counter()
        for lane, ids in self.history.running.items() if grown else ():
            nodes = grown.intersection(self.history.nodes_of(lane))
            held.update({node: len(ids) for node in nodes})
            on_host.update((node, self.tasks[id].owner) for id in ids for node in nodes)
        for node, count in held.items():
            limit = self.policies.limits(node).max_concurrent
            _must(limit is None or count <= limit, f"{count} tasks of {node} run, {limit} may")
        for (node, owner), count in on_host.items():
            each = self.policies.limits(node).per_host
            _must(each is None or count <= each, f"{count} tasks of {node} run on host {owner}, {each} may")

    def turned(self, now: float, own: float, wall: float) -> None:
        """A turn has looked at what time has brought; see `committed`.

        Raises:
            Violation: It has left something where it was.
        """
        late = self.history.due_times.looked_at(Moment(now, own, wall))
        _must(late is None, str(late))

    # Words.

    def acknowledged(self, token: bytes, first: int, count: int, others: list[list[int]]) -> None:
        """The supervisor tells a client that tasks are stored; `others` stand for some that were there before.

        Raises:
            Violation: They are not.
        """
        stood_for = {first + position: id for position, id, _ in others}
        for id in stood_for.values():
            _must(id in self.tasks or id in self.history.pruned, f"task {id} answers for others and is not stored")
        for id in range(first, first + count):
            if id in stood_for:
                continue
            known = self.tasks.get(id)
            _must(known is not None or id in self.history.pruned, f"task {id} was acknowledged and is not stored")
            if known is not None:
                told = self.history.sessions.get(known.session)
                _must(told == token, f"task {id} was acknowledged to a client that did not send it")

    def rejected(self, token: bytes, submission: int, wall: float) -> None:
        """The supervisor tells a client that a key is in use.

        Raises:
            Violation: It is not, or nobody wanted to know.
        """
        wrong = self.history.names.rejected(token, submission, self._how_it_stands, wall)
        _must(wrong is None, str(wrong))

    def recorded(self, items: list[Any], stale: list[Any]) -> None:
        """A host is told that what these results report is stored, but for the stale ones.

        Raises:
            Violation: It is not.
        """
        refused = {(id, fence) for id, fence in stale}
        for id, fence, outcome, *_ in items:
            if outcome != Outcome.COMPLETED or (id, fence) in refused or id in self.history.pruned:
                continue
            known = self.tasks.get(id)
            _must(
                known is not None and (known.fence > fence or known.state in (COMPLETED, CANCELLED)),
                f"task {id}: a completion under fence {fence} is said to be recorded and is not",
            )

    # Questions.

    def held(self) -> Iterator[tuple[int, int, float | None]]:
        """What runs: each task, the host session that holds it, and how long its host may go on alone."""
        for lane, ids in self.history.running.items():
            cut_off = self.policies.effective(self.history.lanes[lane]).cut_off if ids else None
            yield from ((id, self.tasks[id].owner, cut_off) for id in ids)

    def stuck(self) -> list[int]:
        """Tasks that wait for a person."""
        return sorted(self.history.dependents.stuck({id: known.state for id, known in self.tasks.items()}))

    def doubled(self) -> str | None:
        """Which key two unfinished tasks have, if one has."""
        return self.history.names.doubled(self.unfinished())

    def _failing(self, id: int) -> tuple[Retry, int]:
        """How failures of a task are tried again, and how many there were."""
        known = self.tasks[id]
        return self.policies.effective(self.history.lanes[known.lane]).retry, known.failures

    def _how_it_stands(self, id: int) -> tuple[int, int] | None:
        known = self.tasks.get(id)
        return None if known is None else (known.state, known.attempt)

    def miscounted(self) -> str | None:
        """Which flow does not know how its tasks ended, if one does not."""
        return self.history.dependents.miscounted({id: known.state for id, known in self.tasks.items()})

    def unfinished(self) -> list[int]:
        """Tasks that have not ended."""
        return [id for id, known in self.tasks.items() if known.state not in FINAL]

    def kinds(self) -> dict[str, int]:
        """How many tasks are where, for people."""
        names = {QUEUED: "queued", RUNNING: "running", SCHEDULED: "scheduled", COMPLETED: "completed", FAILED: "failed"}
        found: dict[str, int] = {}
        for known in self.tasks.values():
            name = names.get(known.state, "other")
            found[name] = found.get(name, 0) + 1
        return found


def _must(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Violation(otherwise)
