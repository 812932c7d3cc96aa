"""`workerhost.testing`: whole pools on a clock that the test moves, with task code that really runs."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from workerhost import (
    BaseWorker,
    Fail,
    PoolUnreachable,
    Release,
    Task,
    TaskFailed,
    TaskQuarantined,
    WorkerHost,
    testing,
    worker,
)
from workerhost.testing import workerhost_pool  # noqa: F401  # pyright: ignore[reportUnusedImport]  # a fixture

RETRY = {"defaults": {"retry": {"max_attempts": 3, "base": "10m", "cap": "1h", "jitter": 0}}}


@worker("echo")
def echo(value: Any) -> Any:
    return value


@worker("echo.double")
async def double(value: int) -> int:
    return 2 * value


@worker("fail")
def fail() -> None:
    raise LookupError("no")


class Steps(BaseWorker):
    """Goes on from its checkpoint, one step with each attempt."""

    type = "steps"
    began: list[Any] = []  # noqa: RUF012  # the test empties it

    def execute(self, task: Task) -> Any:
        self.began.append(task.checkpoint)
        self.report_progress(0.5, "half-way")
        step = (task.checkpoint or 0) + 1
        self.checkpoint(step)
        if step < 3:
            raise Fail("not yet", retry=True)
        return step


def test_a_task_really_runs_and_its_value_comes_back() -> None:
    with testing.Pool(workers=[echo, double]) as pool:
        handle = pool.send("echo", {"value": [1, "zwei"]})
        assert handle.state == "queued"
        assert handle.result() == [1, "zwei"]
        assert pool.send_many("echo.double", [{"value": n} for n in range(50)]).results() == [2 * n for n in range(50)]
        assert list(pool.client.map("echo", range(5))) == list(range(5))
        assert {h.result() for h in pool.client.as_completed(pool.send_many("echo", range(9)))} == set(range(9))


def test_an_hour_is_no_time() -> None:
    began = time.monotonic()
    with testing.Pool(workers=[echo]) as pool:
        handle = pool.send("echo", 1, delay=timedelta(hours=1))
        start = pool.now
        pool.advance(minutes=59)
        assert pool.now - start == timedelta(minutes=59)
        assert handle.state == "scheduled"
        pool.advance(minutes=2)
        assert handle.state == "completed"
    assert time.monotonic() - began < 5


def test_a_failure_is_tried_again_when_its_time_has_come() -> None:
    with testing.Pool(RETRY, workers=[fail]) as pool:
        handle = pool.send("fail")
        pool.advance(1)
        assert (handle.state, pool.client.show(handle.id)["failures"]) == ("scheduled", 1)
        pool.advance(minutes=11)
        assert (handle.state, pool.client.show(handle.id)["failures"]) == ("scheduled", 2)
        pool.run_until_idle()
        with pytest.raises(TaskFailed, match="LookupError: no") as failed:
            handle.result()
        assert failed.value.attempts == 3


def test_a_checkpoint_reaches_the_next_attempt() -> None:
    Steps.began.clear()
    with testing.Pool(RETRY, workers=[Steps]) as pool:
        handle = pool.send("steps")
        assert handle.result() == 3
        assert Steps.began == [None, 1, 2]
        assert handle.progress.note == "half-way"


def test_a_release_counts_as_nothing() -> None:
    ready: list[bool] = []

    @worker("later")
    def later() -> str:
        if not ready:
            raise Release("not now", after=60)
        return "now"

    with testing.Pool(workers=[later]) as pool:
        handle = pool.send("later")
        pool.advance(30)
        assert handle.state == "scheduled"
        ready.append(True)
        assert handle.result() == "now"
        assert pool.client.show(handle.id)["failures"] == 0


def test_a_task_that_takes_longer_than_its_timeout_fails() -> None:
    with testing.Pool({"workers": {"echo": {"timeout": "1m", "retry": {"max_attempts": 1}}}}, workers=[echo]) as pool:
        pool.takes("echo", 59)
        assert pool.send("echo", 1).result() == 1
        pool.takes("echo", 61)
        with pytest.raises(TaskFailed) as failed:
            pool.send("echo", 1).result()
        assert failed.value.cause == "timeout"


def test_a_task_is_cancelled_before_it_runs_and_while_it_runs() -> None:
    with testing.Pool(workers=[echo], slots=1) as pool:
        pool.takes("", 3600)
        running, waiting = pool.send("echo", 1), pool.send("echo", 2)
        pool.advance(minutes=5)
        assert (running.state, waiting.state) == ("running", "queued")
        assert waiting.cancel()
        assert running.cancel()
        pool.run_until_idle()
        assert (running.state, waiting.state) == ("cancelled", "cancelled")


def test_a_host_that_dies_loses_nothing() -> None:
    runs: list[int] = []

    @worker("slow")
    def slow(number: int) -> int:
        runs.append(number)
        return number

    with testing.Pool(workers=[slow], hosts=2, slots=1) as pool:
        pool.takes("slow", 200)
        handle = pool.send("slow", 7)
        pool.advance(60)
        pool.crash_host()
        assert handle.result() == 7
        assert runs == [7, 7]
        assert pool.client.show(handle.id)["failures"] == 0


def test_when_all_has_ended_the_client_has_heard_of_it() -> None:
    with testing.Pool(workers=[echo]) as pool:
        handles = [pool.send("echo", {"value": n}) for n in range(3)]
        pool.run_until_idle()
        assert {handle.state for handle in handles} == {"completed"}


def test_a_task_whose_slot_dies_again_and_again_is_quarantined() -> None:
    with testing.Pool(workers=[echo]) as pool:
        pool.takes("echo", 600)
        handle = pool.send("echo", 1)
        for _ in range(3):
            while handle.state != "running":
                pool.advance(1)
            pool.crash_slot()
            pool.advance(1)
        with pytest.raises(TaskQuarantined):
            handle.result()


def test_a_supervisor_that_dies_remembers_everything() -> None:
    with testing.Pool(workers=[echo]) as pool:
        handles = [pool.send("echo", number, delay=60) for number in range(20)]
        pool.crash_supervisor(back_after=30)
        pool.run_until_idle()
        assert [handle.result() for handle in handles] == list(range(20))


@pytest.mark.parametrize("seed", range(4))
def test_in_bad_weather_everything_ends_once(seed: int) -> None:
    faults = {"drop": 0.02, "duplicate": 0.1, "crash_host": 0.003, "crash_supervisor": 0.005, "partition": 0.01}
    with testing.Pool(workers=[echo], hosts=3, faults=faults, seed=seed) as pool:
        pool.takes("echo", 5)
        batch = pool.send_many("echo", range(100), chunk=10)
        assert batch.results() == list(range(100))


def test_the_same_seed_is_the_same_history() -> None:
    def history(seed: int) -> list[Any]:
        with testing.Pool(workers=[echo], hosts=2, faults={"drop": 0.2, "crash_slot": 0.1}, seed=seed) as pool:
            pool.takes("echo", 3)
            batch = pool.send_many("echo", range(20))
            batch.wait()
            return [(shown["attempt"], shown["attempts"]) for shown in map(pool.client.show, batch.ids()[0])]

    assert history(1) == history(1)
    assert history(1) != history(2)


def test_a_fault_happens_by_its_name() -> None:
    with testing.Pool(workers=[echo]) as pool:
        pool.happen("stall_supervisor")
        assert pool.send("echo", 1).result() == 1
        with pytest.raises(ValueError, match="'drop' is a rate"):
            pool.happen("drop")
        with pytest.raises(ValueError, match=r"no fault 'earthquake'; there are drop, "):
            pool.happen("earthquake")
    with pytest.raises(ValueError, match="no fault 'crash_client'"):
        testing.Pool(faults={"crash_client": 1})


def test_what_never_ends_says_why() -> None:
    with testing.Pool(workers=[echo]) as pool:
        pool.send("nobody.serves", 1)
        with pytest.raises(TimeoutError, match=r"task 1 \(nobody\.serves\) is queued: none of 1 hosts serves"):
            pool.run_until_idle(hours=1)
        with pytest.raises(TimeoutError, match="it goes on"):
            pool.client.task(1).result(timeout=60)
        with pytest.raises(TimeoutError, match="within a day"):
            pool.client.task(1).result()


def test_a_pool_whose_hosts_never_join_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = threading.active_count()
    with pytest.raises(PoolUnreachable), testing.Pool(workers=[echo], faults={"drop": 1.0}):
        pass
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == before


def test_a_task_may_send_tasks() -> None:
    with testing.Pool(workers=[echo]) as pool:

        @worker("parent")
        def parent() -> int:
            return pool.send("echo", 20).result() + 1

        with testing.Pool(workers=[parent]) as outer:
            assert outer.send("parent").result() == 21


def test_a_pool_of_the_fixture_is_left_after_the_test(workerhost_pool: Callable[..., testing.Pool]) -> None:  # noqa: F811
    before = threading.active_count()
    pool = workerhost_pool(workers=[echo])
    assert pool.send("echo", 1).result() == 1
    assert threading.active_count() == before


def test_schedules_alerts_and_offers_of_the_configuration_count() -> None:
    config = {
        "schedules": {"tick": {"type": "echo.double", "params": {"value": 1}, "every": "1m"}},
        "host": {"offer": {"gpu": 1}},
        "monitoring": {"alerts": {"queue_depth_high": 1}},
    }
    with testing.Pool(config, workers=[echo, double], slots=1) as pool:
        assert pool.send("echo", 1, requires={"gpu": 1}).result() == 1
        pool.advance(minutes=10)
        assert [one["name"] for one in pool.client.schedules()] == ["tick"]
        assert len(pool.client.tasks(type="echo.double", state="completed")) == 10
        pool.takes("echo", 240.0)
        pool.send_many("echo", range(3))
        pool.advance(30.0)
        assert [alert["metric"] for alert in pool.client.status()["alerts"]] == ["queue_depth"]


def test_waiting_makes_more_urgent_where_the_configuration_says_so() -> None:
    with testing.Pool({"queue": {"ageing": "1 per 1m"}}, workers=[echo], slots=1) as pool:
        pool.takes("echo", 240.0)
        first, old = pool.send("echo", 1), pool.send("echo", 2)
        pool.advance(minutes=3)
        late = pool.send("echo", 3, priority=1)
        pool.advance(minutes=2)
        assert (first.state, old.state, late.state) == ("completed", "running", "queued")


def test_it_gives_what_a_pool_gives() -> None:
    def outcome(pool: Any) -> dict[str, Any]:
        handle = pool.client.send("echo.double", {"value": 21}, priority=7, tags=["t"])
        assert handle.result(timeout=20) == 42
        shown = pool.client.show(handle.id)
        return {key: shown[key] for key in ("id", "type", "state", "priority", "attempt", "result", "params")}

    with WorkerHost(workers=[double]) as real, testing.Pool(workers=[double]) as played:
        assert outcome(real) == outcome(played)
