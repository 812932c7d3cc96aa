"""What a caller may put into a question or an order: what no frame carries is named before anybody else meets it."""

from __future__ import annotations

from typing import Any

import pytest

from workerhost.transport import sayable
from workerhost.transport.flow_draft import Draft
from workerhost.transport.messages import Admin, Cancel, Query
from workerhost.transport.orders import check_id
from workerhost.transport.terms import key_text, terms
from workerhost.workers.errors import InvalidTask

HALF = "\udcff"
"""Half a surrogate pair: what a byte that is no UTF-8 is on the command line."""


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"error": HALF}, "error"),
        ({"where": {"type": "a", "tag": f"a{HALF}"}, "dry_run": False}, "tag"),
        ({"role": "host", "serve": ["a", HALF]}, "serve[1]"),
        ({"id": 2**64}, "id"),
        ({"where": {"key": {1: 2}}}, "key"),
        ({"path": object()}, "path"),
        ({"path": "x" * 9_000_000}, "path"),
    ],
)
def test_the_value_that_cannot_be_said_is_named(arguments: dict[str, Any], path: str) -> None:
    for message in (Query(0, "tasks", arguments), Admin(0, "cancel", arguments)):
        with pytest.raises(InvalidTask, match="cannot be said") as caught:
            sayable.check(message)
        assert caught.value.path == path
        assert str(caught.value).isprintable()


def test_what_is_wrong_only_as_a_whole_is_refused_too() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for message in (Cancel(0, [1, True]), Query(0, HALF), Admin(0, "trust", {"serve": endless})):
        with pytest.raises(InvalidTask, match="cannot be said"):
            sayable.check(message)


def test_what_can_be_said_is_let_through() -> None:
    sayable.check(Query(0, "tasks", {"error": "größer \U0001f600", "before": 2**63 - 1}))
    sayable.check(Cancel(0, list(range(1, 10_001))))


@pytest.mark.parametrize("id", [1.0, True, "1", None])
def test_what_is_no_number_of_a_task_is_refused(id: Any) -> None:
    with pytest.raises(InvalidTask, match="is not the number of a task"):
        check_id(id)


def test_texts_and_numbers_of_a_task_can_be_said() -> None:
    for id in (2**63, 2**64):
        with pytest.raises(InvalidTask, match="after="):
            terms("a", after=[id])
    with pytest.raises(InvalidTask, match=r"key='\\udcff'"):
        key_text(HALF)
    with pytest.raises(InvalidTask, match=r"name='\\udcff'") as caught:
        Draft(HALF)
    assert caught.value.path == "name"
