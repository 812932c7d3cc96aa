"""The client's protocol without sockets: commands, messages and time in, whole lists of effects out."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from workerhost.transport.block import Block
from workerhost.transport.client_effects import Alarm, Connect, Disconnect, Effect, Leave, Say
from workerhost.transport.commands import Finish, Lookup, Request, Withdraw
from workerhost.transport.conversation import CREDIT, Conversation
from workerhost.transport.messages import (
    Accepted,
    Admin,
    Alive,
    Bye,
    Cancel,
    Events,
    Heartbeat,
    Hello,
    Message,
    Query,
    Refused,
    Rejected,
    Reply,
    Submit,
    Watch,
    Welcome,
)
from workerhost.transport.outbox import WINDOW
from workerhost.transport.outcome import raise_refusal
from workerhost.transport.parcel import Parcel
from workerhost.transport.terms import Terms
from workerhost.workers.errors import PoolBusy

SESSION = b"\x80" * 16  # makes all waiting exactly as long as the constants say
HELLO = Say(0, Hello("client", [1, 1], SESSION, "", {"name": "test"}))
HELLO_AGAIN = Say(0, Hello("client", [1, 1], SESSION, "", {"name": "test", "submitted": 1, "away": 0.0}))
COMPLETED, CANCELLED, QUEUED, RUNNING = 4, 6, 2, 3


class Talk:
    """A conversation at one moment after the other, and the numbers that a supervisor would give its messages."""

    def __init__(self) -> None:
        self.now = 100.0
        self.core = Conversation(SESSION, "test", self.now)
        self.number = 0

    def start(self) -> list[Effect]:
        return self.core.start(self.now)

    def hear(self, *messages: Message) -> list[Effect]:
        effects: list[Effect] = []
        for message in messages:
            if isinstance(message, Welcome | Refused):
                self.number = 0
                effects += self.core.on_message(0, message, self.now)
            else:
                self.number += 1
                effects += self.core.on_message(self.number, message, self.now)
        return effects

    def ask(self, *commands: Any) -> list[Effect]:
        return self.core.take(commands, self.now)

    def wait(self, seconds: float) -> list[Effect]:
        """Time passes; `tick` is called when the conversation asks for it."""
        effects: list[Effect] = []
        end = self.now + seconds
        while self.core.wake_at is not None and self.core.wake_at <= end:
            assert self.core.wake_at >= self.now - 1e-9
            self.now = max(self.now, self.core.wake_at)
            effects += self.core.tick(self.now)
        self.now = end
        return effects


def welcome(epoch: int = 1, **settings: Any) -> Welcome:
    return Welcome(1, "pool", epoch, 1.0, 5.0, settings)


@pytest.fixture
def talk() -> Talk:
    """A conversation that has not begun."""
    return Talk()


@pytest.fixture
def joined(talk: Talk) -> Talk:
    """One that has joined; three messages of ours are numbered 1 and up from here on."""
    talk.start()
    talk.hear(welcome())
    return talk


def parcel(*params: bytes, type: str = "a", patient: bool = False, options: dict[str, Any] | None = None) -> Parcel:
    return Parcel(Terms(type, 5, options, patient), list(params), sum(map(len, params)))


def submits(effects: list[Effect]) -> list[Submit]:
    return [e.message for e in effects if isinstance(e, Say) and isinstance(e.message, Submit)]


def said(effects: list[Effect]) -> list[Message]:
    return [e.message for e in effects if isinstance(e, Say)]


# Opening and keeping a session.


def test_a_session_opens_with_hello_and_watches_from_the_beginning(talk: Talk) -> None:
    assert talk.start() == [Connect(), HELLO]
    assert talk.core.away_since == 100.0
    assert talk.hear(welcome()) == [Say(1, Watch(0, CREDIT))]
    assert talk.core.away_since is None


def test_it_says_that_it_lives_and_what_it_has_seen(joined: Talk) -> None:
    assert joined.wait(1.0) == [Say(2, Heartbeat(0))]
    joined.hear(Alive(2))
    assert joined.wait(1.0) == [Say(3, Heartbeat(1))]


def test_silence_ends_the_connection_and_begins_another_with_the_same_session(joined: Talk) -> None:
    effects = joined.wait(5.0)
    assert said(effects)[:4] == [Heartbeat(0)] * 4
    assert effects[-3:] == [Disconnect(), Connect(), HELLO]
    assert joined.core.away_since == 100.0


def test_a_supervisor_that_is_away_is_tried_again_and_again_with_patience(talk: Talk) -> None:
    talk.start()
    times: list[float] = []
    for _ in range(400):
        if Connect() in talk.wait(0.1):
            times.append(talk.now)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert times[0] == pytest.approx(101.0, abs=0.11)
    assert len(times) >= 8
    assert max(gaps) < 5.2
    assert min(gaps) > 0.9


def test_a_link_that_takes_nothing_is_not_tried_in_a_frenzy(talk: Talk) -> None:
    talk.start()
    connects = 1
    for _ in range(1000):
        effects = talk.core.on_broken(talk.now)
        if Connect() not in effects:
            effects = talk.wait(0.01)
        connects += Connect() in effects
    assert connects < 25
    assert talk.now > 105


def test_a_session_that_was_forgotten_asks_for_its_tasks_by_id(joined: Talk) -> None:
    sent = parcel(b"1", b"2")
    joined.ask(sent)
    joined.hear(Accepted(1, 41, 2))
    joined.hear(Refused("leaving", "bye"))

    effects = joined.hear(Welcome(1, "pool", 2, 1.0, 5.0, {"forgotten": True}))

    assert said(effects) == [Watch(0, CREDIT, [41, 42])]


def test_a_gap_ends_the_connection(joined: Talk) -> None:
    joined.number += 1
    assert joined.hear(Alive(1)) == [Disconnect(), Connect(), HELLO]


def test_nonsense_ends_the_connection(joined: Talk) -> None:
    joined.ask(parcel(b"1"))
    assert joined.hear(Accepted(1, 1, 2)) == [Disconnect(), Connect(), HELLO_AGAIN]


def test_an_unknown_session_says_hello_again_at_once_and_only_once(joined: Talk) -> None:
    joined.ask(parcel(b"1"))
    again = Refused("unknown_session", "say HELLO first")
    assert joined.hear(again) == [Disconnect(), Connect(), HELLO_AGAIN]
    assert joined.hear(again) == []


def test_a_refused_client_tells_everybody_and_asks_again_much_later(talk: Talk) -> None:
    talk.start()
    assert talk.hear(Refused("version", "1 is too old")) == [Disconnect(), Alarm()]
    assert (talk.core.refusals, talk.core.refusal) == (1, "1 is too old")
    assert talk.wait(4.9) == []
    assert talk.wait(0.2) == [Connect(), HELLO]


def test_a_supervisor_that_leaves_is_looked_for_again(joined: Talk) -> None:
    assert joined.hear(Refused("leaving", "bye")) == [Disconnect(), Connect(), HELLO]
    assert joined.core.refusals == 0


# Submitting.


def test_a_submission_is_sent_and_its_tasks_get_their_ids(joined: Talk) -> None:
    sent = parcel(b"1", b"2")
    assert joined.ask(sent) == [Say(2, Submit(1, 1, [["a", 5, None, [b"1", b"2"]]]))]
    assert sent.block.transmitted
    joined.hear(Accepted(1, 40, 2))
    assert (sent.block.first, sent.block.answered) == (40, True)
    joined.hear(Events([[41, 1, COMPLETED, b"r", None]]))
    assert sent.block.ends == [None, b"r"]


def test_what_waits_together_travels_together(talk: Talk) -> None:
    talk.start()
    options = {"tags": ["t"]}
    talk.ask(parcel(b"1"), parcel(b"2"), parcel(b"3", type="b"), parcel(b"4", options=options))
    talk.ask(parcel(b"5", options=dict(options)))
    effects = talk.hear(welcome())
    groups = [["a", 5, None, [b"1", b"2"]], ["b", 5, None, [b"3"]], ["a", 5, options, [b"4", b"5"]]]
    assert submits(effects) == [Submit(1, 1, groups)]


def test_only_so_many_submissions_are_under_way(joined: Talk) -> None:
    large = [parcel(*[b"x"] * 1000) for _ in range(WINDOW + 2)]
    assert [m.submission for m in submits(joined.ask(*large))] == list(range(1, WINDOW + 1))
    effects = joined.hear(Accepted(2, 1, 1000))
    assert [(m.submission, m.below) for m in submits(effects)] == [(WINDOW + 1, 1)]
    effects = joined.hear(Accepted(1, 1001, 1000))
    assert [(m.submission, m.below) for m in submits(effects)] == [(WINDOW + 2, 3)]


def test_unacknowledged_submissions_are_repeated_before_ends_are_asked_for(joined: Talk) -> None:
    first, second = parcel(b"1"), parcel(b"2")
    sent = submits(joined.ask(first)) + submits(joined.ask(second))
    joined.hear(Events([[7, 9, COMPLETED, b"", None]]))
    joined.wait(5.0)
    assert joined.hear(welcome(2)) == [Say(1, sent[0]), Say(2, sent[1])]
    assert joined.hear(Accepted(1, 1, 1)) == []
    assert joined.hear(Accepted(2, 2, 1)) == [Say(3, Watch(9, CREDIT))]


def test_a_refused_submission_belongs_to_its_sender(joined: Talk) -> None:
    sent = parcel(b"1")
    joined.ask(sent)
    joined.hear(Rejected(1, "no_host", "no joined host serves a", "type"))
    assert sent.block.refused
    assert sent.block.ends == [
        (-2, b"", {"code": "no_host", "reason": "no joined host serves a", "path": "type", "retry_after": 0.0})
    ]


def test_a_refused_neighbour_harms_nobody(talk: Talk) -> None:
    talk.start()
    good, bad, last = parcel(b"1"), parcel(b"2", type="b"), parcel(b"3")
    talk.ask(good, bad, last)
    talk.hear(welcome())
    effects = talk.hear(Rejected(1, "no_host", "none"))
    assert [m.groups[0][0] for m in submits(effects)] == ["a", "b", "a"]
    talk.hear(Accepted(2, 1, 1), Rejected(3, "no_host", "none"), Accepted(4, 2, 1))
    assert [(p.block.first, p.block.refused) for p in (good, bad, last)] == [(1, False), (0, True), (2, False)]
    assert talk.core.outbox.unanswered == 0


def test_patience_waits_for_room_and_takes_what_there_is(joined: Talk) -> None:
    sent = parcel(*[b"%d" % n for n in range(8)], patient=True)
    joined.ask(sent)
    assert said(joined.hear(Rejected(1, "queue_full", "full", retry_after=0.1))) == []
    effects = joined.wait(0.1)
    assert [m.groups[0][3] for m in submits(effects)] == [[b"0", b"1", b"2", b"3"], [b"4", b"5", b"6", b"7"]]
    joined.hear(Accepted(2, 1, 4), Rejected(3, "queue_full", "full", retry_after=0.1))
    effects = joined.wait(0.1)
    assert [m.groups[0][3] for m in submits(effects)] == [[b"4", b"5"], [b"6", b"7"]]
    joined.hear(Accepted(4, 5, 2), Accepted(5, 7, 2))
    assert [(part.first, part.count) for part in sent.block.chain()] == [(1, 4), (5, 2), (7, 2)]


def test_a_full_queue_refuses_who_does_not_want_to_wait(talk: Talk) -> None:
    talk.start()
    hasty, patient = parcel(b"1"), parcel(b"2", patient=True)
    talk.ask(hasty, patient)
    talk.hear(welcome())
    effects = talk.hear(Rejected(1, "queue_full", "full", retry_after=9.0))
    assert [m.groups[0][3] for m in submits(effects)] == [[b"1"]]
    talk.hear(Rejected(2, "queue_full", "full"))
    assert hasty.block.refused
    assert [m.groups[0][3] for m in submits(talk.wait(0.5))] == [[b"2"]]


def test_who_sends_too_fast_goes_on_later_and_hears_nothing_of_it(talk: Talk) -> None:
    talk.start()
    one, other = parcel(b"1"), parcel(b"2")
    talk.ask(one, other)
    talk.hear(welcome())
    assert said(talk.hear(Rejected(1, "quota", "this identity sends faster than ...", retry_after=0.1))) == []
    assert [m.groups[0][3] for m in submits(talk.wait(0.1))] == [[b"1", b"2"]]


def test_who_would_take_more_than_its_share_is_told_and_its_neighbours_go_on(talk: Talk) -> None:
    talk.start()
    greedy, other = parcel(b"1"), parcel(b"2")
    talk.ask(greedy, other)
    talk.hear(welcome())
    reason = "5000 lanes are this identity's making"
    effects = talk.hear(Rejected(1, "quota", reason, "tenant", 3600.0))
    assert [m.groups[0][3] for m in submits(effects)] == [[b"1"], [b"2"]]
    talk.hear(Rejected(2, "quota", reason, "tenant", 3600.0), Accepted(3, 1, 1))
    assert other.block.first == 1
    with pytest.raises(PoolBusy, match=reason) as told:
        raise_refusal(greedy.block)
    assert told.value.retry_after == 3600.0


def test_what_cannot_be_said_is_refused_and_its_neighbours_are_sent_again(joined: Talk) -> None:
    good, bad = parcel(b"1"), parcel(b"2", options={"after": [2**64]})
    [submit] = submits(joined.ask(good, bad))
    assert joined.core.on_unsaid(submit, "too big", joined.now) == [Disconnect(), Connect(), HELLO_AGAIN]
    again = submits(joined.hear(welcome()))
    assert [m.groups[0][3] for m in again] == [[b"1"], [b"2"]]
    joined.core.on_unsaid(again[1], "too big", joined.now)
    assert (bad.block.refused, good.block.answered) == (True, False)
    assert bad.block.ends == [(-2, b"", {"code": "invalid", "reason": "too big", "path": "", "retry_after": 0.0})]
    joined.wait(0.1)
    assert submits(joined.hear(welcome())) == [again[0]]
    joined.hear(Accepted(2, 1, 1))
    assert good.block.first == 1


def test_what_is_withdrawn_is_neither_sent_nor_repeated(joined: Talk) -> None:
    under_way = parcel(b"1")
    joined.ask(under_way)
    waiting = [parcel(*[b"x"] * 1000) for _ in range(WINDOW)]
    joined.ask(*waiting)
    joined.ask(Withdraw((under_way.block, *(p.block for p in waiting[1:]))))
    joined.hear(Bye())
    effects = joined.hear(welcome())
    assert [len(m.groups[0][3]) for m in submits(effects)] == [1000]
    assert joined.core.outbox.unanswered == 1000


# Following tasks.


def test_credit_is_given_again_as_ends_are_consumed(joined: Talk) -> None:
    half = CREDIT // 2
    rows = [[id, id, COMPLETED, b"", None] for id in range(1, half + 1)]
    assert joined.hear(Events(rows[:-1])) == []
    assert joined.hear(Events(rows[-1:])) == [Say(2, Watch(half, CREDIT))]
    assert joined.hear(Events([[9, half + 1, COMPLETED, b"", None]])) == []


def test_a_task_of_somebody_else_is_followed_by_its_id(joined: Talk) -> None:
    lookup = Lookup(77)
    assert joined.ask(lookup) == [Say(2, Watch(0, CREDIT, [77]))]
    assert not lookup.found
    joined.hear(Events([], [], [[77, RUNNING]]))
    assert lookup.found
    joined.wait(5.0)
    assert joined.hear(welcome()) == [Say(1, Watch(0, CREDIT, [77]))]
    joined.hear(Events([[77, 0, COMPLETED, b"r", None]]))
    assert lookup.block is not None
    assert lookup.block.ends == [b"r"]
    joined.wait(5.1)
    assert joined.hear(welcome()) == [Say(1, Watch(0, CREDIT))]


def test_an_own_task_is_found_without_asking(joined: Talk) -> None:
    sent = parcel(b"1", b"2")
    joined.ask(sent)
    joined.hear(Accepted(1, 5, 2))
    lookup = Lookup(6)
    assert joined.ask(lookup) == []
    assert (lookup.found, lookup.block, lookup.offset) == (True, sent.block, 1)


def test_a_task_of_somebody_else_that_has_ended_may_run_once_more_unheard(joined: Talk) -> None:
    older = Lookup(77)
    joined.ask(older)
    joined.hear(Events([[77, 0, 5, b"", {"message": "no"}]]))
    assert older.block is not None
    assert older.block.ends == [(5, b"", {"message": "no"})]
    assert said(joined.ask(newer := Lookup(77))) == [Watch(0, CREDIT, [77])]
    assert (newer.found, newer.block) == (False, older.block)
    joined.hear(Events([], [], [[77, QUEUED]]))
    assert newer.found
    assert older.block.ends == [None]
    assert said(joined.ask(again := Lookup(77))) == []
    assert again.found


def test_an_unknown_task_is_known_as_such_and_asked_for_again(joined: Talk) -> None:
    lookup = Lookup(5)
    joined.ask(lookup)
    joined.hear(Events([], [], [[5, -1]]))
    assert lookup.found
    assert lookup.block is not None
    assert lookup.block.ends == [(-1, b"", None)]
    assert said(joined.ask(Lookup(5))) == [Watch(0, CREDIT, [5])]


def test_another_database_knows_nothing_of_our_tasks(joined: Talk) -> None:
    sent = parcel(b"1", b"2")
    joined.hear(Bye(), welcome(epoch=7))
    joined.ask(sent)
    joined.hear(Accepted(1, 1, 2), Events([[1, 50, COMPLETED, b"r", None]]))
    joined.hear(Bye())
    joined.wait(0.1)
    assert joined.hear(welcome(epoch=1)) == [Say(1, Watch(0, CREDIT))]
    assert sent.block.ends == [b"r", (-1, b"", None)]


# Asking.


def test_a_request_is_answered_and_repeated_until_it_is(joined: Talk) -> None:
    request = Request(Query(0, "status"))
    assert joined.ask(request) == [Say(2, Query(1, "status"))]
    joined.hear(Bye())
    assert joined.hear(welcome()) == [Say(1, Query(1, "status")), Say(2, Watch(0, CREDIT))]
    joined.hear(Reply(1, True, {"hosts": []}))
    assert request.reply == (True, {"hosts": []})
    joined.hear(Bye())
    joined.wait(0.1)
    assert joined.hear(welcome()) == [Say(1, Watch(0, CREDIT))]


def test_a_request_that_nobody_waits_for_is_not_repeated(joined: Talk) -> None:
    request = Request(Query(0, "status"))
    joined.ask(request)
    request.withdrawn = True
    joined.hear(Bye())
    assert joined.hear(welcome()) == [Say(1, Watch(0, CREDIT))]


def test_a_cancelled_task_has_ended_when_the_reply_is_there(joined: Talk) -> None:
    sent = parcel(b"1", b"2")
    joined.ask(sent)
    joined.hear(Accepted(1, 1, 2), Events([[2, 1, COMPLETED, b"r", None]]))
    joined.ask(Request(Cancel(0, [1, 2, 3])))
    joined.hear(Reply(1, True, {"cancelled": [1, 3]}))
    assert sent.block.ends == [(CANCELLED, b"", None), b"r"]
    joined.hear(Events([[1, 2, CANCELLED, b"", {"reason": "cancelled by a client"}]]))
    assert sent.block.ends[0] == (CANCELLED, b"", {"reason": "cancelled by a client"})
    assert sent.block.left == 0


def test_a_retried_task_has_not_ended_and_a_foreign_one_is_followed_again(joined: Talk) -> None:
    own, lookup = parcel(b"1"), Lookup(50)
    joined.ask(own, lookup)
    joined.hear(Accepted(1, 1, 1))
    joined.hear(Events([[1, 1, 5, b"", None], [50, 0, 5, b"", None]]))
    joined.ask(Request(Admin(0, "retry", {"ids": [1, 50]})))
    assert joined.hear(Reply(1, True, {"retried": [1, 50]})) == [Say(5, Watch(1, CREDIT, [50]))]
    assert isinstance(lookup.block, Block)
    assert (own.block.ends, lookup.block.ends) == ([None], [None])


def test_a_task_that_ended_again_before_its_retry_was_answered_has_ended(joined: Talk) -> None:
    sent = parcel(b"1", b"2", b"3")
    joined.ask(sent)
    joined.hear(Accepted(1, 1, 3), Events([[1, 1, 5, b"", None], [2, 2, 5, b"", None], [3, 3, 5, b"", None]]))
    joined.ask(Request(Admin(0, "retry", {"ids": [1, 2, 3]})))
    joined.hear(Events([], [], [[1, 2], [2, 2]]), Events([[1, 4, 4, b"r", None]]))
    joined.hear(Reply(1, True, {"retried": [1, 2, 3]}))
    assert (sent.block.ends, sent.block.left) == ([b"r", None, None], 2)


# Leaving.


def test_it_leaves_when_everything_is_acknowledged(joined: Talk) -> None:
    joined.ask(parcel(b"1"))
    assert joined.ask(Finish(10.0)) == []
    assert joined.hear(Accepted(1, 1, 1)) == [
        Say(3, Bye("the client was closed")),
        Disconnect(farewell=True),
        Leave(),
    ]
    assert joined.core.left


def test_it_leaves_in_the_end_whatever_is_missing(talk: Talk) -> None:
    talk.start()
    talk.ask(parcel(b"1"), Finish(3.0))
    effects = talk.wait(3.1)
    assert effects[-2:] == [Disconnect(), Leave()]
    assert effects.count(Leave()) == 1
    assert talk.core.wake_at is None
