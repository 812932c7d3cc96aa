"""A rate: never more than N grants in any window of its length, at any interleaving, over restarts and clock jumps."""

from __future__ import annotations

from bisect import bisect_right

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerhost.actors.core.policies.rates import RING, RateRow, SlidingRate
from workerhost.config.limits import Rate

WALL = 1_700_000_000.0
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0, 3, allow_nan=False)),
        st.tuples(st.just("take"), st.integers(1, 400)),
        st.tuples(st.just("restart"), st.booleans()),
        st.tuples(st.just("jump"), st.floats(-1e6, 0)),
    ),
    max_size=60,
)


class Kept:
    """A rate and what the store has of it."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.rows: dict[int, RateRow] = {}
        self.sliding = SlidingRate(rate, boot=1)
        self.grants: list[tuple[float, int]] = []

    def take(self, wanted: int, now: float, wall: float) -> int:
        count = min(wanted, self.sliding.room(now))
        if count:
            self.sliding.took(count, now, wall)
            row = self.sliding.latest()
            self.rows[row.number % RING] = row
            self.grants.append((now, count))
        return count

    def restart(self, now: float, wall: float, boot: int) -> None:
        self.sliding = SlidingRate(self.rate, boot)
        self.sliding.restore(list(self.rows.values()), now, wall)

    def most(self) -> int:
        """The most grants in any window."""
        times = [now for now, _ in self.grants]
        sums = [0]
        for _, count in self.grants:
            sums.append(sums[-1] + count)
        # Half-open windows: one that begins with a grant holds the most. A hair is left for how floats add.
        ends = (bisect_right(times, time + self.rate.seconds - 1e-9) for time in times)
        return max((sums[end] - sums[start] for start, end in enumerate(ends)), default=0)


@given(steps=STEPS, count=st.sampled_from([1, 3, 10, 256, 257, 1000]), seconds=st.sampled_from([1.0, 60.0]))
@settings(max_examples=200, deadline=None)
def test_never_more_in_any_window(steps: list[tuple[str, float]], count: int, seconds: float) -> None:
    kept = Kept(Rate(count, seconds))
    now, jump, boot = 100.0, 0.0, 1
    for what, value in steps:
        if what == "wait":
            now += value * seconds / 2
        elif what == "jump":
            jump += value  # backwards only: what a clock that was set forward over a restart hides, nobody can know
        elif what == "take":
            kept.take(int(value), now, WALL + now + jump)
        else:
            boot += bool(value)
            kept.restart(now, WALL + now + jump, boot)
    assert kept.most() <= count


@pytest.mark.parametrize(("count", "seconds"), [(1, 1.0), (10, 1.0), (600, 60.0), (5000, 3600.0), (1_000_000, 60.0)])
def test_a_rate_is_used_when_there_is_demand(count: int, seconds: float) -> None:
    kept = Kept(Rate(count, seconds))
    now, taken, windows = 0.0, 0, 20
    while now < windows * seconds:
        taken += kept.take(count // 7 + 1, now, WALL + now)
        now = max(now + seconds / 5000, kept.sliding.until(now))
    assert kept.most() <= count
    assert taken >= 0.95 * count * windows


def test_its_memory_is_bounded_whatever_its_number() -> None:
    kept = Kept(Rate(1_000_000, 60.0))
    for step in range(50_000):
        kept.take(20, step * 60.0 / 50_000, WALL)
    assert len(kept.rows) <= 257
    assert kept.sliding.used(60.0 - 1e-6) == 1_000_000


def test_a_burst_at_the_end_of_a_window_is_not_doubled_by_the_next() -> None:
    kept = Kept(Rate(10, 1.0))
    assert kept.take(99, 0.9, WALL) == 10
    assert kept.take(99, 1.0, WALL) == 0
    assert kept.sliding.until(1.0) == 1.9
    assert kept.take(99, 1.9, WALL) == 10


def test_a_restart_goes_on_exactly_within_one_run_of_the_machine_and_by_the_wall_clock_beyond() -> None:
    kept = Kept(Rate(2, 60.0))
    kept.take(1, 100.0, WALL)
    kept.take(1, 130.0, WALL + 30)
    kept.restart(150.0, WALL + 9000, boot=1)
    assert (kept.sliding.room(159.9), kept.sliding.room(160.0)) == (0, 1)
    kept.restart(5.0, WALL + 65, boot=2)
    assert kept.sliding.room(5.0) == 1, "the first is 65 s old, the second 35"
    assert kept.sliding.until(5.0) == 5.0
    kept.restart(5.0, WALL - 1000, boot=3)
    assert kept.sliding.room(64.9) == 0, "a clock that was set back makes nothing older than now"


def test_another_rate_keeps_what_was_granted() -> None:
    kept = Kept(Rate(2, 60.0))
    kept.take(2, 0.0, WALL)
    kept.sliding.rate = Rate(5, 60.0)
    assert kept.sliding.room(1.0) == 3
    kept.sliding.rate = Rate(1, 60.0)
    assert (kept.sliding.room(1.0), kept.sliding.until(1.0)) == (0, 60.0)
