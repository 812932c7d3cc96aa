-- The tables of a pool's database, schema version 3. Applied as one transaction to an empty file.
-- Instants are seconds since the epoch (UTC); states are the codes of `transport/messages.py`; blobs named options,
-- detail, params and result are msgpack.

create table meta(                      -- epoch, last_id, last_finish, clean
    key   text primary key,
    value integer not null
) without rowid;

create table lane(
    lane         integer primary key,
    type         text not null,
    tenant       text not null,
    requirements text not null
);

create table session(                   -- of clients
    session integer primary key,
    token   blob not null unique,
    name    text not null,
    seen_at real not null,
    below   integer not null,             -- submissions under it are acknowledged and forgotten
    identity text not null default ''     -- the public key of whoever opened it, and whose tasks are those it sent
);

create table submission(                -- what a repeated SUBMIT is answered from
    session    integer not null,
    submission integer not null,
    first      integer not null,
    count      integer not null,
    checksum   integer not null,
    others     blob,                      -- msgpack [[position, id, how], ...]: those that stand for older tasks
    primary key (session, submission)
) without rowid;

create table host(                      -- one row per host session
    owner     integer primary key,
    token     blob not null,
    name      text not null,
    machine   text not null,
    joined_at real not null,
    left_at   real,
    state     text not null,
    identity  text not null default ''  -- the public key of whoever opened it
);

-- One row per task, with its latest attempt. The first nineteen columns are `rows.COLUMNS`, in that order.
create table task(
    id         integer primary key,
    lane       integer not null,
    priority   integer not null,
    place      integer not null,
    state      integer not null,
    session    integer not null,
    fence      integer not null,
    attempt    integer not null,
    failures   integer not null,
    crashes    integer not null,
    losses     integer not null,
    releases   integer not null,
    sent_at    real    not null,
    due        real,
    relative   integer not null,
    owner      integer not null,
    started_at real,
    options    blob,
    params     blob    not null,
    finish     integer,
    ended_at   real,
    slot       integer,
    result     blob,
    detail     blob
);

-- Partial, so that a task stands in one of them at a time and ten million completed ones cost the queue nothing.
create index ready    on task(lane, priority desc, place) where state = 2;
create index agenda   on task(relative, due, id)          where state = 1;
create index running  on task(id)                         where state = 3;
create index finished on task(session, finish)            where finish is not null;
create index ended    on task(state, id)                  where state >= 5;

create table attempt(                   -- ended attempts that were not a task's last word
    id         integer not null,
    attempt    integer not null,
    fence      integer not null,
    owner      integer not null,
    slot       integer,
    started_at real,
    ended_at   real,
    outcome    text not null,
    detail     blob,
    primary key (id, attempt, fence)
) without rowid;

create table code(                      -- which code of a type, or of `type.*`, a host session served, and since when
    owner       integer not null,
    type        text    not null,
    since       real    not null,
    fingerprint text    not null,
    primary key (owner, type, since)
) without rowid;

create table checkpoint(                -- the latest of unfinished tasks that saved one, for their next attempts
    id    integer primary key,
    fence integer not null,               -- the lease under which it was saved
    body  blob    not null
);

create table tag(
    tag text not null,
    id  integer not null,
    primary key (tag, id)
) without rowid;

create table tally(                     -- counts are kept, never counted
    lane  integer not null,
    state integer not null,
    count integer not null,
    primary key (lane, state)
) without rowid;

create table pause(                     -- nodes that are stopped
    type   text primary key,
    until  real,                          -- null: until a person lets it go on
    reason text not null default ''
) without rowid;

create table rate(                      -- grants within the windows of rates; see rates.RateRow
    type   text    not null,
    place  integer not null,
    number integer not null,
    first  real    not null,
    last   real    not null,
    wall   real    not null,
    grants integer not null,
    boot   integer not null,
    primary key (type, place)
) without rowid;

create table quota(
    type  text primary key,
    start real    not null,               -- of the present period
    used  integer not null
) without rowid;

create table identity(                  -- the keys of those who may connect from other machines
    public     text primary key,
    role       text not null,
    name       text not null,
    serve      text not null,             -- types with commas between; empty: all
    added_at   real not null,
    expires    real,
    revoked_at real
) without rowid;

create table share(                     -- what sessions of known clients have unfinished
    session  integer primary key,
    identity text    not null,
    count    integer not null
);

create table audit(                     -- who joined, was refused, or ordered what
    number   integer primary key,
    at       real not null,
    identity text not null,               -- a public key; empty: none was proved
    name     text not null,
    event    text not null,
    detail   blob not null
);

create table invitation(
    public  text primary key,
    role    text not null,
    serve   text not null,
    uses    integer not null,
    expires real not null,
    valid   real                        -- for how many seconds those who use it are known; null: for good
) without rowid;

create table flow(                      -- tasks that were handed in as one
    flow        integer primary key,      -- the id of its first task
    name        text    not null,
    session     integer not null,
    sent_at     real    not null,
    total       integer not null,
    stage       integer not null,         -- 0: parts of it are missing yet, 1: whole, 2: given up before it was whole
    completed   integer not null,
    failed      integer not null,
    cancelled   integer not null,
    quarantined integer not null,
    ended_at    real
);
create index unfinished on flow(flow) where ended_at is null;

create table flow_part(                 -- which ids a flow's tasks have: `count` from `first` on, its tasks from `start` on
    flow  integer not null,
    start integer not null,
    first integer not null,
    count integer not null,
    primary key (flow, start)
) without rowid;
create index part on flow_part(first);

create table edge(                      -- a task comes after another, or, below 0, after its flow is whole
    after  integer not null,
    task   integer not null,
    policy integer not null,              -- if that one ends badly: 0 cancel, 1 run, 2 wait
    met    integer not null,
    primary key (after, task)
) without rowid;
create index waits on edge(task, met);

create table key(                       -- a sender's names for tasks: each is that of its latest task, see intake
    id     integer primary key,
    owner  text not null,                 -- the identity whose name it is; '' where nothing is proved
    type   text not null,
    key    text not null,
    until  real not null,                 -- a completed task still has it; 0: only while it is unfinished
    digest blob not null                  -- of the params
);
create unique index key_name on key(key, type, owner);

create table cached(                    -- tasks whose results answer for others with the same params, see intake
    id     integer primary key,
    owner  text not null,
    type   text not null,
    digest blob not null                  -- of the params
);
create unique index cached_print on cached(owner, type, digest);
create index cached_age on cached(type, id);

create table schedule(                  -- what the pool sends by itself, see firings
    name   text primary key,
    source text    not null,              -- who says so: config or client
    plan   blob    not null,
    last   real    not null,              -- the instant up to which it has been seen to
    paused integer not null,
    task   integer not null,              -- the latest it sent; 0: none
    ran    blob                           -- msgpack [token, request, task] of the latest order to run it
) without rowid;
