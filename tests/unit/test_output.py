"""What tasks write: kept with their attempts, and said to those who listen, with numbers that tell what is missing."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf
from typing import Any

import pytest
from unit.pool_words import CLIENT, EPOCH, HOST, completed, crashed  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.host.environments import Environment, Environments
from workerhost.actors.core.host.host_effects import HostEffect, Say
from workerhost.actors.core.host.joining import Joining
from workerhost.actors.core.host.outbox import Outbox
from workerhost.actors.core.host.output import FOLLOWED_LINES, KEPT_CHARACTERS, KEPT_LINES, SAY_SECONDS, Heard
from workerhost.actors.core.host.slot_table import SlotTable
from workerhost.actors.core.host.stopping import Why
from workerhost.actors.slot_news import SlotNews
from workerhost.transport.messages import (
    Claim,
    Events,
    Hello,
    Listen,
    Message,
    Outcome,
    Output,
    Refused,
    Results,
    Tail,
    Tasks,
)
from workerhost.transport.tail import Line, Reader

OTHER = b"o"

# One attempt.


def heard(count: int, *, followed: bool = False, text: str = "line {}") -> Heard:
    made = Heard()
    for number in range(count):
        made.add(text.format(number), followed=followed)
    return made


def test_the_last_lines_of_an_attempt_are_kept_and_those_before_counted() -> None:
    assert heard(2).kept() == "line 0\nline 1"
    kept = heard(1000).kept().split("\n")
    assert kept == [f"[{1000 - KEPT_LINES} lines before]", *(f"line {n}" for n in range(1000 - KEPT_LINES, 1000))]
    long = heard(50, text="{:04}" + "x" * 996).kept()
    assert long.startswith("[34 lines before]\n0034xxx")
    assert len(long) < KEPT_CHARACTERS + 100
    assert "\n" not in heard(1, text="y" * 5000).kept()


def test_a_listener_gets_the_lines_since_a_number_as_far_as_they_are_kept() -> None:
    assert heard(3).since(1) == (1, ["line 1", "line 2"])
    assert heard(3).since(3) == (3, [])
    first, lines = heard(5000, followed=True).since(10)
    assert (first, len(lines), lines[-1]) == (5000 - FOLLOWED_LINES, FOLLOWED_LINES, "line 4999")
    first, lines = heard(5000).since(0)
    assert (first, len(lines)) == (5000 - KEPT_LINES, KEPT_LINES)


# A host's slots.


class Table:
    """One slot with one task, 1 under fence 10."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.effects: list[HostEffect] = []
        self.table = SlotTable(Environments(Environment(isolation="process")), self.outbox, self.effects)
        self.table.shape({"": 1})
        self.table.ready(1)
        self.table.place("", [(1, 10, "text", 1, 0, 5, 1000.0, 60.0, None, (), b"p", None)], 0.0)

    def writes(self, *lines: str, id: int = 1, now: float = 1.0) -> list[Any]:
        self.table.news(SlotNews(1, lines=[(id, line) for line in lines]), now)
        return self.table.listen(now)

    def ends(self, outcome: Outcome = Outcome.COMPLETED, detail: dict[str, Any] | None = None) -> list[Any]:
        """The detail of its end, and what was said before."""
        self.table.news(SlotNews(1, results=[[1, 10, outcome, b"r", 0.1, 1, detail]]), 1.0)
        ((*_, told),) = self.outbox.results
        return [told, self.table.listen(1.0)]

    def listen(self, *keys: tuple[int, int], now: float = 1.0, anew: bool = False) -> list[Any]:
        self.table.listening.want(dict.fromkeys(keys, anew))
        return self.table.listen(now)


def test_what_a_completed_task_wrote_is_kept_with_its_result() -> None:
    table = Table()
    assert table.writes("one", "two") == []
    assert table.ends() == [{"output": "one\ntwo"}, []]


def test_a_task_that_wrote_nothing_has_no_detail() -> None:
    table = Table()
    table.writes("of another", id=2)
    assert table.ends() == [None, []]


def test_a_failure_keeps_its_own_words_beside_what_was_written() -> None:
    table = Table()
    table.writes("one")
    assert table.ends(Outcome.FAILED, {"message": "no"}) == [{"output": "one", "message": "no"}, []]


def test_what_is_kept_is_said_at_once_then_ten_times_a_second_then_before_the_end() -> None:
    table = Table()
    table.writes("one", "two")
    assert table.listen((1, 10), (7, 70)) == [[1, 10, 0, ["one", "two"]]]
    assert table.table.listening.due() == inf
    assert table.writes("three", now=1.01) == []
    assert table.writes("four", now=1.02) == []
    assert table.table.listening.due() == 1.0 + SAY_SECONDS
    assert table.table.listen(1.2) == [[1, 10, 2, ["three", "four"]]]
    assert table.writes("five", now=1.21) == []
    assert table.ends() == [{"output": "one\ntwo\nthree\nfour\nfive"}, [[1, 10, 4, ["five"]]]]


