"""What a request says is read in a time that grows no faster than the request."""

from __future__ import annotations

import time

import pytest
from starlette.requests import Request

from workerhost.transport.http.operations import Nothing, _query  # pyright: ignore[reportPrivateUsage]
from workerhost.transport.http.problems import Problem

NAMES, SECONDS = 20_000, 1.0


def asked(*names: str) -> Request:
    return Request({"type": "http", "headers": [], "query_string": "&".join(f"{name}=1" for name in names).encode()})


def test_names_of_a_query_are_counted_once_each() -> None:
    request = asked(*(f"n{number}" for number in range(NAMES)))
    began = time.process_time()  # which no crowd beside us takes
    with pytest.raises(Problem, match="n0"):
        _query(Nothing, request)
    assert time.process_time() - began < SECONDS


def test_the_first_name_that_is_given_twice_is_named() -> None:
    with pytest.raises(Problem, match="query: b is given twice"):
        _query(Nothing, asked("a", "b", "c", "c", "b"))
