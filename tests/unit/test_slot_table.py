"""The host's slots: where tasks go, how they are stopped, what a death means for whom."""

from __future__ import annotations

from math import inf
from typing import Any

from workerhost.actors.core.effects import Note
from workerhost.actors.core.host.environments import Environments
from workerhost.actors.core.host.host_effects import (
    CancelSlot,
    CloseSlot,
    Feed,
    HostEffect,
    Kill,
    SlotTask,
    Spawn,
    Terminate,
)
from workerhost.actors.core.host.outbox import Outbox
from workerhost.actors.core.host.slot_table import SlotTable
from workerhost.actors.core.host.stopping import Why
from workerhost.actors.slot_news import SlotNews
from workerhost.transport.messages import Outcome, Returned
from workerhost.workers.source import Environment


def task(id: int, timeout: float | None = None) -> SlotTask:
    return (id, 10 + id, "text", 1, 0, 5, 1000.0, timeout, None, (), b"p", None)


def result(id: int, slot: int = 1) -> list[Any]:
    return [id, 10 + id, Outcome.COMPLETED, b"r", 0.001, slot, None]


def unstarted(id: int) -> list[Any]:
    return [id, 10 + id, Returned.UNSTARTED, 0.0, "", False]


def came_back(id: int, note: str, *, started: bool = False, code: Returned = Returned.NEIGHBOUR) -> list[Any]:
    return [id, 10 + id, code, 0.0, note, started]


def died(*running: int, cause: str = "crash") -> dict[str, Any]:
    started = [[id, 10 + id] for id in running]
    return {"started": started, "signal": 11, "exit_code": None, "cause": cause, "message": "segfault"}


CRASH = {"cause": "crash", "message": "segfault", "signal": 11}
ENDED = "its slot's process ended"


class Table:
    """A table with a hand on its levers: each call returns the effects that follow, `ended` and `back` what left."""

    def __init__(self, slots: int = 2, isolation: str = "process", *, ready: bool = True) -> None:
        self.outbox = Outbox()
        self.effects: list[HostEffect] = []
        self.table = SlotTable(Environments(Environment(isolation=isolation)), self.outbox, self.effects)
        self.now = 0.0
        self.table.shape({"": slots})
        for number in list(self.table.slots) if ready else []:
            self.table.ready(number)
        self.effects.clear()

    def _take(self) -> list[HostEffect]:
        self.table.tick(self.now)
        self.table.feed()
        self.table.check_invariants()
        effects = self.effects.copy()
        self.effects.clear()
        return effects

    def place(self, *tasks: SlotTask) -> list[HostEffect]:
        self.table.place("", tasks, self.now)
        return self._take()

    def place_alone(self, task: SlotTask) -> list[HostEffect]:
        self.table.place_alone("", task, self.now)
        return self._take()

    def slot(self, number: int, **news: Any) -> list[HostEffect]:
        self.table.news(SlotNews(number, **news), self.now)
        return self._take()

    def ready(self, number: int) -> None:
        self.slot(number, ready={})

    def stop(self, *ids: int, why: Why = Why.CANCELLED) -> list[HostEffect]:
        self.table.stop(lambda task: task[0] in ids, why, self.now)
        return self._take()

    def at(self, now: float) -> list[HostEffect]:
        self.now = now
        return self._take()

    def ended(self) -> list[Any]:
        ended, self.outbox.results = self.outbox.results, []
        return ended

    def back(self) -> list[Any]:
        back, self.outbox.returned = self.outbox.returned, []
        return back


