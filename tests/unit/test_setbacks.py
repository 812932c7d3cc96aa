"""What the kind of a failure means for its task and for the node of its service."""

from __future__ import annotations

from typing import Any

import pytest
from unit.pool_words import (  # pyright: ignore[reportMissingImports]
    CLIENT,
    FAILED,
    HOST,
    QUEUED,
    SCHEDULED,
    ended,
    granted,
)

from workerhost.config.schema import Settings
from workerhost.transport.messages import Admin, Events, Outcome, Query, Recorded, Reply, Results


def quota_of(text: str) -> Any:
    return Settings.model_validate({"workers": {"v": {"quota": text}}}).nodes["v"]["quota"]


def report(id: int, fence: int, outcome: int = Outcome.FAILED, **detail: Any) -> Results:
    return Results([[id, fence, outcome, b"", 0.1, 0, {"message": "no", **detail}]])


@pytest.mark.parametrize(
    ("on", "outcome", "detail", "state"),
    [
        (None, Outcome.FAILED, {}, SCHEDULED),
        (None, Outcome.FAILED, {"kind": "transient"}, SCHEDULED),
        (None, Outcome.FAILED, {"kind": "system"}, SCHEDULED),
        (None, Outcome.FAILED, {"kind": "of a newer version"}, SCHEDULED),
        (None, Outcome.TIMEOUT, {}, SCHEDULED),
        (None, Outcome.TOO_LARGE, {}, FAILED),
        (None, Outcome.FAILED, {"kind": "permanent"}, FAILED),
        (None, Outcome.FAILED, {"kind": "configuration"}, FAILED),
        (None, Outcome.FAILED, {"kind": "permanent", "retry": True}, SCHEDULED),
        (None, Outcome.FAILED, {"kind": "transient", "retry": False}, FAILED),
        (None, Outcome.FAILED, {"kind": "quota", "retry": False}, FAILED),
        (("transient",), Outcome.FAILED, {}, FAILED),
        (("transient",), Outcome.FAILED, {"retry": True}, SCHEDULED),
        (("transient",), Outcome.FAILED, {"kind": "system"}, FAILED),
        (("transient",), Outcome.TIMEOUT, {}, SCHEDULED),
        (("system",), Outcome.TIMEOUT, {}, FAILED),
        ((), Outcome.FAILED, {"kind": "transient"}, FAILED),
    ],
)
def test_the_kind_and_the_policy_say_whether_it_is_tried_again(
    pool_with: Any, on: tuple[str, ...] | None, outcome: Outcome, detail: dict[str, Any], state: int
) -> None:
    pool = pool_with({"a": {"retry": {"on": on}}} if on is not None else None)
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    said = pool.say(HOST, report(id, fence, outcome, **detail))
    if state == FAILED:
        assert ended(said) == [(id, FAILED)]
    else:
        assert said == {HOST: [Recorded(2)], CLIENT: [Events([], [], [[id, SCHEDULED]])]}
        assert pool.store.show(id)["failures"] == 1


def test_what_a_service_asks_to_wait_is_heeded_up_to_a_month(pool: Any) -> None:
    pool.host(slots=2)
    (first, fence, _), (second, other, _) = granted(pool.send(count=2))
    pool.say(HOST, report(first, fence, kind="transient", after=40.0), report(second, other, after=1e8))
    assert pool.store.show(first)["due"] - pool.wall == pytest.approx(40.0)
    assert pool.store.show(second)["due"] - pool.wall == pytest.approx(31 * 86400.0)


def test_a_task_whose_key_is_refused_goes_back_and_its_platform_is_paused(pool: Any) -> None:
    pool.host(HOST, "v.y.c", "v.y.d", "v.z", slots=3)
    ((id, fence, _),) = granted(pool.send("v.y.c"))
    said = pool.say(HOST, report(id, fence, kind="auth"))
    assert said == {HOST: [Recorded(2)], CLIENT: [Events([], [], [[id, QUEUED]])]}
    task = pool.store.show(id)
    assert (task["state"], task["failures"], task["attempts"][0]["outcome"]) == ("queued", 0, "released")
    assert pool.notes[-1] == "type_paused"
    assert granted(pool.send("v.y.d")) == []
    assert len(granted(pool.send("v.z"))) == 1, "a sibling does not notice"
    (reply,) = pool.say(CLIENT, Query(1, "status", {}))[CLIENT]
    assert "v.y is paused" in reply.value["notes"][0]

    pool.start()
    pool.client()
    pool.host(HOST, "v.y.c", "v.y.d", slots=3, session=b"once" * 4)
    assert pool.pool.queue.lanes.tree.node("v.y").paused, "a restart does not forget it"
    said = pool.say(CLIENT, Admin(1, "resume", {"type": "v.y"}))
    assert said[CLIENT] == [Reply(1, True, {"type": "v.y", "paused": False})]
    assert [id for id, _, _ in granted(said)] == [1, 2]


