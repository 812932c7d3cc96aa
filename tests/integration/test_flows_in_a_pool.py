"""Flows on a whole pool: chains, groups, graphs, results in params, failures, and what people see of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workerhost import AsyncClient, Fail, InvalidTask, TaskCancelled, TaskFailed, WorkerHost, worker

GATE = threading.Event()
BROKEN = threading.Event()


@worker("flow.number")
def number(n: int) -> int:
    return n


@worker("flow.add")
def add(parts: list[int]) -> int:
    return sum(parts)


@worker("flow.next")
def following(before: int) -> int:
    return before + 1


@worker("flow.held")
def held() -> str:
    assert GATE.wait(30)
    return "let go"


@worker("flow.brittle")
def brittle() -> str:
    if BROKEN.is_set():
        raise Fail("it is broken")
    return "whole"


WORKERS = [number, add, following, held, brittle]


@pytest.fixture(params=["memory", "sqlite"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A client of an embedded pool, on each store."""
    GATE.clear()
    BROKEN.clear()
    database = tmp_path / "tasks.db" if request.param == "sqlite" else None
    with WorkerHost(workers=WORKERS, database=database) as pool:
        yield pool.client
        GATE.set()


def test_a_graph_gives_its_results_on(client: Any) -> None:
    with client.flow("sums") as flow:
        parts = [flow.send("flow.number", {"n": n}) for n in range(10)]
        low, high = (flow.send("flow.add", {"parts": half}) for half in (parts[:5], parts[5:]))
        last = flow.send("flow.add", {"parts": [low, high, 100]})
    assert last.result(20) == 145
    assert flow.wait(20)
    shown = client.flow(flow.id).show()
    assert (shown["name"], shown["state"], shown["counts"]) == ("sums", "completed", {"completed": 13})
    assert [listed["id"] for listed in client.flows()] == [flow.id]


def test_a_chain_and_a_group(client: Any) -> None:
    def before(node: Any) -> Any:
        return {"before": node}

    def parts(nodes: Any) -> Any:
        return {"parts": nodes}

    with client.flow() as flow:
        last = flow.chain(("flow.number", {"n": 0}), *[("flow.next", before)] * 20)[-1]
        group = flow.group("flow.next", [{"before": last}] * 30, then=("flow.add", parts), after=last)
    assert group.then is not None
    assert group.then.result(20) == 30 * 21


def test_a_handle_in_params_stands_for_its_result_whether_it_has_ended_or_not(client: Any) -> None:
    first = client.send("flow.number", {"n": 3})
    assert first.result(20) == 3
    second = client.send("flow.next", {"before": first})
    assert client.send("flow.add", {"parts": [first, second, second]}).result(20) == 11


def test_what_comes_after_something_waits_for_it(client: Any) -> None:
    first = client.send("flow.held")
    second = client.send("flow.number", {"n": 1}, after=first)
    assert client.show(second.id)["state"] == "waiting"
    assert client.why(second.id)["reasons"][0]["text"].startswith(f"waits for {first.id} (")
    GATE.set()
    assert second.result(20) == 1


def test_a_failed_flow_goes_on_from_where_it_failed(client: Any) -> None:
    BROKEN.set()
    with client.flow() as flow:
        before = flow.send("flow.number", {"n": 1})
        broken = flow.send("flow.brittle", after=before)
        after = flow.send("flow.number", {"n": 2}, after=broken)
        anyway = flow.send("flow.number", {"n": 3}).comes_after(broken, on_failure="run")
    with pytest.raises(TaskFailed, match="it is broken"):
        broken.result(20)
    with pytest.raises(TaskCancelled, match=f"task {broken.id}, which it comes after, is failed"):
        after.result(20)
    assert anyway.result(20) == 3
    assert (broken.state, broken.wait(20), broken.cancel()) == ("failed", True, False)
    stored = client.flow(flow.id)
    assert stored.show()["state"] == flow.show()["state"] == "failed"
    BROKEN.clear()
    assert flow.retry() == 2
    assert after.result(20) == 2
    assert before.handle.result(20) == 1
    assert stored.show()["state"] == "completed"


def test_a_flow_is_cancelled_whole_and_nothing_of_it_begins_meanwhile(client: Any) -> None:
    with client.flow() as flow:
        first = flow.send("flow.held")
        rest = [flow.send("flow.number", {"n": 1}, after=first, on_failure="run") for _ in range(5)]
    assert flow.cancel() == 6
    GATE.set()
    assert flow.wait(20)
    assert client.flow(flow.id).show()["cancelled"] == 6
    assert all(client.show(node.id)["attempts"] == [] for node in rest)


