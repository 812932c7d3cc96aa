"""What tasks have to do with others, over HTTP: keys, tenants, what comes after what, flows and schedules."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import httpx
import pytest
from served_pool import TOKEN, Served, served
from test_http_api import RIGHT, SECONDS, is_problem

from workerhost import worker
from workerhost.transport import documents

LATER = "2999-01-01T00:00:00Z"


@worker("text.length")
def length(text: str) -> int:
    return len(text)


@worker("text.wrong")
def wrong() -> None:
    raise ValueError("no")


@pytest.fixture(scope="module")
def pool() -> Generator[Served]:
    config = {
        "defaults": {"retry": {"max_attempts": 1}},
        "schedules": {"nightly": {"type": "text.length", "params": {"text": "x"}, "cron": "0 3 * * *"}},
    }
    with served(config, workers=[length, wrong]) as found:
        yield found


@pytest.fixture
def http(pool: Served) -> Generator[httpx.Client]:
    with httpx.Client(base_url=pool.url, timeout=SECONDS, headers=RIGHT) as client:
        yield client


def send(http: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = http.post("/api/tasks", json={"type": "text.length", "params": {"text": "x"}, **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


class TestSending:
    def test_a_key_names_one_task(self, http: httpx.Client):
        first = send(http, key="a", at=LATER)
        assert first["existing"] is None
        assert send(http, key="a", at=LATER) == {**first, "existing": "same"}
        assert send(http, key="a", params={"text": "y"}, on_conflict="replace")["existing"] == "replaced"
        refused = {"type": "text.length", "key": "a", "on_conflict": "refuse"}
        assert is_problem(http.post("/api/tasks", json=refused), 409)["error"] == "KeyConflict"
        assert http.get(f"/api/tasks/{first['id']}").json()["params"] == {"text": "y"}
        http.post(f"/api/tasks/{first['id']}/cancel")

    def test_a_result_answers_again(self, http: httpx.Client, pool: Served):
        first = send(http, params={"text": "cached"}, cache=60)
        assert pool.client.task(first["id"]).wait(SECONDS)
        assert send(http, params={"text": "cached"}, cache=60)["id"] == first["id"]
        assert send(http, params={"text": "cached"}, cache=0)["id"] > first["id"]

    def test_a_tenant_and_what_a_host_must_offer(self, http: httpx.Client):
        sent = send(http, tenant="ann", requires={"gpu": 1, "memory": "8G", "zone": "eu"}, at=LATER)
        shown = http.get(f"/api/tasks/{sent['id']}").json()
        assert shown["tenant"] == "ann"
        assert shown["requires"] == {"gpu": 1, "memory": 8 * 2**30, "zone": "eu"}
        assert [task["id"] for task in http.get("/api/tasks?tenant=ann").json()["tasks"]] == [sent["id"]]
        assert http.get("/api/tasks?tenant=bob").json()["tasks"] == []
        assert {one["tenant"] for one in http.get("/api/status").json()["tenants"]} >= {"ann"}
        http.post(f"/api/tasks/{sent['id']}/cancel")

    def test_what_comes_after_waits_and_can_be_let_go(self, http: httpx.Client, pool: Served):
        first = send(http, at=LATER)
        second = send(http, after=[first["id"]], on_failure="wait", key="of both", cache=0)
        assert second["state"] == "waiting"
        assert [one["id"] for one in http.get(f"/api/tasks/{second['id']}").json()["after"]] == [first["id"]]
        assert http.post(f"/api/tasks/{second['id']}/unblock").json()["unblocked"] == [second["id"]]
        assert pool.client.task(second["id"]).wait(SECONDS)
        is_problem(http.post(f"/api/tasks/{second['id']}/unblock"), 409)
        http.post(f"/api/tasks/{first['id']}/cancel")

    @pytest.mark.parametrize(
        ("body", "status", "path"),
        [
            ({"key": ""}, 422, "key"),
            ({"key": None}, 422, "key"),
            ({"key": "x" * 256}, 422, "key"),
            ({"unique_for": 5}, 422, "unique_for"),
            ({"on_conflict": "return"}, 422, "on_conflict"),
            ({"key": "a", "unique_for": 0}, 422, "unique_for"),
            ({"key": "a", "on_conflict": "other"}, 422, "on_conflict"),
            ({"key": "a", "cache": 5}, 422, "cache"),
            ({"cache": -1}, 422, "cache"),
            ({"tenant": "a b"}, 422, "tenant"),
            ({"requires": {"gpu": -1}}, 422, "requires"),
            ({"requires": {"a b": 1}}, 422, "requires"),
            ({"requires": {"gpu": True}}, 422, "requires"),
            ({"requires": "gpu=1"}, 422, "requires"),
            ({"requires": {"memory": "9999T"}}, 422, "requires"),
            ({"after": 1}, 422, "after"),
            ({"after": []}, 422, "after"),
            ({"after": ["1"]}, 422, "after"),
            ({"after": [0]}, 422, "after"),
            ({"after": [999_999_999]}, 409, "after"),
            ({"on_failure": "run"}, 422, "on_failure"),
            ({"after": [1], "on_failure": "weep"}, 422, "on_failure"),
            ({"full": "wait"}, 422, "full"),
        ],
    )
    def test_what_cannot_be(self, http: httpx.Client, body: dict[str, Any], status: int, path: str):
        found = is_problem(http.post("/api/tasks", json={"type": "text.length", **body}), status)["path"]
        assert found.split(".")[0].split("[")[0] == path


def test_an_ended_task_is_deleted(http: httpx.Client, pool: Served):
    sent = send(http, at=LATER)
    is_problem(http.post(f"/api/tasks/{sent['id']}/delete"), 409)
    http.post(f"/api/tasks/{sent['id']}/cancel")
    assert http.post(f"/api/tasks/{sent['id']}/delete").json()["deleted"] == [sent["id"]]
    is_problem(http.get(f"/api/tasks/{sent['id']}"), 404)
    is_problem(http.post(f"/api/tasks/{sent['id']}/delete"), 404)


@pytest.fixture
def flow(pool: Served) -> int:
    """One of two tasks, of which the first fails."""
    with pool.client.flow("nightly") as flow:
        first = flow.send("text.wrong")
        flow.send("text.length", {"text": "x"}, after=first)
    assert flow.wait(SECONDS)
    return flow.id


class TestFlows:
    def test_they_are_listed_in_pages(self, http: httpx.Client, flow: int, pool: Served):
        with pool.client.flow("another") as newer:
            newer.send("text.length", {"text": "x"})
        first = http.get("/api/flows?limit=1").json()
        assert [one["id"] for one in first["flows"]] == [newer.id]
        second = http.get(f"/api/flows?limit=1&before={first['next']}").json()["flows"][0]
        assert (second["id"], second["name"], second["state"]) == (flow, "nightly", "failed")
        assert (second["failed"], second["cancelled"], second["total"]) == (1, 1, 2)
        assert second["ended_at"].endswith("Z")

    def test_one_is_shown_and_its_tasks_are_found(self, http: httpx.Client, flow: int):
        shown = http.get(f"/api/flows/{flow}").json()
        assert shown["counts"] == {"failed": 1, "cancelled": 1}
        assert shown["ids"] == [[flow, 2]]
        tasks = http.get(f"/api/tasks?flow={flow}").json()["tasks"]
        assert [task["id"] for task in tasks] == [flow + 1, flow]

    def test_what_comes_after_what_in_one(self, http: httpx.Client, flow: int):
        graph = http.get(f"/api/flows/{flow}/graph").json()
        assert [(task["id"], task["state"]) for task in graph["tasks"]] == [(flow, "failed"), (flow + 1, "cancelled")]
        assert graph["tasks"][0]["error"] == "ValueError: no"
        assert graph["tasks"][0]["ended_at"].endswith("Z")
        assert graph["edges"] == [[flow + 1, flow, "cancel", False]]
        assert graph["others"] == []
        assert graph["flow"]["name"] == "nightly"
        assert http.get(f"/api/tasks/{flow + 1}").json()["flow"] == flow

    def test_one_is_tried_again_from_where_it_failed_and_cancelled(self, http: httpx.Client, flow: int, pool: Served):
        pool.client.pause("text.wrong")
        assert http.post(f"/api/flows/{flow}/retry").json() == {"flow": flow, "retried": 2}
        is_problem(http.post(f"/api/flows/{flow}/retry"), 409)
        assert http.post(f"/api/flows/{flow}/cancel").json() == {"flow": flow, "cancelled": 2}
        is_problem(http.post(f"/api/flows/{flow}/cancel"), 409)
        pool.client.resume("text.wrong")

    def test_one_that_is_not_there(self, http: httpx.Client):
        is_problem(http.get("/api/flows/999999"), 404)
        is_problem(http.get("/api/flows/999999/graph"), 404)
        for verb in ("cancel", "retry"):
            is_problem(http.post(f"/api/flows/999999/{verb}"), 404)
            is_problem(http.post(f"/api/flows/0/{verb}"), 404)
        is_problem(http.get("/api/flows?limit=0"), 422)


class TestSchedules:
    def test_they_are_listed_with_their_next_instant(self, http: httpx.Client, pool: Served):
        pool.client.schedule("hourly", "text.length", {"text": "x"}, every=3600)
        found = http.get("/api/schedules").json()
        assert [one["name"] for one in found["schedules"]] == ["hourly", "nightly"]
        assert found["schedules"][1]["next"].endswith("T03:00:00.000Z")
        instants = [documents.instant(one) for one in found["schedules"][1]["coming"]]
        assert [round(one - instants[0]) for one in instants] == [day * 86400 for day in range(5)]
        assert found["schedules"][1]["coming"][0] == found["schedules"][1]["next"]
        assert found["next"] is None
        first = http.get("/api/schedules?limit=1").json()
        assert first["next"] == "hourly"
        rest = http.get("/api/schedules?after=hourly").json()["schedules"]
        assert [one["name"] for one in rest] == ["nightly"]

    def test_one_is_paused_goes_on_and_runs_now(self, http: httpx.Client, pool: Served):
        assert http.post("/api/schedules/nightly/pause").json() == {"schedule": "nightly", "paused": True}
        assert http.get("/api/schedules?after=hourly").json()["schedules"][0]["paused"] is True
        assert http.get("/api/schedules?after=hourly").json()["schedules"][0]["coming"] == []
        assert http.post("/api/schedules/nightly/resume").json() == {"schedule": "nightly", "paused": False}
        task = http.post("/api/schedules/nightly/run").json()["task"]
        assert pool.client.task(task).result(SECONDS) == 1

    def test_one_that_is_not_there(self, http: httpx.Client):
        for verb in ("pause", "resume", "run"):
            assert "no schedule" in is_problem(http.post(f"/api/schedules/other/{verb}"), 404)["detail"]
            is_problem(http.post(f"/api/schedules/a%20b/{verb}"), 404)


@pytest.mark.parametrize(
    "path", ["tasks/1/unblock", "flows/1/cancel", "flows/1/retry", "schedules/nightly/pause", "schedules/nightly/run"]
)
def test_no_order_without_the_token(pool: Served, path: str):
    with httpx.Client(base_url=pool.url, timeout=SECONDS) as http:
        is_problem(http.post(f"/api/{path}"), 401)
        is_problem(http.post(f"/api/{path}", headers={"Authorization": f"Bearer {TOKEN}x"}), 401)
        assert http.get(f"/api/{path}").status_code == 405
