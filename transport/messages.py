"""The whole wire protocol: every message, its fields, who sends it, what answers it. No logic.

On the wire a message is one msgpack array `[kind, number, *fields]`. `number` counts the messages of a session in
each direction from 1; HELLO, WELCOME and REFUSED, which open or refuse a session, carry 0. A receiver that sees a gap
ends the session; HELLO then reconciles. Unknown trailing fields are ignored and missing ones take their default, so a
field is only ever added at the end and with a default. A retired kind number is never used again.

Params and results travel as opaque bytes (themselves msgpack); the supervisor never decodes them.
Durations are seconds (float), instants are seconds since the epoch (float, UTC) unless a field says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, ClassVar, Final

PROTOCOL_VERSION: Final = 1
FRAME_BYTES_MAX: Final = 8 * 1024 * 1024
PARAMS_BYTES_MAX: Final = 1024 * 1024
RESULT_BYTES_MAX: Final = 4 * 1024 * 1024
TAILS_MAX: Final = 100
"""Tasks that one client may listen to."""
CHECKPOINT_BYTES_MAX: Final = 64 * 1024
POOLS_MAX: Final = 100
SLOTS_MAX: Final = 10_000
"""Slot pools of a host, and slots of each."""
DEFAULT_ADDRESS: Final = "tcp://127.0.0.1:7470"


class TaskState(StrEnum):
    """Where a task is. Its position in this list is its code on the wire and in the store."""

    WAITING = "waiting"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"


STATES: Final = tuple(TaskState)
"""Code -> state."""


class Outcome(IntEnum):
    """How one attempt ended, as its host reports it."""

    COMPLETED = 0  # `body` is the packed result
    FAILED = 1  # an exception, or success=False; `retry` or `kind` of `detail` says whether it may be tried again
    TIMEOUT = 2  # stopped by the host because it ran longer than its timeout
    CRASHED = 3  # its process died by itself (signal, exit code) or did not keep the protocol
    CANCELLED = 4  # stopped because the supervisor said so
    TOO_LARGE = 5  # the result is above RESULT_BYTES_MAX: permanent


class Returned(IntEnum):
    """Why a host gives a task back without counting a failure."""

    UNSTARTED = 0  # granted with the margin, and its slot was blocked
    DRAIN = 1  # the host leaves
    DECLINED = 2  # no worker there takes this task
    RELEASED = 3  # the worker raised Release
    NEIGHBOUR = 4  # its slot's process died under another task, or was replaced
    UNSERVED = 5  # no worker there is for its type, whatever the task


@dataclass(frozen=True, slots=True)
class Hello:
    """Any peer -> supervisor, first on every connection. Answered by WELCOME or REFUSED.

    `session` (16 random bytes) lives as long as the peer's process; a reconnecting peer says the same one.
    `offer` of a host: `slots` {pool: count} (pool "" is shared by all types), `types` [type, ...] with a typed worker,
    `any` bool (has workers without type), `serve` [type, ...] and `not` [type, ...] (subtrees; empty serve = all),
    `named` bool (the name was chosen by a person), `running` [[id, fence], ...], `finished` [[id, fence], ...] (results
    that follow at once), `greeting` (numbers the HELLOs of a session: one that is
    not the latest is ignored), `pid`, `machine`, `isolation`, `fingerprints` {type: text}, `failed` {type: why},
    `costs` {type: units of the quota that a task costs}, where it is not one, `resources` {name: count or label}.
    `reload` {number, changed {type: [fingerprint before, after]}, failed {what: why}} (the last one, if there was one),
    `accept` [module, ...] (whose classes it runs where TREE says so; `my.*`: all below `my`).
    `offer` of a client: `name`; of one that has sent some also `submitted` (the highest number of its
    submissions) and `away` (seconds since it last heard the supervisor): tells a forgotten session from a new one.
    """

    KIND: ClassVar[int] = 1
    role: str  # "host", "client", "observer", "admin"
    versions: list[int]  # [lowest, highest]
    session: bytes
    name: str = ""
    offer: dict[str, Any] = field(default_factory=dict)


_HELLO_BEGINS: Final = bytes([Hello.KIND, 0])


def is_hello(frame: bytes) -> bool:
    """Whether a frame is a HELLO, if it is a message at all: a short list of its kind, the number 0, and more."""
    return b"\x90" < frame[:1] < b"\xa0" and frame[1:3] == _HELLO_BEGINS


@dataclass(frozen=True, slots=True)
class Welcome:
    """Supervisor -> peer, answers HELLO. The peer's numbering starts anew.

    `settings` of a host: those of its entry in `hosts:` that its command line does not set. Of a client: `forgotten`
    true if its session was: what it repeats of it is refused; `durable` false if the queue is in memory: under another
    epoch it is another queue.
    """

    KIND: ClassVar[int] = 2
    version: int
    name: str
    epoch: int
    heartbeat: float
    lost_after: float
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """Supervisor -> peer. No session: say HELLO again if `code` is `unknown_session`, else `reason` tells a person why.

    `code`: `version`, `name_taken`, `forbidden`, `unknown_session`, `leaving`, `enrolled` (the key in `offer.enroll` of
    the HELLO is known from now on: connect with it), `quota`.
    """

    KIND: ClassVar[int] = 3
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Peer -> supervisor, every `heartbeat` seconds. Answered by ALIVE. `seen` is the last number received.

    `levels` of a host: {type: [state, note]} of its level actors that changed (starting, idle, busy, draining, failed).
    """

    KIND: ClassVar[int] = 4
    seen: int
    levels: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alive:
    """Supervisor -> peer, answers HEARTBEAT."""

    KIND: ClassVar[int] = 5
    seen: int


