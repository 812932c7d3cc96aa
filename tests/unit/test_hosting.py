"""The host's core: every decision as an ordered list of effects, time in the open."""

from __future__ import annotations

from typing import Any
from unittest.mock import ANY

import pytest

from workerhost.actors.core.effects import Note
from workerhost.actors.core.host.host_effects import (
    CancelSlot,
    CloseSlot,
    Connect,
    Disconnect,
    Feed,
    Guide,
    HostEffect,
    Kill,
    Leave,
    Say,
    Spawn,
    Terminate,
)
from workerhost.actors.core.host.host_options import HostOptions
from workerhost.actors.core.host.hosting import HostCore
from workerhost.actors.core.host.verdicts import BUSY, FAILED, Brief, Offer
from workerhost.actors.slot_news import SlotNews
from workerhost.transport.messages import (
    Alive,
    Bye,
    Claim,
    Drain,
    GiveBack,
    Heartbeat,
    Hello,
    Message,
    Outcome,
    Progress,
    Recorded,
    Refused,
    Results,
    Returned,
    Stop,
    Tasks,
    Tree,
    Welcome,
)

READY: dict[str, Any] = {"types": ["text.length"], "any": [], "failed": {}, "fingerprints": {}}
OFFER = Offer(("text.length",), False, {}, {})
WELCOME = Welcome(1, "h1", 7, 1.0, 5.0)
SESSION = b"\x80" + bytes(15)  # exactly the middle of the spread: no jitter


def options(**changed: Any) -> HostOptions:
    settings: dict[str, Any] = {"address": "tcp://s", "name": "h1", "session": SESSION, "slots": {"": 2}}
    return HostOptions(**settings | changed)


def hello(**changed: Any) -> Say:
    offer: dict[str, Any] = {
        "slots": {"": 2}, "types": ["text.length"], "any": False, "serve": [], "not": [], "named": False,
        "running": [], "finished": [], "greeting": ANY, "pid": 0, "machine": "", "isolation": "process",
        "fingerprints": {},
        "failed": {},
    }  # fmt: skip
    return Say(0, Hello("host", [1, 1], SESSION, "h1", offer | changed))


def task(id: int, fence: int, extra: dict[str, Any] | None = None) -> list[Any]:
    return [id, fence, 1, 5, 1000.0, b"p", extra]


def fed(id: int, fence: int, timeout: float | None = None, type: str = "text.length") -> tuple[Any, ...]:
    return (id, fence, type, 1, 0, 5, 1000.0, timeout, None, (), b"p", None)


def result(id: int, fence: int, slot: int = 1, body: bytes = b"r") -> list[Any]:
    return [id, fence, Outcome.COMPLETED, body, 0.001, slot, None]


def exited(running: list[int] | None = None, **more: Any) -> dict[str, Any]:
    started = [] if running is None else [running]
    return {"started": started, "signal": 11, "exit_code": None, "cause": "crash", "message": "segfault"} | more


CRASH = {"cause": "crash", "message": "segfault", "signal": 11}


class Host:
    """A core with a hand on its levers: each call returns what follows from it."""

    def __init__(self, **changed: Any) -> None:
        self.core = HostCore(options(**changed))
        self.number = 0
        self.now = 0.0

    def _take(self, now: float) -> list[HostEffect]:
        self.now = now
        self.core.tick(now)
        effects = self.core.take(now)
        self.core.check_invariants()
        if any(isinstance(effect, Connect) for effect in effects):
            self.number = 0
        return effects

    def start(self, now: float = 0.0) -> list[HostEffect]:
        self.core.start(now)
        return self._take(now)

    def hears(self, *messages: Message, now: float | None = None) -> list[HostEffect]:
        now = self.now if now is None else now
        for message in messages:
            if isinstance(message, Welcome | Refused):
                self.number = 0
                self.core.on_message(0, message, now)
            else:
                self.number += 1
                self.core.on_message(self.number, message, now)
        return self._take(now)

    def slot(self, number: int, now: float | None = None, **news: Any) -> list[HostEffect]:
        now = self.now if now is None else now
        self.core.on_slot(SlotNews(number, **news), now)
        return self._take(now)

    def at(self, now: float) -> list[HostEffect]:
        return self._take(now)

    def alone(self, now: float) -> list[HostEffect]:
        """Time passes and nobody answers; everything that follows from it."""
        effects: list[HostEffect] = []
        while self.core.due() <= now:
            effects += self.at(self.core.due())
        return effects + self.at(now)

    def quiet(self, now: float) -> None:
        """Time passes with a supervisor that answers every heartbeat."""
        while self.now + 1 <= now:
            effects = self.at(self.now + 1)
            beats = [e.number for e in effects if isinstance(e, Say) and isinstance(e.message, Heartbeat)]
            self.hears(Alive(beats[-1]))
        self.at(now)


