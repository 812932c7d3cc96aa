# pyright: reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# (the workers here are made of lambdas)
from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from workerhost.transport import messages
from workerhost.workers import ends, values
from workerhost.workers.base import BaseWorker
from workerhost.workers.ends import AttemptEnd
from workerhost.workers.errors import ConfigError, Fail, InvalidTask, Release
from workerhost.workers.loop_slots import _LoopRunner  # pyright: ignore[reportPrivateUsage]
from workerhost.workers.registry import Worker, load, offer_of, worker
from workerhost.workers.runner import Attempt, Runner, Stopped, run
from workerhost.workers.task import Result, Task

SEED = (
    """
class MyWorker(BaseWorker):
    def can_handle(self, task: Task) -> bool:
        \"\"\"Check if worker can handle task\"\"\"
        return task.type == 'my_type'
    
    def execute(self, task: Task) -> Result:
        \"\"\"Execute task\"\"\"
        # Implementation
        return Result(success=True)
""",  # noqa: W293 -- as printed
    """
class MyWorker(BaseWorker):
    def execute(self, task: Task) -> Result:
        try:
            # Do work
            return Result(success=True)
        finally:
            self.cleanup()
    
    def cleanup(self):
        \"\"\"Cleanup resources\"\"\"
        pass
""",  # noqa: W293 -- as printed
    """
class MyWorker(BaseWorker):
    def execute(self, task: Task) -> Result:
        for i in range(100):
            # Do work
            self.report_progress(i / 100)
        return Result(success=True)
""",
)  # the seed's patterns, as printed


def item(id: int = 1, type: str = "a", params: Any = None, seconds: float | None = None) -> tuple[Any, ...]:
    return (id, 7, type, 2, 1, 5, 1_700_000_000.0, seconds, "key", ("x", "y"), values.pack(params), None)


class Place:
    """A runner of some workers, and what it reported."""

    def __init__(self, *workers: Worker) -> None:
        self.runner = Runner(offer_of(workers))
        self.progress: list[tuple[float, str]] = []

    def attempt(self, params: Any = None, type: str = "a", **more: Any) -> AttemptEnd:
        return self.runner.attempt(self.begin(params, type, **more))

    def begin(self, params: Any = None, type: str = "a", **more: Any) -> Attempt:
        return Attempt(item(type=type, params=params, **more), lambda _, *said: self.progress.append(said))


@pytest.fixture
def place() -> Iterator[Callable[..., Place]]:
    """Places whose event loops are closed afterwards."""
    made: list[Place] = []

    def make(*workers: Worker) -> Place:
        made.append(Place(*workers))
        return made[-1]

    yield make
    for one in made:
        one.runner.close()


def does(execute: Callable[[Any, Task], Any], **names: Any) -> type[BaseWorker]:
    """A worker class of type `a` with this `execute`."""
    return type("Made", (BaseWorker,), {"type": "a", "execute": execute, **names})


def raises(error: BaseException) -> type[BaseWorker]:
    def execute(_: Any, __: Task) -> None:
        raise error

    return does(execute)


def test_the_codes_are_those_of_the_wire() -> None:
    for code in (*messages.Outcome, *messages.Returned):
        assert getattr(ends, code.name) == code


@pytest.mark.parametrize("text", SEED)
def test_the_seeds_patterns_run_as_printed(text: str, tmp_path: Path) -> None:
    path = tmp_path / "seed_tasks.py"
    path.write_text("from workerhost import BaseWorker, Task, Result\n" + text)
    offer = load(str(path))
    assert offer.failed == {}
    assert [one.__name__ for one in offer.any] == ["MyWorker"]
    reports: list[float] = []
    attempt = Attempt(item(type="my_type"), lambda _, fraction, __: reports.append(fraction))
    assert Runner(offer).attempt(attempt) == AttemptEnd(ends.COMPLETED, ends.EMPTY)
    assert reports == ([n / 100 for n in range(100)] if "report_progress" in text else [])


def test_a_worker_sees_its_task(place: Callable[..., Place]) -> None:
    seen: list[Any] = []

    def execute(self: Any, task: Task) -> None:
        seen.extend([task, self.task, self.cancelled])

    before = datetime.now(UTC)
    place(does(execute)).attempt({"x": [1]}, seconds=60.0)
    task = seen[0]
    assert task is seen[1]
    assert seen[2] is False
    assert before <= task.deadline - timedelta(seconds=60) <= datetime.now(UTC)
    expected = Task(
        1, "a", {"x": [1]}, 5, 2, 1, task.deadline, "key", ("x", "y"), datetime.fromtimestamp(1_700_000_000, UTC), 7
    )
    assert task == expected


