"""Who joined, was refused and ordered what is told, and of a flood only the first and how much it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from unit.test_gate import (  # pyright: ignore[reportMissingImports]
    ADMIN_KEY,
    CLIENT_KEY,
    HOST_KEY,
    INVITE_KEY,
    NEW_KEY,
    greet,
    pool,
    prove,
)

from workerhost.actors.answers import answer
from workerhost.actors.core.access import audit
from workerhost.actors.core.access.identities import Proved, TurnedAway, fingerprint
from workerhost.actors.core.effects import Answer, Send
from workerhost.actors.turn import perform
from workerhost.transport.messages import Admin, Hello, Query, Reply

__all__ = ["pool"]


def recorded(world: Any) -> list[dict[str, Any]]:
    """All rows, oldest first, but for the client of every world that nobody knows here."""
    rows = world.store.audit(1000, 2**63 - 1)[::-1]
    return [row for row in rows if (row["identity"], row["event"]) != ("", "identity_refused")]


def told(world: Any) -> list[tuple[str, str]]:
    """(name or fingerprint, event) of all rows, oldest first."""
    rows = recorded(world)
    return [(row["name"] or (fingerprint(row["identity"]) if row["identity"] else ""), row["event"]) for row in rows]


def test_it_is_told_where_somebody_comes_from(pool: Any) -> None:
    def come(peer: bytes, key: str, role: str, ip: str) -> None:
        pool._turn(pool.pool.handle([(peer, 0, Proved(key, ip))], pool.now, pool.wall))
        pool.say(peer, Hello(role, [1, 1], peer * 16, "name", {}))

    come(b"a", ADMIN_KEY, "admin", "192.0.2.1")
    come(b"c", CLIENT_KEY, "host", "192.0.2.2")
    come(b"d", CLIENT_KEY, "client", "")
    away = TurnedAway({HOST_KEY: 2, "": 1}, {HOST_KEY: "192.0.2.3"})
    pool._turn(pool.pool.handle([(b"", 0, away)], pool.now, pool.wall))
    pool.close(b"a")
    assert pool.pool.sessions.ips == {b"c": "192.0.2.2"}
    assert [(row["event"], row.get("ip")) for row in recorded(pool)] == [
        ("identity_joined", "192.0.2.1"),
        ("identity_refused", "192.0.2.2"),
        ("identity_joined", None),
        ("handshake_refused", "192.0.2.3"),
        ("handshake_refused", None),
    ]


def test_joins_refusals_and_orders_are_told_with_who_and_when(pool: Any) -> None:
    greet(pool, b"a", ADMIN_KEY, "admin")
    pool.say(b"a", Admin(1, "invite", {"key": INVITE_KEY, "role": "host", "seconds": 60}))
    greet(pool, b"i", INVITE_KEY, "host", enroll=NEW_KEY)
    greet(pool, b"c", CLIENT_KEY, "host")
    greet(pool, b"c", CLIENT_KEY, "client")
    pool.say(b"c", Admin(1, "pause", {"type": "video"}))
    pool.say(b"a", Admin(2, "pause", {"type": "video"}), Admin(3, "revoke", {"key": NEW_KEY}), Admin(4, "keys", {}))
    assert told(pool) == [
        ("admin", "identity_joined"),
        ("admin", "order_obeyed"),
        ("name", "identity_enrolled"),
        ("name", "identity_refused"),
        ("client", "identity_joined"),
        ("client", "order_refused"),
        ("admin", "order_obeyed"),
        ("admin", "order_obeyed"),
    ]
    rows = recorded(pool)
    assert rows[2]["invitation"] == fingerprint(INVITE_KEY)
    assert (rows[6]["verb"], rows[6]["type"], rows[6]["at"]) == ("pause", "video", pool.wall)
    assert (rows[7]["verb"], rows[7]["of"]) == ("revoke", fingerprint(NEW_KEY))
    pool.say(b"a", Admin(5, "delete", {"where": {"tag": "old", "ids": [1, 2]}}))
    last = recorded(pool)[-1]
    assert (last["verb"], last["where"], last["tasks"]) == ("delete", "{'tag': 'old'}", 2)
    pool.start()
    greet(pool, b"a", ADMIN_KEY, "admin")
    assert [row["number"] for row in pool.store.audit(2, 2**63 - 1)] == [11, 10], "a restart counts on"


def test_a_flood_of_one_identity_is_a_few_lines_and_then_its_number(pool: Any) -> None:
    for _ in range(500):
        greet(pool, b"c", CLIENT_KEY, "host")
    assert pool.notes.count("identity_refused") == 20
    pool.now += 61
    pool.wait(0.1)
    assert pool.notes.count("not_told") == 1
    [last] = pool.store.audit(1, 2**63 - 1)
    assert (last["of"], last["times"], last["identity"]) == ("identity_refused", 480, CLIENT_KEY)
    greet(pool, b"c", CLIENT_KEY, "host")
    assert pool.notes.count("identity_refused") == 21, "a new minute"


def test_a_host_that_joins_again_and_again_fills_no_log(pool: Any) -> None:
    prove(pool, b"h", HOST_KEY)
    for number in range(200):
        pool.host(b"h", greeting=number + 1)
    assert (pool.notes.count("host_joined"), pool.notes.count("identity_joined")) == (20, 20)


def test_where_nothing_is_proved_all_are_one(pool_with: Callable[..., Any]) -> None:
    world = pool_with()
    for number in range(1000):
        world.host(b"%d" % number)
    assert world.notes.count("host_joined") == 600


def test_strangers_at_the_door_are_one_and_who_was_revoked_is_named(pool: Any) -> None:
    greet(pool, b"a", ADMIN_KEY, "admin")
    pool.say(b"a", Admin(1, "revoke", {"key": HOST_KEY}))
    pool.notes.clear()
    for number in range(50):
        away = TurnedAway({f"{number:040}": 100})
        pool._turn(pool.pool.handle([(b"", 0, away)], pool.now, pool.wall))
    assert pool.notes == ["handshake_refused"]
    pool._turn(pool.pool.handle([(b"", 0, TurnedAway({HOST_KEY: 1}))], pool.now, pool.wall))
    [last] = pool.store.audit(1, 2**63 - 1)
    assert (last["event"], last["name"], last["reason"]) == ("handshake_refused", "host", "revoked")
    pool.now += 61
    pool.wait(0.1)
    [last] = pool.store.audit(1, 2**63 - 1)
    assert (last["of"], last["times"]) == ("handshake_refused", 4980)


def test_only_so_many_rows_are_kept(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "AUDIT_MAX", 50)
    monkeypatch.setattr(audit, "_FORGET_TOGETHER", 10)
    greet(pool, b"a", ADMIN_KEY, "admin")
    for number in range(200):
        pool.say(b"a", Admin(number + 1, "pause", {"type": "video"}))
    assert 50 <= len(pool.store.audit(1000, 2**63 - 1)) <= 60


@pytest.mark.parametrize(("key", "sees"), [(ADMIN_KEY, True), (CLIENT_KEY, False)])
def test_a_client_does_not_see_the_audit(pool: Any, key: str, sees: bool) -> None:
    greet(pool, b"p", key, "client")
    number = pool.numbers[b"p"] + 1
    news = [(b"p", number, Query(1, "audit", {"limit": 1}))]
    speech = perform(pool.pool, pool.store, pool.pool.handle(news, pool.now, pool.wall), pool.now, pool.wall)
    asked = [effect for effect in speech if isinstance(effect, Answer)]
    assert bool(asked) == sees
    if sees:
        reply = answer(pool.store, asked[0])
        assert [row["event"] for row in reply.value["audit"]] == ["identity_joined"]
        bad = answer(pool.store, replace(asked[0], arguments={"limit": "x"}))
        assert (bad.ok, bad.value["code"]) == (False, "invalid")
    else:
        [said] = [effect.message for effect in speech if isinstance(effect, Send)]
        assert isinstance(said, Reply)
        assert said.value["code"] == "forbidden"


def test_a_name_that_is_none_does_not_break_a_line(pool_with: Callable[..., Any]) -> None:
    world = pool_with()
    world.say(b"x", Hello("client", [1, 1], b"x" * 16, "a\nb\x1b[31m"))
    world.say(b"x", Admin(1, "pause", {"type": "video"}))
    assert told(world)[-1] == ("a\nb\x1b[31m", "order_obeyed"), "it is kept as it is, and escaped where it is shown"
