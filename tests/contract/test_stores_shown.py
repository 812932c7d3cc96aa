"""What a store shows to people, on every store there is."""

from __future__ import annotations

from typing import Any

import pytest
from store_rows import claim, ended, returned, row, write

from workerhost.actors.core.effects import Where
from workerhost.actors.core.rows import CANCELLED, COMPLETED, FAILED, QUEUED, RUNNING
from workerhost.actors.stores.contract import Store
from workerhost.transport.codec import encode
from workerhost.transport.messages import Reply


def test_show_tells_all_of_a_running_task(store: Store) -> None:
    write(store, tasks=[row(1, lane=2, priority=7, options={"tags": ["red"]}, params=b"\x81\xa1a\x01")])
    write(store, claims=[claim(1, 5, attempt=1, owner=2, at=150.0)])
    write(
        store,
        returns=[returned(1, 5, failures=1)],
        attempts=[(1, 1, 5, 2, 4, 150.0, 160.0, "timeout", {"cause": "timeout"})],
    )
    write(store, claims=[claim(1, 6, attempt=2, owner=1, at=170.0)])

    assert store.show(1) == {
        "id": 1, "type": "audio.probe", "tenant": "", "requires": {}, "state": "running", "priority": 7, "attempt": 2,
        "failures": 1, "crashes": 0,
        "losses": 0, "releases": 0, "sent_at": 101.0, "due": None, "started_at": 170.0, "ended_at": None,
        "host": "alpha", "key": None, "options": {"tags": ["red"]}, "params": b"\x81\xa1a\x01", "result": None,
        "detail": None, "attempts": [
            {"attempt": 1, "host": "beta", "code": None, "slot": 4, "started_at": 150.0, "ended_at": 160.0,
             "outcome": "timeout", "detail": {"cause": "timeout"}},
            {"attempt": 2, "host": "alpha", "code": None, "slot": None, "started_at": 170.0, "ended_at": None,
             "outcome": "running", "detail": None},
        ],
    }  # fmt: skip
    assert store.show(2) is None


def test_show_adds_what_a_cancelled_attempt_wrote_and_a_retry_keeps_it(store: Store) -> None:
    write(store, tasks=[row(1)])
    write(store, claims=[claim(1, 5, attempt=1, owner=2, at=150.0)])
    write(store, finishes=[ended(1, 5, finish=1, state=CANCELLED, body=b"", detail={"reason": "why"})])
    write(store, attempts=[(1, 1, 5, 2, 4, 150.0, 301.0, "cancelled", {"output": "half"})])
    [attempt] = (store.show(1) or {})["attempts"]
    assert (attempt["outcome"], attempt["detail"]) == ("cancelled", {"output": "half", "reason": "why"})
    write(store, retries=[(9, 1)])
    kept = (store.show(1) or {})["attempts"][0]
    assert (kept["outcome"], kept["detail"]) == ("cancelled", {"output": "half"})


def test_show_of_a_task_of_many_attempts_fits_into_one_message(store: Store) -> None:
    detail = {"error_type": "ValueError", "message": "m" * 8192, "traceback": "t" * 32768, "output": "o" * 17408}
    write(store, tasks=[row(1)])
    write(store, attempts=[(1, n, n, 1, 4, 150.0 + n, 150.5 + n, "exception", detail) for n in range(1, 1000)])
    write(store, claims=[claim(1, 1000, attempt=1000)])
    write(store, finishes=[ended(1, 1000, finish=1, state=FAILED, body=b"", detail=detail)])

    shown = store.show(1) or {}
    attempts = {attempt["attempt"]: attempt["detail"] for attempt in shown["attempts"]}
    assert list(attempts) == [*range(1, 21), *range(800, 1001)]
    assert shown["attempts_left_out"] == 779
    assert [number for number in attempts if attempts[number] == detail] == [*range(981, 1001)]
    assert attempts[1] == attempts[980] == {"error_type": "ValueError", "message": "m" * 500}
    assert len(encode(Reply(1, True, {"task": {**shown, "params": bytes(1 << 20)}}), 1)) < 3 << 20


def test_show_leaves_out_no_attempt_of_a_few(store: Store) -> None:
    write(store, tasks=[row(1)])
    write(store, attempts=[(1, n, n, 1, 4, 150.0 + n, 150.5 + n, "exception", None) for n in range(220, 0, -1)])
    shown = store.show(1) or {}
    assert [attempt["attempt"] for attempt in shown["attempts"]] == [*range(1, 221)]
    assert "attempts_left_out" not in shown


def test_show_has_the_result_of_a_completed_task(store: Store) -> None:
    write(store, tasks=[row(1)])
    write(store, claims=[claim(1, 5)])
    write(store, finishes=[ended(1, 5, finish=1, body=b"\xa5value")])

    shown = store.show(1) or {}
    assert (shown["state"], shown["result"], shown["ended_at"]) == ("completed", b"\xa5value", 300.0)