def test_outside_of_a_task_there_is_none() -> None:
    made = does(lambda self, task: None)()
    assert made.cancelled is False
    made.report_progress(0.5)
    for name in ("task", "workdir"):
        with pytest.raises(RuntimeError, match=f"Made.{name} exists only while a task runs"):
            getattr(made, name)


@pytest.mark.parametrize(
    ("returned", "value"),
    [
        (None, None),
        (5, 5),
        ({"b": 1, "a": (2,)}, {"a": [2], "b": 1}),
        (Result(success=True, data=[1]), [1]),
        (Result(success=True), None),
    ],
)
def test_what_is_returned_is_the_result(place: Callable[..., Place], returned: Any, value: Any) -> None:
    end = place(does(lambda self, task: returned)).attempt()
    assert (end.outcome, values.unpack(end.body), end.detail) == (ends.COMPLETED, value, None)


def test_functions_get_their_params_as_keywords_as_nothing_or_as_one_argument(place: Callable[..., Place]) -> None:
    @worker("a")
    def keep(*args: Any, **kwargs: Any) -> Any:
        return [list(args), kwargs]

    here = place(keep)
    cases: Any = (
        ({"x": 1}, [[], {"x": 1}]),
        (None, [[], {}]),
        ({}, [[], {}]),
        ([1, 2], [[[1, 2]], {}]),
        (5, [[5], {}]),
    )
    for params, got in cases:
        assert values.unpack(here.attempt(params).body) == got


def detail(end: AttemptEnd) -> dict[str, Any]:
    assert end.detail is not None
    return end.detail


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("bad"), ("ValueError", "bad", None, "exception")),
        (KeyboardInterrupt(), ("KeyboardInterrupt", "", None, "exception")),
        (SystemExit(3), ("SystemExit", "3", None, "exception")),
        (TypeError("inside"), ("TypeError", "inside", None, "exception")),
        (NameError("x"), ("NameError", "x", False, "exception")),
        (ImportError("x"), ("ImportError", "x", False, "exception")),
        (SyntaxError("x"), ("SyntaxError", "x", False, "exception")),
        (Fail("no"), ("Fail", "no", False, "failed")),
        (Fail("no", retry=True), ("Fail", "no", True, "failed")),
    ],
)
def test_what_is_raised_is_a_failure(
    place: Callable[..., Place], error: BaseException, expected: tuple[Any, ...]
) -> None:
    end = place(raises(error)).attempt()
    said = detail(end)
    assert end.outcome == ends.FAILED
    assert (said["error_type"], said["message"], said.get("retry"), said["cause"]) == expected
    assert "after" not in said


def test_fail_can_say_when_to_try_again(place: Callable[..., Place]) -> None:
    assert detail(place(raises(Fail("later", retry=True, after=30))).attempt())["after"] == 30.0


def test_a_result_without_success_is_a_failure_that_may_be_tried_again(place: Callable[..., Place]) -> None:
    end = place(does(lambda self, task: Result(success=False, error="broken"))).attempt()
    said = detail(end)
    assert (end.outcome, said["message"], said["retry"], said["cause"]) == (ends.FAILED, "broken", True, "failed")
    final = place(does(lambda self, task: Result(success=False, retry=False))).attempt()
    assert detail(final)["retry"] is False


def test_release_gives_back_with_reason_and_delay(place: Callable[..., Place]) -> None:
    end = place(raises(Release("quota", after=60))).attempt()
    assert end == AttemptEnd(None, returned=ends.RELEASED, after=60.0, note="quota", started=True)


def test_the_traceback_begins_at_the_workers_own_line(place: Callable[..., Place]) -> None:
    text = detail(place(raises(ValueError("bad"))).attempt())["traceback"]
    assert "workers/runner.py" not in text
    assert "raise error" in text
    assert text.endswith("ValueError: bad\n")