def test_a_waiting_task_is_let_go_by_hand(client: Any) -> None:
    first = client.send("flow.held")
    second = client.send("flow.number", {"n": 1}, after=first)
    assert client.unblock([first, second]) == [second.id]
    assert second.result(20) == 1


def test_a_circle_is_named_and_nothing_is_handed_in(client: Any) -> None:
    flow = client.flow()
    one = flow.send("flow.number", {"n": 1})
    two = flow.send("flow.add", {"parts": [one]})
    one.comes_after(two)
    circle = (
        r"a circle: flow.number \(number 0\) comes after flow.add \(number 1\) comes after flow.number \(number 0\)"
    )
    with pytest.raises(InvalidTask, match=circle):
        flow.submit()
    assert client.flows() == []


def test_an_error_in_the_block_hands_nothing_in(client: Any) -> None:
    with pytest.raises(ZeroDivisionError), client.flow() as flow:
        flow.send("flow.number", {"n": 1 // 0})
    assert client.flows() == []


def test_a_flow_of_several_parts_is_one(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workerhost.transport.flow_parts.PART_TASKS_MAX", 50)
    with client.flow("wide") as flow:
        parts = [flow.send("flow.number", {"n": n}) for n in range(120)]
        last = flow.send("flow.add", {"parts": parts})
    assert last.result(20) == sum(range(120))
    shown = client.flow(flow.id).show()
    assert (shown["state"], shown["total"]) == ("completed", 121)


def test_a_flow_whose_part_is_refused_never_runs(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workerhost.transport.flow_parts.PART_TASKS_MAX", 2)
    flow = client.flow()
    for n in range(3):
        flow.send("flow.number", {"n": n})
    flow.send("flow.number", {"n": 4}, after=4711)
    with pytest.raises(InvalidTask, match="the pool has no task 4711"):
        flow.submit()
    [task, *_] = client.tasks(type="flow.number")
    assert (task["state"], task["attempt"]) == ("cancelled", 0)


def test_a_flow_in_an_event_loop(client: Any) -> None:
    async def run() -> Any:
        async with AsyncClient(client.address) as asking:
            async with asking.flow("awaited") as flow:
                parts = [flow.send("flow.number", {"n": n}) for n in range(5)]
                last = flow.send("flow.add", {"parts": parts})
            value = await last.result(20)
            assert await last.wait(20)
            assert await flow.wait(20)
            assert ((await flow.show())["state"], await flow.retry(), last.state) == ("completed", 0, "completed")
            stored = asking.flow(flow.id)
            handle = await asking.send("flow.next", {"before": last.handle})
            return value, await handle.result(20), await stored.show(), await asking.flows(), await stored.retry()

    value, following, shown, listed, retried = asyncio.run(run())
    assert (value, following, retried) == (10, 11, 0)
    assert (shown["name"], shown["counts"]) == ("awaited", {"completed": 6})
    assert [flow["id"] for flow in listed] == [shown["id"]]


def test_what_comes_after_what_is_shown(client: Any):
    GATE.set()
    before = client.send("flow.number", {"n": 1})
    with client.flow("drawn") as flow:
        first = flow.send("flow.number", {"n": 2}, after=before)
        second = flow.send("flow.next", {"before": first}, on_failure="run")
    assert flow.wait(30)
    graph = client.flow(flow.id).graph()
    assert (graph["flow"]["name"], graph["flow"]["completed"]) == ("drawn", 2)
    assert [(task["id"], task["type"], task["state"]) for task in graph["tasks"]] == [
        (first.id, "flow.number", "completed"),
        (second.id, "flow.next", "completed"),
    ]
    assert graph["edges"] == [[first.id, before.id, "cancel", True], [second.id, first.id, "run", True]]
    assert graph["others"] == [[before.id, "completed"]]
    assert [client.show(task.id).get("flow") for task in (before, first, second)] == [None, flow.id, flow.id]


def test_a_flow_that_nobody_could_look_at_is_told_by_type(client: Any):
    with client.flow() as flow:
        group = flow.group("flow.number", [{"n": 1}] * 250, then=("flow.add", {"parts": []}))
    assert flow.wait(30)
    assert group.then is not None
    graph = client.flow(flow.id).graph()
    assert (graph["flow"]["total"], graph["tasks"], graph["edges"]) == (251, None, [])
    shown = client.flow(flow.id).show()
    assert shown["types"] == {"flow.add": {"completed": 1}, "flow.number": {"completed": 250}}
