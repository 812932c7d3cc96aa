"""What travels together in one SUBMIT: the pool takes it, whatever its tasks come after and are sent with."""

from __future__ import annotations

from typing import Any

import pytest

from workerhost.actors.core.flows import dependencies
from workerhost.actors.core.tasks import submissions
from workerhost.transport import codec
from workerhost.transport.messages import Rejected, Submit
from workerhost.transport.outbox import WINDOW, WINDOW_BYTES, Letter, Outbox
from workerhost.transport.parcel import BYTES_MAX, EDGES_MAX, Parcel, parcels, single
from workerhost.transport.references import Reference
from workerhost.transport.terms import RESULTS_MAX, Terms, terms, with_results
from workerhost.workers.errors import InvalidTask

PLAIN = Terms("a")


class Other(Reference):
    """A task that is there."""

    def __init__(self, id: int) -> None:
        self.id = id


def sent(*waiting: Parcel) -> list[Letter]:
    """All letters, as they leave when each is answered at once."""
    outbox = Outbox()
    for parcel in waiting:
        outbox.put(parcel)
    letters: list[Letter] = []
    while (letter := outbox.next_letter()) is not None:
        letters.append(letter)
        outbox.accepted(letter.number, 1, letter.count)
    assert outbox.unanswered == 0
    return letters


def taken(letter: Letter) -> list[Any]:
    """The groups of a letter, as the pool reads and checks them."""
    _, message = codec.decode(codec.encode(Submit(letter.number, 1, letter.groups()), 1))
    assert isinstance(message, Submit)
    assert submissions.checked(message.groups)[0] == letter.count
    dependencies.wanted(message.groups)
    edges = sum(len(options.get("after", ())) * len(batch) for _, _, options, batch in message.groups if options)
    assert edges <= dependencies.EDGES_MAX
    return message.groups


def test_tasks_that_take_up_many_results_travel_in_several_letters() -> None:
    body = b"\xdc\x03\xe8" + b"\xc0" * 1000  # a list of so many nils
    results = [[(3 + place, 1 + number * 1000 + place) for place in range(1000)] for number in range(250)]
    letters = sent(*(Parcel(with_results(PLAIN, those), [body], len(body)) for those in results))
    groups = [group for letter in letters for group in taken(letter)]
    assert [group[2]["after"][0] for group in groups] == [1 + number * 1000 for number in range(250)]
    assert 250 / 20 < len(letters) < 250


def test_tasks_that_come_after_many_others_travel_in_several_letters() -> None:
    after = [terms("a", after=list(range(number * 2000 + 1, number * 2000 + 2001))) for number in range(1000)]
    letters = sent(*(single(agreed, number) for number, agreed in enumerate(after)))
    assert sum(len(taken(letter)) for letter in letters) == 1000
    assert len(letters) < 1000


def test_tasks_with_long_options_travel_in_several_letters() -> None:
    emoji = [chr(0x1F600 + number) * 127 for number in range(31)]
    letters = sent(*(single(terms("a", tags=[*emoji, str(number)]), number) for number in range(1000)))
    assert sum(len(taken(letter)) for letter in letters) == 1000
    assert len(letters) < 20


def test_small_tasks_still_travel_together() -> None:
    plain = [single(terms("a", after=[number + 1], max_attempts=1), number) for number in range(1000)]
    [letter] = sent(*plain)
    assert len(taken(letter)) == 1000


def test_two_tasks_that_take_up_the_same_result_are_two_groups() -> None:
    [letter] = sent(*(single(PLAIN, [Other(7)]) for _ in range(2)))
    groups = taken(letter)
    assert groups == [["a", 5, {"after": [7], "results": [[1, 0]]}, [b"\x91\xc0"]]] * 2
    assert len(dependencies.planned(groups, 10, None, 0, gated=False).edges) == 2


def test_many_tasks_after_many_others_are_cut_where_the_pool_would_refuse_them() -> None:
    cut = list(parcels(terms("a", after=list(range(1, 1001))), range(250), 1000))
    assert [parcel.block.count for parcel in cut] == [100, 100, 50]
    assert [parcel.ties for parcel in cut] == [EDGES_MAX, EDGES_MAX, EDGES_MAX // 2]
    assert len([taken(letter) for letter in sent(*cut)]) == 3


def test_more_results_than_one_task_can_take_up_are_refused() -> None:
    other = Other(7)
    assert single(PLAIN, [other] * RESULTS_MAX).ties == RESULTS_MAX + 1
    with pytest.raises(InvalidTask, match="at most 10000") as caught:
        single(PLAIN, [other] * (RESULTS_MAX + 1))
    assert caught.value.path == "params"
    with pytest.raises(InvalidTask, match="10001 tasks; at most 10000"):
        single(terms("a", after=list(range(8, 10_008))), [other])


def test_large_letters_are_under_way_in_such_a_number_that_the_pool_drops_none() -> None:
    outbox, answered = Outbox(), 0
    for _ in range(WINDOW):
        outbox.put(Parcel(PLAIN, [b"x" * BYTES_MAX], BYTES_MAX))
    while outbox.unanswered:
        while outbox.next_letter() is not None:
            assert sum(letter.size for letter in outbox.flying.values()) < WINDOW_BYTES + BYTES_MAX + codec.size(b"")
        assert len(outbox.flying) == min(4, WINDOW - answered)
        outbox.accepted(next(iter(outbox.flying)), 1 + answered, 1)
        answered += 1
    assert answered == WINDOW


def test_of_a_submission_that_may_be_stored_no_parcel_is_sent_again() -> None:
    outbox, waiting = Outbox(), [single(PLAIN, number) for number in range(3)]
    for parcel in waiting:
        outbox.put(parcel)
    letter = outbox.next_letter()
    assert letter is not None
    outbox.rejected(Rejected(letter.number, "forgotten", "its tasks may exist"), 1.0)
    assert [parcel.block.refused for parcel in waiting] == [True] * 3
    assert (outbox.next_letter(), outbox.unanswered) == (None, 0)