class TestPlacing:
    def test_free_slots_first_and_then_evenly(self):
        table = Table()

        assert table.place(task(1)) == [Feed(1, [task(1)])]
        assert table.place(*[task(n) for n in range(2, 7)]) == [
            Feed(2, [task(2), task(4), task(6)]),
            Feed(1, [task(3), task(5)]),
        ]

    def test_nothing_waits_behind_a_long_task_while_another_slot_moves(self):
        table = Table()
        table.place(task(1), task(2))
        table.now = 0.010
        table.slot(2, results=[result(2, 2)])

        assert table.place(task(3), task(4)) == [Feed(2, [task(3), task(4)])]

    def test_it_does_when_all_are_in_a_long_task_for_the_slot_itself_will_tell(self):
        table = Table()
        table.place(task(1), task(2))
        table.now = 1.0
        assert table.place(task(3)) == [Feed(1, [task(3)])]

    def test_without_a_slot_that_lives_tasks_go_back(self):
        table = Table(ready=False)
        assert table.place(task(1)) == []
        assert table.back() == [came_back(1, "its slot was replaced")]

    def test_what_a_blocked_slot_hands_back_goes_to_one_that_moves(self):
        table = Table()
        table.place(task(1), task(2), task(3))
        table.now = 0.006
        table.slot(2, results=[result(2, 2)])

        assert table.slot(1, returned=[unstarted(3)]) == [Feed(2, [task(3)])]
        assert table.back() == []

    def test_it_goes_back_when_no_slot_moves(self):
        table = Table()
        table.place(task(1), task(2), task(3))
        table.now = 0.006

        assert table.slot(1, returned=[unstarted(3)]) == []
        assert table.back() == [came_back(3, "its slot was blocked", code=Returned.UNSTARTED)]

    def test_a_release_is_passed_on_with_a_note_of_bounded_length(self):
        table = Table()
        table.place(task(1))
        table.slot(1, returned=[[1, 11, Returned.RELEASED, 30.0, "x" * 5000, True]])
        assert table.back() == [[1, 11, Returned.RELEASED, 30.0, "x" * 1024, True]]

    def test_a_task_that_must_be_alone_waits_for_an_empty_slot_and_keeps_it(self):
        table = Table(1)
        table.place(task(1))

        assert table.place_alone(task(2)) == []
        assert table.slot(1, results=[result(1)]) == [Feed(1, [task(2)])]
        assert table.place(task(3)) == []
        assert table.back() == [came_back(3, "its slot was replaced")]
        table.slot(1, results=[result(2)])
        assert table.place(task(4)) == [Feed(1, [task(4)])]

    def test_a_wide_slot_with_a_task_that_must_be_alone_offers_no_other_place(self):
        table = Table(4, "thread")
        table.place(task(1), task(2))
        table.place_alone(task(3))
        capacity = [table.table.capacity()[""]]
        for id in (1, 2, 3):
            table.slot(1, results=[result(id)])
            capacity.append(table.table.capacity()[""])
        assert capacity == [3, 2, 1, 4]

    def test_news_of_tasks_that_are_not_in_hand_change_nothing(self):
        table = Table()
        news = {"results": [result(1)], "returned": [unstarted(2)], "progress": [[3, 13, 0.5, ""]]}
        assert [table.slot(1, **news), table.slot(9, **news)] == [[], []]
        assert (table.ended(), table.back(), table.outbox.fresh) == ([], [], {})


class TestShape:
    def test_slots_change_their_pool_where_they_can(self):
        table = Table(3)
        table.place(task(1))
        table.table.shape({"video": 2, "audio": 2})
        assert table.at(0.0) == [Spawn(4, 1)]
        assert table.table.capacity() == {"video": 2, "audio": 1}

    def test_one_too_many_ends_when_it_is_empty(self):
        table = Table(1)
        table.place(task(1))
        table.table.shape({})
        assert table.at(0.0) == []
        assert table.slot(1, results=[result(1)]) == [CloseSlot(1)]
        assert table.slot(1, exited=died()) == []
        assert table.table.slots == {}


