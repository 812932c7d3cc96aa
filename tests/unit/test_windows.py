"""Counters over time: windows that restarts and jumps of the clock do not disturb."""

from __future__ import annotations

import json
from functools import reduce
from operator import getitem
from typing import Any

import pytest

from workerhost.actors.core.statistics import BOUNDS, Account, Figures, Times
from workerhost.actors.core.telling.gathering import SERIES_MAX, Gathering
from workerhost.actors.core.telling.windows import NOTHING, Growth, Series, Totals, quantile

WALL = 1_700_000_000.0


class Watched:
    """A supervisor whose counters the test turns, and a monitor that looks at it every second."""

    def __init__(self) -> None:
        self.gathering = Gathering()
        self.at, self.wall, self.epoch = 50.0, WALL, 1
        self.figures, self.times = Figures(), Times()
        self.account = Account([self.figures], [self.times])
        self.node = "a"
        self.queued = self.running = 0
        self.slots = 4
        self.left_out = 0

    def restart(self) -> None:
        """Another supervisor, which counts from zero."""
        self.epoch += 1
        self.figures, self.times = Figures(), Times()
        self.account = Account([self.figures], [self.times])

    def snapshot(self) -> dict[str, Any]:
        self.account.settle()
        numbers = {
            "queued": self.queued,
            "running": self.running,
            **self.figures.shown(),
            "durations": list(self.times.durations),
            "waits": list(self.times.waits),
        }
        host = {"name": "h", "owner": 1, "state": "joined", "slots": self.slots, "running": self.running}
        return {
            "at": self.at,
            "wall": self.wall,
            "epoch": self.epoch,
            "pool": numbers,
            "nodes": {self.node: numbers},
            "nodes_left_out": self.left_out,
            "hosts": [{**host, **self.figures.shown()}],
            "uptime": 1000.0,
        }

    def look(self, seconds: int = 1, *, completed: int = 0, duration: float = 0.2) -> None:
        """Seconds pass, with a look at the end of each; so many tasks complete in each."""
        for _ in range(seconds):
            self.pass_time(1.0)
            self.account.sent(completed)
            if completed:
                self.account.completed([duration] * completed)
            self.gathering.take(self.snapshot())

    def pass_time(self, seconds: float) -> None:
        self.at += seconds
        self.wall += seconds

    def completed(self, window: str) -> int:
        """At the node; nothing is said of one where nothing happened."""
        return self.gathering.windows()[window]["nodes"].get(self.node, {"completed": 0})["completed"]


@pytest.fixture
def watched() -> Watched:
    """One that was looked at once."""
    watched = Watched()
    watched.look()
    return watched


def test_a_window_holds_what_happened_in_it(watched: Watched) -> None:
    watched.look(600, completed=10)
    minute, five = watched.gathering.growth("1m"), watched.gathering.growth("5m")
    assert 600 <= minute.of.completed <= 660
    assert 3000 <= five.of.completed <= 3300
    assert (minute.per_second(), minute.success(), minute.duration()) == (10.0, 1.0, pytest.approx(0.2))
    watched.look(70)
    assert watched.completed("1m") == 0
    assert watched.completed("1h") == 6000


def test_what_was_counted_before_anybody_looked_is_in_no_window() -> None:
    watched = Watched()
    watched.account.completed([0.1] * 1000)
    watched.look(3, completed=1)
    assert watched.completed("1m") == 2


def test_a_node_that_appears_counts_from_its_beginning(watched: Watched) -> None:
    watched.node = "new"
    watched.look(completed=7)
    assert watched.completed("1m") == 7


def test_a_restart_of_the_supervisor_loses_and_doubles_nothing(watched: Watched) -> None:
    watched.look(10, completed=5)
    watched.restart()
    watched.wall += 3.0
    watched.at = 1.0  # its machine has started again
    watched.look(10, completed=5)
    assert watched.completed("1m") == 100
    assert watched.gathering.growth("5m").span == pytest.approx(23.0)