def test_an_error_that_cannot_show_itself_is_still_reported(place: Callable[..., Place]) -> None:
    class Shy(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    said = detail(place(raises(Shy())).attempt())
    assert (said["error_type"], said["message"]) == ("Shy", "(its text cannot be shown)")


def test_a_message_is_bounded_and_can_always_be_packed(place: Callable[..., Place]) -> None:
    said = detail(place(raises(ValueError("\ud800" * 100_000))).attempt())
    assert len(said["message"]) < 30_000
    values.pack(said)


def test_a_call_with_the_wrong_arguments_is_permanent_and_one_inside_is_not(place: Callable[..., Place]) -> None:
    @worker("a")
    def needs(x: int) -> Any:
        return x + None  # pyright: ignore

    here = place(needs)
    wrong = detail(here.attempt({"y": 1}))
    assert (wrong["retry"], wrong["error_type"]) == (False, "TypeError")
    assert "unexpected keyword argument 'y'" in wrong["message"]
    assert "retry" not in detail(here.attempt({"x": 1})), "it is the policy's to say"


def test_a_call_with_the_wrong_arguments_is_permanent_in_an_event_loop_too() -> None:
    @worker("a")
    async def needs(x: int) -> Any:
        return x + None  # pyright: ignore

    async def attempts(*params: Any) -> list[AttemptEnd]:
        lane = _LoopRunner(offer_of([needs]))
        lane.begin(asyncio.get_running_loop())
        return [await lane.attempt_in_loop(Attempt(item(params=one), lambda *_: None)) for one in params]

    wrong, inside = map(detail, asyncio.run(attempts({"y": 1}, {"x": 1})))
    assert (wrong["retry"], wrong["kind"], wrong["error_type"]) == (False, "permanent", "TypeError")
    assert "retry" not in inside
    assert not {"runner.py", "loop_slots.py"} & set(re.findall(r"(\w+\.py)", inside["traceback"]))


def test_a_result_that_cannot_travel_is_a_permanent_failure_with_its_path(place: Callable[..., Place]) -> None:
    end = place(does(lambda self, task: {"files": [Path("a")]})).attempt()
    said = detail(end)
    assert (end.outcome, said["retry"]) == (ends.FAILED, False)
    assert said["message"] == 'result["files"][0]: PosixPath; use str()'


def test_a_result_above_the_limit_has_an_outcome_of_its_own(place: Callable[..., Place]) -> None:
    end = place(does(lambda self, task: b"x" * (values.RESULT_BYTES_MAX + 1))).attempt()
    said = detail(end)
    assert (end.outcome, said["cause"], said["retry"]) == (ends.TOO_LARGE, "result_too_large", False)
    assert "4.0 MiB allowed; store the data, pass where it is" in said["message"]


@pytest.mark.parametrize("calls_it", [False, True])
@pytest.mark.parametrize("error", [None, ValueError("x"), Stopped()])
def test_cleanup_runs_exactly_once_however_it_ended(
    place: Callable[..., Place], calls_it: bool, error: BaseException | None
) -> None:
    cleaned: list[int] = []

    def execute(self: Any, task: Task) -> None:
        try:
            if error is not None:
                raise error
        finally:
            if calls_it:
                self.cleanup()

    here = place(does(execute, cleanup=lambda self: cleaned.append(self.task.id)))
    for _ in range(2):
        if isinstance(error, Stopped):
            with pytest.raises(Stopped):
                here.attempt()
        else:
            here.attempt()
    assert cleaned == [1, 1]


@pytest.mark.parametrize("error", [OSError("full"), SystemExit("full")])
def test_a_cleanup_that_fails_is_shown_and_changes_nothing(
    place: Callable[..., Place], capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    def cleanup(self: Any) -> None:
        raise error

    assert place(does(lambda self, task: 1, cleanup=cleanup)).attempt().outcome == ends.COMPLETED
    assert f"{type(error).__name__}: full" in capsys.readouterr().err


def test_a_worker_is_made_and_initialized_once_per_slot(place: Callable[..., Place]) -> None:
    events: list[str] = []
    made = does(
        lambda self, task: events.append("execute"),
        __init__=lambda self: events.append("new"),
        initialize=lambda self: events.append("initialize"),
    )
    here = place(made)
    for _ in range(3):
        here.attempt()
    assert events == ["new", "initialize", "execute", "execute", "execute"]


def test_a_failing_initialize_fails_the_attempt_and_is_tried_again(place: Callable[..., Place]) -> None:
    tries: list[int] = []

    def initialize(self: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("not yet")

    here = place(does(lambda self, task: 1, initialize=initialize))
    assert detail(here.attempt())["message"] == "not yet"
    assert here.attempt().outcome == ends.COMPLETED


def test_progress_is_clamped_and_must_be_a_number(place: Callable[..., Place]) -> None:
    def execute(self: Any, task: Task) -> None:
        for fraction in (0, 0.5, -1, 7, float("nan")):
            self.report_progress(fraction, "n" * 500)
        self.report_progress("half")

    here = place(does(execute))
    assert detail(here.attempt())["error_type"] == "ValueError"
    assert here.progress == [(fraction, "n" * 200) for fraction in (0.0, 0.5, 0.0, 1.0, 0.0)]


def test_a_workdir_is_new_per_attempt_and_removed(place: Callable[..., Place]) -> None:
    seen: list[Path] = []

    def execute(self: Any, task: Task) -> None:
        seen.append(self.workdir)
        assert self.workdir == seen[-1]
        (self.workdir / "file").write_text("x")
        raise ValueError

    here = place(does(execute))
    here.attempt()
    here.attempt()
    assert seen[0] != seen[1]
    assert not any(folder.exists() for folder in seen)


def test_async_workers_share_one_loop_per_slot_and_leave_nothing_running(place: Callable[..., Place]) -> None:
    left: list[asyncio.Task[Any]] = []
    loops: set[int] = set()

    async def execute(self: Any, task: Task) -> str:
        loops.add(id(asyncio.get_running_loop()))
        left.append(asyncio.create_task(asyncio.sleep(3600)))  # sleeps: until it is cancelled
        await asyncio.sleep(0)  # sleeps: one turn of the loop
        return "done"

    async def cleanup(self: Any) -> None:
        await asyncio.sleep(0)  # sleeps: one turn of the loop

    here = place(does(execute, cleanup=cleanup))
    for _ in range(2):
        assert values.unpack(here.attempt().body) == "done"
    assert len(loops) == 1
    assert all(one.cancelled() for one in left)


def test_cancel_interrupts_an_async_worker(place: Callable[..., Place]) -> None:
    started = threading.Event()

    async def execute(self: Any, task: Task) -> None:
        started.set()
        await asyncio.sleep(3600)  # sleeps: until it is cancelled

    here = place(does(execute))
    attempt = here.begin()
    canceller = threading.Thread(target=lambda: started.wait(5) and attempt.cancel())
    canceller.start()
    end = here.runner.attempt(attempt)
    canceller.join(5)
    assert end.outcome == ends.CANCELLED


def test_an_exception_of_a_cancelled_attempt_is_a_cancel_and_a_failure_otherwise(place: Callable[..., Place]) -> None:
    here = place(raises(ValueError("x")))
    attempt = here.begin()
    attempt.cancel()
    assert here.runner.attempt(attempt).outcome == ends.CANCELLED
    assert here.attempt().outcome == ends.FAILED


def test_the_chain_ends_in_declined(place: Callable[..., Place]) -> None:
    asked: list[str] = []

    def can_handle(self: Any, task: Task) -> bool:
        asked.append(f"{type(self).type or 'any'}")
        return task.type == "a.b.yes"

    above = does(lambda self, task: "above", can_handle=can_handle)
    open_ = type("Open", (BaseWorker,), {"can_handle": can_handle, "execute": lambda self, task: "open"})
    here = place(open_, above)
    assert values.unpack(here.attempt(type="a.b.yes").body) == "above"
    end = here.attempt(type="a.b.no")
    note = "unit.test_runner:Made, unit.test_runner:Open cannot handle it"
    assert end == AttemptEnd(None, returned=ends.DECLINED, note=note, started=False)
    assert asked == ["a", "a", "any"]


def test_a_typed_worker_may_refuse_its_own_type(place: Callable[..., Place]) -> None:
    picky = does(lambda self, task: 1, can_handle=lambda self, task: task.params == "yes")
    here = place(picky)
    assert here.attempt("yes").outcome == ends.COMPLETED
    assert here.attempt("no").returned == ends.DECLINED


@pytest.mark.parametrize("error", [OSError("no device"), SystemExit("no device")])
def test_health_is_asked_of_those_who_define_it(error: BaseException) -> None:
    def check(self: Any) -> bool:
        raise error

    offer = offer_of(
        [
            does(lambda self, task: 1),
            type("Sick", (BaseWorker,), {"type": "sick", "execute": lambda *_: 1, "health_check": lambda self: False}),
            type("Broken", (BaseWorker,), {"type": "broken", "execute": lambda *_: 1, "health_check": check}),
            type("Well", (BaseWorker,), {"type": "well", "execute": lambda *_: 1, "health_check": lambda self: True}),
        ]
    )
    assert Runner(offer).health() == {
        "sick": f"{__name__}:Sick: health_check said no",
        "broken": f"{__name__}:Broken: {type(error).__name__}: no device",
    }


def test_run_tries_one_task_as_the_pool_would() -> None:
    reports: list[Any] = []

    def execute(self: Any, task: Task) -> Any:
        self.report_progress(0.5, "half")
        return task.params

    end = run(does(execute), Task(1, "any.type", {"x": (1,)}), on_progress=lambda *said: reports.append(said))
    assert values.unpack(end.body) == {"x": [1]}
    assert reports == [(0.5, "half")]
    with pytest.raises(InvalidTask, match=r'params\["x"\]'):
        run(does(execute), Task(1, "a", {"x": object()}))
    with pytest.raises(ConfigError, match="is no worker"):
        run(print, Task(1, "a"))


def test_run_lets_the_real_exception_through_when_asked_after_cleanup() -> None:
    cleaned: list[int] = []

    def execute(self: Any, task: Task) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(does(execute, cleanup=lambda self: cleaned.append(1)), Task(1, "a"), reraise=True)
    assert cleaned == [1]


def test_the_log_carries_the_task(place: Callable[..., Place], capsys: pytest.CaptureFixture[str]) -> None:
    here = place(does(lambda self, task: self.log.info("found", count=3)))
    here.attempt()
    text = capsys.readouterr().out
    for part in ("found", "count", "task", "attempt"):
        assert part in text
