"""A guarded pool: who is heard, in which role, and what a revocation does to a connection that lives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from unit.pool_words import (  # pyright: ignore[reportMissingImports]
    CLIENT,
    COMPLETED,
    HOST,
    RUNNING,
    completed,
    ended,
    failed,
    granted,
    pass_time,
)

from workerhost.actors.core.access import identities
from workerhost.actors.core.access.identities import Identity, Invited, Proved
from workerhost.actors.core.effects import Resume
from workerhost.actors.core.step import Step
from workerhost.transport.messages import (
    Accepted,
    Admin,
    Cancel,
    Claim,
    Events,
    Hello,
    Query,
    Refused,
    Reply,
    Results,
    Submit,
    Tail,
    Watch,
    Welcome,
)

DAY = 86400.0
ADMIN_KEY, HOST_KEY, CLIENT_KEY, WATCHER_KEY, NEW_KEY, INVITE_KEY = (letter * 40 for letter in "AHCWNI")


@pytest.fixture
def pool(pool_with: Callable[..., Any]) -> Any:
    """A guarded pool that knows one key of each role, with nobody connected."""
    world = pool_with(guarded=True)
    step = Step(world.now, world.wall)
    for public, role in ((ADMIN_KEY, "admin"), (HOST_KEY, "host"), (CLIENT_KEY, "client"), (WATCHER_KEY, "observer")):
        world.pool.identities.trust(step, Identity(public, role, role))
    world._turn(step.effects())
    world.notes.clear()
    return world


def prove(pool: Any, peer: bytes, key: str) -> None:
    """A connection's handshake has proved a key."""
    pool._turn(pool.pool.handle([(peer, 0, Proved(key))], pool.now, pool.wall))


def greet(pool: Any, peer: bytes, key: str, role: str, **offer: Any) -> list[Any]:
    """A connection that proved this key says HELLO; what it is answered."""
    prove(pool, peer, key)
    return pool.say(peer, Hello(role, [1, 1], peer * 16, "name", offer)).get(peer, [])


@pytest.mark.parametrize(
    ("key", "role", "becomes"),
    [
        (ADMIN_KEY, "client", "admin"),
        (ADMIN_KEY, "admin", "admin"),
        (ADMIN_KEY, "observer", "observer"),
        (CLIENT_KEY, "observer", "client"),
        (CLIENT_KEY, "client", "client"),
        (WATCHER_KEY, "client", "observer"),
        (HOST_KEY, "host", "host"),
    ],
)
def test_the_role_is_the_identitys(pool: Any, key: str, role: str, becomes: str) -> None:
    [said, *_] = greet(pool, b"p", key, role, types=["a"], slots={"": 1})
    assert isinstance(said, Welcome)
    assert pool.pool.sessions.peers[b"p"].role == becomes


def test_an_admin_that_only_looks_is_heard_on_and_can_change_nothing(pool: Any) -> None:
    greet(pool, b"p", ADMIN_KEY, "observer")
    for request in (1, 2):
        [said] = pool.say(b"p", Query(request, "status", {})).get(b"p", [])
        assert (type(said), said.ok) == (Reply, True)
    [refused] = pool.say(b"p", Admin(3, "pause", {"type": "a"})).get(b"p", [])
    assert (refused.ok, refused.value["code"]) == (False, "forbidden")


def test_one_that_is_no_admin_any_more_does_not_go_on_looking(pool: Any) -> None:
    greet(pool, b"p", ADMIN_KEY, "observer")
    trusted(pool, Identity(ADMIN_KEY, "client"))
    [said] = pool.say(b"p", Query(1, "status", {}))[b"p"]
    assert said == Refused("unknown_session", "this identity may do something else by now")


@pytest.mark.parametrize(
    ("key", "role"), [(CLIENT_KEY, "host"), (CLIENT_KEY, "admin"), (HOST_KEY, "client"), (ADMIN_KEY, "host")]
)
def test_a_role_that_is_not_its_own_is_refused(pool: Any, key: str, role: str) -> None:
    [said] = greet(pool, b"p", key, role, types=["a"], slots={"": 1})
    assert isinstance(said, Refused)
    assert (said.code, "this identity is that of" in said.reason) == ("forbidden", True)
    assert pool.pool.sessions.peers == {}
    assert pool.notes == ["identity_refused"]


@pytest.mark.parametrize("key", ["", NEW_KEY])
def test_a_stranger_is_told_how_to_be_known(pool: Any, key: str) -> None:
    [said] = greet(pool, b"p", key, "client")
    reason = "this identity is not known here; ask for an invitation: workerhost invite"
    assert said == Refused("forbidden", reason)


