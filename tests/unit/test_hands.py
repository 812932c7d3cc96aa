"""Hands on the queue by filters: what one order means, what it changes in one transaction, and what it leaves."""

from __future__ import annotations

from typing import Any

import pytest
from unit.pool_words import CANCELLED, COMPLETED, completed  # pyright: ignore

from workerhost.actors.answers import answer
from workerhost.transport.messages import Admin, Query, Reply, Results


def order(pool: Any, verb: str, where: dict[str, Any], **more: Any) -> Any:
    """What the pool answers, or why it does not."""
    said = pool.say(b"c", Admin(1, verb, {"where": where, **more}))
    (reply,) = [message for message in said[b"c"] if isinstance(message, Reply)]
    return reply.value if reply.ok else reply.value["reason"]


@pytest.fixture
def mixed(pool: Any) -> Any:
    """1, 2: a, red. 3: b, of the tenant t, with the key k. 4: a, cancelled. 5: b, red, cancelled."""
    pool.send("a", count=2, tags=["red"])
    pool.send("b", tenant="t", key="k")
    pool.send("a")
    pool.send("b", tags=["red"])
    order(pool, "cancel", {"ids": [4, 5]})
    return pool


class TestFilters:
    @pytest.mark.parametrize(
        ("where", "found"),
        [
            ({"type": "a"}, [2, 1]),
            ({"tag": "red"}, [2, 1]),
            ({"tag": "red", "type": "b"}, []),
            ({"tenant": "t"}, [3]),
            ({"ids": [1, 3, 5, 99]}, [3, 1]),
            ({"ids": [1, 3], "tag": "red"}, [1]),
            ({"states": [2]}, [3, 2, 1]),
            ({"flow": 1}, []),
            ({"ids": [1], "flow": 1}, []),
            ({"sent_before": 0}, []),
            ({"sent_before": 1e12}, [3, 2, 1]),
            ({"error": "nothing like it"}, []),
            ({"key": "k"}, [3]),
            ({"key": "k", "ids": [1, 2]}, []),
            ({"key": "other"}, []),
        ],
    )
    def test_a_dry_run_says_what_would_be_and_changes_nothing(self, mixed: Any, where: Any, found: list[int]) -> None:
        assert order(mixed, "cancel", where, dry_run=True) == {"cancelled": found}
        assert [mixed.state(id) for id in (1, 2, 3)] == ["queued"] * 3
        assert order(mixed, "cancel", where) == {"cancelled": found}
        assert [id for id in (3, 2, 1) if mixed.state(id) == "cancelled"] == found

    def test_an_error_is_found_by_a_part_of_its_text(self, mixed: Any) -> None:
        mixed.host(slots=5)
        [(one, fence, _), (two, other, _), *_] = granted_of(mixed)
        fail = {"error_type": "ValueError", "message": "Quota EXCEEDED", "retry": False}
        mixed.say(b"h", Results([[one, fence, 1, b"", 0.1, 0, fail], completed(two, other)]))
        assert order(mixed, "retry", {"error": "quota exceeded"}, dry_run=True) == {"retried": [one]}
        assert order(mixed, "retry", {"error": "valueerror"}) == {"retried": [one]}

    @pytest.mark.parametrize(
        ("verb", "where", "says"),
        [
            ("cancel", {}, "names no task"),
            ("cancel", None, "mapping"),
            ("cancel", {"color": "red"}, "mapping"),
            ("cancel", {"states": [5]}, "a task that is failed cannot be meant here"),
            ("cancel", {"states": []}, "empty"),
            ("cancel", {"states": 5}, "list of codes"),
            ("retry", {"states": [99]}, "99 cannot be meant"),
            ("delete", {"states": [3]}, "a task that is running cannot be meant here"),
            ("cancel", {"type": 7}, "type 7 is no text"),
            ("cancel", {"tag": ""}, "no text"),
            ("cancel", {"key": 1}, "key 1 is no text"),
            ("cancel", {"flow": 0}, "flow 0"),
            ("cancel", {"flow": True}, "flow True"),
            ("cancel", {"sent_before": "noon"}, "no instant"),
            ("cancel", {"sent_before": float("nan")}, "no instant"),
            ("cancel", {"ids": ["1"]}, "ids: a list"),
            ("cancel", {"ids": list(range(10_001))}, "ids: a list"),
        ],
    )
    def test_what_cannot_be_meant_changes_nothing(self, mixed: Any, verb: str, where: Any, says: str) -> None:
        assert says in order(mixed, verb, where)
        assert [mixed.state(id) for id in range(1, 6)] == ["queued"] * 3 + ["cancelled"] * 2

    @pytest.mark.parametrize(
        ("filters", "found"),
        [
            ({}, [5, 4, 3, 2, 1]),
            ({"state": 6}, [5, 4]),
            ({"states": [2, 6], "type": "b"}, [5, 3]),
            ({"key": "k"}, [3]),
            ({"ids": [1, 5], "limit": 1}, [5]),
            ({"colour": "red"}, [5, 4, 3, 2, 1]),
            ({"state": 99}, "99 cannot be meant here"),
            ({"states": []}, "states is empty"),
            ({"type": 7}, "type 7 is no text"),
            ({"sent_before": float("inf")}, "no instant"),
            ({"flow": 0}, "flow 0"),
            ({"limit": "all"}, "limit"),
        ],
    )
    def test_a_list_takes_the_same_filters(self, mixed: Any, filters: dict[str, Any], found: Any) -> None:
        mixed.say(b"c", Query(7, "tasks", filters))
        reply = answer(mixed.store, mixed.answers[-1])
        if isinstance(found, str):
            assert (reply.ok, reply.value["code"]) == (False, "invalid")
            assert found in reply.value["reason"]
        else:
            assert [task["id"] for task in reply.value["tasks"]] == found