def joined(*, ready: tuple[int, ...] = (1, 2), tree: dict[str, Any] | None = None, **changed: Any) -> Host:
    host = Host(**changed)
    host.start()
    for number in ready:
        host.slot(number, ready=READY)
    host.hears(WELCOME)
    if tree is not None:
        host.hears(Tree(tree))
    return host


def granted(host: Host, *tasks: list[Any], type: str = "text.length") -> list[HostEffect]:
    return host.hears(Tasks([[type, list(tasks)]]))


class TestJoining:
    def test_the_first_ready_slot_makes_the_host_say_hello(self):
        host = Host()

        assert host.start() == [Spawn(1, 1), Spawn(2, 1)]
        assert host.slot(2, ready=READY) == [Guide(Brief(offer=OFFER)), Connect(), hello()]

    def test_welcome_is_answered_with_the_capacity_of_the_slots_that_are_ready(self):
        host = joined(ready=(1,))
        assert host.slot(2, ready=READY) == [Say(2, Claim({"": 2}))]

        host = Host()
        host.start()
        host.slot(1, ready=READY)

        assert host.hears(WELCOME) == [
            Note("info", "host_joined", {
                "name": "h1", "address": "tcp://s", "slots": {"": 2}, "types": ["text.length"], "any": False,
                "running": 0,
            }),
            Say(1, Claim({"": 1})),
        ]  # fmt: skip

    def test_a_host_whose_slots_take_long_is_seen_all_the_same(self):
        host = Host()
        host.start()

        assert host.at(2.9) == []
        assert host.at(3.0) == [Connect(), hello(types=[])]
        host.hears(WELCOME, now=3.1)
        assert host.slot(1, 4.0, ready=READY) == [Guide(Brief(offer=OFFER)), Disconnect(), Connect(), hello()]

    def test_an_unnamed_host_takes_the_name_it_is_given(self):
        host = Host()
        host.start()
        host.slot(1, ready=READY)
        host.hears(Welcome(1, "h1-2", 7, 1.0, 5.0))
        assert host.core.name == "h1-2"

        named = Host(named=True)
        named.start()
        named.slot(1, ready=READY)
        named.hears(Welcome(1, "other", 7, 1.0, 5.0))
        assert named.core.name == "h1"

    @pytest.mark.parametrize("code", ["version", "forbidden"])
    def test_a_host_that_will_never_be_admitted_leaves_with_the_reason(self, code: str):
        host = joined()

        assert host.hears(Refused(code, "because")) == [
            *[Kill(1), Kill(2), CloseSlot(1), CloseSlot(2)],
            *[Say(2, Claim({"": 0})), Say(3, Bye("the host leaves")), Disconnect(flush=True)],
        ]
        assert host.slot(1, exited=exited(signal=9)) == []
        reason = f"tcp://s refused this host ({code}): because"
        assert host.slot(2, exited=exited(signal=9)) == [Leave(reason)]
        assert host.core.due() == float("inf")

    def test_settings_of_the_supervisor_are_taken_over_unless_the_command_line_set_them(self):
        host = Host(slots={"": 3}, fixed=frozenset({"serve"}), serve=("text",))
        host.start()
        host.slot(1, ready=READY)

        settings = {"slots": {"video": 2}, "serve": ["video"], "not": ["video.raw"]}
        effects = host.hears(Welcome(1, "h1", 7, 1.0, 5.0, settings))

        new = hello(slots={"video": 2}, serve=["text"], **{"not": ["video.raw"]})
        assert effects == [CloseSlot(3), Disconnect(), Connect(), new]
        assert host.hears(Welcome(1, "h1", 7, 1.0, 5.0, settings))[1:] == [Say(1, Claim({"video": 1}))]

    def test_a_slot_that_changes_its_code_is_told_to_the_supervisor(self):
        host = joined()
        host.slot(1, exited=exited())

        changed = READY | {"types": ["text.length", "text.words"]}
        effects = host.slot(1, ready=changed)

        offer = Offer(("text.length", "text.words"), False, {}, {})
        assert effects == [
            Guide(Brief(offer=offer)), Disconnect(), Connect(), hello(types=["text.length", "text.words"]),
        ]  # fmt: skip


