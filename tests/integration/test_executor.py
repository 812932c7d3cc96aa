"""`PoolExecutor` against the list of what the standard library tests of its own executors, and what only ours does."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from workerhost import Client, Handle, InvalidTask, NoHost, PoolExecutor, TaskFailed, WorkerHost, register_joblib
from workerhost.transport import connection

sys.path.append(str(Path(__file__).parent))  # where the hosts' slots find the functions too: they are inline
import executor_jobs as jobs

SECONDS = 20.0
HOST = {"functions": ["executor_jobs"]}


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerHost]:
    with WorkerHost({"host": HOST}, slots=4) as pool:
        yield pool


@pytest.fixture
def executor(pool: WorkerHost) -> Iterator[PoolExecutor]:
    jobs.let_go.clear()
    with PoolExecutor(pool.client) as executor:
        yield executor
        jobs.let_go.set()


def held_by(future: Any) -> Handle[Any]:
    return future.handle


# What the standard library tests of an executor.


def test_submit(executor: PoolExecutor) -> None:
    assert executor.submit(jobs.power, 2, 8).result(SECONDS) == 256
    assert executor.submit("executor_jobs:power", 3).result(SECONDS) == 9


def test_submit_keywords(executor: PoolExecutor) -> None:
    assert executor.submit(jobs.power, 2, exponent=3).result(SECONDS) == 8
    future = executor.submit(jobs.capture, 1, self=2, fn=3)
    assert future.result(SECONDS) == [[1], {"fn": 3, "self": 2}]
    assert executor.submit(partial(jobs.power, exponent=4), 3).result(SECONDS) == 81
    with pytest.raises(TypeError):
        executor.submit()  # type: ignore[call-arg]


def test_map(executor: PoolExecutor) -> None:
    assert list(executor.map(jobs.power, range(10), range(10))) == list(map(pow, range(10), range(10)))
    assert list(executor.map(jobs.power, range(10), range(10), chunksize=3)) == list(map(pow, range(10), range(10)))
    assert list(executor.map(jobs.power, [])) == []


def test_map_exception(executor: PoolExecutor) -> None:
    values = executor.map(jobs.divide, [1, 1, 1], [1, 2, 0])
    assert next(values) == 1
    assert next(values) == 0.5
    with pytest.raises(ZeroDivisionError):
        next(values)


def test_map_timeout(executor: PoolExecutor) -> None:
    values = executor.map(jobs.hold, [1], timeout=0.05)
    with pytest.raises(TimeoutError):
        next(values)


def test_map_chunksize_below_one(executor: PoolExecutor) -> None:
    with pytest.raises(ValueError, match="chunksize=-1"):
        executor.map(jobs.power, [1], chunksize=-1)


def test_traceback_is_the_cause(executor: PoolExecutor) -> None:
    error = executor.submit(jobs.divide, 1, 0).exception(SECONDS)
    assert type(error) is ZeroDivisionError
    assert str(error) == "division by zero"
    cause = error.__cause__
    assert isinstance(cause, TaskFailed)
    assert "return a / b" in cause.traceback


def test_an_exception_of_the_functions_module_is_itself(executor: PoolExecutor) -> None:
    with pytest.raises(jobs.Refused, match="not today"):
        executor.submit(jobs.refuse, "not today").result(SECONDS)


def test_wait_and_as_completed(executor: PoolExecutor) -> None:
    held, quick = executor.submit(jobs.hold, 1), executor.submit(jobs.power, 2)
    done, rest = futures.wait([held, quick], timeout=SECONDS, return_when=futures.FIRST_COMPLETED)
    assert (done, rest) == ({quick}, {held})
    failing = executor.submit(jobs.divide, 1, 0)
    done, rest = futures.wait([held, failing], timeout=SECONDS, return_when=futures.FIRST_EXCEPTION)
    assert (done, rest) == ({failing}, {held})
    jobs.let_go.set()
    assert {future.result() for future in futures.as_completed([held, quick], timeout=SECONDS)} == {1, 4}


def test_callbacks_are_called_also_of_a_future_that_has_ended(executor: PoolExecutor) -> None:
    called: list[Any] = []
    future = executor.submit(jobs.power, 5)
    future.add_done_callback(lambda done: called.append(done.result()))
    assert future.result(SECONDS) == 25
    executor.submit(jobs.power, 1).result(SECONDS)  # the callback of the first was called before the second ended
    future.add_done_callback(lambda done: called.append("late"))
    assert called == [25, "late"]


def test_cancel(pool: WorkerHost, executor: PoolExecutor) -> None:
    held = [executor.submit(jobs.hold, number) for number in range(10)]
    assert held[9].cancel()
    assert held[9].cancelled()
    assert held[9].done()
    assert held[9].cancel()
    with pytest.raises(futures.CancelledError):
        held[9].result()
    assert futures.wait(held[9:], SECONDS).done == {held[9]}
    handle = held_by(held[9])
    assert handle.wait(SECONDS)
    assert handle.state == "cancelled"
    jobs.let_go.set()
    assert [future.result(SECONDS) for future in held[:9]] == list(range(9))
    assert held[0].cancel() is False


def test_who_cancels_the_task_cancels_the_future(pool: WorkerHost, executor: PoolExecutor) -> None:
    held = [executor.submit(jobs.hold) for _ in range(6)]
    pool.client.cancel(held_by(held[5]).id)
    with pytest.raises(futures.CancelledError):
        held[5].result(SECONDS)


def test_what_no_task_is_sent_with_is_said_at_once() -> None:
    wrong: Any = {"keys": "night"}
    with pytest.raises(TypeError, match=r"keys=; did you mean key=\?"):
        PoolExecutor("tcp://127.0.0.1:1", **wrong)
    with pytest.raises(InvalidTask, match="timeout=-1"):
        PoolExecutor("tcp://127.0.0.1:1", timeout=-1)


def test_submit_after_shutdown(pool: WorkerHost) -> None:
    executor = PoolExecutor(pool.address)
    assert executor.submit(jobs.power, 2).result(SECONDS) == 4
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(jobs.power, 2)
    PoolExecutor(pool.address).shutdown()


def test_shutdown_waits_or_does_not(pool: WorkerHost) -> None:
    jobs.let_go.clear()
    executor = PoolExecutor(pool.address)
    future = executor.submit(jobs.hold, 7)
    executor.shutdown(wait=False)
    assert not future.done()
    jobs.let_go.set()
    assert future.result(SECONDS) == 7
    with PoolExecutor(pool.client) as other:
        last = other.submit(jobs.power, 3)
    assert last.done()


def test_a_future_has_its_end_while_another_call_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "OUTSTANDING_MAX", 3)
    jobs.let_go.clear()
    with (
        WorkerHost({"host": HOST, "queue": {"max_size": 1}}, slots=1) as pool,
        Client(pool.address) as client,
        PoolExecutor(client) as executor,
        futures.ThreadPoolExecutor() as threads,
    ):
        running = executor.submit(jobs.hold, 1)
        assert held_by(running).id
        waiting = client.map("nobody", range(8), buffersize=8, full="wait")  # so many wait for room in the queue
        later = threads.submit(executor.submit, jobs.power, 3)
        with pytest.raises(TimeoutError):
            later.result(0.1)
        jobs.let_go.set()
        assert running.result(SECONDS) == 1
        assert not later.done()
        executor.shutdown(wait=False)
        while client._connections.current().outstanding:  # pyright: ignore[reportPrivateUsage]
            client.cancel(state="queued")
        client.cancel(state="queued")
        with pytest.raises(RuntimeError, match="after shutdown"):
            later.result(SECONDS)
        waiting.close()


def test_an_executor_that_is_dropped_leaves_no_thread_when_its_calls_have_ended(pool: WorkerHost) -> None:
    before = set(threading.enumerate())
    jobs.let_go.clear()
    future = PoolExecutor(pool.address).submit(jobs.hold, 7)
    new = [thread for thread in threading.enumerate() if thread not in before]
    assert {"ClientActor", "futures of a pool"} <= {thread.name.split("-")[0] for thread in new}
    jobs.let_go.set()
    assert future.result(SECONDS) == 7
    for thread in new:
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_shutdown_cancels(pool: WorkerHost) -> None:
    jobs.let_go.clear()
    executor = PoolExecutor(pool.client)
    held = [executor.submit(jobs.hold) for _ in range(20)]
    executor.shutdown(wait=False, cancel_futures=True)
    jobs.let_go.set()
    futures.wait(held, SECONDS)
    assert all(future.cancelled() for future in held[8:])


def test_an_event_loop_runs_calls_in_it(executor: PoolExecutor) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        calls = (loop.run_in_executor(executor, jobs.power, number) for number in range(5))
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [0, 1, 4, 9, 16]


def test_a_run_of_a_name_goes_on_where_it_was(pool: WorkerHost) -> None:
    for run in range(2):
        jobs.called.clear()
        with Client(pool.address) as client, PoolExecutor(client, name="night-run") as executor:
            assert list(executor.map(jobs.count, range(10 + run))) == list(range(10 + run))
            assert executor.submit(jobs.count, 3).result(SECONDS) == 3
            assert list(executor.map(jobs.count, range(20, 26), chunksize=3)) == list(range(20, 26))
        assert sorted(jobs.called) == ([*range(10), *range(20, 26)] if run == 0 else [10])
    with PoolExecutor(pool.client, name="another night") as executor:
        assert executor.submit(jobs.count, 3).result(SECONDS) == 3
    assert jobs.called == [10, 3]


# What may be called.


OTHERS = ("os:system", "executor_jobs:os.getpid", "executor_jobs:_hidden", "executor_jobs:imported")
INSIDE = ("executor_jobs:power.__call__", "executor_jobs:Shape", "executor_jobs:nothing", "executor_jobs:")


@pytest.mark.parametrize("path", OTHERS + INSIDE)
def test_nothing_else_is_called(executor: PoolExecutor, path: str) -> None:
    with pytest.raises(TaskFailed, match="executor_jobs") as failed:
        executor.submit(path, 1).result(SECONDS)
    assert failed.value.attempts == 1


def test_a_static_method_is_a_function_of_its_module(executor: PoolExecutor) -> None:
    assert executor.submit(jobs.Shape.area, 2, 3).result(SECONDS) == 6


def test_a_module_that_is_not_listed_is_refused_with_the_cure(executor: PoolExecutor) -> None:
    with pytest.raises(TaskFailed, match="add it to `host: functions:`"):
        executor.submit("json:dumps", 1).result(SECONDS)


def test_what_has_no_import_path_is_refused_with_the_cure(executor: PoolExecutor) -> None:
    with pytest.raises(InvalidTask, match="defined inside a function"):
        executor.submit(lambda: 1)
    with pytest.raises(InvalidTask, match="has no import path"):
        executor.submit("text".upper)
    with pytest.raises(InvalidTask, match="params"):
        executor.submit(jobs.power, object())


def test_a_pool_without_functions_refuses_with_the_cure() -> None:
    with WorkerHost(slots=1) as pool:
        named = PoolExecutor(pool.client).submit(jobs.power, 2)
        pickled = PoolExecutor(pool.client, pickle=True).submit(lambda: 1)
        with pytest.raises(NoHost, match="host: functions"):
            named.result(SECONDS)
        with pytest.raises(NoHost, match="host: pickle"):
            pickled.result(SECONDS)


def test_what_is_pickled_may_be_anything_where_both_sides_say_so() -> None:
    factor = 3

    def times(number: int) -> set[int]:
        return {number * factor}

    def pair(number: int) -> tuple[int, int]:
        return number, factor

    with WorkerHost({"host": {"pickle": True}}, slots=2) as pool, PoolExecutor(pool.client, pickle=True) as executor:
        assert executor.submit(times, 5).result(SECONDS) == {15}
        assert list(executor.map(pair, range(5), chunksize=2)) == [(n, 3) for n in range(5)]


def test_functions_run_in_processes_that_import_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    settings = {"host": {**HOST, "isolation": "process"}}
    with WorkerHost(settings, slots=1) as pool, PoolExecutor(pool.client) as executor:
        assert executor.submit(jobs.process).result(60) != os.getpid()


# joblib.


def test_joblib_runs_its_calls_in_a_pool(pool: WorkerHost) -> None:
    joblib: Any = pytest.importorskip("joblib")
    register_joblib()
    with joblib.parallel_config("workerhost", n_jobs=-1, client=pool.client):
        values = joblib.Parallel()(joblib.delayed(jobs.power)(n, exponent=3) for n in range(100))
        assert values == [n**3 for n in range(100)]
        with pytest.raises(ZeroDivisionError):
            joblib.Parallel()(joblib.delayed(jobs.divide)(1, n) for n in (1, 0))
        lazily = joblib.Parallel(return_as="generator")(joblib.delayed(jobs.power)(n) for n in range(10))
        assert list(lazily) == [n * n for n in range(10)]


def test_joblib_with_pickled_functions() -> None:
    joblib: Any = pytest.importorskip("joblib")
    register_joblib()

    def following(number: int) -> int:
        return number + 1

    with (
        WorkerHost({"host": {"pickle": True}}, slots=2) as pool,
        Client(pool.address) as client,
        joblib.parallel_config("workerhost", n_jobs=2, client=client, pickle=True),
    ):
        assert joblib.Parallel()(joblib.delayed(following)(n) for n in range(20)) == list(range(1, 21))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_forked_child_has_futures_of_its_own(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/pool"
    config = {"host": HOST, "pool": {"bind": address}}
    with WorkerHost(config, slots=2), PoolExecutor(address) as executor:
        assert executor.submit(jobs.power, 2).result(SECONDS) == 4  # its thread is there
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if executor.submit(jobs.power, 3).result(SECONDS) == 9 else 2
                executor.shutdown()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert executor.submit(jobs.power, 4).result(SECONDS) == 16