class TestWords:
    def test_retry_and_edit_by_filter(self, mixed: Any) -> None:
        assert order(mixed, "retry", {"tag": "red"}) == {"retried": [5]}
        assert order(mixed, "edit", {"type": "b"}, priority=9) == {"edited": [5, 3]}
        assert [mixed.store.show(id)["priority"] for id in (3, 5)] == [9, 9]
        assert order(mixed, "edit", {"tag": "red"}, type="c", dry_run=True) == {"edited": [5, 2, 1]}
        assert order(mixed, "edit", {"tag": "red"}, type="c") == {"edited": [5, 2, 1]}

    def test_a_large_order_says_where_it_goes_on(self, pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("workerhost.actors.core.where.MEANT_MAX", 2)
        pool.send("a", count=5)
        assert order(pool, "cancel", {"type": "a"}) == {"cancelled": [5, 4], "next": 4}
        assert order(pool, "cancel", {"type": "a"}, before=4) == {"cancelled": [3, 2], "next": 2}
        assert order(pool, "cancel", {"type": "a"}, before=2) == {"cancelled": [1]}

    def test_a_retry_of_tasks_with_keys_and_of_flows_says_where_it_goes_on_too(
        self, pool: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workerhost.actors.core.where.MEANT_MAX", 2)
        for key in ("k1", "k2", "k3"):
            pool.send("a", key=key)
        order(pool, "cancel", {"ids": [1, 2]})
        order(pool, "cancel", {"ids": [3]})
        answer = order(pool, "retry", {"type": "a"})
        assert (sorted(answer["retried"]), answer["next"]) == ([2, 3], 2)


class TestDelete:
    def test_what_has_ended_goes_with_all_that_is_kept_of_it(self, mixed: Any) -> None:
        lane = mixed.pool.queue.lanes.by_type["a"][0]
        assert order(mixed, "delete", {"type": "a"}) == {"deleted": [4]}
        assert (mixed.store.show(4), lane.counts[CANCELLED]) == (None, 0)
        assert mixed.notes[-1] == "tasks_deleted"
        assert order(mixed, "delete", {"ids": [1, 4]}) == {"deleted": []}, "one is queued, the other gone"
        mixed.start()
        assert mixed.store.open().tallies

    def test_what_its_host_still_has_to_stop_stays(self, pool: Any) -> None:
        pool.send()
        pool.host()
        assert order(pool, "cancel", {"ids": [1]}) == {"cancelled": [1]}
        assert order(pool, "delete", {"ids": [1]}) == {"deleted": []}

    def test_what_another_comes_after_goes_only_with_that_one(self, pool: Any) -> None:
        pool.send()
        pool.send(after=[1])
        order(pool, "cancel", {"ids": [1]})
        assert pool.state(2) == "cancelled"
        assert order(pool, "delete", {"ids": [1]}) == {"deleted": []}, "it may be run again, and 1 with it"
        assert order(pool, "delete", {"states": [CANCELLED]}) == {"deleted": [2, 1]}

    def test_a_key_is_free_again(self, pool: Any) -> None:
        pool.send(key="k", unique_for="kept")
        pool.host()
        [(id, fence, _)] = granted_of(pool)
        pool.say(b"h", Results([completed(id, fence)]))
        assert order(pool, "delete", {"states": [COMPLETED]}) == {"deleted": [1]}
        pool.send(key="k")
        assert pool.state(2) in ("queued", "running")

    def test_large_results_are_deleted_a_part_at_a_time(self, pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("workerhost.actors.core.tasks.removals._FREED_BYTES_MAX", 2)
        pool.send(count=4)
        order(pool, "cancel", {"type": "a"})
        assert order(pool, "delete", {"type": "a"}) == {"deleted": [4, 3], "next": 3}
        assert order(pool, "delete", {"type": "a"}, before=3) == {"deleted": [2, 1]}

    def test_a_task_that_many_come_after_is_looked_at_in_the_next_order(
        self, pool: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workerhost.actors.core.tasks.removals._EDGES_MAX", 1)
        for options in ({}, {"after": [1]}, {}, {"after": [3]}, {}):
            pool.send(**options)
        order(pool, "cancel", {"type": "a"})
        assert order(pool, "delete", {"type": "a"}) == {"deleted": [5, 4, 3], "next": 3}
        assert order(pool, "delete", {"type": "a"}, before=3) == {"deleted": [2, 1]}


def granted_of(pool: Any) -> list[tuple[int, int, int]]:
    return [(id, lease.row.fence, lease.row.attempt) for id, lease in pool.pool.queue.leases.items()]
