"""The page `/metrics`: sums over types are the pool's, labels are bounded, and tools that know the format accept it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from workerhost.actors import metrics as module
from workerhost.actors.core.statistics import BOUNDS, POOL, Figures, Statistics
from workerhost.actors.metrics import Metrics
from workerhost.config.watching import METRICS


def numbers(count: int, *, media: bool = False, **own: Any) -> dict[str, Any]:
    """A node at which everything was counted `count` times."""
    found = {name: count for name in Figures().shown() if name != "causes"}
    found |= {"queued": count, "scheduled": 0, "waiting": 0, "running": count, "oldest": None, "hosts": 1}
    buckets = [count] + [0] * len(BOUNDS)
    extra = {"durations": buckets, "waits": buckets} if media else {}
    return {**found, "causes": {"crash": count}, "limits": {}, "blocks": [], **extra, **own}


def snapshot(nodes: dict[str, Any], **own: Any) -> dict[str, Any]:
    host = {"name": 'a"b\\c', "state": "joined", "slots": 4, "running": 2, **numbers(3)}
    gone = {"name": "gone", "state": "lost", "slots": 4, "running": 0, **numbers(9)}
    return {
        "at": 1.0, "wall": 100.0, "epoch": 1, "uptime": 5.0, "tasks": {"queued": 6, "completed": 7},
        "bounds": list(BOUNDS), "pool": numbers(6, media=True), "nodes": nodes, "hosts": [host, gone], **own,
    }  # fmt: skip


NODES = {
    "video": numbers(5, media=True, oldest=40.0),
    "video.clip": numbers(2),
    "video.clip.hd": numbers(1),
    "audio": numbers(1, media=True),
}


def samples(page: bytes) -> dict[tuple[str, tuple[str, ...]], float]:
    """(name, label values) -> value."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_numbers_of_a_type_are_its_own_and_add_up_to_the_pool() -> None:
    found = samples(Metrics().page(snapshot(NODES), heard=True))
    own = {labels[0]: v for (name, labels), v in found.items() if name == "workerhost_tasks_sent_total"}
    assert own == {"(other)": 0, "video": 3, "video.clip": 1, "video.clip.hd": 1, "audio": 1}
    assert found["workerhost_tasks", ("video", "queued")] == 3
    assert found["workerhost_attempts_failed_total", ("video", "crash")] == 3
    assert found["workerhost_oldest_wait_seconds", ("video",)] == 60.0


@pytest.mark.parametrize("own", [0.1, 0.0005])
def test_seconds_of_a_type_never_fall_whatever_is_added_below_it(own: float) -> None:
    statistics, metrics = Statistics(), Metrics()
    statistics.of("video").granted([own])
    statistics.of("video").completed([own])
    before: dict[str, float] = {}
    for step in range(1500):
        statistics.of("video.clip").granted([0.1 + step / 997])
        statistics.of("video.clip").completed([0.1 + step / 997])
        statistics.settle()
        nodes = {name: numbers(0, **figures.shown()) for name, figures in statistics.nodes.items()}
        pool = nodes.pop(POOL)
        now = counters(metrics.page({**snapshot(nodes, pool=pool), "hosts": []}, heard=True))
        assert {name: value for name, value in now.items() if value < before.get(name, 0.0)} == {}
        before = now
    assert before['workerhost_attempt_seconds_total{type="video"}'] == pytest.approx(own, abs=0.001)
    assert before['workerhost_attempt_seconds_total{type="(other)"}'] == 0.0


def counters(page: bytes) -> dict[str, float]:
    """Series -> value, of what only grows. The format's own reader would take a minute for so many pages."""
    found = re.findall(r"^(workerhost_(?!monitor)\w+_total\{.*\}) (.+)$", page.decode(), re.MULTILINE)
    return {series: float(value) for series, value in found}


def test_counters_begin_anew_with_the_supervisor_and_not_with_a_type_that_is_one_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LABELS_MAX", 1)
    metrics = Metrics()
    series = 'workerhost_tasks_sent_total{type="(other)"}'
    few = {"video": numbers(5, media=True)}
    assert counters(metrics.page(snapshot(few, pool=numbers(6)), heard=True))[series] == 1
    more = {"audio": numbers(1, media=True), **few}
    assert counters(metrics.page(snapshot(more, pool=numbers(6)), heard=True))[series] == 5
    assert counters(metrics.page(snapshot(few, pool=numbers(6)), heard=True))[series] == 5
    assert counters(metrics.page(snapshot(few, pool=numbers(6), epoch=2), heard=True))[series] == 1


def test_two_alerts_of_one_metric_are_one_series() -> None:
    names = ("queue_depth_high", "queue_depth_above")
    alerts = [{"metric": "queue_depth", "name": name, "node": "", "text": "deep", "since": 1.0} for name in names]
    page = Metrics().page(snapshot(NODES, alerts=alerts), heard=True)
    assert page.count(b"workerhost_alert{") == 1
    assert samples(page)["workerhost_alert", ("queue_depth", "")] == 1.0


def test_types_that_are_too_many_count_as_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LABELS_MAX", 2)
    found = samples(Metrics().page(snapshot(NODES), heard=True))
    own = {labels[0]: v for (name, labels), v in found.items() if name == "workerhost_tasks_sent_total"}
    assert own == {"(other)": 0, "audio": 1, "video": 5}
    assert sum(own.values()) == 6


def test_hosts_that_live_have_lines_and_their_names_are_escaped() -> None:
    found = samples(Metrics().page(snapshot(NODES), heard=True))
    assert {labels for name, labels in found if name == "workerhost_host_slots"} == {('a"b\\c',)}
    assert found["workerhost_hosts", ()] == 1


def test_before_the_first_snapshot_only_the_monitor_is_known() -> None:
    found = samples(Metrics().page({}, heard=False))
    assert found["workerhost_up", ()] == 0.0
    assert any(name.startswith("workerhost_monitor_") for name, _ in found)
    assert not any(name.startswith("workerhost_tasks") for name, _ in found)


def test_the_page_of_the_documents_names_every_metric() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text()
    objectives = [{"name": "average", "met": True}]
    page = Metrics().page(snapshot(NODES, alerts=[{"metric": "m", "node": ""}], objectives=objectives), heard=True)
    named = set(re.findall(r"^# TYPE (\w+)", page.decode(), re.MULTILINE))
    ours = {name for name in named if not name.startswith("workerhost_monitor_process")}
    assert {name for name in ours if f"`{name}`" not in text} == set()
    assert {name for name in METRICS if f"`{name}`" not in text} == set()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (of Debian's prometheus) is not installed")
def test_promtool_finds_nothing_to_complain_about() -> None:
    alerts = [{"metric": "queue_depth", "node": "", "text": "deep", "since": 1.0}]
    objectives = [{"name": "average", "met": True}, {"name": "success", "met": None}]
    page = Metrics().page(snapshot(NODES, alerts=alerts, objectives=objectives), heard=True)
    said = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=60, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")
