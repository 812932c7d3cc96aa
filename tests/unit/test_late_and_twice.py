"""What comes late, twice or at a wrong moment changes nothing: cases that the simulation found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from unit.pool_words import completed, crashed, failed  # pyright: ignore[reportMissingImports]

from workerhost.transport.block import UNKNOWN
from workerhost.transport.client_effects import Say
from workerhost.transport.commands import Command
from workerhost.transport.conversation import RESTORED_EPOCHS, Conversation
from workerhost.transport.messages import (
    PROTOCOL_VERSION,
    Accepted,
    Cancel,
    Claim,
    Events,
    GiveBack,
    Hello,
    Message,
    Recorded,
    Results,
    Returned,
    Stop,
    Tasks,
    Watch,
    Welcome,
)
from workerhost.transport.parcel import Parcel
from workerhost.transport.terms import Terms

FAILURE = {"error_type": "ValueError", "message": "no", "retry": True}


def grants(said: dict[bytes, list[Message]], host: bytes) -> list[list[int]]:
    """[id, fence] of what a host was given."""
    tasks = [m for m in said.get(host, []) if isinstance(m, Tasks)]
    return [task[:2] for message in tasks for _, group in message.groups for task in group]


class TestAnOldHello:
    def test_is_ignored_on_its_own_connection_and_on_another(self, pool: Any):
        pool.host(b"h", greeting=2)
        ((id, _fence),) = grants(pool.send(), b"h")
        old = Hello("host", [1, 1], b"h" * 16, "h", {"types": ["a"], "slots": {"": 1}, "greeting": 2})
        assert pool.pool.handle([(b"h", 0, old), (b"old", 0, old)], pool.now, pool.wall) == []
        assert pool.state(id) == "running"
        assert b"h" not in pool.wait(1), "its session goes on"

    def test_does_not_hide_a_new_one(self, pool: Any):
        pool.host(b"h", greeting=2)
        ((id, fence),) = grants(pool.send(), b"h")
        pool.host(b"i", greeting=3, session=b"h" * 16, name="h", running=[[id, fence]])
        assert pool.state(id) == "running"
        assert pool.pool.sessions.peers.keys() >= {b"i"}
        assert b"h" not in pool.pool.sessions.peers


class TestAJumpOfTheWallClock:
    def test_moves_no_delay_that_begins_in_the_same_batch(self, pool: Any):
        """The due time is told by the new clock already."""
        pool.host()
        ((id, fence),) = grants(pool.send(), b"h")
        pool.jump += 3600
        pool.say(b"h", Results([[id, fence, 1, b"", 0.1, 1, {**FAILURE, "after": 5.0}]]))
        assert pool.state(id) == "scheduled"
        due = pool.store.show(id)["due"]
        assert abs(due - pool.wall - 5) < 0.01
        assert grants(pool.wait(6), b"h")[0][0] == id

    def test_moves_those_that_began_before(self, pool: Any):
        pool.host()
        ((id, fence),) = grants(pool.send(), b"h")
        pool.say(b"h", Results([[id, fence, 1, b"", 0.1, 1, {**FAILURE, "after": 5.0}]]))
        pool.jump -= 3600
        assert grants(pool.wait(6), b"h")[0][0] == id


def test_a_wall_clock_that_lags_does_not_keep_the_supervisor_busy(pool: Any):
    """Until the hour of a task has come by the wall clock, there is nothing to wake up for."""
    pool.send(at=pool.wall + 10)
    pool.now += 10.2
    pool.jump -= 0.5
    pool.pool.handle([], pool.now, pool.wall)
    assert pool.state(1) == "scheduled"
    assert pool.pool.next_time(pool.now) - pool.now > 0.25


def test_a_completion_of_a_task_that_has_failed_since_is_stale(pool: Any):
    """Its fence is still the stored one; RECORDED must not say that it was stored."""
    pool.host()
    ((id, fence),) = grants(pool.send(max_attempts=1), b"h")
    pool.say(b"h", Results([[id, fence, 1, b"", 0.1, 1, FAILURE]]))
    assert pool.state(id) == "failed"
    said = pool.say(b"h", Results([[id, fence, 0, b"late", 0.1, 1, None], [id, fence, 1, b"", 0.1, 1, FAILURE]]))
    (recorded,) = [m for m in said[b"h"] if isinstance(m, Recorded)]
    assert recorded.stale == [[id, fence]]
    assert pool.state(id) == "failed"


def test_a_closed_connection_does_not_end_the_lease_of_what_must_not_run_twice(pool_with: Callable[..., Any]):
    """`cut_off: stop`: its host stops it before its lease ends, a second after the connection closed is too early."""
    pool = pool_with({"c": {"cut_off": None}})
    pool.host(b"h", "a", "c", slots=2)
    ((strict, fence),) = grants(pool.send("c"), b"h")
    ((other, _),) = grants(pool.send("a"), b"h")
    pool.host(b"i", "a", "c", slots=2)
    pool.close(b"h")
    pool.silent.add(b"h")
    assert [id for id, _ in grants(pool.wait(2), b"i")] == [other]
    assert pool.state(strict) == "running"
    assert [id for id, _ in grants(pool.wait(4), b"i")] == [strict]
    said = pool.say(b"j", Hello("host", [1, 1], b"h" * 16, "h", {"types": ["c"], "running": [[strict, fence]]}))
    assert [m.items for m in said[b"j"] if isinstance(m, Stop)] == [[[strict, fence]]], "it came back too late"


class TestAGrantThatIsNamedTwice:
    """In one message, or in two of one turn: it is one grant, and what is decided of it is decided once."""

    @pytest.fixture
    def rescued(self, pool: Any) -> list[int]:
        """[id, fence] of a task whose host was lost; nobody has claimed it since."""
        pool.host(b"x")
        (grant,) = grants(pool.send(), b"x")
        pool.close(b"x")
        pool.wait(1.5)
        assert pool.state(grant[0]) == "queued"
        return grant

    @pytest.mark.parametrize("more", [crashed, completed])
    def test_has_crashed_once_whatever_else_is_said_of_it(self, pool: Any, more: Callable[[int, int], list[Any]]):
        pool.host()
        ((id, fence),) = grants(pool.send(), b"h")
        pool.say(b"h", Claim({"": 0}))
        said = pool.say(b"h", Results([crashed(id, fence), more(id, fence), more(id, fence)]))
        assert said[b"h"] == [Recorded(3)]
        task = pool.store.show(id)
        assert (task["state"], task["crashes"]) == ("queued", 1)

    @pytest.mark.parametrize("restart", [False, True])
    @pytest.mark.parametrize("report", [crashed, failed])
    def test_has_ended_once_if_its_host_never_heard_that_it_was_recorded(
        self, pool: Any, report: Callable[[int, int], list[Any]], *, restart: bool
    ):
        pool.host()
        ((id, fence),) = grants(pool.send(), b"h")
        pool.say(b"h", Claim({"": 0}))
        pool.say(b"h", Results([report(id, fence)]))
        pool.wait(5)
        assert pool.state(id) == "queued"
        before = pool.store.show(id)
        if restart:
            pool.start()
        pool.host(b"z", session=b"h" * 16, name="h", finished=[[id, fence]], slots=0)
        assert pool.say(b"z", Results([report(id, fence)]))[b"z"] == [Recorded(2)]
        assert pool.store.show(id) == before

    def test_completes_once_after_a_rescue(self, pool: Any, rescued: list[int]):
        pool.host(b"z", session=b"x" * 16, name="x", finished=[rescued], slots=0)
        said = pool.say(b"z", Results([completed(*rescued), completed(*rescued)]))
        assert said[b"z"] == [Recorded(2)]
        assert [m.finished for m in said[b"c"] if isinstance(m, Events)] == [[[rescued[0], 1, 4, b"value", None]]]

    def test_crashes_once_after_a_rescue(self, pool: Any, rescued: list[int]):
        pool.host(b"z", session=b"x" * 16, name="x", finished=[rescued], slots=0)
        said = pool.say(b"z", Results([crashed(*rescued), crashed(*rescued)]))
        assert said[b"z"] == [Recorded(2)]
        task = pool.store.show(rescued[0])
        assert (task["state"], task["crashes"]) == ("queued", 1)

    def test_is_taken_at_its_first_word(self, pool: Any, rescued: list[int]):
        pool.host(b"z", session=b"x" * 16, name="x", finished=[rescued], slots=0)
        said = pool.say(b"z", Results([completed(*rescued), crashed(*rescued)]))
        assert said[b"z"] == [Recorded(2)]
        assert pool.state(rescued[0]) == "completed"

    def test_is_adopted_once(self, pool: Any, rescued: list[int]):
        offer = {"types": ["a"], "slots": {"": 1}, "running": [rescued, rescued], "finished": []}
        said = pool.say(b"z", Hello("host", [1, 1], b"x" * 16, "x", offer))
        assert [m for m in said[b"z"] if isinstance(m, Stop)] == []
        assert pool.state(rescued[0]) == "running"

    def test_is_not_stopped_when_its_host_says_hello_twice(self, pool: Any, rescued: list[int]):
        """Both have come before the store was asked what became of it."""
        offer = {"types": ["a"], "slots": {"": 1}, "running": [rescued], "finished": []}
        first, second = [Hello("host", [1, 1], b"x" * 16, "x", {**offer, "greeting": number}) for number in (1, 2)]
        said = pool.hear([(b"y", 0, first), (b"z", 0, second)])
        assert [m for heard in said.values() for m in heard if isinstance(m, Stop)] == []
        assert pool.state(rescued[0]) == "running"


@pytest.mark.parametrize("hellos", [1, 2])
def test_a_copy_that_is_being_stopped_keeps_its_slot_until_its_host_says_that_it_has_ended(pool: Any, hellos: int):
    """A thread of the host's own process cannot be killed: the next task would only wait behind it, and come back."""
    pool.host()
    ((id, fence),) = grants(pool.send(count=2), b"h")
    pool.say(b"c", Cancel(1, [id]))
    pool.start()
    for greeting in range(1, hellos + 1):
        said = pool.host(b"h", running=[[id, fence]], greeting=greeting)
        assert grants(said, b"h") == []
    assert grants(pool.wait(1.0), b"h") == []

    said = pool.say(b"h", Results([[id, fence, 4, b"", 5.0, 1, None]]))

    assert [id for id, _ in grants(said, b"h")] == [2]


