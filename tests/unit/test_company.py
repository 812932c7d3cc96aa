"""Who waits for a few tasks is not kept waiting by the many that another has in flight."""

from __future__ import annotations

from typing import Any

import pytest
from unit.pool_words import CLIENT, HOST, completed, granted  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.order.company import AHEAD_MAX, AHEAD_MIN, FEW, THERE_SECONDS, Ahead, Company
from workerhost.actors.core.step import Step
from workerhost.transport.messages import Results, Submit

OTHER = b"o"
FAST = 0.0001


def ended(company: Company, session: int, count: int) -> None:
    step = Step(0.0, 0.0)
    step.ends[session] = [[id] for id in range(count)]
    company.settle(step)


def test_one_alone_is_no_company_however_it_begins() -> None:
    company = Company()
    for number in range(1, 100):
        company.sent(1, 1, 0.0)
        assert not company.is_mixed(0.0, number)


def test_who_has_few_unfinished_is_there_for_a_while() -> None:
    company = Company()
    company.sent(1, 1000, 0.0)
    assert not company.is_mixed(0.0, 1000)
    company.sent(2, 1, 5.0)
    assert company.is_mixed(5.0, 1001)
    assert company.is_mixed(5.0 + 0.9 * THERE_SECONDS, 1001)
    assert not company.is_mixed(5.0 + THERE_SECONDS, 1001)
    assert not company.is_mixed(5.0, FEW), "nobody has many"


def test_tasks_that_have_ended_count_no_more() -> None:
    company = Company()
    company.sent(1, 1000, 0.0)
    for _ in range(3 * FEW):
        company.sent(2, 1, 0.0)
        ended(company, 2, 1)
    assert company.is_mixed(0.0, 1000)
    ended(company, 2, 1)  # of before this supervisor started
    company.sent(2, FEW, 0.0)
    assert company.is_mixed(0.0, 1000)
    company.sent(2, 1, 0.0)
    assert not company.is_mixed(0.0, 1000)


def test_a_host_gets_less_ahead_while_more_of_it_waits_than_is_heard() -> None:
    ahead = Ahead()
    assert ahead.tasks == AHEAD_MIN
    for _ in range(1000):
        ahead.heard(behind=False)
    assert ahead.tasks == AHEAD_MAX
    ahead.heard(behind=True)
    assert ahead.tasks < AHEAD_MAX
    for _ in range(1000):
        ahead.heard(behind=True)
    assert ahead.tasks == AHEAD_MIN


@pytest.fixture
def flooded(pool: Any) -> Any:
    """A host with one slot and a thousand tasks of one client in flight; another client is there."""
    pool.client(OTHER)
    pool.host(HOST, "a", slots=1)
    said = pool.send("a", count=20)
    for _ in range(20):
        (id, fence, _) = granted(said)[0]
        said = pool.say(HOST, Results([completed(id, fence, FAST)]))
    said = pool.send("a", count=3000)
    assert len(granted(said)) > AHEAD_MIN + 1
    pool.flight = granted(said)
    return pool


def end(pool: Any, count: int, *, behind: bool) -> list[Any]:
    """The first results are heard, and more of the host waits if it is behind; what is granted then."""
    ended, pool.flight = pool.flight[:count], pool.flight[count:]
    pool.numbers[HOST] += 1
    message = Results([completed(id, fence, FAST) for id, fence, _ in ended])
    waiting: set[bytes] = {HOST} if behind else set()
    effects = pool.pool.handle([(HOST, pool.numbers[HOST], message)], pool.now, pool.wall, waiting=waiting)
    new = granted(pool._turn(effects))
    pool.flight += new
    return new


def test_alone_a_flood_keeps_its_margin(flooded: Any) -> None:
    before = len(flooded.flight)
    assert len(end(flooded, 100, behind=True)) == 100
    assert len(flooded.flight) == before


def test_with_company_a_host_that_is_behind_gets_nothing_ahead(flooded: Any) -> None:
    flooded.say(OTHER, Submit(1, 1, [["a", 9, None, [b"x"]]]))
    assert end(flooded, 10, behind=True) == []
    new: list[Any] = []
    while len(flooded.flight) > AHEAD_MIN + 1:
        new += end(flooded, 10, behind=True)
    assert new[0][0] == 3021, "what the other waits for comes first"
    new = end(flooded, 5, behind=True)
    assert len(flooded.flight) == AHEAD_MIN + 1, "there is always some work ahead"
    assert len(new) == 5


def test_with_company_a_host_that_keeps_up_gets_more_and_more(flooded: Any) -> None:
    flooded.say(OTHER, Submit(1, 1, [["a", 9, None, [b"x"]]]))
    while len(flooded.flight) > AHEAD_MIN + 1:
        end(flooded, 10, behind=True)
    sizes: list[int] = []
    for _ in range(20):
        end(flooded, 10, behind=False)
        sizes.append(len(flooded.flight))
    assert sizes == sorted(sizes)
    assert sizes[-1] > 4 * AHEAD_MIN


def test_when_the_company_has_gone_the_margin_is_whole_again(flooded: Any) -> None:
    before = len(flooded.flight)
    flooded.say(OTHER, Submit(1, 1, [["a", 9, None, [b"x"]]]))
    end(flooded, 100, behind=True)
    flooded.now += THERE_SECONDS
    end(flooded, 1, behind=True)
    assert len(flooded.flight) == before
    assert CLIENT in flooded.pool.sessions.peers


@pytest.mark.parametrize("options", [{"delay": 3600}, {"after": [1]}])
def test_whose_other_tasks_wait_for_something_is_no_company_of_itself(pool: Any, options: dict[str, Any]) -> None:
    pool.client(CLIENT)
    pool.send("b")  # 1, for which nobody is there
    pool.send("a", count=100, **options)
    pool.send("a", count=3)
    queue = pool.pool.queue
    assert not queue.company.is_mixed(pool.now, queue.unfinished_count)