class TestTasks:
    def test_tasks_reach_the_slots_with_all_that_belongs_to_them(self):
        host = joined()

        extra = {"failures": 2, "key": "k", "tags": ["a"], "timeout": 9.0}

        assert granted(host, task(1, 11)) == [Feed(1, [fed(1, 11)])]
        assert granted(host, task(2, 12, extra), task(3, 13)) == [
            Feed(2, [(2, 12, "text.length", 1, 2, 5, 1000.0, 9.0, "k", ("a",), b"p", None)]),
            Feed(1, [fed(3, 13)]),
        ]

    def test_one_frame_per_slot_and_batch(self):
        host = joined()

        effects = host.hears(
            Tasks([["text.length", [task(1, 11), task(2, 12)]]]), Tasks([["text.length", [task(3, 13)]]])
        )

        assert effects == [Feed(1, [fed(1, 11), fed(3, 13)]), Feed(2, [fed(2, 12)])]
        assert host.slot(1, lines=[(1, "hi")]) == [Note("info", "task_output", {"task": 1, "slot": 1, "text": "hi"})]

    def test_a_type_uses_the_slots_of_the_nearest_node_that_has_its_own(self):
        host = joined(slots={"": 1, "video": 1})

        assert granted(host, task(1, 11), type="video.youtube") == [Feed(2, [fed(1, 11, type="video.youtube")])]
        assert granted(host, task(2, 12), type="audio") == [Feed(1, [fed(2, 12, type="audio")])]

    def test_a_type_without_slots_and_a_failed_node_are_not_served(self):
        host = joined(slots={"video": 2})
        host.core.verdicts = {"video.youtube": (FAILED, "no module named yt")}

        effects = host.hears(
            Tasks([["audio", [task(1, 11)]], ["video.youtube", [task(2, 12)]], ["video", [task(3, 13)]]])
        )

        assert effects == [
            Say(2, GiveBack([
                [1, 11, Returned.UNSERVED, 0.0, "no slots for it here", False],
                [2, 12, Returned.UNSERVED, 0.0, "no module named yt", False],
            ])),
            Feed(1, [fed(3, 13, type="video")]),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "groups", [[["text.length", [[1, 2]]]], [5], [["text.length", [[*task(1, 2)[:5], "p", None]]]]]
    )
    def test_tasks_that_cannot_be_understood_end_the_session_and_nothing_else(self, groups: list[Any]):
        host = joined()

        effects = host.hears(Tasks([["text.length", [task(9, 99)]], *groups]))

        assert [type(effect) for effect in effects] == [Note, Note, Disconnect, Connect, Say]
        assert effects[-1] == hello()

    def test_progress_travels_latest_first_and_again_after_a_reconnect(self):
        host = joined()
        granted(host, task(1, 11))

        effects = host.slot(1, progress=[[1, 11, 0.1, ""], [1, 11, 0.2, "half"], [8, 8, 0.5, "not ours"]])
        assert effects == [Say(2, Progress([[1, 11, 0.2, "half"]]))]

        host.hears(Refused("unknown_session", "who?"))
        assert host.hears(WELCOME)[-1] == Say(2, Progress([[1, 11, 0.2, "half"]]))


