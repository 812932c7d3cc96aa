"""A host's side of its session: HELLO, refusals, silence, waiting, coming back."""

from __future__ import annotations

from math import inf

import pytest

from workerhost.actors.core.effects import Note
from workerhost.actors.core.host.host_effects import Connect, Disconnect, HostEffect, Say
from workerhost.actors.core.host.joining import Joining, Phase
from workerhost.transport.messages import Bye, Claim, Heartbeat, Hello, Refused, Welcome

HELLO = Hello("host", [1, 1], bytes(16))
AGAIN = [Disconnect(), Connect(), Say(0, HELLO)]
UNKNOWN = Refused("unknown_session", "who?")


def note(event: str, **fields: str) -> Note:
    return Note("warning", event, {"address": "tcp://s", **fields})


LOST = note("supervisor_lost", reason="who?")


class Side:
    """A `Joining` at a time: each call returns what follows."""

    def __init__(self, spread: float = 0.5) -> None:
        self.effects: list[HostEffect] = []
        self.joining = Joining(self.effects, lambda: HELLO, "tcp://s", spread)
        self.now = 0.0

    def take(self) -> list[HostEffect]:
        effects = self.effects.copy()
        self.effects.clear()
        return effects

    def at(self, now: float) -> list[HostEffect]:
        self.now = now
        self.joining.tick(now)
        if self.joining.beat_due(now):
            self.joining.beat({}, now)
        return self.take()

    def connect(self) -> list[HostEffect]:
        self.joining.connect(self.now)
        return self.take()

    def welcomed(self) -> list[HostEffect]:
        self.joining.welcomed(Welcome(1, "h", 1, 1.0, 5.0), self.now)
        return self.take()

    def refused(self, code: str, reason: str = "why") -> list[HostEffect]:
        assert self.joining.refused(Refused(code, reason), self.now) is None
        return self.take()

    def lost(self) -> list[HostEffect]:
        assert self.joining.refused(UNKNOWN, self.now) is None
        return self.take()

    def unsent(self) -> list[HostEffect]:
        self.joining.unreachable("nobody is there", self.now)
        return self.take()


def joined() -> Side:
    side = Side()
    side.connect()
    side.welcomed()
    return side


def test_no_answer_is_said_once_and_tried_again_for_ever():
    """Not soon: to close a link on which HELLO is only late, because packets were lost, makes the host suspect."""
    side = Side()

    assert side.connect() == [Connect(), Say(0, HELLO)]
    hint = "is it running? trying on"
    assert side.at(3.9) == []
    assert side.at(4.0) == [note("supervisor_unreachable", reason="no answer", hint=hint), *AGAIN]
    assert [side.at(t) for t in (7.9, 8.0, 12.0, 16.0)] == [[], AGAIN, AGAIN, AGAIN]


def test_it_is_said_again_after_a_session_in_between():
    side = Side()
    side.connect()
    side.at(4.0)
    side.welcomed()
    side.lost()
    effects = side.at(side.joining.due()) + side.at(side.joining.due())
    assert [effect.event for effect in effects if isinstance(effect, Note)] == ["supervisor_unreachable"]


def test_a_late_answer_is_followed_by_a_heartbeat_at_once():
    """Leases count from what was said, and a task with `cut_off: stop` is stopped when they may be over."""
    side = Side()
    side.connect()
    side.at(2.5)
    side.welcomed()
    assert side.joining.beat_due(side.now)


def test_a_link_that_takes_nothing_is_tried_with_growing_waits():
    side = Side()
    side.connect()
    waits: list[float] = []
    for _ in range(8):
        side.unsent()
        assert side.joining.phase is Phase.APART
        waits.append(round(side.joining.due() - side.now, 3))
        assert side.at(side.joining.due()) == [Connect(), Say(0, HELLO)]

    assert waits == [0.2, 0.2, 0.4, 0.8, 1.6, 3.2, 3.2, 3.2]


def test_hosts_do_not_all_come_back_at_the_same_moment():
    waits: list[float] = []
    for spread in (0.0, 1.0):
        side = Side(spread)
        side.connect()
        for _ in range(5):
            side.unsent()
            side.at(side.joining.due())
        side.unsent()
        waits.append(round(side.joining.due() - side.now, 3))
    assert waits == [2.88, 3.52]


