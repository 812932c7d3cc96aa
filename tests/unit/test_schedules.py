"""Schedules: the instants that they mean, daylight saving included, and that each fires once, whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.conftest import PoolAtHand  # pyright: ignore[reportMissingImports]
from unit.pool_words import CLIENT, completed  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.effects import Note, Persist, Where
from workerhost.actors.core.settings import PoolSettings
from workerhost.actors.core.step import Step
from workerhost.actors.core.tasks.firings import FIRED_MAX, Firings
from workerhost.actors.core.unfit import Unfit
from workerhost.config.loading import check, load
from workerhost.config.schedules import Plan, Timing, plan, timing
from workerhost.transport.messages import Admin, Query, Reply, Results

BERLIN = "Europe/Berlin"
MINUTE = Timing(every=60.0)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def instants(timing: Timing, after: str, count: int) -> list[str]:
    found = timing.coming(at(after), count)
    assert found[0] == timing.after(at(after))
    return [datetime.fromtimestamp(wall, UTC).strftime("%m-%d %H:%M") for wall in found]


class TestInstants:
    @pytest.mark.parametrize(
        ("when", "after", "expected"),
        [
            (Timing("0 3 * * *"), "2026-05-05 02:59", ["05-05 03:00", "05-06 03:00"]),
            (Timing("0 3 * * *"), "2026-05-05 03:00", ["05-06 03:00", "05-07 03:00"]),
            (Timing("*/20 8-9 * * MON-FRI"), "2026-05-08 09:20", ["05-08 09:40", "05-11 08:00"]),
            (Timing("0 3 * * *", zone=BERLIN), "2026-05-05 00:00", ["05-05 01:00", "05-06 01:00"]),
            (Timing(every=300.0), "2026-05-05 02:59", ["05-05 03:00", "05-05 03:05"]),
            # On March 29th 02:30 does not exist: it comes when the clock goes on, at 03:00 by the clock on the wall.
            (Timing("30 2 * * *", zone=BERLIN), "2026-03-28 12:00", ["03-29 01:00", "03-30 00:30"]),
            (Timing("0,30 2 * * *", zone=BERLIN), "2026-03-28 12:00", ["03-29 01:00", "03-30 00:00"]),
            # On October 25th 02:30 exists twice: a fixed time comes once, at the first, `*` comes at both.
            (Timing("30 2 * * *", zone=BERLIN), "2026-10-24 12:00", ["10-25 00:30", "10-26 01:30"]),
            (Timing("30 * * * *", zone=BERLIN), "2026-10-25 00:00", ["10-25 00:30", "10-25 01:30", "10-25 02:30"]),
            (Timing("*/30 2 * * *", zone=BERLIN), "2026-10-24 12:00",
             ["10-25 00:00", "10-25 00:30", "10-25 01:00", "10-25 01:30", "10-26 01:00"]),
        ],
    )  # fmt: skip
    def test_an_instant_follows_another(self, when: Timing, after: str, expected: list[str]) -> None:
        assert instants(when, after, len(expected)) == expected

    @given(
        start=st.integers(1_774_000_000, 1_800_000_000),
        span=st.integers(0, 40 * 86400),
        cron=st.sampled_from(["30 2 * * *", "*/15 2 * * *", "0 * * * *", "15,50 2,3 * * *", "5 1 1 * SUN"]),
        zone=st.sampled_from(["UTC", BERLIN, "Australia/Lord_Howe", "America/New_York"]),
        most=st.sampled_from([1, 3, 100]),
    )
    @settings(max_examples=200, deadline=None)
    def test_where_one_begins_to_count_changes_no_instant(
        self, start: int, span: int, cron: str, zone: str, most: int
    ) -> None:
        when, end = Timing(cron, zone=zone), start + span
        walked, wall = list[float](), float(start)
        while (wall := when.after(wall)) <= end:
            walked.append(wall)
        assert when.due(start, end, most) == walked[-most:]

    @given(period=st.floats(1.0, 1e6), start=st.floats(1e9, 2e9), span=st.floats(0, 1e6), most=st.integers(1, 100))
    def test_periods_too(self, period: float, start: float, span: float, most: int) -> None:
        when, walked, wall = Timing(every=period), list[float](), start
        while len(walked) < 3 and (wall := when.after(wall)) <= start + span:
            walked.append(wall)
        found = when.due(start, start + span, most)
        assert len(found) <= most
        assert found == sorted(set(found))
        assert (not found) == (not walked)
        if found and most >= span / period + 1:
            assert found[: len(walked)] == walked

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ((None, None, "UTC"), "write one of the two"),
            (("0 3 * * *", 5, "UTC"), "leave one of the two out"),
            (("0 3 * *", None, "UTC"), "five fields"),
            (("0 0 3 * * *", None, "UTC"), "five fields"),
            (("61 3 * * *", None, "UTC"), "Bad minute"),
            (("0 0 30 2 *", None, "UTC"), "cron: "),
            (("0 3 * * *", None, "Europe/Berlinn"), "no time zone"),
            (("0 3 * * *", None, None), "no time zone"),
            ((None, 0, "UTC"), "above zero"),
            ((None, 0.5, "UTC"), "write 1s or more"),
            ((None, "often", "UTC"), "not a duration"),
            ((None, 5, BERLIN), "zone: goes with `cron`"),
            ((7, None, "UTC"), "five fields"),
        ],
    )
    def test_what_is_wrong_is_said_with_the_cure(self, given: tuple[Any, Any, Any], says: str) -> None:
        with pytest.raises(ValueError, match=says):
            timing(*given)


def wanted(when: Timing = MINUTE, **more: Any) -> Plan:
    return Plan("a", b"\xc0", when, **more)


class At:
    """Firings alone, with a hand-in that counts."""

    def __init__(self, plans: dict[str, Plan], wall: float, stored: Any = ()) -> None:
        self.sent: list[Any] = []
        self.full, self.room = "", 10_000
        self.firings = Firings(stored, plans, self.hand_in)
        self.began = self.effects(self.firings.start, wall)

    def hand_in(self, _step: Step, groups: list[Any]) -> int:
        if self.full:
            raise Unfit(self.full, "no room")
        if len(self.sent) + sum(len(group[3]) for group in groups) > self.room:
            raise Unfit("queue_full", "no room for so many")
        first = len(self.sent) + 1
        self.sent += [(type, priority, options, one) for type, priority, options, batch in groups for one in batch]
        return first

    def effects(self, what: Callable[[Step], None], wall: float, now: float | None = None) -> list[Any]:
        step = Step(wall - 1e6 if now is None else now, wall)
        what(step)
        return step.effects()

    def configure(self, plans: dict[str, Plan], wall: float) -> list[Any]:
        return self.effects(lambda step: self.firings.configure(step, plans), wall)

    def wake(self, wall: float, now: float | None = None) -> list[Any]:
        return self.effects(self.firings.wake, wall, now)


def row(last: float, task: int, plan: Plan | None = None, *, paused: bool = False, source: str = "config") -> Any:
    return "s", source, (plan or wanted()).written(), last, paused, task, None


class TestFiring:
    def test_a_new_schedule_begins_with_its_next_instant(self) -> None:
        pool = At({"s": wanted()}, 6010.0)
        assert pool.began == [Persist(schedules=[row(6010.0, 0)])]
        assert pool.wake(6059.0) == []
        assert pool.wake(6060.0) == [Persist(schedules=[row(6060.0, 1)])]
        assert pool.wake(6060.0) == pool.wake(6119.0) == []
        assert pool.sent == [("a", 5, None, b"\xc0")]

    def test_a_clock_that_is_set_back_fires_nothing_twice(self) -> None:
        pool = At({"s": wanted()}, 6010.0)
        pool.wake(6130.0)
        assert len(pool.sent) == 1
        for wall in (6000.0, 6060.0, 6120.0, 6179.0):
            assert pool.wake(wall) == []
        assert pool.wake(6180.0) == [Persist(schedules=[row(6180.0, 2)])]

    def test_a_restart_fires_nothing_twice(self) -> None:
        pool = At({"s": wanted()}, 6060.5, [row(6060.0, 7)])
        assert (pool.began, pool.wake(6060.5)) == ([], [])

    @pytest.mark.parametrize(("catch_up", "count", "late_count"), [("none", 1, 0), ("last", 1, 1), ("all", 3, 3)])
    def test_what_was_missed_is_made_up_for_as_the_plan_says(self, catch_up: str, count: int, late_count: int) -> None:
        stored = [row(6000.0, 7, wanted(catch_up=catch_up))]
        pool = At({"s": wanted(catch_up=catch_up)}, 6181.0, stored)
        pool.wake(6181.0)
        assert len(pool.sent) == count
        hourly = wanted(Timing(every=3600.0), catch_up=catch_up)
        pool = At({"s": hourly}, 4 * 3600 + 61.0, [row(3600.0, 7, hourly)])
        said = pool.wake(4 * 3600 + 61.0)
        assert len(pool.sent) == late_count
        if catch_up == "none":
            reason = "it was missed, and catch_up is none"
            missed = Note("warning", "schedule_missed", {"name": "s", "instant": 7200.0, "reason": reason})
            assert said == [Persist(schedules=[row(4 * 3600 + 61.0, 7, hourly)]), missed]

    def test_all_makes_up_for_a_bounded_number(self) -> None:
        every = wanted(Timing(every=1.0), catch_up="all")
        pool = At({"s": every}, 1e6, [row(1000.0, 0, every)])
        assert pool.wake(1e6) == [Persist(schedules=[row(1e6, 100, every)])]

    def test_a_turn_sends_a_bounded_number_and_the_rest_in_the_next(self) -> None:
        pool = At({f"s{n}": wanted() for n in range(1500)}, 6010.0)
        counts: list[int] = []
        for _ in range(3):
            before = len(pool.sent)
            pool.wake(6060.0)
            counts.append(len(pool.sent) - before)
        assert counts == [FIRED_MAX // 2, FIRED_MAX // 2, FIRED_MAX // 2]
        assert pool.firings.next_time() > 6060.0 - 1e6

    def test_without_room_nothing_changes_until_there_is(self) -> None:
        pool = At({"s": wanted()}, 6010.0)
        pool.full = "queue_full"
        held = Note("warning", "schedule_held", {"name": "s", "reason": "no room"})
        assert pool.wake(6060.0, 60.0) == [held]
        assert pool.firings.next_time() == 61.0
        assert pool.wake(6060.5, 60.5) == pool.wake(6061.0, 61.0) == []
        pool.full = ""
        assert pool.wake(6062.0, 62.0) == [Persist(schedules=[row(6060.0, 1)])]

    def test_one_that_can_never_be_sent_holds_up_no_other(self) -> None:
        pool = At({"s": wanted()}, 6010.0)
        pool.full = "invalid"
        missed = Note("warning", "schedule_missed", {"name": "s", "instant": 6060.0, "reason": "no room"})
        assert pool.wake(6061.0) == [Persist(schedules=[row(6061.0, 0)]), missed]

    def test_what_the_configuration_does_not_name_any_more_is_forgotten_and_what_clients_said_stays(self) -> None:
        mine = ("mine", "client", wanted().written(), 6000.0, False, 0, None)
        pool = At({}, 6010.0, [mine, row(6000.0, 0)])
        assert pool.began == [Persist(forgotten_schedules=["s"])]
        pool.wake(6060.0)
        assert len(pool.sent) == 1

    def test_other_instants_count_from_now_and_other_params_change_none(self) -> None:
        pool = At({"s": wanted()}, 6010.0)
        other = Plan("a", b"\x01", MINUTE)
        assert pool.configure({"s": other}, 6065.0) == [Persist(schedules=[row(6010.0, 0, other)])]
        often = wanted(Timing(every=10.0))
        assert pool.configure({"s": often}, 6065.0) == [Persist(schedules=[row(6065.0, 0, often)])]
        pool.wake(6069.0)
        assert pool.sent == []
        pool.wake(6070.0)
        assert len(pool.sent) == 1

    def test_one_that_never_comes_and_none_at_all_wake_nobody(self) -> None:
        assert At({}, 6010.0).firings.next_time() == inf

    def test_one_of_a_zone_that_is_not_known_here_is_left_alone(self) -> None:
        lost = {**wanted(Timing("0 3 * * *")).written(), "zone": "Mars/Olympus"}
        pool = At({}, 6010.0, [("s", "client", lost, 6000.0, False, 0, None)])
        (said,) = pool.began
        assert (said.event, said.fields["name"]) == ("schedule_unreadable", "s")

    def test_one_that_cannot_be_read_goes_with_its_configuration_or_when_it_is_set_anew(self) -> None:
        lost = {**wanted(Timing("0 3 * * *")).written(), "zone": "Mars/Olympus"}
        stored = [("s", "config", lost, 6000.0, False, 7, None)]
        gone = At({}, 6010.0, stored)
        assert gone.began[0] == Persist(forgotten_schedules=["s"])
        anew = At({"s": wanted()}, 6010.0, stored)
        assert anew.began[0] == Persist(schedules=[row(6010.0, 0)])
        assert [one["error"] for one in anew.firings.listed({})["schedules"]] == [None]

    def test_a_catch_up_for_which_there_is_no_room_holds_back_nobody(self) -> None:
        every = wanted(catch_up="all")
        plans = {"many": every, "one": Plan("b", b"\xc0", Timing(every=900.0))}
        stored = [
            ("many", "config", every.written(), 6000.0, False, 0, None),
            ("one", "config", plans["one"].written(), 6000.0, False, 0, None),
        ]
        pool = At(plans, 6301.0, stored)
        pool.room = 3
        pool.wake(6301.0, 1.0)
        assert [one[0] for one in pool.sent] == ["a", "b"], "one of five, and the one behind it"
        assert pool.firings.next_time() <= 2.1
        pool.wake(6302.1, 2.1)
        pool.room = 100
        pool.wake(6303.2, 3.2)
        assert [one[0] for one in pool.sent] == ["a", "b", "a", "a", "a", "a"], "each instant once"
        assert pool.wake(6304.3, 4.3) == []


ORDER = {"type": "a", "params": b"\xc0", "every": 60.0}


def order(pool: Any, verb: str, **arguments: Any) -> Reply:
    pool.request = getattr(pool, "request", 0) + 1
    (reply,) = (m for m in pool.say(CLIENT, Admin(pool.request, verb, arguments))[CLIENT] if isinstance(m, Reply))
    return reply


def listed(pool: Any) -> list[dict[str, Any]]:
    (reply,) = pool.say(CLIENT, Query(1, "schedules"))[CLIENT]
    return reply.value["schedules"]


def tasks(pool: Any) -> int:
    return len(pool.store.tasks(Where(), 1000)[0])


class TestInAPool:
    def test_a_clients_schedule_outlives_the_client_and_the_supervisor(self, pool: Any) -> None:
        assert order(pool, "schedule", name="mine", plan=ORDER).ok
        pool.close(CLIENT)
        pool.wait(61.0, step=0.5)
        assert tasks(pool) == 1
        pool.start()
        pool.wait(60.0, step=0.5)
        assert tasks(pool) == 2
        pool.client()
        (one,) = listed(pool)
        assert (one["name"], one["source"], one["every"], one["task"]) == ("mine", "client", 60.0, 2)
        assert one["next"] > pool.wall

    def test_clocks_that_jump_fire_each_instant_once(self, pool: Any) -> None:
        order(pool, "schedule", name="mine", plan=ORDER)
        pool.wait(61.0)
        pool.jump = -3600.0
        pool.wait(120.0)
        assert tasks(pool) == 1
        pool.jump = 0.0
        pool.wait(1.0)
        assert tasks(pool) == 2
        pool.jump = 86400.0
        pool.wait(2.0)
        assert tasks(pool) == 3

    def test_paused_resumed_run_and_removed(self, pool: Any) -> None:
        order(pool, "schedule", name="mine", plan=ORDER)
        assert order(pool, "pause_schedule", name="mine").value["schedule"]["paused"]
        pool.wait(200.0)
        pool.start()
        pool.client()
        pool.wait(60.0)
        assert tasks(pool) == 0
        assert order(pool, "run_schedule", name="mine").value["task"] == 1
        assert not order(pool, "resume_schedule", name="mine").value["schedule"]["paused"]
        assert tasks(pool) == 1
        pool.wait(60.0)
        assert tasks(pool) == 2
        assert order(pool, "unschedule", name="mine").ok
        pool.wait(120.0)
        assert (tasks(pool), listed(pool)) == (2, [])
        assert order(pool, "unschedule", name="mine").value["code"] == "unknown"

    def test_a_run_that_is_asked_for_again_because_the_answer_was_lost_is_one(self, pool: Any) -> None:
        order(pool, "schedule", name="mine", plan=ORDER)
        one = pool.say(CLIENT, Admin(9, "run_schedule", {"name": "mine"}))[CLIENT][0]
        again = pool.say(CLIENT, Admin(9, "run_schedule", {"name": "mine"}))[CLIENT][0]
        assert (one.value["task"], again.value["task"], tasks(pool)) == (1, 1, 1)

    def test_the_same_over_a_restart_and_whatever_was_sent_since(self, pool: Any) -> None:
        order(pool, "schedule", name="mine", plan=ORDER)
        order(pool, "schedule", name="other", plan=ORDER)
        one = pool.say(CLIENT, Admin(9, "run_schedule", {"name": "mine"}))[CLIENT][0]
        pool.start()
        pool.client()
        pool.wait(61.0)
        assert tasks(pool) == 3
        again = pool.say(CLIENT, Admin(9, "run_schedule", {"name": "mine"}))[CLIENT][0]
        assert (one.value["task"], again.value["task"], tasks(pool)) == (1, 1, 3)
        assert pool.say(CLIENT, Admin(10, "run_schedule", {"name": "mine"}))[CLIENT][0].value["task"] == 4

    def test_one_that_cannot_be_read_is_shown_with_the_reason_and_can_be_removed(self, pool: Any) -> None:
        lost = {**wanted(Timing("0 3 * * *")).written(), "zone": "Mars/Olympus"}
        pool.store.begin()
        pool.store.apply(Persist(schedules=[("lost", "client", lost, 6000.0, False, 7, None)]))
        pool.store.commit()
        pool.start()
        pool.client()
        order(pool, "schedule", name="mine", plan=ORDER)
        shown, mine = listed(pool)
        assert (shown["name"], shown["zone"], shown["next"], shown["task"]) == ("lost", "Mars/Olympus", None, 7)
        assert "no time zone" in shown["error"]
        assert mine["error"] is None
        for verb in ("pause_schedule", "resume_schedule", "run_schedule"):
            refused = order(pool, verb, name="lost").value
            assert (refused["code"], "set it anew, or remove it" in refused["reason"]) == ("conflict", True)
        pool.start()
        pool.client()
        assert order(pool, "unschedule", name="lost").value["schedule"]["name"] == "lost"
        pool.start()
        pool.client()
        assert [one["name"] for one in listed(pool)] == ["mine"]

    @pytest.mark.parametrize(
        ("arguments", "path"),
        [
            ({"name": "no good", "plan": ORDER}, "name"),
            ({"name": 7, "plan": ORDER}, "name"),
            ({"name": "x", "plan": {**ORDER, "every": 0}}, "every"),
            ({"name": "x", "plan": {**ORDER, "type": "!"}}, "type"),
            ({"name": "x", "plan": {**ORDER, "type": None}}, "type"),
            ({"name": "x", "plan": {**ORDER, "params": "text"}}, "params"),
            ({"name": "x", "plan": {**ORDER, "params": bytes(17000)}}, "params"),
            ({"name": "x", "plan": {**ORDER, "priority": "high"}}, "priority"),
            ({"name": "x", "plan": {**ORDER, "options": {"delay": 1}}}, "options"),
            ({"name": "x", "plan": {**ORDER, "options": {"timeout": "long"}}}, "timeout"),
            ({"name": "x", "plan": {**ORDER, "catch_up": []}}, "catch_up"),
            ({"name": "x", "plan": {**ORDER, "stray": 1}}, "schedule"),
            ({"name": "x", "plan": None}, "schedule"),
        ],
    )
    def test_what_cannot_be_a_schedule_changes_nothing(self, pool: Any, arguments: Any, path: str) -> None:
        reply = order(pool, "schedule", **arguments)
        assert (reply.ok, reply.value["path"], listed(pool)) == (False, path, [])

    def test_a_client_cannot_change_one_of_the_configuration(self) -> None:
        pool = PoolAtHand(PoolSettings(schedules={"s": wanted()}))
        pool.client()
        for verb, more in (("schedule", {"plan": ORDER}), ("unschedule", {})):
            assert order(pool, verb, name="s", **more).value["code"] == "conflict"
        assert [one["source"] for one in listed(pool)] == ["config"]

    def test_without_room_in_the_queue_it_waits_and_fires_once_there_is(self) -> None:
        pool = PoolAtHand(PoolSettings(schedules={"s": wanted()}, max_size=1))
        pool.client()
        pool.send()
        pool.wait(70.0)
        assert (tasks(pool), pool.notes.count("schedule_held")) == (1, 1)
        pool.host()
        pool.say(b"h", Results([completed(1, pool.pool.queue.leases[1].row.fence)]))
        pool.wait(2.0)
        assert tasks(pool) == 2


class TestConfiguration:
    def test_it_says_what_the_pool_sends(self) -> None:
        found = load(
            {
                "schedules": {
                    "nightly": {"type": "report", "params": {"day": 1}, "cron": "0 3 * * *", "zone": BERLIN},
                    "often": {"type": "a.b", "every": "5m", "catch_up": "all", "priority": 9, "tags": ["x"]},
                }
            }
        )
        often = found.schedules["often"].plan()
        assert often == plan({**often.written()})
        assert (often.timing, often.priority, often.options) == (Timing(every=300.0), 9, {"tags": ["x"]})
        assert load(found.document()).schedules == found.schedules

    @pytest.mark.parametrize(
        ("schedule", "says"),
        [
            ({"type": "a"}, "schedules.s.cron or `every` must say when"),
            ({"type": "a", "every": 0}, "schedules.s.every 0 is out of range"),
            ({"type": "a", "cron": "0 0 30 2 *"}, "schedules.s.cron '0 0 30 2 *' is not understood"),
            ({"type": "a", "cron": "0 3 * * *", "zone": "Nowhere"}, "schedules.s.zone 'Nowhere' is no time zone"),
            ({"type": "a", "every": 5, "params": {1: 2}}, "schedules.s.params cannot travel"),
            ({"type": "a", "every": 5, "tenant": "*"}, "schedules.s.tenant is one tenant"),
            ({"every": 5}, "schedules.s.type"),
        ],
    )
    def test_what_is_wrong_is_said_at_its_key(self, schedule: Any, says: str) -> None:
        (problem,) = check({"schedules": {"s": schedule}})
        assert says in problem

    def test_a_name_that_is_none(self) -> None:
        assert "is not the name of a schedule" in check({"schedules": {"no good": {"type": "a", "every": 5}}})[0]