def test_a_listener_is_told_that_nothing_was_written_yet() -> None:
    assert Table().listen((1, 10)) == [[1, 10, 0, []]]


def test_who_listens_on_is_not_told_again_and_who_listens_no_more_hears_nothing() -> None:
    table = Table()
    table.listen((1, 10))
    table.writes("one", now=2.0)
    assert table.listen((1, 10), (2, 20), now=3.0) == []
    assert table.listen(now=4.0) == []
    assert table.writes("two", now=5.0) == []


def test_who_asks_anew_hears_all_that_is_kept() -> None:
    table = Table()
    table.listen((1, 10))
    assert table.writes("one", now=2.0) == [[1, 10, 0, ["one"]]]
    assert table.listen((1, 10), anew=True) == [[1, 10, 0, ["one"]]]


def test_a_flood_between_two_words_loses_lines_that_the_number_tells() -> None:
    table = Table()
    table.listen((1, 10))
    table.writes(*(f"{n}" for n in range(3000)), now=1.01)
    ((_, _, number, lines),) = table.table.listen(2.0)
    assert (number, len(lines)) == (3000 - FOLLOWED_LINES, FOLLOWED_LINES)


def test_a_killed_task_says_its_last_words_too() -> None:
    table = Table()
    table.listen((1, 10))
    table.writes("last words", now=1.01)
    exited = {"started": [[1, 10]], "signal": 9, "exit_code": None, "cause": "crash", "message": "killed"}
    table.table.news(SlotNews(1, exited=exited), 1.03)
    ((*_, detail),) = table.outbox.results
    assert detail["output"] == "last words"
    assert table.table.listen(1.03) == [[1, 10, 0, ["last words"]]]


def test_a_task_that_ended_because_it_was_asked_to_keeps_what_it_wrote() -> None:
    table = Table()
    table.writes("half")
    table.table.stop(lambda _: True, Why.TIMEOUT, 1.0)
    detail, _ = table.ends(Outcome.FAILED, {"message": "interrupted"})
    assert (detail["cause"], detail["output"]) == ("timeout", "half")


def said(outbox: Outbox, output: list[Any]) -> list[Message]:
    effects: list[HostEffect] = []
    outbox.speak(Joining(effects, lambda: Hello("host", [1, 1], bytes(16)), "tcp://s", 0.5), 100.0, output)
    return [effect.message for effect in effects if isinstance(effect, Say)]


def test_much_output_travels_in_several_messages_and_before_results() -> None:
    outbox = Outbox()
    outbox.results.append(completed(1, 10))
    items = [[id, 10, 0, ["x" * 4096] * 60] for id in range(4)]
    assert said(outbox, items) == [Output(items[:2]), Output(items[2:]), Results([completed(1, 10)])]


# The pool.


def test_without_a_listener_a_host_is_told_nothing(pool: Any) -> None:
    pool.host()
    said = pool.send()
    assert [type(message) for message in said[HOST]] == [Tasks]
    assert pool.say(HOST, Output([[1, EPOCH + 1, 0, ["one"]]])) == {}


def test_lines_go_from_a_host_to_who_listens(pool: Any) -> None:
    pool.host()
    pool.send()
    assert pool.say(CLIENT, Tail([1])) == {HOST: [Listen([[1, EPOCH + 1, True]])]}
    said = pool.say(HOST, Output([[1, EPOCH + 1, 0, ["one", "two"]]]))
    assert said == {CLIENT: [Events([], [], [], [[1, 1, 0, ["one", "two"], pool.wall]])]}
    assert pool.say(CLIENT, Tail([])) == {HOST: [Listen([])]}
    assert pool.say(HOST, Output([[1, EPOCH + 1, 2, ["three"]]])) == {}


def test_a_task_that_is_granted_later_is_listened_to_from_its_start_and_at_its_next_attempt(pool: Any) -> None:
    pool.send()
    assert pool.say(CLIENT, Tail([1])) == {}
    said = pool.host()
    assert [type(message) for message in said[HOST]] == [Tasks, Listen]
    said = pool.say(HOST, Results([crashed(1, EPOCH + 1)]))
    assert Listen([[1, EPOCH + 2, False]]) in said[HOST]
    said = pool.say(HOST, Output([[1, EPOCH + 1, 0, ["late"]], [1, EPOCH + 2, 0, ["again"]]]))
    assert said == {CLIENT: [Events([], [], [], [[1, 2, 0, ["again"], pool.wall]])]}


