"""The store that survives nothing: for tests, and for embedded pools without a database.

Dicts, and for every order in which rows are read a sorted list. It does what the SQLite store does, blobs included, so
that the core meets the same rows; the contract tests run on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from typing import Any

from ...transport.messages import STATES
from ..core.effects import (
    Agenda,
    Consult,
    EndedAfter,
    Fetch,
    MeantNeed,
    Need,
    Persist,
    Refill,
    Replay,
    Resume,
    SeenAfter,
    Senders,
)
from ..core.flows.edges import EdgeNeed
from ..core.opening import Opening
from ..core.rows import FINAL, PARAMS_IN_MEMORY, QUEUED, RUNNING, SCHEDULED, WAITING
from .blobs import pack, unpack
from .contract import BackupEnded, StoreBroken, StoreDisagrees
from .flows_memory import MemoryFlowReads, MemoryFlows
from .identities_memory import MemoryIdentities
from .limits_memory import MemoryLimits
from .memory_line import MemoryLines
from .names_memory import MemoryNameReads, MemoryNames
from .order import Entry, Order, Orders
from .record import (
    ATTEMPT,
    CRASHES,
    DETAIL,
    DUE,
    ENDED_AT,
    FAILURES,
    FENCE,
    FINISH,
    ID,
    LANE,
    LOSSES,
    OPTIONS,
    OWNER,
    PARAMS,
    PLACE,
    PRIORITY,
    RELATIVE,
    RELEASES,
    RESULT,
    SENT_AT,
    SESSION,
    SLOT,
    STARTED_AT,
    STATE,
    Record,
)
from .schedules_memory import MemorySchedules
from .search_memory import MemorySearch
from .undo import Undoable
from .views import end_row


class MemoryStore(Undoable, MemoryNameReads, MemoryFlowReads, MemorySearch):
    """A pool's memory without a database. It keeps its tasks over `close` and `open`, as a file would."""

    durable = False

    def __init__(self, ageing: float = 0.0, epoch: int = 0) -> None:
        super().__init__()
        self._tasks: dict[int, Record] = {}
        self._attempts: dict[int, dict[tuple[int, int], tuple[Any, ...]]] = {}
        self._lanes: dict[int, tuple[int, str, str, str]] = {}
        self._sessions: dict[int, tuple[int, bytes, str, float, int, str]] = {}
        self._hosts: dict[int, tuple[Any, ...]] = {}
        self._code: dict[int, dict[tuple[str, float], str]] = {}  # owner -> (type, since) -> fingerprint
        self._submissions: dict[int, dict[int, tuple[Any, ...]]] = {}
        self._tallies: dict[tuple[int, int], int] = {}
        self._checkpoints: dict[int, tuple[int, bytes]] = {}
        self._identities = MemoryIdentities(self._put, self._drop)
        self._meta: dict[str, int] = {"epoch": epoch, "last_id": 0, "last_finish": 0}
        self._ready = MemoryLines(ageing)
        self._agenda = Orders()  # by kind of due time
        self._finished = Orders()  # by session
        self._tags = Orders()
        self._ids = Order()
        self._flows = MemoryFlows(self._put, self._drop, self._tasks, self._lanes)
        self._limits = MemoryLimits(self._put, self._drop)
        self._schedules = MemorySchedules(self._put, self._drop)
        self._names = MemoryNames(self._put, self._drop, self._tasks)

    def open(self, boot: int = 0) -> Opening:  # noqa: ARG002 - the protocol's signature
        """Start a new epoch. See `Store.open`."""
        self._meta["epoch"] += 1
        meta = {name: value for name, value in self._meta.items() if name != "epoch"}
        return Opening(
            epoch=self._meta["epoch"],
            meta=meta
            | {"last_owner": max(self._hosts, default=0), "last_session": max(self._sessions, default=0)}
            | {"last_audit": self._identities.last_audit()},
            lanes=[self._lanes[lane] for lane in sorted(self._lanes)],
            tallies=[(*key, count) for key, count in sorted(self._tallies.items()) if count],
            running=[_row(record) for _, record in sorted(self._tasks.items()) if record[STATE] == RUNNING],
            hosts=[self._hosts[owner] for owner in sorted(self._hosts)],
            pauses=self._limits.pauses(),
            rates=self._limits.rates(),
            quotas=self._limits.quotas(),
            checkpoints=sorted(self._checkpoints),
            identities=self._identities.known(),
            invitations=self._identities.invited(),
            shares=self._identities.shares(),
            flows=self._flows.unfinished(),
            schedules=self._schedules.known(),
        )

    def work(self, seconds: float) -> bool:  # noqa: ARG002 - the protocol's signature
        """Nothing goes on between turns."""
        return False

    def back_up(self, path: Path, told: Callable[[BackupEnded], None]) -> None:  # noqa: ARG002 - the same
        """Refuse: see `Store.back_up`."""
        raise StoreBroken(f"{path}: the queue is in memory, there is no database to copy")

    def copied(self) -> float | None:
        """No backup is ever made."""
        return None

    def close(self) -> None:
        """Undo an open turn; the rest stays."""
        self.rollback()

    # --- writing

    def apply(self, persist: Persist) -> None:
        """Write one step's changes. See `Store.apply`."""
        for seconds in persist.shifts:
            self._shift(seconds)
        for lane in persist.forgotten_lanes:
            self._drop(self._lanes, lane)
            for tally in self._tallies.keys() & {(lane, state) for state in range(len(STATES))}:
                self._drop(self._tallies, tally)
        for lane in persist.lanes:
            self._put_new(self._lanes, lane[0], lane)
        for session in persist.sessions:
            self._put(self._sessions, session[0], session)
        for host in persist.hosts:
            self._put(self._hosts, host[0], host)
        for owner, type, since, fingerprint in persist.code:
            self._put(self._code.setdefault(owner, {}), (type, since), fingerprint)
        for row in persist.tasks:
            self._insert(row)
        for tag, id in persist.tags:
            self._add(self._tags[tag], (id,))
        self._names.write(persist, self._give_params)
        self._save(persist)
        self._adopt(persist)
        self._edit(persist)
        self._return(persist)
        self._finish(persist)
        for id in persist.cleared:
            self._drop(self._checkpoints, id)
        self._retry(persist)
        for options, id, fence in persist.options:
            new = self._leased("options", id, fence).copy()
            new[OPTIONS] = pack(options)
            self._replace(self._tasks[id], new)
        self._wait(persist)
        self._claim(persist)
        for id, attempt, fence, *rest, detail in persist.attempts:
            self._put_attempt(id, attempt, fence, (*rest, pack(detail)))
        self._keep_submissions(persist)
        for lane, state, count in persist.tallies:
            self._put(self._tallies, (lane, state), count)
        self._limits.write(persist)
        self._identities.keep(persist)
        for name, value in persist.meta.items():
            self._put(self._meta, name, value)
        self._forget(persist)
        self._flows.write(persist)
        self._schedules.write(persist)

    def _insert(self, row: tuple[Any, ...]) -> None:
        record = [*row, None, None, None, None, None]
        record[OPTIONS] = pack(record[OPTIONS])
        self._put_new(self._tasks, record[ID], record)
        self._add(self._ids, (record[ID],))
        self._stand(record)

    def _claim(self, persist: Persist) -> None:
        for fence, attempt, owner, started_at, id in persist.claims:
            old = self._tasks.get(id)
            if old is None or old[STATE] != QUEUED:
                raise _disagrees("claim", id)
            new = old.copy()
            new[STATE], new[FENCE], new[ATTEMPT] = RUNNING, fence, attempt
            new[OWNER], new[STARTED_AT] = owner, started_at
            self._replace(old, new)

    def _save(self, persist: Persist) -> None:
        for body, id, fence in persist.checkpoints:
            if self._leased("checkpoint", id, fence)[STATE] != RUNNING:
                raise _disagrees("checkpoint", id)
            self._put(self._checkpoints, id, (fence, body))

    def _adopt(self, persist: Persist) -> None:
        for owner, id, fence in persist.adoptions:
            old = self._leased("adopt", id, fence)
            if old[STATE] != QUEUED:
                raise _disagrees("adopt", id)
            new = old.copy()
            new[STATE], new[OWNER] = RUNNING, owner
            self._replace(old, new)

    def _edit(self, persist: Persist) -> None:
        for lane, priority, id, fence in persist.edits:
            old = self._leased("edit", id, fence)
            if old[STATE] not in (SCHEDULED, QUEUED):
                raise _disagrees("edit", id)
            new = old.copy()
            new[LANE], new[PRIORITY] = lane, priority
            self._replace(old, new)

    def _return(self, persist: Persist) -> None:
        for state, place, due, relative, attempt, *counts, owner, id, fence in persist.returns:
            old = self._leased("return", id, fence)
            new = old.copy()
            new[STATE], new[PLACE], new[DUE], new[RELATIVE], new[ATTEMPT] = state, place, due, relative, attempt
            new[FAILURES], new[CRASHES], new[LOSSES], new[RELEASES], new[OWNER] = *counts, owner
            self._replace(old, new)

    def _finish(self, persist: Persist) -> None:
        for state, finish, ended_at, started_at, slot, body, detail, failures, crashes, id, fence in persist.finishes:
            old = self._leased("finish", id, fence)
            new = old.copy()
            new[STATE], new[FINISH], new[SLOT] = state, finish, slot
            new[STARTED_AT], new[ENDED_AT] = started_at, ended_at
            new[RESULT], new[DETAIL], new[FAILURES], new[CRASHES] = body or None, pack(detail), failures, crashes
            self._replace(old, new)
        for losses, releases, id, fence in persist.setbacks:
            old = self._tasks.get(id)
            if old is None or old[FENCE] != fence or old[STATE] not in FINAL:
                raise _disagrees("setbacks", id)
            new = old.copy()
            new[LOSSES], new[RELEASES] = losses, releases
            self._replace(old, new)

    def _retry(self, persist: Persist) -> None:
        for fence, id in persist.retries:
            old = self._tasks.get(id)
            if old is None or old[STATE] not in FINAL:
                raise _disagrees("retry", id)
            known = self._attempts.get(id, {}).get((old[ATTEMPT], old[FENCE]))
            if old[STARTED_AT] is not None and (known is None or known[4] != "cancelled"):
                last = (
                    old[OWNER],
                    old[SLOT],
                    old[STARTED_AT],
                    old[ENDED_AT],
                    str(STATES[int(old[STATE])]),
                    old[DETAIL],
                )
                self._put_attempt(id, old[ATTEMPT], old[FENCE], last)
            new = old.copy()
            new[STATE], new[FENCE] = QUEUED, fence
            new[FAILURES] = new[CRASHES] = new[LOSSES] = new[RELEASES] = new[OWNER] = 0
            new[STARTED_AT] = new[FINISH] = new[ENDED_AT] = new[SLOT] = new[RESULT] = new[DETAIL] = None
            self._replace(old, new)

    def _wait(self, persist: Persist) -> None:
        for id in persist.waits:
            new = self._tasks[id].copy()
            new[STATE] = WAITING
            self._replace(self._tasks[id], new)

    def _leased(self, what: str, id: int, fence: int) -> Record:
        record = self._tasks.get(id)
        if record is None or record[FENCE] != fence or record[STATE] in FINAL:
            raise _disagrees(what, id)
        return record

    def _put_attempt(self, id: int, attempt: int, fence: int, ended: tuple[Any, ...]) -> None:
        self._put(self._attempts.setdefault(id, {}), (attempt, fence), ended)

    def _keep_submissions(self, persist: Persist) -> None:
        for session, submission, *answer, others in persist.submissions:
            self._put_new(self._submissions.setdefault(session, {}), submission, (*answer, pack(others)))
        for session, below in persist.forgotten:
            known = self._submissions.get(session, {})
            for submission in [number for number in known if number < below]:
                self._drop(known, submission)

    def _forget(self, persist: Persist) -> None:
        for id, finish in persist.prunes:
            record = self._tasks.get(id)
            if record is None or record[FINISH] != finish:
                raise _disagrees("prune", id)
            options: dict[str, Any] = unpack(record[OPTIONS]) or {}
            for tag in dict.fromkeys(options.get("tags", ())):
                self._remove(self._tags[tag], (id,))
            if id in self._attempts:
                self._drop(self._attempts, id)
            self._remove(self._ids, (id,))
            self._remove(self._finished[record[SESSION]], (finish, id))
            self._drop(self._tasks, id)
        for session in persist.forgotten_sessions:
            if session in self._submissions:
                self._drop(self._submissions, session)
            self._drop(self._sessions, session)
        for owner in persist.forgotten_hosts:
            self._drop(self._hosts, owner)
            if owner in self._code:
                self._drop(self._code, owner)

    def _shift(self, seconds: float) -> None:
        for _, id in self._agenda.at(True).after(None, len(self._tasks)):
            old = self._tasks[id]
            new = old.copy()
            new[DUE] += seconds
            self._replace(old, new)

    def _replace(self, old: Record, new: Record) -> None:
        stood = self._standing(old)
        if stood is not None:
            self._remove(*stood)
        self._put(self._tasks, new[ID], new)
        self._stand(new)

    def _stand(self, record: Record) -> None:
        standing = self._standing(record)
        if standing is not None:
            self._add(*standing)

    def _standing(self, record: Record) -> tuple[Order, Entry] | None:
        """The one order that a task stands in, by its state."""
        state = record[STATE]
        if state == QUEUED:
            return self._ready.standing(record[LANE], record[PRIORITY], record[SENT_AT], record[PLACE], record[ID])
        if state == SCHEDULED:
            return self._agenda[record[RELATIVE]], (record[DUE], record[ID])
        if state in FINAL:
            return self._finished[record[SESSION]], (record[FINISH], record[ID])
        return None

    # --- reading

    def read(self, need: Need) -> list[Any]:
        """Rows for a need. See `Store.read` and each need."""
        if isinstance(need, EdgeNeed):
            return self._flows.read(need, self._columns)
        if isinstance(need, Consult):
            return self._names.read(need, self._columns, self._sent_by, self._sent_as)
        if isinstance(need, Refill):
            return [_row(self._tasks[id]) for id in self._ready.refill(need)]
        if isinstance(need, Agenda):
            return [_row(self._tasks[id]) for _, id in self._agenda.at(need.relative).after(need.after, need.count)]
        if isinstance(need, Fetch):
            return [
                _row(self._tasks[id])
                for id in need.ids
                if id in self._tasks and self._owns(self._tasks[id][SESSION], need.owner)
            ]
        if isinstance(need, Resume):
            return [
                (session, below, self._submissions_of(session), identity)
                for session, token, _, _, below, identity in self._sessions.values()
                if token == need.token
            ]
        if isinstance(need, Replay):
            order = self._finished.at(need.session).after((need.after, 2**63), need.count)
            return self._ends([id for _, id in order], need.size)
        if isinstance(need, EndedAfter):
            return list(islice(self._ended_after(need), need.count))
        if isinstance(need, SeenAfter):
            rows: dict[int, Any] = self._hosts if need.kind == "host" else self._sessions
            numbers = nsmallest(need.count, (number for number in rows if number > need.number))
            if need.kind == "host":
                return [(number, self._hosts[number][5]) for number in numbers]
            return [(number, self._sessions[number][3], self._needs(number)) for number in numbers]
        if isinstance(need, MeantNeed):
            return self._meant(need)
        if isinstance(need, Senders):
            return [(n, self._sessions[n][5]) for n in need.sessions if n in self._sessions]
        ended = sorted(id for id in set(need.ids) if id in self._tasks and self._tasks[id][FINISH] is not None)
        return sorted(self._ends(ended, need.size), key=lambda end: end[1])

    def _submissions_of(self, session: int) -> list[tuple[Any, ...]]:
        known = sorted(self._submissions.get(session, {}).items())
        return [(number, *answer, unpack(others)) for number, (*answer, others) in known]

    def _ended_after(self, need: EndedAfter) -> Iterator[tuple[Any, ...]]:
        for session in sorted(session for session in self._finished if session >= need.session):
            start = (need.finish, 2**63) if session == need.session else None
            for finish, id in self._finished[session].after(start, need.count):
                record = self._tasks[id]
                size = len(record[PARAMS]) + len(record[RESULT] or b"")
                needed = int(self._flows.is_needed(id))
                yield session, finish, id, record[LANE], record[STATE], record[ENDED_AT], size, needed

    def _ends(self, ids: Iterable[int], size: int) -> list[Any]:
        ends: list[Any] = []
        for id in ids:
            ends.append(self._end(self._tasks[id]))
            size -= len(ends[-1][3])
            if size <= 0:
                break
        return ends

    def _end(self, record: Record) -> Any:
        id, finish, state, result = record[ID], record[FINISH], record[STATE], record[RESULT]
        return end_row(id, finish, state, result, unpack(record[DETAIL]), record[ATTEMPT], self._host(record[OWNER]))

    def params(self, ids: Sequence[int]) -> dict[int, bytes]:
        """The params of tasks; ids that are not there are left out."""
        return {id: self._tasks[id][PARAMS] for id in ids if id in self._tasks}

    def checkpoints(self, ids: Sequence[int]) -> dict[int, bytes]:
        """The latest checkpoints of tasks; ids that have none are left out."""
        return {id: self._checkpoints[id][1] for id in ids if id in self._checkpoints}

    # --- for people

    def audit(self, limit: int, before: int) -> list[dict[str, Any]]:
        """The latest first. See `Store.audit`."""
        return self._identities.audit(limit, before)

    def _give_params(self, id: int, params: bytes) -> None:
        new = self._tasks[id].copy()
        new[PARAMS] = params
        if new[STATE] < RUNNING and not new[ATTEMPT]:
            self._put(self._tasks, id, new)

    def _sent_by(self, id: int, owner: str | None) -> bool:
        return self._owns(self._tasks[id][SESSION], owner)

    def _needs(self, session: int) -> bool:
        """Whether there are tasks of a client that is known by its session alone."""
        if not self._sessions[session][5]:
            return False
        return self._identities.has_share(session) or bool(self._finished.at(session).after((0, 0), 1))

    def _sent_as(self, id: int) -> tuple[str, str]:
        session = self._sessions.get(self._tasks[id][SESSION])
        return "" if session is None else session[5], self._lanes[self._tasks[id][LANE]][1]

    def _columns(self, id: int) -> tuple[Any, ...] | None:
        return _row(self._tasks[id]) if id in self._tasks else None


def _row(record: Record) -> tuple[Any, ...]:
    """A record as `COLUMNS` has it: options unpacked, large params left out."""
    params = record[PARAMS] if len(record[PARAMS]) <= PARAMS_IN_MEMORY else None
    return (*record[:OPTIONS], unpack(record[OPTIONS]), params)


def _disagrees(what: str, id: int) -> StoreDisagrees:
    return StoreDisagrees(f"task {id}: a {what} met another fence or state")