@pytest.mark.parametrize(
    ("after", "quota", "seconds"), [(90.0, None, 90), (None, None, 3600), (None, "5/day", 6300), (0.0, None, 1)]
)
def test_a_service_that_takes_no_more_puts_its_platform_to_sleep_and_no_failure_is_counted(
    pool_with: Any, after: float | None, quota: str | None, seconds: int
) -> None:
    pool = pool_with({"v.y": {"quota": quota_of(quota)}} if quota else None)
    pool.host(HOST, "v.y.c", "v.z", slots=3)
    ((id, fence, _),) = granted(pool.send("v.y.c"))
    said: dict[str, Any] = {"after": after} if after is not None else {}
    assert granted(pool.say(HOST, report(id, fence, kind="quota", **said))) == []
    task = pool.store.show(id)
    assert (task["state"], task["failures"], task["releases"]) == ("queued", 0, 1)
    assert pool.notes[-1] == "type_sleeps"
    assert len(granted(pool.send("v.z"))) == 1
    paused = pool.pool.queue.lanes.tree.node("v.y").paused
    assert paused.reason == f"task {id}: no"
    assert paused.until - pool.wall == pytest.approx(seconds, abs=1)
    assert granted(pool.wait(seconds - 1, step=seconds / 10)) == []
    assert [task[0] for task in granted(pool.wait(2.5))] == [id]


@pytest.mark.parametrize(("kind", "wakes"), [("quota", False), ("auth", True)])
def test_a_task_that_is_set_back_for_ever_fails_in_the_end(
    pool: Any, monkeypatch: pytest.MonkeyPatch, kind: str, wakes: bool
) -> None:
    monkeypatch.setattr("workerhost.actors.core.tasks.endings.RELEASE_LIMIT", 3)
    pool.host(HOST, "v.y")
    ((id, fence, _),) = granted(pool.send("v.y"))
    for _ in range(2):
        pool.say(HOST, report(id, fence, kind=kind, after=0.0, message="come back"))
        said = pool.say(CLIENT, Admin(1, "resume", {"type": "v.y"})) if wakes else pool.wait(1.5)
        ((again, fence, _),) = granted(said)
        assert again == id
    assert ended(pool.say(HOST, report(id, fence, kind=kind, after=0.0, message="come back"))) == [(id, FAILED)]
    task = pool.store.show(id)
    detail = task["detail"]
    assert task["releases"] == 3
    assert (detail["cause"], detail["message"]) == ("release_limit", "released 3 times, the last time: come back")
    assert pool.pool.queue.lanes.tree.node("v.y").paused, "its like need not try"


@pytest.mark.parametrize(("said", "paused"), [("v", "v"), ("v.y.c", "v.y.c"), ("w", "v.y"), (None, "v.y")])
def test_a_worker_may_name_a_node_above_its_own_task_only(pool: Any, said: str | None, paused: str) -> None:
    pool.host(HOST, "v.y.c")
    ((id, fence, _),) = granted(pool.send("v.y.c"))
    pool.say(HOST, report(id, fence, kind="auth", **(dict[str, Any](node=said) if said else {})))
    assert [path for path, node in pool.pool.queue.lanes.tree.nodes.items() if node.paused] == [paused]


@pytest.mark.parametrize("detail", [{"kind": 3}, {"node": ["v"]}, {"retry": "yes"}, {"after": -1}])
def test_what_no_host_says_is_refused_and_changes_nothing(pool: Any, detail: dict[str, Any]) -> None:
    pool.host()
    ((id, fence, _),) = granted(pool.send())
    pool.say(HOST, report(id, fence, **detail))
    assert pool.notes[-1] == "message_malformed"
    assert pool.state(id) == "running"