class TestStopping:
    def test_a_task_is_asked_then_terminated_then_killed(self):
        table = Table()
        table.place(task(1))

        assert table.stop(1, 9) == [CancelSlot(1, 1, 11)]
        assert table.at(1.9) == []
        assert table.at(2.0) == [Terminate(1)]
        assert table.at(4.9) == []
        assert table.at(5.0) == [Kill(1), Note("info", "slot_killed", {"slot": 1, "task": 1, "why": "cancelled"})]
        assert table.at(60.0) == []
        assert table.slot(1, exited=died()) == [Spawn(1, 1)]
        assert table.ended() == [[1, 11, Outcome.CANCELLED, b"", 60.0, 1, None]]

    def test_one_that_stops_when_asked_is_confirmed_and_its_slot_lives(self):
        table = Table()
        table.place(task(1))
        table.stop(1)
        assert table.slot(1, results=[result(1)]) == []
        assert table.ended() == [[1, 11, Outcome.CANCELLED, b"", 0.001, 1, None]]
        assert (table.table.due(), table.table.capacity()) == (inf, {"": 2})

    def test_the_times_of_one_that_waits_begin_when_it_runs(self):
        table = Table(1)
        table.place(task(1), task(2))
        assert table.stop(2) == [CancelSlot(1, 2, 12)]
        assert table.table.due() == inf
        table.now = 0.5
        table.slot(1, results=[result(1)])
        assert table.table.due() == 2.5

    def test_one_that_waits_to_be_alone_has_never_begun(self):
        table = Table(1)
        table.place(task(1))
        table.place_alone(task(2))
        assert table.stop(2) == []
        assert table.ended() == [[2, 12, Outcome.CANCELLED, b"", 0.0, 1, None]]
        assert table.place(task(3)) == [Feed(1, [task(3)])]

    def test_one_just_placed_is_fed_before_it_is_asked(self):
        table = Table()
        table.table.place("", [task(1)], 0.0)
        assert table.stop(1) == [Feed(1, [task(1)]), CancelSlot(1, 1, 11)]

    def test_a_timeout_counts_from_the_start_of_each(self):
        table = Table(1)
        table.place(task(1, 3.0), task(2, 0.5))
        table.now = 2.0
        table.slot(1, results=[result(1)])

        assert table.table.due() == 2.5
        assert table.at(2.5) == [CancelSlot(1, 2, 12)]
        assert table.at(4.5) == [Terminate(1)]
        table.slot(1, exited=died(2))
        detail = {"cause": "timeout", "message": "ran longer than 0.5 s", "signal": 11}
        assert table.ended() == [result(1), [2, 12, Outcome.TIMEOUT, b"", 2.5, 1, detail]]

    def test_a_result_that_comes_after_the_timeout_is_a_timeout(self):
        table = Table()
        table.place(task(1, 3.0))
        table.at(3.0)
        table.slot(1, results=[[1, 11, Outcome.COMPLETED, b"half", 3.001, 1, None]])
        detail = {"cause": "timeout", "message": "ran longer than 3 s"}
        assert table.ended() == [[1, 11, Outcome.TIMEOUT, b"", 3.001, 1, detail]]

    def test_a_slot_that_got_sigterm_is_not_used_again_even_if_its_task_ended(self):
        table = Table()
        table.place(task(1))
        table.stop(1)
        table.at(2.0)
        assert table.slot(1, results=[result(1)]) == [Kill(1)]
        assert table.place(task(2), task(3)) == [Feed(2, [task(2), task(3)])]

    def test_neighbours_of_a_killed_task_come_back_without_suspicion(self):
        table = Table(1)
        table.place(task(1), task(2))
        table.stop(1)
        table.at(2.0)
        table.slot(1, exited=died(1))
        assert table.back() == [came_back(2, ENDED)]
        assert table.table.suspects == {}

    def test_a_drain_terminates_at_once_and_lets_a_result_count(self):
        table = Table()
        table.place(task(1), task(2))
        assert table.stop(1, 2, why=Why.DRAIN) == [
            CancelSlot(1, 1, 11),
            CancelSlot(2, 2, 12),
            Terminate(1),
            Terminate(2),
        ]
        table.slot(1, results=[result(1)])
        table.slot(2, results=[[2, 12, Outcome.FAILED, b"", 0.1, 2, {"error_type": "SystemExit"}]])
        assert table.ended() == [result(1)]
        assert table.back() == [
            [*came_back(2, "the host leaves", started=True, code=Returned.DRAIN), {"cause": "drain"}]
        ]


