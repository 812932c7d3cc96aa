"""What every store must keep of identities and invitations, and whose tasks it gives to whom."""

from __future__ import annotations

from collections.abc import Callable

from store_rows import (  # pyright: ignore[reportMissingImports]
    HOSTS,
    LANES,
    SESSIONS,
    row,
    write,
)

from workerhost.actors.core.effects import Fetch, Persist, Senders, Where
from workerhost.actors.stores.contract import Store

HOST = ("H" * 40, "host", "gpu-1", "video,audio.probe", 10.0, None, None)
CLIENT = ("C" * 40, "client", "", "", 11.5, 99.0, None)
INVITED = ("I" * 40, "host", "video", 2, 1000.0, 86400.0)


def test_identities_survive_and_the_latest_word_about_each_counts(reopen: Callable[[], Store]) -> None:
    store = reopen()
    opening = store.open()
    assert (opening.identities, opening.invitations) == ([], [])
    write(store, identities=[HOST, CLIENT], invitations=[INVITED])
    revoked = (*HOST[:-1], 20.0)
    write(store, identities=[revoked])
    opening = reopen().open()
    assert (opening.identities, opening.invitations) == ([CLIENT, revoked], [INVITED])


def test_what_is_forgotten_of_identities_is_gone(reopen: Callable[[], Store]) -> None:
    store = reopen()
    store.open()
    write(store, identities=[HOST, CLIENT])
    store.begin()
    store.apply(Persist(forgotten_identities=[CLIENT[0]]))
    store.rollback()
    write(store, forgotten_identities=[HOST[0]])
    assert reopen().open().identities == [CLIENT]


def test_a_spent_invitation_is_gone(reopen: Callable[[], Store]) -> None:
    store = reopen()
    store.open()
    write(store, invitations=[INVITED, ("J" * 40, *INVITED[1:])])
    write(store, invitations=[(*INVITED[:3], 1, *INVITED[4:])])
    write(store, invitations=[(*INVITED[:3], 0, *INVITED[4:])])
    assert [public for public, *_ in reopen().open().invitations] == ["J" * 40]


def test_what_a_rolled_back_turn_said_of_identities_was_not_said(reopen: Callable[[], Store]) -> None:
    store = reopen()
    store.open()
    write(store, identities=[HOST], invitations=[INVITED])
    store.begin()
    store.apply(Persist(identities=[(*HOST[:-1], 20.0)], invitations=[(*INVITED[:3], 0, *INVITED[4:])]))
    store.rollback()
    opening = reopen().open()
    assert (opening.identities, opening.invitations) == ([HOST], [INVITED])


def test_whose_sessions_are(reopen: Callable[[], Store]) -> None:
    store = reopen()
    store.open()
    write(store, sessions=SESSIONS)  # session 1 is nobody's, session 2 is K's
    assert store.read(Senders((2, 99, 1))) == [(2, "K"), (1, "")]


def test_what_sessions_have_unfinished_survives_until_it_is_nothing(reopen: Callable[[], Store]) -> None:
    store = reopen()
    assert store.open().shares == []
    write(store, shares=[(1, "K", 5), (2, "L", 7)])
    write(store, shares=[(1, "K", 6), (2, "", 0), (3, "", 0)])
    store.begin()
    store.apply(Persist(shares=[(1, "", 0)]))
    store.rollback()
    assert reopen().open().shares == [(1, "K", 6)]


def test_the_audit_is_read_from_its_end_and_forgotten_from_its_start(reopen: Callable[[], Store]) -> None:
    store = reopen()
    assert store.open().meta["last_audit"] == 0
    rows = [(n, 1.0 + n, "H" * 40, "gpu-1", "joined", {"role": "host", "n": n}) for n in range(1, 6)]
    write(store, audit=rows)
    first = {"number": 1, "at": 2.0, "identity": "H" * 40, "name": "gpu-1", "event": "joined", "role": "host", "n": 1}
    assert store.audit(10, 2) == [first]
    assert [one["number"] for one in store.audit(2, 5)] == [4, 3]
    store.begin()
    store.apply(Persist(audit=[(6, 9.0, "", "", "x", {})], audit_from=5))
    store.rollback()
    assert [one["number"] for one in store.audit(10, 9)] == [5, 4, 3, 2, 1]
    write(store, audit_from=4)
    store = reopen()
    assert store.open().meta["last_audit"] == 5
    assert [one["number"] for one in store.audit(10, 9)] == [5, 4]


def test_a_client_is_given_its_own_tasks_alone(reopen: Callable[[], Store]) -> None:
    store = reopen()
    store.open()
    write(store, lanes=LANES, hosts=HOSTS, sessions=SESSIONS)  # session 1 is nobody's, session 2 is K's
    write(store, tasks=[row(1), row(2, session=2), row(3, session=2), row(4, session=7)], tags=[("red", 1), ("red", 3)])

    def listed(owner: str | None, tag: str | None = None, limit: int = 10, before: int | None = None) -> list[int]:
        return [task["id"] for task in store.tasks(Where(owner=owner, tag=tag), limit, before)[0]]

    def fetched(owner: str | None) -> list[int]:
        return [columns[0] for columns in store.read(Fetch((1, 2, 3, 4), "watch", None, owner))]

    assert (fetched(None), fetched("K"), fetched("L")) == ([1, 2, 3, 4], [2, 3], [])
    assert (listed(None), listed("K"), listed("L")) == ([4, 3, 2, 1], [3, 2], [])
    assert (listed("K", tag="red"), listed("K", limit=1), listed("K", before=3)) == ([3], [3], [2])
