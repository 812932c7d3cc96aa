"""The SQL of the SQLite store. States stand as numbers, because partial indexes serve literals only:
1 scheduled, 2 queued, 3 running, 4 and above final, 5 and above ended badly.
"""

from __future__ import annotations

from typing import Final

from ...transport.messages import STATES
from ..core.effects import DEPENDENTS_READ
from ..core.rows import COLUMNS, PARAMS_IN_MEMORY
from .views import FIRST_MAX, LATEST_MAX

# --- writes; `writing` has their order

INSERT_LANE: Final = "insert into lane values (?, ?, ?, ?)"
PUT_SESSION: Final = "insert or replace into session values (?, ?, ?, ?, ?, ?)"
PUT_HOST: Final = "insert or replace into host values (?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_TASK: Final = f"insert into task({', '.join(COLUMNS)}) values ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - constants only
INSERT_FRESH_TASK: Final = """insert into task(id, lane, priority, place, session, sent_at, params,
    state, fence, attempt, failures, crashes, losses, releases, relative, owner)
    values (?, ?, ?, ?, ?, ?, ?, 2, 0, 0, 0, 0, 0, 0, 0, 0)"""
INSERT_TAG: Final = "insert into tag values (?, ?)"
CLAIM: Final = """update task set state = 3, fence = ?, attempt = ?, owner = ?, started_at = ?
    where id = ? and state = 2"""
CLAIM_STRETCH: Final = """update task not indexed set state = 3, fence = id + ?, attempt = ?, owner = ?, started_at = ?
    where id between ? and ? and state = 2"""
PUT_CHECKPOINT: Final = """insert or replace into checkpoint(body, id, fence)
    select ?, id, fence from task where id = ? and fence = ? and state = 3"""
CLEAR_CHECKPOINT: Final = "delete from checkpoint where id = ?"
ADOPT: Final = "update task set state = 3, owner = ? where id = ? and fence = ? and state = 2"
RETURN: Final = """update task set state = ?, place = ?, due = ?, relative = ?, attempt = ?, failures = ?, crashes = ?,
    losses = ?, releases = ?, owner = ? where id = ? and fence = ? and state < 4"""
FINISH: Final = """update task set state = ?, finish = ?, ended_at = ?, started_at = ?, slot = ?,
    result = nullif(?, x''), detail = ?, failures = ?, crashes = ? where id = ? and fence = ? and state < 4"""
COMPLETE: Final = """update task set state = 4, finish = ?, ended_at = ?, started_at = ?, slot = ?,
    result = nullif(?, x''), detail = null, failures = 0, crashes = 0 where id = ? and fence = ? and state < 4"""
COUNT_SETBACKS: Final = "update task set losses = ?, releases = ? where id = ? and fence = ? and state >= 4"
KEEP_LAST_ATTEMPT: Final = f"""insert or replace into attempt
    select id, attempt, fence, owner, slot, started_at, ended_at,
        case state {" ".join(f"when {code} then '{state}'" for code, state in enumerate(STATES))} end, detail
    from task where id = ? and state >= 4 and started_at is not null and not exists (select 1 from attempt as own
        where own.id = task.id and own.attempt = task.attempt and own.fence = task.fence and own.outcome = 'cancelled')"""  # noqa: S608, E501 - constants only
EDIT: Final = "update task set lane = ?, priority = ? where id = ? and fence = ? and state in (1, 2)"
RETRY: Final = """update task set state = 2, fence = ?, failures = 0, crashes = 0, losses = 0, releases = 0, owner = 0,
    started_at = null, finish = null, ended_at = null, slot = null, result = null, detail = null
    where id = ? and state >= 4"""