def test_a_second_listener_has_all_that_is_kept_said_again(pool: Any) -> None:
    pool.host(slots=2)
    pool.send(count=2)
    pool.client(OTHER)
    pool.say(CLIENT, Tail([1]))
    assert pool.say(OTHER, Tail([1])) == {HOST: [Listen([[1, EPOCH + 1, True]])]}
    assert pool.say(CLIENT, Tail([1])) == {HOST: [Listen([[1, EPOCH + 1, True]])]}
    both = [[1, EPOCH + 1, False], [2, EPOCH + 2, True]]
    assert [sorted(message.items) for message in pool.say(CLIENT, Tail([1, 2]))[HOST]] == [both]
    assert pool.say(OTHER, Tail([])) == {}, "the other client still listens to it"


def test_a_host_that_comes_back_is_told_again(pool: Any) -> None:
    pool.host()
    pool.send()
    pool.say(CLIENT, Tail([1]))
    offer = {"types": ["a"], "slots": {"": 1}, "running": [[1, EPOCH + 1]], "finished": [], "greeting": 2}
    said = pool.say(HOST, Hello("host", [1, 1], HOST * 16, "h", offer), Claim({"": 1}))
    assert Listen([[1, EPOCH + 1, False]]) in said[HOST]


def test_a_listener_that_is_gone_is_listened_to_no_more(pool: Any) -> None:
    pool.host()
    pool.send()
    pool.say(CLIENT, Tail([1]))
    assert pool.close(CLIENT) == {HOST: [Listen([])]}


def test_another_host_cannot_write_in_a_tasks_name(pool: Any) -> None:
    pool.host()
    pool.send()
    pool.say(CLIENT, Tail([1]))
    pool.host(OTHER)
    assert pool.say(OTHER, Output([[1, EPOCH + 1, 0, ["forged"]]])) == {}


@pytest.mark.parametrize("ids", [[0], ["1"], list(range(1, 102)), [1.5]])
def test_a_client_that_listens_to_what_is_no_task_is_refused(pool: Any, ids: list[Any]) -> None:
    ((refused,),) = pool.say(CLIENT, Tail(ids)).values()
    assert isinstance(refused, Refused)


@pytest.mark.parametrize("item", [[1, EPOCH + 1, -1, []], [1, EPOCH + 1, 0, "text"], [1, EPOCH + 1, "0", []], [1], 7])
def test_malformed_output_ends_the_session(pool: Any, item: Any) -> None:
    pool.host()
    pool.send()
    ((refused,),) = pool.say(HOST, Output([item])).values()
    assert isinstance(refused, Refused)


def test_what_a_completed_task_wrote_is_shown_and_not_pushed(pool: Any) -> None:
    pool.host()
    pool.send()
    item = completed(1, EPOCH + 1)
    item[6] = {"output": "x" * 20_000 + "end"}
    said = pool.say(HOST, Results([item]))
    (end,) = next(message for message in said[CLIENT] if isinstance(message, Events)).finished
    assert end[4] is None
    kept = pool.store.show(1)["attempts"][0]["detail"]["output"]
    assert kept.endswith("end")
    assert len(kept) == 17 * 1024


# A client.


def shown(*attempts: tuple[int, str | None], running: int = 0) -> dict[str, Any]:
    ended = [
        {"attempt": number, "ended_at": 1.0, "detail": None if text is None else {"output": text}}
        for number, text in attempts
    ]
    present = [{"attempt": running, "ended_at": None, "detail": None}] if running else []
    return {"state": "running" if running else "failed", "attempts": ended + present}


AT = datetime.fromtimestamp(5.0, UTC)


def test_lines_are_given_once_and_gaps_are_said() -> None:
    reader = Reader()
    assert list(reader.kept(shown((1, "a\nb"), running=2))) == [Line(1, "a", None), Line(1, "b", None)]
    assert reader.running
    assert list(reader.pushed(1, 0, ["a", "b"], 5.0)) == []
    assert list(reader.pushed(2, 0, ["c", "d"], 5.0)) == [Line(2, "c", AT), Line(2, "d", AT)]
    assert list(reader.pushed(2, 1, ["d", "e"], 5.0)) == [Line(2, "e", AT)]
    assert list(reader.pushed(2, 0, ["c"], 5.0)) == []
    assert list(reader.pushed(2, 10, ["k"], 5.0)) == [Line(2, "[7 lines are missing here]", AT), Line(2, "k", AT)]


def test_an_attempt_that_nobody_heard_is_given_from_what_is_kept_in_its_turn() -> None:
    reader = Reader()
    task = shown((1, "a"), (2, None), (3, "c"), running=4)
    assert reader.is_new(2)
    assert list(reader.kept(task, before=2)) == [Line(1, "a", None)]
    assert list(reader.pushed(2, 0, ["b"], 5.0)) == [Line(2, "b", AT)]
    assert not reader.is_new(2)
    assert list(reader.kept(task, before=4)) == [Line(3, "c", None)]
    assert not reader.is_new(3)
    assert list(reader.pushed(4, 0, ["d"], 5.0)) == [Line(4, "d", AT)]
    assert list(reader.kept(task)) == []