def test_an_invitation_makes_one_key_known_for_each_use_and_survives_a_lost_answer(pool: Any) -> None:
    step = Step(pool.now, pool.wall)
    pool.pool.identities.invite(step, Invited(INVITE_KEY, "host", ("video",), 1, pool.wall + 60))
    pool._turn(step.effects())
    for _ in range(2):  # the answer is lost, so it asks again; but for that the invitation must not be spent by then
        said = greet(pool, b"p", INVITE_KEY, "host", enroll=NEW_KEY)
        if said[0].code != "enrolled":
            break
    assert pool.pool.identities.known[NEW_KEY].serve == ("video",)
    pool.start()
    assert pool.pool.identities.known[NEW_KEY].role == "host"
    assert not pool.pool.identities.admits(INVITE_KEY, pool.wall)
    assert pool.pool.identities.admits(NEW_KEY, pool.wall)


def test_an_expired_invitation_admits_nobody(pool: Any) -> None:
    step = Step(pool.now, pool.wall)
    pool.pool.identities.invite(step, Invited(INVITE_KEY, "client", (), 5, pool.wall + 60))
    assert pool.pool.identities.admits(INVITE_KEY, pool.wall + 59)
    assert not pool.pool.identities.admits(INVITE_KEY, pool.wall + 61)


def test_an_invitations_key_may_do_nothing_else(pool: Any) -> None:
    step = Step(pool.now, pool.wall)
    pool.pool.identities.invite(step, Invited(INVITE_KEY, "client", (), 5, pool.wall + 60))
    [said] = greet(pool, b"p", INVITE_KEY, "client")
    assert (type(said), "enroll" in said.reason) == (Refused, True)
    assert pool.say(b"p", Query(1, "status")) == {b"p": [Refused("unknown_session", "say HELLO first")]}


def test_a_revocation_acts_on_the_next_message(pool: Any) -> None:
    greet(pool, CLIENT, CLIENT_KEY, "client")
    assert pool.say(CLIENT, Submit(1, 1, [["a", 5, None, [b"x"]]])) == {CLIENT: [Accepted(1, 1, 1)]}
    step = Step(pool.now, pool.wall)
    assert pool.pool.identities.revoke(step, CLIENT_KEY)
    pool._turn(step.effects())
    reason = "this identity was revoked; ask for a new invitation: workerhost invite"
    assert pool.say(CLIENT, Submit(2, 1, [["a", 5, None, [b"x"]]])) == {CLIENT: [Refused("forbidden", reason)]}
    pool.start()
    assert not pool.pool.identities.admits(CLIENT_KEY, pool.wall)


@pytest.mark.parametrize(
    ("serve", "asks", "gets"),
    [
        ((), [], ["audio", "video.x"]),
        (("video",), [], ["video.x"]),
        (("video",), ["video.x", "audio"], ["video.x"]),
        (("video.x",), ["video"], ["video.x"]),
        (("text",), ["audio"], []),
    ],
)
def test_a_host_claims_no_more_than_its_subtrees(pool: Any, serve: tuple[str, ...], asks: list[str], gets: Any) -> None:
    step = Step(pool.now, pool.wall)
    pool.pool.identities.trust(step, Identity(NEW_KEY, "host", serve=serve))
    pool._turn(step.effects())
    greet(pool, CLIENT, CLIENT_KEY, "client")
    pool.send("video.x")
    pool.send("audio")
    prove(pool, HOST, NEW_KEY)
    said = pool.host(HOST, "video.x", "audio", "text", slots=4, serve=asks)
    names = {1: "video.x", 2: "audio"}
    assert sorted(names[id] for id, _, _ in granted(said)) == gets


def test_a_pool_that_is_not_guarded_asks_nobody(pool_with: Callable[..., Any]) -> None:
    world = pool_with()
    assert isinstance(world.say(b"p", Hello("admin", [1, 1], b"p" * 16, "name"))[b"p"][0], Welcome)


OTHER, OTHER_KEY = b"o", "O" * 40


@pytest.fixture
def two(pool: Any) -> Any:
    """Two clients, the first of which has sent task 1, and a host that runs it."""
    step = Step(pool.now, pool.wall)
    pool.pool.identities.trust(step, Identity(OTHER_KEY, "client"))
    pool._turn(step.effects())
    for peer, key in ((CLIENT, CLIENT_KEY), (OTHER, OTHER_KEY)):
        greet(pool, peer, key, "client")
        pool.say(peer, Watch(0, 100))
    pool.send()
    prove(pool, HOST, HOST_KEY)
    assert granted(pool.host())
    return pool