SET_OPTIONS: Final = "update task set options = ? where id = ? and fence = ? and state < 4"
PUT_ATTEMPT: Final = "insert or replace into attempt values (?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_SUBMISSION: Final = "insert into submission values (?, ?, ?, ?, ?, ?)"
FORGET_SUBMISSIONS: Final = "delete from submission where session = ? and submission < ?"
SHIFT: Final = "update task set due = due + ? where state = 1 and relative = 1"
PUT_TALLY: Final = "insert or replace into tally values (?, ?, ?)"
PAUSE: Final = "insert or replace into pause(type, until, reason) values (?, ?, ?)"
RESUME: Final = "delete from pause where type = ?"
FORGET_RATE: Final = "delete from rate where type = ?"
PUT_RATE: Final = "insert or replace into rate values (?, ?, ?, ?, ?, ?, ?, ?)"
PUT_QUOTA: Final = "insert or replace into quota values (?, ?, ?)"
TAGS_OF: Final = "select options from task where id = ? and options is not null"
UNTAG: Final = "delete from tag where tag = ? and id = ?"
PRUNE_ATTEMPTS: Final = "delete from attempt where id = ?"
PRUNE: Final = "delete from task where id = ? and finish = ? and state >= 4"
FORGET_SESSION: Final = "delete from session where session = ?"
PUT_CODE: Final = "insert or replace into code values (?, ?, ?, ?)"
FORGET_CODE: Final = "delete from code where owner = ?"
FORGET_LANE: Final = "delete from lane where lane = ?"
FORGET_TALLIES: Final = "delete from tally where lane = ?"
FORGET_HOST: Final = "delete from host where owner = ?"
PUT_IDENTITY: Final = "insert or replace into identity values (?, ?, ?, ?, ?, ?, ?)"
PUT_INVITATION: Final = "insert or replace into invitation values (?, ?, ?, ?, ?, ?)"
DROP_SPENT_INVITATIONS: Final = "delete from invitation where uses <= 0"
PUT_META: Final = "insert or replace into meta values (?, ?)"
PUT_LEAP: Final = "insert or replace into meta values ('leap ' || ?, ?)"
"""The last number of an end that was skipped, and how many were; see `Opening.leaps`."""

# --- what a supervisor goes on from

META: Final = "select key, value from meta where key not glob 'leap *'"
LEAPS: Final = "select cast(substr(key, 6) as integer), value from meta where key glob 'leap *' order by 1"
LANES: Final = "select lane, type, tenant, requirements from lane order by lane"
TALLIES: Final = "select lane, state, count from tally where count <> 0 order by lane, state"
LAST: Final = {
    "last_owner": "select coalesce(max(owner), 0) from host",
    "last_session": "select coalesce(max(session), 0) from session",
    "last_audit": "select coalesce(max(number), 0) from audit",
}
"""By name in `Opening.meta`."""
HOSTS: Final = """select owner, token, name, machine, joined_at, left_at, state, identity from host
    where owner in (select owner from host order by owner desc limit ?)
    or owner in (select owner from task where state = 3) order by owner"""
PAUSES: Final = "select type, until, reason from pause order by type"
RATES: Final = "select type, number, first, last, wall, grants, boot from rate order by type, place"
QUOTAS: Final = "select type, start, used from quota order by type"
CHECKPOINTS: Final = "select id from checkpoint order by id"
PUT_SHARE: Final = "insert or replace into share values (?, ?, ?)"
DROP_SHARE: Final = "delete from share where session = ?"
SHARES: Final = "select * from share order by session"
INSERT_AUDIT: Final = "insert into audit values (?, ?, ?, ?, ?, ?)"
FORGET_AUDIT: Final = "delete from audit where number < ?"
AUDIT: Final = "select * from audit where number < ? order by number desc limit ?"
FORGET_IDENTITY: Final = "delete from identity where public = ?"
IDENTITIES: Final = "select * from identity order by public"
INVITATIONS: Final = "select * from invitation order by public"

# --- needs