def test_tasks_are_listed_newest_first_by_state_type_and_tag(store: Store) -> None:
    write(
        store,
        tasks=[row(id, lane=2 if id % 3 == 0 else 1) for id in range(1, 11)],
        tags=[("red", 3), ("red", 6), ("red", 8), ("blue", 8)],
    )
    write(store, claims=[claim(id, id) for id in range(3, 9)])
    failed = {"error_type": "ValueError", "message": "bad clip"}
    write(
        store,
        finishes=[
            ended(3, 3, finish=1, state=FAILED, body=b"", detail=failed, failures=1),
            ended(4, 4, finish=2, state=FAILED, body=b"", detail={"cause": "timeout"}),
            ended(5, 5, finish=3),
        ],
    )

    def listed(before: int | None = None, **filters: Any) -> list[int]:
        found, following = store.tasks(Where(**filters), 100, before)
        assert following is None
        return [task["id"] for task in found]

    assert listed() == list(range(10, 0, -1))
    assert listed(before=4) == [3, 2, 1]
    assert listed(states=(FAILED,)) == [4, 3]
    assert listed(states=(RUNNING,)) == [8, 7, 6]
    assert listed(states=(QUEUED,), type="audio.probe") == [9]
    assert listed(states=(COMPLETED,)) == [5]
    assert listed(states=(FAILED,), type="audio.probe") == [3]
    assert listed(states=(FAILED,), before=4) == [3]
    assert listed(tag="red") == [8, 6, 3]
    assert listed(tag="red", states=(FAILED,), type="audio.probe", before=6) == [3]
    assert listed(tag="green") == []
    assert listed(type="video") == []
    [item], _ = store.tasks(Where(states=(FAILED,), type="audio.probe"), 1)
    assert item == {
        "id": 3, "type": "audio.probe", "tenant": "", "state": "failed", "priority": 5, "attempt": 1, "failures": 1,
        "crashes": 0,
        "sent_at": 103.0, "started_at": 200.0, "ended_at": 300.0, "host": "alpha", "error": "ValueError: bad clip",
            "key": None,
    }  # fmt: skip


def test_tasks_of_a_tenant_and_what_one_of_them_requires(store: Store) -> None:
    lanes = [(3, "audio.probe", "acme", "gpu=1,zone=eu"), (4, "video.thumbnail", "acme", "")]
    write(store, lanes=lanes, tasks=[row(id, lane=1 + id % 4) for id in range(1, 9)])

    def listed(**filters: Any) -> list[int]:
        return [task["id"] for task in store.tasks(Where(**filters), 9)[0]]

    assert listed(tenant="acme") == [7, 6, 3, 2]
    assert listed(tenant="acme", type="audio.probe") == [6, 2]
    assert listed(tenant="") == [8, 5, 4, 1]
    assert listed(tenant="globex") == []
    shown = store.show(2) or {}
    assert (shown["tenant"], shown["requires"]) == ("acme", {"gpu": 1, "zone": "eu"})


@pytest.mark.parametrize("filters", [{}, {"tag": "red"}, {"states": (FAILED,)}])
def test_a_long_list_is_read_in_pages(store: Store, filters: dict[str, Any]) -> None:
    write(store, tasks=[row(id) for id in range(1, 8)], tags=[("red", id) for id in range(1, 8)])
    write(store, finishes=[ended(id, 0, finish=id, state=FAILED) for id in range(1, 8)])

    pages: list[list[int]] = []
    before: int | None = None
    while not pages or before is not None:
        found, before = store.tasks(Where(**filters), 3, before)
        pages.append([task["id"] for task in found])

    assert pages == [[7, 6, 5], [4, 3, 2], [1]]


def test_a_list_that_finds_little_stops_and_can_be_gone_on_with(store: Store) -> None:
    write(store, tasks=[row(1, lane=2), *(row(id) for id in range(2, 7002))])

    found, before = store.tasks(Where(type="audio.probe"), 10)
    assert found == []
    assert before is not None

    found, before = store.tasks(Where(type="audio.probe"), 10, before)
    assert ([task["id"] for task in found], before) == ([1], None)


def test_show_tells_which_code_ran_each_attempt(store: Store) -> None:
    write(store, tasks=[row(1), row(2)], code=[(1, "video.thumbnail", 100.0, "aaaa"), (1, "other", 100.0, "zzzz")])
    write(store, code=[(1, "video.thumbnail", 160.0, "bbbb")])
    write(store, claims=[claim(1, 5, at=150.0), claim(2, 6, owner=2)])
    write(store, returns=[returned(1, 5)], attempts=[(1, 1, 5, 1, 4, 150.0, 155.0, "failed", None)])
    write(store, claims=[claim(1, 7, attempt=2, at=170.0)])

    def code(id: int) -> list[Any]:
        return [attempt["code"] for attempt in (store.show(id) or {})["attempts"]]

    assert (code(1), code(2)) == (["aaaa", "bbbb"], [None])
    write(store, code=[(2, "video.*", 10.0, "near"), (2, "v.*", 10.0, "far"), (2, "video.x.*", 10.0, "beside")])
    assert code(2) == ["near"], "a worker that takes what lies below its type"
    write(store, code=[(2, "video.*", 20.0, "later"), (2, "video.thumbnail", 5.0, "exact")])
    assert code(2) == ["exact"]
    write(store, forgotten_hosts=[1])
    assert code(1) == [None, None]