def test_what_others_sent_is_unknown_to_a_client(two: Any) -> None:
    unknown = Reply(1, False, {"code": "unknown", "reason": "the pool has no such task"})
    assert two.say(OTHER, Query(1, "show", {"id": 1})) == {OTHER: [unknown]}
    assert two.say(OTHER, Query(1, "why", {"id": 1})) == {OTHER: [unknown]}
    assert two.say(OTHER, Cancel(1, [1])) == {OTHER: [Reply(1, True, {"cancelled": []})]}
    assert two.say(OTHER, Admin(1, "retry", {"ids": [1]})) == {OTHER: [Reply(1, True, {"retried": []})]}
    assert two.say(OTHER, Watch(0, 100, [1])) == {OTHER: [Events([], [], [[1, -1]])]}
    assert two.say(OTHER, Tail([1])) == {}, "and its host is not told to listen"
    [hosts] = two.say(OTHER, Query(1, "hosts"))[OTHER]
    assert hosts.value["hosts"][0]["tasks"] == []
    assert two.state(1) == "running"


def test_a_key_of_another_client_leads_to_no_task_of_its(two: Any) -> None:
    named = Submit(2, 1, [["a", 5, {"key": "k"}, [b"x"]]])
    assert two.say(CLIENT, named)[CLIENT][0] == Accepted(2, 2, 1)
    assert two.say(OTHER, named)[OTHER][0] == Accepted(2, 3, 1)
    again = Submit(3, 1, [["a", 5, {"key": "k"}, [b"x"]]])
    assert two.say(OTHER, again)[OTHER][0] == Accepted(3, 4, 1, [[0, 3, 0]])
    assert two.say(OTHER, Cancel(1, [3, 2]))[OTHER][0] == Reply(1, True, {"cancelled": [3]})
    assert two.state(2) == "queued"
    # One that was retried has the name that its sender gave it, whoever asked for that.
    assert two.say(OTHER, Submit(4, 1, named.groups))[OTHER][0] == Accepted(4, 5, 1)
    assert two.say(OTHER, Admin(2, "retry", {"ids": [3]}))[OTHER] == [
        Reply(2, True, {"retried": [], "superseded": [[3, 5]]})
    ]


def test_what_somebody_sent_is_theirs_as_long_as_it_is_kept(two: Any) -> None:
    """Who comes back after weeks has another session; the old one says whose its tasks are."""
    keyed = Submit(2, 1, [["a", 5, {"key": "k"}, [b"x"]]])
    for peer, id in ((CLIENT, 2), (OTHER, 3)):
        assert two.say(peer, keyed)[peer][0] == Accepted(2, id, 1)
    for _ in range(3):
        [lease] = two.pool.queue.leases.values()
        two.say(HOST, Results([failed(lease.row.id, lease.row.fence, retry=False)]), Claim({"": 1}))
    assert two.state(3) == "failed"
    assert two.say(OTHER, Submit(3, 1, [["a", 5, {"delay": 20 * DAY}, [b"x"]]]))[OTHER][0] == Accepted(3, 4, 1)
    two.close(OTHER)
    two.say(CLIENT, Submit(3, 1, [["a", 5, {"key": "k"}, [b"y"]]]))

    pass_time(two, 15 * DAY, DAY / 8)
    prove(two, b"n", OTHER_KEY)
    two.say(b"n", Hello("client", [1, 1], b"n" * 16, "name"))
    assert two.say(b"n", Cancel(1, [4]))[b"n"] == [Reply(1, True, {"cancelled": [4]})]
    assert two.say(b"n", Admin(2, "retry", {"ids": [2, 3]}))[b"n"] == [Reply(2, True, {"retried": [3]})]

    pass_time(two, 20 * DAY, DAY / 8)
    assert _stored(two, OTHER) == 1, "task 3 waits"
    two.say(b"n", Cancel(3, [3]))
    pass_time(two, 40 * DAY, DAY / 8)
    assert _stored(two, OTHER) == 0, "nothing is kept of what it sent"


def _stored(pool: Any, peer: bytes) -> int:
    """How many sessions the store has with this peer's token."""
    return len(pool.store.read(Resume(peer, peer * 16, "name")))