class TestResults:
    def test_results_of_a_batch_travel_together_and_are_kept_until_recorded(self):
        host = joined()
        granted(host, task(1, 11), task(2, 12))

        host.core.on_slot(SlotNews(1, results=[result(1, 11)]), 0.0)
        assert host.slot(2, results=[result(2, 12, 2)]) == [Say(2, Results([result(1, 11), result(2, 12, 2)]))]
        assert host.core.outbox.unrecorded == {2: [result(1, 11), result(2, 12, 2)]}

        assert host.hears(Recorded(2, [[1, 11]])) == [Note("info", "results_stale", {"tasks": [1]})]
        assert host.core.outbox.empty()

    def test_unrecorded_results_are_named_and_said_again_in_the_next_session(self):
        host = joined()
        granted(host, task(1, 11), task(2, 12))
        host.slot(1, results=[result(1, 11)])

        effects = host.hears(Refused("unknown_session", "message 2 was lost"))

        assert effects == [
            Note("warning", "supervisor_lost", {"address": "tcp://s", "reason": "message 2 was lost"}),
            Disconnect(),
            Connect(),
            hello(running=[[2, 12]], finished=[[1, 11]]),
        ]
        host.slot(2, results=[result(2, 12, 2)])
        assert host.hears(WELCOME)[1:] == [
            Say(1, Claim({"": 2})),
            Say(2, Results([result(1, 11), result(2, 12, 2)])),
        ]

    def test_what_was_given_back_while_alone_is_named_as_running_and_given_back_then(self):
        host = joined()
        granted(host, task(1, 11))
        host.alone(5.1)  # nothing heard: HELLO
        released = [1, 11, Returned.RELEASED, 60.0, "later", True]
        assert host.slot(1, returned=[released]) == []
        assert host.alone(11.0)[-1] == hello(running=[[1, 11]])
        said = [effect.message for effect in host.hears(WELCOME) if isinstance(effect, Say)]
        assert said == [Heartbeat(0), Claim({"": 2}), GiveBack([released])]


class TestTheSession:
    def test_heartbeats_carry_what_was_seen_and_the_levels_that_changed(self):
        host = joined()
        granted(host, task(1, 11))
        host.core.verdicts = {"text": (BUSY, ""), "text.length": (FAILED, "why")}

        assert host.at(0.9) == []
        assert host.at(1.0) == [
            Say(2, Heartbeat(1, {"text": [BUSY, ""], "text.length": [FAILED, "why"]})),
            Guide(Brief(offer=OFFER, running={"text.length": 1})),
        ]
        host.core.verdicts = {"text": (BUSY, ""), "text.length": (BUSY, "")}
        assert host.at(2.0) == [Say(3, Heartbeat(1, {"text.length": [BUSY, ""]}))]
        assert host.at(3.0) == [Say(4, Heartbeat(1))]

    def test_a_host_that_stood_still_itself_blames_nobody(self):
        host = joined()
        host.at(1.0)

        effects = host.at(60.0)

        assert effects == [Say(3, Heartbeat(0))]

    def test_a_gap_ends_the_session_and_the_message_changes_nothing(self):
        host = joined()
        host.number = 1  # one message never arrived

        assert granted(host, task(1, 11)) == [
            Note("warning", "supervisor_lost", {"address": "tcp://s", "reason": "message 1 was lost"}),
            Disconnect(),
            Connect(),
            hello(),
        ]

    def test_a_full_link_ends_the_session(self):
        host = joined()
        host.core.on_unsent(0.5)
        assert host.at(0.5)[1:] == [Disconnect(), Connect(), hello()]


class TestAlone:
    """The supervisor is away (guarantee 6)."""

    def test_a_supervisor_that_comes_back_finds_everything(self):
        host = joined()
        granted(host, task(1, 11), task(2, 12))
        host.alone(5.1)
        host.slot(1, results=[result(1, 11)])
        host.alone(600.0)
        said = [effect.message for effect in host.hears(WELCOME) if isinstance(effect, Say)]
        assert said == [Heartbeat(0), Claim({"": 2}), Results([result(1, 11)])]
        assert [task[:2] for task in host.core.slots.in_hand()] == [(2, 12)]

    def test_a_stop_right_after_hello_means_that_it_runs_elsewhere(self):
        host = joined()
        granted(host, task(1, 11), task(2, 12))
        host.hears(Refused("unknown_session", "who?"))
        host.hears(WELCOME)

        assert host.hears(Stop([[1, 11]])) == [CancelSlot(1, 1, 11), Terminate(1), Say(2, Claim({"": 1}))]
        assert host.hears(Alive(1), Stop([[2, 12]])) == [CancelSlot(2, 2, 12)]


