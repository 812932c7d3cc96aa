from __future__ import annotations

import math
from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import msgpack  # pyright: ignore[reportMissingTypeStubs]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerhost.transport import messages
from workerhost.workers import values
from workerhost.workers.errors import InvalidTask, TooLarge

SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.datetimes(timezones=st.just(UTC))
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=20
)


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 9


def shuffled(value: Any) -> Any:
    """The same value with its dicts in the opposite order."""
    if isinstance(value, dict):
        return {key: shuffled(inner) for key, inner in reversed(value.items())}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return [shuffled(inner) for inner in value] if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]


def test_the_limits_are_those_of_the_wire() -> None:
    assert values.PARAMS_BYTES_MAX == messages.PARAMS_BYTES_MAX
    assert values.RESULT_BYTES_MAX == messages.RESULT_BYTES_MAX


@given(VALUES)
def test_what_is_packed_comes_back_equal(value: Any) -> None:
    assert values.unpack(values.pack(value)) == value


@given(VALUES)
def test_equal_values_are_equal_bytes_whatever_the_order_of_their_keys(value: Any) -> None:
    assert values.pack(shuffled(value)) == values.pack(value)


def test_keys_are_sorted_at_every_level_and_tuples_become_lists() -> None:
    value: Any = {"b": 1, "a": ({"z": 1, "y": (2, 3)},)}
    assert msgpack.unpackb(values.pack(value)) == {"a": [{"y": [2, 3], "z": 1}], "b": 1}  # pyright: ignore
    assert values.pack(value) == msgpack.packb({"a": [{"y": [2, 3], "z": 1}], "b": 1})  # pyright: ignore


def test_subclasses_travel_as_what_they_are_built_on() -> None:
    value = OrderedDict[str, Any](colour=Colour.RED, level=Level.HIGH)
    assert values.unpack(values.pack([value])) == [{"colour": "red", "level": 9}]
    assert type(values.unpack(values.pack(value))["colour"]) is str


def test_an_aware_datetime_arrives_as_utc() -> None:
    at = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    back = values.unpack(values.pack({"at": at}))["at"]
    assert back == at
    assert back.tzinfo is UTC


def circle() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize(
    ("value", "path", "cure"),
    [
        ({"clips": [1, 2, 3, Path("a")]}, 'params["clips"][3]', "PosixPath; use str()"),
        ({"a": {"b": {1, 2}}}, 'params["a"]["b"]', "set; use sorted() or list()"),
        ({"a": math.nan}, 'params["a"]', "NaN"),
        ([[math.nan]], "params[0][0]", "NaN"),
        ({"a": 2**64}, 'params["a"]', "64 bits; use str()"),
        (-(2**63) - 1, "params", "64 bits"),
        ({1: "x"}, "params", "the key 1 is int; keys are str"),
        ({"a": {("b",): 1}}, 'params["a"]', "keys are str"),
        ({"a": "\ud800"}, 'params["a"]', "lone surrogate"),
        ({"\ud800": 1}, "params", "lone surrogate"),
        ({"at": datetime(2024, 1, 1)}, 'params["at"]', "without a time zone"),  # noqa: DTZ001
        ({"at": datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))}, 'params["at"]', "years 1 to 9999"),
        ({"day": date(2024, 1, 1)}, 'params["day"]', "date; use .isoformat()"),
        ({"price": Decimal(1)}, 'params["price"]', "Decimal; use str() or float()"),
        ({"raw": bytearray(b"x")}, 'params["raw"]', "use bytes()"),
        ({"x": object()}, 'params["x"]', "object; use None, bool, int"),
        ({"x": msgpack.Timestamp(1)}, 'params["x"]', "Timestamp; use"),  # pyright: ignore
        ({"x": msgpack.ExtType(1, b"x")}, 'params["x"]', "ExtType"),  # pyright: ignore
        (iter([1]), "params", "list_iterator; use"),
    ],
)
def test_what_cannot_travel_is_refused_with_path_and_cure(value: Any, path: str, cure: str) -> None:
    with pytest.raises(InvalidTask) as caught:
        values.pack(value)
    assert caught.value.path == path
    assert str(caught.value).startswith(path + ": ")
    assert cure in str(caught.value)


def test_a_value_inside_itself_is_refused() -> None:
    with pytest.raises(InvalidTask, match="nested deeper than 100"):
        values.pack(circle())


def test_the_path_names_the_whole_as_the_caller_does() -> None:
    with pytest.raises(InvalidTask, match=r'^result\["a"\]: '):
        values.pack({"a": object()}, what="result")


def test_too_large_says_how_large_and_what_to_do() -> None:
    with pytest.raises(TooLarge, match=r"params: 1\.0 MiB, above the 1\.0 MiB allowed; store the data"):
        values.pack("x" * 1024 * 1024)
    assert len(values.pack("x" * 1000, limit=1003)) == 1003
    with pytest.raises(TooLarge, match=r"result: 1\.0 KiB"):
        values.pack("x" * 1001, what="result", limit=1003)


def test_a_packer_that_refused_something_still_works() -> None:
    for value in ({"a": 2**70}, {"a": "\ud800"}, {"a": [object()]}):
        with pytest.raises(InvalidTask):
            values.pack(value)
        assert values.pack({"a": 1}) == b"\x81\xa1a\x01"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x81",
        b"\x01\x02",
        b"\xc1",
        b"\xd4\x05x",
        b"\x81\x01\x01",
        b"\xa1\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 5000,
    ],
)
def test_bytes_that_are_no_value_are_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- msgpack's own texts differ
        values.unpack(body)