def test_a_client_is_not_told_of_the_ends_of_others(two: Any) -> None:
    [lease] = two.pool.queue.leases.values()
    watch, report = Watch(0, 100, [1]), Results([completed(1, lease.row.fence)])
    batch = [
        (OTHER, two.numbers[OTHER] + 1, watch),
        (HOST, two.numbers[HOST] + 1, report),
    ]
    said = two._turn(two.pool.handle(batch, two.now, two.wall))
    assert ended(said, CLIENT) == [(1, COMPLETED)]
    assert ended(said, OTHER) == []


def test_a_client_sees_and_cancels_its_own(two: Any) -> None:
    assert list(two.say(CLIENT, Query(1, "why", {"id": 1}))) == [CLIENT]
    assert list(two.say(CLIENT, Tail([1]))) == [HOST], "its host is told to listen"
    assert Reply(2, True, {"cancelled": [1]}) in two.say(CLIENT, Cancel(2, [1]))[CLIENT]


@pytest.mark.parametrize(("key", "cancels"), [(ADMIN_KEY, True), (WATCHER_KEY, False)])
def test_an_admin_and_an_observer_see_all(two: Any, key: str, cancels: bool) -> None:
    greet(two, b"p", key, "client")
    assert two.say(b"p", Watch(0, 100, [1]))[b"p"] == [Events([], [], [[1, RUNNING]])]
    [said] = two.say(b"p", Cancel(2, [1]))[b"p"][:1]
    assert isinstance(said, (Reply, Events))
    assert two.state(1) == ("cancelled" if cancels else "running")


def test_a_session_belongs_to_the_identity_that_opened_it(two: Any) -> None:
    prove(two, b"thief", OTHER_KEY)
    [said] = two.say(b"thief", Hello("client", [1, 1], CLIENT * 16, "name"))[b"thief"]
    assert said == Refused("forbidden", "this session belongs to another identity")
    assert list(two.say(CLIENT, Query(1, "why", {"id": 1}))) == [CLIENT], "and its owner is not thrown out"
    two.start()
    prove(two, b"thief", OTHER_KEY)
    assert two.say(b"thief", Hello("client", [1, 1], CLIENT * 16, "name"))[b"thief"] == [said]


def trusted(pool: Any, identity: Identity) -> None:
    """An admin says what a key is from now on."""
    step = Step(pool.now, pool.wall)
    pool.pool.identities.trust(step, identity)
    pool._turn(step.effects())


@pytest.mark.parametrize(("role", "heard"), [("observer", False), ("client", True)])
def test_a_changed_role_acts_on_the_next_message(pool: Any, role: str, heard: bool) -> None:
    greet(pool, CLIENT, CLIENT_KEY, "client")
    trusted(pool, Identity(CLIENT_KEY, role))
    [said] = pool.say(CLIENT, Submit(1, 1, [["a", 5, None, [b"x"]]]))[CLIENT]
    changed = Refused("unknown_session", "this identity may do something else by now")
    assert said == (Accepted(1, 1, 1) if heard else changed)


def test_a_host_that_may_serve_less_says_hello_again(pool: Any) -> None:
    prove(pool, HOST, HOST_KEY)
    pool.host(HOST, "video", "audio", slots=2)
    trusted(pool, Identity(HOST_KEY, "host", serve=("video",)))
    [said] = pool.say(HOST, Query(1, "status"))[HOST]
    assert (type(said), said.code) == (Refused, "unknown_session")


def test_a_hosts_session_belongs_to_the_identity_that_opened_it(two: Any) -> None:
    trusted(two, Identity(NEW_KEY, "host"))
    offer: dict[str, Any] = {"types": ["a"], "slots": {"": 1}, "running": [], "finished": [], "greeting": 9}
    theft = Hello("host", [1, 1], HOST * 16, "thief", offer)
    prove(two, b"thief", NEW_KEY)
    refused = Refused("forbidden", "this session belongs to another identity")
    assert two.say(b"thief", theft) == {b"thief": [refused]}
    assert len(two.pool.queue.leases) == 1, "what it does not name is not queued again"
    [lease] = two.pool.queue.leases.values()
    assert ended(two.say(HOST, Results([completed(1, lease.row.fence)])), CLIENT) == [(1, COMPLETED)]
    two.start()
    prove(two, b"thief", NEW_KEY)
    assert two.say(b"thief", theft) == {b"thief": [refused]}, "a restart forgets nothing of it"
    prove(two, HOST, HOST_KEY)
    assert isinstance(two.say(HOST, Hello("host", [1, 1], HOST * 16, "h", offer))[HOST][0], Welcome)