def test_another_queue_in_memory_counts_from_zero_whatever_its_epoch(watched: Watched) -> None:
    watched.look(10, completed=5)
    watched.restart()
    watched.epoch = -watched.epoch  # it knows of none before it
    watched.look(10, completed=1)
    assert (watched.completed("1m"), watched.gathering.growth("1m").of.sent) == (60, 60)


def test_a_jump_of_the_wall_clock_moves_no_window(watched: Watched) -> None:
    watched.look(30, completed=1)
    watched.wall += 7200.0
    watched.look(10, completed=1)
    watched.wall -= 9000.0
    watched.look(10, completed=1)
    growth = watched.gathering.growth("1m")
    assert (growth.of.completed, growth.span, growth.per_second()) == (50, 50.0, 1.0)


def test_windows_survive_the_monitor_and_what_happened_while_it_was_away_counts(watched: Watched) -> None:
    watched.look(100, completed=2)
    watched.gathering = Gathering.restored(json.loads(json.dumps(watched.gathering.kept())))
    watched.account.completed([0.2] * 30)
    watched.pass_time(15.0)
    watched.look(completed=2)
    assert watched.completed("1h") == 232
    assert len(watched.gathering.points) >= 20
    assert watched.gathering.windows()["1h"]["nodes"]["a"]["completed"] == 232


def test_what_was_idle_for_long_did_not_happen_while_the_monitor_was_away(watched: Watched) -> None:
    watched.look(3, completed=5)
    watched.slots = 0  # neither the node nor the host does anything
    for _ in range(500):
        watched.pass_time(9.0)
        watched.look()
    watched.gathering = Gathering.restored(json.loads(json.dumps(watched.gathering.kept())))
    watched.look()
    minute = watched.gathering.windows()["1m"]
    assert (minute["nodes"], minute["hosts"]) == ({}, {})
    watched.look(completed=2)
    assert watched.completed("1m") == 2


def test_a_node_that_comes_back_into_a_list_without_room_for_all_counts_from_then_on(watched: Watched) -> None:
    watched.look(3, completed=5)
    watched.node, watched.left_out = "other", 1
    for _ in range(500):
        watched.pass_time(9.0)
        watched.look()
    watched.node = "a"
    watched.look(2, completed=1)
    assert watched.gathering.windows()["1h"]["nodes"]["a"]["completed"] == 1
    watched.restart()
    watched.node = "new"
    watched.look(completed=7)
    assert watched.gathering.windows()["1h"]["nodes"]["new"]["completed"] == 7  # all counters have just begun anew


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["form"], 99),
        (["pool"], None),
        (["pool", "total"], [1, 2]),
        (["pool", "looks", "1m"], [[1.0, 10_000]]),
        (["now"], "soon"),
        (["points"], [["x"] * 6]),
    ],
)
def test_what_is_no_kept_gathering_is_refused(watched: Watched, place: list[str], value: Any) -> None:
    kept: Any = json.loads(json.dumps(watched.gathering.kept()))
    *above, last = place
    reduce(getitem, above, kept)[last] = value
    with pytest.raises((ValueError, TypeError, KeyError, IndexError)):
        Gathering.restored(kept)


def test_utilisation_and_depth_are_means_over_time(watched: Watched) -> None:
    watched.running, watched.queued = 4, 10
    watched.look(10)
    watched.running, watched.queued = 0, 0
    watched.look(10)
    figures = watched.gathering.windows()["1m"]["pool"]
    assert figures["utilisation"] == pytest.approx(0.5)
    assert figures["depth"] == pytest.approx(5.0)
    host = watched.gathering.windows()["1m"]["hosts"]["h"]
    assert host["utilisation"] == pytest.approx(0.5)


def test_while_the_monitor_was_away_nobody_knows_what_was_queued(watched: Watched) -> None:
    watched.queued = 1000
    watched.pass_time(3600.0)
    watched.look()
    assert watched.gathering.growth("1m").of.deep == 0


def test_history_has_a_point_every_five_seconds(watched: Watched) -> None:
    watched.queued = 3
    watched.look(21, completed=4)
    points = watched.gathering.points
    assert [point.completed for point in points] == [4.0] * 4
    assert {point.queued for point in points} == {3}
    assert [round(b.at - a.at) for a, b in zip(points, [*points][1:], strict=False)] == [5, 5, 5]


