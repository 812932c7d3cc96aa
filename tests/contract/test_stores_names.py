"""What a store must know of keys: which task bears a name, until when, and with which params."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from store_rows import claim, ended, row, write

from workerhost.actors.core.effects import Consult, Persist, Where
from workerhost.actors.core.rows import QUEUED, RUNNING
from workerhost.actors.stores.contract import Store

A, B = ("", "a", "k"), ("", "a", "l")


def of(id: int, state: int = QUEUED, attempt: int = 0) -> tuple[int, int, int]:
    """What is told of a task that has a key, or that answers for others."""
    return id, state, attempt


def consult(store: Store, *keys: tuple[str, str, str], ids: tuple[int, ...] = (), owner: str | None = None) -> Any:
    return store.read(Consult(keys, ids, "test", owner=owner))


def test_a_key_leads_to_its_latest_task(store: Store) -> None:
    write(store, tasks=[row(1), row(2), row(3)], keys=[(1, *A, 0.0, b"1" * 16), (2, *B, 9.5, b"2" * 16)])
    assert consult(store, A, B, ("", "b", "k"), ("K", "a", "k")) == [
        (A, 0.0, b"1" * 16, of(1)),
        (B, 9.5, b"2" * 16, of(2)),
    ]
    write(store, keys=[(3, *A, 1.0, b"3" * 16)])
    assert consult(store, A) == [(A, 1.0, b"3" * 16, of(3))]
    write(store, keys=[(1, "K", "a", "k", 0.0, b"1" * 16)])
    assert consult(store, ("K", "a", "k"), A) == [
        (("K", "a", "k"), 0.0, b"1" * 16, of(1)),
        (A, 1.0, b"3" * 16, of(3)),
    ]


def test_rows_by_id_are_those_that_an_identity_sent(store: Store) -> None:
    write(store, tasks=[row(1, session=1), row(2, session=2)])
    assert consult(store, ids=(2, 1, 7)) == [(2, 0.0, b"", row(2, session=2)), (1, 0.0, b"", row(1, session=1))]
    assert consult(store, ids=(1, 2), owner="K") == [(2, 0.0, b"", row(2, session=2))]


def test_a_task_leads_to_the_one_that_has_its_key_now(store: Store) -> None:
    mine = ("K", "video.thumbnail", "k")
    nobodys = ("", *mine[1:])
    tasks = [row(1, session=2), row(2, session=2), row(3, session=2), row(4), row(5, session=2), row(6, lane=2)]
    write(store, tasks=tasks, keys=[(1, *mine, 0.0, b"1" * 16), (3, *nobodys, 0.0, b"3" * 16)])
    write(store, keys=[(2, *mine, 7.5, b"2" * 16), (4, *nobodys, 0.0, b"4" * 16)])

    def bearers(*asked: tuple[int, str]) -> Any:
        rows = store.read(Consult((), (), "test", bearers=asked))
        return [(of, until, digest, columns[0]) for of, until, digest, columns in rows]

    assert bearers((1, "k"), (2, "k"), (4, "k"), (5, "l"), (6, "k"), (9, "k")) == [
        ((1, *mine), 7.5, b"2" * 16, 2),
        ((2, *mine), 7.5, b"2" * 16, 2),
        ((4, *nobodys), 0.0, b"4" * 16, 4),
    ]
    finish = ended(2, 0, finish=1, started_at=None, slot=None, body=b"")
    write(store, finishes=[finish])
    write(store, prunes=[(2, 1)])
    assert bearers((1, "k")) == [((1, *nobodys), 0.0, b"4" * 16, 4)]


def test_a_turn_that_is_undone_leaves_keys_as_they_were(store: Store) -> None:
    write(store, tasks=[row(1), row(2)], keys=[(1, *A, 0.0, b"1" * 16)])
    store.begin()
    store.apply(Persist(keys=[(2, *A, 0.0, b"2" * 16)], replacements=[(b"other", b"3" * 16, 2)]))
    assert consult(store, A) == [(A, 0.0, b"3" * 16, of(2))]
    assert store.params([2]) == {2: b"other"}
    store.rollback()
    assert consult(store, A) == [(A, 0.0, b"1" * 16, of(1))]


def test_params_are_replaced_only_before_a_task_starts(store: Store) -> None:
    write(store, tasks=[row(1)], keys=[(1, *A, 0.0, b"1" * 16)])
    write(store, replacements=[(b"other", b"2" * 16, 1)], claims=[claim(1, 7)])
    assert consult(store, A) == [(A, 0.0, b"2" * 16, of(1, RUNNING, 1))]
    assert store.params([1]) == {1: b"other"}
    write(store, replacements=[(b"late", b"3" * 16, 1)])
    assert store.params([1]) == {1: b"other"}


def test_params_lead_to_the_latest_task_that_was_sent_with_them_and_to_when_it_ended(store: Store) -> None:
    x, y = ("", "a", b"x" * 16), ("", "a", b"y" * 16)
    write(store, tasks=[row(1), row(2), row(3)], cached=[(1, *x), (2, *y)])
    write(store, finishes=[ended(2, 0, finish=1, started_at=None, slot=None, body=b"")])

    def found(*asked: Any) -> list[tuple[Any, float, int]]:
        rows = store.read(Consult((), (), "test", cached=asked))
        return [(which, at, columns[0]) for which, at, _, columns in rows]

    assert found(x, y, ("", "b", x[2])) == [(x, 0.0, 1), (y, 300.0, 2)]
    write(store, cached=[(3, *x)])
    write(store, prunes=[(2, 1)])
    assert found(x, y) == [(x, 0.0, 3)]


def test_many_names_are_looked_up_at_once_and_come_in_the_order_in_which_they_were_asked(store: Store) -> None:
    count = 700
    names = [("", "a", f"k{n}") for n in range(count)]
    prints = [("", "a", n.to_bytes(16, "big")) for n in range(count)]
    rows = [row(n + 1) for n in range(count)]
    keys = [(n + 1, *name, 0.0, b"1" * 16) for n, name in enumerate(names)]
    write(store, tasks=rows, keys=keys, cached=[(n + 1, *print) for n, print in enumerate(prints)])
    for asked in (names[::-1], [*names[:3], ("", "b", "k1"), *names[5:9]], names[:1]):
        known = [(name, 0.0, b"1" * 16, of(names.index(name) + 1)) for name in asked if name in names]
        assert consult(store, *asked) == known
    found = store.read(Consult((), (), "test", cached=tuple(prints[::-1])))
    assert [(print, id) for print, _, _, (id, *_) in found] == [(print, n + 1) for n, print in enumerate(prints)][::-1]


def test_of_each_type_the_latest_so_many_answer_for_others(store: Store) -> None:
    def prints(type: str) -> list[tuple[str, str, bytes]]:
        return [("", type, n.to_bytes(16, "big")) for n in range(6)]

    a, b = prints("a"), prints("b")
    write(store, tasks=[row(n + 1) for n in range(12)])
    write(store, cached=[(n + 1, *print) for n, print in enumerate([*a, *b])], bounds=[("a", 4), ("b", 6), ("c", 1)])

    def left() -> list[int]:
        return [columns[0] for *_, columns in store.read(Consult((), (), "test", cached=(*a, *b)))]

    assert left() == [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    write(store, tasks=[row(13)], cached=[(13, *a[3])], bounds=[("b", 1)])
    assert left() == [3, 13, 5, 6, 12]
    write(store, bounds=[("a", 2)])
    assert left() == [13, 6, 12]


def test_a_key_goes_with_its_task_and_not_with_an_older_one(store: Store) -> None:
    write(store, tasks=[row(1), row(2)], keys=[(1, *A, 0.0, b"1" * 16)])
    write(store, keys=[(2, *A, 0.0, b"2" * 16)])
    finishes = [ended(id, 0, finish=id, started_at=None, slot=None, body=b"") for id in (1, 2)]
    write(store, finishes=finishes)
    write(store, prunes=[(1, 1)])
    assert [found[3][0] for found in consult(store, A)] == [2]
    write(store, prunes=[(2, 2)])
    assert consult(store, A) == []


def test_tasks_are_listed_by_key(store: Store) -> None:
    options = {"key": "k", "tags": ["red"]}
    named = [row(id, options=options if id < 3 else {"key": "k"}, lane=1 + id % 2) for id in (1, 2, 3)]
    write(store, tasks=[*named, row(4)], tags=[("red", 1), ("red", 2)])
    write(
        store, keys=[(1, "", "a", "k", 0.0, b"1" * 16), (2, "", "b", "k", 0.0, b"2" * 16), (3, "K", "a", "k", 0.0, b"")]
    )

    def listed(limit: int = 9, before: int | None = None, **filters: Any) -> list[tuple[int, Any]]:
        found, following = store.tasks(replace(Where(key="k"), **filters), limit, before)
        assert following is None or len(found) == limit
        return [(task["id"], task["key"]) for task in found]

    assert listed() == [(3, "k"), (2, "k"), (1, "k")]
    assert listed(limit=2) == [(3, "k"), (2, "k")]
    assert listed(before=3) == [(2, "k"), (1, "k")]
    assert listed(tag="red") == [(2, "k"), (1, "k")]
    assert listed(states=(RUNNING,)) == listed(key="l") == listed(flow=1) == []
    assert listed(key=None)[0] == (4, None)


def test_what_a_name_is_worth(store: Store) -> None:
    write(store, tasks=[row(id) for id in (1, 2, 3, 4, 5)])
    keys = [(1, *A, 0.0, b""), (2, *B, 9.5, b""), (3, "", "b", "k", 1e18, b"")]
    write(store, keys=keys, cached=[(1, "", "a", b"x" * 16), (4, "", "a", b"y" * 16)])
    assert [store.named(id) for id in (1, 2, 3, 4, 5)] == [
        {"unique_until": None, "answers": True},
        {"unique_until": 9.5},
        {"unique_until": "kept"},
        {"answers": True},
        {},
    ]
    write(store, keys=[(5, *A, 0.0, b"")])
    media = str((store.show(1) or {})["type"]).partition(".")[0]
    write(store, meta={f"cache_from.{media}": 3})
    assert [store.named(id) for id in (1, 4)] == [{}, {"answers": True}]
    write(store, meta={"cache_from.": 4})
    assert store.named(4) == {}
