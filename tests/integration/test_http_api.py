"""The API over a real port on a real pool: every operation, and every way a request can be wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from served_pool import TOKEN, Served, pages, served
from waiting import until

from workerhost import worker

RIGHT = {"Authorization": f"Bearer {TOKEN}"}
SECONDS = 20.0


@worker("text.length")
def length(text: str) -> int:
    print("measuring", text)
    return len(text)


@worker("text.held")
def held(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.01)  # sleeps: the task is a slow one


@worker("text.wrong")
def wrong() -> None:
    raise KeyError("<script>alert(1)</script>")


@pytest.fixture(scope="module")
def pool() -> Generator[Served]:
    config = {"workers": {"text.wrong": {"retry": {"max_attempts": 1}}}}
    with served(config, workers=[length, held, wrong]) as found:
        yield found


@pytest.fixture
def http(pool: Served) -> Generator[httpx.Client]:
    with httpx.Client(base_url=pool.url, timeout=SECONDS) as client:
        yield client


def is_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert document["detail"]
    return document


class TestTasks:
    def test_what_is_sent_runs_and_is_shown_as_the_command_line_shows_it(self, http: httpx.Client, pool: Served):
        body = {"type": "text.length", "params": {"text": "hello"}, "tags": ["nightly"], "priority": 7}
        sent = http.post("/api/tasks", json=body, headers=RIGHT)
        assert sent.status_code == 201
        assert sent.json()["type"] == "text.length"
        assert sent.headers["location"] == f"/api/tasks/{sent.json()['id']}"
        pool.client.task(sent.json()["id"]).wait(SECONDS)
        shown = http.get(sent.headers["location"]).json()
        assert shown["state"] == "completed"
        assert shown["result"] == len("hello")
        assert shown["params"] == {"text": "hello"}
        assert shown["priority"] == 7
        assert [attempt["outcome"] for attempt in shown["attempts"]] == ["completed"]
        assert [task["id"] for task in http.get("/api/tasks?tag=nightly").json()["tasks"]] == [shown["id"]]
        story = http.get(f"/api/tasks/{shown['id']}/why").json()["story"]
        assert [set(item) for item in story] == [{"at", "text"}] * len(story)
        assert story

    def test_every_option_of_send_reaches_the_pool(self, http: httpx.Client):
        body = {
            "type": "text.length", "params": {"text": ""}, "at": "2999-01-01T00:00:00+00:00", "timeout": 5,
            "expires": "2999-01-02T00:00:00Z", "max_attempts": 2, "require_host": True,
        }  # fmt: skip
        sent = http.post("/api/tasks", json=body, headers=RIGHT).json()
        assert sent["state"] == "scheduled"
        shown = http.get(f"/api/tasks/{sent['id']}").json()
        assert shown["due"] == "2999-01-01T00:00:00.000Z"
        assert shown["options"]["timeout"] == 5
        assert shown["options"]["max_attempts"] == 2
        assert http.post(f"/api/tasks/{sent['id']}/cancel", headers=RIGHT).json()["cancelled"] == [sent["id"]]

    def test_pages_follow_one_another(self, http: httpx.Client, pool: Served):
        ids = [handle.id for handle in pool.client.send_many("text.length", [{"text": "x"}] * 5, tags=("pages",))]
        first = http.get("/api/tasks?tag=pages&limit=3").json()
        rest = http.get(f"/api/tasks?tag=pages&limit=3&before={first['next']}").json()
        assert [task["id"] for task in first["tasks"] + rest["tasks"]] == sorted(ids, reverse=True)
        assert rest["next"] is None

    def test_a_running_task_is_cancelled_and_retried(self, http: httpx.Client, pool: Served, tmp_path: Path):
        handle = pool.client.send("text.held", {"path": str(tmp_path / "go")})
        until(lambda: http.get(f"/api/tasks/{handle.id}").json()["state"] == "running", "the task runs")
        assert http.post(f"/api/tasks/{handle.id}/cancel", headers=RIGHT).json() == {
            "cancelled": [handle.id], "unchanged": [],
        }  # fmt: skip
        (tmp_path / "go").touch()
        problem = is_problem(http.post(f"/api/tasks/{handle.id}/cancel", headers=RIGHT), 409)
        assert problem["detail"] == f"task {handle.id} has ended already: cancelled"
        assert http.post(f"/api/tasks/{handle.id}/retry", headers=RIGHT).json()["retried"] == [handle.id]
        assert pool.client.task(handle.id).wait(SECONDS)
        is_problem(http.post(f"/api/tasks/{handle.id}/retry", headers=RIGHT), 409)

    def test_orders_over_all_that_filters_name(self, http: httpx.Client, pool: Served):
        def order(word: str, **body: Any) -> Any:
            answer = http.post(f"/api/tasks/{word}", json=body, headers=RIGHT)
            assert answer.status_code == 200, answer.text
            return answer.json()

        first, second = (handle.id for handle in pool.client.send_many("nobody.does", [{}, {}], tags=("these",)))
        third = pool.client.send("nobody.does", key="the third").id
        assert order("cancel", tag="these", dry_run=True) == {"cancelled": [second, first]}
        assert order("priority", type="nobody.does", priority=9) == {"edited": [third, second, first]}
        assert order("move", key="the third", to="nobody.else") == {"edited": []}
        assert order("move", tag="these", ids=[first], to="nobody.else") == {"edited": [first]}
        assert order("cancel", type="nobody.does", older_than=3600) == {"cancelled": []}
        assert order("cancel", tag="these") == {"cancelled": [second, first]}
        assert order("retry", state="cancelled", tag="these", type="nobody.else") == {"retried": [first]}
        assert order("cancel", ids=[third, first]) == {"cancelled": [third, first]}
        assert order("delete", tag="these", error="nothing like it") == {"deleted": []}
        assert order("delete", tag="these") == {"deleted": [second, first]}
        listed = http.get("/api/tasks", params={"key": "the third", "older_than": 0.001, "state": "cancelled"}).json()
        assert [task["id"] for task in listed["tasks"]] == [third]
        assert http.get("/api/tasks", params={"key": "the third", "error": "nothing like it"}).json()["tasks"] == []

    def test_orders_that_name_nothing_or_cannot_be_meant(self, http: httpx.Client):
        wrong: list[tuple[str, dict[str, Any], int]] = [
            ("cancel", {}, 422), ("cancel", {"dry_run": True}, 422), ("cancel", {"tag": None}, 422),
            ("cancel", {"state": "lost"}, 422), ("cancel", {"state": "failed"}, 409), ("retry", {"ids": []}, 422),
            ("delete", {"colour": "red"}, 422), ("priority", {"tag": "x"}, 422), ("move", {"tag": "x", "to": ""}, 422),
        ]  # fmt: skip
        for word, body, status in wrong:
            is_problem(http.post(f"/api/tasks/{word}", json=body, headers=RIGHT), status)
        is_problem(http.post("/api/tasks/cancel", json={"tag": "x"}), 401)

    def test_an_unknown_task_is_a_404_whatever_is_wanted_of_it(self, http: httpx.Client):
        for path in ("", "/why", "/output"):
            is_problem(http.get(f"/api/tasks/999999{path}"), 404)
        for verb in ("cancel", "retry"):
            is_problem(http.post(f"/api/tasks/999999/{verb}", headers=RIGHT), 404)
        for id in ("0", "-1", "abc", str(2**63)):
            is_problem(http.get(f"/api/tasks/{id}"), 404)


class TestThePool:
    def test_it_is_shown(self, http: httpx.Client):
        assert http.get("/api/status").json()["tasks"].keys() >= {"queued", "running", "completed"}
        assert [host["name"] for host in http.get("/api/hosts").json()["hosts"]] == ["embedded"]
        assert "text.length" in {node["type"] for node in http.get("/api/types").json()["types"]}
        assert http.get("/api/history?seconds=60").json()["step"] > 0

    def test_a_type_is_paused_and_resumed(self, http: httpx.Client, pool: Served):
        assert http.post("/api/types/text.length/pause", headers=RIGHT).json() == {
            "type": "text.length",
            "paused": True,
        }
        handle = pool.client.send("text.length", {"text": "later"})
        reasons = http.get(f"/api/tasks/{handle.id}/why").json()["reasons"]
        assert [reason["code"] for reason in reasons] == ["paused"]
        assert http.post("/api/types/text.length/resume", headers=RIGHT).json()["paused"] is False
        assert handle.result(SECONDS) == len("later")

    def test_a_host_that_is_not_there_cannot_be_drained(self, http: httpx.Client):
        assert is_problem(http.post("/api/hosts/a%2Fb/drain", headers=RIGHT), 404)["detail"] == "no host is called a/b"

    def test_a_host_is_drained_and_stays_after_all(self, http: httpx.Client, pool: Served, tmp_path: Path):
        handle = pool.client.send("text.held", {"path": str(tmp_path / "go")})  # it leaves when it has nothing to do
        until(lambda: http.get(f"/api/tasks/{handle.id}").json()["state"] == "running", "the task runs")
        assert http.post("/api/hosts/embedded/drain", headers=RIGHT).json()["draining"] is True
        until(lambda: http.get("/api/hosts").json()["hosts"][0]["state"] == "draining", "the host drains")
        assert http.post("/api/hosts/embedded/drain", json={"undo": True}, headers=RIGHT).json()["draining"] is False
        (tmp_path / "go").touch()
        assert handle.wait(SECONDS)

    def test_pages_for_programs(self, http: httpx.Client):
        until(lambda: http.get("/health").json()["ok"], "the monitor is well")
        until(lambda: http.get("/ready").status_code == 200, "the pool is ready")
        assert b"workerhost_" in http.get("/metrics").content
        assert http.get("/metrics").headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        until(lambda: http.get("/workers/text.length/health").status_code == 200, "the type is well")
        is_problem(http.get("/workers/no.such/health"), 404)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "given", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ä"]
    )
    def test_a_change_without_the_token(self, http: httpx.Client, given: str | None):
        headers = [] if given is None else [(b"Authorization", given.encode())]
        before = http.get("/api/tasks?limit=1").json()
        answer = http.post("/api/tasks", json={"type": "text.length"}, headers=headers)
        is_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
        is_problem(http.get("/api/token", headers=headers), 401)
        assert http.get("/api/tasks?limit=1").json() == before

    @pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks/1", "/api/status", "/api/events", "/metrics"])
    def test_looking_without_the_token_where_the_pool_is_not_for_everybody_on_the_machine(
        self, pool: Served, path: str
    ):
        with pages(pool.pool.address, open=False) as url, httpx.Client(base_url=url) as stranger:
            is_problem(stranger.get(path), 401)
            assert stranger.get("/health").status_code in (200, 503)
            assert stranger.get("/api/token", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "[::2]:80", ""]
    )
    def test_another_name_for_this_address(self, http: httpx.Client, host: str):
        is_problem(http.get("/api/status", headers={"Host": host}), 421)

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:12", "127.0.0.2:7471", "[::1]:7471"])
    def test_but_not_the_machines_own_names(self, http: httpx.Client, host: str):
        assert http.get("/api/status", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
    def test_a_page_of_another_site(self, http: httpx.Client, origin: str):
        is_problem(http.get("/api/status", headers={"Origin": origin}), 403)
        is_problem(http.post("/api/tasks", json={"type": "a"}, headers={**RIGHT, "Origin": origin}), 403)
        is_problem(http.get("/api/status", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}), 403)

    def test_the_own_page_is_let_through(self, http: httpx.Client, pool: Served):
        assert http.get("/api/status", headers={"Origin": pool.url}).status_code == 200

    @pytest.mark.parametrize(
        ("body", "path"),
        [
            ({}, "type"),
            ({"type": "a b"}, "type"),
            ({"type": "a.b.c.d"}, "type"),
            ({"type": "a", "priority": "5"}, "priority"),
            ({"type": "a", "priority": 2**31}, "priority"),
            ({"type": "a", "delay": -1}, "delay"),
            ({"type": "a", "at": 5}, "at"),
            ({"type": "a", "at": "2999-01-01T00:00:00"}, "at"),
            ({"type": "a", "at": "2999-01-01T00:00:00Z", "delay": 1}, "at"),
            ({"type": "a", "tags": ["\n"]}, "tags[0]"),
            ({"type": "a", "max_attempts": 0}, "max_attempts"),
            ({"type": "a", "surprise": 1}, "surprise"),
            ({"type": "a", "params": {"n": 2**70}}, 'params["n"]'),
        ],
    )
    def test_a_task_that_cannot_be(self, http: httpx.Client, body: dict[str, Any], path: str):
        assert is_problem(http.post("/api/tasks", json=body, headers=RIGHT), 422)["path"] == path

    @pytest.mark.parametrize(
        ("content", "status"),
        [
            (b"", 415), (b"{", 400), (b"\xff", 400), (b'{"type": NaN}', 400), (b"[" * 100_000, 400), (b"[]", 422),
            (b'"\\ud800"', 422), (b'{"type": "a", "params": "\\ud800"}', 422), (b"1" * 10_000, 400),
        ],
    )  # fmt: skip
    def test_a_body_that_is_none(self, http: httpx.Client, content: bytes, status: int):
        kind = {"Content-Type": "application/json"} if content else {}
        is_problem(http.post("/api/tasks", content=content, headers={**RIGHT, **kind}), status)

    def test_a_body_of_another_kind(self, http: httpx.Client):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            is_problem(http.post("/api/tasks", content=b"{}", headers={**RIGHT, "Content-Type": kind}), 415)

    def test_a_body_without_an_end(self, http: httpx.Client):
        def endless() -> Generator[bytes]:
            for _ in range(100):
                yield b" " * 100_000

        kind = {"Content-Type": "application/json"}
        is_problem(http.post("/api/tasks", content=endless(), headers={**RIGHT, **kind}), 413)
        large = {"type": "text.length", "params": {"text": "x" * 1_100_000}}
        assert is_problem(http.post("/api/tasks", json=large, headers=RIGHT), 413)["error"] == "TooLarge"

    def test_a_number_that_is_whole_is_one_however_it_is_written(self, http: httpx.Client):
        assert http.post("/api/tasks/cancel", json={"flow": 9e9, "ids": [1.0]}).status_code == 401
        headers = {"Authorization": f"Bearer {TOKEN}"}
        asked = http.post("/api/tasks/cancel", json={"flow": 9e9, "ids": [1.0]}, headers=headers)
        assert asked.json() == {"cancelled": []}
        is_problem(http.post("/api/tasks/cancel", json={"flow": 1.5}, headers=headers), 422)

    @pytest.mark.parametrize(
        "query",
        ["limit=0", "limit=1001", "limit=x", "before=0", "state=lost", "type=%00", "tag=", "x=1", "limit=1&limit=2"],
    )
    def test_a_query_that_cannot_be(self, http: httpx.Client, query: str):
        is_problem(http.get(f"/api/tasks?{query}"), 422)

    def test_what_there_is_not(self, http: httpx.Client):
        for path in ("/nothing", "/api", "/api/", "/api/tasks/1/nothing", "/..%2f..%2fetc/passwd", "/page/index.html"):
            is_problem(http.get(path), 404)
        answer = http.request("DELETE", "/api/tasks")
        is_problem(answer, 405)
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}

    def test_every_answer_tells_a_browser_what_it_may_do(self, http: httpx.Client):
        for answer in (http.get("/"), http.get("/nothing"), http.get("/health", headers={"Host": "x"})):
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"


class TestEvents:
    def test_a_reader_gets_the_whole_and_then_what_changes(self, http: httpx.Client, pool: Served):
        with http.stream("GET", "/api/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            events = read(answer)
            name, document = next(events)
            assert name == "whole"
            before = document["tasks"]["completed"]
            pool.client.send("text.length", {"text": "x"}).result(SECONDS)
            for name, change in events:
                assert name == "change"
                if change.get("tasks", {}).get("completed") == before + 1:
                    break

    def test_who_asks_for_its_head_alone_takes_no_readers_place(
        self, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("workerhost.transport.http.events.READERS_MAX", 0)
        answer = http.head("/api/events")
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"].startswith("text/event-stream")

    def test_there_are_so_many_readers_and_no_more(self, pool: Served, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("workerhost.transport.http.events.READERS_MAX", 1)
        with httpx.Client(base_url=pool.url, timeout=SECONDS) as http:

            def is_let_in() -> bool:
                with http.stream("GET", "/api/events") as answer:
                    return answer.status_code == 200

            until(is_let_in, "a reader that left makes room")
            until(lambda: is_full_with_one(http), "the one that was let in makes room")


def is_full_with_one(http: httpx.Client) -> bool:
    """Whether there was room for one reader, and none for a second beside it."""
    with http.stream("GET", "/api/events") as answer:
        if answer.status_code != 200:
            return False
        events = read(answer)  # kept: whoever forgets it closes the connection
        next(events)
        with http.stream("GET", "/api/events") as second:
            assert second.status_code == 503
        return True


def read(answer: httpx.Response) -> Generator[tuple[str, Any]]:
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_a_pool_that_is_not_there_is_a_problem_and_not_a_wait():
    with pages("tcp://127.0.0.1:9", timeout=0.5) as url, httpx.Client(base_url=url, timeout=SECONDS) as http:
        for path in ("/api/status", "/api/tasks", "/api/tasks/1"):
            assert is_problem(http.get(path), 504)["error"] == "PoolUnreachable"
        is_problem(http.post("/api/tasks", json={"type": "a"}, headers=RIGHT), 504)
        assert http.get("/").status_code == 200
        with http.stream("GET", "/api/events") as answer:
            name, document = next(read(answer))
        assert name == "whole"
        assert "127.0.0.1:9" in document["problem"]


@pytest.mark.slow
def test_schemathesis_finds_nothing():
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        pytest.skip("schemathesis is not installed: pip install schemathesis")
    with served(workers=[length]) as pool:
        pool.client.send_many("text.length", [{"text": "x"}] * 3)
        command = [
            program, "run", f"{pool.url}/api/openapi.json", "--header", f"Authorization: Bearer {TOKEN}",
            "--phases", "coverage,fuzzing", "--generation-codec", "ascii",
            "--max-examples", "3", "--seed", "1", "--generation-database", "none",
        ]  # fmt: skip
        found = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        for state in ("queued", "scheduled", "waiting"):  # of types that nobody serves: the pool would wait for them
            pool.client.cancel([task["id"] for task in pool.client.tasks(state=state, limit=1000)])
    assert found.returncode == 0, found.stdout[-10_000:]