_ROW: Final = ", ".join(
    f"case when length(params) > {PARAMS_IN_MEMORY} then null else params end" if name == "params" else name
    for name in COLUMNS
)
READY: Final = f"select {_ROW} from task where state = 2 and lane = ?"  # noqa: S608 - constants only
AGENDA: Final = f"""select {_ROW} from task where state = 1 and relative = ? and (due, id) > (?, ?)
    order by due, id limit ?"""  # noqa: S608 - constants only
RUNNING_ROWS: Final = f"select {_ROW} from task where state = 3 order by id"  # noqa: S608 - constants only
ROW_OF: Final = f"select {_ROW} from task where id = ?"  # noqa: S608 - constants only
_OWNER: Final = "(select identity from session where session = task.session)"
OWN_ROW_OF: Final = f"select {_ROW} from task where id = ? and {_OWNER} = ?"  # noqa: S608 - constants only
PARAMS_OF: Final = "select params from task where id = ?"
CHECKPOINT_OF: Final = "select body from checkpoint where id = ?"
SESSION_OF: Final = "select session, below, identity from session where token = ?"
IDENTITY_OF: Final = "select identity from session where session = ?"
SUBMISSIONS_OF: Final = """select submission, first, count, checksum, others from submission where session = ?
    order by submission"""
ENDED_AFTER: Final = f"""select session, finish, id, lane, state, ended_at,
    length(params) + coalesce(length(result), 0),
    (select count(*) > {DEPENDENTS_READ} or coalesce(max(later.state <> 4), 0)
        from (select edge.task as number from edge where after = task.id order by number limit {DEPENDENTS_READ + 1})
        join task as later on later.id = number)
    from task where finish is not null and (session, finish) > (?, ?) order by session, finish limit ?"""  # noqa: S608 - constants only
END_COLUMNS_OF: Final = """select session, finish, id, lane, state, length(params) + coalesce(length(result), 0)
    from task where id = ? and finish is not null"""
OPTIONS_OF: Final = "select options from task where id = ?"
SEEN_AFTER: Final = {
    "session": """select session, seen_at, identity <> '' and (
            exists (select 1 from share where share.session = session.session)
            or exists (select 1 from task indexed by finished where task.session = session.session and finish > 0))
        from session where session > ? order by session limit ?""",
    "host": "select owner, left_at from host where owner > ? order by owner limit ?",
}
_END: Final = """select id, finish, task.state, result, detail, attempt, name
    from task left join host using (owner) where"""
ENDS_AFTER: Final = f"{_END} session = ? and finish > ? order by finish limit ?"
ENDS_OF: Final = f"{_END} finish is not null and id in"

# --- for people

# A worker that looks at tasks below its type itself stands under `type.*`. The nearest is meant: `*` sorts first.
_CODE: Final = """(select fingerprint from code where code.owner = {0}.owner and since <= {0}.started_at
    and (code.type = lane.type or code.type = substr(lane.type, 1, length(code.type) - 1) || '*')
    order by code.type desc, since desc limit 1)"""
FULL: Final = f"""select task.*, lane.type as type, lane.tenant as tenant, lane.requirements as requires,
    host.name as host, {_CODE.format("task")} as code from task
    join lane using (lane) left join host using (owner) where task.id = ?"""  # noqa: S608 - constants only
_ATTEMPTS: Final = "select id, attempt, fence from attempt where id = ?1 order by"
ATTEMPTS_OF: Final = f"""select attempt.attempt, attempt.fence, name, {_CODE.format("attempt")}, attempt.slot,
    attempt.started_at, attempt.ended_at, outcome, attempt.detail from (
        select * from ({_ATTEMPTS} attempt, fence limit {FIRST_MAX})
        union select * from ({_ATTEMPTS} attempt desc, fence desc limit {LATEST_MAX})) as meant
    cross join attempt using (id, attempt, fence) join task using (id)
    join lane using (lane) left join host on host.owner = attempt.owner"""  # noqa: S608 - constants only
