"""Goals and alerts: met or missed by what happened, raised once, cleared once, with no monitor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.conftest import WALL, PoolAtHand  # pyright: ignore[reportMissingImports]
from unit.pool_words import (  # pyright: ignore[reportMissingImports]
    CLIENT,
    HOST,
    completed,
    failed,
    granted,
)

from workerhost.config.loading import load
from workerhost.config.watching import METRICS, UNWATCHED, Goal, Rule, Watching
from workerhost.transport.messages import Query, Reply, Results
from workerhost.workers.errors import ConfigError

Make = Callable[..., PoolAtHand]


def status(pool: PoolAtHand, what: str = "status") -> dict[str, Any]:
    [reply] = [m for m in pool.say(CLIENT, Query(1, what))[CLIENT] if isinstance(m, Reply)]
    return reply.value


def alerts(pool: PoolAtHand) -> list[str]:
    return [alert["name"] for alert in status(pool)["alerts"]]


def raised(pool: PoolAtHand) -> list[str]:
    return [note for note in pool.notes if note.startswith("alert_")]


def run(pool: PoolAtHand, count: int, duration: float = 0.1, *, well: bool = True) -> None:
    """Tasks are sent and end at once."""
    for id, fence, _ in granted(pool.send("a", count)):
        pool.say(HOST, Results([completed(id, fence, duration) if well else failed(id, fence, retry=False)]))


def watched(pool_with: Make, *rules: Rule, goals: tuple[Goal, ...] = ()) -> PoolAtHand:
    pool = pool_with(watching=Watching(rules, goals))
    pool.host(HOST, "a", slots=100)
    return pool


def test_an_alert_is_raised_once_and_cleared_once_at_four_fifths(pool_with: Make) -> None:
    pool = pool_with(watching=Watching((Rule("", "queue_depth", True, 10.0),)))
    pool.send("a", 11)
    pool.wait(3)
    assert raised(pool) == ["alert_raised"]
    [alert] = status(pool)["alerts"]
    assert (alert["metric"], alert["node"], alert["value"]) == ("queue_depth", "", 11)
    assert "tasks queued above 10" in alert["text"]
    pool.host(HOST, "a", slots=2)
    pool.wait(3)
    assert alerts(pool) == ["queue_depth_above"]  # 9 are left, more than four fifths of 10
    pool.host(b"i", "a", slots=1)
    pool.wait(3)
    assert (alerts(pool), raised(pool)) == ([], ["alert_raised", "alert_cleared"])


def test_an_alert_is_raised_in_time_in_a_pool_that_nobody_speaks_to(pool_with: Make) -> None:
    pool = pool_with(watching=Watching((Rule("", "queue_depth", True, 10.0, patience=3.0),)))
    pool.send("a", 11)
    pool.close(CLIENT)
    began = pool.now
    while not raised(pool):
        due = pool.pool.next_time(pool.now)
        assert due - began < 6.0
        pool.wait(max(0.01, due - pool.now), step=60.0)


def test_an_alert_waits_for_as_long_as_it_is_told_to(pool_with: Make) -> None:
    pool = watched(pool_with, Rule("b", "oldest_wait", True, 60.0, patience=30.0))
    pool.send("b.c")
    pool.wait(85)
    assert alerts(pool) == []
    pool.wait(10)
    assert alerts(pool) == ["oldest_wait_above"]
    pool.host(b"i", "b.c")
    pool.wait(2)
    assert raised(pool) == ["alert_raised", "alert_cleared"]


def test_what_is_right_again_meanwhile_begins_anew(pool_with: Make) -> None:
    pool = watched(pool_with, Rule("", "queue_depth", True, 1.0, patience=10.0))
    for _ in range(3):
        pool.send("b", 2)
        pool.wait(8)
        pool.host(b"i", "b", slots=100)
        pool.wait(3)
        pool.close(b"i")
        pool.wait(3)
        pool.host(b"i", "b", slots=100)
        pool.wait(2)
    assert raised(pool) == []


def test_failures_raise_an_alert_that_is_over_when_they_are(pool_with: Make) -> None:
    pool = watched(pool_with, Rule("", "error_rate", True, 0.1), Rule("", "success_rate", False, 0.95))
    pool.wait(2)
    run(pool, 5)
    run(pool, 5, well=False)
    pool.wait(2)
    assert alerts(pool) == ["error_rate_above", "success_rate_below"]
    pool.wait(400, step=1.0)
    run(pool, 10)
    pool.wait(2)
    assert (alerts(pool), raised(pool)[2:]) == ([], ["alert_cleared"] * 2)


def test_other_nodes_raise_no_alert_of_a_node(pool_with: Make) -> None:
    pool = watched(pool_with, Rule("b", "queue_depth", True, 1.0))
    pool.send("c", 10)
    pool.wait(3)
    assert alerts(pool) == []


def test_an_alert_that_a_reload_adds_is_not_raised_by_what_happened_before(pool_with: Make) -> None:
    pool = watched(pool_with, Rule("", "rescues", True, 1000.0))
    pool.wait(2)
    run(pool, 40, well=False)
    pool.wait(3600, step=2.0)
    rules = Rule("a", "error_rate", True, 0.1), Rule("b", "error_rate", True, 0.1)
    pool.pool.report.watch.watch_for(Watching(rules), None)
    pool.wait(10)
    assert raised(pool) == []
    run(pool, 1, well=False)
    pool.wait(2)
    assert alerts(pool) == ["error_rate_above"]


def test_an_alert_of_the_beginning_counts_from_there(pool_with: Make) -> None:
    pool = watched(pool_with, Rule("a", "error_rate", True, 0.1))
    run(pool, 1, well=False)
    pool.wait(2)
    assert alerts(pool) == ["error_rate_above"]


def test_goals_are_met_or_missed_or_not_known(pool_with: Make) -> None:
    goals = (
        Goal("task_duration", most=30.0),
        Goal("success_rate", least=0.95),
        Goal("queue_depth", most=100.0),
        Goal("oldest_wait", most=60.0),
    )
    pool = watched(pool_with, goals=goals)
    pool.wait(2)
    assert [goal["met"] for goal in status(pool)["objectives"]] == [None, None, True, True]
    run(pool, 10, duration=40.0)
    pool.send("nobody", 1)
    pool.wait(65, step=1.0)
    found = status(pool)["objectives"]
    assert [goal["met"] for goal in found] == [False, True, True, False]
    assert found[0]["value"] == pytest.approx(40.0)
    assert found[0]["text"] == "average time of an attempt at most 30 s"
    assert status(pool, "snapshot")["objectives"] == status(pool)["objectives"]


def test_utilisation_is_a_mean_over_time(pool_with: Make) -> None:
    pool = pool_with(watching=Watching((), (Goal("utilisation", 0.7, 0.9),)))
    pool.host(HOST, "a", slots=4)
    pool.send("a", 4)
    pool.wait(10)
    [goal] = status(pool)["objectives"]
    assert goal["met"] is False
    assert goal["value"] > 0.95


def test_a_queue_that_grows_is_never_empty(pool_with: Make) -> None:
    pool = watched(pool_with)
    pool.wait(2)
    pool.send("b", 600)
    pool.host(b"i", "b", slots=1)
    for _ in range(20):
        pool.wait(1.0, step=1.0)
        assert status(pool)["empty_in"] is None  # more came than ended


def test_a_queue_that_shrinks_is_empty_at_some_time(pool_with: Make) -> None:
    pool = pool_with()
    pool.send("a", 150)
    pool.wait(301, step=1.0)
    said = pool.host(HOST, "a", slots=1)
    for _ in range(60):
        [(id, fence, _)] = granted(said)
        pool.wait(1.0, step=1.0)
        said = pool.say(HOST, Results([completed(id, fence, 1.0)]))
    left = status(pool)["empty_in"]
    assert left is not None
    assert 80 <= left * 60 / 300 <= 100  # 90 are left, and 60 ended within the last 300 s


def test_the_seeds_alert_is_listed_like_any_other(pool_with: Make) -> None:
    pool = pool_with(queue_depth_high=10)
    pool.send("a", 11)
    assert alerts(pool) == ["queue_depth_high"]
    assert status(pool)["alerts"][0]["since"] == WALL + 100.0


def test_every_metric_has_a_value_or_none(pool_with: Make) -> None:
    rules = tuple(Rule("", metric, above, 0.5) for metric in METRICS for above in (True, False))
    pool = watched(pool_with, *rules)
    run(pool, 3)
    pool.wait(3)
    assert set(alerts(pool)) >= {"success_rate_above", "queue_depth_below", "error_rate_below", "oldest_wait_below"}


def test_a_share_can_be_cleared() -> None:
    assert Rule("", "success_rate", False, 0.95).clear() == pytest.approx(0.975)
    assert Rule("", "success_rate", False, 0.4).clear() == pytest.approx(0.5)
    assert Rule("", "throughput", False, 4.0).clear() == 5.0


@pytest.mark.parametrize(
    ("alerts", "said"),
    [
        ({"queue_dept_above": 1}, "alerts.queue_dept_above is an unknown key; did you mean queue_depth_above?"),
        ({"web": {"oldest_wait_abov": 1}}, "web.oldest_wait_abov is an unknown key; did you mean oldest_wait_above?"),
        ({"web": {"utilisation_above": "9%"}}, "web.utilisation_above is known of the pool alone"),
        ({"a b": {"running_above": 1}}, "alerts.a b is not a type"),
        ({"error_rate_above": "x"}, "alerts.error_rate_above 'x' is not a share; write 95%"),
        ({"running_above": True}, "alerts.running_above True is not a number"),
        ({"notify": "mail"}, 'alerts.notify[0] "mail" is nobody to notify'),
        ({"web": {"notify": [{"command": ""}]}}, "alerts.web.notify is nobody to notify"),
        ({"web": {"notify": [{"command": ["a\0b"]}]}}, "alerts.web.notify is nobody to notify"),
        ({"web": {"for": "soon"}}, "alerts.web.for 'soon' is not a duration"),
    ],
)
def test_a_wrong_alert_is_named(alerts: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({"monitoring": {"alerts": alerts}})
    assert said in str(caught.value)


def test_a_configuration_says_what_is_watched_and_loads_again_to_the_same() -> None:
    alerts = {
        "success_rate_below": "95%",
        "for": "1m",
        "web": {"oldest_wait_above": "10m", "for": "5m", "notify": ["log", "https://example.org/hook"]},
    }
    objectives = {"task_duration": "30s", "utilisation": "70-90%"}
    settings = load({"monitoring": {"alerts": alerts, "objectives": objectives}})
    assert settings.watching() == Watching(
        (Rule("", "success_rate", False, 0.95, 60.0), Rule("web", "oldest_wait", True, 600.0, 300.0)),
        (Goal("task_duration", most=30.0), Goal("utilisation", 0.7, 0.9)),
    )
    assert settings.monitoring.alerts.notified("web") == ["log", "https://example.org/hook"]
    assert settings.monitoring.alerts.notified("") == ["log"]
    assert load(settings.document()).watching() == settings.watching()
    assert load({"monitoring": {"enabled": False, "alerts": alerts}}).watching() == UNWATCHED


def test_a_program_that_is_told_stands_beside_the_file_also_for_a_node(tmp_path: Path) -> None:
    file = tmp_path / "workerhost.yaml"
    file.write_text("""\
monitoring:
  alerts:
    notify: [{command: [./page-somebody.sh, all]}]
    video: {oldest_wait_above: 10m, for: 5m, notify: [log, {command: [./page-somebody.sh]}, {command: [mail, me]}]}
""")
    settings = load(file)
    program = str(tmp_path / "page-somebody.sh")
    assert settings.monitoring.destinations("") == [(program, "all")]
    assert settings.monitoring.destinations("video") == ["log", (program,), ("mail", "me")]
    assert settings.monitoring.destinations("audio") == [(program, "all")]
    again = load(settings.document())
    assert again.monitoring.destinations("video") == settings.monitoring.destinations("video")