class TestAGiveBackThatIsToldTwice:
    """Its host lost the connection before it knew that it was heard, and names the task in its next HELLO."""

    @pytest.mark.parametrize("restart", [False, True])
    @pytest.mark.parametrize(
        ("code", "after", "started", "state"),
        [
            (Returned.UNSTARTED, 0.0, False, "queued"),
            (Returned.DECLINED, 0.0, True, "queued"),
            (Returned.DRAIN, 0.0, True, "queued"),
            (Returned.RELEASED, 0.0, True, "queued"),
            (Returned.RELEASED, 3600.0, True, "scheduled"),
        ],
    )
    def test_counts_once(self, pool: Any, code: Returned, after: float, state: str, *, started: bool, restart: bool):
        pool.host()
        ((id, fence),) = grants(pool.send(), b"h")
        pool.say(b"h", Claim({"": 0}))
        back = GiveBack([[id, fence, code, after, "", started]])
        pool.say(b"h", back)
        before = pool.store.show(id)
        assert before["state"] == state
        if restart:
            pool.start()
        pool.host(b"z", session=b"h" * 16, name="h", running=[[id, fence]], slots=0)
        pool.say(b"z", back)

        assert pool.store.show(id) == before
        assert not pool.pool.queue.lanes.tree.copies.by_owner

    def test_counts_if_it_was_not_heard_the_first_time(self, pool: Any):
        pool.host()
        ((id, fence),) = grants(pool.send(), b"h")
        pool.host(b"z", session=b"h" * 16, name="h", running=[[id, fence]])
        pool.say(b"z", GiveBack([[id, fence, Returned.RELEASED, 3600.0, "", True]]))
        assert pool.state(id) == "scheduled"


