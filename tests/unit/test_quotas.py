"""Quotas: reset by the wall clock of a zone, daylight saving included, and never given twice."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerhost.actors.core.policies.quotas import Meter
from workerhost.config.limits import Quota, quota

BERLIN = {"limit": 1, "resets": "02:30", "zone": "Europe/Berlin"}
INDIA = {"limit": 1, "per": "hour", "zone": "Asia/Kolkata"}


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def shown(period: tuple[float, float]) -> tuple[str, str]:
    start, end = (datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M") for wall in period)
    return start, end


@pytest.mark.parametrize(
    ("given", "wall", "period"),
    [
        ("10/day", "2026-05-05 00:00", ("2026-05-05 00:00", "2026-05-06 00:00")),
        ("10/day", "2026-05-05 23:59", ("2026-05-05 00:00", "2026-05-06 00:00")),
        ("10/hour", "2026-05-05 07:30", ("2026-05-05 07:00", "2026-05-05 08:00")),
        ({"limit": 1, "per": "hour", "resets": "00:45"}, "2026-05-05 07:30", ("2026-05-05 06:45", "2026-05-05 07:45")),
        (INDIA, "2026-05-05 07:15", ("2026-05-05 06:30", "2026-05-05 07:30")),
        ("10/month", "2026-12-31 23:00", ("2026-12-01 00:00", "2027-01-01 00:00")),
        ({"limit": 1, "per": "month", "resets": "06:00"}, "2026-03-01 05:00", ("2026-02-01 06:00", "2026-03-01 06:00")),
        # The day on which daylight saving begins has 23 hours, the one on which it ends 25.
        ({"limit": 1, "zone": "America/Los_Angeles"}, "2026-03-08 20:00", ("2026-03-08 08:00", "2026-03-09 07:00")),
        ({"limit": 1, "zone": "America/Los_Angeles"}, "2026-11-01 20:00", ("2026-11-01 07:00", "2026-11-02 08:00")),
        # 02:30 does not exist in the night of March 29th, and comes twice on October 25th.
        (BERLIN, "2026-03-29 05:00", ("2026-03-29 01:30", "2026-03-30 00:30")),
        (BERLIN, "2026-10-25 01:00", ("2026-10-25 00:30", "2026-10-26 01:30")),
        # Samoa had no December 30th in 2011.
        ({"limit": 1, "zone": "Pacific/Apia"}, "2011-12-30 09:00", ("2011-12-29 10:00", "2011-12-30 10:00")),
        ({"limit": 1, "zone": "Pacific/Apia"}, "2011-12-30 12:00", ("2011-12-30 10:00", "2011-12-31 10:00")),
    ],
)  # fmt: skip
def test_periods(given: Any, wall: str, period: tuple[str, str]) -> None:
    assert shown(quota(given).period(at(wall))) == period


@given(
    wall=st.floats(0, 4e9),
    per=st.sampled_from(["hour", "day", "month"]),
    zone=st.sampled_from(["UTC", "America/Los_Angeles", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"]),
    resets=st.tuples(st.integers(0, 23), st.integers(0, 59)),
)
@settings(max_examples=500, deadline=None)
def test_an_instant_lies_in_its_period(wall: float, per: str, zone: str, resets: tuple[int, int]) -> None:
    start, end = Quota(1, per, resets, zone).period(wall)
    assert start <= wall < end
    assert end - start <= {"hour": 5400, "day": 90000 + 3600, "month": 31 * 86400 + 7200}[per]


def test_a_quota_is_used_up_and_given_again_at_its_reset() -> None:
    meter = Meter(quota("10/day"))
    midnight = at("2026-05-05 00:00")
    assert meter.room(3, 50.0, midnight + 60) == 3
    meter.took(9)
    assert (meter.room(3, 50.0, midnight + 60), meter.room(1, 50.0, midnight + 60)) == (0, 1)
    assert meter.until(50.0, midnight + 60) == 50.0 + 86400 - 60
    assert meter.room(3, 50.0, midnight + 86400) == 3


def test_a_restart_and_another_quota_keep_what_was_used() -> None:
    meter = Meter(quota("10/day"))
    midnight = at("2026-05-05 00:00")
    meter.restore(midnight, 7, 0.0)
    assert meter.room(1, 1.0, midnight + 60) == 3
    meter.tuned(quota("8/day"))
    assert meter.room(1, 1.0, midnight + 60) == 1
    assert meter.room(1, 1.0, midnight + 86400) == 8


def test_a_clock_that_was_years_ahead_does_not_stop_a_node_for_years() -> None:
    meter = Meter(quota("10/day"))
    wrong, right = at("2050-05-05 12:00"), at("2026-05-05 12:00")
    assert meter.room(1, 0.0, wrong) == 10
    meter.took(10)
    assert meter.room(1, 1.0, right) == 0
    assert meter.until(1.0, right) == 86400.0
    assert meter.room(1, 86400.0, right + 86400) == 10


@given(
    moves=st.lists(
        st.one_of(
            st.tuples(st.just("wait"), st.floats(0, 40_000)),
            st.tuples(st.just("jump"), st.floats(-86_000, 86_000)),
            st.tuples(st.just("take"), st.integers(1, 9)),
            st.tuples(st.just("restart"), st.just(0)),
        ),
        max_size=80,
    )
)
@settings(max_examples=300, deadline=None)
def test_no_day_is_given_twice_by_a_clock_that_is_set_back_and_forth(moves: list[tuple[str, float]]) -> None:
    limit = 5
    meter = Meter(Quota(limit))
    now, jump, given = 0.0, at("2026-05-05 00:00"), 0
    days = set[float]()
    for what, value in moves:
        if what == "wait":
            now += value
        elif what == "jump":
            jump += value
        elif what == "restart":
            start, used = meter.start, meter.used
            meter = Meter(Quota(limit))
            meter.restore(start, used, now)
        days.add((now + jump) // 86400)
        if what == "take":
            count = min(int(value), meter.room(1, now, now + jump))
            meter.took(count)
            given += count
    assert given <= limit * len(days)
