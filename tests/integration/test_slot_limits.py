"""Attempts in real processes that go beyond what their node may use: each ends, and nobody else notices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import limit_tasks
import pytest

from workerhost import Client, TaskFailed, WorkerHost

CONFIG: dict[str, Any] = {
    "host": {"slots": 2, "isolation": "process"},
    "defaults": {"retry": {"max_attempts": 1}, "crash_limit": 1},
    "workers": {
        "limited": {"limits": {"memory": "200M", "processes": 20, "cpu": 0.5, "output": "1M"}},
        "limited.eats": {"limits": {"cpu": 60}},
        "limited.forks": {"limits": {"cpu": 60}},
        "limited.shares": {"limits": {"cpu": 60}},
        "silent": {"no_progress_timeout": 0.5},
    },
}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.chdir(Path(__file__).parent)  # where slots find the tasks
    with WorkerHost(CONFIG, workers=limit_tasks.WORKERS) as pool:
        yield pool.client


def ended(client: Client, type: str, params: Any = None) -> dict[str, Any]:
    """The detail of the one attempt of a task that fails, beside a neighbour that notices nothing."""
    neighbour = client.send("tame")
    handle = client.send(type, params)
    with pytest.raises(TaskFailed):
        handle.result(20)
    assert isinstance(neighbour.result(10), int)
    assert isinstance(client.send("tame").result(10), int)
    [attempt] = client.show(handle.id)["attempts"]
    return attempt["detail"]


@pytest.mark.parametrize(
    ("type", "params", "cause", "message"),
    [
        ("limited.eats", {"mebibytes": 2000}, "oom", "of memory; its limit is 200 MiB"),
        ("limited.forks", None, "processes", "processes; its limit is 20"),
        ("limited.burns", None, "cpu", "s of processor time; its limit is 0.5 s"),
        ("limited.writes", None, "output", "its limit is 1 MiB"),
        ("silent", {"reports": 4}, "no_progress", "reported no progress for 0.5 s"),
    ],
)
def test_an_attempt_beyond_its_limits_ends_alone(
    client: Client, type: str, params: Any, cause: str, message: str
) -> None:
    detail = ended(client, type, params)
    assert detail["cause"] == cause
    assert message in detail["message"]


def test_memory_that_processes_share_counts_once(client: Client) -> None:
    assert client.send("limited.shares", {"mebibytes": 120}).result(20) == 120 << 20
