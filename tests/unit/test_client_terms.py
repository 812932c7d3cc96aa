"""What a task may be sent with, how params are cut into parcels, and what refusals become."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workerhost.transport.block import REFUSED, UNKNOWN, End
from workerhost.transport.outcome import denial, error_of, refusal, value_of
from workerhost.transport.parcel import BYTES_MAX, TASKS_MAX, parcels, single
from workerhost.transport.reachability import checked, probe
from workerhost.transport.terms import Terms, terms
from workerhost.workers import values
from workerhost.workers.errors import (
    ConfigError,
    DiskFull,
    InvalidTask,
    KeyConflict,
    NoHost,
    PoolBusy,
    PoolRefused,
    QueueFull,
    TaskCancelled,
    TaskFailed,
    TaskQuarantined,
    TaskRefused,
    TaskUnknown,
    TooLarge,
    WorkerHostError,
)

SCHEDULED, QUEUED, COMPLETED, FAILED, CANCELLED, QUARANTINED = 1, 2, 4, 5, 6, 7
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_a_plain_task_has_no_options() -> None:
    assert terms("video.youtube.channel") == Terms("video.youtube.channel", 5, None, False, QUEUED)


def test_options_travel_as_numbers() -> None:
    agreed = terms(
        "a",
        priority=-3,
        delay=timedelta(minutes=1),
        expires=NOON,
        timeout=5,
        max_attempts=2,
        tags=("x", "y"),
        require_host=True,
        tenant="acme",
        full="wait",
    )
    options = {
        "delay": 60.0,
        "expires": NOON.timestamp(),
        "timeout": 5.0,
        "max_attempts": 2,
        "tags": ["x", "y"],
        "require_host": True,
        "tenant": "acme",
    }
    assert agreed == Terms("a", -3, options, True, SCHEDULED)


def test_a_task_for_later_begins_as_scheduled() -> None:
    assert terms("a", at=NOON.timestamp()).initial == terms("a", delay=0.1).initial == SCHEDULED
    assert terms("a", delay=0).initial == QUEUED


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("type", "a.b.c.d"),
        ("type", ""),
        ("type", "a b"),
        ("type", "a\n"),
        ("type", 5),
        ("priority", "high"),
        ("priority", True),
        ("priority", 2**31),
        ("delay", -1),
        ("delay", math.nan),
        ("delay", 10**400),
        ("delay", "1m"),
        ("at", datetime(2026, 7, 1)),  # noqa: DTZ001  # a naive one is what is refused
        ("at", math.inf),
        ("expires", "tomorrow"),
        ("expires", -1),
        ("timeout", 0),
        ("timeout", False),
        ("max_attempts", 0),
        ("max_attempts", 1.5),
        ("tags", "one"),
        ("tags", 7),
        ("tags[1]", ["good", ""]),
        ("tags[0]", ["two\nlines"]),
        ("tags[0]", ["\ud800"]),
        ("tags", ["t"] * 33),
        ("tenant", ""),
        ("tenant", "two words"),
        ("tenant", 7),
    ],
)
def test_a_wrong_option_is_named(path: str, value: Any) -> None:
    name = path.partition("[")[0]
    given: dict[str, Any] = {name: value} if name == "type" else {"type": "a", name: value}
    with pytest.raises(InvalidTask, match=name) as caught:
        terms(**given)
    assert caught.value.path == path


def test_a_wrong_value_is_shown_as_it_is_written() -> None:
    with pytest.raises(InvalidTask, match=r"^priority='high': it must be"):
        terms("a", priority="high")  # pyright: ignore[reportArgumentType]  # that is the mistake
    with pytest.raises(InvalidTask, match=r"^key='': it must be"):
        terms("a", key="")


def test_an_option_that_there_is_not_is_named_with_its_neighbour() -> None:
    with pytest.raises(TypeError, match=r"^a task is not sent with prioriti=; did you mean priority=\?"):
        terms("a", prioriti=3)
    with pytest.raises(TypeError, match=r"^a task is not sent with zzz=; it is with priority=, delay=, "):
        terms("a", zzz=3)


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InvalidTask, match="delay"):
        terms("a", delay=1, at=NOON)


def test_full_is_raise_or_wait() -> None:
    with pytest.raises(ValueError, match="'raise' or 'wait'"):
        terms("a", full="drop")  # pyright: ignore[reportArgumentType]  # that is the mistake


def test_params_are_cut_into_parcels_by_number() -> None:
    found = list(parcels(terms("a"), range(25), 10))
    assert [parcel.block.count for parcel in found] == [10, 10, 5]
    assert [values.unpack(body) for parcel in found for body in parcel.params] == list(range(25))


def test_params_are_cut_into_parcels_by_bytes() -> None:
    large = "x" * 1_000_000
    found = list(parcels(terms("a"), [large] * 7, 1000))
    assert [parcel.block.count for parcel in found] == [3, 3, 1]
    assert max(parcel.size for parcel in found) < BYTES_MAX + 1024 * 1024 < 4 * 1024 * 1024


def test_a_parcel_has_a_bound_whatever_is_asked_for() -> None:
    assert next(parcels(terms("a"), itertools.count(), 10**9)).block.count == TASKS_MAX


def test_a_slow_source_holds_nothing_back() -> None:
    found = list(parcels(terms("a"), range(3), 10, linger=-1.0))  # everything is slower than that
    assert [parcel.block.count for parcel in found] == [1, 1, 1]


def test_params_that_cannot_travel_are_named_with_their_number() -> None:
    with pytest.raises(InvalidTask) as caught:
        list(parcels(terms("a"), [{"ok": 1}, {"clips": [1, object()]}], 10))
    assert caught.value.path == 'params["clips"][1]'
    assert caught.value.__notes__ == ["these were number 1 (counted from 0) of the params given"]


@pytest.mark.parametrize("params", [{"path": "a"}, "text", b"bytes"])
def test_the_params_of_one_task_are_not_taken_for_those_of_many(params: Any) -> None:
    with pytest.raises(InvalidTask, match="of each task"):
        list(parcels(terms("a"), params, 10))


def test_a_parcel_that_is_split_keeps_order_and_sizes() -> None:
    whole = next(parcels(terms("a"), range(10), 10))
    size = whole.size
    rest = whole.split(4)
    assert [values.unpack(body) for body in whole.params + rest.params] == list(range(10))
    assert (whole.size + rest.size, whole.block.next) == (size, rest.block)


def test_params_above_the_limit_are_too_large() -> None:
    with pytest.raises(TooLarge):
        single(terms("a"), "x" * 2_000_000)


def test_a_completed_task_has_a_value() -> None:
    assert value_of(1, values.pack({"a": [1, None]})) == {"a": [1, None]}
    assert value_of(1, b"") is None
    assert error_of(1, b"") is None


def test_a_failure_tells_everything_that_is_known() -> None:
    detail = {
        "cause": "exception",
        "error_type": "KeyError",
        "message": "'x'",
        "traceback": "Traceback ...",
        "attempts": 3,
        "host": "gpu-1",
    }
    error = error_of(8, (FAILED, b"", detail))
    assert type(error) is TaskFailed
    assert (error.id, error.cause, error.error_type, error.message) == (8, "exception", "KeyError", "'x'")
    assert (error.traceback, error.attempts, error.host) == ("Traceback ...", 3, "gpu-1")


@pytest.mark.parametrize(
    ("end", "kind", "text"),
    [
        ((FAILED, b"", None), TaskFailed, "failed"),
        ((FAILED, b"", {"cause": "timeout", "attempts": "many", "message": 7}), TaskFailed, "7"),
        ((QUARANTINED, b"", {"reason": "killed its worker 3 times"}), TaskQuarantined, "killed its worker 3 times"),
        ((CANCELLED, b"", {"reason": "by hand"}), TaskCancelled, "by hand"),
        ((UNKNOWN, b"", None), TaskUnknown, "no task 8"),
        ((REFUSED, b"", {"code": "queue_full", "reason": "no room"}), QueueFull, "no room"),
    ],
)
def test_every_other_end_is_an_error(end: End, kind: type[WorkerHostError], text: str) -> None:
    with pytest.raises(kind, match=text) as caught:
        value_of(8, end)
    assert type(caught.value) is kind
    assert error_of(8, end) is not error_of(8, end)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalid", InvalidTask),
        ("too_large", TooLarge),
        ("no_host", NoHost),
        ("conflict", KeyConflict),
        ("queue_full", QueueFull),
        ("disk_full", DiskFull),
        ("quota", PoolBusy),
        ("forgotten", PoolRefused),
        ("something new", TaskRefused),
    ],
)
def test_a_refusal_has_a_type_of_its_own(code: str, kind: type[WorkerHostError]) -> None:
    error = refusal(code, "the reason", "params", 2.5)
    assert type(error) is kind
    assert str(error) == "the reason"
    if isinstance(error, QueueFull):
        assert error.retry_after == 2.5
    if isinstance(error, InvalidTask):
        assert error.path == "params"


def test_a_denied_request_says_why() -> None:
    assert type(denial({"code": "forbidden", "reason": "not you"})) is PoolRefused
    assert str(denial({"code": "unknown", "reason": "no host x"})) == "no host x"
    assert str(denial({}))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:7470", "tcp://[::1]:1", "ipc:///run/pool", "memory://here"])
def test_an_address_is_taken_as_it_is(address: str) -> None:
    assert checked(address) == address


@pytest.mark.parametrize(
    "address", ["localhost:7470", "tcp://host", "tcp://host:0", "tcp://host:70000", "ipc://", "http://x"]
)
def test_what_is_no_address_is_refused_with_the_cure(address: str) -> None:
    with pytest.raises(ConfigError, match="tcp://HOST:PORT"):
        checked(address)


def test_what_is_met_at_a_dead_address_is_told_apart(tmp_path: Any) -> None:
    assert "workerhost up" in probe(f"ipc://{tmp_path}/none", 0.1)
    assert "refused" in probe("tcp://127.0.0.1:1", 0.1)
    assert "in this process" in probe("memory://nobody", 0.1)