def test_an_unknown_session_says_hello_again_at_once_on_a_fresh_link():
    assert joined().lost() == [LOST, *AGAIN]


def test_a_second_loss_in_a_row_waits():
    side = joined()
    side.lost()
    side.welcomed()
    assert side.lost() == [LOST, Disconnect()]
    assert side.at(0.19) == []
    assert side.at(0.2) == [Connect(), Say(0, HELLO)]


def test_an_answered_heartbeat_starts_the_backoff_afresh():
    side = joined()
    side.lost()
    side.welcomed()
    side.at(1.0)
    side.joining.answered(1)
    assert side.lost() == [LOST, *AGAIN]


def test_a_taken_name_is_said_once_and_tried_each_second():
    side = Side()
    side.connect()

    assert side.refused("name_taken") == [note("host_refused", code="name_taken", reason="why"), Disconnect()]
    assert [side.at(0.9), side.at(1.0)] == [[], [Connect(), Say(0, HELLO)]]
    assert side.refused("name_taken") == [Disconnect()]
    assert [side.at(1.9), side.at(2.0)] == [[], [Connect(), Say(0, HELLO)]]


def test_a_supervisor_that_leaves_is_looked_for_soon():
    side = joined()
    assert side.refused("leaving") == [note("supervisor_lost", reason="why"), Disconnect()]
    assert side.at(0.2) == [Connect(), Say(0, HELLO)]


@pytest.mark.parametrize("code", ["version", "forbidden"])
def test_what_will_never_be_admitted_is_told_why(code: str):
    side = Side()
    side.connect()
    assert side.joining.refused(Refused(code, "because"), 0.0) == f"tcp://s refused this host ({code}): because"


def test_heartbeats_carry_the_last_number_seen_and_confirm_the_lease_when_answered():
    side = joined()
    assert side.joining.accepts(1, 0.5)
    assert [side.at(t) for t in (0.9, 1.0, 2.0)] == [[], [Say(1, Heartbeat(1))], [Say(2, Heartbeat(1))]]
    assert side.joining.confirmed == 0.0
    side.joining.answered(1)
    assert side.joining.confirmed == 1.0
    side.joining.answered(2)
    assert side.joining.confirmed == 2.0


def test_numbers_are_those_of_the_session():
    side = joined()
    assert [side.joining.say(Claim({})), side.joining.say(Claim({}))] == [1, 2]
    assert [side.joining.accepts(number, 0.0) for number in (1, 2, 2, 4, 3)] == [True, True, False, False, True]
    side.lost()
    side.welcomed()
    assert side.joining.say(Claim({})) == 1
    assert side.joining.accepts(1, 0.0)


def test_any_message_is_a_sign_of_life():
    side = joined()
    side.joining.accepts(1, 4.5)
    silent = note("supervisor_lost", reason="nothing heard for 5 s")
    assert silent not in side.at(9.4)
    assert side.at(9.5) == [silent, *AGAIN]


def test_own_standstill_is_nobodys_silence():
    side = joined()
    side.joining.stalled(60.0)
    assert side.at(64.9) == [Say(1, Heartbeat(0))]


def test_a_late_heartbeat_is_not_made_up_for():
    side = joined()
    assert side.at(4.0) == [Say(1, Heartbeat(0))]
    assert side.at(4.4) == []
    assert side.at(4.5) == [Say(2, Heartbeat(0))]


def test_what_hello_says_has_changed():
    assert Side().take() == []
    side = joined()
    side.joining.renew(0.0)
    assert side.take() == AGAIN


def test_leaving_says_goodbye_where_somebody_listens_and_ends_the_trying():
    side = joined()
    side.joining.leave()
    assert side.take() == [Say(1, Bye("the host leaves")), Disconnect(flush=True)]
    side.joining.lose("too late", 0.0)
    side.joining.renew(0.0)
    assert side.take() == []
    assert side.joining.due() == inf

    side = Side()
    side.connect()
    side.joining.leave()
    assert side.take() == [Disconnect()]