class TestDeaths:
    def test_the_task_that_ran_is_blamed_and_those_behind_it_come_back(self):
        table = Table(1)
        table.place(task(1), task(2))
        table.now = 0.5

        assert table.slot(1, exited=died(1)) == [
            Note("warning", "slot_died", {"slot": 1, **CRASH, "restart_in": 0.0, "task": 1}),
            Spawn(1, 1),
        ]
        assert table.ended() == [[1, 11, Outcome.CRASHED, b"", 0.5, 1, CRASH]]
        assert table.back() == [came_back(2, ENDED)]

    def test_one_that_had_not_begun_is_not_blamed_even_if_it_was_alone_in_hand(self):
        table = Table()
        table.place(task(1))
        table.slot(1, exited=died())
        assert table.ended() == []
        assert table.back() == [came_back(1, ENDED)]
        assert table.table.suspects == {1: 1}, "from now on it runs alone"

    def test_one_that_waited_is_not_blamed_when_the_one_before_it_had_just_ended(self):
        table = Table(1)
        table.place(task(1), task(2))
        table.slot(1, results=[result(1)], exited=died(1))
        assert table.ended() == [result(1)]
        assert [item[:3] for item in table.back()] == [[2, 12, Returned.NEIGHBOUR]]

    def test_processes_that_die_before_a_task_begins_are_started_later_and_later_until_it_is_blamed(self):
        table = Table(1)
        waits: list[float] = []
        ended: list[Any] = []
        while not ended and len(waits) < 10:
            (table.place_alone if 1 in table.table.suspects else table.place)(task(1))
            before = table.now
            table.slot(1, exited=died())
            ended = table.ended()
            assert table.back() == ([] if ended else [came_back(1, ENDED)])
            if table.table.due() < inf:
                table.at(table.table.due())
            waits.append(round(table.now - before, 3))
            table.ready(1)
        assert waits == [0.0, 0.2, 0.0], "the last death is explained"
        message = "segfault; the task had not begun"
        assert ended == [[1, 11, Outcome.CRASHED, b"", 0.0, 1, {**CRASH, "message": message}]]

    def test_only_who_was_about_to_begin_is_suspected_and_blamed_only_when_alone(self):
        table = Table(1)
        for _ in range(5):
            table.place(task(1), task(2))
            table.slot(1, exited=died())
            assert [item[0] for item in table.back()] == [1, 2]
            table.at(min(table.now + 60.0, table.table.due()))
            table.ready(1)
        assert table.ended() == []
        assert table.table.suspects == {1: 5}

    def test_processes_that_die_of_what_ended_before_or_while_they_start_make_no_suspects(self):
        table = Table(1)
        table.place(task(1), task(2))
        table.slot(1, results=[result(1)], exited=died(1))
        table.slot(1, exited=died(cause="start_failed"))
        assert table.table.suspects == {}

    def test_results_that_came_before_the_death_count(self):
        table = Table(1)
        table.place(task(1), task(2))
        table.slot(1, results=[result(1)], exited=died(2))
        assert table.ended() == [result(1), [2, 12, Outcome.CRASHED, b"", 0.0, 1, CRASH]]

    def test_without_a_culprit_all_come_back_and_those_that_ran_are_suspects(self):
        table = Table(2, "thread")
        table.place(task(1), task(2), task(3))
        table.slot(1, exited=died(1, 2))
        assert table.ended() == []
        assert table.back() == [
            [*came_back(1, ENDED, started=True), {"cause": "neighbour", "signal": 11}],
            [*came_back(2, ENDED, started=True), {"cause": "neighbour", "signal": 11}],
            came_back(3, ENDED),
        ]
        assert table.table.suspects == {1: 0, 2: 0}

    def test_a_slot_that_cannot_start_is_tried_again_later_and_later(self):
        table = Table(1, ready=False)
        waits: list[float] = []
        for _ in range(6):
            before = table.now
            table.slot(1, exited=died(cause="start_failed"))
            if table.table.due() < inf:
                assert table.at(table.table.due()) == [Spawn(1, 1)]
            waits.append(round(table.now - before, 3))
        assert waits == [0.0, 0.2, 0.4, 0.8, 1.6, 3.2]

    def test_a_slot_that_dies_under_tasks_is_started_again_at_once_every_time(self):
        table = Table(1)
        for id in range(10):
            table.place(task(id))
            assert table.slot(1, exited=died(id))[-1] == Spawn(1, 1)
            table.ready(1)

    def test_news_of_a_slot_that_is_down_change_nothing(self):
        table = Table(1, ready=False)
        table.slot(1, exited=died())
        table.slot(1, exited=died())  # now it waits for its restart
        assert table.slot(1, exited=died()) == []

    def test_a_death_takes_what_was_not_yet_fed_along(self):
        table = Table(1)
        table.table.place("", [task(1)], 0.0)
        assert [type(effect) for effect in table.slot(1, exited=died())] == [Note, Spawn]


