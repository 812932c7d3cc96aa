# pyright: reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# (the workers here are made of lambdas)
"""What a worker may say of its end, in any form: a supervisor takes it, or it would turn the whole host away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from workerhost.actors.core import reports
from workerhost.workers import ends, values
from workerhost.workers.ends import AttemptEnd
from workerhost.workers.errors import Fail, Release
from workerhost.workers.loop_slots import _LoopRunner  # pyright: ignore[reportPrivateUsage]
from workerhost.workers.registry import offer_of, worker
from workerhost.workers.runner import Attempt, Runner
from workerhost.workers.task import Result

ITEM = (1, 7, "a", 1, 0, 5, 0.0, None, None, (), values.pack(None), None)


def in_a_thread(execute: Callable[[], Any]) -> AttemptEnd:
    return Runner(offer_of([worker("a")(execute)])).attempt(Attempt(ITEM, lambda *_: None))


def in_an_event_loop(execute: Callable[[], Any]) -> AttemptEnd:
    @worker("a")
    async def execute_soon() -> Any:
        return execute()

    async def attempt() -> AttemptEnd:
        lane = _LoopRunner(offer_of([execute_soon]))
        lane.begin(asyncio.get_running_loop())
        return await lane.attempt_in_loop(Attempt(ITEM, lambda *_: None))

    return asyncio.run(attempt())


runners = pytest.mark.parametrize("run", [in_a_thread, in_an_event_loop])


def told(end: AttemptEnd) -> dict[str, Any]:
    """What a supervisor keeps of a failure."""
    assert end.outcome == ends.FAILED
    values.pack(end.detail)
    detail = reports.result([1, 7, end.outcome, b"", 0.1, 1, end.detail])[6]
    assert detail is not None
    return detail


class Torn:
    """Nothing can be asked of it."""

    def __bool__(self) -> bool:
        raise RuntimeError("neither")


@runners
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("x"), "x"),
        (b"grob \xff", "grob \ufffd"),
        ({"a": 1}, "{'a': 1}"),
        (5, "5"),
        (["x"], "['x']"),
        ("\ud83d", "\\ud83d"),
        (b"x" * 100_000, "x" * ends.MESSAGE_CHARACTERS_MAX),
        (None, "success=False"),
    ],
)
def test_an_error_of_any_form_is_text(run: Callable[..., AttemptEnd], error: Any, message: str) -> None:
    assert told(run(lambda: Result(False, error=error)))["message"] == message


@runners
@pytest.mark.parametrize(("retry", "expected"), [(0, False), (1, True), ("no", True), ([], False)])
def test_whether_to_retry_is_true_or_false(run: Callable[..., AttemptEnd], retry: Any, expected: bool) -> None:
    assert told(run(lambda: Result(False, error="x", retry=retry)))["retry"] is expected


@runners
@pytest.mark.parametrize("more", [{"error": Torn()}, {"error": "x", "retry": Torn()}])
def test_a_result_that_cannot_be_asked_is_a_failure(run: Callable[..., AttemptEnd], more: dict[str, Any]) -> None:
    detail = told(run(lambda: Result(False, **more)))
    assert (detail["error_type"], detail["cause"]) == ("RuntimeError", "exception")
    assert "neither" in detail["message"]


class OwnFail(Fail):
    """Has none of what its class promises."""

    def __init__(self, code: int) -> None:
        self.code = code


class OwnRelease(Release):
    def __init__(self, code: int) -> None:
        self.code = code


@runners
@pytest.mark.parametrize("kind", [OwnFail, OwnRelease])
def test_an_exception_of_ours_without_its_init_is_a_failure(run: Callable[..., AttemptEnd], kind: Any) -> None:
    def execute() -> None:
        raise kind(3)

    detail = told(run(execute))
    assert (detail["error_type"], detail["cause"]) == (kind.__name__, "exception")
    assert "no attribute" in detail["message"]
    assert "raise kind(3)" in detail["traceback"]


@runners
def test_what_fail_is_told_later_on_is_looked_at_too(run: Callable[..., AttemptEnd]) -> None:
    def execute() -> None:
        error = Fail("x", kind="quota", node="a.b\ud83d", after=10**400)
        error.kind, error.reason = "unheard of", b"bytes"  # pyright: ignore[reportAttributeAccessIssue]
        raise error

    detail = told(run(execute))
    assert (detail["kind"], detail["message"], detail.get("after")) == ("permanent", "bytes", None)


def test_a_long_traceback_ends_as_it_did() -> None:
    detail = ends.failure("X\ud83d", "x", cause="failed", retry=None, trace="\ud83d" * 20_000 + "the end").detail
    assert detail is not None
    values.pack(detail)
    assert len(detail["traceback"]) == ends.TRACEBACK_CHARACTERS_MAX
    assert detail["traceback"].startswith("[...]\n")
    assert detail["traceback"].endswith("the end")
