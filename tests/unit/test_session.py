from __future__ import annotations

import pytest

from workerhost.transport.session import Numbering


def test_numbers_count_from_one_and_each_direction_apart() -> None:
    numbering = Numbering()

    assert (numbering.sent, numbering.seen) == (0, 0)
    assert [numbering.next(), numbering.next()] == [1, 2]
    assert numbering.accept(1)
    assert (numbering.sent, numbering.seen) == (2, 1)


def test_two_sides_that_lose_nothing_accept_everything() -> None:
    here, there = Numbering(), Numbering()

    assert all(there.accept(here.next()) and here.accept(there.next()) for _ in range(100))
    assert here.seen == there.seen == here.sent == there.sent == 100


@pytest.mark.parametrize("number", [4, 100, 2, 1, 0, -1])
def test_a_lost_repeated_or_older_message_is_a_gap_and_is_not_noted(number: int) -> None:
    numbering = Numbering()
    assert numbering.accept(1)
    assert numbering.accept(2)

    assert not numbering.accept(number)

    assert numbering.seen == 2
    assert numbering.accept(3)


def test_a_numbering_shows_its_counts() -> None:
    numbering = Numbering()
    numbering.next()

    assert repr(numbering) == "Numbering(sent=1, seen=0)"
