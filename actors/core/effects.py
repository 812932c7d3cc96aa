"""What the supervisor's core asks for. The order of a turn's effects is the order in which they are done.

A turn: `Persist` and needs (`Refill`, `Agenda`, `Fetch`, `Resume`, `Replay` ...) are done as they come, inside one
transaction; the rows that a need reads are fed back with `Pool.feed`, whose effects follow. Then the transaction is
committed, and only then the others (`Send`, `Answer`, `Backup`, `Reread`, `Note`) are performed: an acknowledgement
means that it is on disk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ...transport.messages import Message
from .flows.edges import EdgeNeed


@dataclass(slots=True)
class Persist:
    """Everything that one step changed, as lists of rows for the store, applied in the order of `stores.writing`.

    Attributes:
        shifts: Seconds by which the wall clock jumped: added to `due` of every scheduled row that is relative. First:
            the due times of this step are told by the new time.
        lanes: New lanes (lane, type, tenant, requirements).
        sessions: Client sessions (session, token, name, seen_at, below, identity), inserted or replaced.
        hosts: Host sessions (owner, token, name, machine, joined_at, left_at or None, state text, identity), inserted
            or replaced.
        code: Which code of a type a host session serves (owner, type, since, fingerprint), inserted or replaced.
        tasks: New tasks, in the order of `rows.COLUMNS`, options as dict or None.
        tags: (tag, id) of new tasks.
        checkpoints: The latest of tasks under a lease (body, id, fence), inserted or replaced.
        adoptions: Leases that their first host still holds after a rescue (owner, id, fence): running again, same
            attempt.
        edits: Queued and scheduled tasks that stand elsewhere now (lane, priority, id, fence).
        uncached: Ids of tasks whose results answer for no others any more: they are run as another type.
        returns: Back to queued or scheduled (state, place, due, relative, attempt, failures, crashes, losses, releases,
            owner, id, fence).
        finishes: Ends (state, finish, ended_at, started_at, slot, body, detail, failures, crashes, id, fence).
        setbacks: Losses and releases of ended tasks, where there were any (losses, releases, id, fence).
        cleared: Ids of ended tasks whose checkpoints go.
        retries: Final tasks queued again by hand (new fence, id): counters zero; owner, finish and result cleared.
        options: Options of tasks that are others from now on (options as dict or None, id, fence).
        claims: Grants (fence, attempt, owner, started_at, id). After `returns` and `retries`: what a step gives back it
            may grant.
        attempts: Ended attempts that were not the task's last word (id, attempt, fence, owner, slot, started_at,
            ended_at, outcome text, detail).
        edges: A task comes after another (after, task, policy); see `edges`.
        met: Edges that hold their tasks back no longer (after, task).
        freed: Tasks of which no edge does.
        waits: Tasks queued by this step's `retries` that wait for others again.
        flows: (flow, name, session, sent_at, total, stage, completed, failed, cancelled, quarantined, ended_at or
            None), inserted or replaced.
        flow_parts: Which ids a flow's tasks have (flow, start, first, count).
        keys: Names of new tasks (id, owner, type, key, until, digest of params); an older one of the same name goes.
        cached: New tasks whose results answer for others (id, owner, type, digest of params); an older one goes.
        bounds: (type, count): of a type's tasks whose results answer for others only so many do, the latest.
        replacements: Params of tasks that have not started, in the place of the first (params, digest, id).
        submissions: (session, submission, first id, count, checksum, others as [[position, id, how], ...] or None).
        forgotten: (session, below): submissions below that number are not repeated any more.
        tallies: Absolute counts (lane, state, count).
        pauses: (type, paused, until or None, reason): a node is stopped, or goes on.
        forgotten_rates: Nodes of which no rate counts anything any more, before what is in `rates`.
        rates: Grants of a node within its rate's window (type, place, then as `rates.RateRow`), inserted or replaced.
        quotas: (type, start of the period, units used), inserted or replaced.
        identities: Known keys (public key, role, name, serve, added_at, expires, revoked_at), inserted or replaced.
        invitations: (public key, role, serve, uses, expires, valid), inserted or replaced; without uses: gone.
        forgotten_identities: Keys that are good for nothing and not known any more.
        shares: What sessions of known clients have unfinished (session, public key, count), inserted or replaced;
            without a count: gone.
        audit: Who did what (number, at, public key, name, event, more as a dict).
        audit_from: Rows of `audit` with lower numbers are forgotten; 0: none are.
        schedules: (name, source, plan as a dict, last, paused, task, latest order to run it or None), inserted or
            replaced; see `firings`.
        forgotten_schedules: Their names.
        meta: Absolute values of `last_id`, `last_finish`.
        prunes: Ended tasks that are forgotten with all that is kept of them (id, finish).
        forgotten_sessions: Sessions of clients that are forgotten, with their submissions.
        forgotten_hosts: Sessions of hosts that are forgotten (owner).
        forgotten_lanes: Lanes of which no task is left (lane). Before `lanes`: one may be made anew in the same step.
    """

    shifts: list[float] = field(default_factory=list)
    lanes: list[tuple[int, str, str, str]] = field(default_factory=list)
    sessions: list[tuple[int, bytes, str, float, int, str]] = field(default_factory=list)
    hosts: list[tuple[Any, ...]] = field(default_factory=list)
    code: list[tuple[int, str, float, str]] = field(default_factory=list)
    tasks: list[tuple[Any, ...]] = field(default_factory=list)
    tags: list[tuple[str, int]] = field(default_factory=list)
    checkpoints: list[tuple[bytes, int, int]] = field(default_factory=list)
    adoptions: list[tuple[int, int, int]] = field(default_factory=list)
    edits: list[tuple[int, int, int, int]] = field(default_factory=list)
    uncached: list[int] = field(default_factory=list)
    returns: list[tuple[Any, ...]] = field(default_factory=list)
    finishes: list[tuple[Any, ...]] = field(default_factory=list)
    setbacks: list[tuple[int, int, int, int]] = field(default_factory=list)
    cleared: list[int] = field(default_factory=list)
    retries: list[tuple[int, int]] = field(default_factory=list)
    options: list[tuple[dict[str, Any] | None, int, int]] = field(default_factory=list)
    claims: list[tuple[int, int, int, float, int]] = field(default_factory=list)
    attempts: list[tuple[Any, ...]] = field(default_factory=list)
    edges: list[tuple[int, int, int]] = field(default_factory=list)
    met: list[tuple[int, int]] = field(default_factory=list)
    freed: list[int] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    flows: list[tuple[Any, ...]] = field(default_factory=list)
    flow_parts: list[tuple[int, int, int, int]] = field(default_factory=list)
    keys: list[tuple[int, str, str, str, float, bytes]] = field(default_factory=list)
    cached: list[tuple[int, str, str, bytes]] = field(default_factory=list)
    bounds: list[tuple[str, int]] = field(default_factory=list)
    replacements: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    submissions: list[tuple[Any, ...]] = field(default_factory=list)
    forgotten: list[tuple[int, int]] = field(default_factory=list)
    tallies: list[tuple[int, int, int]] = field(default_factory=list)
    pauses: list[tuple[str, bool, float | None, str]] = field(default_factory=list)
    forgotten_rates: list[str] = field(default_factory=list)
    rates: list[tuple[Any, ...]] = field(default_factory=list)
    quotas: list[tuple[str, float, int]] = field(default_factory=list)
    identities: list[tuple[Any, ...]] = field(default_factory=list)
    invitations: list[tuple[Any, ...]] = field(default_factory=list)
    meta: dict[str, int] = field(default_factory=dict)
    prunes: list[tuple[int, int]] = field(default_factory=list)
    forgotten_sessions: list[int] = field(default_factory=list)
    forgotten_hosts: list[int] = field(default_factory=list)
    forgotten_lanes: list[int] = field(default_factory=list)
    forgotten_identities: list[str] = field(default_factory=list)
    shares: list[tuple[int, str, int]] = field(default_factory=list)
    audit: list[tuple[int, float, str, str, str, dict[str, Any]]] = field(default_factory=list)
    audit_from: int = 0
    schedules: list[tuple[Any, ...]] = field(default_factory=list)
    forgotten_schedules: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Refill:
    """Need: the next `count` queued rows of a lane after (priority, place), in order. Feeds back `Row` columns."""

    lane: int
    after: tuple[int, int] | None
    count: int


@dataclass(frozen=True, slots=True)
class Agenda:
    """Need: the next `count` scheduled rows after (due, id), by (due, id), of one kind of due time. Feeds back `Row`
    columns.
    """

    relative: bool
    after: tuple[float, int] | None
    count: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """Need: the rows of these ids, in whatever state (missing ones are left out). Feeds back `Row` columns.

    `purpose` and `context` are the core's own note of why it asked. With `owner` only rows that this identity sent.
    """

    ids: tuple[int, ...]
    purpose: str
    context: Any = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Consult:
    """Need: what must be known before something can be decided whole. Feeds back (asked, until, digest, columns) for
    each that is there; `asked` is an item of `keys`, `cached` or `ids`, the rest as the store has it (for what is
    cached when it ended, if it has, and b""; for an id 0.0 and b""). The columns are those of `Row` for what is asked
    by id, and (id, state, attempt) for the others.

    `purpose` and `context` are the core's own note of why it asked. With `owner` only ids that this identity sent.

    Attributes:
        keys: Names of tasks (owner, type, key).
        ids: Tasks by their numbers.
        cached: Tasks that answer for others (owner, type, digest of params).
        bearers: Tasks by their numbers and keys, for the task that has the key now, itself or a newer one. `asked` is
            (id, owner, type, key) then.
    """

    keys: tuple[tuple[str, str, str], ...]
    ids: tuple[int, ...]
    purpose: str
    context: Any = None
    owner: str | None = None
    cached: tuple[tuple[str, str, bytes], ...] = ()
    bearers: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Resume:
    """Need: what is known of a client session: [(session, below, [(submission, first, count,
    checksum, others), ...], identity)].
    """

    peer: bytes
    token: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Replay:
    """Need: ends of a session's tasks after a finish number, in order, at most `count`, and no more once
    their results together exceed `size` bytes: (id, finish, state, body,
        detail dict or None).

    `detail` carries `attempts` and `host` beside what was stored.
    """

    session: int
    after: int
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Ends:
    """Need: the ends of these tasks, for a client that asked by id; rows as for `Replay`, by `finish`.

    Once the results together exceed `size` bytes no more are read: they will be asked for again.
    """

    peer: bytes
    ids: tuple[int, ...]
    size: int


DEPENDENTS_READ: Final = 64
"""Of what comes after an ended task so many are looked at, those of the lowest ids: a pass must not read millions."""


@dataclass(frozen=True, slots=True)
class EndedAfter:
    """Need: ended tasks after (session, finish), in that order: (session, finish, id, lane, state, ended_at, bytes of
    params and result, whether it is needed).

    It is while a task that has not completed comes after it, or more than `DEPENDENTS_READ` do: of these some are
    forgotten first.
    """

    session: int
    finish: int
    count: int


@dataclass(frozen=True, slots=True)
class SeenAfter:
    """Need: sessions after a number, in order.

    Attributes:
        kind: `session`, of a client: (number, wall time of the last word, whether it is needed), which it is while
            there are tasks that it alone says whose they are; or `host`: (number, when it left, or None).
        number: After this one.
        count: At most so many.
    """

    kind: str
    number: int
    count: int


@dataclass(frozen=True, slots=True)
class Senders:
    """Need: whose these sessions of clients are: (session, identity); those that are not kept are left out."""

    sessions: tuple[int, ...]
    context: Any = None


@dataclass(frozen=True, slots=True)
class Where:
    """Which tasks are meant: those that are all of this. What is None says nothing.

    Attributes:
        ids: Only of these.
        states: In one of these; empty: in any.
        type: Of this type itself.
        tag: With this tag.
        tenant: Of this tenant.
        flow: Of the flow of this number.
        error: Whose last error has this text in it, however it is capitalised.
        sent_before: Sent before this instant.
        owner: Sent by this identity.
        key: Of each type the latest that was sent with it.
    """

    ids: tuple[int, ...] | None = None
    states: tuple[int, ...] = ()
    type: str | None = None
    tag: str | None = None
    tenant: str | None = None
    flow: int | None = None
    error: str | None = None
    sent_before: float | None = None
    owner: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Matching:
    """Need: tasks that are meant, with ids below `before`, the newest first: at most `count`, and of a bounded number
    that are looked at. Feeds one item: ([`Row` columns, ...], the id to go on before, or None at the end).

    `purpose` and `context` are the core's own note of why it asked.
    """

    where: Where
    before: int | None
    count: int
    purpose: str
    context: Any = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class EndsOf:
    """Need: of these tasks those that have ended, by id from the highest on: (session, finish, id, lane, state, bytes
    of params and result, ids of at most `needed_by` tasks that come after it and have not completed; None when those
    above it have `edges` that come after them, completed or not: all of them are read).
    """

    ids: tuple[int, ...]
    needed_by: int
    edges: int
    context: Any = None


MeantNeed = Matching | EndsOf
Need = (
    Refill | Agenda | Fetch | Consult | Resume | SeenAfter | Senders | Replay | Ends | EndedAfter | MeantNeed | EdgeNeed
)


@dataclass(frozen=True, slots=True)
class Params:
    """Before the commit: put the stored params of `ids`, and the checkpoints of `resumed`, into the TASKS of this turn
    that carry None for them. Params with a table in `spliced` get results put into them; see `splices`.
    """

    ids: tuple[int, ...]
    resumed: tuple[int, ...] = ()
    spliced: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Send:
    """After the commit: send a message, with its number in the peer's session."""

    peer: bytes
    number: int
    message: Message


@dataclass(frozen=True, slots=True)
class Answer:
    """After the commit: read from the store what QUERY `what` asks for, merge `live` (what only memory knows, by id)
    and send a REPLY.
    """

    peer: bytes
    number: int
    request: int
    what: str
    arguments: dict[str, Any]
    live: dict[int, dict[str, Any]]
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Backup:
    """After the commit: begin to copy the database into a file; `Pool.backed_up` is told how that ended."""

    path: str


@dataclass(frozen=True, slots=True)
class Reread:
    """After the commit: read the configuration again; `Pool.reread` is told what it says."""


@dataclass(frozen=True, slots=True)
class Note:
    """After the commit: one line for the log; `event` is a constant name."""

    level: str
    event: str
    fields: dict[str, Any] = field(default_factory=dict)


Effect = Persist | Need | Params | Send | Answer | Backup | Reread | Note
