"""The host's core: every decision as an ordered list of effects, time in the open."""

from __future__ import annotations

from typing import Any

import pytest

from workerhost.actors.core.effects import Note
from workerhost.actors.core.host_effects import (
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
from workerhost.actors.core.host_options import HostOptions
from workerhost.actors.core.hosting import HostCore
from workerhost.actors.core.verdicts import BUSY, FAILED, Brief, Offer
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

READY = {"types": ["text.length"], "any": [], "failed": {}, "fingerprints": {}}
OFFER = Offer(("text.length",), False, {}, {})
WELCOME = Welcome(1, "h1", 7, 1.0, 5.0)
SESSION = b"\x80" + bytes(15)  # exactly the middle of the spread: no jitter


def options(**changed: Any) -> HostOptions:
    return HostOptions(**{"address": "tcp://s", "name": "h1", "session": SESSION, "slots": {"": 2}} | changed)


def hello(**changed: Any) -> Say:
    offer: dict[str, Any] = {
        "slots": {"": 2}, "types": ["text.length"], "any": False, "serve": [], "not": [], "named": False,
        "running": [], "finished": [], "pid": 0, "machine": "", "isolation": "process", "fingerprints": {}, "failed": {},
    }  # fmt: skip
    return Say(0, Hello("host", [1, 1], SESSION, "h1", offer | changed))


def task(id: int, fence: int, extra: dict[str, Any] | None = None) -> list[Any]:
    return [id, fence, 1, 5, 1000.0, b"p", extra]


def fed(id: int, fence: int, timeout: float | None = None, type: str = "text.length") -> tuple[Any, ...]:
    return (id, fence, type, 1, 0, 5, 1000.0, timeout, None, (), b"p")


def result(id: int, fence: int, slot: int = 1, body: bytes = b"r") -> list[Any]:
    return [id, fence, Outcome.COMPLETED, body, 0.001, slot, None]


def exited(running: list[int] | None = None, **more: Any) -> dict[str, Any]:
    return {"running": running, "signal": 11, "exit_code": None, "cause": "crash", "message": "segfault"} | more


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
                "name": "h1", "address": "tcp://s", "slots": {"": 2}, "types": ["text.length"], "any": False, "running": 0,
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

    def test_code_that_cannot_be_loaded_is_said_here_and_in_hello(self):
        host = Host()
        host.start()
        broken = {"types": [], "any": [], "failed": {"tasks.py": "line 3: no"}, "fingerprints": {}}

        effects = host.slot(1, ready=broken)

        assert effects == [
            Guide(Brief(offer=Offer((), False, {"tasks.py": "line 3: no"}, {}))),
            Note("error", "code_failed_to_load", {"code": "tasks.py", "reason": "line 3: no"}),
            Connect(),
            hello(types=[], failed={"tasks.py": "line 3: no"}),
        ]

    def test_no_answer_is_said_once_and_tried_again_for_ever(self):
        host = Host()
        host.start()
        host.slot(1, ready=READY)

        assert host.at(1.0) == [
            Note("warning", "supervisor_unreachable", {
                "address": "tcp://s", "reason": "no answer", "hint": "is it running? trying on",
            }),
            Disconnect(), Connect(), hello(),
        ]  # fmt: skip
        again = [Disconnect(), Connect(), hello()]
        assert [host.at(t) for t in (2.9, 3.0, 7.0, 12.0, 17.0)] == [[], again, again, again, again]

    def test_a_link_that_takes_nothing_is_tried_with_growing_waits(self):
        host = Host()
        host.start()
        host.slot(1, ready=READY)
        waits: list[float] = []
        for _ in range(8):
            before = host.now
            host.core.on_unsent(host.now)
            host.at(host.now)
            host.at(host.core.due())
            waits.append(round(host.now - before, 3))

        assert waits == [0.2, 0.2, 0.4, 0.8, 1.6, 3.2, 3.2, 3.2]

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

    def test_a_taken_name_is_said_once_and_tried_each_second(self):
        host = Host(named=True)
        host.start()
        host.slot(1, ready=READY)
        taken = Refused("name_taken", "another host is called h1")

        assert host.hears(taken) == [
            Note("warning", "host_refused", {
                "address": "tcp://s", "code": "name_taken", "reason": "another host is called h1",
            }),
            Disconnect(),
        ]  # fmt: skip
        assert host.at(0.9) == []
        assert host.at(1.0) == [Connect(), hello(named=True)]
        assert host.hears(taken) == [Disconnect()]
        assert host.at(2.0) == [Connect(), hello(named=True)]

    @pytest.mark.parametrize("code", ["version", "forbidden"])
    def test_a_host_that_will_never_be_admitted_leaves_with_the_reason(self, code: str):
        host = joined()

        assert host.hears(Refused(code, "because")) == [
            Kill(1),
            Kill(2),
            Say(2, Bye("the host leaves")),
            Disconnect(),
            Leave(f"tcp://s refused this host ({code}): because"),
        ]
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
    def test_tasks_go_to_free_slots_first_and_then_evenly(self):
        host = joined()

        assert granted(host, task(1, 11)) == [Feed(1, [fed(1, 11)])]
        assert granted(host, *[task(n, 10 + n) for n in range(2, 7)]) == [
            Feed(2, [fed(2, 12), fed(4, 14), fed(6, 16)]),
            Feed(1, [fed(3, 13), fed(5, 15)]),
        ]

    def test_one_frame_per_slot_and_batch(self):
        host = joined()

        effects = host.hears(
            Tasks([["text.length", [task(1, 11), task(2, 12)]]]), Tasks([["text.length", [task(3, 13)]]])
        )

        assert effects == [Feed(1, [fed(1, 11), fed(3, 13)]), Feed(2, [fed(2, 12)])]

    def test_nothing_waits_behind_a_long_task_while_another_slot_moves(self):
        host = joined()
        granted(host, task(1, 11), task(2, 12))
        host.slot(2, 0.010, results=[result(2, 12, 2)])

        assert granted(host, task(3, 13), task(4, 14)) == [Feed(2, [fed(3, 13), fed(4, 14)])]

    def test_what_only_some_tasks_have_reaches_the_slot(self):
        host = joined()
        extra = {"failures": 2, "key": "k", "tags": ["a"], "timeout": 9.0}

        assert granted(host, task(1, 11, extra)) == [
            Feed(1, [(1, 11, "text.length", 1, 2, 5, 1000.0, 9.0, "k", ("a",), b"p")])
        ]

    def test_a_type_uses_the_slots_of_the_nearest_node_that_has_its_own(self):
        host = joined(slots={"": 1, "video": 1})

        assert granted(host, task(1, 11), type="video.youtube") == [Feed(2, [fed(1, 11, type="video.youtube")])]
        assert granted(host, task(2, 12), type="audio") == [Feed(1, [fed(2, 12, type="audio")])]

    def test_a_type_without_slots_and_a_failed_node_are_declined(self):
        host = joined(slots={"video": 2})
        host.core.verdicts = {"video.youtube": (FAILED, "no module named yt")}

        effects = host.hears(
            Tasks([["audio", [task(1, 11)]], ["video.youtube", [task(2, 12)]], ["video", [task(3, 13)]]])
        )

        assert effects == [
            Say(2, GiveBack([
                [1, 11, Returned.DECLINED, 0.0, "no slots for it here", False],
                [2, 12, Returned.DECLINED, 0.0, "no module named yt", False],
            ])),
            Feed(1, [fed(3, 13, type="video")]),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "groups", [[["text.length", [[1, 2]]]], [5], [["text.length", [task(1, 2)[:5] + ["p", None]]]]]
    )
    def test_tasks_that_cannot_be_understood_end_the_session_and_nothing_else(self, groups: list[Any]):
        host = joined()

        effects = host.hears(Tasks([["text.length", [task(9, 99)]], *groups]))

        assert [type(effect) for effect in effects] == [Note, Note, Disconnect, Connect, Say]
        assert effects[-1] == hello()

    def test_what_a_blocked_slot_hands_back_goes_to_one_that_moves(self):
        host = joined()
        granted(host, task(1, 11), task(2, 12), task(3, 13))
        host.slot(2, 0.006, results=[result(2, 12, 2)])

        effects = host.slot(1, 0.007, returned=[[3, 13, Returned.UNSTARTED, 0.0, "", False]])

        assert effects == [Feed(2, [fed(3, 13)])]

    def test_it_goes_back_to_the_supervisor_when_no_slot_moves(self):
        host = joined()
        granted(host, task(1, 11), task(2, 12), task(3, 13))

        effects = host.slot(1, 0.007, returned=[[3, 13, Returned.UNSTARTED, 0.0, "", False]])

        assert effects == [Say(2, GiveBack([[3, 13, Returned.UNSTARTED, 0.0, "its slot was blocked", False]]))]

    def test_a_release_is_passed_on_as_it_is(self):
        host = joined()
        granted(host, task(1, 11))

        item = [1, 11, Returned.RELEASED, 30.0, "later", True]
        assert host.slot(1, returned=[item]) == [Say(2, GiveBack([item]))]

    def test_a_task_that_must_be_alone_waits_for_an_empty_slot_and_keeps_it(self):
        host = joined(ready=(1,), slots={"": 1})
        granted(host, task(1, 11))

        assert granted(host, task(2, 12, {"alone": True})) == []
        assert host.slot(1, results=[result(1, 11)]) == [Say(2, Results([result(1, 11)])), Feed(1, [fed(2, 12)])]
        assert granted(host, task(3, 13)) == [
            Say(3, GiveBack([[3, 13, Returned.NEIGHBOUR, 0.0, "its slot was replaced", False]]))
        ]
        host.slot(1, results=[result(2, 12)])
        assert granted(host, task(4, 14)) == [Feed(1, [fed(4, 14)])]

    def test_progress_travels_latest_first_and_again_after_a_reconnect(self):
        host = joined()
        granted(host, task(1, 11))

        effects = host.slot(1, progress=[[1, 11, 0.1, ""], [1, 11, 0.2, "half"], [8, 8, 0.5, "not ours"]])
        assert effects == [Say(2, Progress([[1, 11, 0.2, "half"]]))]

        host.hears(Refused("unknown_session", "who?"))
        assert host.hears(WELCOME)[-1] == Say(2, Progress([[1, 11, 0.2, "half"]]))

    def test_lines_are_logged(self):
        host = joined()
        assert host.slot(1, lines=[(5, "hi")]) == [Note("info", "task_output", {"task": 5, "slot": 1, "text": "hi"})]


class TestResults:
    def test_results_of_a_batch_travel_together_and_are_kept_until_recorded(self):
        host = joined()
        granted(host, task(1, 11), task(2, 12))

        host.core.on_slot(SlotNews(1, results=[result(1, 11)]), 0.0)
        assert host.slot(2, results=[result(2, 12, 2)]) == [Say(2, Results([result(1, 11), result(2, 12, 2)]))]
        assert host.core.outbox.unrecorded == {2: [result(1, 11), result(2, 12, 2)]}

        assert host.hears(Recorded(2)) == []
        assert host.core.outbox.empty()

    def test_stale_ones_are_dropped_too_and_said(self):
        host = joined()
        granted(host, task(1, 11))
        host.slot(1, results=[result(1, 11)])

        assert host.hears(Recorded(2, [[1, 11]])) == [Note("info", "results_stale", {"tasks": [1]})]
        assert host.core.outbox.empty()

    def test_a_result_of_no_task_in_hand_is_ignored(self):
        host = joined()
        assert host.slot(1, results=[result(1, 11)]) == []

    def test_messages_stay_below_a_frame(self):
        host = joined()
        granted(host, *[task(n, n) for n in (1, 2, 3)])
        large = [result(n, n, body=bytes(3_000_000)) for n in (1, 2, 3)]
        host.core.on_slot(SlotNews(1, results=[large[0], large[2]]), 0.0)

        effects = host.slot(2, results=[large[1]])

        assert effects == [Say(2, Results([large[0]])), Say(3, Results([large[2]])), Say(4, Results([large[1]]))]

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

        assert host.alone(6.2)[-1] == hello(running=[[1, 11]])
        assert host.hears(WELCOME)[1:] == [Say(1, Claim({"": 2})), Say(2, GiveBack([released]))]


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

    def test_an_idle_host_wakes_for_heartbeats_only(self):
        host = joined()
        assert [host.core.due(), host.at(1.0), host.core.due()] == [1.0, [Say(2, Heartbeat(0))], 2.0]

    def test_silence_of_lost_after_ends_the_session_and_nothing_else(self):
        host = joined()
        granted(host, task(1, 11))
        host.alone(4.9)

        assert host.at(5.0) == [
            Note("warning", "supervisor_lost", {"address": "tcp://s", "reason": "nothing heard for 5 s"}),
            Disconnect(),
            Connect(),
            hello(running=[[1, 11]]),
        ]

    def test_any_message_is_a_sign_of_life(self):
        host = joined()
        host.alone(4.4)
        host.hears(Alive(1), now=4.5)
        lost = Note("warning", "supervisor_lost", {"address": "tcp://s", "reason": "nothing heard for 5 s"})
        assert lost not in host.alone(9.4)
        assert lost in host.alone(9.5)

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

    def test_the_second_loss_in_a_row_waits(self):
        host = joined()
        lost = Refused("unknown_session", "who?")
        host.hears(lost)
        host.hears(WELCOME)

        assert host.hears(lost)[1:] == [Disconnect()]
        assert host.at(0.2) == [Connect(), hello()]

    def test_a_session_that_answered_starts_the_backoff_afresh(self):
        host = joined()
        lost = Refused("unknown_session", "who?")
        host.hears(lost)
        host.hears(WELCOME)
        host.at(1.0)
        host.hears(Alive(2))

        assert host.hears(lost)[1:] == [Disconnect(), Connect(), hello()]

    def test_messages_of_a_session_that_is_over_change_nothing(self):
        host = joined()
        host.hears(Refused("leaving", "the supervisor leaves"))

        assert granted(host, task(1, 11)) == []
        assert host.at(0.2) == [Connect(), hello()]

    def test_goodbye_of_the_supervisor(self):
        host = joined()
        assert host.hears(Bye())[1:] == [Disconnect()]
        assert host.at(0.2) == [Connect(), hello()]

    def test_a_full_link_ends_the_session(self):
        host = joined()
        host.core.on_unsent(0.5)
        assert host.at(0.5)[1:] == [Disconnect(), Connect(), hello()]


class TestStopping:
    def test_a_cancelled_task_is_asked_then_terminated_then_killed(self):
        host = joined()
        granted(host, task(1, 11))

        assert host.hears(Stop([[1, 11], [9, 99]]), now=10.0)[0] == CancelSlot(1, 1, 11)
        host.quiet(11.9)
        assert Terminate(1) in host.at(12.0)
        host.quiet(14.9)
        effects = host.at(15.0)
        assert [effect for effect in effects if not isinstance(effect, Say)] == [
            Kill(1),
            Note("info", "slot_killed", {"slot": 1, "task": 1, "why": "cancelled"}),
        ]
        spawn, report = host.slot(1, 15.1, exited=exited(signal=9))
        assert spawn == Spawn(1, 1)
        assert isinstance(report, Say)
        assert report.message == Results([[1, 11, Outcome.CANCELLED, b"", 15.1, 1, None]])

    def test_an_older_fence_is_not_meant(self):
        host = joined()
        granted(host, task(1, 11))
        assert host.hears(Stop([[1, 10]])) == []

    def test_a_task_that_stops_when_asked_is_confirmed_and_its_slot_lives(self):
        host = joined()
        granted(host, task(1, 11))
        host.hears(Stop([[1, 11]]))

        effects = host.slot(1, 1.0, results=[result(1, 11)])

        assert effects[-1] == Say(3, Results([[1, 11, Outcome.CANCELLED, b"", 0.001, 1, None]]))
        assert host.core.slots.due() == float("inf")

    def test_a_task_that_waits_is_asked_and_its_times_begin_when_it_runs(self):
        host = joined(ready=(1,))
        granted(host, task(1, 11), task(2, 12))
        assert host.hears(Stop([[2, 12]])) == [CancelSlot(1, 2, 12)]

        assert host.core.slots.due() == float("inf")
        host.slot(1, 0.5, results=[result(1, 11)])
        assert host.core.slots.due() == 2.5

    def test_a_task_just_placed_is_fed_before_it_is_cancelled(self):
        host = joined()
        effects = host.hears(Tasks([["text.length", [task(1, 11)]]]), Stop([[1, 11]]))
        assert effects == [Feed(1, [fed(1, 11)]), CancelSlot(1, 1, 11)]

    def test_a_timeout_stops_the_task_and_is_reported_as_such(self):
        host = joined(tree={"text": {"timeout": 3}})
        assert granted(host, task(1, 11), task(2, 12, {"timeout": 0.5})) == [
            Feed(1, [fed(1, 11, 3)]),
            Feed(2, [fed(2, 12, 0.5)]),
        ]

        assert host.at(0.5) == [CancelSlot(2, 2, 12)]
        assert host.at(2.5)[:1] == [Terminate(2)]
        effects = host.slot(2, 2.6, exited=exited([2, 12]))
        detail = {"cause": "timeout", "message": "ran longer than 0.5 s"}
        assert effects[:2] == [Spawn(2, 1), Say(4, Results([[2, 12, Outcome.TIMEOUT, b"", 2.6, 2, detail]]))]
        assert host.at(3.0)[0] == CancelSlot(1, 1, 11)

    def test_a_result_that_comes_after_the_timeout_is_a_timeout(self):
        host = joined(tree={"text": {"timeout": 3}})
        granted(host, task(1, 11))
        host.at(3.0)

        effects = host.slot(1, results=[[1, 11, Outcome.COMPLETED, b"half", 3.001, 1, None]])

        detail = {"cause": "timeout", "message": "ran longer than 3 s"}
        assert effects == [Say(3, Results([[1, 11, Outcome.TIMEOUT, b"", 3.001, 1, detail]]))]

    def test_a_slot_that_got_sigterm_is_not_used_again_even_if_its_task_ended(self):
        host = joined()
        granted(host, task(1, 11))
        host.hears(Stop([[1, 11]]))
        assert host.at(2.0)[:1] == [Terminate(1)]

        effects = host.slot(1, results=[result(1, 11)])
        assert effects == [Kill(1), Say(4, Results([[1, 11, Outcome.CANCELLED, b"", 0.001, 1, None]]))]
        assert granted(host, task(2, 12), task(3, 13)) == [Feed(2, [fed(2, 12), fed(3, 13)])]

    def test_the_capacity_shrinks_before_anything_is_given_back(self):
        host = joined()
        granted(host, task(1, 11), task(2, 12), task(3, 13))
        host.hears(Stop([[1, 11]]))
        assert host.at(2.0) == [
            Terminate(1),
            Say(2, Heartbeat(2)),
            Guide(Brief(offer=OFFER, running={"text.length": 3})),
            Say(3, Claim({"": 1})),
        ]

        effects = host.slot(1, 2.1, exited=exited([1, 11]))

        assert effects == [
            Spawn(1, 1),
            Say(4, Results([[1, 11, Outcome.CANCELLED, b"", 2.1, 1, None]])),
            Say(5, GiveBack([[3, 13, Returned.NEIGHBOUR, 0.0, "its slot's process ended", False]])),
        ]


class TestDeaths:
    def test_the_task_that_ran_is_blamed_and_those_behind_it_come_back(self):
        host = joined()
        granted(host, *[task(n, 10 + n) for n in (1, 2, 3)])

        effects = host.slot(1, 0.5, exited=exited([1, 11]))

        assert effects == [
            Note("warning", "slot_died", {"slot": 1, **CRASH, "restart_in": 0.0, "task": 1}),
            Spawn(1, 1),
            Say(2, Claim({"": 1})),
            Say(3, Results([[1, 11, Outcome.CRASHED, b"", 0.5, 1, CRASH]])),
            Say(4, GiveBack([[3, 13, Returned.NEIGHBOUR, 0.0, "its slot's process ended", False]])),
        ]
        assert host.slot(1, ready=READY) == [Say(5, Claim({"": 2}))]

    def test_one_that_was_alone_in_hand_is_blamed_even_if_nobody_saw_it_run(self):
        host = joined()
        granted(host, task(1, 11))
        effects = host.slot(1, exited=exited())
        assert effects[-1] == Say(3, Results([[1, 11, Outcome.CRASHED, b"", 0.0, 1, CRASH]]))

    def test_results_that_came_before_the_death_count(self):
        host = joined()
        granted(host, task(1, 11), task(2, 12), task(3, 13))
        effects = host.slot(1, results=[result(1, 11)], exited=exited([3, 13]))
        assert effects[-1] == Say(3, Results([result(1, 11), [3, 13, Outcome.CRASHED, b"", 0.0, 1, CRASH]]))

    def test_without_a_culprit_all_come_back_and_run_alone_the_next_time(self):
        host = joined(isolation="thread", slots={"": 4}, ready=(1,))
        granted(host, task(1, 11), task(2, 12))

        effects = host.slot(1, exited=exited())
        assert effects[-1] == Say(3, GiveBack([
            [1, 11, Returned.NEIGHBOUR, 0.0, "its slot's process ended", True],
            [2, 12, Returned.NEIGHBOUR, 0.0, "its slot's process ended", True],
        ]))  # fmt: skip

        host.slot(1, ready=READY)
        assert granted(host, task(1, 21), task(2, 22)) == [
            Say(5, Claim({"": 1})),
            Say(6, GiveBack([[2, 22, Returned.NEIGHBOUR, 1.0, "no slot is free of neighbours", False]])),
            Feed(1, [fed(1, 21)]),
        ]
        effects = host.slot(1, exited=exited())
        assert effects[-1] == Say(8, Results([[1, 21, Outcome.CRASHED, b"", 0.0, 1, CRASH]]))

    def test_a_slot_that_cannot_start_is_tried_again_later_and_later(self):
        host = joined()
        waits: list[float] = []
        failed = exited(signal=None, exit_code=3, cause="start_failed", message="exit code 3")
        host.slot(1, exited=exited())
        for _ in range(5):
            before = host.now
            effects = host.slot(1, exited=failed)
            assert effects[0].event == "slot_failed_to_start"
            due = host.core.slots.due()
            effects = host.at(due)
            assert Spawn(1, 1) in effects
            waits.append(round(due - before, 3))

        assert waits == [0.2, 0.4, 0.8, 1.6, 3.2]

    def test_a_host_that_can_start_no_slot_is_seen(self):
        host = Host()
        host.start()
        effects = host.slot(1, exited=exited(cause="start_failed"))
        assert effects[-2:] == [Connect(), hello(types=[])]

    def test_news_of_a_slot_that_is_down_change_nothing(self):
        host = joined()
        host.slot(1, exited=exited())
        host.slot(1, exited=exited())  # now it waits for its restart
        assert host.slot(1, results=[result(1, 11)]) == []


class TestThreadsAndInline:
    def test_a_thread_that_does_not_stop_leaves_its_process_to_its_neighbours(self):
        host = joined(isolation="thread", slots={"": 2}, ready=(1,), tree={"text": {"timeout": 1}})
        granted(host, task(1, 11), task(2, 12, {"timeout": None}))
        host.at(1.0)

        effects = host.at(3.0)

        assert effects[:2] == [
            Note("warning", "task_does_not_stop", {"slot": 1, "task": 1, "why": "timeout", "isolation": "thread"}),
            Spawn(2, 2),
        ]
        assert host.slot(2, ready=READY) == [Say(5, Claim({"": 2}))]
        assert granted(host, task(3, 13)) == [Feed(2, [fed(3, 13, 1)])]
        effects = host.slot(1, 3.5, results=[result(2, 12)])
        assert effects == [Kill(1), Say(6, Results([result(2, 12)]))]
        effects = host.slot(1, 3.6, exited=exited())
        detail = {"cause": "timeout", "message": "ran longer than 1 s"}
        assert effects == [Say(7, Results([[1, 11, Outcome.TIMEOUT, b"", 3.6, 1, detail]]))]
        assert list(host.core.slots.slots) == [2]

    def test_an_inline_task_can_only_be_asked(self):
        host = joined(isolation="inline", tree={"text": {"timeout": 1}})
        granted(host, task(1, 11))
        assert host.at(1.0)[0] == CancelSlot(1, 1, 11)
        assert host.at(3.0)[0] == Note(
            "warning", "task_does_not_stop", {"slot": 1, "task": 1, "why": "timeout", "isolation": "inline"}
        )
        assert host.core.slots.due() == float("inf")

    def test_threads_run_side_by_side_each_with_its_own_time(self):
        host = joined(isolation="thread", slots={"": 2}, ready=(1,), tree={"text": {"timeout": 10}})
        granted(host, task(1, 11))
        host.hears(Tasks([["text.length", [task(2, 12), task(3, 13)]]]), now=1.0)
        assert host.core.slots.slots[1].starts == {(1, 11): 0.0, (2, 12): 1.0}
        host.slot(1, 2.0, results=[result(2, 12)])
        assert host.core.slots.slots[1].starts == {(1, 11): 0.0, (3, 13): 2.0}


class TestAlone:
    """The supervisor is away (guarantee 6)."""

    def test_tasks_that_must_not_outlive_their_lease_are_dead_before_it_ends(self):
        host = joined(tree={"text": {"cut_off": "stop"}})
        granted(host, task(1, 11))
        host.quiet(10.0)  # the last heartbeat that was answered was sent at 10, so the lease ends at 15

        said = [(type(e), host.now) for t in (12.9, 13.0, 13.6, 13.625, 14.2, 14.25) for e in host.alone(t)]

        assert [each for each in said if each[0] in (CancelSlot, Terminate, Kill)] == [
            (CancelSlot, 13.0),
            (Terminate, 13.625),
            (Kill, 14.25),
        ]
        host.slot(1, 14.3, exited=exited([1, 11]))
        host.hears(Refused("unknown_session", "who?"))
        why = "stopped by its host, which was cut off from the supervisor"
        assert host.hears(WELCOME)[-1] == Say(2, GiveBack([[1, 11, Returned.NEIGHBOUR, 0.0, why, True]]))

    def test_others_go_on_for_as_long_as_their_node_allows(self):
        host = joined(tree={"text": {"cut_off": 60, "timeout": None}})
        granted(host, task(1, 11))
        host.quiet(10.0)

        assert not [effect for effect in host.alone(69.9) if isinstance(effect, CancelSlot | Kill | Terminate)]
        assert CancelSlot(1, 1, 11) in host.alone(70.0)

    def test_a_result_that_comes_in_time_counts(self):
        host = joined(tree={"text": {"cut_off": "stop"}})
        granted(host, task(1, 11))
        assert CancelSlot(1, 1, 11) in host.alone(3.0)
        assert host.slot(1, 3.1, results=[result(1, 11)])[-1] == Say(5, Results([result(1, 11)]))

    def test_a_supervisor_that_comes_back_finds_everything(self):
        host = joined()
        granted(host, task(1, 11), task(2, 12))
        host.alone(5.1)
        host.slot(1, results=[result(1, 11)])
        host.alone(600.0)

        assert host.hears(WELCOME)[1:] == [Say(1, Claim({"": 2})), Say(2, Results([result(1, 11)]))]
        assert [task[:2] for task in host.core.slots.in_hand()] == [(2, 12)]


class TestLeaving:
    def test_a_drain_takes_nothing_new_finishes_and_leaves_when_all_is_recorded(self):
        host = joined()
        granted(host, task(1, 11))
        host.core.drain(0.0)

        assert host.at(0.0) == [
            Guide(Brief(offer=OFFER, draining=True)),
            Note("info", "host_drains", {"running": 1}),
            Say(2, Claim({"": 0})),
        ]
        assert granted(host, task(2, 12)) == [
            Say(3, GiveBack([[2, 12, Returned.DRAIN, 0.0, "the host drains", False]]))
        ]
        assert host.slot(1, results=[result(1, 11)]) == [Say(4, Results([result(1, 11)]))]
        assert host.hears(Recorded(4)) == [Say(5, Bye("the host leaves")), Disconnect(), CloseSlot(1), CloseSlot(2)]
        assert host.slot(1, exited=exited(signal=None, exit_code=0)) == []
        assert host.slot(2, exited=exited(signal=None, exit_code=0)) == [Leave()]

    def test_slots_that_do_not_end_by_themselves_are_killed(self):
        host = joined()
        host.core.drain(0.0)
        assert host.at(0.0)[-3:] == [Disconnect(), CloseSlot(1), CloseSlot(2)]
        assert host.at(1.0) == [Kill(1), Kill(2), Leave()]

    def test_what_does_not_finish_in_time_is_terminated_killed_and_given_back(self):
        host = joined()
        granted(host, task(1, 11))
        host.core.drain(0.0, 4.0)
        host.quiet(3.9)

        assert host.at(4.0)[:2] == [CancelSlot(1, 1, 11), Terminate(1)]
        assert Kill(1) in host.at(5.0)
        effects = host.slot(1, 5.1, exited=exited([1, 11], signal=9))
        assert [effect.message for effect in effects if isinstance(effect, Say)] == [
            GiveBack([[1, 11, Returned.DRAIN, 0.0, "the host leaves", True]]),
            Bye("the host leaves"),
        ]

    def test_a_supervisor_that_is_away_does_not_hold_it_for_ever(self):
        host = joined()
        granted(host, task(1, 11))
        host.slot(1, results=[result(1, 11)])
        host.alone(5.1)
        host.core.drain(5.1, 1.0)
        assert Leave() in host.alone(9.0)

    def test_stop_kills_and_gives_back_at_once(self):
        host = joined()
        granted(host, task(1, 11), task(2, 12), task(3, 13))
        host.core.stop()

        assert host.at(0.1) == [
            Kill(1),
            Kill(2),
            Say(2, GiveBack([
                [1, 11, Returned.DRAIN, 0.0, "the host leaves", True],
                [3, 13, Returned.DRAIN, 0.0, "the host leaves", False],
                [2, 12, Returned.DRAIN, 0.0, "the host leaves", True],
            ])),
            Say(3, Bye("the host leaves")),
            Disconnect(),
            Leave(),
        ]  # fmt: skip
        host.core.stop()
        assert host.at(0.2) == []

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

    def test_a_drain_of_its_own_process_cannot(self):
        host = joined()
        granted(host, task(1, 11))
        host.core.drain(0.0)
        host.at(0.0)
        assert host.hears(Drain(undo=True)) == []


class TestGuidance:
    def test_the_first_tree_of_a_session_replaces_and_later_ones_add(self):
        host = joined(tree={"text": {"timeout": 1}})
        assert host.hears(Tree({"video": {"timeout": 2}})) == [
            Guide(Brief({"text": {"timeout": 1}, "video": {"timeout": 2}}, OFFER))
        ]
        host.hears(Refused("unknown_session", "who?"))
        host.hears(WELCOME)
        assert host.hears(Tree({"audio": {"timeout": 3}}))[-1] == Guide(Brief({"audio": {"timeout": 3}}, OFFER))

    def test_a_policy_is_that_of_the_nearest_node(self):
        host = joined(tree={"a": {"timeout": 1}, "a.b": {"timeout": 2}})
        policy = host.core.guidance.policy
        assert [policy(type).timeout for type in ("a", "a.b", "a.b.c", "a.x", "z")] == [1, 2, 2, 1, None]

    @pytest.mark.parametrize("nodes", [{"a": {"timeout": "soon"}}, {"a": 5}])
    def test_a_tree_that_cannot_be_understood_ends_the_session(self, nodes: Any):
        host = joined(tree={"a": {"timeout": 1}})
        assert Disconnect() in host.hears(Tree(nodes))
        assert host.core.guidance.policy("a").timeout == 1
