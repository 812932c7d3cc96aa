"""A connection that closes is no reason to wait for a silence: HELLO is said again on a fresh one, soon."""

from __future__ import annotations

from workerhost.actors.core.effects import Note
from workerhost.actors.core.host.host_effects import Connect, Disconnect, HostEffect, Say
from workerhost.actors.core.host.joining import Joining, Phase
from workerhost.transport.messages import Hello, Welcome

HELLO = Hello("host", [1, 1], bytes(16))
LOST = Note("warning", "supervisor_lost", {"address": "tcp://s", "reason": "the connection closed"})


class Side:
    """A host's side that has said HELLO."""

    def __init__(self) -> None:
        self.effects: list[HostEffect] = []
        self.joining = Joining(self.effects, lambda: HELLO, "tcp://s", 0.5)
        self.joining.connect(0.0)
        self.effects.clear()

    def welcomed(self, now: float) -> None:
        self.joining.welcomed(Welcome(1, "h", 1, 1.0, 5.0), now)

    def closed(self, now: float) -> list[HostEffect]:
        self.joining.closed(now)
        effects = self.effects.copy()
        self.effects.clear()
        return effects


def test_the_first_time_hello_is_said_at_once() -> None:
    side = Side()
    side.welcomed(0.0)
    assert side.closed(3.0) == [LOST, Disconnect(), Connect(), Say(0, HELLO)]


def test_however_often_it_closed_before_a_session_is_looked_for_soon() -> None:
    side = Side()
    now = 0.0
    for _ in range(10):
        side.welcomed(now)
        assert side.closed(now)[:2] == [LOST, Disconnect()]
        assert side.joining.phase in (Phase.GREETING, Phase.APART)
        now = side.joining.due() if side.joining.phase is Phase.APART else now
        side.joining.tick(now)
        assert side.joining.phase is Phase.GREETING
        side.effects.clear()
    assert now <= 10 * 0.2


def test_one_that_closes_before_welcome_is_tried_again_within_a_second_but_not_at_once() -> None:
    side = Side()
    waits: list[float] = []
    now = 0.0
    for _ in range(6):
        assert side.closed(now) == [Disconnect()]
        waits.append(side.joining.due() - now)
        now = side.joining.due()
        side.joining.tick(now)
        assert side.effects == [Connect(), Say(0, HELLO)]
        side.effects.clear()
    assert [round(wait, 2) for wait in waits] == [0.2, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_after_leaving_nothing_follows() -> None:
    side = Side()
    side.joining.leave()
    side.effects.clear()
    assert side.closed(1.0) == []