@dataclass(frozen=True, slots=True)
class Bye:
    """Either side: this session ends on purpose. A host's unfinished leases are queued again at once."""

    KIND: ClassVar[int] = 6
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """Host -> supervisor: how many tasks it can run at a time now, by slot pool. Absolute, not additional.

    What it holds counts against it, so a RESULTS frees what it reports. Sent after WELCOME and when it changes.
    `leaving`: it drains because its own process was told to end, which nobody can undo. `start_failed`: slot pools
    with slots whose process cannot be started, and why.
    """

    KIND: ClassVar[int] = 10
    capacity: dict[str, int]
    leaving: bool = False
    start_failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tasks:
    """Supervisor -> host: granted tasks, by type.

    `groups`: [[type, [task, ...]], ...]. A task is [id, fence, attempt, priority, sent_at, params, extra]; `extra` is
    None or a dict of what is rare: `failures`, `key`, `tags`, `timeout` (seconds, this task's own), `alone` (run it
    with no neighbour in its process), `checkpoint` (packed: what an earlier attempt saved).
    """

    KIND: ClassVar[int] = 11
    groups: list[Any]


@dataclass(frozen=True, slots=True)
class Results:
    """Host -> supervisor: ended attempts. Answered by RECORDED with this message's number; kept by the host until then.

    An item is [id, fence, outcome, body, duration, slot, detail]. `body`: packed result (COMPLETED) or b"". `detail` is
    None or a dict: `error_type`, `message`, `traceback`, `kind`, `retry` (bool), `after` (seconds), `node`,
    `exit_code`, `signal`, `memory` (peak bytes), `cause`, `output` (the last lines that the task wrote).
    """

    KIND: ClassVar[int] = 12
    items: list[Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Supervisor -> host: all of RESULTS `number` is on disk, but for `stale`, which changed nothing.

    `stale`: [[id, fence], ...].
    """

    KIND: ClassVar[int] = 13
    number: int
    stale: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Progress:
    """Host -> supervisor: latest progress. An item is [id, fence, fraction, note]. Not answered, never stored."""

    KIND: ClassVar[int] = 14
    items: list[Any]


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Host -> supervisor: GIVEBACK. An item is [id, fence, Returned code, after (seconds), note, started, detail]. Not
    answered; kept until an ALIVE has its number in `seen`.

    `started` tells whether the attempt had begun (then it is recorded as an attempt that was released). `detail` may be
    missing: what is known of an attempt that was stopped, as in RESULTS (`cause`, `signal`, `memory`, `output`).
    """

    KIND: ClassVar[int] = 15
    items: list[Any]


@dataclass(frozen=True, slots=True)
class Tree:
    """Supervisor -> host after WELCOME and on change: the nodes in use there, {type: policy}, parents included.

    A policy holds the effective values a host needs: `timeout` (seconds or None), `cut_off` (seconds, or "stop"),
    `no_progress_timeout` (seconds or None), `limits` {name: number}; to a host that accepts classes also what the node
    itself sets of `isolation` and `concurrency`, and its `class` if that is accepted: it holds until the node comes
    without it. The host spawns a level actor for each.
    """

    KIND: ClassVar[int] = 16
    nodes: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Drain:
    """Supervisor -> host: take nothing new, finish what is in hand, leave (`undo`: stay after all)."""

    KIND: ClassVar[int] = 17
    undo: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Supervisor -> host: CANCEL. Stop these attempts; each is confirmed in RESULTS or is already over.

    `items`: [[id, fence], ...].
    """

    KIND: ClassVar[int] = 18
    items: list[Any]


@dataclass(frozen=True, slots=True)
class Output:
    """Host -> supervisor: what tasks wrote that LISTEN names. An item is [id, fence, number, lines].

    `lines` are texts; `number` counts the lines of the attempt from 0 and is that of the first of `lines`: a gap tells
    what was lost. Not answered, never stored.
    """

    KIND: ClassVar[int] = 19
    items: list[Any]


@dataclass(frozen=True, slots=True)
class Reload:
    """Supervisor -> host: serve the code as it is on the disk now. Slots are replaced as they fall idle.

    `types` [type, ...]: those that are meant, and what lies below them; empty: all. The next HELLO tells under `reload`
    what became of it, with this `order`.
    """

    KIND: ClassVar[int] = 33
    order: int
    types: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Submit:
    """Client -> supervisor. Answered by ACCEPTED or REJECTED with the same `submission`, at once or when repeated.

    `submission` numbers this client session's submissions from 1; all below `below` are acknowledged and may be
    forgotten. `groups`: [[type, priority, options, [params, ...]], ...]; ids are given in this order without a hole.
    `options` is None or a dict: `delay` (seconds), `at`, `expires` (instants), `timeout` (seconds), `max_attempts`,
    `tags` [str, ...], `require_host` (bool), `tenant` (str), `requires` {name: int | str};
    `after` [id, ...] (tasks that must have ended first),
    `within` [place or [place, count], ...] (the same, of this flow, all of them before this group), `on_failure` (if
    one does not complete: `cancel`, `run` or `wait`), `results` [[offset, number], ...] (of a group of one task: the
    nil at this offset of its params is replaced by the result of the task with this number among those of `after`, then
    `within`).
    `flow` is empty, or says that these tasks are a flow or a part of one: `name`; `of` (the flow, which has the id of
    its first task; 0: a new one), `start` (how many tasks the earlier parts hold), `last` (bool, default true: the flow
    is whole; nothing of it runs before).
    `key` (text, or a list with that of each task of the group): the name of
    a task, unique per type (and per client identity) while it is unfinished, with `unique_for` (seconds from now, or
    "kept") also when it has completed; `on_conflict` says what a task with the same key becomes: "return" (default: it
    stands for the one that is there), "replace" (likewise, and its params become that one's, while that has not
    started), "refuse" (nothing of the SUBMIT is stored); `cache` (seconds): a task of the same type with the same
    params, sent with `cache` too, answers for it if it is unfinished or completed so long ago at most; 0: none does,
    and it answers for none.
    """

    KIND: ClassVar[int] = 20
    submission: int
    below: int
    groups: list[Any]
    flow: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Supervisor -> client: on disk, with the ids `first` to `first + count - 1`, but for the `others`.

    `others`: [[position, id, params], ...] of the tasks that stand for one that was there before, whose key is theirs:
    nothing was stored for them, and the numbers at their positions (from 0) stay unused. `params`: 0 they are those of
    that task; 1 they are not, and were not taken; 2 they are that task's from now on. The peer is told of these tasks
    as if WATCH had named them.
    """

    KIND: ClassVar[int] = 21
    submission: int
    first: int
    count: int
    others: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Supervisor -> client: nothing was stored.

    `code`: `invalid`, `too_large`, `no_host`, `queue_full`, `disk_full`, `conflict`, `forgotten`, `quota`, `forbidden`.
    `path` names the offending part, `retry_after` (seconds) is set where trying again may help.
    """

    KIND: ClassVar[int] = 22
    submission: int
    code: str
    reason: str
    path: str = ""
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Watch:
    """Client -> supervisor: push this session's final states after the `finish` number `after`, at most `credit` more.

    Sent after WELCOME and again as events are consumed (it moves the window on). `ids` adds tasks of any session,
    answered at once with their present state and pushed until they end.
    """

    KIND: ClassVar[int] = 23
    after: int
    credit: int
    ids: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Events:
    """Supervisor -> client, pushed.

    `finished`: [[id, finish, state code, body, detail], ...] in the order of `finish`; `body` is the packed result,
    `detail` None or a dict as in RESULTS plus `attempts`, `host`, `reason`. `progress`: [[id, fraction, note, at],
    ...]. `states`: [[id, state code], ...] of tasks that are not final (-1: unknown to the pool). `output`:
    [[id, attempt, number, lines, at], ...] of the tasks that TAIL names, else as in OUTPUT.
    """

    KIND: ClassVar[int] = 24
    finished: list[Any]
    progress: list[Any] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)
    output: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Cancel:
    """Client -> supervisor: end these tasks. Answered by REPLY {cancelled: [id, ...]} (those that were not final)."""

    KIND: ClassVar[int] = 25
    request: int
    ids: list[int]


@dataclass(frozen=True, slots=True)
class Query:
    """Client -> supervisor: read something. Answered by REPLY.

    `what`: `status`, `hosts`, `types`, `snapshot`, `show`, `why`, `audit`, `tasks`, `flows`, `flow`, `graph` or
    `schedules`. docs/protocol.md has the arguments and the value of each.
    """

    KIND: ClassVar[int] = 26
    request: int
    what: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Admin:
    """Client -> supervisor: change something. Answered by REPLY.

    `verb`: of tasks `cancel`, `retry`, `delete`, `edit`, `unblock`, `clear_cache`; of schedules `schedule`,
    `unschedule`, `pause_schedule`, `resume_schedule`, `run_schedule`; of the pool `pause`, `resume`, `drain`, `reload`,
    `reload_config`, `backup`; of identities `keys`, `trust`, `revoke`, `invite`. docs/protocol.md has the arguments and
    the value of each.
    """

    KIND: ClassVar[int] = 27
    request: int
    verb: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """Supervisor -> client, answers CANCEL, QUERY and ADMIN. Not ok: `value` is {code, reason}."""

    KIND: ClassVar[int] = 28
    request: int
    ok: bool
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Host -> supervisor: where tasks are, for their next attempts; the latest of each. An item is [id, fence, body].

    `body` is a packed value of at most CHECKPOINT_BYTES_MAX. Not answered. Said at most a few times a second per task,
    the last one before the RESULTS or GIVEBACK that ends its attempt, and all again in a new session.
    """

    KIND: ClassVar[int] = 30
    items: list[Any]


@dataclass(frozen=True, slots=True)
class Tail:
    """Client -> supervisor: push what these tasks write, in EVENTS, and of no others. Say it again after WELCOME.

    What is kept of the running attempts of those that were not named before comes at once; of all, if the same are
    named again.
    """

    KIND: ClassVar[int] = 31
    ids: list[int]


@dataclass(frozen=True, slots=True)
class Listen:
    """Supervisor -> host: say in OUTPUT what these attempts write, and no others. `items`: [[id, fence, anew], ...].

    What is kept of one that was not named before, or is asked for `anew` (bool), is said at once, even if there is
    nothing. A new session names none.
    """

    KIND: ClassVar[int] = 32
    items: list[Any]


@dataclass(frozen=True, slots=True)
class Reread:
    """Supervisor -> host: the supervisor's configuration has changed; read yours again, if you have one."""

    KIND: ClassVar[int] = 35


Message = (
    Hello | Welcome | Refused | Heartbeat | Alive | Bye
    | Claim | Tasks | Results | Recorded | Progress | GiveBack | Tree | Drain | Stop | Output
    | Submit | Accepted | Rejected | Watch | Events | Cancel | Query | Admin | Reply
    | Checkpoint | Tail | Listen | Reload | Reread
)  # fmt: skip

MESSAGES: Final[dict[int, type[Message]]] = {
    kind.KIND: kind
    for kind in (
        Hello, Welcome, Refused, Heartbeat, Alive, Bye,
        Claim, Tasks, Results, Recorded, Progress, GiveBack, Tree, Drain, Stop, Output,
        Submit, Accepted, Rejected, Watch, Events, Cancel, Query, Admin, Reply,
        Checkpoint, Tail, Listen, Reload, Reread,
    )
}  # fmt: skip
"""Kind number -> message. Retired numbers: none yet."""