class TestThreadsAndInline:
    def test_a_thread_that_does_not_stop_leaves_its_process_to_its_neighbours(self):
        table = Table(2, "thread")
        table.place(task(1, 1.0), task(2))
        assert table.at(1.0) == [CancelSlot(1, 1, 11)]

        assert table.at(3.0) == [
            Note("warning", "task_does_not_stop", {"slot": 1, "task": 1, "why": "timeout", "isolation": "thread"}),
            Spawn(2, 2),
        ]
        table.ready(2)
        assert table.table.capacity() == {"": 2}
        assert table.place(task(3)) == [Feed(2, [task(3)])]
        assert table.slot(1, results=[result(2)]) == [Kill(1)]
        table.slot(1, exited=died())
        detail = {"signal": 11, "cause": "timeout", "message": "ran longer than 1 s"}
        assert table.ended() == [result(2), [1, 11, Outcome.TIMEOUT, b"", 3.0, 1, detail]]
        assert list(table.table.slots) == [2]

    def test_an_inline_task_can_only_be_asked(self):
        table = Table(1, "inline")
        table.place(task(1, 1.0))
        assert table.at(1.0) == [CancelSlot(1, 1, 11)]
        assert table.at(3.0) == [
            Note("warning", "task_does_not_stop", {"slot": 1, "task": 1, "why": "timeout", "isolation": "inline"})
        ]
        assert table.table.due() == inf

    def test_threads_run_side_by_side_each_with_its_own_time(self):
        table = Table(2, "thread")
        table.place(task(1, 10.0))
        table.now = 1.0
        table.place(task(2, 10.0), task(3, 10.0))
        assert table.table.slots[1].starts == {(1, 11): 0.0, (2, 12): 1.0}
        table.now = 2.0
        table.slot(1, results=[result(2)])
        assert table.table.slots[1].starts == {(1, 11): 0.0, (3, 13): 2.0}


class TestWear:
    def test_a_worn_process_is_replaced_when_it_is_empty_and_nobody_is_to_blame(self):
        table = Table(1)
        table.place(task(1), task(2))
        said = Note("info", "slot_replaced", {"slot": 1, "reason": "its memory grew"})

        assert table.slot(1, worn="its memory grew", results=[result(1)]) == [said]
        assert table.place(task(3)) == []
        assert table.back() == [came_back(3, "its slot was replaced")]
        assert table.slot(1, results=[result(2)]) == [CloseSlot(1)]
        assert table.slot(1, exited=died(cause="stopped")) == [Spawn(1, 1)]
        table.ready(1)
        assert table.place(task(4)) == [Feed(1, [task(4)])]

    def test_an_idle_one_is_closed_at_once(self):
        assert Table(1).slot(1, worn="why")[1:] == [CloseSlot(1)]

    def test_a_worn_process_that_dies_in_its_last_task_has_crashed(self):
        table = Table(1)
        table.place(task(1))
        table.slot(1, worn="why")

        assert table.slot(1, exited=died(1))[-1] == Spawn(1, 1)
        assert [item[2] for item in table.ended()] == [Outcome.CRASHED]