def test_nodes_that_are_gone_are_forgotten(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        watched.node = f"n{number}"
        watched.look(completed=1)
    assert len(watched.gathering.kept()["nodes"]) == 50
    monkeypatch.setattr("workerhost.actors.core.telling.gathering.SERIES_MAX", 20)
    watched.look()
    assert len(watched.gathering.kept()["nodes"]) == 20
    watched.at += 4000.0
    watched.look()
    watched.look()
    assert list(watched.gathering.kept()["nodes"]) == ["n49"]  # the one that is still there
    assert SERIES_MAX >= 2000


def test_idle_nodes_are_in_no_window(watched: Watched) -> None:
    watched.look(5, completed=1)
    watched.look(80)
    shown = watched.gathering.windows()
    assert (list(shown["1m"]["nodes"]), list(shown["5m"]["nodes"])) == ([], ["a"])


def test_an_idle_series_costs_no_memory() -> None:
    series = Series()
    for second in range(4000):
        series.take((1,), NOTHING, float(second))
    kept = series.kept()
    assert len(kept["known"]) == 1
    assert sum(map(len, kept["looks"].values())) <= 14 + 12 + 14


@pytest.mark.parametrize(
    ("counted", "share", "value"),
    [
        ({}, 0.5, None),
        ({0: 10}, 0.5, 0.0005),
        ({9: 100}, 0.95, 0.5 + 0.5 * 0.95),
        ({0: 90, 9: 10}, 0.95, 0.75),
        ({len(BOUNDS): 5}, 0.5, BOUNDS[-1]),
    ],
)
def test_a_quantile_lies_where_its_share_of_a_bucket_is(counted: dict[int, int], share: float, value: Any) -> None:
    buckets = [counted.get(place, 0) for place in range(len(BOUNDS) + 1)]
    assert quantile(buckets, share) == (value if value is None else pytest.approx(value))


def test_when_a_queue_is_empty_is_known_only_while_it_shrinks() -> None:
    assert Growth(10.0, Totals(sent=5, completed=25)).empty_in(120) == 60.0
    assert Growth(10.0, Totals(sent=25, completed=25)).empty_in(120) is None
    assert Growth(10.0, Totals(completed=25)).empty_in(0) is None
    assert Growth(0.0, NOTHING).empty_in(10) is None


def test_nothing_is_known_of_nothing() -> None:
    shown = Growth(60.0, NOTHING).shown()
    assert (shown["per_second"], shown["success"], shown["duration"], shown["utilisation"]) == (0.0, None, None, None)


def alert(name: str = "queue_depth_above", node: str = "") -> dict[str, Any]:
    return {"name": name, "node": node, "metric": "queue_depth", "text": "deep", "since": 1.0}


def events(gathering: Gathering) -> list[str]:
    news, gathering.news = gathering.news, []
    return [event for event, _ in news]


def take(watched: Watched, *alerts: dict[str, Any], uptime: float = 1000.0) -> list[str]:
    watched.at += 1.0
    watched.gathering.take({**watched.snapshot(), "alerts": list(alerts), "uptime": uptime})
    return events(watched.gathering)


def test_an_alert_is_news_once_and_its_end_too(watched: Watched) -> None:
    assert take(watched, alert()) == ["raised"]
    assert take(watched, alert()) == []
    assert take(watched) == ["cleared"]
    assert take(watched) == []


def test_an_alert_that_was_told_is_no_news_for_the_next_monitor(watched: Watched) -> None:
    assert take(watched, alert()) == ["raised"]
    watched.gathering = Gathering.restored(json.loads(json.dumps(watched.gathering.kept())))
    assert take(watched, alert()) == []
    assert take(watched) == ["cleared"]


def test_a_supervisor_that_has_just_started_clears_nothing(watched: Watched) -> None:
    take(watched, alert(), alert(node="web"))
    watched.restart()
    assert take(watched, uptime=5.0) == []
    assert take(watched, alert(), uptime=100.0) == []  # it is the same alert to whoever was told
    assert take(watched, alert(), uptime=700.0) == ["cleared"]  # that of web