def test_what_is_recorded_is_said_to_the_connection_that_reported_it(pool: Any):
    """Its number means something there alone; whoever says HELLO anew reports anew what was not RECORDED."""
    pool.host()
    ((id, fence),) = grants(pool.send(), b"h")
    pool.say(b"h", Results([completed(id, fence)]))
    hello = Hello("host", [1, 1], b"h" * 16, "h", {"types": ["a"], "slots": {"": 1}, "finished": [[id, fence]]})
    said = pool.hear([(b"h", 3, Results([completed(id, fence)])), (b"z", 0, hello)])
    assert not [m for heard in said.values() for m in heard if isinstance(m, Recorded)]
    pool.numbers[b"z"] = 0
    assert pool.say(b"z", Results([completed(id, fence)])) == {b"z": [Recorded(1)]}


class TestARestoredPool:
    def test_is_asked_anew_what_has_ended(self):
        talk = Conversation(bytes(16), "test", 0.0)
        talk.start(0.0)
        assert self.hear(talk, 0, welcome(3)) == [Watch(0, 10_000, [])]
        parcel: Command = Parcel(Terms("a", 5, None), [b"1"] * 3, 3)
        talk.take([parcel], 0.0)
        self.hear(talk, 1, Accepted(1, 7, 3))
        self.hear(talk, 2, Events([[7, 40, 4, b"value", None]]))
        talk.on_broken(1.0)
        talk.tick(2.0)
        assert self.hear(talk, 0, welcome(3 + RESTORED_EPOCHS)) == [Watch(0, 10_000, [8, 9])]
        self.hear(talk, 1, Events([], [], [[8, 2], [9, -1]]))
        block = parcel.block
        assert block.ends == [b"value", None, (UNKNOWN, b"", None)]
        talk.on_broken(3.0)
        talk.tick(4.0)
        assert self.hear(talk, 0, welcome(4 + RESTORED_EPOCHS))[0].ids == [8], "after a mere restart it is remembered"

    @staticmethod
    def hear(talk: Conversation, number: int, message: Message) -> list[Any]:
        return [effect.message for effect in talk.on_message(number, message, 0.0) if isinstance(effect, Say)]


def welcome(epoch: int) -> Welcome:
    return Welcome(PROTOCOL_VERSION, "", epoch, 1.0, 5.0)
