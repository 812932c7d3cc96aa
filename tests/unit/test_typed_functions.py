"""Typed functions: a wrong call is an error at once, and the type checker knows what a result is.

`assert_type` costs nothing when this runs; basedpyright checks it with the rest of the tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, assert_type

import pytest

from workerhost import BaseWorker, Batch, Handle, Result, Task, WorkerHost, worker

SECONDS = 20.0


@worker("text.length")
def length(text: str, *, extra: int = 0) -> int:
    """A plain function."""
    return len(text) + extra


@worker("text.upper")
async def upper(text: str) -> str:
    """An async one."""
    return text.upper()


@worker("text.judge")
def judge(text: str) -> Result:
    """One that says how it went."""
    return Result(success=True, data=bool(text))


@worker("text.options")
def options(**values: int) -> list[str]:
    """One that takes any names."""
    return sorted(values)


@worker("text.first")
def first(text: str, /) -> str:
    """One whose argument has no name."""
    return text[0]


def test_a_typed_task_carries_its_arguments_by_name() -> None:
    assert length.task("hi") == Task(0, "text.length", {"text": "hi"})
    assert length.task(text="hi", extra=3).params == {"text": "hi", "extra": 3}
    assert options.task(a=1, b=2).params == {"a": 1, "b": 2}
    assert length.type == "text.length"


def test_a_wrong_call_is_an_error_at_once() -> None:
    with pytest.raises(TypeError, match="too many positional"):
        length.task("hi", "there")  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="missing a required argument: 'text'"):
        length.task()  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        length.task("hi", colour="red")  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="text has no name to be passed by"):
        first.task("hi")


def test_a_function_stays_what_it_was() -> None:
    assert_type(length("four"), int)
    assert length("four", extra=1) == 5
    call = upper("a")
    same: Coroutine[Any, Any, str] = call
    assert asyncio.run(same) == "A"


def test_the_value_has_the_type_that_the_function_returns() -> None:
    with WorkerHost(workers=[length, upper, judge]) as pool:
        client = pool.client

        handle = client.send(length.task("hello"), priority=7)
        assert_type(handle, Handle[int])
        assert_type(handle.result(SECONDS), int)
        assert handle.result(SECONDS) == 5

        soon = client.send_soon(upper.task("hello"))
        assert_type(soon, Handle[str])
        assert soon.result(SECONDS) == "HELLO"

        assert_type(client.send(judge.task("x")), Handle[Any])
        assert client.send(judge.task("x")).result(SECONDS) is True

        batch = client.send_many(length, [{"text": "a" * n} for n in range(3)])
        assert_type(batch, Batch[int])
        assert_type(batch[0], Handle[int])
        assert batch.results(SECONDS) == [0, 1, 2]
        for done in client.as_completed(batch, timeout=SECONDS):
            assert_type(done, Handle[int])

        values = list(client.map(length, ({"text": "a" * n} for n in range(3))))
        assert_type(values, list[int])
        assert values == [0, 1, 2]

        assert_type(client.send("text.length", {"text": "x"}), Handle[Any])


def test_a_task_that_brings_its_params_takes_no_others() -> None:
    with WorkerHost(workers=[length]) as pool, pytest.raises(TypeError, match="a task brings its params"):
        pool.client.send(length.task("hi"), {"text": "x"})  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_plain_names_go_on_meaning_anything() -> None:
    class Echo(BaseWorker):
        type = "echo"

        def execute(self, task: Task) -> Result:
            assert_type(task, Task[Any])
            return Result(success=True, data=task.params)

    handle: Handle | None = None
    with WorkerHost(workers=[Echo]) as pool:
        handle = pool.client.send("echo", [1, 2])
        assert handle.result(SECONDS) == [1, 2]