class TestLeaving:
    def test_a_drain_takes_nothing_new_finishes_and_leaves_when_all_is_recorded(self):
        host = joined()
        granted(host, task(1, 11))
        host.core.drain(0.0)

        assert host.at(0.0) == [
            Guide(Brief(offer=OFFER, draining=True)),
            Note("info", "host_drains", {"running": 1}),
            Say(2, Claim({"": 0}, leaving=True)),
        ]
        assert granted(host, task(2, 12)) == [
            Say(3, GiveBack([[2, 12, Returned.DRAIN, 0.0, "the host drains", False]]))
        ]
        assert host.slot(1, results=[result(1, 11)]) == [Say(4, Results([result(1, 11)])), Say(5, Heartbeat(2))]
        assert host.hears(Recorded(4)) == []
        assert host.hears(Alive(5)) == [
            *[Say(6, Bye("the host leaves")), Disconnect(flush=True)],
            *[CloseSlot(1), CloseSlot(2)],
        ]
        assert host.slot(1, exited=exited(signal=None, exit_code=0)) == []
        assert host.slot(2, exited=exited(signal=None, exit_code=0)) == [Leave()]

    def test_slots_that_do_not_end_by_themselves_are_killed(self):
        host = joined()
        host.core.drain(0.0)
        assert host.at(0.0)[-3:] == [Disconnect(flush=True), CloseSlot(1), CloseSlot(2)]
        assert host.at(1.0) == [Kill(1), Kill(2), CloseSlot(1), CloseSlot(2)]
        assert host.at(2.0) == [Leave()]

    def test_what_does_not_finish_in_time_is_terminated_killed_and_given_back(self):
        host = joined()
        granted(host, task(1, 11))
        host.core.drain(0.0, 4.0)
        host.quiet(3.9)

        assert host.at(4.0)[:3] == [CancelSlot(1, 1, 11), CloseSlot(2), Terminate(1)]
        assert Kill(1) in host.at(5.0)
        effects = host.slot(1, 5.1, exited=exited([1, 11], signal=9))
        assert [effect.message for effect in effects if isinstance(effect, Say)] == [
            GiveBack([[1, 11, Returned.DRAIN, 0.0, "the host leaves", True, {"cause": "drain", "signal": 9}]]),
            Heartbeat(host.number),
        ]
        assert Leave() in host.alone(7.0), "nobody answers"

    def test_a_supervisor_that_is_away_does_not_hold_it_for_ever(self):
        host = joined()
        granted(host, task(1, 11))
        host.slot(1, results=[result(1, 11)])
        host.alone(5.1)
        host.core.drain(5.1, 1.0)
        assert Leave() in host.alone(10.2)

    def test_stop_kills_and_gives_back_at_once(self):
        host = joined()
        granted(host, task(1, 11), task(2, 12), task(3, 13))
        host.core.stop(0.1)

        assert host.at(0.1) == [
            *[Kill(1), Kill(2), CloseSlot(1), CloseSlot(2)],
            Say(2, Claim({"": 0})),
            Say(3, GiveBack([
                [1, 11, Returned.DRAIN, 0.0, "the host leaves", True],
                [3, 13, Returned.DRAIN, 0.0, "the host leaves", False],
                [2, 12, Returned.DRAIN, 0.0, "the host leaves", True],
            ])),
            Say(4, Bye("the host leaves")),
            Disconnect(flush=True),
        ]  # fmt: skip
        host.core.stop(0.2)
        assert host.slot(1, results=[result(1, 11)], exited=exited(signal=9)) == []
        assert host.slot(2, exited=exited(signal=9)) == [Leave()]

    def test_a_drain_asked_for_by_the_supervisor_can_be_undone(self):
        host = joined()
        granted(host, task(1, 11))
        host.hears(Drain())

        assert host.hears(Drain(undo=True)) == [
            Guide(Brief(offer=OFFER)),
            Note("info", "drain_undone", {}),
            Say(3, Claim({"": 2})),
        ]
        host.slot(1, results=[result(1, 11)])
        assert host.hears(Recorded(4)) == []