def test_a_name_is_not_taken_from_a_host_of_another_identity(two: Any) -> None:
    trusted(two, Identity(NEW_KEY, "host"))
    two.close(HOST)
    prove(two, b"x", NEW_KEY)
    two.host(b"x", name=HOST.decode(), named=True)
    assert [host.state for host in two.pool.hosts.by_owner.values()] == ["suspect"], "its machine may come back"
    prove(two, b"y", HOST_KEY)
    two.host(b"y", name=HOST.decode(), named=True)
    assert [host.state for host in two.pool.hosts.by_owner.values()] == ["lost", "joined"]


def test_what_another_identity_ran_is_not_adopted_by_its_token(two: Any) -> None:
    trusted(two, Identity(NEW_KEY, "host"))
    [lease] = two.pool.queue.leases.values()
    fence = lease.row.fence
    two.close(HOST)
    two.silent.add(HOST)
    two.wait(10)
    assert two.state(1) == "queued"
    prove(two, b"x", NEW_KEY)
    two.host(b"x", session=HOST * 16, types=["b"], running=[[1, fence]])
    assert two.state(1) == "queued"
    two.silent.add(b"x")
    two.wait(10)
    prove(two, HOST, HOST_KEY)
    two.host(HOST, types=["b"], running=[[1, fence]])
    assert two.state(1) == "running"


@pytest.mark.parametrize("before", [True, False])
def test_a_host_stays_where_a_pool_gets_identities_or_loses_them(pool_with: Callable[..., Any], before: bool) -> None:
    world = pool_with(guarded=before)
    world.pool.identities.trust(step := Step(world.now, world.wall), Identity(HOST_KEY, "host"))
    world._turn(step.effects())
    prove(world, HOST, HOST_KEY) if before else None
    world.host()
    world.settings = replace(world.settings, guarded=not before)
    world.start()
    prove(world, HOST, HOST_KEY) if not before else None
    world.host(greeting=2)
    assert [host.state for host in world.pool.hosts.by_owner.values()] == ["joined"]


def test_identities_that_are_good_for_nothing_take_no_room(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "IDENTITIES_MAX", 5)
    keys = [f"{number:040}" for number in range(20)]
    trusted(pool, Identity(keys[0], "client"))
    with pytest.raises(ValueError, match="knows 5 identities already"):
        trusted(pool, Identity(keys[1], "client"))
    for key, later in pairwise(keys):
        pool.now += 1
        step = Step(pool.now, pool.wall)
        assert pool.pool.identities.revoke(step, key)
        pool.pool.identities.trust(step, Identity(later, "client"))
        pool._turn(step.effects())
    kept = set(pool.pool.identities.known)
    assert {ADMIN_KEY, HOST_KEY, CLIENT_KEY, WATCHER_KEY, keys[-1], keys[-2]} <= kept
    assert len(kept) == 10, "the first that were revoked are forgotten, and so unknown"
    assert not pool.pool.identities.admits(keys[0], pool.wall)
    pool.start()
    assert set(pool.pool.identities.known) == kept


def test_who_joins_by_an_invitation_may_be_known_for_a_time_only(pool: Any) -> None:
    greet(pool, b"a", ADMIN_KEY, "admin")
    order = {"key": INVITE_KEY, "role": "client", "seconds": 60, "valid": 3600}
    assert pool.say(b"a", Admin(1, "invite", order))[b"a"][0].ok
    greet(pool, b"p", INVITE_KEY, "client", enroll=NEW_KEY)
    pool.start()
    greet(pool, b"p", NEW_KEY, "client")
    pool.silent |= {b"a", b"p"}
    pool.now += 3599
    assert pool.pool.identities.admits(NEW_KEY, pool.wall)
    greet(pool, b"p", NEW_KEY, "client")
    pool.now += 1
    reason = "this identity has expired; ask for a new invitation: workerhost invite"
    assert pool.say(b"p", Query(1, "status")) == {b"p": [Refused("forbidden", reason)]}
    trusted_again = {"key": NEW_KEY, "role": "client", "valid": 5}
    greet(pool, b"a", ADMIN_KEY, "admin")
    assert pool.say(b"a", Admin(1, "trust", trusted_again))[b"a"][0].ok
    assert pool.pool.identities.known[NEW_KEY].expires == pool.wall + 5
    assert pool.say(b"a", Admin(2, "trust", {**trusted_again, "valid": -1}))[b"a"][0].code == "forbidden"
